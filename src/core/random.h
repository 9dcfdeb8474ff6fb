// Random numbers without state: value number `index` of the sequence `key` is SplitMix64's output number `index` from the state `key`,
//     z = key + (index + 1) * 0x9E3779B97F4A7C15, then its two multiply-xorshift rounds (Steele, Lea, Flood 2014).
// So any value can be had at any time, in any order, and a resumed run needs no generator state. Only integer arithmetic and +, -, *, /,
// sqrt of doubles are used: the same bits on every machine.
#ifndef CORE_RANDOM_H
#define CORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

// The sequence for a seed and a purpose ("phi", a tensor's name, a file's name): different purposes give unrelated sequences.
uint64_t random_key(uint64_t seed, const char *purpose);

// 64 random bits.
uint64_t random_bits(uint64_t key, uint64_t index);

// Uniform in [0, 1), a multiple of 2^-53.
double random_uniform(uint64_t key, uint64_t index);

// Uniform in 0 .. count - 1, count > 0 (bias below count / 2^64).
uint64_t random_below(uint64_t key, uint64_t index, uint64_t count);

// Standard normal (Box-Muller, of random bits 2 * index and 2 * index + 1).
double random_normal(uint64_t key, uint64_t index);

// A uniformly random order of 0 .. count - 1 (Fisher-Yates).
void random_permutation(uint64_t key, int32_t *order, size_t count);

#endif
