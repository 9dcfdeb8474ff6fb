#include "tune/selftest.h"

#include "core/status.h"
#include "io/operator.h"
#include "model/network.h"
#include "ops/attention_matrix.h"
#include "ops/conv_winograd.h"
#include "tune/check_adam.h"
#include "tune/check_attention.h"
#include "tune/check_conv.h"
#include "tune/check_conv_backward.h"
#include "tune/check_coupling.h"
#include "tune/check_norm.h"
#include "tune/check_pointwise.h"
#include "tune/check_sensing.h"

typedef struct run {
    ops *o;
    model_sizes sizes;
    double cs_ratio;
    selftest_visitor *visit;
    void *user;
    bool stopped;
    idm_status status; // of the device
} run;

double selftest_tolerance(const ops *o)
{
    return o->exact ? 2e-6 : 1e-5;
}

int selftest_max_channels(const model_sizes *sizes)
{
    const int widest = network_max_channels(sizes), wide = 4 * sizes->channels[1];
    return widest > wide ? widest : wide;
}

static const double MATRIX_TOLERANCE = 1e-4;

static void add_row(run *s, const char *op, variant v, double tolerance, const char *shape, check_result result)
{
    if (result.status != IDM_OK) {
        s->status = status_prefix(result.status, "selftest of %s %s", op, shape);
        s->stopped = true;
        return;
    }
    const selftest_row row = {op, variant_name(v), shape, result.error, tolerance};
    s->stopped = !s->visit(s->user, &row);
}

static double tolerance_of(const run *s, variant v)
{
    return v == VARIANT_MATRIX ? MATRIX_TOLERANCE : selftest_tolerance(s->o);
}

// Runs one check, gives its memory back, adds its row.
#define CHECK(s, op, v, call, ...) CHECK_WITHIN(s, op, v, tolerance_of(s, v), call, __VA_ARGS__)
#define CHECK_WITHIN(s, op, v, tolerance, call, ...)                        \
    do {                                                                    \
        if (!!(s)->stopped) break;                                          \
        char shape_[64];                                                    \
        (void)snprintf(shape_, sizeof shape_, __VA_ARGS__);                 \
        const arena_mark mark_ = arena_save((s)->o->ctx, POOL_ACTIVATIONS); \
        const check_result result_ = (call);                                \
        arena_release((s)->o->ctx, POOL_ACTIVATIONS, mark_);                \
        add_row(s, op, v, tolerance, shape_, result_);                      \
    } while (0)

enum { HEIGHT = 6, WIDTH = 7, PIXELS = HEIGHT * WIDTH }; // of feature maps: odd, and few, since the oracle is plain C

static void check_conv_shape(run *s, int in, int out, int stride, bool upsample)
{
    CHECK(s,
          stride == 2 ? "conv3x3 stride 2"
          : upsample  ? "upsample conv3x3"
                      : "conv3x3",
          s->o->table.conv, check_conv(s->o, 1, HEIGHT, WIDTH, in, out, stride, upsample, CHECK_BIAS), "%d -> %d", in, out);
}

// Pictures large enough for Winograd's variant, where this device and configuration have it: tiles of 4x4 that stand out at both edges.
static void check_winograd(run *s, int in, int out, bool gradient)
{
    enum { TALL = 15, WIDE = 18 };
    if (conv_form(s->o, in, out, 1, TALL, WIDE) != WEIGHT_WINOGRAD) return;
    if (gradient) {
        CHECK(s, "winograd, gradient of x", s->o->table.conv,
              check_conv_backward_data(s->o, 1, TALL, WIDE, in, out, 1, false, CHECK_RESIDUAL | CHECK_IN_PLACE), "%d -> %d", in, out);
        CHECK(s, "winograd, gradient of w", s->o->table.conv, check_conv_backward_weight(s->o, 1, TALL, WIDE, in, out, 1, false),
              "%d -> %d", in, out);
    } else
        CHECK(s, "winograd conv3x3", s->o->table.conv,
              check_conv(s->o, 1, TALL, WIDE, in, out, 1, false, CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING | CHECK_IN_PLACE), "%d -> %d",
              in, out);
}

