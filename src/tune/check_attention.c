#include "tune/check_attention.h"

#include "ops/attention.h"
#include "ops/storage.h"
#include "oracle/oracle_attention.h"
#include "tune/scratch.h"

#include <math.h>
#include <string.h>

// Where part 0 (q or dq), 1 (k) or 2 (v) of the problem begins in the one array that holds all three, and how far apart its rows are, in
// floats.
static size_t slice_start(const attention_shape *s, bool slices, int part)
{
    const size_t c = (size_t)s->heads * s->head_size;
    return part * (slices ? c : c * s->n * s->h * s->w);
}

static size_t part_start(const attention_shape *s, int part)
{
    return slice_start(s, s->slices, part);
}

static int slice_stride(const attention_shape *s, bool slices)
{
    return s->heads * s->head_size * (slices ? 3 : 1);
}

static int row_stride(const attention_shape *s)
{
    return slice_stride(s, s->slices);
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

static void set_values(const attention_shape *s, attention_logits logits, float offset, float *values)
{
    float *q = values, *k = values + part_start(s, 1), *v = values + part_start(s, 2);
    const int stride = row_stride(s);
    for (int row = 0; row < s->n * s->h * s->w; row++)
        for (int c = 0; c < s->heads * s->head_size; c++) {
            v[(size_t)row * stride + c] += offset;
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
    t = storage_widen(o, t);
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

static void split(const attention_shape *s, bool slices, tensor all, tensor part[3])
{
    for (int i = 0; i < 3; i++) {
        part[i] = tensor_shaped(all, s->n, s->h, s->w, s->heads * s->head_size);
        part[i].offset += slice_start(s, slices, i) * dtype_size(all.type);
    }
}

// The errors of the output and of the log-sum-exp.
static check_result check_forward(ops *o, attention_shape shape, attention_logits logits, bool with_lse, attention_types types,
                                  double *lse_error)
{
    scratch memory = {0};
    const int c = shape.heads * shape.head_size, tokens = shape.h * shape.w;
    const size_t rows = (size_t)shape.n * tokens;
    float *values = scratch_values(&memory, 3 * rows * c, 1, 2), *got = scratch_values(&memory, rows * c, 2, 1);
    double *want = scratch_doubles(&memory, rows * c), *want_lse = scratch_doubles(&memory, rows * shape.heads);
    *lse_error = 0;
    if (memory.failed) return scratch_end(&memory, (check_result){0});
    set_values(&shape, logits, 1.5f, values); // no cancellation in means of v
    check_round(values, 3 * rows * c, types.values);
    expect(&shape, values, want, want_lse);

    tensor part[3];
    const tensor all = check_upload_as(o, types.stored, values, 1, 1, (int)rows, 3 * c);
    const tensor out = check_output_as(o, types.out, shape.n, shape.h, shape.w, c);
    const tensor lse = with_lse ? check_output(o, shape.n, shape.heads, tokens, 1) : NO_TENSOR;
    split(&shape, shape.slices, all, part);
    attention_forward(o, part[0], part[1], part[2], row_stride(&shape), shape.heads, out, lse);
    check_result result = compare_some(o, out, want, got);
    if (with_lse && result.status == IDM_OK) {
        const check_result of_lse = compare_some(o, lse, want_lse, got);
        result.status = of_lse.status;
        *lse_error = of_lse.error;
    }
    return scratch_end(&memory, result);
}

check_result check_attention(ops *o, attention_shape shape, attention_logits logits, bool with_lse)
{
    double lse_error;
    check_result result = check_forward(o, shape, logits, with_lse, (attention_types){.values = DTYPE_F32}, &lse_error);
    result.error = fmax(result.error, lse_error);
    return result;
}

check_result check_stored_attention(ops *o, attention_shape shape, attention_logits logits, attention_types types)
{
    double lse_error;
    return check_forward(o, shape, logits, false, types, &lse_error);
}

check_result check_stored_lse(ops *o, attention_shape shape, attention_logits logits, attention_types types)
{
    double lse_error;
    check_result result = check_forward(o, shape, logits, true, types, &lse_error);
    result.error = lse_error;
    return result;
}

// ---- backward

typedef struct gradient_problem {
    attention_shape shape;
    bool gradient_slices;
    const float *values, *dout;      // as on the device
    double *out, *lse, *delta;       // of one head
    double *want;                    // dq, dk and dv as on the device, NaN where not computed
    double cancelled_q, cancelled_k; // sums of squares of the terms whose sums are dq and dk, about
} gradient_problem;

// out, lse and delta of every query of one head. Queries that are equal to the one head_size before them, as set_logits makes them, take
// its values.
static void expect_forward(gradient_problem *p, const float *q, const float *k, const float *v, const float *dout)
{
    const attention_shape *s = &p->shape;
    const int d = s->head_size, tokens = s->h * s->w, stride = row_stride(s);
    for (int i = 0; i < tokens; i++) {
        const float *query = q + (size_t)i * stride;
        double *out = p->out + (size_t)i * d;
        if (i >= d && memcmp(query, query - (size_t)d * stride, (size_t)d * sizeof *query) == 0) {
            memcpy(out, out - (size_t)d * d, (size_t)d * sizeof *out);
            p->lse[i] = p->lse[i - d];
        } else oracle_attention_query(query, k, v, stride, tokens, d, out, &p->lse[i]);
        p->delta[i] = 0;
        for (int c = 0; c < d; c++) p->delta[i] += out[c] * dout[(size_t)i * s->heads * d + c];
    }
}

static double squares(const float *values, int count)
{
    double sum = 0;
    for (int c = 0; c < count; c++) sum += (double)values[c] * values[c];
    return sum;
}

static void expect_gradients(gradient_problem *p, int sample, int head)
{
    const attention_shape *s = &p->shape;
    const int d = s->head_size, tokens = s->h * s->w, stride = row_stride(s), dout_stride = s->heads * d;
    const int gradient_stride = slice_stride(s, p->gradient_slices);
    const float *q = p->values + (size_t)sample * tokens * stride + (size_t)head * d, *k = q + part_start(s, 1), *v = q + part_start(s, 2);
    const float *dout = p->dout + (size_t)sample * tokens * dout_stride + (size_t)head * d;
    expect_forward(p, q, k, v, dout);
    for (int token = 0; token < tokens; token++) {
        if (token % s->step != 0 && token != tokens - 1) continue;
        double *dq = p->want + ((size_t)sample * tokens + token) * gradient_stride + (size_t)head * d;
        double *dk = dq + slice_start(s, p->gradient_slices, 1), *dv = dq + slice_start(s, p->gradient_slices, 2);
        const float *query = q + (size_t)token * stride, *key = k + (size_t)token * stride, *value = v + (size_t)token * stride;
        const double delta = p->delta[token];
        oracle_attention_query_backward(query, dout + (size_t)token * dout_stride, p->lse[token], delta, k, v, stride, tokens, d, dq);
        oracle_attention_key_backward(key, value, q, stride, dout, dout_stride, p->lse, p->delta, tokens, d, dk, dv);
        p->cancelled_q += delta * delta * squares(key, d) / d;
        p->cancelled_k += delta * delta * squares(query, d) / d;
    }
}

// The error of one of dq, dk and dv in `got`, relative to its norm, or to the root of `cancelled` where that is not zero.
static double part_error(const gradient_problem *p, int part, double cancelled, const float *got)
{
    const attention_shape *s = &p->shape;
    const int stride = slice_stride(s, p->gradient_slices);
    const size_t start = slice_start(s, p->gradient_slices, part);
    double difference = 0, norm = 0;
    for (int row = 0; row < s->n * s->h * s->w; row++)
        for (int c = 0; c < s->heads * s->head_size; c++) {
            const size_t i = start + (size_t)row * stride + c;
            if (!isfinite(got[i])) return INFINITY;
            if (isnan(p->want[i])) continue;
            difference += (got[i] - p->want[i]) * (got[i] - p->want[i]);
            norm += p->want[i] * p->want[i];
        }
    return difference == 0 ? 0 : sqrt(difference / (cancelled > 0 ? cancelled : norm));
}

check_result check_attention_backward(ops *o, attention_shape shape, attention_logits logits, bool gradient_slices)
{
    return check_stored_attention_backward(o, shape, logits, gradient_slices, (attention_types){.values = DTYPE_F32});
}

check_result check_stored_attention_backward(ops *o, attention_shape shape, attention_logits logits, bool gradient_slices,
                                             attention_types types)
{
    scratch memory = {0};
    const int c = shape.heads * shape.head_size, tokens = shape.h * shape.w;
    const size_t rows = (size_t)shape.n * tokens;
    float *values = scratch_values(&memory, 3 * rows * c, 1, 2), *dout = scratch_values(&memory, rows * c, 3, 1);
    float *got = scratch_values(&memory, 3 * rows * c, 2, 1);
    gradient_problem p = {shape, gradient_slices, values, dout, NULL, NULL, NULL, NULL, 0, 0};
    p.out = scratch_doubles(&memory, (size_t)tokens * shape.head_size);
    p.lse = scratch_doubles(&memory, (size_t)tokens);
    p.delta = scratch_doubles(&memory, (size_t)tokens);
    p.want = scratch_doubles(&memory, 3 * rows * c);
    if (memory.failed) return scratch_end(&memory, (check_result){0});
    set_values(&shape, logits, 0, values);
    check_round(values, 3 * rows * c, types.values);
    check_round(dout, rows * c, types.values);
    for (size_t i = 0; i < rows * c; i++) dout[i] = ldexpf(dout[i], types.dout_power);
    for (size_t i = 0; i < 3 * rows * c; i++) p.want[i] = NAN;
    for (int sample = 0; sample < shape.n; sample++)
        for (int head = 0; head < shape.heads; head++) expect_gradients(&p, sample, head);

    tensor part[3], gradient[3];
    const tensor all = check_upload_as(o, types.stored, values, 1, 1, (int)rows, 3 * c);
    const tensor out = check_output_as(o, types.stored, shape.n, shape.h, shape.w, c);
    const tensor lse = check_output(o, shape.n, shape.heads, tokens, 1), dall = check_output_as(o, types.out, 1, 1, (int)rows, 3 * c);
    split(&shape, shape.slices, all, part);
    split(&shape, gradient_slices, dall, gradient);
    attention_forward(o, part[0], part[1], part[2], row_stride(&shape), shape.heads, out, lse);
    attention_backward(o, part[0], part[1], part[2], row_stride(&shape), shape.heads, out, lse,
                       tensor_shaped(check_upload_as(o, types.stored, dout, 1, 1, (int)rows, c), shape.n, shape.h, shape.w, c), gradient[0],
                       gradient[1], gradient[2], slice_stride(&shape, gradient_slices));
    check_result result = {context_read(o->ctx, storage_widen(o, dall), got), INFINITY};
    if (result.status == IDM_OK) {
        const bool one_hot = logits == ATTENTION_ONE_HOT || tokens == 1,
                   alike = one_hot || logits == ATTENTION_EQUAL || logits == ATTENTION_LOW;
        result.error = part_error(&p, 0, alike ? p.cancelled_q : 0, got);
        result.error = fmax(result.error, part_error(&p, 1, one_hot ? p.cancelled_k : 0, got));
        result.error = fmax(result.error, part_error(&p, 2, 0, got));
    }
    return scratch_end(&memory, result);
}
