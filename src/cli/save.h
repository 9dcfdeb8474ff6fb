// Files that `reconstruct` and `eval` leave.
#ifndef CLI_SAVE_H
#define CLI_SAVE_H

#include "eval/evaluate.h"

// A PNG: in colour with the picture's Cr and Cb where it has them, else grey. picture may be NULL.
idm_status save_png(const char *path, const picture *p, const reconstruction *r);

// The plane, not clamped, as `out` (1, 1, height, width) in a safetensors file.
idm_status save_raw(const char *path, const reconstruction *r);

#endif
