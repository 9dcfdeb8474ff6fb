// Include after cmocka.h. The fixtures' weights: a pure function of (seed, name, shape), as ../../shared/reference/idm_reference.py
// `synthetic_parameters` makes them.
#ifndef TESTS_SYNTHETIC_H
#define TESTS_SYNTHETIC_H

#include "io/weights.h"
#include "sha256.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// The seed of the sequence `tag`.
static inline uint64_t hashed_seed(const char *tag)
{
    char hex[65];
    sha256_hex(tag, strlen(tag), hex);
    uint64_t seed = 0; // the first 8 bytes, little-endian
    for (int i = 7; i >= 0; i--) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        seed = seed << 8 | byte;
    }
    return seed;
}

static inline float hashed_uniform(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z = z ^ (z >> 31);
    return (float)((double)(z >> 40) / 0x1p23 - 1);
}

// Numbers beside the seed that some fixtures' weights depend on, as their goldens' metadata say.
typedef struct synthetic_options {
    double qk_gain; // multiplies to_q and to_k: sharp attention; 0 counts as 1
    double v;       // of every reversible module, if not 0
} synthetic_options;

static inline float synthetic_value(const parameter_name *p, float u, const synthetic_options *options)
{
    const char *leaf = strrchr(p->name, '.') ? strrchr(p->name, '.') + 1 : p->name;
    char parent[NAMES_LENGTH_MAX + 1] = "";
    (void)snprintf(parent, sizeof parent, "%.*s", leaf == p->name ? 0 : (int)(leaf - p->name - 1), p->name);
    const bool norm = strstr(strrchr(parent, '.') ? strrchr(parent, '.') : parent, "norm") != NULL;
    if (p->rank > 1) {
        const bool gained = options->qk_gain > 0 && (strstr(p->name, ".to_q.") || strstr(p->name, ".to_k."));
        return u / (float)sqrt((double)(p->shape[1] * p->shape[2] * p->shape[3])) * (gained ? (float)options->qk_gain : 1.0F);
    }
    if (strcmp(leaf, "v") == 0 && options->v > 0) return (float)options->v;
    if (strcmp(leaf, "v") == 0) return 0.5F + 0.1F * u;
    if (strcmp(leaf, "alpha") == 0) return 0.8F + 0.1F * u;
    if (strcmp(leaf, "input_help_scale_factor") == 0) return 1.0F + 0.1F * u;
    if (strncmp(leaf, "merge_scale_factor", 18) == 0) return 0.1F * u;
    if (norm) return strcmp(leaf, "weight") == 0 ? 1.0F + 0.1F * u : 0.1F * u;
    return 0.05F * u;
}

// Fills all values of a set.
static inline void synthetic_fill_with(weights *w, int seed, synthetic_options options)
{
    for (size_t i = 0; i < w->count; i++) {
        char tag[NAMES_LENGTH_MAX + 32];
        (void)snprintf(tag, sizeof tag, "%d/%s", seed, w->parameters[i].name);
        const uint64_t key = hashed_seed(tag);
        for (size_t k = 0; k < w->parameters[i].count; k++)
            w->values[i][k] = synthetic_value(&w->parameters[i], hashed_uniform(key, k), &options);
    }
}

static inline void synthetic_fill(weights *w, int seed)
{
    synthetic_fill_with(w, seed, (synthetic_options){0});
}

#endif
