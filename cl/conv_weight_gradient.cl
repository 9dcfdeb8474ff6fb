// What surrounds the kernels of conv_weight_gradient_*.cl: adding their partial sums into the gradient, and the gradient of the bias. VEC divides the channels.
#include "common.clh"
#include "rows.clh"
#ifndef CHUNK
#define CHUNK 64 // rows per sum
#endif
#ifndef SPAN
#define SPAN 1 // neighbouring vectors per item: up to 12 on CPUs, where one vector at a time is too short a piece of a row; else 1
#endif

// dw += sum of `slices` tensors like dw, one after the other in partials.
ROWS_KERNEL weight_gradient_merge(const int rows, const int vectors, const int block, const int slices, TENSOR(const float, partials), TENSOR(float, dw))
{
    START(partials);
    START(dw);
    const int count = rows * vectors * VEC;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            vfloat sum = VLOAD(partials + i);
            for (int slice = 1; slice < slices; slice++) sum += VLOAD(partials + slice * count + i);
            VSTORE(VLOAD(dw + i) + sum, dw + i);
        }
}

// y [ceil(rows / CHUNK)][channels] = sums of CHUNK rows of x [rows][channels]. Groups (ceil(channels / (VEC * SPAN * LANES)), ceil(chunks / ROW_ITEMS)).
ROWS_KERNEL bias_partials(const int rows, const int channels, TENSOR(const float, x), TENSOR(float, y))
{
    const int channel = (GROUP_ID(0) * LANES + get_local_id(0)) * SPAN * VEC, chunk = GROUP_ID(1) * ROW_ITEMS + get_local_id(1);
    const int count = min(CHUNK, rows - chunk * CHUNK);
    if (channel >= channels || count <= 0) return;
    START(x);
    START(y);
    x += chunk * CHUNK * channels + channel;
    y += chunk * channels + channel;
    vfloat sum[SPAN];
#pragma unroll
    for (int s = 0; s < SPAN; s++) sum[s] = 0.0f;
    for (int p = 0; p < count; p++)
#pragma unroll
        for (int s = 0; s < SPAN; s++) sum[s] += VLOAD(x + p * channels + s * VEC);
#pragma unroll
    for (int s = 0; s < SPAN; s++) VSTORE(sum[s], y + s * VEC);
}
