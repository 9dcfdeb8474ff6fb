// The model of GPUs: against measurements that others have published, to none of which anything in it is fitted; its own laws; and the
// table of compilers' reports that it reads, against the kernels that the program launches.
#include "cli_fixture.h"
#include "tune/prediction.h"
#include <math.h>

static roofline_device named(const char *name)
{
    const roofline_device *d;
    assert_int_equal(roofline_find(name, &d), IDM_OK);
    return *d;
}

// ---- published measurements
//
// Kernels of others, each as its authors describe it: the tile of a group and of an item, what is read how; their instruction mix follows
// from that by counting, as tests/vendors/mix.py counts ours. What a compiler would have to say (registers) is its source's or taken from
// kernels of ours with as many sums.

typedef struct measurement {
    const char *what, *source;
    double published, predicted, least, most; // rates; least and most of the predicted
    bottleneck bound;
} measurement;

// A product of n x n x n by groups that make rows x columns of it.
static modelled_launch product(double n, double rows, double columns, int items, double resident, instruction_mix mix)
{
    return (modelled_launch){.groups = n * n / (rows * columns),
                             .products = n * n * n,
                             .bytes = 12 * n * n,
                             .report = {.mix = mix, .items = items, .resident = resident}};
}

static measurement rate(const char *what, const char *source, double published, double amount, const roofline_device *d,
                        const modelled_launch *l)
{
    const prediction p = prediction_of_launch(d, l);
    return (measurement){what, source, published, amount / p.seconds, amount / p.most, amount / p.least, prediction_bottleneck(&p)};
}

// cuBLAS: 128 x 128 by 256 items of 8 x 8, 8 channels a step; 4 loads of 16 bytes for 64 products, loads a step ahead.
static const instruction_mix cublas = {.other = (4 + 0.5) / 64.0 + 10.0 / 512,
                                       .local_bytes = 64 / 64.0 + 32.0 / 512,
                                       .global_bytes = 32.0 / 512,
                                       .waits = 1.0 / 512,
                                       .barriers = 1.0 / 512};
enum { CUBLAS_ITEMS = 256 };

// CLBlast as its tuner left it on an RTX 2070, N = 4096 (KWG=16 KWI=2 MDIMC=8 NDIMC=16 MWG=NWG=128 VWM=4 VWN=1 SA=SB=1): 128 items of 16 x
// 8, so for 128 products 4 loads of 16 bytes and 8 of 4; 16 channels a step, of which 2 at a time are unrolled. 128 sums and operands:
// about 200 registers, so 2 groups.
static const instruction_mix clblast = {.other = (4 + 8) / 128.0 + (8 + 16 + 8 * 3) / 2048.0,
                                        .local_bytes = 96 / 128.0 + 128 / 2048.0,
                                        .global_bytes = 128 / 2048.0,
                                        .rounds = 1 / 2048.0,
                                        .waits = 8 / 2048.0,
                                        .barriers = 2 / 2048.0};
enum { CLBLAST_ITEMS = 128 };

enum { NVIDIA_PRODUCTS = 16 * 8 * 16 / 32 }; // an item's share of an instruction of its matrix unit

// FlashAttention-2, heads of 128, 128 queries by 4 teams (32 each), blocks of 64 keys, 2 groups resident (64 KiB of local memory each). One
// matrix instruction of a team is 8 scores (256 products a score), so an item's quarter of a score: scale and subtract, exp2, maximum, sum,
// half a conversion; 2 products of the rescaled result. A load of 16 bytes feeds 4 instructions; Q's another 1 of 16.
static const instruction_mix flash_forward = {.matrix = NVIDIA_PRODUCTS,
                                              .other = 0.25 * (4.5 + 2) + 0.31 + 0.1,
                                              .special = 0.25,
                                              .local_bytes = 0.31 * 16,
                                              .global_bytes = 0.25,
                                              .rounds = 0,
                                              .barriers = 2.0 / 256};
