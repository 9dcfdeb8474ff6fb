#include "tune/check_sensing.h"

#include "core/status.h"
#include "ops/ddim.h"
#include "ops/injector.h"
#include "oracle/oracle_sensing.h"
#include "tune/scratch.h"
#include <math.h>

enum { STEPS_MAX = 8 };

static size_t pixels_of(check_operator a)
{
    return (size_t)a.height * a.width;
}

static oracle_operator make_operator(scratch *s, check_operator a)
{
    return (oracle_operator){
        .height = a.height,
        .width = a.width,
        .block_pixels = a.block_pixels,
        .measurements = a.measurements,
        .phi = scratch_values(s, (size_t)a.block_pixels * a.measurements, 101, 2 / sqrtf((float)a.block_pixels)),
        .perm = scratch_permutation(s, pixels_of(a), 102),
    };
}

static sensing upload_operator(ops *o, const oracle_operator *a)
{
    sensing s;
    sensing_create(o, a->phi, a->block_pixels, a->measurements, a->perm, a->height, a->width, &s);
    return s;
}

// check_compare of a tensor in shuffled order.
static check_result compare_shuffled(ops *o, const oracle_operator *a, tensor z, int n, const double *want, double *shuffled)
{
    const size_t pixels = (size_t)a->height * a->width;
    for (size_t i = 0; i < n * pixels; i++) shuffled[i] = want[i / pixels * pixels + a->perm[i % pixels]];
    return check_compare(o, z, shuffled);
}

check_result check_sensing(ops *o, check_operator a, int n)
{
    scratch s = {0};
    const size_t count = n * pixels_of(a);
    const int rows = (int)(pixels_of(a) / a.block_pixels);
    const oracle_operator oracle = make_operator(&s, a);
    float *x = scratch_values(&s, count, 1, 1), *y = scratch_values(&s, (size_t)n * rows * a.measurements, 2, 1);
    double *x64 = scratch_doubles(&s, count), *y64 = scratch_doubles(&s, (size_t)n * rows * a.measurements);
    double *forward = scratch_doubles(&s, (size_t)n * rows * a.measurements), *adjoint = scratch_doubles(&s, count);
    double *normal = scratch_doubles(&s, count), *shuffled = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) x64[i] = x[i];
    for (size_t i = 0; i < (size_t)n * rows * a.measurements; i++) y64[i] = y[i];
    oracle_sensing_forward(&oracle, x64, n, forward);
    oracle_sensing_adjoint(&oracle, y64, n, adjoint);
    s.failed = !oracle_sensing_normal(&oracle, x64, n, normal);

    const arena_mark mark = arena_save(o->ctx, POOL_OPERATOR);
    const sensing op = upload_operator(o, &oracle);
    const tensor got_forward = check_output(o, n, 1, rows, a.measurements), got_adjoint = check_output(o, n, a.height, a.width, 1);
    const tensor got_normal = check_output(o, n, 1, rows, a.block_pixels);
    sensing_forward(o, &op, check_upload(o, x, n, a.height, a.width, 1), got_forward);
    sensing_adjoint(o, &op, check_upload(o, y, n, 1, rows, a.measurements), got_adjoint);
    for (size_t i = 0; i < count; i++) x[i] = (float)x64[i / pixels_of(a) * pixels_of(a) + oracle.perm[i % pixels_of(a)]];
    sensing_normal_shuffled(o, &op, check_upload(o, x, n, 1, rows, a.block_pixels), got_normal);
    check_result result = check_worst(check_compare(o, got_forward, forward), check_compare(o, got_adjoint, adjoint));
    result = check_worst(result, compare_shuffled(o, &oracle, got_normal, n, normal, shuffled));
    arena_release(o->ctx, POOL_OPERATOR, mark);
    return scratch_end(&s, result);
}

static oracle_injector make_injector(scratch *s, check_operator a, int n, int c, int r)
{
    const int planes = c / (r * r);
    return (oracle_injector){
        .n = n,
        .h = a.height / r,
        .w = a.width / r,
        .c = c,
        .r = r,
        .f2i_weight = scratch_values(s, planes, 1, 1),
        .f2i_bias = scratch_values(s, 1, 2, 1),
        .i2f_weight = scratch_values(s, (size_t)planes * 3, 3, 1),
        .i2f_bias = scratch_values(s, planes, 4, 1),
    };
}

