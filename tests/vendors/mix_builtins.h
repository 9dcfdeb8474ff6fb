// For mix.py, which counts instructions of PTX: matrix units of other vendors than NVIDIA as one instruction that it takes for one.
// And their conversions to and from half, and the exchange between items, one instruction where libclc's take many or there is none.
#if MATRIX_UNIT == 4 || MATRIX_UNIT == 6 || MATRIX_UNIT == 8
static inline ushort mix_half(const float v)
{
    ushort bits;
    __asm__("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
    return bits;
}
__attribute__((overloadable)) void vstore_half_rte(float v, size_t i, half *p)
{
    ((ushort *)p)[i] = mix_half(v);
}
__attribute__((overloadable)) void vstore_half_rte(float v, size_t i, __global half *p)
{
    ((__global ushort *)p)[i] = mix_half(v);
}
__attribute__((overloadable)) float vload_half(size_t i, const half *p)
{
    float v;
    __asm__("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(((const ushort *)p)[i]));
    return v;
}
static inline uint mix_exchange(const uint value)
{
    uint other;
    __asm__ volatile("shfl.sync.bfly.b32 %0, %1, 16, 31, 0xffffffff;" : "=r"(other) : "r"(value));
    return other;
}
#define __builtin_amdgcn_permlanex16(old, value, low, high, fi, bound) mix_exchange(value)
#define __builtin_amdgcn_ds_bpermute(at, value) mix_exchange(value)
// half vectors that a target without them can have
#define as_half4(x) (x)
#define as_half16(x) (x)
#endif

#if MATRIX_UNIT == 4
static inline float8 mix_mma(const uint8 a, const uint8 b, float8 c)
{
    __asm__ volatile("mma.wmma %0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23;"
                     : "+f"(c.s0), "+f"(c.s1), "+f"(c.s2), "+f"(c.s3), "+f"(c.s4), "+f"(c.s5), "+f"(c.s6), "+f"(c.s7)
                     : "r"(a.s0), "r"(a.s1), "r"(a.s2), "r"(a.s3), "r"(a.s4), "r"(a.s5), "r"(a.s6), "r"(a.s7), "r"(b.s0), "r"(b.s1),
                       "r"(b.s2), "r"(b.s3), "r"(b.s4), "r"(b.s5), "r"(b.s6), "r"(b.s7));
    return c;
}
#define __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b, c) mix_mma(a, b, c)
#elif MATRIX_UNIT == 6
static inline float4 mix_mma(const uint2 a, const uint2 b, float4 c)
{
    __asm__ volatile("mma.mfma %0,%1,%2,%3,%4,%5,%6,%7;"
                     : "+f"(c.x), "+f"(c.y), "+f"(c.z), "+f"(c.w)
                     : "r"(a.x), "r"(a.y), "r"(b.x), "r"(b.y));
    return c;
}
#define __builtin_amdgcn_mfma_f32_16x16x16f16(a, b, c, x, y, z) mix_mma(a, b, c)
#elif MATRIX_UNIT == 8
__attribute__((overloadable)) float8 intel_sub_group_f16_f16_matrix_mad_k16(int8 a, int8 b, float8 c)
{
    __asm__ volatile("mma.dpas %0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23;"
                     : "+f"(c.s0), "+f"(c.s1), "+f"(c.s2), "+f"(c.s3), "+f"(c.s4), "+f"(c.s5), "+f"(c.s6), "+f"(c.s7)
                     : "r"(a.s0), "r"(a.s1), "r"(a.s2), "r"(a.s3), "r"(a.s4), "r"(a.s5), "r"(a.s6), "r"(a.s7), "r"(b.s0), "r"(b.s1),
                       "r"(b.s2), "r"(b.s3), "r"(b.s4), "r"(b.s5), "r"(b.s6), "r"(b.s7));
    return c;
}
#endif
