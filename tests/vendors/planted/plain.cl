// Planted for the gate's self-test: a kernel that is said to use a matrix unit, and does not.
__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void plain(__global float *x)
{
    x[get_global_id(0)] *= 2.0f;
}
