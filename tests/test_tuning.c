// Tuning files: rows and classes, the text, the choice of a file, the journal of a search.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/files.h"
#include "ops/ops.h"
#include "ops_fixture.h"
#include "tune/candidates.h"
#include "tune/journal.h"
#include "tune/roofline.h"
#include "tune/trial.h"
#include "tune/tuning_choose.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64];

static void in_folder(const char *name, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", folder, name);
}

static void parse(const char *text, tuning_file *f)
{
    if (tuning_file_parse("t", text, f) != IDM_OK) fail_msg("%s", idm_message());
}

static void expect_bad(const char *text, const char *words)
{
    tuning_file f;
    char copy[256], *rest = copy, *word;
    assert_int_equal(tuning_file_parse("table.txt", text, &f), IDM_BAD_INPUT);
    assert_null(f.t.rows);
    (void)snprintf(copy, sizeof copy, "%s", words);
    while ((word = strsep(&rest, "|")) != NULL)
        if (!strstr(idm_message(), word)) fail_msg("no '%s' in: %s", word, idm_message());
}

// ---- rows

static const tuning_row *find(const tuning_file *f, tuning_shape call)
{
    const ops o = {.tuning = &f->t};
    return tuning_find(&o, &call);
}

static int tile_rows(const tuning_file *f, tuning_shape call)
{
    return tuning_value(find(f, call), TUNE_TILE_ROWS, 0);
}

static void test_classes(void **state)
{
    (void)state;
    const tuning_shape cpu = {.op = TUNED_CONV, .variant = VARIANT_CPU, .in = 960, .out = 321, .pixels = 4000};
    tuning_shape class = tuning_class(&cpu), gpu = cpu;
    assert_int_equal(class.in, 1024);
    assert_int_equal(class.out, 336);
    assert_int_equal(class.pixels, 0); // panels fit every picture
    gpu.variant = VARIANT_GPU;
    class = tuning_class(&gpu);
    assert_int_equal(class.pixels, 4096);
    const tuning_shape attention = {.op = TUNED_ATTENTION, .variant = VARIANT_GPU, .pixels = 1, .head = 40, .samples = 3, .heads = 8};
    class = tuning_class(&attention);
    assert_int_equal(class.head, 40);
    assert_int_equal(class.pixels, 1);
    assert_int_equal(class.heads, 0);
    assert_int_equal(class.samples, 0);
    class = tuning_class(&(tuning_shape){.op = TUNED_LINEAR, .variant = VARIANT_CPU, .in = INT32_MAX, .out = 1});
    assert_int_equal(class.in, 1 << 30);
    assert_int_equal(class.out, 16);
}

static void test_find(void **state)
{
    (void)state;
    tuning_file f;
    parse("idm tuning 1\n"
          "conv3x3 cpu: tile_rows=1\n"
          "conv3x3 cpu in=512: tile_rows=2\n"
          "conv3x3 cpu in=512 out=320: tile_rows=3\n"
          "linear cpu in=512 out=320: tile_rows=4\n"
          "conv3x3 gpu in=512 pixels=256: tile_rows=5\n"
          "conv3x3 gpu in=512 pixels=4096: tile_rows=6\n",
          &f);
    tuning_shape call = {.op = TUNED_CONV, .variant = VARIANT_CPU, .in = 320, .out = 320, .pixels = 100};
    assert_int_equal(tile_rows(&f, call), 3);
    call.out = 640;
    assert_int_equal(tile_rows(&f, call), 2);
    call.in = 640;
    assert_int_equal(tile_rows(&f, call), 1);
    call.op = TUNED_LINEAR;
    assert_null(find(&f, call));
    call = (tuning_shape){.op = TUNED_CONV, .variant = VARIANT_GPU, .in = 320, .out = 320, .pixels = 300};
    assert_int_equal(tile_rows(&f, call), 5); // the nearer number of pixels
    call.pixels = 1 << 20;
    assert_int_equal(tile_rows(&f, call), 6);
    call.in = 100;
    assert_null(find(&f, call));
    call.variant = VARIANT_GENERIC;
    assert_null(find(&f, call));
    const ops untuned = {0};
    assert_null(tuning_find(&untuned, &call));
    tuning_file_free(&f);
}

