// What `idm bench` measures with: the stopwatch, the ceilings, the operations' counts, the energy counters.
#include "core/clock.h"
#include "ops_fixture.h"

#include "core/files.h"
#include "tune/bench_ops.h"
#include "tune/ceilings.h"
#include "tune/energy.h"
#include "tune/roofline.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const model_sizes SMALL = {{32, 64}, 4, 8, 2, 16};

// ---- the stopwatch

static int naps;

static void nap(void *user)
{
    const struct timespec time = {.tv_nsec = *(const long *)user};
    (void)nanosleep(&time, NULL);
    naps++;
}

static void check_order(const timing *t)
{
    assert_true(t->samples > 0 && t->least > 0);
    assert_true(t->least <= t->low && t->low <= t->seconds && t->seconds <= t->high && t->high <= t->most);
}

static void test_stopwatch(void **state)
{
    (void)state;
    const device_info described = roofline_describe(&roofline_devices[0]);
    context *ctx;
    timing t;
    long nanoseconds = 3000000;
    assert_int_equal(context_create(&described, &(context_options){0}, &ctx), IDM_OK);
    // the warm-up is not counted; at least three although no time is given
    naps = 0;
    assert_int_equal(stopwatch_measure(ctx, nap, &nanoseconds, 0, clock_seconds() + 60, &t), IDM_OK);
    assert_int_equal(t.samples, 3);
    assert_int_equal(naps, 4);
    assert_true(t.least >= 3e-3);
    check_order(&t);
    // more where there is time
    assert_int_equal(stopwatch_measure(ctx, nap, &nanoseconds, 0.1, clock_seconds() + 60, &t), IDM_OK);
    assert_true(t.samples > 3);
    // one when the time is over
    assert_int_equal(stopwatch_measure(ctx, nap, &nanoseconds, 5, clock_seconds(), &t), IDM_OK);
    assert_int_equal(t.samples, 1);
    check_order(&t);
    // what is short is timed many at once, and still one run is what counts
    nanoseconds = 1000;
    for (int attempt = 0, many = 0; !many; attempt++) { // on a busy machine even a short nap may last
        assert_true(attempt < 20);
        naps = 0;
        assert_int_equal(stopwatch_measure(ctx, nap, &nanoseconds, 0, clock_seconds() + 60, &t), IDM_OK);
        assert_true(t.least >= 1e-6);
        many = naps > 3 * t.samples;
    }
    // an error of the device ends it
    context_fail(ctx, IDM_FAILED, "gone");
    assert_int_equal(stopwatch_measure(ctx, nap, &nanoseconds, 0, clock_seconds() + 60, &t), IDM_FAILED);
    assert_int_equal(t.samples, 0);
    context_destroy(ctx);
}

// ---- ceilings

static void check_ceilings(const ceilings *c)
{
    const double values[] = {c->flops, c->bandwidth, c->half_bandwidth, c->launch_seconds, c->queued_seconds};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) assert_true(isfinite(values[i]) && values[i] > 0);
    assert_true(c->flops > 1e8 && c->flops < 1e16);
    assert_true(c->bandwidth > 1e8 && c->bandwidth < 1e14);
    assert_true(c->half_bandwidth > 1e7 && c->half_bandwidth < 1e14);
    assert_true(c->launch_seconds < 0.1 && c->queued_seconds < 0.1);
    const timing *const all[] = {&c->multiply_add, &c->copy, &c->triad, &c->halve, &c->launch, &c->queued};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) check_order(all[i]);
}

static void ceilings_of(ops *o, const char *table)
{
    (void)table;
    ceilings c;
    assert_int_equal(ceilings_measure(o, 0.2, &c), IDM_OK);
    check_ceilings(&c);
    assert_int_equal(arena_slabs(o->ctx, POOL_ACTIVATIONS), 0); // all scratch is given back
}

static void test_sane_in_every_table(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, ceilings_of);
}

// Inputs of operations: uniform, and the same each time.
static void test_fill(void **state)
{
    (void)state;
    enum { COUNT = 100003 };
    ops_fixture f;
    static float values[COUNT], again[COUNT];
    double sum = 0, squares = 0;
    ops_fixture_open(&f, IDM_VARIANTS_AUTO, IDM_MATH_FAST);
    const tensor t = arena_push(f.ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, COUNT);
    ceilings_fill(&f.o, t);
    assert_int_equal(context_read(f.ctx, t, values), IDM_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_true(values[i] >= -1 && values[i] < 1);
        sum += values[i];
        squares += values[i] * values[i];
    }
    assert_true(fabs(sum / COUNT) < 0.01 && fabs(squares / COUNT - 1.0 / 3) < 0.01);
    ceilings_fill(&f.o, t);
    assert_int_equal(context_read(f.ctx, t, again), IDM_OK);
    assert_memory_equal(values, again, sizeof values);
    ops_fixture_close(&f);
}

