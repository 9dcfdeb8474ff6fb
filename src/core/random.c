#include "core/random.h"

#include <math.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t random_bits(uint64_t key, uint64_t index)
{
    return mix(key + (index + 1) * UINT64_C(0x9E3779B97F4A7C15));
}

uint64_t random_key(uint64_t seed, const char *purpose)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325); // FNV-1a
    for (const char *c = purpose; *c; c++) hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001B3);
    return random_bits(mix(hash), seed);
}

double random_uniform(uint64_t key, uint64_t index)
{
    return (double)(random_bits(key, index) >> 11) * 0x1p-53;
}

uint64_t random_below(uint64_t key, uint64_t index, uint64_t count)
{
    return (uint64_t)(((unsigned __int128)random_bits(key, index) * count) >> 64);
}

// The C library's log and cos differ in the last bit between machines; these do not. Both are good to a few 1e-16.

// log(x) for x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), log(m) = 2 atanh((m - 1) / (m + 1)) by its series.
static double portable_log(double x)
{
    int exponent;
    double m = frexp(x, &exponent);
    if (m < 0.70710678118654752440) {
        m *= 2;
        exponent--;
    }
    const double s = (m - 1) / (m + 1), s2 = s * s;
    double sum = 0;
    for (int k = 23; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
    return 2 * s * sum + exponent * 0.69314718055994530942;
}

// cos(2 pi u) for u in [0, 1): folded into the first eighth of a turn, then the series of cos or sin.
static double portable_cos_turn(double u)
{
    const int eighth = (int)(u * 8);
    const int quadrant = (eighth + 1) / 2;                                                   // nearest quarter turn
    const double angle = (u - quadrant * 0.25) * 6.28318530717958647693, a2 = angle * angle; // |angle| <= pi / 4
    double cosine = 0, sine = 0;
    for (int k = 18; k >= 2; k -= 2) {
        cosine = -(1 + cosine) * a2 / (k * (k - 1));
        sine = -(1 + sine) * a2 / (k * (k + 1));
    }
    cosine += 1;
    sine = (sine + 1) * angle;
    switch (quadrant % 4) {
    case 0:
        return cosine;
    case 1:
        return -sine;
    case 2:
        return -cosine;
    default:
        return sine;
    }
}

double random_normal(uint64_t key, uint64_t index)
{
    const double u = 1 - random_uniform(key, 2 * index); // (0, 1]
    return sqrt(-2 * portable_log(u)) * portable_cos_turn(random_uniform(key, 2 * index + 1));
}

void random_permutation(uint64_t key, int32_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++) order[i] = (int32_t)i;
    for (size_t i = count; i > 1; i--) {
        const size_t j = (size_t)random_below(key, i, i);
        const int32_t swapped = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swapped;
    }
}