static void count_call(void *user, const tuning_shape *call)
{
    int *sum = user;
    *sum += call->pixels;
}

static void test_listener(void **state)
{
    (void)state;
    int sum = 0;
    const tuning_listener listener = {count_call, &sum};
    const ops o = {.seen = &listener};
    assert_null(tuning_find(&o, &(tuning_shape){.pixels = 7}));
    assert_int_equal(sum, 7);
}

static void test_hash(void **state)
{
    (void)state;
    tuning_file a, b, c;
    parse("idm tuning 1\nconv3x3 cpu: unroll=2\nlinear cpu in=64: block=60 tile_rows=5\n", &a);
    parse("idm tuning 1\ndevice = other\nlinear cpu in=64: tile_rows=5 block=60 # the same\n\nconv3x3 cpu: unroll=2\n", &b);
    parse("idm tuning 1\nconv3x3 cpu: unroll=4\nlinear cpu in=64: block=60 tile_rows=5\n", &c);
    assert_true(tuning_hash(&a.t) == tuning_hash(&b.t));
    assert_true(tuning_hash(&a.t) != tuning_hash(&c.t));
    assert_true(tuning_hash(&a.t) != 0);
    assert_true(tuning_hash(&(tuning){0}) == 0);
    tuning_row *row = &c.t.rows[0];
    row->values[TUNE_UNROLL] = 2;
    assert_true(tuning_hash(&a.t) == tuning_hash(&c.t));
    row->shape.in = 64;
    assert_true(tuning_hash(&a.t) != tuning_hash(&c.t));
    tuning_file_free(&a);
    tuning_file_free(&b);
    tuning_file_free(&c);
}

// ---- files

static void test_round_trip(void **state)
{
    (void)state;
    char path[256];
    tuning_file f = {.program = UINT64_C(0xfedcba9876543210)}, g;
    (void)snprintf(f.device, sizeof f.device, "A device, of sorts = 3");
    (void)snprintf(f.driver, sizeof f.driver, "1.2+x");
    for (int op = 0; op < TUNED_OPS; op++)
        for (tuning_parameter p = 0; p < TUNING_PARAMETERS; p++) {
            tuning_row row = {
                .shape = {.op = (tuned_op)op, .variant = p % 2 ? VARIANT_CPU : VARIANT_GPU, .in = 16 * ((int)p + 1), .head = op}};
            tuning_set(&row, p, p == TUNE_CLBLAST || p == TUNE_WINOGRAD ? 0 : 64);
            if (p == TUNE_TILE_VECTORS || p == TUNE_ITEM_ROWS) row.values[p] = 8;
            if (p == TUNE_UNROLL || p == TUNE_QUERY_TILES) row.values[p] = 32;
            if (p == TUNE_BUFFERS) row.values[p] = 2;
            assert_true(tuning_add(&f.t, &row));
        }
    in_folder("round", path);
    assert_int_equal(tuning_file_save(&f, path), IDM_OK);
    if (tuning_file_load(path, &g) != IDM_OK) fail_msg("%s", idm_message());
    assert_int_equal(g.t.count, f.t.count);
    assert_memory_equal(g.t.rows, f.t.rows, f.t.count * sizeof *f.t.rows);
    assert_string_equal(g.device, f.device);
    assert_string_equal(g.driver, f.driver);
    assert_true(g.program == f.program);
    assert_true(tuning_hash(&g.t) == tuning_hash(&f.t));
    tuning_row again = f.t.rows[3];
    tuning_set(&again, TUNE_UNROLL, 5);
    assert_true(tuning_add(&f.t, &again)); // in its place
    assert_int_equal(f.t.count, g.t.count);
    assert_int_equal(tuning_value(&f.t.rows[3], TUNE_UNROLL, 0), 5);
    tuning_file_free(&f);
    tuning_file_free(&g);
}