typedef struct injector_tensors {
    tensor f2i_weight, f2i_bias, i2f_weight, i2f_bias;
} injector_tensors;

static injector_tensors upload_injector(ops *o, const oracle_injector *f)
{
    const int planes = f->c / (f->r * f->r);
    return (injector_tensors){
        .f2i_weight = check_upload(o, f->f2i_weight, 1, 1, 1, planes),
        .f2i_bias = check_upload(o, f->f2i_bias, 1, 1, 1, 1),
        .i2f_weight = check_upload(o, f->i2f_weight, 1, 1, planes, 3),
        .i2f_bias = check_upload(o, f->i2f_bias, 1, 1, 1, planes),
    };
}

check_result check_injector(ops *o, check_operator a, int n, int c, int r, bool coupled)
{
    scratch s = {0};
    const size_t count = n * pixels_of(a) * c / (r * r);
    const int h = a.height / r, w = a.width / r;
    const oracle_operator oracle = make_operator(&s, a);
    const oracle_injector injector = make_injector(&s, a, n, c, r);
    float *x = scratch_values(&s, count, 5, 1), *mix = scratch_values(&s, count, 6, 1), *v = scratch_values(&s, 1, 7, 1);
    float *back_projection = scratch_values(&s, n * pixels_of(a), 8, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    s.failed = !oracle_injector_forward(&oracle, &injector, x, back_projection, v[0], coupled ? mix : NULL, want);

    const arena_mark mark = arena_save(o->ctx, POOL_OPERATOR);
    const sensing op = upload_operator(o, &oracle);
    epilogue e = {0};
    if (coupled) {
        e.v = check_upload(o, v, 1, 1, 1, 1);
        e.mix = check_upload(o, mix, n, h, w, c);
    }
    const tensor y = coupled ? e.mix : check_output(o, n, h, w, c);
    const injector_tensors f = upload_injector(o, &injector);
    injector_forward(o, &op, check_upload(o, x, n, h, w, c), r, f.f2i_weight, f.f2i_bias, f.i2f_weight, f.i2f_bias,
                     check_upload(o, back_projection, n, a.height, a.width, 1), &e, y);
    const check_result result = check_compare(o, y, want);
    arena_release(o->ctx, POOL_OPERATOR, mark);
    return scratch_end(&s, result);
}

check_result check_ddim(ops *o, check_operator a, int n, int steps, bool coupled)
{
    scratch s = {0};
    const size_t count = n * pixels_of(a);
    const oracle_operator oracle = make_operator(&s, a);
    float *x = scratch_values(&s, count, 1, 1), *e = scratch_values(&s, count, 2, 1), *b = scratch_values(&s, count, 3, 1);
    float *mix = scratch_values(&s, count, 4, 1), *v = scratch_values(&s, 1, 5, 1), *alpha = scratch_values(&s, steps, 6, 0.25f);
    double *want = scratch_doubles(&s, count), alpha_bar[STEPS_MAX + 1] = {1};
    if (s.failed || steps > STEPS_MAX) return scratch_end(&s, (check_result){IDM_FAILED, INFINITY});
    for (int t = 0; t < steps; t++) alpha_bar[t + 1] = alpha_bar[t] * (alpha[t] += 0.5f);

    const arena_mark mark = arena_save(o->ctx, POOL_OPERATOR);
    const sensing op = upload_operator(o, &oracle);
    const tensor device_alpha_bar = check_output(o, 1, 1, 1, steps + 1), start = check_output(o, n, a.height, a.width, 1);
    const tensor device_x = check_upload(o, x, n, a.height, a.width, 1), device_b = check_upload(o, b, n, a.height, a.width, 1);
    const tensor device_e = check_upload(o, e, n, a.height / 2, a.width / 2, 4);
    alpha_bar_forward(o, check_upload(o, alpha, 1, 1, 1, steps), device_alpha_bar);
    check_result result = check_compare(o, device_alpha_bar, alpha_bar);
    ddim_start(o, device_b, device_alpha_bar, steps, start);
    for (size_t i = 0; i < count; i++) want[i] = sqrt(alpha_bar[steps]) * b[i];
    result = check_worst(result, check_compare(o, start, want));
    for (int t = steps; t > 0; t--) {
        epilogue c = {0};
        if (coupled) {
            c.v = check_upload(o, v, 1, 1, 1, 1);
            c.mix = check_upload(o, mix, n, a.height, a.width, 1);
        }
        const tensor y = coupled ? c.mix : check_output(o, n, a.height, a.width, 1);
        if (!oracle_ddim_step(&oracle, x, e, alpha_bar, t, b, n, v[0], coupled ? mix : NULL, want)) s.failed = true;
        ddim_step_forward(o, &op, device_x, device_e, device_alpha_bar, t, device_b, &c, y);
        result = check_worst(result, check_compare(o, y, want));
    }
    arena_release(o->ctx, POOL_OPERATOR, mark);
    return scratch_end(&s, result);
}

// All parameters' gradients in one tensor, so that the error of one that cancels is seen beside the others.
static size_t gradient_count(const oracle_injector *f)
{
    return 5 * (size_t)(f->c / (f->r * f->r)) + 1;
}

static oracle_injector_gradients split_gradients(const oracle_injector *f, double *dx, double *all)
{
    const int planes = f->c / (f->r * f->r);
    return (oracle_injector_gradients){dx, all, all + planes, all + planes + 1, all + 4 * planes + 1};
}

static injector_tensors split_gradient_tensor(const oracle_injector *f, tensor all)
{
    const int planes = f->c / (f->r * f->r);
    const tensor values = tensor_shaped(all, 1, 1, all.c, 1);
    return (injector_tensors){
        .f2i_weight = tensor_row_range(values, 0, planes),
        .f2i_bias = tensor_row_range(values, planes, 1),
        .i2f_weight = tensor_row_range(values, planes + 1, 3 * planes),
        .i2f_bias = tensor_row_range(values, 4 * planes + 1, planes),
    };
}

check_result check_injector_backward(ops *o, check_operator a, int n, int c, int r, bool in_place)
{
    scratch s = {0};
    const size_t count = n * pixels_of(a) * c / (r * r);
    const int h = a.height / r, w = a.width / r;
    const oracle_operator oracle = make_operator(&s, a);
    const oracle_injector injector = make_injector(&s, a, n, c, r);
    const size_t gradients = gradient_count(&injector);
    const float *x = scratch_values(&s, count, 5, 1), *dy = scratch_values(&s, count, 6, 1), *before = scratch_values(&s, gradients, 7, 1);
    const float *back_projection = scratch_values(&s, n * pixels_of(a), 8, 1);
    double *want_dx = scratch_doubles(&s, count), *want = scratch_doubles(&s, gradients);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < gradients; i++) want[i] = before[i];
    const oracle_injector_gradients wanted = split_gradients(&injector, want_dx, want);
    s.failed = !oracle_injector_backward(&oracle, &injector, x, back_projection, dy, &wanted);

    const arena_mark mark = arena_save(o->ctx, POOL_OPERATOR);
    const sensing op = upload_operator(o, &oracle);
    const tensor device_dy = check_upload(o, dy, n, h, w, c), dx = in_place ? device_dy : check_output(o, n, h, w, c);
    const tensor got = check_upload(o, before, 1, 1, 1, (int)gradients);
    const injector_tensors f = upload_injector(o, &injector), g = split_gradient_tensor(&injector, got);
    injector_backward(o, &op, check_upload(o, x, n, h, w, c), r, f.f2i_weight, f.f2i_bias, f.i2f_weight,
                      check_upload(o, back_projection, n, a.height, a.width, 1), device_dy, dx, g.f2i_weight, g.f2i_bias, g.i2f_weight,
                      g.i2f_bias);
    const check_result result = check_worst(check_compare(o, dx, want_dx), check_compare(o, got, want));
    arena_release(o->ctx, POOL_OPERATOR, mark);
    return scratch_end(&s, result);
}

