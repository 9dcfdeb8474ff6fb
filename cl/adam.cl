// Adam (Kingma & Ba 2015) as torch.optim.Adam computes it, and loss scaling as torch.amp.GradScaler: see src/ops/adam.h. words: an adam_state. A step is
//   adam_inspect  per block of a gradient: the sum of squares, and whether all values are finite -> partials [2][blocks]
//   adam_gather   both over all blocks, into the state
//   adam_prepare  what all elements share: bias corrections, gradient norm, clipping
//   adam_update   weights, moments and moving average of the weights
//   adam_finish   the scale and the counters
#pragma OPENCL FP_CONTRACT OFF // sums and products in two floats need each rounding where it stands
#include "adam_state.clh"
#include "common.clh"
#include "flat.clh"
#include "sums.clh"

#if VEC == 1
#define AS_VINT(v) as_int(v)
#else
#define AS_VINT(v) CAT(as_int, VEC)(v)
#endif

#define STATE_ARGUMENT TENSOR(int, words)
#define START_STATE                                                                                                                        \
    START(words);                                                                                                                          \
    __global adam_state *state = (__global adam_state *)words

FLAT_KERNEL adam_inspect(const int count, const int blocks, TENSOR(const float, g), STATE_ARGUMENT, TENSOR(float, partials))
{
    ITEM_SCRATCH(scratch);
    START_STATE;
    START(g);
    START(partials);
    const float unscale = 1.0f / state->scale;
    vfloat squares = 0.0f;
    vint bad = 0;
    FOR_EACH_FLAT (i, left, count) {
        const vfloat d = flat_load(g + i, left), unscaled = d * unscale;
        squares = fma(unscaled, unscaled, squares);
        bad |= (AS_VINT(d) & 0x7f800000) == 0x7f800000; // bits, since compilers may take for granted that there are no such values
    }
#if VEC == 1
    const float is_bad = bad != 0 ? 1.0f : 0.0f;
#else
    const float is_bad = any(bad) ? 1.0f : 0.0f;
#endif
    const float sum = item_sum(VSUM(squares), scratch), bad_items = item_sum(is_bad, scratch);
    if (get_local_id(0) > 0) return;
    partials[GROUP_ID(0)] = sum;
    partials[blocks + GROUP_ID(0)] = bad_items;
}

// One group.
FLAT_KERNEL adam_gather(const int blocks, TENSOR(const float, partials), STATE_ARGUMENT)
{
    ITEM_SCRATCH(scratch);
    START_STATE;
    START(partials);
    float2 sum = WIDE_ZERO;
    float bad = 0.0f;
    for (int i = get_local_id(0); i < blocks; i += ITEMS) {
        sum = wide_add(sum, partials[i]);
        bad += partials[blocks + i];
    }
    const float squares = item_sum(wide_value(sum), scratch), bad_items = item_sum(bad, scratch);
    if (get_local_id(0) > 0) return;
    state->squares += squares;
    if (bad_items > 0.0f) state->found_nonfinite = 1;
}

// ---- numbers in two floats, x + y with y below half a unit in x's last place

// 1 - (1 - a) (1 - b) = a + b (1 - a), for a and b in [0, 1]
static inline float2 join(float2 a, float2 b)
{
    const float left = 1.0f - a.x, left_rest = ((1.0f - left) - a.x) - a.y;
    const float product = b.x * left, product_rest = fma(b.x, left, -product) + fma(b.x, left_rest, b.y * left);
    const float sum = a.x + product, added = sum - a.x;
    const float rest = (a.x - (sum - added)) + (product - added) + (a.y + product_rest);
    return (float2)(sum + rest, rest - ((sum + rest) - sum));
}

// 1 - beta^t from 1 - beta, by squaring: no term cancels, so its relative error stays that of two floats.
static inline float2 one_minus_power(float2 one_minus_beta, int t)
{
    float2 result = 0.0f;
    for (; t > 0; t >>= 1) {
        if (t & 1) result = join(result, one_minus_beta);
        one_minus_beta = join(one_minus_beta, one_minus_beta);
    }
    return result;
}

// Rounded once, whatever the device's own division and root are good for.
static inline float divide(float2 a, float2 b)
{
    const float quotient = a.x / b.x;
    const float rest = fma(-quotient, b.x, a.x) + (a.y - quotient * b.y);
    return quotient + rest / b.x;
}

static inline float root(float2 a)
{
    const float r = sqrt(a.x);
    return a.x > 0.0f ? r + (fma(-r, r, a.x) + a.y) / (2.0f * r) : r;
}

// One item. lr and 1 - beta in two floats each. clip: the largest norm of the whole gradient, 0: any, as torch.nn.utils.clip_grad_norm_.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void adam_prepare(const float lr, const float lr_rest, const float rate1, const float rate1_rest, const float rate2,
                  const float rate2_rest, const float clip, STATE_ARGUMENT)
{
    START_STATE;
    const int t = state->step + 1;
    state->step_size = divide((float2)(lr, lr_rest), one_minus_power((float2)(rate1, rate1_rest), t));
    state->correction = root(one_minus_power((float2)(rate2, rate2_rest), t));
    state->norm = sqrt(state->squares);
    const float clipped = clip > 0.0f ? fmin(1.0f, clip / (state->norm + 1e-6f)) : 1.0f;
    state->factor = clipped / state->scale;
}

// One item. growth_interval 0: no loss scaling.
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void adam_finish(const float growth, const float backoff, const int growth_interval, STATE_ARGUMENT)
{
    START_STATE;
    if (state->found_nonfinite) {
        state->skipped++;
        if (growth_interval > 0) state->scale *= backoff;
        state->good_steps = 0;
    } else {
        state->step++;
        if (growth_interval > 0 && ++state->good_steps == growth_interval) {
            const float grown = state->scale * growth;
            if ((as_int(grown) & 0x7f800000) != 0x7f800000) state->scale = grown;
            state->good_steps = 0;
        }
    }
    state->found_nonfinite = 0;
    state->squares = 0.0f;
}

#ifndef AVERAGE
#define AVERAGE 0 // 1: average += average_rate (w - average)
#endif

// m += rate1 (g - m); v = beta2 v + rate2 g^2; w -= step_size m / (sqrt(v) / correction + eps); rates are 1 - beta.
FLAT_KERNEL adam_update(const int count, const float rate1, const float beta2, const float rate2, const float eps,
                        const float average_rate, STATE_ARGUMENT, TENSOR(const float, g), TENSOR(float, w), TENSOR(float, m),
                        TENSOR(float, v), TENSOR(float, average))
{
    START_STATE;
    if (state->found_nonfinite) return;
    START(g);
    START(w);
    START(m);
    START(v);
    START(average);
    const float factor = state->factor, step_size = state->step_size, correction = state->correction;
    FOR_EACH_FLAT (i, left, count) {
        const vfloat d = flat_load(g + i, left) * factor;
        vfloat first = flat_load(m + i, left), second = flat_load(v + i, left), value = flat_load(w + i, left);
        first = fma((vfloat)rate1, d - first, first);
        second = fma(rate2 * d, d, second * beta2);
        value = fma((vfloat)-step_size, first / (sqrt(second) / correction + eps), value);
        flat_store(first, m + i, left);
        flat_store(second, v + i, left);
        flat_store(value, w + i, left);
#if AVERAGE
        const vfloat mean = flat_load(average + i, left);
        flat_store(fma((vfloat)average_rate, value - mean, mean), average + i, left);
#endif
    }
}