static void test_bad_files(void **state)
{
    (void)state;
    tuning_file f;
    char path[256];
    expect_bad("", "table.txt|empty");
    expect_bad("# nothing\n\n", "empty");
    expect_bad("idm tuning 2\n", "table.txt:1|idm tuning 1");
    expect_bad("[tuning]\nversion = 1\n", "table.txt:1|idm tuning 1");
    expect_bad("idm tuning 1\n\ncolour = red\n", "table.txt:3|'colour'|did you mean");
    expect_bad("idm tuning 1\nclass = tpu\n", "cpu or gpu|tpu");
    expect_bad("idm tuning 1\nprogram = xyz\n", "program|xyz");
    expect_bad("idm tuning 1\nconv3x3 cpu\n", "table.txt:2|colon");
    expect_bad("idm tuning 1\nconv3x3: tile_rows=5\n", "operation and variant");
    expect_bad("idm tuning 1\nconv5x5 cpu: tile_rows=5\n", "unknown operation 'conv5x5'|conv3x3");
    expect_bad("idm tuning 1\nconv3x3 tpu: tile_rows=5\n", "unknown variant 'tpu'|cpu");
    expect_bad("idm tuning 1\nconv3x3 cpu width=3: tile_rows=5\n", "unknown part of a shape class 'width'");
    expect_bad("idm tuning 1\nconv3x3 cpu in=: tile_rows=5\n", "in|no number");
    expect_bad("idm tuning 1\nconv3x3 cpu in=-3: tile_rows=5\n", "in|-3");
    expect_bad("idm tuning 1\nconv3x3 cpu:\n", "without values");
    expect_bad("idm tuning 1\nconv3x3 cpu: tile_row=5\n", "unknown parameter 'tile_row'|'tile_rows'");
    expect_bad("idm tuning 1\nconv3x3 cpu: tile_rows=five\n", "tile_rows|five");
    expect_bad("idm tuning 1\nconv3x3 cpu: tile_rows=0\n", "tile_rows = 0|1 to 256");
    expect_bad("idm tuning 1\nconv3x3 cpu: tile_rows=99999999999999999999\n", "tile_rows");
    expect_bad("idm tuning 1\nconv3x3 cpu: tile_rows=5 tile_rows=6\n", "twice");
    expect_bad("idm tuning 1\nconv3x3 cpu: tile_rows=5\nconv3x3 cpu: unroll=2\n", "table.txt:3|second row");
    char line[2048] = "idm tuning 1\nconv3x3 cpu: ";
    memset(line + strlen(line), 'x', 1000);
    expect_bad(line, "longer than");
    in_folder("binary", path);
    assert_int_equal(files_write_whole(path, "idm tuning 1\n\0x", 15), IDM_OK);
    assert_int_equal(tuning_file_load(path, &f), IDM_BAD_INPUT);
    in_folder("missing", path);
    assert_int_equal(tuning_file_load(path, &f), IDM_BAD_INPUT);
}

// ---- the choice

static const device_info described = {.name = "NVIDIA GeForce RTX 3090",
                                      .vendor = "NVIDIA Corporation",
                                      .driver = "535.1",
                                      .version = "OpenCL 3.0",
                                      .platform_name = "NVIDIA CUDA",
                                      .type = DEVICE_GPU};

static tuning_origin carried(const struct embedded_source *tables, tuning_choice *c)
{
    *c = (tuning_choice){0};
    if (tuning_choose_carried(tables, &described, c) != IDM_OK) fail_msg("%s", idm_message());
    return c->origin;
}