static void check_convolutions(run *s)
{
    const int c0 = s->sizes.channels[0], c1 = s->sizes.channels[1];
    const int shapes[][2] = {{4, c0}, {c0, c0}, {c0, c1}, {c1, c1}, {3 * c1, c1}, {c1 + c0, c1}, {c1 + c0, c0}, {2 * c0, c0}, {c0, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_conv_shape(s, shapes[i][0], shapes[i][1], 1, false);
    check_conv_shape(s, c0, c0, 2, false);
    check_conv_shape(s, c1, c1, 1, true);
    CHECK(s, "conv3x3 in body", s->o->table.conv,
          check_conv(s->o, 1, HEIGHT, WIDTH, c0, c0, 1, false, CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING | CHECK_IN_PLACE), "%d -> %d",
          c0, c0);
    check_winograd(s, c0, c0, false);
    check_winograd(s, c1, c1, false);
}

static void check_linear_layers(run *s)
{
    const int c0 = s->sizes.channels[0], c1 = s->sizes.channels[1];
    const int shapes[][3] = {{c0, c0, CHECK_BIAS},      {c1, c1, CHECK_BIAS},
                             {c0, 8 * c0, CHECK_BIAS},  {4 * c0, c0, CHECK_BIAS | CHECK_RESIDUAL},
                             {c1, 8 * c1, CHECK_BIAS},  {4 * c1, c1, CHECK_BIAS | CHECK_RESIDUAL},
                             {c0, c1, CHECK_BIAS},      {3 * c1, c1, CHECK_BIAS},
                             {c1 + c0, c0, CHECK_BIAS}, {c0, c0, CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING | CHECK_IN_PLACE}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *z = shapes[i];
        CHECK(s, z[2] & CHECK_COUPLING ? "linear in body" : "linear", s->o->table.gemm, check_gemm(s->o, PIXELS, z[0], z[1], z[2]),
              "%d -> %d", z[0], z[1]);
    }
}

static void check_conv_gradients(run *s, int in, int out, int stride, bool upsample)
{
    const char *kind = stride == 2 ? ", stride 2" : upsample ? ", upsampled" : "";
    CHECK(s, "conv3x3, gradient of x", s->o->table.conv,
          check_conv_backward_data(s->o, 1, HEIGHT, WIDTH, in, out, stride, upsample, CHECK_RESIDUAL | CHECK_IN_PLACE), "%d -> %d%s", in,
          out, kind);
    CHECK(s, "conv3x3, gradient of w", s->o->table.conv, check_conv_backward_weight(s->o, 1, HEIGHT, WIDTH, in, out, stride, upsample),
          "%d -> %d%s", in, out, kind);
}

static void check_gradients(run *s)
{
    const int c0 = s->sizes.channels[0], c1 = s->sizes.channels[1];
    const int convolutions[][2] = {{4, c0}, {c0, c0}, {c1, c1}, {c1 + c0, c0}, {c0, 4}};
    const int layers[][2] = {{c0, c0}, {c1, c1}, {c0, 8 * c0}, {4 * c0, c0}, {c1, 8 * c1}, {4 * c1, c1}, {c0, c1}, {c1 + c0, c0}};
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++)
        check_conv_gradients(s, convolutions[i][0], convolutions[i][1], 1, false);
    check_conv_gradients(s, c0, c0, 2, false);
    check_conv_gradients(s, c1, c1, 1, true);
    check_winograd(s, c0, c0, true);
    check_winograd(s, c1, c1, true);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const int in = layers[i][0], out = layers[i][1];
        CHECK(s, "linear, gradient of x", s->o->table.gemm,
              check_gemm_backward_data(s->o, PIXELS, in, out, CHECK_RESIDUAL | CHECK_IN_PLACE), "%d -> %d", in, out);
        CHECK(s, "linear, gradient of w", s->o->table.gemm, check_gemm_backward_weight(s->o, PIXELS, in, out), "%d -> %d", in, out);
    }
    // more than a slice of the pixels: 2048 on CPUs, 1024 elsewhere
    const int pixels = (s->o->table.gemm == VARIANT_CPU ? 50 : 25) * PIXELS;
    CHECK(s, "linear, gradient of w", s->o->table.gemm, check_gemm_backward_weight(s->o, pixels, c0, 48), "%d -> 48, %d pixels", c0,
          pixels);
}

// More than a block of the variant's: 192 tokens on CPUs, at most 64 elsewhere.
static attention_shape attention_tokens(const run *s, int level)
{
    const int height = s->o->table.attention == VARIANT_CPU ? 13 : 5, heads = s->sizes.heads;
    return (attention_shape){1, height, 17, heads, s->sizes.channels[level] / heads, true, 1};
}

