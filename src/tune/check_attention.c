#include "tune/check_attention.h"

#include "ops/attention.h"
#include "oracle/oracle_attention.h"
#include "tune/scratch.h"

#include <math.h>

// Where part 0 (q), 1 (k) or 2 (v) of the problem begins in the one array that holds all three, and how far apart its rows are, in floats.
static size_t part_start(const attention_shape *s, int part)
{
    const size_t c = (size_t)s->heads * s->head_size;
    return part * (s->slices ? c : c * s->n * s->h * s->w);
}

static int row_stride(const attention_shape *s)
{
    return s->heads * s->head_size * (s->slices ? 3 : 1);
}

// The key that channel c of ATTENTION_ONE_HOT points at; the last one for the first channel.
static int hot_key(int c, int tokens)
{
    return (int)(((long)c * 7919 + tokens - 1) % tokens);
}

// Query i looks at channel i mod head_size alone, where key j has +1 or -1: exact logits of +-100.
static void set_logits(const attention_shape *s, attention_logits logits, float *q, float *k)
{
    const int tokens = s->h * s->w, stride = row_stride(s);
    for (int row = 0; row < s->n * tokens; row++)
        for (int c = 0; c < s->heads * s->head_size; c++) {
            float *qc = &q[(size_t)row * stride + c], *kc = &k[(size_t)row * stride + c];
            const int channel = c % s->head_size, token = row % tokens;
            const bool high = logits == ATTENTION_EQUAL || (logits == ATTENTION_SIGNS && *kc > 0) ||
                              (logits == ATTENTION_ONE_HOT && token == hot_key(channel, tokens));
            *qc = token % s->head_size == channel ? 100 * sqrtf((float)s->head_size) : 0;
            *kc = high ? 1 : -1;
        }
}

static void set_values(const attention_shape *s, attention_logits logits, float *values)
{
    float *q = values, *k = values + part_start(s, 1), *v = values + part_start(s, 2);
    const int stride = row_stride(s);
    for (int row = 0; row < s->n * s->h * s->w; row++)
        for (int c = 0; c < s->heads * s->head_size; c++) {
            v[(size_t)row * stride + c] += 1.5f; // no cancellation in their means
            if (logits == ATTENTION_WIDE) q[(size_t)row * stride + c] *= 50;
        }
    if (logits != ATTENTION_RANDOM && logits != ATTENTION_WIDE) set_logits(s, logits, q, k);
}

// The oracle's values for every step-th query and the last one, NaN for the others. out: [sample][token][channel]; lse:
// [sample][head][token].
static void expect(const attention_shape *s, const float *values, double *out, double *lse)
{
    const int tokens = s->h * s->w, d = s->head_size, stride = row_stride(s);
    for (int sample = 0; sample < s->n; sample++)
        for (int head = 0; head < s->heads; head++) {
            const float *q = values + (size_t)sample * tokens * stride + (size_t)head * d;
            const float *k = q + part_start(s, 1), *v = q + part_start(s, 2);
            for (int token = 0; token < tokens; token++) {
                double *row = out + (((size_t)sample * tokens + token) * s->heads + head) * d;
                double *sum = lse + ((size_t)sample * s->heads + head) * tokens + token;
                *sum = NAN;
                for (int c = 0; c < d; c++) row[c] = NAN;
                if (token % s->step == 0 || token == tokens - 1)
                    oracle_attention_query(q + (size_t)token * stride, k, v, stride, tokens, d, row, sum);
            }
        }
}

// As check_compare; where `want` is NaN, t need only be finite.
static check_result compare_some(ops *o, tensor t, const double *want, float *got)
{
    check_result result = {context_read(o->ctx, t, got), INFINITY};
    double difference = 0, norm = 0;
    bool finite = true;
    for (size_t i = 0; result.status == IDM_OK && i < tensor_elements(t); i++) {
        finite = finite && isfinite(got[i]);
        if (isnan(want[i])) continue;
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    if (finite && result.status == IDM_OK) result.error = difference == 0 ? 0 : sqrt(difference / norm);
    return result;
}

check_result check_attention(ops *o, attention_shape shape, attention_logits logits, bool with_lse)
{
    scratch memory = {0};
    const int c = shape.heads * shape.head_size, tokens = shape.h * shape.w;
    const size_t rows = (size_t)shape.n * tokens;
    float *values = scratch_values(&memory, 3 * rows * c, 1, 2), *got = scratch_values(&memory, rows * c, 2, 1);
    double *want = scratch_doubles(&memory, rows * c), *want_lse = scratch_doubles(&memory, rows * shape.heads);
    if (memory.failed) return scratch_end(&memory, (check_result){0});
    set_values(&shape, logits, values);
    expect(&shape, values, want, want_lse);

    tensor part[3];
    const tensor all = check_upload(o, values, 1, 1, (int)rows, 3 * c), out = check_output(o, shape.n, shape.h, shape.w, c);
    const tensor lse = with_lse ? check_output(o, shape.n, shape.heads, tokens, 1) : NO_TENSOR;
    for (int i = 0; i < 3; i++) {
        part[i] = tensor_shaped(all, shape.n, shape.h, shape.w, c);
        part[i].offset += part_start(&shape, i) * sizeof(float);
    }
    attention_forward(o, part[0], part[1], part[2], row_stride(&shape), shape.heads, out, lse);
    check_result result = compare_some(o, out, want, got);
    if (with_lse) result = check_worst(result, compare_some(o, lse, want_lse, got));
    return scratch_end(&memory, result);
}