// Its backward pass: 5 products, so a tenth of a score for an instruction: scale and subtract, exp2, two for dS, two conversions, 4 bytes
// stored for P and dS, one float of dQ added to memory. 8 teams, blocks of 64 x 128: a load of 16 bytes feeds 2 instructions.
static const instruction_mix flash_backward = {.matrix = NVIDIA_PRODUCTS,
                                               .other = 0.1 * (6 + 1 + 1) + 0.5 + 0.1,
                                               .special = 0.1,
                                               .local_bytes = 0.5 * 16 + 0.1 * 4,
                                               .global_bytes = 0.1 * 4 + 0.25,
                                               .barriers = 4.0 / 256};

static modelled_launch attention(double heads, double tokens, double head, double products, double queries, int items, instruction_mix mix)
{
    return (modelled_launch){.groups = heads * tokens / queries,
                             .products = products * heads * tokens * tokens * head,
                             .bytes = 8 * heads * tokens * head,
                             .report = {.mix = mix, .items = items, .resident = 256 / 2048.0}};
}

// KataGo's network of 40 blocks of two 3x3 convolutions, 256 -> 256 channels at 19 x 19, batch 16: Winograd F(4x4) in 16 bits; 36 products
// of 25 tiles a position by groups of 64 x 64 on the matrix unit, a team's part 32 x 32, 32 channels a step; transforms before and after
// that only move bytes.
static measurement katago(void)
{
    enum { LAYERS = 80, BATCH = 16, CHANNELS = 256, POINTS = 36, TILES = 25, AREA = 361 };
    static const instruction_mix mix = {.matrix = NVIDIA_PRODUCTS,
                                        .other = 1 + 0.75 + 0.5,
                                        .local_bytes = 8 + 4,
                                        .global_bytes = 4,
                                        .rounds = 1.0 / 16,
                                        .waits = 2.0 / 16,
                                        .barriers = 2.0 / 16};
    const roofline_device d = named("rtx4060ti");
    const double rows = 64 * ceil(BATCH * TILES / 64.0), plain = 2.0 * BATCH * AREA * CHANNELS,
                 spread = 2.0 * BATCH * POINTS * TILES * CHANNELS;
    const modelled_launch gemm = {.groups = POINTS * rows / 64 * CHANNELS / 64,
                                  .products = POINTS * rows * CHANNELS * CHANNELS,
                                  .bytes = 2 * spread,
                                  .report = {.mix = mix, .items = 128, .resident = 0.5}};
    const modelled_launch transform = {.groups = BATCH * TILES * CHANNELS / 64.0, .bytes = plain + spread, .report = {.items = 64}};
    const prediction g = prediction_of_launch(&d, &gemm), t = prediction_of_launch(&d, &transform);
    const double evaluations = BATCH, seconds = LAYERS * (g.seconds + 2 * t.seconds);
    return (measurement){"KataGo b40c256, OpenCL, 4060 Ti [evals/s]",
                         "KataGo #852",
                         1239,
                         evaluations / seconds,
                         evaluations / (LAYERS * (g.most + 2 * t.most)),
                         evaluations / (LAYERS * (g.least + 2 * t.least)),
                         g.seconds > 2 * t.seconds ? prediction_bottleneck(&g) : prediction_bottleneck(&t)};
}