static void test_fallback(void **state)
{
    (void)state;
    static const char class_table[] = "idm tuning 1\nclass = gpu\nconv3x3 gpu: tile_rows=1\n",
                      cpu_table[] = "idm tuning 1\nclass = cpu\nconv3x3 cpu: tile_rows=2\n",
                      vendor_table[] = "idm tuning 1\nvendor = NVIDIA\nconv3x3 gpu: tile_rows=3\n",
                      other_table[] = "idm tuning 1\nvendor = Intel\nconv3x3 gpu: tile_rows=4\n",
                      architecture_table[] = "idm tuning 1\narchitecture = RTX 30\nconv3x3 gpu: tile_rows=5\n",
                      general_table[] = "idm tuning 1\nconv3x3 gpu: tile_rows=6\n";
    // the order in the list counts for nothing
    struct embedded_source all[] = {{"cpu.txt", cpu_table},
                                    {"arch.txt", architecture_table},
                                    {"class.txt", class_table},
                                    {"vendor.txt", vendor_table},
                                    {"other.txt", other_table},
                                    {"general.txt", general_table},
                                    {NULL, NULL}};
    static const struct {
        tuning_origin origin;
        int rows;
        const char *name, *removed;
    } expected[] = {{TUNING_ARCHITECTURE, 5, "architecture RTX 30", "arch.txt"},
                    {TUNING_VENDOR, 3, "vendor NVIDIA", "vendor.txt"},
                    {TUNING_CLASS, 1, "class gpu", "class.txt"}};
    tuning_choice c;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(carried(all, &c), expected[i].origin);
        assert_string_equal(c.name, expected[i].name);
        assert_int_equal(tuning_value(&c.file.t.rows[0], TUNE_TILE_ROWS, 0), expected[i].rows);
        assert_true(c.hash == tuning_hash(&c.file.t));
        tuning_choice_free(&c);
        for (struct embedded_source *s = all; s->name; s++)
            if (strcmp(s->name, expected[i].removed) == 0) s->text = other_table;
    }
    assert_int_equal(carried(all, &c), TUNING_NONE);
    assert_true(c.hash == 0);
    const struct embedded_source damaged[] = {{"a.txt", class_table}, {"b.txt", "idm tuning 1\nvendor = NVIDIA\nnonsense\n"}, {NULL, NULL}};
    c = (tuning_choice){0};
    assert_int_equal(tuning_choose_carried(damaged, &described, &c), IDM_BAD_INPUT);
    assert_non_null(strstr(idm_message(), "b.txt:3"));
    assert_null(c.file.t.rows);
}

// What the program carries is sound.
static void test_carried(void **state)
{
    (void)state;
    for (const struct embedded_source *s = embedded_tunings; s->name; s++) {
        tuning_file f;
        if (tuning_file_parse(s->name, s->text, &f) != IDM_OK) fail_msg("%s", idm_message());
        assert_true((f.architecture[0] != 0) + (f.vendor[0] != 0) + (f.device_class[0] != 0) == 1);
        assert_true(f.t.count > 0);
        assert_true(f.predicted); // until someone measures
        tuning_file_free(&f);
    }
    static const char *const with_table[] = {"rtx3090", "rx7900xtx", "a770"};
    for (size_t i = 0; i < sizeof with_table / sizeof *with_table; i++) {
        const roofline_device *named;
        tuning_choice c;
        assert_int_equal(roofline_find(with_table[i], &named), IDM_OK);
        const device_info d = roofline_describe(named);
        c = (tuning_choice){0};
        assert_int_equal(tuning_choose_carried(embedded_tunings, &d, &c), IDM_OK);
        assert_int_equal(c.origin, TUNING_ARCHITECTURE);
        tuning_choice_free(&c);
    }
}

