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