static void test_published(void **state)
{
    (void)state;
    const double n = 4096, large = 8192;
    const roofline_device r3060 = named("rtx3060"), a100 = named("a100-80");
    roofline_device r2070 = r3060, a6000 = named("rtx3090");
    r2070.flops = 7.5e12, r2070.bandwidth = 448e9, r2070.units = 36, r2070.clock_mhz = 1620, r2070.lanes = 64, r2070.items_most = 1024;
    a6000.flops = 38.7e12, a6000.bandwidth = 768e9, a6000.units = 84, a6000.clock_mhz = 1800;
    const modelled_launch cublas_large = product(large, 128, 128, CUBLAS_ITEMS, 512 / 1536.0, cublas),
                          cublas_small = product(n, 128, 128, CUBLAS_ITEMS, 512 / 1536.0, cublas),
                          clblast_ampere = product(n, 128, 128, CLBLAST_ITEMS, 256 / 1536.0, clblast),
                          clblast_turing = product(n, 128, 128, CLBLAST_ITEMS, 256 / 1024.0, clblast);
    const modelled_launch forward = attention(16, 16384, 128, 2, 128, 128, flash_forward),
                          backward = attention(16, 16384, 128, 5, 128, 256, flash_backward);
    const double flops = 2e-12 * n * n * n, flops_large = 2e-12 * large * large * large, pairs = 2e-12 * 16 * 16384.0 * 16384 * 128;
    const measurement rows[] = {
        rate("cuBLAS SGEMM, RTX 3060 [TFLOP/s]", "torch-performance-test-data #131", 8.16, flops_large, &r3060, &cublas_large),
        rate("CLBlast SGEMM, RTX 3060 [TFLOP/s]", "80 % of it", 0.8 * 8.16, flops, &r3060, &clblast_ampere),
        rate("CLBlast SGEMM, RTX 2070 [TFLOP/s]", "lighthouseprep.net/rtx2070", 6.79, flops, &r2070, &clblast_turing),
        rate("cuBLAS SGEMM, RTX A6000 [TFLOP/s]", "abhik.ai, siboehm.com", 23.27, flops, &a6000, &cublas_small),
        rate("FlashAttention-2 forward, A100 [TFLOP/s]", "Dao 2023: up to 73 % of 312", 0.73 * 312, 2 * pairs, &a100, &forward),
        rate("FlashAttention-2 backward, A100 [TFLOP/s]", "Dao 2023: up to 63 %", 0.63 * 312, 5 * pairs, &a100, &backward),
        katago(),
    };
    printf("%-44s %9s %10s %6s  %-16s %-13s %s\n", "", "published", "prediction", "ratio", "range", "bound by", "source");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const measurement *m = &rows[i];
        char range[32];
        (void)snprintf(range, sizeof range, "%.4g to %.4g", m->least, m->most);
        printf("%-44s %9.4g %10.4g %6.2f  %-16s %-13s %s\n", m->what, m->published, m->predicted, m->predicted / m->published, range,
               bottleneck_names[m->bound], m->source);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(rows[i].least <= rows[i].predicted && rows[i].predicted <= rows[i].most);
        if (fabs(rows[i].predicted / rows[i].published - 1) > 0.3) fail_msg("%s: more than 30 %% off", rows[i].what);
    }
}

// ---- the model's laws

static modelled_launch some_launch(void)
{
    return (modelled_launch){.groups = 82 * 300,
                             .products = 82 * 300 * 256.0 * 1e5,
                             .bytes = 1e6,
                             .report = {.mix = {.other = 0.2, .local_bytes = 0.5}, .items = 256, .resident = 0.5}};
}

static double seconds_of(const modelled_launch *l)
{
    const roofline_device d = named("rtx3090");
    const prediction p = prediction_of_launch(&d, l);
    double sum = 0;
    for (int i = 0; i < BOTTLENECKS; i++) sum += p.by[i];
    assert_true(fabs(sum / p.seconds - 1) < 1e-12);
    assert_true(p.least <= p.seconds && p.seconds <= p.most);
    return p.seconds;
}