// Its weights, and what it makes of them, are rounded to 16 bits. What has no room on the device does not run on the unit.
static void check_matrix_attention(run *s, dtype type, const char *name, bool training)
{
    const double rounding = type == DTYPE_F16 ? 0x1p-11 : 0x1p-8;
    for (int level = 0; level < 2; level++) {
        attention_shape z = attention_tokens(s, level);
        z.slices = false; // as the network has them in 16 bits
        const attention_types types = {.values = type, .stored = type, .out = DTYPE_F32};
        if (attention_matrix_fits(s->o, z.head_size))
            CHECK_WITHIN(s, "attention", VARIANT_MATRIX, rounding, check_stored_attention(s->o, z, ATTENTION_RANDOM, types),
                         "%s, %d tokens, %d heads of %d", name, z.h * z.w, z.heads, z.head_size);
        if (!training || !attention_matrix_backward_fits(s->o, z.head_size)) continue;
        CHECK_WITHIN(s, "attention, gradient", VARIANT_MATRIX, rounding,
                     check_stored_attention_backward(s->o, z, ATTENTION_RANDOM, false, types), "%s, %d tokens, %d heads of %d", name,
                     z.h * z.w, z.heads, z.head_size);
    }
}

// What runs on the matrix unit where activations are stored in 16 bits.
static void check_matrix_unit(run *s, bool training)
{
    static const struct {
        int part;
        const char *name;
    } types[] = {{CHECK_HALF, "half"}, {CHECK_BF16, "bf16"}};
    const int c0 = s->sizes.channels[0], c1 = s->sizes.channels[1];
    if (s->o->matrix == MATRIX_NONE) return;
    for (int i = 0; i < 2; i++) {
        const int part = types[i].part, in_place = part | CHECK_RESIDUAL | CHECK_IN_PLACE;
        const char *name = types[i].name;
        check_matrix_attention(s, i == 0 ? DTYPE_F16 : DTYPE_BF16, name, training);
        CHECK(s, "linear", VARIANT_MATRIX, check_gemm(s->o, PIXELS, c0, 8 * c0, part | CHECK_BIAS), "%s, %d -> %d", name, c0, 8 * c0);
        CHECK(s, "linear", VARIANT_MATRIX, check_gemm(s->o, PIXELS, 4 * c1, c1, part | CHECK_BIAS | CHECK_RESIDUAL), "%s, %d -> %d", name,
              4 * c1, c1);
        CHECK(s, "conv3x3", VARIANT_MATRIX, check_conv(s->o, 1, HEIGHT, WIDTH, c0, c1, 1, false, part | CHECK_BIAS), "%s, %d -> %d", name,
              c0, c1);
        if (!training) continue;
        CHECK(s, "linear, gradient of x", VARIANT_MATRIX, check_gemm_backward_data(s->o, PIXELS, c0, 8 * c0, in_place), "%s, %d -> %d",
              name, c0, 8 * c0);
        CHECK(s, "linear, gradient of w", VARIANT_MATRIX, check_stored_backward_weight(s->o, 1, 1, 25 * PIXELS, c0, 48, 1, 1, false, part),
              "%s, %d -> 48", name, c0);
        CHECK(s, "conv3x3, gradient of x", VARIANT_MATRIX, check_conv_backward_data(s->o, 1, HEIGHT, WIDTH, c0, c0, 1, false, in_place),
              "%s, %d -> %d", name, c0, c0);
        CHECK(s, "conv3x3, gradient of w", VARIANT_MATRIX, check_stored_backward_weight(s->o, 1, HEIGHT, WIDTH, c0, c0, 9, 1, false, part),
              "%s, %d -> %d", name, c0, c0);
    }
}

static void check_attention_forward(run *s, int level, const char *name, attention_logits logits, bool wide)
{
    const attention_shape z = attention_tokens(s, level);
    CHECK(s, name, s->o->table.attention, check_attention(s->o, z, logits, wide), "%d tokens, %d heads of %d", z.h * z.w, z.heads,
          z.head_size);
}

static void check_the_rest(run *s)
{
    const int n = s->sizes.block * s->sizes.block, groups = s->sizes.groups;
    const check_operator a = {2 * s->sizes.block, s->sizes.block, n, operator_measurements(s->sizes.block, s->cs_ratio)};
    const variant v = s->o->table.pointwise;
    for (int level = 0; level < 2; level++) {
        const int c = s->sizes.channels[level];
        check_attention_forward(s, level, "attention", ATTENTION_RANDOM, false);
        check_attention_forward(s, level, "attention, wide", ATTENTION_ONE_HOT, true);
        CHECK(s, "group norm", v, check_group_norm(s->o, 2, HEIGHT, WIDTH, c, groups, false, 0.5f, false), "%d in %d groups", c, groups);
        CHECK(s, "group norm, silu", v, check_group_norm(s->o, 2, HEIGHT, WIDTH, 2 * c, groups, true, 0.5f, false), "%d in %d groups",
              2 * c, groups);
        CHECK(s, "layer norm", v, check_layer_norm(s->o, PIXELS, c, 0.5f), "%d", c);
        CHECK(s, "geglu", v, check_geglu(s->o, PIXELS, 4 * c, 4), "%d", 4 * c);
        CHECK(s, "channel copy", v, check_channels_copy(s->o, PIXELS, c, 3 * c, c), "%d into %d", c, 3 * c);
        CHECK(s, "injector", v, check_injector(s->o, a, 1, c, level ? 4 : 2, true), "%d, %d x %d", c, a.height, a.width);
    }
    CHECK(s, "pixel shuffle", v, check_pixel_shuffle(s->o, 2, HEIGHT, WIDTH, 1, 2), "4 <-> 1 planes");
    CHECK(s, "add scaled", v, check_add_scaled(s->o, PIXELS, 1), "1 plane");
    CHECK(s, "A, A^T, A^T A", s->o->table.gemm, check_sensing(s->o, a, 2), "%d pixels, %d measurements", n, a.measurements);
    CHECK(s, "ddim step", v, check_ddim(s->o, a, 2, s->sizes.steps, true), "%d steps", s->sizes.steps);
}

