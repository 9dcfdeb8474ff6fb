#include "tune/bench_ops.h"

#include "core/status.h"
#include "io/operator.h"
#include "model/network.h"
#include "ops/adam.h"
#include "ops/attention.h"
#include "ops/conv.h"
#include "ops/coupling.h"
#include "ops/injector.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "tune/ceilings.h"
#include "tune/check.h"
#include <math.h>
#include <stdlib.h>

enum { ADAM_VALUES = 1 << 24 }; // far beyond caches, as the network's are

// One operation at one shape. Its function pushes the operands and launches; the caller releases them. So every call finds them at the same
// places, and what was written there before the timed calls is still there.
typedef struct call {
    ops *o;
    const sensing *a;
    bool preparing; // not timed: puts weights into their layouts and fills what may not be random
    int height, width, in, out;
    int stride, heads, groups;
    bool upsample;
    weight w;     // its layouts outlive a call
    double flops; // set by the function where the published count is not simply what its kernels count
} call;

typedef void operation(call *c);

static tensor vector(const call *c, int count)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, count);
}

static tensor map(const call *c, int channels)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, c->height, c->width, channels);
}

static tensor output_map(const call *c)
{
    const int height = ((c->height << c->upsample) + c->stride - 1) / c->stride;
    const int width = ((c->width << c->upsample) + c->stride - 1) / c->stride;
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, height, width, c->out);
}

static double pixels(const call *c)
{
    return (double)c->height * c->width;
}

// ---- linear layers and convolutions

static const weight *push_weight(call *c, int taps, bool transposed)
{
    c->w.plain = arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, taps * c->in, c->out);
    c->w.taps = taps;
    c->w.in = c->in;
    c->w.out = c->out;
    if (c->preparing && transposed) weight_keep_transposed(c->o, &c->w);
    else if (c->preparing) weight_keep_panels(c->o, &c->w);
    return &c->w;
}

static void count_products(call *c, int taps, tensor y)
{
    c->flops = 2.0 * tensor_rows(y) * taps * c->in * c->out;
}

static void linear(call *c)
{
    const tensor x = map(c, c->in), y = map(c, c->out);
    gemm_forward(c->o, x, push_weight(c, 1, false), &(epilogue){.bias = vector(c, c->out)}, y);
    count_products(c, 1, y);
}

static void linear_data(call *c)
{
    const tensor dx = map(c, c->in), dy = map(c, c->out);
    gemm_backward_data(c->o, dy, push_weight(c, 1, true), NULL, dx);
    count_products(c, 1, dy);
}

static void linear_weight(call *c)
{
    const tensor x = map(c, c->in), dy = map(c, c->out), dw = vector(c, c->in * c->out);
    gemm_backward_weight(c->o, x, dy, dw, vector(c, c->out));
    count_products(c, 1, dy);
}

static void conv(call *c)
{
    const tensor x = map(c, c->in), y = output_map(c);
    conv_forward(c->o, x, push_weight(c, 9, false), c->stride, c->upsample, &(epilogue){.bias = vector(c, c->out)}, y);
    count_products(c, 9, y);
}

static void conv_data(call *c)
{
    const tensor dx = map(c, c->in), dy = output_map(c);
    conv_backward_data(c->o, dy, push_weight(c, 9, true), c->stride, c->upsample, NULL, dx);
    count_products(c, 9, dy);
}

static void conv_weight(call *c)
{
    const tensor x = map(c, c->in), dy = output_map(c), dw = vector(c, 9 * c->in * c->out);
    conv_backward_weight(c->o, x, dy, c->stride, c->upsample, dw, vector(c, c->out));
    count_products(c, 9, dy);
}

// ---- attention

static tensor push_lse(const call *c)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, c->heads, c->height * c->width, 1);
}

static void attention(call *c)
{
    const tensor q = map(c, c->in), k = map(c, c->in), v = map(c, c->in), out = map(c, c->in);
    attention_forward(c->o, q, k, v, c->in, c->heads, out, push_lse(c));
    c->flops = 4 * pixels(c) * pixels(c) * c->in; // two products
}

