// Pictures through camera and network as published (MODEL.md "Test protocol"): luminance, zero-pad, measure, reconstruct, crop, PSNR, SSIM.
#ifndef EVAL_EVALUATE_H
#define EVAL_EVALUATE_H

#include "eval/tiles.h"
#include <idm/idm.h>

// A test picture. Owns both.
typedef struct picture {
    idm_image image;
    uint8_t *luminance; // height x width
} picture;

idm_status picture_load(const char *path, picture *p);
void picture_free(picture *p);

// y (tiles, blocks, M) of all tiles of the picture. op is for one tile.
idm_status evaluate_measure(const idm_operator *op, const tiling *t, const uint8_t *luminance, float *y);

// A reconstructed plane and how good it is. Owns the plane.
typedef struct reconstruction {
    int height, width;
    float *plane;      // height x width, not clamped
    double psnr, ssim; // NaN without a truth; SSIM also below 7 x 7
    double seconds;    // from measurements to plane, both in host memory
} reconstruction;

void reconstruction_free(reconstruction *r);

// The picture from y (tiles, blocks, M), tile by tile. truth: its 8-bit luminance, or NULL.
idm_status evaluate_reconstruct(idm_session *session, const idm_operator *op, const tiling *t, const float *y, const uint8_t *truth,
                                idm_progress *progress, void *user, reconstruction *r);

// A picture's A^T y (t->height x t->width), its tiles blended as in the reconstruction.
idm_status evaluate_back_projection(const idm_operator *op, const tiling *t, const float *y, float *plane);

// A measured picture: y (tiles, blocks, M) of its tiles, and by what it was measured. Owns y and `own`.
typedef struct observation {
    tiling tiling;
    const idm_operator *op; // the caller's, or `own`
    idm_operator *own;      // NULL: the caller's is used
    float *y;
} observation;

// Measures a picture. op: NULL makes the one that belongs to the session and `name`. tile as in tiling_make. On failure *o is empty.
idm_status evaluate_observe(const idm_session *session, const picture *p, const char *name, const idm_operator *op, int tile,
                            observation *o);
void observation_free(observation *o);

// Measures and reconstructs a picture: evaluate_observe, then evaluate_reconstruct.
idm_status evaluate_picture(idm_session *session, const picture *p, const char *name, const idm_operator *op, int tile,
                            idm_progress *progress, void *user, reconstruction *r);

// IDM_USAGE, naming the sizes, unless op measures tiles of t.
idm_status evaluate_check_operator(const idm_operator *op, const tiling *t);

#endif
