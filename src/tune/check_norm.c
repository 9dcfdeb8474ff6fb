#include "tune/check_norm.h"

#include "ops/norm.h"
#include "oracle/oracle_norm.h"
#include "tune/scratch.h"

static const float EPS = 1e-5f;

check_result check_group_norm(ops *o, int n, int h, int w, int c, int groups, bool silu, float mean, bool in_place)
{
    scratch s = {0};
    const size_t count = (size_t)n * h * w * c;
    float *x = scratch_values(&s, count, 1, 2), *gamma = scratch_values(&s, c, 2, 1), *beta = scratch_values(&s, c, 3, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) x[i] += mean;
    oracle_group_norm(x, gamma, beta, n, h * w, c, groups, EPS, silu, want);
    const tensor input = check_upload(o, x, n, h, w, c), y = in_place ? input : check_output(o, n, h, w, c);
    group_norm_forward(o, input, check_upload(o, gamma, 1, 1, 1, c), check_upload(o, beta, 1, 1, 1, c), groups, EPS, silu, y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_layer_norm(ops *o, int rows, int c, float mean)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, count, 1, 2), *gamma = scratch_values(&s, c, 2, 1), *beta = scratch_values(&s, c, 3, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) x[i] += mean;
    oracle_layer_norm(x, gamma, beta, rows, c, EPS, want);
    const tensor input = check_upload(o, x, 1, 1, rows, c), y = check_output(o, 1, 1, rows, c);
    layer_norm_forward(o, input, check_upload(o, gamma, 1, 1, 1, c), check_upload(o, beta, 1, 1, 1, c), EPS, y);
    return scratch_end(&s, check_compare(o, y, want));
}

// ---- gradients

typedef struct gradient_check {
    int n, h, w, c;
    float *x, *gamma, *beta, *dy, *residual, *dgamma, *dbeta; // the last two: before
    double *want_dx, *want_dgamma, *want_dbeta;
    tensor x_tensor, gamma_tensor, beta_tensor, dy_tensor, residual_tensor, dx_tensor, dgamma_tensor, dbeta_tensor;
} gradient_check;

static bool prepare(scratch *s, gradient_check *g, float mean)
{
    const size_t count = (size_t)g->n * g->h * g->w * g->c;
    g->x = scratch_values(s, count, 1, 2);
    g->gamma = scratch_values(s, g->c, 2, 1);
    g->beta = scratch_values(s, g->c, 3, 1);
    g->dy = scratch_values(s, count, 4, 1);
    g->residual = scratch_values(s, count, 5, 1);
    g->dgamma = scratch_values(s, g->c, 6, 1);
    g->dbeta = scratch_values(s, g->c, 7, 1);
    g->want_dx = scratch_doubles(s, count);
    g->want_dgamma = scratch_doubles(s, g->c);
    g->want_dbeta = scratch_doubles(s, g->c);
    if (s->failed) return false;
    for (size_t i = 0; i < count; i++) g->x[i] += mean;
    for (int i = 0; i < g->c; i++) {
        g->want_dgamma[i] = g->dgamma[i];
        g->want_dbeta[i] = g->dbeta[i];
    }
    return true;
}

// After the oracle: adds what it does not know of, and puts the tensors in their places.
static void place(ops *o, gradient_check *g, gradient_places places)
{
    const size_t count = (size_t)g->n * g->h * g->w * g->c;
    const bool residual_is_dy = places == GRADIENT_RESIDUAL_DY || places == GRADIENT_ALL_ONE;
    const float *residual = residual_is_dy ? g->dy : g->residual;
    const bool added = places != GRADIENT_PLAIN && places != GRADIENT_ONTO_DY;
    for (size_t i = 0; i < count && added; i++) g->want_dx[i] += residual[i];
    g->x_tensor = check_upload(o, g->x, g->n, g->h, g->w, g->c);
    g->gamma_tensor = check_upload(o, g->gamma, 1, 1, 1, g->c);
    g->beta_tensor = check_upload(o, g->beta, 1, 1, 1, g->c);
    g->dy_tensor = check_upload(o, g->dy, g->n, g->h, g->w, g->c);
    g->dgamma_tensor = check_upload(o, g->dgamma, 1, 1, 1, g->c);
    g->dbeta_tensor = check_upload(o, g->dbeta, 1, 1, 1, g->c);
    if (residual_is_dy) g->residual_tensor = g->dy_tensor;
    else if (added) g->residual_tensor = check_upload(o, g->residual, g->n, g->h, g->w, g->c);
    if (places == GRADIENT_ONTO_DY || places == GRADIENT_ALL_ONE) g->dx_tensor = g->dy_tensor;
    else if (places == GRADIENT_ONTO_RESIDUAL) g->dx_tensor = g->residual_tensor;
    else g->dx_tensor = check_output(o, g->n, g->h, g->w, g->c);
}

static check_result compare(ops *o, const gradient_check *g)
{
    const check_result parameters =
        check_worst(check_compare(o, g->dgamma_tensor, g->want_dgamma), check_compare(o, g->dbeta_tensor, g->want_dbeta));
    return check_worst(check_compare(o, g->dx_tensor, g->want_dx), parameters);
}

check_result check_group_norm_backward(ops *o, int n, int h, int w, int c, int groups, bool silu, float mean, gradient_places places)
{
    scratch s = {0};
    gradient_check g = {.n = n, .h = h, .w = w, .c = c};
    if (!prepare(&s, &g, mean)) return scratch_end(&s, (check_result){0});
    oracle_group_norm_backward(g.x, g.gamma, g.beta, n, h * w, c, groups, EPS, silu, g.dy, g.want_dx, g.want_dgamma, g.want_dbeta);
    place(o, &g, places);
    group_norm_backward(o, g.x_tensor, g.gamma_tensor, g.beta_tensor, groups, EPS, silu, g.dy_tensor, g.residual_tensor, g.dx_tensor,
                        g.dgamma_tensor, g.dbeta_tensor);
    return scratch_end(&s, compare(o, &g));
}

check_result check_layer_norm_backward(ops *o, int rows, int c, float mean, gradient_places places)
{
    scratch s = {0};
    gradient_check g = {.n = 1, .h = 1, .w = rows, .c = c};
    if (!prepare(&s, &g, mean)) return scratch_end(&s, (check_result){0});
    oracle_layer_norm_backward(g.x, g.gamma, rows, c, EPS, g.dy, g.want_dx, g.want_dgamma, g.want_dbeta);
    place(o, &g, places);
    layer_norm_backward(o, g.x_tensor, g.gamma_tensor, EPS, g.dy_tensor, g.residual_tensor, g.dx_tensor, g.dgamma_tensor, g.dbeta_tensor);
    return scratch_end(&s, compare(o, &g));
}