static void attention_gradient(call *c)
{
    const tensor q = map(c, c->in), k = map(c, c->in), v = map(c, c->in), out = map(c, c->in), lse = push_lse(c), dout = map(c, c->in);
    const tensor dq = map(c, c->in), dk = map(c, c->in), dv = map(c, c->in);
    if (c->preparing) attention_forward(c->o, q, k, v, c->in, c->heads, out, lse);
    attention_backward(c->o, q, k, v, c->in, c->heads, out, lse, dout, dq, dk, dv, c->in);
    c->flops = 10 * pixels(c) * pixels(c) * c->in; // five
}

// ---- norms and what works element by element

static void group_norm(call *c)
{
    const tensor x = map(c, c->in), y = map(c, c->in), gamma = vector(c, c->in), beta = vector(c, c->in);
    group_norm_forward(c->o, x, gamma, beta, c->groups, 1e-5f, true, y);
}

static void group_norm_gradient(call *c)
{
    const tensor x = map(c, c->in), dy = map(c, c->in), dx = map(c, c->in), gamma = vector(c, c->in), beta = vector(c, c->in);
    group_norm_backward(c->o, x, gamma, beta, c->groups, 1e-5f, true, dy, NO_TENSOR, dx, vector(c, c->in), vector(c, c->in));
}

static void layer_norm(call *c)
{
    const tensor x = map(c, c->in), y = map(c, c->in), gamma = vector(c, c->in), beta = vector(c, c->in);
    layer_norm_forward(c->o, x, gamma, beta, 1e-5f, y);
}

static void layer_norm_gradient(call *c)
{
    const tensor x = map(c, c->in), dy = map(c, c->in), dx = map(c, c->in), gamma = vector(c, c->in);
    layer_norm_backward(c->o, x, gamma, 1e-5f, dy, NO_TENSOR, dx, vector(c, c->in), vector(c, c->in));
}

static void silu(call *c)
{
    const tensor x = map(c, c->in), y = map(c, c->in);
    silu_forward(c->o, x, y);
}

static void geglu(call *c)
{
    const tensor x = map(c, c->in), y = map(c, c->out);
    geglu_forward(c->o, x, y);
}

static void geglu_gradient(call *c)
{
    const tensor x = map(c, c->in), dy = map(c, c->out), dx = map(c, c->in);
    geglu_backward(c->o, x, dy, dx);
}

static void coupling(call *c)
{
    const tensor f = map(c, c->in), x2 = map(c, c->in), y1 = map(c, c->in), v = vector(c, 1);
    coupling_forward(c->o, f, x2, v, y1);
}

static void coupling_inverse(call *c)
{
    const tensor f = map(c, c->in), y1 = map(c, c->in), x2 = map(c, c->in), v = vector(c, 1);
    coupling_invert(c->o, f, y1, v, x2);
}

static void coupling_gradient(call *c)
{
    const tensor f = map(c, c->in), x2 = map(c, c->in), dy1 = map(c, c->in), dbody = map(c, c->in), dx2 = map(c, c->in), v = vector(c, 1);
    coupling_backward(c->o, f, x2, v, dy1, dbody, dx2, vector(c, 1));
}

// ---- the sampling operator, and features meeting it

static tensor plane(const call *c)
{
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, c->a->height, c->a->width, 1);
}

static tensor measured(const call *c)
{
    const int rows = c->a->height * c->a->width / c->a->block_pixels;
    return arena_push(c->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, rows, c->a->measurements);
}

static void sense(call *c)
{
    const tensor x = plane(c), y = measured(c);
    sensing_forward(c->o, c->a, x, y);
}

static void sense_back(call *c)
{
    const tensor y = measured(c), x = plane(c);
    sensing_adjoint(c->o, c->a, y, x);
}

static void inject(call *c)
{
    const int r = c->a->width / c->width, parts = c->in / (r * r);
    const tensor x = map(c, c->in), y = map(c, c->in), back = plane(c);
    injector_forward(c->o, c->a, x, r, vector(c, parts), vector(c, 1), vector(c, 3 * parts), vector(c, parts), back, &(epilogue){0}, y);
}

