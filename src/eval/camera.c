#include "eval/camera.h"

#include "core/status.h"
#include "io/operator.h"
#include "io/weights.h"
#include <stdlib.h>
#include <string.h>

static const double default_ratio = 0.1;

static void take_weights(camera *c, weights *w)
{
    if (w->sizes.block) c->block_size = w->sizes.block;
    if (w->cs_ratio > 0) c->cs_ratio = w->cs_ratio;
    if (!w->phi) return;
    c->phi = w->phi;
    c->measurements = w->measurements;
    w->phi = NULL;
}

idm_status camera_open(const idm_config *config, camera *c)
{
    *c = (camera){.block_size = config->sensing.block_size, .cs_ratio = config->sensing.cs_ratio, .seed = config->sensing.seed};
    if (config->model.weights[0]) {
        const weights_options options = {.sizes = {{config->model.channels[0], config->model.channels[1]},
                                                   config->model.heads,
                                                   config->model.groups,
                                                   config->model.steps,
                                                   config->sensing.block_size},
                                         .cs_ratio = config->sensing.cs_ratio};
        weights *w;
        IDM_TRY(weights_load(config->model.weights, &options, &w));
        take_weights(c, w);
        weights_free(w);
    }
    if (c->block_size == 0) c->block_size = names_published_sizes.block;
    if (!(c->cs_ratio > 0)) c->cs_ratio = default_ratio;
    if (c->phi) return IDM_OK;
    c->measurements = operator_measurements(c->block_size, c->cs_ratio);
    return operator_phi(c->block_size, c->measurements, c->seed, &c->phi);
}

void camera_close(camera *c)
{
    free(c->phi);
    c->phi = NULL;
}

idm_status camera_operator(const camera *c, int height, int width, const char *name, idm_operator *op)
{
    const size_t n = (size_t)c->block_size * (size_t)c->block_size, values = n * (size_t)c->measurements;
    const size_t pixels = (size_t)height * (size_t)width;
    *op = (idm_operator){
        .height = height, .width = width, .block_size = c->block_size, .measurements = c->measurements, .cs_ratio = c->cs_ratio};
    if (pixels > OPERATOR_PIXELS_MAX)
        return status_fail(IDM_USAGE, "a picture of %d x %d is too large for one piece; use --tile", height, width);
    op->phi = malloc(values * sizeof *op->phi);
    op->perm = malloc(pixels * sizeof *op->perm);
    if (!op->phi || !op->perm) {
        idm_operator_free(op);
        return status_fail(IDM_FAILED, "out of memory");
    }
    memcpy(op->phi, c->phi, values * sizeof *op->phi);
    operator_permutation(c->seed, name, op->perm, (int)pixels);
    return IDM_OK;
}

idm_operator camera_operator_of(const measurement *m)
{
    return (idm_operator){.height = m->height,
                          .width = m->width,
                          .block_size = m->block,
                          .measurements = m->measurements,
                          .cs_ratio = m->cs_ratio,
                          .phi = m->phi,
                          .perm = m->perm};
}
