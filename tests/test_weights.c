#include "hostile.h"
#include "io/operator.h"
#include "io/safetensors.h"
#include "io/tensor_file.h"
#include "io/torch_zip.h"
#include "io/weights.h"
#include "synthetic.h"

static const model_sizes tiny = {{32, 64}, 4, 8, 3, 16};

static weights *tiny_synthetic(void)
{
    weights *w;
    assert_int_equal(weights_allocate(&tiny, &w), IDM_OK);
    synthetic_fill(w, 3);
    return w;
}

static void assert_same_values(const weights *a, const weights *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_string_equal(a->parameters[i].name, b->parameters[i].name);
        if (memcmp(a->values[i], b->values[i], a->parameters[i].count * sizeof(float)) != 0) fail_msg("%s differs", a->parameters[i].name);
    }
}

static void authors_file_gives_the_tiny_weights(void **state)
{
    (void)state;
    need_file(GOLDEN "idm_tiny.pkl");
    const char *converted = temporary("tiny.safetensors");
    assert_int_equal(weights_convert(GOLDEN "idm_tiny.pkl", converted, NULL, false), IDM_OK);
    weights *w, *expected = tiny_synthetic();
    assert_int_equal(weights_load(converted, NULL, &w), IDM_OK);
    assert_same_values(w, expected);
    assert_int_equal(w->sizes.channels[1], 64);
    assert_int_equal(w->sizes.steps, 3);
    assert_int_equal(w->sizes.heads, 0); // no shape tells
    assert_false(w->imported);
    weights_free(w);
    weights_free(expected);
}

static void assert_start_values(const weights *w, const tensor_file *copied)
{
    for (size_t i = 0; i < w->count; i++) {
        const parameter_name *p = &w->parameters[i];
        if (copied && tensor_file_find(copied, p->name)) continue;
        double sum = 0, largest = 0;
        for (size_t k = 0; k < p->count; k++) {
            sum += w->values[i][k];
            largest = fmax(largest, fabs((double)w->values[i][k]));
            if (p->fan_in == 0) assert_true(w->values[i][k] == p->start);
        }
        if (p->fan_in == 0) continue;
        const double bound = 1 / sqrt(p->fan_in), count = (double)p->count;
        assert_true(largest <= bound * (1 + 1e-6));
        assert_true(fabs(sum / count) <= 6 * bound / sqrt(3 * count));
        if (p->count > 50) assert_true(largest > 0.8 * bound);
    }
}

static void stable_diffusion_is_imported(void **state)
{
    (void)state;
    const char *const files[] = {GOLDEN "sd15_tiny_diffusers.safetensors", GOLDEN "sd15_tiny_single_file.safetensors"};
    need_file(GOLDEN "sd15_tiny_expected.safetensors");
    tensor_file *expected;
    assert_int_equal(tensor_file_open(GOLDEN "sd15_tiny_expected.safetensors", &expected), IDM_OK);
    for (int f = 0; f < 2; f++) {
        const weights_options options = {.sizes = tiny, .seed = 9};
        weights *w;
        assert_int_equal(weights_load(files[f], &options, &w), IDM_OK);
        assert_true(w->imported);
        assert_memory_equal(&w->sizes, &tiny, sizeof tiny);
        size_t copied = 0;
        for (size_t i = 0; i < w->count; i++) {
            const tensor_entry *entry = tensor_file_find(expected, w->parameters[i].name);
            if (!entry) continue;
            float *values = malloc(entry->count * sizeof *values);
            assert_int_equal(tensor_file_read_f32(expected, entry, values), IDM_OK);
            assert_memory_equal(values, w->values[i], entry->count * sizeof *values);
            free(values);
            copied++;
        }
        assert_int_equal(copied, tensor_file_count(expected));
        assert_start_values(w, expected);
        weights_free(w);
    }
    tensor_file_close(expected);
}