static void inject_gradient(call *c)
{
    const int r = c->a->width / c->width, parts = c->in / (r * r);
    const tensor x = map(c, c->in), dy = map(c, c->in), dx = map(c, c->in), back = plane(c);
    injector_backward(c->o, c->a, x, r, vector(c, parts), vector(c, 1), vector(c, 3 * parts), back, dy, dx, vector(c, parts), vector(c, 1),
                      vector(c, 3 * parts), vector(c, parts));
}

// ---- the optimiser

static void adam(call *c)
{
    const adam_settings settings = adam_defaults();
    const adam_state start = adam_initial_state(false);
    const tensor g = vector(c, c->in), w = vector(c, c->in), m = vector(c, c->in), v = vector(c, c->in);
    const tensor state = adam_push_state(c->o, POOL_ACTIVATIONS);
    if (c->preparing) {
        context_fill_zero(c->o->ctx, m);
        context_fill_zero(c->o->ctx, v);
        context_write(c->o->ctx, state, &start);
    }
    adam_begin(c->o, g, state);
    adam_prepare(c->o, &settings, 1e-4, state);
    adam_update(c->o, &settings, state, g, w, m, v, NO_TENSOR);
    adam_end(c->o, &settings, state);
}

// ---- running

typedef struct bench {
    ops *o;
    const bench_settings *settings;
    bench_visitor *visit;
    void *user;
    sensing a;
    double left; // sum of the weights of the rows to come
    idm_status status;
} bench;

typedef struct timed {
    operation *run;
    call *c;
} timed;

static void run_once(void *user)
{
    const timed *t = user;
    context *ctx = t->c->o->ctx;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    t->run(t->c);
    t->c->preparing = false;
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}

// Memory exactly as large as the operation takes; its operands pseudo-random values. The next run is the one that prepares.
static idm_status prepare(timed *t)
{
    context *ctx = t->c->o->ctx;
    const arena_mark activations = arena_save(ctx, POOL_ACTIVATIONS), derived = arena_save(ctx, POOL_DERIVED);
    for (int round = 0; round < 2; round++) { // how much, then where
        t->c->preparing = true;
        if (round == 0) context_plan_begin(ctx);
        else context_set_dry(ctx, true);
        t->run(t->c);
        context_set_dry(ctx, false);
        for (int i = 0; round == 1 && i < arena_slabs(ctx, POOL_ACTIVATIONS); i++) {
            const tensor operands = arena_slab(ctx, POOL_ACTIVATIONS, i);
            if (tensor_given(operands)) ceilings_fill(t->c->o, operands);
        }
        arena_release(ctx, POOL_ACTIVATIONS, activations);
        arena_release(ctx, POOL_DERIVED, derived);
        t->c->w = (weight){0};
        if (round == 0) IDM_TRY(context_plan_commit(ctx));
    }
    return context_status(ctx);
}

static void count(timed *t, bench_row *row)
{
    context *ctx = t->c->o->ctx;
    const bool dry = context_dry(ctx);
    const arena_mark derived = arena_save(ctx, POOL_DERIVED);
    context_plan_begin(ctx);
    t->c->preparing = true; // so that layouts are counted as kept
    run_once(t);
    context_reset_cost(ctx);
    run_once(t);
    const cost counted = context_cost(ctx);
    arena_release(ctx, POOL_DERIVED, derived);
    t->c->w = (weight){0};
    context_set_dry(ctx, dry);
    row->flops = t->c->flops > 0 ? t->c->flops : counted.flops;
    row->bytes = counted.bytes;
}

// A row's part of the time: as its runs are long, and something for laying out memory.
static double weight_of(const bench *b, const bench_row *row)
{
    return row->flops / b->settings->flops + row->bytes / b->settings->bandwidth + 0.02;
}

static void measure(bench *b, timed *t, bench_row *row)
{
    static const double quick = 0.1; // gets its run although the time is over
    context *ctx = b->o->ctx;
    const double part = weight_of(b, row), now = stopwatch_clock();
    const double share = fmax(fmin(1, part / b->left) * (b->settings->deadline - now), part < quick ? quick : 0);
    b->left -= part;
    if (share <= 0) {
        row->failure = "no time left";
        return;
    }
    const arena_mark derived = arena_save(ctx, POOL_DERIVED);
    idm_status status = prepare(t);
    if (status == IDM_OK) status = stopwatch_measure(ctx, run_once, t, 0.75 * share, now + 1.25 * share, &row->time);
    arena_release(ctx, POOL_DERIVED, derived);
    if (status == IDM_OK) return;
    row->failure = idm_message();
    context_clear_error(ctx);
}

