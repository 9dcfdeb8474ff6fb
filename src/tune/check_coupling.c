#include "tune/check_coupling.h"

#include "ops/coupling.h"
#include "ops/loss.h"
#include "ops/pointwise.h"
#include "oracle/oracle_coupling.h"
#include "tune/scratch.h"
#include <math.h>
#include <string.h>

static tensor upload(ops *o, const float *values, size_t count)
{
    return check_upload(o, values, 1, 1, 1, (int)count);
}

check_result check_coupling(ops *o, size_t count, float v, bool in_place)
{
    scratch s = {0};
    float *f = scratch_values(&s, count, 1, 1), *x2 = scratch_values(&s, count, 2, 1), *dy1 = scratch_values(&s, count, 3, 1);
    float *before = scratch_values(&s, 1, 4, 1);
    double *y1 = scratch_doubles(&s, count), *dbody = scratch_doubles(&s, count), *dx2 = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    oracle_coupling(f, x2, v, count, y1);
    const double dv = before[0] + oracle_coupling_backward(f, x2, v, dy1, count, dbody, dx2);
    double squares = (double)before[0] * before[0];
    for (size_t i = 0; i < count; i++) squares += pow(((double)x2[i] - f[i]) * dy1[i], 2);

    const int c = (int)count;
    const tensor f_tensor = upload(o, f, count), x2_tensor = upload(o, x2, count), v_tensor = upload(o, &v, 1);
    const tensor d = upload(o, dy1, count), sum = upload(o, before, 1);
    const tensor body = in_place ? f_tensor : check_output(o, 1, 1, 1, c), other = in_place ? d : check_output(o, 1, 1, 1, c);
    const tensor coupled = in_place ? x2_tensor : check_output(o, 1, 1, 1, c);
    if (in_place) {
        // the backward pass needs x2, so it goes first, on a copy of f
        const tensor f_copy = upload(o, f, count);
        coupling_backward(o, f_tensor, x2_tensor, v_tensor, d, body, other, sum);
        coupling_forward(o, f_copy, x2_tensor, v_tensor, coupled);
    } else {
        coupling_forward(o, f_tensor, x2_tensor, v_tensor, coupled);
        coupling_backward(o, f_tensor, x2_tensor, v_tensor, d, body, other, sum);
    }
    const check_result arrays = check_worst(check_compare(o, body, dbody), check_compare(o, other, dx2));
    return scratch_end(&s, check_worst(check_worst(check_compare(o, coupled, y1), arrays), check_sum(o, sum, dv, sqrt(squares))));
}

check_result check_coupling_invert(ops *o, size_t count, float v, bool in_place)
{
    scratch s = {0};
    float *f = scratch_values(&s, count, 1, 1), *x2 = scratch_values(&s, count, 2, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) want[i] = x2[i];
    const tensor f_tensor = upload(o, f, count), v_tensor = upload(o, &v, 1), y1 = check_output(o, 1, 1, 1, (int)count);
    const tensor again = in_place ? y1 : check_output(o, 1, 1, 1, (int)count);
    coupling_forward(o, f_tensor, upload(o, x2, count), v_tensor, y1);
    coupling_invert(o, f_tensor, y1, v_tensor, again);
    return scratch_end(&s, check_compare(o, again, want));
}

check_result check_coupling_bits(ops *o, int rows, int c, float v)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *f = scratch_values(&s, count, 1, 1), *x2 = scratch_values(&s, count, 2, 1);
    float *got = scratch_values(&s, count, 1, 0), *want = scratch_values(&s, count, 1, 0);
    if (s.failed) return scratch_end(&s, (check_result){0});
    const tensor x = check_upload(o, f, 1, 1, rows, c), y = check_output(o, 1, 1, rows, c);
    const epilogue e = {.v = upload(o, &v, 1), .mix = check_upload(o, x2, 1, 1, rows, c)};
    coupling_forward(o, x, e.mix, e.v, y);
    epilogue_forward(o, x, &e, e.mix);
    check_result result = {context_read(o->ctx, y, got), 0};
    if (result.status == IDM_OK) result.status = context_read(o->ctx, e.mix, want);
    result.error = memcmp(got, want, count * sizeof *got) == 0 ? 0 : INFINITY;
    return scratch_end(&s, result);
}

check_result check_l1_loss(ops *o, size_t count, bool scaled, bool in_place)
{
    const float weight = 1.0f / 3000, scale = 65536;
    scratch s = {0};
    float *out = scratch_values(&s, count, 1, 1), *x = scratch_values(&s, count, 2, 1), *before = scratch_values(&s, 1, 3, 1);
    double *dout = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 3; i < count; i += 7) out[i] = x[i];
    before[0] = fabsf(before[0]);
    const double loss = before[0] + oracle_l1_loss(out, x, weight, scaled ? scale : 1, count, dout);
    const tensor out_tensor = upload(o, out, count), sum = upload(o, before, 1);
    const tensor gradient = in_place ? out_tensor : check_output(o, 1, 1, 1, (int)count);
    l1_loss(o, out_tensor, upload(o, x, count), weight, scaled ? upload(o, &scale, 1) : NO_TENSOR, sum, gradient);
    return scratch_end(&s, check_worst(check_sum(o, sum, loss, 0), check_compare(o, gradient, dout)));
}