static void save_for_device(uint64_t program, const char *extra)
{
    char path[4096], above[4096], text[512];
    assert_true(tuning_device_path(&described, path, sizeof path));
    assert_int_equal(files_folder_of(above, sizeof above, path), IDM_OK);
    assert_int_equal(files_make_folders(above), IDM_OK);
    const int length =
        snprintf(text, sizeof text, "idm tuning 1\ndevice = %s\ndriver = %s\nprogram = %016llx\nconv3x3 gpu: tile_rows=32\n%s",
                 described.name, described.driver, (unsigned long long)program, extra);
    assert_int_equal(files_write_whole(path, text, (size_t)length), IDM_OK);
}

static void test_choose(void **state)
{
    (void)state;
    tuning_choice c;
    uint64_t program;
    char path[4096];
    assert_int_equal(program_hash(&program), IDM_OK);
    assert_int_equal(tuning_choose("auto", &described, &c), IDM_OK);
    assert_true(c.origin != TUNING_DEVICE);
    tuning_choice_free(&c);
    save_for_device(program, "");
    assert_int_equal(tuning_choose("auto", &described, &c), IDM_OK);
    assert_int_equal(c.origin, TUNING_DEVICE);
    assert_int_equal(c.file.t.count, 1);
    assert_true(c.hash != 0);
    assert_string_equal(c.note, "");
    tuning_choice_free(&c);
    assert_int_equal(tuning_choose("none", &described, &c), IDM_OK);
    assert_int_equal(c.origin, TUNING_NONE);
    assert_true(c.hash == 0);
    device_info other = described; // another driver
    other.driver[0] = '6';
    assert_int_equal(tuning_choose("auto", &other, &c), IDM_OK);
    assert_true(c.origin != TUNING_DEVICE);
    tuning_choice_free(&c);
    // the same file by name is for others too, with a note
    assert_true(tuning_device_path(&described, path, sizeof path));
    assert_int_equal(tuning_choose(path, &other, &c), IDM_OK);
    assert_int_equal(c.origin, TUNING_GIVEN);
    assert_int_equal(c.file.t.count, 1);
    assert_non_null(strstr(c.note, "was made for"));
    tuning_choice_free(&c);
    save_for_device(program + 1, "");
    assert_int_equal(tuning_choose("auto", &described, &c), IDM_OK);
    assert_true(c.origin != TUNING_DEVICE);
    assert_non_null(strstr(c.note, "another version of the kernels"));
    tuning_choice_free(&c);
    save_for_device(program, "nonsense\n");
    assert_int_equal(tuning_choose("auto", &described, &c), IDM_OK);
    assert_true(c.origin != TUNING_DEVICE);
    assert_non_null(strstr(c.note, "left out"));
    tuning_choice_free(&c);
    assert_int_equal(tuning_choose(path, &described, &c), IDM_BAD_INPUT);
}

// ---- the journal

static void test_journal(void **state)
{
    (void)state;
    char path[256];
    journal *j;
    in_folder("deep/er/journal", path);
    assert_int_equal(journal_open(path, 7, false, "r", &j), IDM_OK);
    assert_int_equal(journal_begin(j, "good one"), IDM_OK);
    assert_int_equal(journal_end(j, "good one", NULL), IDM_OK);
    assert_int_equal(journal_begin(j, "wrong one"), IDM_OK);
    assert_int_equal(journal_end(j, "wrong one", "wrong, error 1e0"), IDM_OK);
    assert_string_equal(journal_failure(j, "wrong one"), "wrong, error 1e0");
    assert_null(journal_failure(j, "good one"));
    assert_int_equal(journal_finish(j, "group", "line"), IDM_OK);
    assert_int_equal(journal_begin(j, "deadly one"), IDM_OK);
    journal_close(j);

    assert_int_equal(journal_open(path, 7, true, "no answer within 4 s", &j), IDM_OK); // the search goes on
    assert_string_equal(journal_failure(j, "deadly one"), "no answer within 4 s");
    assert_string_equal(journal_failure(j, "wrong one"), "wrong, error 1e0");
    assert_string_equal(journal_result(j, "group"), "line");
    assert_int_equal(journal_failures(j), 2);
    journal_close(j);

    assert_int_equal(journal_open(path, 7, false, "r", &j), IDM_OK); // a new search
    assert_string_equal(journal_failure(j, "deadly one"), "no answer within 4 s");
    assert_null(journal_result(j, "group"));
    assert_int_equal(journal_failures(j), 2);
    journal_close(j);

    uint8_t *text;
    size_t size;
    assert_int_equal(files_read_whole(path, 1 << 20, &text, &size), IDM_OK);
    assert_int_equal(files_write_whole(path, text, size - 3), IDM_OK); // a torn last line counts for nothing
    free(text);
    assert_int_equal(journal_open(path, 7, false, "r", &j), IDM_OK);
    assert_int_equal(journal_failures(j), 1);
    journal_close(j);

    assert_int_equal(journal_open(path, 8, false, "r", &j), IDM_OK); // other kernels
    assert_int_equal(journal_failures(j), 0);
    journal_close(j);
    assert_int_equal(journal_open("/proc/none/journal", 8, false, "r", &j), IDM_FAILED);
    assert_null(j);
}

