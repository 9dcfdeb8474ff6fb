#include "tune/whole.h"

#include "core/clock.h"
#include "core/status.h"
#include "io/operator.h"
#include "tune/check.h"
#include <math.h>
#include <stdlib.h>

// Weights that keep every value of ordinary size.
static const float *some_values(void *user, const parameter *which, size_t count)
{
    float **values = user;
    double fan_in = 1;
    for (int d = 1; d < which->rank; d++) fan_in *= which->shape[d];
    free(*values);
    *values = check_values(count, count, which->rank > 1 ? (float)(1 / sqrt(fan_in)) : 0.1f);
    if (!*values) {
        (void)status_fail(IDM_FAILED, "out of memory");
        return NULL;
    }
    for (size_t i = 0; which->rank <= 1 && i < count; i++) (*values)[i] += 0.5f;
    return *values;
}

idm_status whole_open(whole *w, ops *o, const model_sizes *sizes, double cs_ratio)
{
    float *values = NULL;
    *w = (whole){.o = o, .sizes = *sizes, .cs_ratio = cs_ratio};
    idm_status status = network_create(o, sizes, &w->net);
    if (status == IDM_OK) status = parameters_upload(&w->net.parameters, POOL_WEIGHTS, some_values, &values);
    free(values);
    if (status != IDM_OK) whole_close(w);
    return status;
}

void whole_close(whole *w)
{
    network_free(&w->net);
    *w = (whole){0};
}

typedef struct picture {
    float *phi, *y;
    int32_t *perm;
    int side, measurements, rows;
} picture;

static void free_picture(picture *p)
{
    free(p->phi);
    free(p->y);
    free(p->perm);
}

static idm_status make_picture(const whole *w, int side, picture *p)
{
    const int block_pixels = w->sizes.block * w->sizes.block, m = operator_measurements(w->sizes.block, w->cs_ratio);
    const size_t pixels = (size_t)side * (size_t)side;
    *p = (picture){.side = side, .measurements = m, .rows = side * side / block_pixels, .perm = malloc(pixels * sizeof *p->perm)};
    p->phi = check_values((size_t)block_pixels * (size_t)m, 1, 1 / sqrtf((float)block_pixels));
    p->y = check_values((size_t)p->rows * (size_t)m, 2, 1);
    if (!p->phi || !p->y || !p->perm) {
        free_picture(p);
        return status_fail(IDM_FAILED, "out of memory");
    }
    for (size_t i = 0; i < pixels; i++) p->perm[i] = (int32_t)i;
    return IDM_OK;
}

static void run(whole *w, const picture *p)
{
    context *ctx = w->o->ctx;
    const arena_mark operator_mark = arena_save(ctx, POOL_OPERATOR), mark = arena_save(ctx, POOL_ACTIVATIONS);
    sensing s;
    sensing_create(w->o, p->phi, w->sizes.block * w->sizes.block, p->measurements, p->perm, p->side, p->side, &s);
    const tensor y = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, p->rows, p->measurements);
    const tensor out = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, p->side, p->side, 1);
    context_write(ctx, y, p->y);
    network_forward(&w->net, &s, y, out, NULL);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
    arena_release(ctx, POOL_OPERATOR, operator_mark);
}

static idm_status time_run(whole *w, const picture *p, double *seconds)
{
    context *ctx = w->o->ctx;
    context_plan_begin(ctx);
    run(w, p);
    IDM_TRY(context_plan_commit(ctx));
    for (int i = 0; i < 2; i++) {
        const double began = clock_seconds();
        run(w, p);
        IDM_TRY(context_finish(ctx));
        *seconds = clock_seconds() - began;
    }
    return IDM_OK;
}

idm_status whole_time(whole *w, const tuning *t, int side, double *seconds)
{
    picture p;
    ops *o = w->o;
    IDM_TRY(make_picture(w, side, &p));
    o->tuning = t;
    // as a session keeps them, where there is room for all else
    network_keep_layouts(&w->net, side, side, context_device(o->ctx)->global_memory / 3, false);
    const idm_status status = time_run(w, &p, seconds);
    network_drop_layouts(&w->net);
    o->tuning = NULL;
    free_picture(&p);
    return status;
}
