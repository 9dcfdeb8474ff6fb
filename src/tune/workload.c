#include "tune/workload.h"

#include "core/status.h"
#include "io/operator.h"
#include "model/network.h"
#include <stdlib.h>
#include <string.h>

double workload_call_flops(const tuning_shape *z)
{
    const double tokens = z->pixels, channels = (double)z->heads * z->head;
    switch (z->op) {
    case TUNED_CONV:
    case TUNED_CONV_WEIGHT_GRADIENT:
        return 18.0 * z->pixels * z->in * z->out;
    case TUNED_LINEAR:
    case TUNED_LINEAR_WEIGHT_GRADIENT:
        return 2.0 * z->pixels * z->in * z->out;
    case TUNED_ATTENTION:
        return 4 * z->samples * tokens * tokens * channels;
    case TUNED_ATTENTION_BACKWARD:
        return 10 * z->samples * tokens * tokens * channels;
    default:
        return 0;
    }
}

tuning_shape workload_reduce(const tuning_shape *call, double flops)
{
    enum { PIXELS_LEAST = 512 }; // fewer are not what the class is about
    tuning_shape z = *call;
    z.samples = 1;
    while (z.pixels > PIXELS_LEAST && workload_call_flops(&z) > flops) z.pixels /= 2;
    return z;
}

static void add_call(void *user, const tuning_shape *call)
{
    workload *w = user;
    const double flops = workload_call_flops(call);
    if (flops <= 0) return; // a question about layouts
    const tuning_shape class = tuning_class(call);
    workload_group *g = NULL;
    for (size_t i = 0; i < w->count && !g; i++)
        if (memcmp(&w->groups[i].class, &class, sizeof class) == 0) g = &w->groups[i];
    if (!g) {
        workload_group *grown = realloc(w->groups, (w->count + 1) * sizeof *grown);
        if (!grown) {
            w->failed = true;
            return;
        }
        w->groups = grown;
        g = &grown[w->count++];
        *g = (workload_group){.class = class};
    }
    g->flops += flops;
    if (flops <= g->call_flops) return;
    g->call = *call;
    g->call_flops = flops;
}

static int by_flops(const void *a, const void *b)
{
    const workload_group *x = a, *y = b;
    return x->flops < y->flops ? 1 : x->flops > y->flops ? -1 : 0;
}

static void run(network *n, const model_sizes *z, double cs_ratio, int side, bool training)
{
    ops *o = n->o;
    context *ctx = o->ctx;
    const int block_pixels = z->block * z->block, m = operator_measurements(z->block, cs_ratio);
    sensing s;
    sensing_create(o, NULL, block_pixels, m, NULL, side, side, &s);
    const tensor y = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, side * side / block_pixels, m);
    const tensor out = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, side, side, 1);
    if (training) {
        static const network_dial dial = {.recompute = IDM_RECOMPUTE_NONE, .keep_wide = true, .keep_steps = true};
        const tensor x = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, side, side, 1);
        const tensor loss = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, 1);
        network_create_gradients(n);
        network_gradient(n, &s, y, x, &dial, 1, NO_TENSOR, loss, out);
    } else network_forward(n, &s, y, out, NULL);
}

idm_status workload_find(const device_info *device, const idm_config *config, const model_sizes *sizes, double cs_ratio, int side,
                         bool training, workload *w)
{
    device_info described = *device;
    described.device_id = NULL;
    context *ctx;
    ops o;
    network n = {0};
    *w = (workload){0};
    IDM_TRY(context_create(&described, &(context_options){0}, &ctx));
    const tuning_listener listener = {add_call, w};
    idm_status status = ops_create(ctx, config->device.variants, config->device.gemm, config->device.math, network_max_channels(sizes), &o);
    if (status == IDM_OK) status = network_create(&o, sizes, &n);
    if (status == IDM_OK) {
        o.seen = &listener;
        context_reset_cost(ctx);
        run(&n, sizes, cs_ratio, side, training);
        w->flops = context_cost(ctx).flops;
        status = context_status(ctx);
    }
    network_free(&n);
    context_destroy(ctx);
    if (status == IDM_OK && w->failed) status = status_fail(IDM_FAILED, "out of memory");
    if (status != IDM_OK) workload_free(w);
    else if (w->count) qsort(w->groups, w->count, sizeof *w->groups, by_flops);
    return status;
}

void workload_free(workload *w)
{
    free(w->groups);
    *w = (workload){0};
}
