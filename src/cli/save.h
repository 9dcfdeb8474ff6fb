// Files that `reconstruct` and `eval` leave.
#ifndef CLI_SAVE_H
#define CLI_SAVE_H

#include "eval/panel.h"

#define EVAL_RESULT "eval.json" // what `eval --json` prints, in the folder of --out

// A PNG: in colour with the picture's Cr and Cb where it has them, else grey. picture may be NULL.
idm_status save_png(const char *path, const picture *p, const reconstruction *r);

// The plane, not clamped, as `out` (1, 1, height, width) in a safetensors file.
idm_status save_raw(const char *path, const reconstruction *r);

// eval/panel.h as a PNG. p and truth may be NULL; o: what r was reconstructed from.
idm_status save_panel(const char *path, const picture *p, const uint8_t *truth, const observation *o, const reconstruction *r);

#endif
