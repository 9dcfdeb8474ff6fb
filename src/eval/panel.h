// One picture that shows a reconstruction at a glance.
#ifndef EVAL_PANEL_H
#define EVAL_PANEL_H

#include "eval/evaluate.h"

enum {
    PANEL_GAP = 4,          // white pixels between parts
    PANEL_ERROR_WHITE = 64, // grey levels of error that the error map shows white
};

typedef struct panel_parts {
    const idm_image *picture;     // in colour or grey; NULL: not known
    const uint8_t *truth;         // its luminance; NULL: not known
    const float *back_projection; // A^T y, height x width
    const reconstruction *result;
} panel_parts;

// RGB, from left to right: the picture or its luminance (with a truth), A^T y stretched from its least to its greatest value, the
// reconstruction with the picture's colours where there are any, and |error| of the luminance (with a truth) as black, red, yellow, white.
// *panel is the caller's to free. IDM_FAILED: out of memory.
idm_status panel_make(const panel_parts *parts, idm_image *panel);

#endif
