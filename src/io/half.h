// 16-bit floating-point values to float32, exactly, and binary16 from float32; NaN stays NaN.
#ifndef IO_HALF_H
#define IO_HALF_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// IEEE binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.
static inline float half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
    if (exponent == 0x1f) return float_from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent > 0) return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float magnitude = (float)fraction * 0x1p-24F; // subnormal, or zero
    return sign ? -magnitude : magnitude;
}

// The nearest half, ties to even; infinity from 65520 on.
static inline uint16_t half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;
    if (bits >= 0x477ff000) return sign | 0x7c00;
    if (bits >= 0x38800000) return sign | (uint16_t)((bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13);
    const float rounded = float_from_bits(bits) + 0.5F; // subnormal: one unit in the last place of 0.5 is the smallest half
    memcpy(&bits, &rounded, sizeof bits);
    return sign | (uint16_t)(bits - 0x3f000000);
}

// The upper half of a float32.
static inline float bfloat16_to_float(uint16_t value)
{
    return float_from_bits((uint32_t)value << 16);
}

#endif
