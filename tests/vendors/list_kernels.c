// list_kernels FOLDER: every kernel, with its options, that the gpu and generic tables choose on devices as the three vendors make them, in
// a dry run of all operations at the shapes of the network. Writes FOLDER/kernels.tsv, a line each: vendor, source, kernel, options, items
// per group "x,y,z"; and the sources with includes in place, FOLDER/SOURCE.cl. gate.py compiles them.
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/ddim.h"
#include "ops/gemm.h"
#include "ops/injector.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct network {
    int c0, c1, heads, groups, block;
    double ratio;
} network;

static tensor push(ops *o, int h, int w, int c)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, h, w, c);
}

static weight push_weight(ops *o, int taps, int in, int out)
{
    return (weight){.plain = push(o, 1, taps * in, out), .taps = taps, .in = in, .out = out};
}

// conv_forward from x to a new tensor, with bias and residual.
static tensor conv(ops *o, tensor x, int out, int stride, bool upsample)
{
    const weight w = push_weight(o, 9, x.c, out);
    const tensor y = push(o, ((x.h << upsample) + stride - 1) / stride, ((x.w << upsample) + stride - 1) / stride, out);
    conv_forward(o, x, &w, stride, upsample, &(epilogue){.bias = push(o, 1, 1, out), .residual = push(o, y.h, y.w, out)}, y);
    return y;
}

static tensor linear(ops *o, tensor x, int out)
{
    const weight w = push_weight(o, 1, x.c, out);
    const tensor y = push(o, x.h, x.w, out);
    gemm_forward(o, x, &w, &(epilogue){.bias = push(o, 1, 1, out)}, y);
    return y;
}

static void resnet(ops *o, const network *n, tensor x, int out)
{
    const tensor normed = push(o, x.h, x.w, x.c);
    group_norm_forward(o, x, push(o, 1, 1, x.c), push(o, 1, 1, x.c), n->groups, 1e-5f, true, normed);
    conv(o, conv(o, normed, out, 1, false), out, 1, false);
    linear(o, x, out); // conv_shortcut
}

static void attention(ops *o, const network *n, tensor x)
{
    const int c = x.c;
    const tensor normed = push(o, x.h, x.w, c), out = push(o, x.h, x.w, c), qkv = linear(o, x, 3 * c);
    group_norm_forward(o, x, push(o, 1, 1, c), push(o, 1, 1, c), n->groups, 1e-6f, false, normed);
    layer_norm_forward(o, x, push(o, 1, 1, c), push(o, 1, 1, c), 1e-5f, normed);
    tensor q = tensor_shaped(qkv, 1, x.h, x.w, c), k = q, v = q;
    k.offset += (size_t)c * sizeof(float);
    v.offset += 2 * (size_t)c * sizeof(float);
    attention_forward(o, q, k, v, 3 * c, n->heads, out, NO_TENSOR);
    attention_forward(o, x, x, x, c, n->heads, out, push(o, n->heads, x.h * x.w, 1));
    const tensor wide = linear(o, out, 8 * c), gated = push(o, x.h, x.w, 4 * c);
    geglu_forward(o, wide, gated);
    linear(o, gated, c);
}

static void level(ops *o, const network *n, const sensing *s, tensor plane, tensor x, int r)
{
    const int c = x.c, features = c / (r * r);
    const tensor one = push(o, 1, 1, 1), y = push(o, x.h, x.w, c);
    const epilogue coupling = {.v = one, .mix = y};
    resnet(o, n, x, c);
    attention(o, n, x);
    injector_forward(o, s, x, r, push(o, 1, 1, features), one, push(o, 1, features, 3), push(o, 1, 1, features), plane, &coupling, y);
    silu_forward(o, x, y);
    scale(o, x, one, y);
    add_scaled(o, x, x, one, y);
    channels_copy(o, x, push(o, x.h, x.w, 3 * c), c);
    upsample_nearest(o, x, push(o, 2 * x.h, 2 * x.w, c));
    epilogue_forward(o, x, &coupling, y);
}