// ---- operations

enum { ROWS_MAX = 128 };

typedef struct rows {
    bench_row list[ROWS_MAX];
    int count;
} rows;

static void take_row(void *user, const bench_row *row)
{
    rows *r = user;
    assert_true(r->count < ROWS_MAX);
    if (row->failure) fail_msg("%s, %s: %s", row->name, row->shape, row->failure);
    r->list[r->count++] = *row;
}

static const bench_row *find(const rows *r, const char *name, const char *shape)
{
    for (int i = 0; i < r->count; i++)
        if (strcmp(r->list[i].name, name) == 0 && strcmp(r->list[i].shape, shape) == 0) return &r->list[i];
    fail_msg("no row '%s', '%s'", name, shape);
    return NULL;
}

static void count_dry(idm_variants variants, idm_gemm gemm, rows *r)
{
    const device_info described = roofline_describe(&roofline_devices[0]);
    const bench_settings settings = {.sizes = SMALL, .cs_ratio = 0.1, .side = 32, .flops = 1e12, .bandwidth = 1e11};
    context *ctx;
    ops o;
    assert_int_equal(context_create(&described, &(context_options){0}, &ctx), IDM_OK);
    assert_int_equal(ops_create(ctx, variants, gemm, IDM_MATH_FAST, bench_max_channels(&SMALL), &o), IDM_OK);
    *r = (rows){0};
    assert_int_equal(bench_ops(&o, &settings, take_row, r), IDM_OK);
    assert_int_equal(context_status(ctx), IDM_OK);
    context_destroy(ctx);
}

// The published operations, however a variant gets there.
static void test_counts(void **state)
{
    (void)state;
    static rows all[4];
    count_dry(IDM_VARIANTS_CPU, IDM_GEMM_OWN, &all[0]);
    count_dry(IDM_VARIANTS_GPU, IDM_GEMM_OWN, &all[1]);
    count_dry(IDM_VARIANTS_GENERIC, IDM_GEMM_OWN, &all[2]);
    count_dry(IDM_VARIANTS_GPU, IDM_GEMM_CLBLAST, &all[3]);
    for (int t = 0; t < 4; t++) {
        const rows *r = &all[t];
        assert_int_equal(r->count, all[0].count);
        assert_true(find(r, "linear", "16x16, 32 -> 256")->flops == 2.0 * 16 * 16 * 32 * 256);
        assert_true(find(r, "linear, gradient of w", "8x8, 256 -> 64")->flops == 2.0 * 8 * 8 * 256 * 64);
        assert_true(find(r, "conv3x3", "16x16, 64 -> 32")->flops == 2.0 * 16 * 16 * 9 * 64 * 32);
        assert_true(find(r, "conv3x3", "16x16, 32 -> 32, stride 2")->flops == 2.0 * 8 * 8 * 9 * 32 * 32);
        assert_true(find(r, "conv3x3, gradient of x", "8x8, 64 -> 64, upsampled")->flops == 2.0 * 16 * 16 * 9 * 64 * 64);
        assert_true(find(r, "conv3x3, gradient of w", "16x16, 4 -> 32")->flops == 2.0 * 16 * 16 * 9 * 4 * 32);
        assert_true(find(r, "attention", "256 tokens, 4 heads of 8")->flops == 4.0 * 256 * 256 * 32);
        assert_true(find(r, "attention, gradient", "64 tokens, 4 heads of 16")->flops == 10.0 * 64 * 64 * 64);
        (void)find(r, "group norm, silu, gradient", "16x16, 32");
        (void)find(r, "injector, gradient", "8x8, 64");
        (void)find(r, "A^T", "32x32, 26 of 256");
        assert_true(find(r, "silu", "16x16, 32")->bytes == 2.0 * 4 * 16 * 16 * 32);
        assert_true(find(r, "adam", "16777216 values")->bytes >= 7.0 * 4 * 16777216); // g, w, m, v read, w, m, v written
        for (int i = 0; i < r->count; i++) {
            assert_true(r->list[i].bytes > 0 && r->list[i].time.samples == 0);
            for (int j = 0; j < i; j++)
                assert_false(strcmp(r->list[i].name, r->list[j].name) == 0 && strcmp(r->list[i].shape, r->list[j].shape) == 0);
        }
    }
    assert_string_equal(find(&all[0], "linear", "16x16, 32 -> 32")->variant, "cpu");
    assert_string_equal(find(&all[3], "linear", "16x16, 32 -> 32")->variant, "clblast");
}