static void test_laws(void **state)
{
    (void)state;
    const roofline_device d = named("rtx3090");
    const modelled_launch plain = some_launch();
    const double start = d.launch_seconds, seconds = seconds_of(&plain) - start;
    assert_true(seconds > 2 * plain.products / d.flops); // no kernel reaches the peak
    modelled_launch l = plain;
    l.groups *= 2, l.products *= 2;
    assert_true(fabs((seconds_of(&l) - start) / seconds - 2) < 0.02);
    l = plain; // instructions beside the products cost their issue
    l.report.mix.other = 0.8;
    assert_true((seconds_of(&l) - start) / seconds > 1.3);
    l = plain; // local memory
    l.report.mix.local_bytes = 4;
    assert_true((seconds_of(&l) - start) / seconds > 2);
    assert_int_equal(prediction_bottleneck(&(prediction){.by = {[BOUND_LATENCY] = 1}}), BOUND_LATENCY);
    l = plain; // waits that too few items are there to hide
    l.report.mix.rounds = 0.05;
    const double hidden = seconds_of(&l);
    l.report.resident = 256 / 1536.0;
    assert_true(seconds_of(&l) > 1.5 * hidden);
    l = plain; // one group more than a wave begins another
    l.groups = 82 * 3;
    l.products = l.groups * 256e5;
    const double one_wave = seconds_of(&l);
    l.groups += 1, l.products += 256e5;
    assert_true(seconds_of(&l) > 1.2 * one_wave);
    l = plain; // bytes
    l.bytes = 1e12;
    assert_true(seconds_of(&l) > 1e12 / d.bandwidth);
    l = (modelled_launch){.groups = 1, .bytes = 1e6, .report = {.items = 64}};
    assert_true(seconds_of(&l) > 100 * 1e6 / d.bandwidth); // one group cannot keep the memory busy
}

// ---- the table

static void test_reports(void **state)
{
    (void)state;
    static const char options[] = "-DTAPS=9 -DTILE_M=64 -DTILE_N=64 -DITEM_M=4 -DIN_VEC=4 -DOUT_VEC=4 -DBUFFERS=1";
    kernel_report r, other;
    assert_true(kernel_report_find("conv_gpu", "conv_gpu", options, "sm_86", &r));
    assert_true(r.exact && r.items == 256 && r.resident > 0.4 && r.resident <= 1 && !r.mix.matrix);
    // 16 channels a step: 256 products, 3 quads of 16 bytes for 32, stores
    assert_true(r.mix.local_bytes > 2 && r.mix.local_bytes < 2.3 && r.mix.other > 0.1 && r.mix.other < 0.8);
    assert_true(kernel_report_find("conv_gpu", "conv_gpu", "-DTAPS=9 -DTILE_M=64 -DTILE_N=64 -DITEM_M=4 -DIN_VEC=4 -DOUT_VEC=1 -DBUFFERS=1",
                                   "gfx90a", &other));
    assert_true(!other.exact && other.items == 256);
    assert_false(kernel_report_find("conv_gpu", "conv_gpu", options, "sm_10", &r));
    assert_false(kernel_report_find("conv_cpu", "conv_cpu", "", "sm_86", &r));
}

// What the table says of the kernels that the published network runs is of those kernels, not of others like them: it is in step.
static void expect_in_step(const char *device, const char *precision)
{
    char command[512];
    (void)snprintf(
        command, sizeof command,
        "OCL_ICD_VENDORS=/nowhere \"$IDM\" plan -c \"$DATA/../../configs/published-10.ini\" --json --set train.precision=%s --for %s",
        precision, device);
    cJSON *plan = cli_json(command);
    const cJSON *p = cJSON_GetObjectItem(plan, "prediction");
    const double seconds = json_number(p, "seconds");
    if (json_number(p, "inexact") > 0.03 * seconds || json_number(p, "unreported") > 0.02 * seconds)
        fail_msg("%s, %s: kernels that src/tune/kernel_reports.txt has no rows of (%.1f%% of the time by rows of others, %.1f%% by none); "
                 "make it anew",
                 device, precision, 100 * json_number(p, "inexact") / seconds, 100 * json_number(p, "unreported") / seconds);
    printf("%-10s %-5s %8.3f s an iteration, %8.3f to %8.3f, mostly bound by %s\n", device, precision, seconds, json_number(p, "least"),
           json_number(p, "most"), cJSON_GetObjectItem(p, "bottleneck")->valuestring);
    cJSON_Delete(plan);
}

static void test_network(void **state)
{
    (void)state;
    puts("published network, 256x256, batch 8; the authors' program on an RTX 3090: 18 s an iteration");
    for (const roofline_device *d = roofline_devices; d->name; d++) {
        expect_in_step(d->name, "half");
        expect_in_step(d->name, "fp32");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_laws),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
