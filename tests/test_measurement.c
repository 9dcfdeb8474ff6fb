#include "hostile.h"
#include "io/inspect.h"
#include "io/measurement.h"
#include "io/operator.h"
#include "io/safetensors.h"

#include <math.h>

enum { BLOCK = 4, HEIGHT = 8, WIDTH = 12, PIXELS = HEIGHT * WIDTH, BLOCKS = PIXELS / (BLOCK * BLOCK), M = 5, COUNT = 2 };

static measurement made(void)
{
    measurement m = {.count = COUNT,
                     .height = HEIGHT,
                     .width = WIDTH,
                     .original_height = 5,
                     .original_width = 12,
                     .block = BLOCK,
                     .measurements = M,
                     .cs_ratio = 0.3};
    m.y = malloc(COUNT * BLOCKS * M * sizeof *m.y);
    m.x = malloc(COUNT * PIXELS * sizeof *m.x);
    m.perm = malloc(PIXELS * sizeof *m.perm);
    for (int i = 0; i < COUNT * BLOCKS * M; i++) m.y[i] = 0.25F * (float)i;
    for (int i = 0; i < COUNT * PIXELS; i++) m.x[i] = (float)i / (COUNT * PIXELS);
    operator_permutation(1, "picture", m.perm, PIXELS);
    assert_int_equal(operator_phi(BLOCK, M, 1, &m.phi), IDM_OK);
    return m;
}

static void assert_same(const measurement *a, const measurement *b, bool planes)
{
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->original_height, b->original_height);
    assert_int_equal(a->original_width, b->original_width);
    assert_int_equal(a->block, b->block);
    assert_int_equal(a->measurements, b->measurements);
    assert_true(a->cs_ratio == b->cs_ratio);
    assert_memory_equal(a->phi, b->phi, BLOCK * BLOCK * M * sizeof *a->phi);
    assert_memory_equal(a->perm, b->perm, PIXELS * sizeof *a->perm);
    if (!planes) return;
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->y, b->y, COUNT * BLOCKS * M * sizeof *a->y);
    assert_memory_equal(a->x, b->x, COUNT * PIXELS * sizeof *a->x);
}

static void saved_measurement_comes_back(void **state)
{
    (void)state;
    measurement m = made(), back;
    const char *path = temporary("m.safetensors");
    assert_int_equal(measurement_save(path, &m, true), IDM_OK);
    assert_int_equal(measurement_load(path, NULL, &back), IDM_OK);
    assert_same(&m, &back, true);
    measurement_free(&back);
    free(m.x);
    m.x = NULL;
    assert_int_equal(measurement_save(path, &m, true), IDM_OK);
    assert_int_equal(measurement_load(path, NULL, &back), IDM_OK);
    assert_null(back.x);
    measurement_free(&back);
    measurement_free(&m);
}

static void operator_in_a_file_of_its_own(void **state)
{
    (void)state;
    measurement m = made(), back;
    const char *path = temporary("m.safetensors"), *operator_path = temporary("operator.safetensors");
    assert_int_equal(measurement_save(path, &m, false), IDM_OK);
    assert_int_equal(measurement_save_operator(operator_path, &m), IDM_OK);
    assert_refused(measurement_load(path, NULL, &back), path, "\"phi\" is missing; give the operator file");
    assert_int_equal(measurement_load(path, operator_path, &back), IDM_OK);
    assert_same(&m, &back, true);
    measurement_free(&back);
    assert_refused(measurement_load(operator_path, NULL, &back), operator_path, "\"y\" is missing");
    assert_refused(measurement_load(path, temporary("none"), &back), "none", "No such file");
    free(m.phi);
    m.block = 2 * BLOCK;
    m.height = 16;
    m.width = 16;
    m.original_height = m.original_width = 16;
    m.measurements = 20;
    free(m.perm);
    m.perm = malloc(256 * sizeof *m.perm);
    operator_permutation(1, "other", m.perm, 256);
    assert_int_equal(operator_phi(m.block, 20, 1, &m.phi), IDM_OK);
    assert_int_equal(measurement_save_operator(operator_path, &m), IDM_OK);
    assert_refused(measurement_load(path, operator_path, &back), path, "block_size 4, but 8 in");
    measurement_free(&m);
}

static void goldens_are_measurements(void **state)
{
    (void)state;
    need_file(GOLDEN "padded.safetensors");
    measurement m;
    assert_int_equal(measurement_load(GOLDEN "padded.safetensors", NULL, &m), IDM_OK);
    assert_int_equal(m.original_height, 37);
    assert_int_equal(m.measurements, 77);
    assert_non_null(m.x);
    measurement_free(&m);
    assert_refused(measurement_load(GOLDEN "tiny_training.safetensors", NULL, &m), "tiny_training", "\"y\" is missing");
    tensor_file *file;
    assert_int_equal(tensor_file_open(GOLDEN "tiny_training.safetensors", &file), IDM_OK);
    assert_int_equal(measurement_read(file, NULL, false, &m), IDM_OK);
    assert_null(m.y);
    assert_int_equal(m.count, 2);
    measurement_free(&m);
    tensor_file_close(file);
    assert_refused(measurement_load(GOLDEN "idm_tiny.pkl", NULL, &m), "idm_tiny.pkl", "lack height and width");
}

// A good file as parts that a test spoils one at a time.
typedef struct parts {
    safetensors_tensor tensors[4]; // y, phi, perm, x
    safetensors_metadata metadata[6];
} parts;

static int64_t good_perm[PIXELS];

