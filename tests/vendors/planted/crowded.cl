// No spill, but so many registers that few groups of 256 items fit a multiprocessor: every value is alive at the barrier.
kernel void crowded(global const float *x, global float *y)
{
    float kept[160];
#pragma unroll
    for (int i = 0; i < 160; i++) kept[i] = x[i * get_global_size(0) + get_global_id(0)];
    barrier(CLK_GLOBAL_MEM_FENCE);
#pragma unroll
    for (int i = 0; i < 160; i++) y[(159 - i) * get_global_size(0) + get_global_id(0)] = kept[i];
}
