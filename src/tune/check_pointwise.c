#include "tune/check_pointwise.h"

#include "ops/pointwise.h"
#include "oracle/oracle_pointwise.h"
#include "tune/scratch.h"
#include <math.h>

check_result check_silu(ops *o, int n, int h, int w, int c, float size)
{
    scratch s = {0};
    const size_t count = (size_t)n * h * w * c;
    float *x = scratch_values(&s, count, 1, size);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) want[i] = oracle_silu(x[i]);
    const tensor y = check_output(o, n, h, w, c);
    silu_forward(o, check_upload(o, x, n, h, w, c), y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_geglu(ops *o, int rows, int c, float size)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, 2 * count, 1, size);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    oracle_geglu(x, rows, c, want);
    const tensor y = check_output(o, 1, 1, rows, c);
    geglu_forward(o, check_upload(o, x, 1, 1, rows, 2 * c), y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_gelu_tail(ops *o, float tiny)
{
    enum { ROWS = 64, C = 64, COUNT = ROWS * C };
    scratch s = {0};
    float *x = scratch_values(&s, 2 * COUNT, 1, 1), *got = scratch_values(&s, COUNT, 1, 0);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < C; k++) {
            float *pair = x + (size_t)r * 2 * C + k;
            pair[0] = 1;
            pair[C] = pair[C] * ldexpf(1, r % 16 - 8); // up to 128
        }
    const tensor y = check_output(o, 1, 1, ROWS, C);
    geglu_forward(o, check_upload(o, x, 1, 1, ROWS, 2 * C), y);
    check_result result = {context_read(o->ctx, y, got), 0};
    for (int i = 0; result.status == IDM_OK && i < COUNT; i++) {
        const double want = oracle_gelu(x[(size_t)(i / C) * 2 * C + C + i % C]);
        const double error = fabs(got[i] - want) / fmax(fabs(want), tiny);
        if (!(error <= result.error)) result.error = isfinite(error) ? error : INFINITY;
    }
    return scratch_end(&s, result);
}

check_result check_geglu_backward(ops *o, int rows, int c, float size, bool in_place)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, 2 * count, 1, size), *dy = scratch_values(&s, count, 2, 1);
    double *want = scratch_doubles(&s, 2 * count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    oracle_geglu_backward(x, dy, rows, c, want);
    const tensor input = check_upload(o, x, 1, 1, rows, 2 * c), dx = in_place ? input : check_output(o, 1, 1, rows, 2 * c);
    geglu_backward(o, input, check_upload(o, dy, 1, 1, rows, c), dx);
    return scratch_end(&s, check_compare(o, dx, want));
}

check_result check_gelu_slope_tail(ops *o, float tiny)
{
    enum { ROWS = 64, C = 64, COUNT = ROWS * C };
    scratch s = {0};
    float *x = scratch_values(&s, 2 * COUNT, 1, 1), *dy = scratch_values(&s, COUNT, 1, 0), *got = scratch_values(&s, 2 * COUNT, 1, 0);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (int i = 0; i < COUNT; i++) {
        float *pair = x + (size_t)(i / C) * 2 * C + i % C;
        pair[0] = dy[i] = 1;
        pair[C] = pair[C] * ldexpf(1, i / C % 16 - 8); // up to 128
    }
    const tensor dx = check_output(o, 1, 1, ROWS, 2 * C);
    geglu_backward(o, check_upload(o, x, 1, 1, ROWS, 2 * C), check_upload(o, dy, 1, 1, ROWS, C), dx);
    check_result result = {context_read(o->ctx, dx, got), 0};
    for (int i = 0; result.status == IDM_OK && i < COUNT; i++) {
        const size_t at = (size_t)(i / C) * 2 * C + C + i % C;
        const double want = oracle_gelu_slope(x[at]), error = fabs(got[at] - want) / fmax(fabs(want), tiny);
        if (fabs(x[at] + 0.75) < 0.25) continue;
        if (!(error <= result.error)) result.error = isfinite(error) ? error : INFINITY;
    }
    return scratch_end(&s, result);
}

check_result check_channels_copy(ops *o, int rows, int c, int y_channels, int first)
{
    scratch s = {0};
    float *x = scratch_values(&s, (size_t)rows * c, 1, 1), *before = scratch_values(&s, (size_t)rows * y_channels, 2, 1);
    double *want = scratch_doubles(&s, (size_t)rows * y_channels);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < (size_t)rows * y_channels; i++) {
        const int k = (int)(i % y_channels) - first;
        want[i] = k >= 0 && k < c ? x[i / y_channels * c + k] : before[i];
    }
    const tensor y = check_upload(o, before, 1, 1, rows, y_channels);
    channels_copy(o, check_upload(o, x, 1, 1, rows, c), y, first);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_channels_slice(ops *o, int rows, int c, int x_channels, int first, bool add)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, (size_t)rows * x_channels, 1, 1), *before = scratch_values(&s, count, 2, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) want[i] = x[i / c * x_channels + first + i % c] + (add ? (double)before[i] : 0);
    const tensor y = add ? check_upload(o, before, 1, 1, rows, c) : check_output(o, 1, 1, rows, c);
    channels_slice(o, check_upload(o, x, 1, 1, rows, x_channels), first, add, y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_upsample_nearest(ops *o, int n, int h, int w, int c)
{
    scratch s = {0};
    float *x = scratch_values(&s, (size_t)n * h * w * c, 1, 1);
    double *want = scratch_doubles(&s, (size_t)n * h * w * c * 4);
    if (s.failed) return scratch_end(&s, (check_result){0});
    oracle_upsample_nearest(x, n, h, w, c, want);
    const tensor y = check_output(o, n, 2 * h, 2 * w, c);
    upsample_nearest(o, check_upload(o, x, n, h, w, c), y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_add(ops *o, int rows, int c)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, count, 1, 1), *z = scratch_values(&s, count, 2, 1);
    double *want = scratch_doubles(&s, count), *want_z = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) {
        want[i] = x[i] + z[i]; // rounded to float, so that the second sum has nothing to differ by
        want_z[i] = want[i] + z[i];
    }
    const tensor x_sum = check_upload(o, x, 1, 1, rows, c), z_sum = check_upload(o, z, 1, 1, rows, c);
    add(o, x_sum, z_sum, x_sum);
    add(o, x_sum, z_sum, z_sum);
    return scratch_end(&s, check_worst(check_compare(o, x_sum, want), check_compare(o, z_sum, want_z)));
}