// ---- candidates

// Every axis changes what kernels are built or how they are launched, and every candidate gives right results; here the first of each axis,
// `idm tune` checks the others before it uses them.
static void check_candidates(ops *o, const char *table)
{
    static const tuning_shape calls[] = {
        {.op = TUNED_CONV, .in = 36, .out = 40, .pixels = 600},
        {.op = TUNED_LINEAR, .in = 36, .out = 40, .pixels = 600},
        {.op = TUNED_CONV_WEIGHT_GRADIENT, .in = 36, .out = 40, .pixels = 600},
        {.op = TUNED_LINEAR_WEIGHT_GRADIENT, .in = 36, .out = 40, .pixels = 600},
        {.op = TUNED_ATTENTION, .pixels = 300, .head = 20, .samples = 1, .heads = 2},
        {.op = TUNED_ATTENTION_BACKWARD, .pixels = 300, .head = 20, .samples = 1, .heads = 2},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        tuning_shape call = calls[i];
        call.variant = (int)o->table.conv;
        const candidate_axis *axes;
        const size_t count = candidates_axes(call.op, (variant)call.variant, context_device(o->ctx), &axes);
        if (call.variant == VARIANT_GENERIC) assert_int_equal(count, 0);
        else assert_true(count > 0);
        double seconds, difference;
        trial *t = count ? trial_create(o, &call) : NULL;
        if (!t) continue;
        assert_int_equal(trial_time(t, NULL, 1, 0, &seconds, &difference), IDM_OK);
        for (size_t k = 0; k < count; k++) {
            tuning_row row = {.shape = tuning_class(&call)};
            row = candidates_apply(&row, &axes[k].settings[0]);
            char text[TUNING_LINE_SIZE];
            tuning_row_format(&row, text);
            const check_result result = trial_check(o, &call, &row);
            if (result.status != IDM_OK || !(result.error < 1e-5))
                fail_msg("%s, %s: error %.1e %s", table, text, result.error, idm_message());
            assert_int_equal(trial_time(t, &row, 2, 10, &seconds, &difference), IDM_OK);
            assert_true(difference < 1e-5);
            assert_true(seconds > 0);
            assert_null(o->tuning);
        }
        trial_free(t);
    }
}

static void test_candidates(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_FAST, check_candidates);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/idm-test-tuning-XXXXXX");
    return mkdtemp(folder) && setenv("IDM_CACHE_DIR", folder, 1) == 0 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    char command[96];
    (void)snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),  cmocka_unit_test(test_find),       cmocka_unit_test(test_listener),
        cmocka_unit_test(test_hash),     cmocka_unit_test(test_round_trip), cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_fallback), cmocka_unit_test(test_carried),    cmocka_unit_test(test_choose),
        cmocka_unit_test(test_journal),  cmocka_unit_test(test_candidates),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
