// Typed configuration: the INI file's keys (DESIGN.md 4), their defaults, and overrides.
#ifndef IDM_CONFIG_H
#define IDM_CONFIG_H

#include <idm/status.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum idm_math { IDM_MATH_FAST, IDM_MATH_EXACT } idm_math;
typedef enum idm_variants { IDM_VARIANTS_AUTO, IDM_VARIANTS_CPU, IDM_VARIANTS_GPU, IDM_VARIANTS_GENERIC } idm_variants;
typedef enum idm_gemm { IDM_GEMM_AUTO, IDM_GEMM_OWN, IDM_GEMM_CLBLAST } idm_gemm;
typedef enum idm_matrix { IDM_MATRIX_AUTO, IDM_MATRIX_OFF, IDM_MATRIX_EMULATE } idm_matrix;
typedef enum idm_precision { IDM_PRECISION_FP32, IDM_PRECISION_HALF, IDM_PRECISION_BF16 } idm_precision;
typedef enum idm_recompute { IDM_RECOMPUTE_AUTO, IDM_RECOMPUTE_NONE, IDM_RECOMPUTE_BLOCKS, IDM_RECOMPUTE_INVERT } idm_recompute;

enum { IDM_PATH_SIZE = 4096, IDM_MILESTONES_MAX = 16 };

// A key that was given neither in a file nor by an override has its default; for sizes of the model 0 means "as the weights file says, else
// published".
typedef struct idm_config {
    struct {
        int channels[2], heads, groups, steps;
        char weights[IDM_PATH_SIZE];
    } model;
    struct {
        double cs_ratio; // 0: as the weights file says, else 0.1
        int block_size;  // 0: as the weights file says, else 32
        uint64_t seed;
    } sensing;
    struct {
        char train[IDM_PATH_SIZE], validation[IDM_PATH_SIZE];
        int patch_size, workers;
        uint64_t cache; // bytes
    } data;
    struct {
        int epochs, iterations_per_epoch, batch_size;
        double learning_rate, gamma;
        int milestones[IDM_MILESTONES_MAX], milestone_count;
        idm_precision precision;
        uint64_t seed;
        char init[IDM_PATH_SIZE], out[IDM_PATH_SIZE], save_every[64];
        int keep, validate_every, log_every;
        double clip, ema; // 0: none
    } train;
    struct {
        uint64_t budget; // bytes; 0: auto
        int micro_batch; // 0: auto
        idm_recompute recompute;
    } memory;
    struct {
        char device[256];
        char tuning[IDM_PATH_SIZE];
        idm_variants variants;
        idm_gemm gemm;
        idm_matrix matrix;
        idm_math math;
        bool math_given; // verify and selftest default to exact unless the user said otherwise
        double max_launch_ms;
    } device;
} idm_config;

// Every key at its default.
IDM_API void idm_config_defaults(idm_config *config);

// Reads an INI file over `config`, which stays as it was on failure. A " ;" after a value begins a comment; a value that has " ;" in it
// stands in double quotes ("" for a quote in them). Each key once, one a line. Relative paths become relative to the file's folder.
// IDM_USAGE with file, line and key for an unknown section or key (names the nearest valid one), a value that does not parse or is out of
// range, or a line too long; IDM_BAD_INPUT when the file cannot be read.
IDM_API idm_status idm_config_load(idm_config *config, const char *path);

// One override, "section.key=value". Relative paths stay relative to the working directory.
IDM_API idm_status idm_config_set(idm_config *config, const char *assignment);

// Writes all keys with their meaning, unit, default and allowed values (`idm help config`), or the values of `config` as an INI file
// that may be moved: relative paths become absolute, from the working directory.
IDM_API void idm_config_describe(FILE *out);
IDM_API idm_status idm_config_write(const idm_config *config, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
