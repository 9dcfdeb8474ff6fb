// Given to clang -include when it compiles OpenCL C for NVIDIA: libclc for nvptx64--nvidiacl lacks the native_ functions and two work-item
// functions. These cost the registers that NVIDIA's own would cost; nothing here ever runs.
#ifdef __NVPTX__
#define NV_INLINE __attribute__((overloadable, always_inline)) static

NV_INLINE float nv_exp2(float x)
{
    float r;
    __asm__("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
NV_INLINE float nv_log2(float x)
{
    float r;
    __asm__("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
NV_INLINE float nv_sin(float x)
{
    float r;
    __asm__("sin.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
NV_INLINE float nv_cos(float x)
{
    float r;
    __asm__("cos.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}
NV_INLINE float nv_exp(float x)
{
    return nv_exp2(1.44269504f * x);
}
NV_INLINE float nv_log(float x)
{
    return 0.693147181f * nv_log2(x);
}
NV_INLINE float nv_powr(float x, float y)
{
    return nv_exp2(y * nv_log2(x));
}

#define NV_VECTORS(f)                       \
    NV_INLINE float2 f(float2 x)            \
    {                                       \
        return (float2)(f(x.x), f(x.y));    \
    }                                       \
    NV_INLINE float4 f(float4 x)            \
    {                                       \
        return (float4)(f(x.lo), f(x.hi));  \
    }                                       \
    NV_INLINE float8 f(float8 x)            \
    {                                       \
        return (float8)(f(x.lo), f(x.hi));  \
    }                                       \
    NV_INLINE float16 f(float16 x)          \
    {                                       \
        return (float16)(f(x.lo), f(x.hi)); \
    }
NV_VECTORS(nv_exp2)
NV_VECTORS(nv_log2)
NV_VECTORS(nv_sin)
NV_VECTORS(nv_cos)
NV_VECTORS(nv_exp)
NV_VECTORS(nv_log)

#define native_exp2 nv_exp2
#define native_log2 nv_log2
#define native_sin nv_sin
#define native_cos nv_cos
#define native_exp nv_exp
#define native_log nv_log
#define native_powr nv_powr
// As NVIDIA's own compiler has it: the host passes the offsets in environment registers.
NV_INLINE size_t nv_global_offset(uint d)
{
    uint x, y, z;
    __asm__("mov.u32 %0, %%envreg3;" : "=r"(x));
    __asm__("mov.u32 %0, %%envreg4;" : "=r"(y));
    __asm__("mov.u32 %0, %%envreg5;" : "=r"(z));
    return d == 0 ? x : d == 1 ? y : z;
}
#define get_global_offset nv_global_offset
#define get_work_dim() 3u
#endif