check_result check_dot_add(ops *o, int rows, int c, bool cancel)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, count, 1, 1), *z = scratch_values(&s, count, 2, 1), *a = scratch_values(&s, 1, 3, 1);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count / 2 && cancel; i++) {
        x[count / 2 + i] = x[i];
        z[count / 2 + i] = -z[i];
    }
    double want = a[0], squares = (double)a[0] * a[0];
    for (size_t i = 0; i < count; i++) {
        const double term = (double)x[i] * z[i];
        want += term;
        squares += term * term;
    }
    const tensor sum = check_upload(o, a, 1, 1, 1, 1);
    dot_add(o, check_upload(o, x, 1, 1, rows, c), check_upload(o, z, 1, 1, rows, c), sum);
    return scratch_end(&s, check_sum(o, sum, want, sqrt(squares)));
}

check_result check_upsample_nearest_backward(ops *o, int n, int h, int w, int c, bool residual)
{
    scratch s = {0};
    const size_t count = (size_t)n * h * w * c;
    float *dy = scratch_values(&s, 4 * count, 1, 1), *before = scratch_values(&s, count, 2, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    oracle_upsample_nearest_backward(dy, n, h, w, c, want);
    for (size_t i = 0; residual && i < count; i++) want[i] += before[i];
    const tensor dx = residual ? check_upload(o, before, n, h, w, c) : check_output(o, n, h, w, c);
    upsample_nearest_backward(o, check_upload(o, dy, n, 2 * h, 2 * w, c), &(epilogue){.residual = residual ? dx : NO_TENSOR}, dx);
    return scratch_end(&s, check_compare(o, dx, want));
}

check_result check_scale(ops *o, int rows, int c)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, count, 1, 1), *a = scratch_values(&s, 1, 2, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) want[i] = (double)a[0] * x[i];
    const tensor y = check_upload(o, x, 1, 1, rows, c);
    scale(o, y, check_upload(o, a, 1, 1, 1, 1), y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_add_scaled(ops *o, int rows, int c)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, count, 1, 1), *a = scratch_values(&s, 1, 2, 1), *z = scratch_values(&s, count, 3, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) want[i] = x[i] + (double)a[0] * z[i];
    const tensor y = check_upload(o, x, 1, 1, rows, c);
    add_scaled(o, y, check_upload(o, z, 1, 1, rows, c), check_upload(o, a, 1, 1, 1, 1), y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_epilogue(ops *o, int rows, int c, bool bias, bool residual, bool coupled)
{
    scratch s = {0};
    const size_t count = (size_t)rows * c;
    float *x = scratch_values(&s, count, 1, 1), *b = scratch_values(&s, c, 2, 1), *r = scratch_values(&s, count, 3, 1);
    float *mix = scratch_values(&s, count, 4, 1), *v = scratch_values(&s, 1, 5, 1);
    double *want = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    oracle_epilogue(x, bias ? b : NULL, residual ? r : NULL, v[0], coupled ? mix : NULL, rows, c, want);
    epilogue e = {0};
    if (bias) e.bias = check_upload(o, b, 1, 1, 1, c);
    if (residual) e.residual = check_upload(o, r, 1, 1, rows, c);
    if (coupled) {
        e.v = check_upload(o, v, 1, 1, 1, 1);
        e.mix = check_upload(o, mix, 1, 1, rows, c);
    }
    const tensor y = coupled ? e.mix : check_output(o, 1, 1, rows, c);
    epilogue_forward(o, check_upload(o, x, 1, 1, rows, c), &e, y);
    return scratch_end(&s, check_compare(o, y, want));
}

check_result check_pixel_shuffle(ops *o, int n, int h, int w, int planes, int r)
{
    scratch s = {0};
    const int c = planes * r * r;
    const size_t count = (size_t)n * h * w * c;
    float *x = scratch_values(&s, count, 1, 1);
    double *plane = scratch_doubles(&s, count), *feature = scratch_doubles(&s, count);
    if (s.failed) return scratch_end(&s, (check_result){0});
    for (size_t i = 0; i < count; i++) {
        const size_t pixel = i / c;
        const size_t at = oracle_plane_index(h, w, planes, r, (int)(pixel / w / h), (int)(pixel / w % h), (int)(pixel % w), (int)(i % c));
        plane[at] = x[i];
        feature[i] = x[at];
    }
    const tensor as_feature = check_upload(o, x, n, h, w, c), as_plane = tensor_shaped(as_feature, n, h * r, w * r, planes);
    const tensor y = check_output(o, n, h * r, w * r, planes), z = check_output(o, n, h, w, c);
    pixel_shuffle(o, as_feature, r, y);
    pixel_unshuffle(o, as_plane, r, z);
    return scratch_end(&s, check_worst(check_compare(o, y, plane), check_compare(o, z, feature)));
}