// Every operation of the network on one image of `size` squared pixels.
static void forward(ops *o, const network *n, int size)
{
    const int pixels = n->block * n->block, measurements = (int)(n->ratio * pixels + 0.999);
    float *phi = calloc((size_t)pixels * (size_t)measurements, sizeof *phi);
    int32_t *perm = calloc((size_t)size * (size_t)size, sizeof *perm);
    if (!phi || !perm) exit(1);
    for (int i = 0; i < size * size; i++) perm[i] = i;
    sensing s;
    sensing_create(o, phi, pixels, measurements, perm, size, size, &s);
    free(phi);
    free(perm);

    const tensor plane = push(o, size, size, 1), x = push(o, size, size, 1), alpha = push(o, 1, 1, 3), alpha_bar = push(o, 1, 1, 4);
    sensing_forward(o, &s, x, push(o, 1, size * size / pixels, measurements));
    sensing_adjoint(o, &s, push(o, 1, size * size / pixels, measurements), plane);
    alpha_bar_forward(o, alpha, alpha_bar);
    ddim_start(o, plane, alpha_bar, 3, x);
    const tensor latent = push(o, size / 2, size / 2, 4);
    pixel_unshuffle(o, x, 2, latent);
    pixel_shuffle(o, latent, 2, x);
    const tensor outer = conv(o, latent, n->c0, 1, false), inner = conv(o, outer, n->c0, 2, false);
    const tensor noise = conv(o, outer, 4, 1, false);
    level(o, n, &s, plane, outer, 2);
    resnet(o, n, inner, n->c1);
    const tensor deep = push(o, inner.h, inner.w, n->c1);
    level(o, n, &s, plane, deep, 4);
    resnet(o, n, push(o, inner.h, inner.w, 3 * n->c1), n->c1);
    resnet(o, n, push(o, inner.h, inner.w, n->c1 + n->c0), n->c1);
    resnet(o, n, push(o, outer.h, outer.w, n->c1 + n->c0), n->c0);
    conv(o, deep, n->c1, 1, true);
    ddim_step_forward(o, &s, x, noise, alpha_bar, 3, plane, &(epilogue){.v = alpha, .mix = x}, x);
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
                     .constant_memory = 65536,
                     .clock_mhz = 1500,
                     .alignment = 128,
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

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "list_kernels: %s: %s\n", what, detail);
    exit(1);
}

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
    char *text;
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

static void list_device(output *out, const device_info *d, idm_variants variants, idm_math math)
{
    static const network networks[] = {{320, 640, 8, 32, 32, 0.1}, {32, 64, 4, 8, 16, 0.1}, {48, 96, 4, 16, 8, 0.5}};
    static const int sizes[] = {32, 64, 128, 256, 512};
    const context_options options = {0};
    context *ctx;
    ops o;
    if (context_create(d, &options, &ctx) != IDM_OK || ops_create(ctx, variants, IDM_GEMM_OWN, math, 4096, &o) != IDM_OK)
        fail(d->name, idm_message());
    for (size_t n = 0; n < sizeof networks / sizeof *networks; n++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const arena_mark activations = arena_save(ctx, POOL_ACTIVATIONS), operators = arena_save(ctx, POOL_OPERATOR);
            forward(&o, &networks[n], sizes[i]);
            arena_release(ctx, POOL_ACTIVATIONS, activations);
            arena_release(ctx, POOL_OPERATOR, operators);
        }
    if (context_status(ctx) != IDM_OK) fail(d->name, idm_message());
    kernel_visit(ctx, write_kernel, out);
    context_destroy(ctx);
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
            for (int math = IDM_MATH_FAST; math <= IDM_MATH_EXACT; math++) {
                list_device(&out, &d, IDM_VARIANTS_GPU, (idm_math)math);
                list_device(&out, &d, IDM_VARIANTS_GENERIC, (idm_math)math);
            }
        }
    if (fclose(out.table)) fail("kernels.tsv", strerror(errno));
    return 0;
}
