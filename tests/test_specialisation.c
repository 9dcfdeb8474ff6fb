// No kernel is specialised on height, width or batch: pictures of different sizes ask for the same kernels with the same options.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/operator.h"
#include "model/network.h"
#include <stdlib.h>
#include <string.h>

enum { KERNELS_MAX = 1024, TEXT_MAX = 1200, TILE_CLASSES = 4 };

// A kernel with its options but for tiles', and those: GPU tiles are chosen from a few by how well they fill the device.
typedef struct built {
    char kernel[TEXT_MAX], tile[TEXT_MAX];
} built;

typedef struct kernel_set {
    built *list;
    int count;
} kernel_set;

static bool same(const built *a, const built *b, bool with_tile)
{
    return strcmp(a->kernel, b->kernel) == 0 && (!with_tile || strcmp(a->tile, b->tile) == 0);
}

static bool has(const kernel_set *set, const built *what, bool with_tile)
{
    for (int i = 0; i < set->count; i++)
        if (same(&set->list[i], what, with_tile)) return true;
    return false;
}

static void add_built(kernel_set *set, const built *b)
{
    if (has(set, b, true)) return;
    assert_true(set->count < KERNELS_MAX);
    set->list[set->count++] = *b;
}

static void add(void *user, const char *file, const char *name, const char *options, const size_t local[3])
{
    built b = {.tile = ""};
    char copy[TEXT_MAX], *rest = copy, *word;
    (void)local;
    (void)snprintf(b.kernel, sizeof b.kernel, "%s.cl %s", file, name);
    (void)snprintf(copy, sizeof copy, "%s", options);
    while ((word = strsep(&rest, " ")) != NULL) {
        char *to = strncmp(word, "-DTILE_M=", 9) == 0 || strncmp(word, "-DTILE_N=", 9) == 0 || strncmp(word, "-DITEM_M=", 9) == 0
                       ? b.tile
                       : b.kernel;
        assert_true(strlen(to) + strlen(word) + 2 < TEXT_MAX);
        strcat(strcat(to, " "), word);
    }
    add_built(user, &b);
}

static void free_set(kernel_set *set)
{
    free(set->list);
}

// The kernels of a dry forward pass.
static kernel_set kernels_of(idm_variants variants, idm_math math, const model_sizes *sizes, int batch, int height, int width)
{
    const device_info device = {.name = "described",
                                .type = variants == IDM_VARIANTS_CPU ? DEVICE_CPU : DEVICE_GPU,
                                .global_memory = (uint64_t)64 << 30,
                                .max_allocation = (uint64_t)16 << 30,
                                .local_memory = 48 << 10,
                                .max_work_group = 1024,
                                .compute_units = variants == IDM_VARIANTS_CPU ? 2 : 80,
                                .clock_mhz = 1500,
                                .native_vector = variants == IDM_VARIANTS_CPU ? 16 : 1};
    const context_options options = {.max_launch_ms = 100};
    const int n = sizes->block * sizes->block, m = operator_measurements(sizes->block, 0.1);
    kernel_set set = {.list = malloc(KERNELS_MAX * sizeof *set.list)};
    context *ctx;
    ops o;
    network net;
    sensing a;
    assert_non_null(set.list);
    assert_int_equal(context_create(&device, &options, &ctx), IDM_OK);
    assert_int_equal(ops_create(ctx, variants, IDM_GEMM_OWN, math, network_max_channels(sizes), &o), IDM_OK);
    assert_int_equal(network_create(&o, sizes, &net), IDM_OK);
    sensing_create(&o, NULL, n, m, NULL, height, width, &a);
    const tensor y = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, batch, 1, height * width / n, m);
    network_forward(&net, &a, y, arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, batch, height, width, 1), NULL);
    if (context_status(ctx) != IDM_OK) fail_msg("%s", idm_message());
    kernel_visit(ctx, add, &set);
    network_free(&net);
    context_destroy(ctx);
    return set;
}

static void check_subset(const kernel_set *of, const kernel_set *in, const char *what)
{
    for (int i = 0; i < of->count; i++)
        if (!has(in, &of->list[i], false)) fail_msg("%s: only one picture size asks for %s", what, of->list[i].kernel);
}

static void check_tile_classes(const kernel_set *all, const char *what)
{
    for (int i = 0; i < all->count; i++) {
        int tiles = 0;
        for (int k = 0; k < all->count; k++) tiles += same(&all->list[i], &all->list[k], false);
        if (tiles > TILE_CLASSES) fail_msg("%s: %d tiles of %s", what, tiles, all->list[i].kernel);
    }
}

static void check_table(idm_variants variants, idm_math math, const char *name)
{
    static const model_sizes networks[] = {{{320, 640}, 8, 32, 3, 32}, {{32, 64}, 4, 8, 3, 16}};
    static const int pictures[][3] = {{1, 256, 256}, {3, 352, 416},  {2, 608, 480},   {1, 992, 544},
                                      {5, 736, 928}, {1, 1184, 672}, {2, 1312, 1504}, {1, 64, 96}}; // batch, height, width
    for (size_t k = 0; k < sizeof networks / sizeof *networks; k++) {
        kernel_set all = kernels_of(variants, math, &networks[k], pictures[0][0], pictures[0][1], pictures[0][2]);
        assert_true(all.count > 10);
        for (size_t i = 1; i < sizeof pictures / sizeof *pictures; i++) {
            kernel_set other = kernels_of(variants, math, &networks[k], pictures[i][0], pictures[i][1], pictures[i][2]);
            check_subset(&other, &all, name);
            check_subset(&all, &other, name);
            for (int j = 0; j < other.count; j++) add_built(&all, &other.list[j]);
            free_set(&other);
        }
        check_tile_classes(&all, name);
        if (variants != IDM_VARIANTS_GPU)
            for (int i = 0; i < all.count; i++) assert_string_equal(all.list[i].tile, "");
        free_set(&all);
    }
}

static void test_cpu(void **state)
{
    (void)state;
    check_table(IDM_VARIANTS_CPU, IDM_MATH_EXACT, "cpu");
    check_table(IDM_VARIANTS_CPU, IDM_MATH_FAST, "cpu, fast");
}

static void test_gpu(void **state)
{
    (void)state;
    check_table(IDM_VARIANTS_GPU, IDM_MATH_EXACT, "gpu");
}

static void test_generic(void **state)
{
    (void)state;
    check_table(IDM_VARIANTS_GENERIC, IDM_MATH_EXACT, "generic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cpu), cmocka_unit_test(test_gpu), cmocka_unit_test(test_generic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
