// What a device can do at most, for `idm bench` (src/tune/ceilings.h): multiply-adds that stay in registers, bytes to and from memory,
// launches that do nothing. And what its operations work on: pseudo-random values.
#include "common.clh"
#include "flat.clh"
#include "storage.clh"

#ifndef CHAINS
#define CHAINS 16 // independent vectors per item: more than a multiply-add's latency has to hide, fewer than there are registers
#endif

// CHAINS sums <- sums * factor + factor, `rounds` times: 2 * VEC * CHAINS * rounds operations an item. y: a value for each item.
FLAT_KERNEL multiply_add(const int rounds, const float factor, TENSOR(float, y))
{
    START(y);
    const int item = GROUP_ID(0) * ITEMS + get_local_id(0);
    vfloat sums[CHAINS], total = 0.0f;
    #pragma unroll
    for (int i = 0; i < CHAINS; i++) sums[i] = (vfloat)(float)(item + i);
    for (int round = 0; round < rounds; round++) {
        #pragma unroll
        for (int i = 0; i < CHAINS; i++) sums[i] = fma(sums[i], (vfloat)factor, (vfloat)factor);
    }
    #pragma unroll
    for (int i = 0; i < CHAINS; i++) total += sums[i];
    y[item] = VSUM(total);
}

// y = x; y = x + z / 2.
FLAT_KERNEL copy(const int count, TENSOR(const float, x), TENSOR(float, y))
{
    START(x);
    START(y);
    FOR_EACH_FLAT (i, left, count)
        flat_store(flat_load(x + i, left), y + i, left);
}

FLAT_KERNEL triad(const int count, TENSOR(const float, x), TENSOR(const float, z), TENSOR(float, y))
{
    START(x);
    START(z);
    START(y);
    FOR_EACH_FLAT (i, left, count)
        flat_store(fma((vfloat)0.5f, flat_load(z + i, left), flat_load(x + i, left)), y + i, left);
}

// y = x / 2 in half; count: a multiple of VEC.
FLAT_KERNEL halve_half(const int count, TENSOR(const half, x), TENSOR(half, y))
{
    START(x);
    START(y);
    FOR_EACH_FLAT (i, left, count) {
        const vfloat v = LOAD(f16, x + i);
        STORE(f16, 0.5f * v, y + i);
    }
}

FLAT_KERNEL nothing(const int unused)
{
}

// Uniform in [-1, 1), a function of the index.
FLAT_KERNEL fill_random(const int count, TENSOR(float, y))
{
    START(y);
    FOR_EACH_FLAT (i, left, count)
        for (int j = i; j < i + min(left, VEC); j++) {
            uint z = (uint)j * 0x9E3779B9u;
            z = (z ^ (z >> 16)) * 0x85EBCA6Bu;
            z = (z ^ (z >> 13)) * 0xC2B2AE35u;
            z ^= z >> 16;
            y[j] = (float)(z >> 8) / 8388608.0f - 1.0f;
        }
}
