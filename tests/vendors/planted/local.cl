// Planted for the gate's self-test: 80 KiB of local memory, more than any vendor's limit.
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void local_memory(__global float *x)
{
    __local float values[20480];
    for (int i = get_local_id(0); i < 20480; i += 64) values[i] = x[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = get_local_id(0); i < 20480; i += 64) x[i] = values[20479 - i];
}

__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void neighbour(__global float *x)
{
    x[get_global_id(0)] += 1.0f;
}