typedef struct ddim_problem {
    check_operator a;
    oracle_operator oracle;
    int n, steps;
    const float *x, *e, *b, *dr;
    double *dx, *de, alpha_bar[STEPS_MAX + 1], dalpha_bar[STEPS_MAX + 1]; // wanted
    sensing op;
    tensor device_x, device_b, device_alpha_bar, device_dalpha_bar;
} ddim_problem;

static check_result check_step_backward(ops *o, ddim_problem *p, int t, bool in_place)
{
    const int n = p->n, height = p->a.height, width = p->a.width;
    if (!oracle_ddim_step_backward(&p->oracle, p->x, p->e, p->alpha_bar, t, p->b, n, p->dr, p->dx, p->de, p->dalpha_bar))
        return (check_result){status_fail(IDM_FAILED, "out of memory"), INFINITY};
    const tensor e = check_upload(o, p->e, n, height / 2, width / 2, 4), dr = check_upload(o, p->dr, n, height, width, 1);
    const tensor dx = in_place ? dr : check_output(o, n, height, width, 1),
                 de = in_place ? e : check_output(o, n, height / 2, width / 2, 4);
    ddim_step_backward(o, &p->op, p->device_x, e, p->device_alpha_bar, t, p->device_b, dr, dx, de, p->device_dalpha_bar);
    return check_worst(check_compare(o, dx, p->dx), check_compare(o, de, p->de));
}