static void add_row(bench *b, const char *name, variant v, operation *run, const call *shape, const char *text)
{
    if (b->status != IDM_OK) return;
    call c = *shape;
    timed t = {run, &c};
    bench_row row = {.name = name, .variant = variant_name(v)};
    (void)snprintf(row.shape, sizeof row.shape, "%s", text);
    c.o = b->o;
    c.a = &b->a;
    if (c.stride == 0) c.stride = 1;
    count(&t, &row);
    if (!context_dry(b->o->ctx)) measure(b, &t, &row);
    b->status = context_status(b->o->ctx);
    b->visit(b->user, &row);
}

#define ROW(b, name, v, run, shape, ...)                  \
    do {                                                  \
        char text_[64];                                   \
        (void)snprintf(text_, sizeof text_, __VA_ARGS__); \
        add_row(b, name, v, run, &(shape), text_);        \
    } while (0)

typedef struct layer_shape {
    int side, in, out, stride;
    bool upsample;
} layer_shape;

static void add_layers(bench *b, const char *name, variant v, operation *run, const layer_shape *shapes, size_t count_of)
{
    for (size_t i = 0; i < count_of; i++) {
        const layer_shape *s = &shapes[i];
        const call c = {.height = s->side, .width = s->side, .in = s->in, .out = s->out, .stride = s->stride, .upsample = s->upsample};
        ROW(b, name, v, run, c, "%dx%d, %d -> %d%s", s->side, s->side, s->in, s->out,
            s->stride == 2 ? ", stride 2"
            : s->upsample  ? ", upsampled"
                           : "");
    }
}

static void add_products(bench *b)
{
    const int c0 = b->settings->sizes.channels[0], c1 = b->settings->sizes.channels[1], s0 = b->settings->side / 2, s1 = s0 / 2;
    const variant gemm = b->o->table.gemm, convolution = b->o->table.conv;
    // of both levels: a transformer's q, k, v, in and out; the two feed-forward layers
    const layer_shape layers[] = {{s0, c0, c0, 1, false},     {s0, c0, 8 * c0, 1, false}, {s0, 4 * c0, c0, 1, false},
                                  {s1, c1, c1, 1, false},     {s1, c1, 8 * c1, 1, false}, {s1, 4 * c1, c1, 1, false},
                                  {s1, 3 * c1, c1, 1, false}, {s0, c1 + c0, c0, 1, false}}; // shortcuts of the up blocks' first resnets
    // of resnets; the network's first and last; down- and upsampler
    const layer_shape convolutions[] = {{s0, c0, c0, 1, false},      {s1, c1, c1, 1, false},     {s0, 2 * c0, c0, 1, false},
                                        {s0, c1 + c0, c0, 1, false}, {s1, 3 * c1, c1, 1, false}, {s0, 4, c0, 1, false},
                                        {s0, c0, 4, 1, false},       {s0, c0, c0, 2, false},     {s1, c1, c1, 1, true}};
    enum { LAYERS = sizeof layers / sizeof *layers, CONVOLUTIONS = sizeof convolutions / sizeof *convolutions };
    add_layers(b, "linear", gemm, linear, layers, LAYERS);
    add_layers(b, "linear, gradient of x", gemm, linear_data, layers, LAYERS);
    add_layers(b, "linear, gradient of w", gemm, linear_weight, layers, LAYERS);
    add_layers(b, "conv3x3", convolution, conv, convolutions, CONVOLUTIONS);
    add_layers(b, "conv3x3, gradient of x", convolution, conv_data, convolutions, CONVOLUTIONS);
    add_layers(b, "conv3x3, gradient of w", convolution, conv_weight, convolutions, CONVOLUTIONS);
}