// SD as a .ckpt: torch zip, single-file names (made from the fixture).
static void stable_diffusion_as_torch_file(void **state)
{
    (void)state;
    need_file(GOLDEN "sd15_tiny_single_file.safetensors");
    tensor_file *file;
    assert_int_equal(tensor_file_open(GOLDEN "sd15_tiny_single_file.safetensors", &file), IDM_OK);
    const size_t count = tensor_file_count(file);
    torch_zip_tensor *tensors = calloc(count, sizeof *tensors);
    for (size_t i = 0; i < count; i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        float *values = malloc(entry->count * sizeof *values);
        assert_int_equal(tensor_file_read_f32(file, entry, values), IDM_OK);
        tensors[i] = (torch_zip_tensor){.name = entry->name, .rank = entry->rank, .data = values};
        memcpy(tensors[i].shape, entry->shape, sizeof entry->shape);
    }
    const char *path = temporary("sd.ckpt");
    assert_int_equal(torch_zip_write(path, tensors, count), IDM_OK);
    const weights_options options = {.sizes = tiny, .seed = 9};
    weights *a, *b;
    assert_int_equal(weights_load(path, &options, &a), IDM_OK);
    assert_int_equal(weights_load(GOLDEN "sd15_tiny_single_file.safetensors", &options, &b), IDM_OK);
    assert_same_values(a, b);
    weights_free(a);
    weights_free(b);
    for (size_t i = 0; i < count; i++) free((float *)tensors[i].data);
    free(tensors);
    tensor_file_close(file);
}

static void random_start(void **state)
{
    (void)state;
    weights *w, *again;
    assert_int_equal(weights_init_random(&tiny, 1, &w), IDM_OK);
    assert_start_values(w, NULL);
    assert_int_equal(weights_init_random(&tiny, 1, &again), IDM_OK);
    assert_same_values(w, again);
    weights_free(again);
    assert_int_equal(weights_init_random(&tiny, 2, &again), IDM_OK);
    assert_true(weights_find(w, "unet.conv_in.weight")[0] != weights_find(again, "unet.conv_in.weight")[0]);
    assert_null(weights_find(w, "unet.conv_in"));
    weights_free(w);
    weights_free(again);
}

static void saved_weights_come_back(void **state)
{
    (void)state;
    weights *w = tiny_synthetic(), *back;
    w->measurements = 26;
    w->cs_ratio = 0.1;
    assert_int_equal(operator_phi(16, 26, 1, &w->phi), IDM_OK);
    const char *path = temporary("saved.safetensors");
    assert_int_equal(weights_save(w, path), IDM_OK);
    assert_int_equal(weights_load(path, NULL, &back), IDM_OK);
    assert_same_values(w, back);
    assert_memory_equal(&back->sizes, &tiny, sizeof tiny);
    assert_true(back->cs_ratio == 0.1);
    assert_int_equal(back->measurements, 26);
    assert_memory_equal(w->phi, back->phi, 256 * 26 * sizeof(float));
    weights_free(back);
    const struct {
        weights_options options;
        const char *words;
    } contradictions[] = {
        {{.sizes = {.channels = {48, 96}}}, "channels (level 0) is 32 in the file, but 48 in the configuration"},
        {{.sizes = {.steps = 2}}, "steps is 3 in the file, but 2 in the configuration"},
        {{.sizes = {.heads = 8}}, "heads is 4 in the file, but 8"},
        {{.sizes = {.groups = 32}}, "groups is 8 in the file, but 32"},
        {{.sizes = {.block = 32}}, "block_size is 16 in the file, but 32"},
        {{.cs_ratio = 0.5}, "phi has 26 measurements per block of 256 pixels, but cs_ratio is 0.5 in the configuration"},
    };
    for (size_t i = 0; i < sizeof contradictions / sizeof *contradictions; i++)
        assert_refused(weights_load(path, &contradictions[i].options, &back), path, contradictions[i].words);

    assert_int_equal(weights_load(path, &(weights_options){.any_ratio = true, .cs_ratio = 0.5}, &back), IDM_OK);
    assert_same_values(w, back);
    assert_true(back->cs_ratio == 0.5);
    assert_null(back->phi);
    weights_free(back);
    assert_int_equal(weights_load(path, &(weights_options){.any_ratio = true, .cs_ratio = 0.1}, &back), IDM_OK);
    assert_int_equal(back->measurements, 26);
    weights_free(back);
    weights_free(w);
}

