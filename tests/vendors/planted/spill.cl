// Planted for the gate's self-test: 300 floats that live at once, more than an item's registers hold on any vendor at this group size.
__kernel __attribute__((reqd_work_group_size(1024, 1, 1))) void spill(__global float *x, const int rounds)
{
    float v[300];
    const int item = get_global_id(0);
#pragma unroll
    for (int i = 0; i < 300; i++) v[i] = x[i * 1024 + item];
    for (int round = 0; round < rounds; round++) {
#pragma unroll
        for (int i = 0; i < 300; i++) v[i] = fma(v[i], v[(i + 151) % 300], v[(i + 7) % 300]);
    }
#pragma unroll
    for (int i = 0; i < 300; i++) x[i * 1024 + item] = v[i];
}