// From dr, as if it were the gradient of the start.
static check_result check_start_backward(ops *o, ddim_problem *p, const float *alpha)
{
    double dalpha[STEPS_MAX], dot = 0;
    for (size_t i = 0; i < p->n * pixels_of(p->a); i++) dot += (double)p->dr[i] * p->b[i];
    p->dalpha_bar[p->steps] += dot / (2 * sqrt(p->alpha_bar[p->steps]));
    for (int i = 0; i < p->steps; i++) {
        dalpha[i] = alpha[i];
        for (int t = i + 1; t <= p->steps; t++) dalpha[i] += p->dalpha_bar[t] * p->alpha_bar[t] / alpha[i];
    }
    const tensor device_alpha = check_upload(o, alpha, 1, 1, 1, p->steps), device_dalpha = check_upload(o, alpha, 1, 1, 1, p->steps);
    ddim_start_backward(o, check_upload(o, p->dr, p->n, p->a.height, p->a.width, 1), p->device_b, p->device_alpha_bar, p->steps,
                        p->device_dalpha_bar);
    alpha_bar_backward(o, device_alpha, p->device_alpha_bar, p->device_dalpha_bar, device_dalpha);
    return check_worst(check_compare(o, p->device_dalpha_bar, p->dalpha_bar), check_compare(o, device_dalpha, dalpha));
}

check_result check_ddim_backward(ops *o, check_operator a, int n, int steps, bool in_place)
{
    scratch s = {0};
    const size_t count = n * pixels_of(a);
    float *alpha = scratch_values(&s, steps, 6, 0.25f);
    ddim_problem p = {
        .a = a,
        .oracle = make_operator(&s, a),
        .n = n,
        .steps = steps,
        .x = scratch_values(&s, count, 1, 1),
        .e = scratch_values(&s, count, 2, 1),
        .b = scratch_values(&s, count, 3, 1),
        .dr = scratch_values(&s, count, 7, 1),
        .dx = scratch_doubles(&s, count),
        .de = scratch_doubles(&s, count),
        .alpha_bar = {1},
    };
    if (s.failed || steps > STEPS_MAX) return scratch_end(&s, (check_result){IDM_FAILED, INFINITY});
    for (int t = 0; t < steps; t++) p.alpha_bar[t + 1] = p.alpha_bar[t] * (alpha[t] += 0.5f);

    const arena_mark mark = arena_save(o->ctx, POOL_OPERATOR);
    p.op = upload_operator(o, &p.oracle);
    p.device_x = check_upload(o, p.x, n, a.height, a.width, 1);
    p.device_b = check_upload(o, p.b, n, a.height, a.width, 1);
    p.device_alpha_bar = check_output(o, 1, 1, 1, steps + 1);
    p.device_dalpha_bar = check_output(o, 1, 1, 1, steps + 1);
    alpha_bar_forward(o, check_upload(o, alpha, 1, 1, 1, steps), p.device_alpha_bar);
    context_fill_zero(o->ctx, p.device_dalpha_bar);
    check_result result = {IDM_OK, 0};
    for (int t = 1; t <= steps; t++) result = check_worst(result, check_step_backward(o, &p, t, in_place));
    result = check_worst(result, check_start_backward(o, &p, alpha));
    arena_release(o->ctx, POOL_OPERATOR, mark);
    return scratch_end(&s, result);
}