static void half_of_the_bytes(void **state)
{
    (void)state;
    const char *whole = temporary("whole.safetensors"), *half = temporary("half.safetensors");
    weights *w = tiny_synthetic(), *back;
    w->measurements = 26;
    assert_int_equal(operator_phi(16, 26, 1, &w->phi), IDM_OK);
    w->values[3][0] = 1e-6F; // a subnormal half
    assert_int_equal(weights_save(w, whole), IDM_OK);
    assert_int_equal(weights_convert(whole, half, NULL, true), IDM_OK);
    assert_int_equal(weights_load(half, NULL, &back), IDM_OK);
    for (size_t i = 0; i < w->count; i++) {
        for (size_t k = 0; k < w->parameters[i].count; k++) {
            const double was = (double)w->values[i][k];
            assert_true(fabs((double)back->values[i][k] - was) <= fmax(fabs(was) * 0x1p-11, 0x1p-25));
        }
    }
    assert_memory_equal(w->phi, back->phi, 256 * 26 * sizeof(float));
    weights_free(back);
    w->values[3][0] = 65520;
    assert_int_equal(weights_save_half(w, temporary("large.safetensors")), IDM_FAILED);
    assert_non_null(strstr(idm_message(), w->parameters[3].name));
    assert_non_null(strstr(idm_message(), "holds 65520, too large for 16 bits"));
    assert_int_not_equal(access(temporary("large.safetensors"), F_OK), 0);
    weights_free(w);
}

