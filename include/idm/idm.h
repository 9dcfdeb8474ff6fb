// IDM on a device: load weights, measure pictures, reconstruct them. One session belongs to one thread at a time.
#ifndef IDM_IDM_H
#define IDM_IDM_H

#include <idm/config.h>
#include <idm/image.h>
#include <idm/metrics.h>
#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The sampling operator A of one picture size: y = reshape(x.flatten()[perm], rows of N) @ phi (MODEL: N = block_size^2, M = measurements).
// Owns phi and perm.
typedef struct idm_operator {
    int height, width; // multiples of block_size
    int block_size, measurements;
    double cs_ratio;
    float *phi;    // N x M row-major, orthonormal columns
    int32_t *perm; // height * width: shuffled[i] = x[perm[i]]
} idm_operator;

IDM_API void idm_operator_free(idm_operator *op);

// y (batch, H*W/N, M) = A x (batch, H, W), on the host in double precision, rounded to float.
IDM_API void idm_measure(const idm_operator *op, const float *x, int batch, float *y);

// The back projection x (batch, H, W) = A^T y of y (batch, H*W/N, M), on the host in double precision, rounded to float.
IDM_API void idm_back_project(const idm_operator *op, const float *y, int batch, float *x);

// A network with its weights on a device.
typedef struct idm_session idm_session;

// Chooses the device, loads config->model.weights (random start values by train.seed when empty), checks sizes against the configuration.
IDM_API idm_status idm_session_open(const idm_config *config, idm_session **session);
IDM_API void idm_session_close(idm_session *session);

// Sizes in force: of the weights file, the configuration, or the published ones. cs_ratio and phi are those that new measurements will use.
IDM_API int idm_session_block_size(const idm_session *session);
IDM_API double idm_session_cs_ratio(const idm_session *session);

// A for pictures of height x width after padding (both multiples of the block size): the weights' own phi when the file has one, else by
// sensing.seed; the permutation is a function of (sensing.seed, name), `name` usually the picture's file name.
IDM_API idm_status idm_session_operator(const idm_session *session, int height, int width, const char *name, idm_operator *op);

// Called while a reconstruction runs, with the fraction done.
typedef void idm_progress(void *user, double fraction);

// out (batch, H, W), not clamped, from y (batch, H*W/N, M). IDM_USAGE: op does not fit the network; IDM_FAILED: device memory or device;
// the message says what to do.
IDM_API idm_status idm_session_reconstruct(idm_session *session, const idm_operator *op, const float *y, int batch, float *out,
                                           idm_progress *progress, void *user);

// What the next reconstruction of this size will take: bytes of device memory in all, floating-point operations. Runs nothing.
IDM_API idm_status idm_session_plan(idm_session *session, int height, int width, int batch, size_t *bytes, double *flops);

#ifdef __cplusplus
}
#endif
#endif
