// Planted for the gate's self-test: a function that no vendor's library has. It compiles; only linking finds it.
float builtin_that_is_nowhere(float x);

__kernel __attribute__((reqd_work_group_size(64, 1, 1))) void unresolved(__global float *x)
{
    x[get_global_id(0)] = builtin_that_is_nowhere(x[get_global_id(0)]);
}
