// list_kernels FOLDER: every kernel, with its options, that the gpu and generic tables choose on devices as the three vendors make them, in
// dry runs of the network at several sizes and of the operations that it leaves out. Writes FOLDER/kernels.tsv, a line each: vendor,
// source, kernel, options, items per group "x,y,z"; and the sources with includes in place, FOLDER/SOURCE.cl. gate.py compiles them.
#include "model/network.h"
#include "ops/adam.h"
#include "ops/attention.h"
#include "ops/pointwise.h"
#include "tune/ceilings.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct problem {
    model_sizes sizes;
    double ratio;
} problem;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "list_kernels: %s: %s\n", what, detail);
    exit(1);
}

static tensor push(ops *o, int h, int w, int c)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, h, w, c);
}

static sensing make_sensing(ops *o, const problem *p, int size)
{
    const int pixels = p->sizes.block * p->sizes.block, measurements = (int)(p->ratio * pixels + 0.999);
    float *phi = calloc((size_t)pixels * (size_t)measurements, sizeof *phi);
    int32_t *perm = calloc((size_t)size * (size_t)size, sizeof *perm);
    sensing s;
    if (!phi || !perm) fail("sampling operator", "out of memory");
    for (int i = 0; i < size * size; i++) perm[i] = i;
    sensing_create(o, phi, pixels, measurements, perm, size, size, &s);
    free(phi);
    free(perm);
    return s;
}

// What other callers than the network's forward pass run, for one level of it.
static void run_other_operations(ops *o, const problem *p, int channels, int side)
{
    const tensor x = push(o, side, side, channels), y = push(o, side, side, channels);
    silu_forward(o, x, y);
    epilogue_forward(o, x, &(epilogue){.v = push(o, 1, 1, 1), .mix = y}, y);
    upsample_nearest(o, x, push(o, 2 * side, 2 * side, channels));
    pixel_shuffle(o, x, 2, push(o, 2 * side, 2 * side, channels / 4));
    attention_forward(o, x, x, x, channels, p->sizes.heads, y, push(o, p->sizes.heads, side * side, 1));
}

// A training step, as each recompute mode and way of storing runs it.
static void run_training(ops *o, network *n, const sensing *s, tensor y, tensor image)
{
    static const idm_recompute modes[] = {IDM_RECOMPUTE_NONE, IDM_RECOMPUTE_INVERT};
    const tensor out = push(o, image.h, image.w, 1), loss = push(o, 1, 1, 1), state = adam_push_state(o, POOL_ACTIVATIONS);
    const adam_settings settings = adam_defaults();
    for (int i = 0; i < 2; i++)
        for (dtype storage = DTYPE_F32; storage <= DTYPE_BF16; storage++) {
            const network_dial dial = {.recompute = modes[i], .keep_wide = i == 0, .keep_steps = i == 0};
            o->storage = storage;
            o->attention_two_pass = i > 0;
            network_gradient(n, s, y, image, &dial, 1, adam_scale(state), loss, out);
        }
    o->storage = DTYPE_F32;
    adam_begin(o, image, state);
    adam_prepare(o, &settings, 1e-4, state);
    adam_update(o, &settings, state, image, image, image, image, NO_TENSOR);
    adam_update(o, &settings, state, image, image, image, image, image);
    adam_end(o, &settings, state);
}

// One image of size x size pixels; scratch is given back.
static void run_image(ops *o, network *n, const problem *p, int size)
{
    const arena_mark activations = arena_save(o->ctx, POOL_ACTIVATIONS), operators = arena_save(o->ctx, POOL_OPERATOR);
    const sensing s = make_sensing(o, p, size);
    const tensor y = push(o, 1, size * size / s.block_pixels, s.measurements), image = push(o, size, size, 1);
    sensing_forward(o, &s, image, y);
    network_forward(n, &s, y, image, NULL);
    run_other_operations(o, p, p->sizes.channels[0], size / 2);
    run_other_operations(o, p, p->sizes.channels[1], size / 4);
    if (size == 64 || size == 256) run_training(o, n, &s, y, image);
    arena_release(o->ctx, POOL_ACTIVATIONS, activations);
    arena_release(o->ctx, POOL_OPERATOR, operators);
}

// ---- devices

typedef struct vendor {
    const char *name, *cl_name;
    uint64_t local_memory;
    size_t max_work_group;
    unsigned compute_units;
} vendor;

