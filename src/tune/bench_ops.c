#include "tune/bench_ops.h"

#include "core/clock.h"
#include "core/status.h"
#include "io/operator.h"
#include "model/network.h"
#include "tune/bench_calls.h"
#include "tune/ceilings.h"
#include "tune/check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ADAM_VALUES = 1 << 24 }; // far beyond caches, as the network's are

typedef struct bench {
    ops *o;
    const bench_settings *settings;
    bench_visitor *visit;
    void *user;
    sensing a;
    double left; // sum of the weights of the rows to come
} bench;

typedef struct timed {
    bench_operation *run;
    bench_call *c;
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

static void find_matrix(void *user, const planned_launch *l)
{
    if (strstr(l->file, "_matrix")) *(bool *)user = true;
}

static void count(const bench *b, timed *t, bench_row *row)
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
    if (b->settings->predicted) row->predicted = prediction_of_context(ctx, b->settings->predicted);
    arena_release(ctx, POOL_DERIVED, derived);
    t->c->w = (weight){0};
    context_set_dry(ctx, dry);
    bool matrix = false;
    planned_visit(ctx, find_matrix, &matrix);
    if (matrix) row->variant = variant_name(VARIANT_MATRIX);
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
    static const double quick = 0.4; // so long a row is measured once although the time is over
    context *ctx = b->o->ctx;
    const double part = weight_of(b, row), now = clock_seconds();
    const double share = fmax(fmin(1, part / b->left) * (b->settings->deadline - now), part < quick ? 0.1 : 0);
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

static void add_row(bench *b, const char *name, variant v, bench_operation *run, const bench_call *shape, const char *text)
{
    context *ctx = b->o->ctx;
    bench_call c = *shape;
    timed t = {run, &c};
    bench_row row = {.name = name, .variant = variant_name(v)};
    (void)snprintf(row.shape, sizeof row.shape, "%s", text);
    c.o = b->o;
    c.a = &b->a;
    if (c.stride == 0) c.stride = 1;
    count(b, &t, &row);
    if (context_status(ctx) != IDM_OK) { // a tensor larger than the device gives
        row.failure = idm_message();
        context_clear_error(ctx);
    } else if (!context_dry(ctx)) measure(b, &t, &row);
    b->left -= weight_of(b, &row);
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

static void add_layers(bench *b, const char *name, variant v, bench_operation *run, const layer_shape *shapes, size_t count_of)
{
    for (size_t i = 0; i < count_of; i++) {
        const layer_shape *s = &shapes[i];
        const bench_call c = {
            .height = s->side, .width = s->side, .in = s->in, .out = s->out, .stride = s->stride, .upsample = s->upsample};
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
    add_layers(b, "linear", gemm, bench_linear, layers, LAYERS);
    add_layers(b, "linear, gradient of x", gemm, bench_linear_data, layers, LAYERS);
    add_layers(b, "linear, gradient of w", gemm, bench_linear_weight, layers, LAYERS);
    add_layers(b, "conv3x3", convolution, bench_conv, convolutions, CONVOLUTIONS);
    add_layers(b, "conv3x3, gradient of x", convolution, bench_conv_data, convolutions, CONVOLUTIONS);
    add_layers(b, "conv3x3, gradient of w", convolution, bench_conv_weight, convolutions, CONVOLUTIONS);
}

static void add_level(bench *b, int level)
{
    static const struct {
        const char *name;
        bench_operation *run;
        bool wide; // of the feed-forward layer's width, halved by GEGLU
    } rows[] = {
        {"group norm, silu", bench_group_norm, false},
        {"group norm, silu, gradient", bench_group_norm_gradient, false},
        {"layer norm", bench_layer_norm, false},
        {"layer norm, gradient", bench_layer_norm_gradient, false},
        {"silu", bench_silu, false},
        {"geglu", bench_geglu, true},
        {"geglu, gradient", bench_geglu_gradient, true},
        {"coupling", bench_coupling, false},
        {"coupling inverse", bench_coupling_inverse, false},
        {"coupling, gradient", bench_coupling_gradient, false},
        {"injector", bench_inject, false},
        {"injector, gradient", bench_inject_gradient, false},
    };
    const model_sizes *z = &b->settings->sizes;
    const int side = b->settings->side >> (level + 1), channels = z->channels[level];
    const bench_call c = {.height = side, .width = side, .in = channels, .heads = z->heads, .groups = z->groups};
    ROW(b, "attention", b->o->table.attention, bench_attention, c, "%d tokens, %d heads of %d", side * side, z->heads, channels / z->heads);
    ROW(b, "attention, gradient", b->o->table.attention, bench_attention_gradient, c, "%d tokens, %d heads of %d", side * side, z->heads,
        channels / z->heads);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bench_call row = c;
        if (rows[i].wide) row.in = 8 * channels;
        row.out = row.in / 2;
        ROW(b, rows[i].name, b->o->table.pointwise, rows[i].run, row, "%dx%d, %d", side, side, row.in);
    }
}

static void add_rest(bench *b)
{
    const bench_call none = {0}, values = {.in = ADAM_VALUES};
    const sensing *a = &b->a;
    ROW(b, "A", b->o->table.gemm, bench_sense, none, "%dx%d, %d of %d", a->height, a->width, a->measurements, a->block_pixels);
    ROW(b, "A^T", b->o->table.gemm, bench_sense_back, none, "%dx%d, %d of %d", a->height, a->width, a->measurements, a->block_pixels);
    ROW(b, "adam", b->o->table.pointwise, bench_adam, values, "%d values", ADAM_VALUES);
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
    idm_status status = phi && perm ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) {
        operator_permutation(1, "bench", perm, area);
        const arena_mark mark = arena_save(b->o->ctx, POOL_OPERATOR);
        context_plan_begin(b->o->ctx);
        sensing_create(b->o, phi, n, m, perm, s->side, s->side, &b->a);
        arena_release(b->o->ctx, POOL_OPERATOR, mark);
        status = context_plan_commit(b->o->ctx);
        sensing_create(b->o, phi, n, m, perm, s->side, s->side, &b->a);
    }
    free(phi);
    free(perm);
    return status == IDM_OK ? context_status(b->o->ctx) : status;
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
    const idm_status status = push_operator(&b);
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
    return status;
}
