#include "eval/evaluate.h"

#include "core/clock.h"
#include "core/status.h"
#include <math.h>
#include <stdlib.h>

idm_status picture_load(const char *path, picture *p)
{
    *p = (picture){0};
    IDM_TRY(idm_image_load(path, &p->image));
    p->luminance = malloc((size_t)p->image.width * (size_t)p->image.height);
    if (!p->luminance) {
        picture_free(p);
        return status_fail(IDM_FAILED, "%s: out of memory", path);
    }
    idm_image_luminance(&p->image, p->luminance);
    return IDM_OK;
}

void picture_free(picture *p)
{
    idm_image_free(&p->image);
    free(p->luminance);
    *p = (picture){0};
}

void reconstruction_free(reconstruction *r)
{
    free(r->plane);
    r->plane = NULL;
}

static size_t tile_pixels(const tiling *t)
{
    return (size_t)t->tile_height * (size_t)t->tile_width;
}

// Measurements of one tile.
static size_t tile_measurements(const idm_operator *op)
{
    return (size_t)op->height * (size_t)op->width / ((size_t)op->block_size * (size_t)op->block_size) * (size_t)op->measurements;
}

idm_status evaluate_check_operator(const idm_operator *op, const tiling *t)
{
    if (op->height == t->tile_height && op->width == t->tile_width) return IDM_OK;
    return status_fail(IDM_USAGE, "the sampling operator is for %d x %d, the padded picture is %d x %d (height x width)", op->height,
                       op->width, t->tile_height, t->tile_width);
}

idm_status evaluate_measure(const idm_operator *op, const tiling *t, const uint8_t *luminance, float *y)
{
    const size_t pixels = (size_t)t->height * (size_t)t->width;
    float *plane = malloc(pixels * sizeof *plane), *tile = malloc(tile_pixels(t) * sizeof *tile);
    idm_status status = plane && tile ? evaluate_check_operator(op, t) : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) {
        for (size_t i = 0; i < pixels; i++) plane[i] = (float)luminance[i] / 255.0f;
        for (int i = 0; i < tiling_count(t); i++) {
            tiling_cut(t, i, plane, tile);
            idm_measure(op, tile, 1, y + (size_t)i * tile_measurements(op));
        }
    }
    free(plane);
    free(tile);
    return status;
}

// Progress of one tile as progress of the picture.
typedef struct tile_progress {
    idm_progress *report;
    void *user;
    int index, count;
} tile_progress;

static void report_tile(void *user, double fraction)
{
    const tile_progress *p = user;
    p->report(p->user, (p->index + fraction) / p->count);
}

idm_status evaluate_reconstruct(idm_session *session, const idm_operator *op, const tiling *t, const float *y, const uint8_t *truth,
                                idm_progress *progress, void *user, reconstruction *r)
{
    *r = (reconstruction){.height = t->height, .width = t->width, .psnr = NAN, .ssim = NAN};
    IDM_TRY(evaluate_check_operator(op, t));
    const double began = clock_seconds();
    tile_progress part = {.report = progress, .user = user, .count = tiling_count(t)};
    float *tiles = malloc(tile_pixels(t) * (size_t)part.count * sizeof *tiles);
    r->plane = malloc((size_t)t->height * (size_t)t->width * sizeof *r->plane);
    idm_status status = tiles && r->plane ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
    for (; part.index < part.count && status == IDM_OK; part.index++)
        status = idm_session_reconstruct(session, op, y + (size_t)part.index * tile_measurements(op), 1,
                                         tiles + (size_t)part.index * tile_pixels(t), progress ? report_tile : NULL, &part);
    if (status == IDM_OK) {
        tiling_blend(t, tiles, r->plane);
        r->seconds = clock_seconds() - began;
        if (truth) {
            r->psnr = idm_psnr(r->plane, truth, t->height, t->width);
            r->ssim = idm_ssim(r->plane, truth, t->height, t->width);
        }
    } else reconstruction_free(r);
    free(tiles);
    return status;
}

idm_status evaluate_back_projection(const idm_operator *op, const tiling *t, const float *y, float *plane)
{
    float *tiles = malloc(tile_pixels(t) * (size_t)tiling_count(t) * sizeof *tiles);
    idm_status status = tiles ? evaluate_check_operator(op, t) : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) {
        idm_back_project(op, y, tiling_count(t), tiles);
        tiling_blend(t, tiles, plane);
    }
    free(tiles);
    return status;
}

static idm_status make_operator(const idm_session *session, const char *name, observation *o)
{
    o->own = calloc(1, sizeof *o->own);
    if (!o->own) return status_fail(IDM_FAILED, "out of memory");
    o->op = o->own;
    return idm_session_operator(session, o->tiling.tile_height, o->tiling.tile_width, name, o->own);
}

idm_status evaluate_observe(const idm_session *session, const picture *p, const char *name, const idm_operator *op, int tile,
                            observation *o)
{
    *o = (observation){.op = op};
    IDM_TRY(tiling_make(p->image.height, p->image.width, tile, idm_session_block_size(session), &o->tiling));
    idm_status status = op ? IDM_OK : make_operator(session, name, o);
    if (status == IDM_OK) {
        o->y = malloc(tile_measurements(o->op) * (size_t)tiling_count(&o->tiling) * sizeof *o->y);
        status = o->y ? evaluate_measure(o->op, &o->tiling, p->luminance, o->y) : status_fail(IDM_FAILED, "out of memory");
    }
    if (status != IDM_OK) observation_free(o);
    return status;
}

void observation_free(observation *o)
{
    if (o->own) idm_operator_free(o->own);
    free(o->own);
    free(o->y);
    *o = (observation){0};
}

idm_status evaluate_picture(idm_session *session, const picture *p, const char *name, const idm_operator *op, int tile,
                            idm_progress *progress, void *user, reconstruction *r)
{
    observation o;
    *r = (reconstruction){0};
    IDM_TRY(evaluate_observe(session, p, name, op, tile, &o));
    const idm_status status = evaluate_reconstruct(session, o.op, &o.tiling, o.y, p->luminance, progress, user, r);
    observation_free(&o);
    return status;
}