static device_info describe(const vendor *v, uint64_t local_memory, size_t max_work_group, unsigned compute_units)
{
    device_info d = {.type = DEVICE_GPU,
                     .global_memory = (uint64_t)64 << 30,
                     .max_allocation = (uint64_t)16 << 30,
                     .local_memory = local_memory < v->local_memory ? local_memory : v->local_memory,
                     .max_work_group = max_work_group < v->max_work_group ? max_work_group : v->max_work_group,
                     .compute_units = compute_units < v->compute_units ? compute_units : v->compute_units,
                     .clock_mhz = 1500,
                     .native_vector = 1};
    (void)snprintf(d.name, sizeof d.name, "%s", v->name);
    (void)snprintf(d.vendor, sizeof d.vendor, "%s", v->cl_name);
    return d;
}

// ---- output

typedef struct output {
    const char *folder, *vendor;
    FILE *table;
} output;

static FILE *open_in(const char *folder, const char *name, const char *suffix)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix) >= (int)sizeof path) fail(folder, "too long");
    FILE *f = fopen(path, "w");
    if (!f) fail(path, strerror(errno));
    return f;
}

static void write_source(const char *folder, const char *file)
{
    static char written[4096]; // names between spaces
    char *text, name[128];
    (void)snprintf(name, sizeof name, " %s ", file);
    if (strstr(written, name)) return;
    if (strlen(written) + strlen(name) >= sizeof written) fail(file, "too many sources");
    strcat(written, name);
    if (program_source(file, &text) != IDM_OK) fail(file, idm_message());
    FILE *f = open_in(folder, file, ".cl");
    fputs(text, f);
    if (fclose(f)) fail(file, strerror(errno));
    free(text);
}

static void write_kernel(void *user, const char *file, const char *name, const char *options, const size_t local[3])
{
    const output *out = user;
    fprintf(out->table, "%s\t%s\t%s\t%s\t%zu,%zu,%zu\n", out->vendor, file, name, options, local[0], local[1], local[2]);
    write_source(out->folder, file);
}

static void list_problem(output *out, const device_info *d, idm_variants variants, idm_math math, const problem *p)
{
    static const int sizes[] = {32, 64, 128, 256, 512};
    const context_options options = {0};
    context *ctx;
    ops o;
    network n;
    ceilings c;
    if (context_create(d, &options, &ctx) != IDM_OK ||
        ops_create(ctx, variants, IDM_GEMM_OWN, math, network_max_channels(&p->sizes), &o) != IDM_OK ||
        network_create(&o, &p->sizes, &n) != IDM_OK)
        fail(d->name, idm_message());
    network_create_gradients(&n);
    // NVIDIA's unit, and the emulation, which is compiled to SPIR-V
    if (variants == IDM_VARIANTS_GPU) o.matrix = strcmp(out->vendor, "nvidia") == 0 ? MATRIX_NVIDIA : MATRIX_EMULATED;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) run_image(&o, &n, p, sizes[i]);
    if (ceilings_measure(&o, 0, &c) != IDM_OK) fail(d->name, idm_message());
    kernel_visit(ctx, write_kernel, out);
    network_free(&n);
    context_destroy(ctx);
}

static void list_device(output *out, const device_info *d)
{
    static const problem problems[] = {// of two steps: a third chooses nothing new
                                       {{{320, 640}, 8, 32, 2, 32}, 0.1},
                                       {{{32, 64}, 4, 8, 2, 16}, 0.1},
                                       {{{32, 64}, 2, 8, 2, 16}, 0.3},
                                       {{{48, 96}, 4, 16, 2, 8}, 0.5}};
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        for (int math = IDM_MATH_FAST; math <= IDM_MATH_EXACT; math++) {
            list_problem(out, d, IDM_VARIANTS_GPU, (idm_math)math, &problems[i]);
            list_problem(out, d, IDM_VARIANTS_GENERIC, (idm_math)math, &problems[i]);
        }
}

int main(int argc, char **argv)
{
    static const vendor vendors[] = {{"nvidia", "NVIDIA Corporation", 48 << 10, 1024, 132},
                                     {"amd", "Advanced Micro Devices, Inc.", 64 << 10, 256, 104},
                                     {"intel", "Intel(R) Corporation", 64 << 10, 1024, 512}};
    static const struct {
        uint64_t local_memory;
        size_t max_work_group;
        unsigned compute_units;
    } limits[] = {{64 << 10, 1024, 1024}, {48 << 10, 256, 32}, {32 << 10, 256, 8}, {32 << 10, 64, 8}};
    if (argc != 2) fail("usage", "list_kernels FOLDER");
    output out = {.folder = argv[1], .table = open_in(argv[1], "kernels", ".tsv")};
    for (size_t v = 0; v < sizeof vendors / sizeof *vendors; v++)
        for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
            const device_info d = describe(&vendors[v], limits[l].local_memory, limits[l].max_work_group, limits[l].compute_units);
            out.vendor = vendors[v].name;
            list_device(&out, &d);
        }
    if (fclose(out.table)) fail("kernels.tsv", strerror(errno));
    return 0;
}