static void check_training(run *s)
{
    const int n = s->sizes.block * s->sizes.block;
    const check_operator a = {2 * s->sizes.block, s->sizes.block, n, operator_measurements(s->sizes.block, s->cs_ratio)};
    static const adam_problem steps = {
        .counts = {5000, 77}, .steps = 5, .learning_rate = 1e-4, .clip = 1, .scaling = true, .averaged = true};
    const variant v = s->o->table.pointwise;
    for (int level = 0; level < 2; level++) {
        const int c = s->sizes.channels[level], groups = s->sizes.groups;
        const attention_shape z = attention_tokens(s, level);
        CHECK(s, "attention, gradient", s->o->table.attention, check_attention_backward(s->o, z, ATTENTION_RANDOM, false),
              "%d tokens, %d heads of %d", z.h * z.w, z.heads, z.head_size);
        CHECK(s, "injector, gradient", v, check_injector_backward(s->o, a, 1, c, level ? 4 : 2, true), "%d, %d x %d", c, a.height, a.width);
        CHECK(s, "upsampling, gradient", v, check_upsample_nearest_backward(s->o, 1, HEIGHT, WIDTH, c, false), "%d", c);
        CHECK(s, "group norm, gradient", v, check_group_norm_backward(s->o, 2, HEIGHT, WIDTH, c, groups, false, 0.5f, GRADIENT_RESIDUAL_DY),
              "%d in %d groups", c, groups);
        CHECK(s, "group norm, silu, gradient", v,
              check_group_norm_backward(s->o, 2, HEIGHT, WIDTH, 2 * c, groups, true, 0.5f, GRADIENT_ONTO_DY), "%d in %d groups", 2 * c,
              groups);
        CHECK(s, "layer norm, gradient", v, check_layer_norm_backward(s->o, PIXELS, c, 0.5f, GRADIENT_ONTO_RESIDUAL), "%d", c);
        CHECK(s, "geglu, gradient", v, check_geglu_backward(s->o, PIXELS, 4 * c, 4, false), "%d", 4 * c);
        CHECK(s, "channel slice", v, check_channels_slice(s->o, PIXELS, c, 3 * c, c, true), "%d of %d", c, 3 * c);
        CHECK(s, "add", v, check_add(s->o, PIXELS, c), "%d", c);
        CHECK(s, "inner product", v, check_dot_add(s->o, PIXELS, c, false), "%d", c);
        CHECK(s, "coupling, gradient", v, check_coupling(s->o, (size_t)PIXELS * c, 0.47f, true), "%d", c);
        CHECK(s, "coupling inverse", v, check_coupling_invert(s->o, (size_t)PIXELS * c, 0.47f, true), "%d", c);
    }
    CHECK(s, "ddim step, gradient", v, check_ddim_backward(s->o, a, 2, s->sizes.steps, true), "%d steps", s->sizes.steps);
    CHECK(s, "l1 loss", v, check_l1_loss(s->o, (size_t)PIXELS * s->sizes.block, true, false), "%d values", PIXELS * s->sizes.block);
    CHECK(s, "adam", v, check_adam(s->o, &steps), "%zu and %zu values", steps.counts[0], steps.counts[1]);
}

idm_status selftest_run(ops *o, const model_sizes *sizes, double cs_ratio, bool training, selftest_visitor *visit, void *user)
{
    run s = {.o = o, .sizes = *sizes, .cs_ratio = cs_ratio, .visit = visit, .user = user};
    check_convolutions(&s);
    check_linear_layers(&s);
    check_matrix_unit(&s, training);
    check_the_rest(&s);
    if (training) {
        check_gradients(&s);
        check_training(&s);
    }
    return s.status;
}