// Each size in the metadata, wrong, with the right tensors.
static void metadata_that_contradicts_the_tensors(void **state)
{
    (void)state;
    weights *w = tiny_synthetic(), *back;
    const char *path = temporary("wrong.safetensors");
    const struct {
        model_sizes sizes;
        const char *words;
    } wrong[] = {
        {{{32, 96}, 4, 8, 3, 16}, "channels (level 1) is 64 in the file, but 96 in its metadata"},
        {{{32, 64}, 4, 8, 4, 16}, "steps is 3 in the file, but 4 in its metadata"},
        {{{32, 64}, 5, 8, 3, 16}, "cannot be divided into heads (5)"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        w->sizes = wrong[i].sizes;
        assert_int_equal(weights_save(w, path), IDM_OK);
        assert_refused(weights_load(path, NULL, &back), path, wrong[i].words);
    }
    w->sizes = tiny;
    w->measurements = 26;
    w->cs_ratio = 0.2; // 26 is 0.1
    assert_int_equal(operator_phi(16, 26, 1, &w->phi), IDM_OK);
    assert_int_equal(weights_save(w, path), IDM_OK);
    assert_refused(weights_load(path, NULL, &back), path, "cs_ratio is 0.2 in its metadata");
    w->measurements = 13; // phi of another shape: 256 x 13 is no contradiction by itself, 13 = ceil(0.05 * 256)
    w->cs_ratio = 0.05;
    assert_int_equal(weights_save(w, path), IDM_OK);
    assert_int_equal(weights_load(path, NULL, &back), IDM_OK);
    weights_free(back);
    weights_free(w);
}

// The tiny weights as a list of tensors to spoil: written by the caller, freed by free().
static safetensors_tensor *tensor_list_of(const weights *w, size_t extra)
{
    safetensors_tensor *tensors = calloc(w->count + extra, sizeof *tensors);
    for (size_t i = 0; i < w->count; i++) {
        tensors[i] =
            (safetensors_tensor){.name = w->parameters[i].name, .dtype = FILE_F32, .rank = w->parameters[i].rank, .data = w->values[i]};
        memcpy(tensors[i].shape, w->parameters[i].shape, sizeof w->parameters[i].shape);
    }
    return tensors;
}

static void assert_list_refused(const safetensors_tensor *tensors, size_t count, const char *words)
{
    const char *path = temporary("spoilt.safetensors");
    weights *w;
    assert_int_equal(safetensors_write(path, tensors, count, NULL, 0), IDM_OK);
    assert_refused(weights_load(path, NULL, &w), path, words);
    assert_null(w);
}

static void spoilt_sets(void **state)
{
    (void)state;
    weights *w = tiny_synthetic();
    safetensors_tensor *tensors = tensor_list_of(w, 1);
    assert_list_refused(tensors, w->count - 1, "\"unet.conv_out.bias\" is missing");
    assert_list_refused(tensors + 50, w->count - 50, "neither IDM weights nor");
    assert_list_refused(tensors + 3, w->count - 3, "\"alpha\" is missing");
    const safetensors_tensor last = tensors[w->count - 1];
    tensors[w->count - 1].shape[0] = 3;
    assert_list_refused(tensors, w->count, "\"unet.conv_out.bias\" has the shape (3), expected (4)");
    tensors[w->count - 1] = last;
    tensors[w->count - 1].dtype = FILE_I32;
    assert_list_refused(tensors, w->count, "\"unet.conv_out.bias\" holds I32");
    tensors[w->count - 1] = last;
    tensors[w->count] = last;
    tensors[w->count].name = "unet.mid_block.bias";
    assert_list_refused(tensors, w->count + 1, "\"unet.mid_block.bias\" is none of IDM's");
    tensors[w->count].name = "unet.up_blocks.1.rev_module_list.10.body.i2f.2.0.bias"; // an alias with other values and shape
    assert_list_refused(tensors, w->count + 1, "expected (8)");
    tensors[w->count].data = weights_find(w, "unet.up_blocks.1.injectors.4.i2f.2.0.bias");
    tensors[w->count].shape[0] = 8;
    assert_list_refused(tensors, w->count + 1, "differs from \"unet.up_blocks.1.injectors.5.i2f.2.0.bias\"");
    tensors[w->count] = (safetensors_tensor){.name = "phi", .dtype = FILE_F32, .rank = 2, .shape = {2, 2}, .data = w->values[0]};
    tensors[w->count].data = weights_find(w, "unet.conv_in.weight");
    assert_list_refused(tensors, w->count + 1, "\"phi\" has the shape (2, 2)");
    weights_find(w, "unet.conv_out.bias")[2] = NAN;
    assert_list_refused(tensors, w->count, "\"unet.conv_out.bias\" holds NaN or infinity (value 2)");
    const weights_options accepting = {.accept_nonfinite = true};
    weights *back;
    assert_int_equal(weights_load(temporary("spoilt.safetensors"), &accepting, &back), IDM_OK);
    weights_free(back);
    free(tensors);
    weights_free(w);
}

// All float types, and names as DataParallel saves them.
static void other_types_and_prefixes(void **state)
{
    (void)state;
    weights *w = tiny_synthetic(), *back;
    safetensors_tensor *tensors = tensor_list_of(w, 0);
    double *f64 = malloc(w->parameters[0].count * sizeof *f64);
    const uint16_t bf16[1] = {0x3f80};
    char(*names)[160] = calloc(w->count, sizeof *names);
    for (size_t i = 0; i < w->count; i++) {
        (void)snprintf(names[i], sizeof names[i], "module.%s", w->parameters[i].name);
        tensors[i].name = names[i];
    }
    f64[0] = w->values[0][0];
    tensors[0].dtype = FILE_F64;
    tensors[0].data = f64;
    tensors[1].dtype = FILE_BF16;
    tensors[1].data = bf16;
    const char *path = temporary("module.safetensors");
    assert_int_equal(safetensors_write(path, tensors, w->count, NULL, 0), IDM_OK);
    assert_int_equal(weights_load(path, NULL, &back), IDM_OK);
    w->values[1][0] = 1;
    assert_same_values(w, back);
    weights_free(back);
    free(names);
    free(f64);
    free(tensors);
    weights_free(w);
}

// Back to the authors' layout, and through torch itself.
static void check_torch_file(const model_sizes *sizes, const char *expected_output)
{
    weights *w, *back;
    const char *safetensors = temporary("w.safetensors"), *torch = temporary("w.pkl");
    assert_int_equal(weights_init_random(sizes, 4, &w), IDM_OK);
    assert_int_equal(weights_save(w, safetensors), IDM_OK);
    assert_int_equal(weights_convert(safetensors, torch, NULL, false), IDM_OK);
    assert_int_equal(weights_load(torch, NULL, &back), IDM_OK);
    assert_same_values(w, back);
    weights_free(w);
    weights_free(back);
    if (system("/usr/bin/python3 -c 'import torch, numpy' 2>/dev/null") != 0) {
        print_message("needs python3-torch\n");
        skip();
    }
    char command[512], output[64] = "";
    (void)snprintf(command, sizeof command, "/usr/bin/python3 check_torch.py '%s' '%s'", torch, safetensors);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    (void)!fgets(output, sizeof output, pipe);
    assert_int_equal(pclose(pipe), 0);
    assert_string_equal(output, expected_output);
}

static void torch_reads_the_tiny_size(void **state)
{
    (void)state;
    check_torch_file(&tiny, "1079 names\n");
}

static void torch_reads_the_published_size(void **state)
{
    (void)state;
    check_torch_file(&names_published_sizes, "1079 names\n");
    (void)unlink(temporary("w.pkl"));
    (void)unlink(temporary("w.safetensors"));
}

static void convert_wants_a_known_ending(void **state)
{
    (void)state;
    assert_int_equal(weights_convert("in.safetensors", "out.xyz", NULL, false), IDM_USAGE);
    assert_int_equal(weights_convert("in.safetensors", "out", NULL, false), IDM_USAGE);
    assert_int_equal(weights_convert("in.safetensors", "out.pkl", NULL, true), IDM_USAGE);
    assert_refused(weights_convert(temporary("missing"), temporary("out.pkl"), NULL, false), "missing", "No such file");
}

static void phi_is_orthonormal(void **state)
{
    (void)state;
    enum { BLOCK = 8, N = 64, M = 20 };
    float *phi, *again;
    assert_int_equal(operator_phi(BLOCK, M, 3, &phi), IDM_OK);
    assert_int_equal(operator_phi(BLOCK, M, 3, &again), IDM_OK);
    assert_memory_equal(phi, again, N * M * sizeof *phi);
    for (int a = 0; a < M; a++) {
        for (int b = 0; b < M; b++) {
            double product = 0;
            for (int i = 0; i < N; i++) product += (double)phi[i * M + a] * phi[i * M + b];
            assert_true(fabs(product - (a == b)) < 1e-6);
        }
    }
    free(phi);
    free(again);
    assert_int_equal(operator_measurements(32, 0.1), 103);
    assert_int_equal(operator_measurements(32, 1), 1024);
    assert_int_equal(operator_phi(8, 65, 3, &phi), IDM_USAGE);
    assert_int_equal(operator_phi(8, 0, 3, &phi), IDM_USAGE);
    assert_int_equal(operator_phi(6, 1, 3, &phi), IDM_USAGE);
    int32_t one[64], other[64];
    operator_permutation(1, "a.png", one, 64);
    operator_permutation(1, "b.png", other, 64);
    assert_memory_not_equal(one, other, sizeof one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authors_file_gives_the_tiny_weights),
        cmocka_unit_test(stable_diffusion_is_imported),
        cmocka_unit_test(stable_diffusion_as_torch_file),
        cmocka_unit_test(random_start),
        cmocka_unit_test(saved_weights_come_back),
        cmocka_unit_test(half_of_the_bytes),
        cmocka_unit_test(metadata_that_contradicts_the_tensors),
        cmocka_unit_test(spoilt_sets),
        cmocka_unit_test(other_types_and_prefixes),
        cmocka_unit_test(torch_reads_the_tiny_size),
        cmocka_unit_test(torch_reads_the_published_size),
        cmocka_unit_test(convert_wants_a_known_ending),
        cmocka_unit_test(phi_is_orthonormal),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
