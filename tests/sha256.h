// SHA-256 (FIPS 180-4) for comparing with recorded checksums in tests.
#ifndef TESTS_SHA256_H
#define TESTS_SHA256_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t sha256_rotate(uint32_t v, int by)
{
    return v >> by | v << (32 - by);
}

// The first 32 bits of the fractions of square (initial state) and cube roots (round constants) of the first 64 primes.
static void sha256_constants(uint32_t state[8], uint32_t k[64])
{
    int found = 0;
    for (int candidate = 2; found < 64; candidate++) {
        int divisor = 2;
        while (divisor * divisor <= candidate && candidate % divisor) divisor++;
        if (divisor * divisor <= candidate) continue;
        const long double square = sqrtl(candidate), cube = cbrtl(candidate);
        if (found < 8) state[found] = (uint32_t)((square - floorl(square)) * 4294967296.0L);
        k[found++] = (uint32_t)((cube - floorl(cube)) * 4294967296.0L);
    }
}

static void sha256_block(uint32_t state[8], const uint32_t k[64], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (sha256_rotate(a, 7) ^ sha256_rotate(a, 18) ^ a >> 3) +
               (sha256_rotate(b, 17) ^ sha256_rotate(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        const uint32_t e = s[4], a = s[0];
        const uint32_t t1 =
            s[7] + (sha256_rotate(e, 6) ^ sha256_rotate(e, 11) ^ sha256_rotate(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
        const uint32_t t2 = (sha256_rotate(a, 2) ^ sha256_rotate(a, 13) ^ sha256_rotate(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

static void sha256_hex(const void *data, size_t size, char hex[65])
{
    uint32_t state[8], k[64];
    sha256_constants(state, k);
    const uint8_t *bytes = data;
    size_t at = 0;
    for (; at + 64 <= size; at += 64) sha256_block(state, k, bytes + at);
    uint8_t tail[128] = {0};
    const size_t left = size - at, total = left < 56 ? 64 : 128;
    memcpy(tail, bytes + at, left);
    tail[left] = 0x80;
    for (size_t i = 0; i < 8; i++) tail[total - 1 - i] = (uint8_t)((uint64_t)size * 8 >> (8 * i));
    for (size_t i = 0; i < total; i += 64) sha256_block(state, k, tail + i);
    for (size_t i = 0; i < 8; i++) (void)snprintf(hex + 8 * i, 9, "%08x", state[i]);
}

#endif
