// What the backward pass of attention on the matrix unit needs first, from dO, O and V of X_TYPE:
//   attention_delta   delta[sample][head][token] = dO . O, and norms[sample][head][token] = (|dO|, |V|).  Local size (ITEMS), groups (ceil(tokens * heads /
//                     ITEMS), samples).
//   attention_range   range[sample][head]: a power of two so that |dO . V - delta| range <= 1 for any two tokens: |dO . V| is at most the product of the
//                     largest norms, and so is delta, a mean of such.  Local size (ITEMS), groups (heads, samples).
// dout, out: dense; v: rows `stride` apart.
#include "common.clh"
#include "storage.clh"
#ifndef HEAD
#define HEAD 40
#endif
#ifndef X_TYPE
#define X_TYPE f16
#endif
#define ITEMS 64

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void attention_delta(TENSOR(const ELEMENT(X_TYPE), dout), TENSOR(const ELEMENT(X_TYPE), out),
                                                                                 TENSOR(const ELEMENT(X_TYPE), v), TENSOR(float, delta),
                                                                                 TENSOR(float, norms), const int tokens, const int stride, const int heads)
{
    const int i = GROUP_ID(0) * ITEMS + get_local_id(0), token = i / heads, head = i % heads, sample = GROUP_ID(1);
    START(dout);
    START(out);
    START(v);
    START(delta);
    START(norms);
    if (token >= tokens) return;
    const size_t row = (size_t)sample * tokens + token, to = ((size_t)sample * heads + head) * tokens + token;
    dout += (row * heads + head) * HEAD;
    out += (row * heads + head) * HEAD;
    v += row * stride + head * HEAD;
    float sum = 0.0f;
    float2 squares = 0.0f;
    for (int c = 0; c < HEAD; c++) {
        const float gradient = LOAD1(X_TYPE, dout + c), value = LOAD1(X_TYPE, v + c);
        sum = fma(gradient, LOAD1(X_TYPE, out + c), sum);
        squares = fma((float2)(gradient, value), (float2)(gradient, value), squares);
    }
    delta[to] = sum;
    vstore2(sqrt(squares), to, norms);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void attention_range(TENSOR(const float, norms), TENSOR(float, range), const int tokens,
                                                                                 const int heads)
{
    __local float2 most[ITEMS];
    const int item = get_local_id(0), head = GROUP_ID(1) * heads + GROUP_ID(0);
    START(norms);
    START(range);
    norms += 2 * (size_t)head * tokens;
    float2 own = 0.0f;
    for (int token = item; token < tokens; token += ITEMS) own = fmax(own, vload2(token, norms));
    most[item] = own;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item > 0) return;
    for (int i = 1; i < ITEMS; i++) own = fmax(own, most[i]);
    // 2^exponent is above the bound, 2 |dO| |V|
    const int exponent = clamp((int)(as_uint(own.x * own.y) >> 23) - 125, -100, 100);
    range[head] = as_float((uint)(127 - exponent) << 23);
}