static parts good_parts(const measurement *m)
{
    for (int i = 0; i < PIXELS; i++) good_perm[i] = m->perm[i];
    return (parts){
        {{"y", FILE_F32, 3, {COUNT, BLOCKS, M}, m->y},
         {"phi", FILE_F32, 2, {BLOCK * BLOCK, M}, m->phi},
         {"perm", FILE_I64, 1, {PIXELS}, good_perm},
         {"x", FILE_F32, 4, {COUNT, 1, HEIGHT, WIDTH}, m->x}},
        {{"height", "8"}, {"width", "12"}, {"original_height", "5"}, {"original_width", "12"}, {"block_size", "4"}, {"cs_ratio", "0.3"}}};
}

static void assert_parts_refused(const parts *p, const char *words)
{
    const char *path = temporary("spoilt.safetensors");
    measurement m;
    assert_int_equal(safetensors_write(path, p->tensors, 4, p->metadata, 6), IDM_OK);
    assert_refused(measurement_load(path, NULL, &m), path, words);
    assert_null(m.phi);
}

static void wrong_dimensions(void **state)
{
    (void)state;
    measurement m = made();
    const struct {
        size_t tensor, dimension;
        int64_t size;
        const char *words;
    } shapes[] = {
        {0, 0, 1, "\"x\" has the shape (2, 1, 8, 12), expected (1, 1, 8, 12)"},
        {0, 1, 5, "\"y\" has the shape (2, 5, 5), expected (2, 6, 5)"},
        {0, 2, 4, "\"y\" has the shape (2, 6, 4), expected (2, 6, 5)"},
        {1, 0, 15, "\"phi\" has the shape (15, 5), expected (16, 5)"},
        {1, 1, 4, "cs_ratio 0.3 of 16 pixels is not the 4 measurements of phi"},
        {2, 0, 95, "\"perm\" has the shape (95), expected (96)"},
        {3, 2, 4, "\"x\" has the shape (2, 1, 4, 12)"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        parts p = good_parts(&m);
        p.tensors[shapes[i].tensor].shape[shapes[i].dimension] = shapes[i].size;
        assert_parts_refused(&p, shapes[i].words);
    }
    measurement_free(&m);
}

static void wrong_metadata(void **state)
{
    (void)state;
    measurement m = made();
    const struct {
        size_t key;
        const char *value, *words;
    } texts[] = {
        {0, "10", "must be multiples of block_size 4"}, {0, "eight", "\"height\" must be a number"},
        {0, "70000", "\"height\" must be a number"},    {0, "16", "more than block_size 4 needs"},
        {2, "9", "\"original_height\" must be"},        {2, "4", "more than block_size 4 needs"},
        {4, "3", "must be multiples of block_size 3"},  {4, "0", "\"block_size\" must be"},
        {5, "0.5", "is not the 5 measurements of phi"}, {5, "nan", "\"cs_ratio\" must be above 0"},
        {5, "2", "\"cs_ratio\" must be above 0"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        parts p = good_parts(&m);
        p.metadata[texts[i].key].value = texts[i].value;
        assert_parts_refused(&p, texts[i].words);
    }
    parts p = good_parts(&m);
    p.metadata[0].key = "other";
    assert_parts_refused(&p, "lack height and width");
    measurement_free(&m);
}

static void wrong_values(void **state)
{
    (void)state;
    measurement m = made();
    parts p = good_parts(&m);
    const int64_t first = good_perm[0];
    good_perm[0] = good_perm[1];
    assert_parts_refused(&p, "\"perm\" is no permutation");
    good_perm[0] = -1;
    assert_parts_refused(&p, "\"perm\" is no permutation of 96 pixels (value 0 is -1)");
    good_perm[0] = PIXELS;
    assert_parts_refused(&p, "\"perm\" is no permutation");
    good_perm[0] = first;
    p.tensors[2].dtype = FILE_F64;
    assert_parts_refused(&p, "\"perm\" holds F64 where integers belong");
    p.tensors[2].dtype = FILE_I64;
    m.y[7] = NAN;
    assert_parts_refused(&p, "\"y\" holds NaN or infinity (value 7)");
    m.y[7] = 1;
    m.phi[3] = INFINITY;
    assert_parts_refused(&p, "\"phi\" holds NaN or infinity");
    measurement_free(&m);
}

static void assert_inspected(const char *path, bool json, const char *words)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_int_equal(inspect_file(path, out, json), IDM_OK);
    (void)fclose(out);
    if (!strstr(text, words)) fail_msg("no \"%s\" in %s", words, text);
    free(text);
}

static void files_are_described(void **state)
{
    (void)state;
    measurement m = made();
    const char *path = temporary("inspected.safetensors");
    assert_int_equal(measurement_save(path, &m, true), IDM_OK);
    assert_inspected(path, false, "safetensors, 4 tensors");
    assert_inspected(path, false, "  cs_ratio = 0.3\n");
    assert_inspected(path, false, "F32   (2, 6, 5)            y\n");
    assert_inspected(path, true, "\"block_size\":\"4\"");
    assert_inspected(path, true, "{\"name\":\"perm\",\"dtype\":\"I64\",\"shape\":[96],\"bytes\":768}");
    measurement_free(&m);
    assert_refused(inspect_file(temporary("none"), stdout, false), "none", "No such file");
    need_file(GOLDEN "idm_tiny.pkl");
    assert_inspected(GOLDEN "idm_tiny.pkl", false, "torch zip, 1079 tensors (585 distinct)");
    assert_inspected(GOLDEN "idm_tiny.pkl", true, "\"shared_with\":\"unet.down_blocks.0.resnets.0.norm1.weight\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_measurement_comes_back),
        cmocka_unit_test(operator_in_a_file_of_its_own),
        cmocka_unit_test(goldens_are_measurements),
        cmocka_unit_test(wrong_dimensions),
        cmocka_unit_test(wrong_metadata),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(files_are_described),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