// On the device all are measured, and none computes faster than the ceiling; memory's may be caches'.
static void test_below_the_ceiling(void **state)
{
    (void)state;
    static rows r;
    ops_fixture f;
    ceilings c;
    double best = 0, ceiling = 0;
    ops_fixture_open(&f, IDM_VARIANTS_AUTO, IDM_MATH_FAST);
    for (int attempt = 0; attempt < 6 && !(ceiling >= best && best > 0); attempt++) { // other programs may slow down one of the two
        assert_int_equal(ceilings_measure(&f.o, 0.4, &c), IDM_OK);
        const bench_settings settings = {
            .sizes = SMALL, .cs_ratio = 0.1, .side = 64, .flops = c.flops, .bandwidth = c.bandwidth, .deadline = clock_seconds() + 2};
        r = (rows){0};
        assert_int_equal(bench_ops(&f.o, &settings, take_row, &r), IDM_OK);
        if (c.flops > ceiling) ceiling = c.flops;
        best = 0;
        for (int i = 0; i < r.count; i++) {
            check_order(&r.list[i].time);
            if (strncmp(r.list[i].name, "linear", 6) == 0) best = fmax(best, r.list[i].flops / r.list[i].time.least);
        }
    }
    if (!(ceiling >= best)) fail_msg("linear layers at %.3g FLOP/s, the ceiling is %.3g", best, ceiling);
    assert_int_equal(arena_slabs(f.ctx, POOL_ACTIVATIONS), 0);
    assert_int_equal(arena_slabs(f.ctx, POOL_DERIVED), 0);
    ops_fixture_close(&f);
}

// ---- energy

static void write_value(const char *folder, const char *zone, const char *name, const char *value)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/class/powercap/%s", folder, zone);
    assert_int_equal(files_make_folders(path), IDM_OK);
    (void)snprintf(path, sizeof path, "%s/class/powercap/%s/%s", folder, zone, name);
    assert_int_equal(files_write_whole(path, value, strlen(value)), IDM_OK);
}

static void test_energy(void **state)
{
    (void)state;
    char folder[] = "/tmp/idm-test-energy-XXXXXX", command[64];
    const device_info cpu = {.type = DEVICE_CPU}, gpu = {.type = DEVICE_GPU, .vendor = "NVIDIA Corporation"};
    energy e;
    assert_non_null(mkdtemp(folder));
    energy_begin(&e, &cpu, folder);
    assert_true(isnan(energy_joules(&e)));
    write_value(folder, "intel-rapl:0", "energy_uj", "9000000\n");
    write_value(folder, "intel-rapl:0", "max_energy_range_uj", "10000000\n");
    write_value(folder, "intel-rapl:0:0", "energy_uj", "5\n"); // a part of the first
    write_value(folder, "intel-rapl:0:0", "max_energy_range_uj", "10000000\n");
    write_value(folder, "intel-rapl:1", "energy_uj", "100\n");
    write_value(folder, "intel-rapl:1", "max_energy_range_uj", "10000000\n");
    energy_begin(&e, &gpu, folder);
    assert_true(isnan(energy_joules(&e)));
    energy_begin(&e, &cpu, folder);
    assert_int_equal(e.count, 2);
    assert_true(energy_joules(&e) == 0);
    write_value(folder, "intel-rapl:0", "energy_uj", "9500000\n");
    write_value(folder, "intel-rapl:1", "energy_uj", "2000100\n");
    assert_true(fabs(energy_joules(&e) - 2.5) < 1e-9);
    write_value(folder, "intel-rapl:0", "energy_uj", "500000\n"); // ran over
    assert_true(fabs(energy_joules(&e) - 3.5) < 1e-9);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stopwatch), cmocka_unit_test(test_sane_in_every_table), cmocka_unit_test(test_fill),
        cmocka_unit_test(test_counts),    cmocka_unit_test(test_below_the_ceiling),   cmocka_unit_test(test_energy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