static void add_level(bench *b, int level)
{
    static const struct {
        const char *name;
        operation *run;
        bool wide; // of the feed-forward layer's width, halved by GEGLU
    } rows[] = {
        {"group norm, silu", group_norm, false},
        {"group norm, silu, gradient", group_norm_gradient, false},
        {"layer norm", layer_norm, false},
        {"layer norm, gradient", layer_norm_gradient, false},
        {"silu", silu, false},
        {"geglu", geglu, true},
        {"geglu, gradient", geglu_gradient, true},
        {"coupling", coupling, false},
        {"coupling inverse", coupling_inverse, false},
        {"coupling, gradient", coupling_gradient, false},
        {"injector", inject, false},
        {"injector, gradient", inject_gradient, false},
    };
    const model_sizes *z = &b->settings->sizes;
    const int side = b->settings->side >> (level + 1), channels = z->channels[level];
    const call c = {.height = side, .width = side, .in = channels, .heads = z->heads, .groups = z->groups};
    ROW(b, "attention", b->o->table.attention, attention, c, "%d tokens, %d heads of %d", side * side, z->heads, channels / z->heads);
    ROW(b, "attention, gradient", b->o->table.attention, attention_gradient, c, "%d tokens, %d heads of %d", side * side, z->heads,
        channels / z->heads);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        call row = c;
        if (rows[i].wide) row.in = 8 * channels;
        row.out = row.in / 2;
        ROW(b, rows[i].name, b->o->table.pointwise, rows[i].run, row, "%dx%d, %d", side, side, row.in);
    }
}

static void add_rest(bench *b)
{
    const call none = {0}, values = {.in = ADAM_VALUES};
    const sensing *a = &b->a;
    ROW(b, "A", b->o->table.gemm, sense, none, "%dx%d, %d of %d", a->height, a->width, a->measurements, a->block_pixels);
    ROW(b, "A^T", b->o->table.gemm, sense_back, none, "%dx%d, %d of %d", a->height, a->width, a->measurements, a->block_pixels);
    ROW(b, "adam", b->o->table.pointwise, adam, values, "%d values", ADAM_VALUES);
}

int bench_max_channels(const model_sizes *sizes)
{
    const int widest = network_max_channels(sizes), wide = 8 * sizes->channels[1];
    return widest > wide ? widest : wide;
}

// Of random values: only its shape counts here.
static idm_status push_operator(bench *b)
{
    const bench_settings *s = b->settings;
    const int n = s->sizes.block * s->sizes.block, m = operator_measurements(s->sizes.block, s->cs_ratio), area = s->side * s->side;
    float *phi = check_values((size_t)n * (size_t)m, 1, 0.1f);
    int32_t *perm = malloc((size_t)area * sizeof *perm);
    if (phi && perm) {
        operator_permutation(1, "bench", perm, area);
        context_plan_begin(b->o->ctx);
        const arena_mark mark = arena_save(b->o->ctx, POOL_OPERATOR);
        sensing_create(b->o, phi, n, m, perm, s->side, s->side, &b->a);
        arena_release(b->o->ctx, POOL_OPERATOR, mark);
        if (context_device(b->o->ctx)->device_id) b->status = context_plan_commit(b->o->ctx);
        sensing_create(b->o, phi, n, m, perm, s->side, s->side, &b->a);
    } else b->status = status_fail(IDM_FAILED, "out of memory");
    free(phi);
    free(perm);
    return b->status == IDM_OK ? context_status(b->o->ctx) : b->status;
}

static void add_weight(void *user, const bench_row *row)
{
    bench *b = user;
    b->left += weight_of(b, row);
}

static void add_all(bench *b)
{
    add_products(b);
    for (int level = 0; level < 2; level++) add_level(b, level);
    add_rest(b);
}

idm_status bench_ops(ops *o, const bench_settings *settings, bench_visitor *visit, void *user)
{
    bench b = {.o = o, .settings = settings, .visit = visit, .user = user};
    const arena_mark mark = arena_save(o->ctx, POOL_OPERATOR);
    idm_status status = push_operator(&b);
    if (status == IDM_OK && !context_dry(o->ctx)) {
        bench counting = b;
        counting.visit = add_weight;
        counting.user = &b;
        context_set_dry(o->ctx, true);
        add_all(&counting);
        context_set_dry(o->ctx, false);
    }
    if (status == IDM_OK) add_all(&b);
    arena_release(o->ctx, POOL_OPERATOR, mark);
    return status == IDM_OK ? b.status : status;
}
