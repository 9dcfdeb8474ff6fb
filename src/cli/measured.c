#include "cli/measured.h"

#include "cli/interrupt.h"
#include "core/files.h"
#include "core/text.h"
#include "eval/camera.h"

idm_status given_operator_open(given_operator *g, const char *path)
{
    *g = (given_operator){.path = path};
    if (!path || !files_exists(path)) return IDM_OK;
    IDM_TRY(measurement_load_operator(path, &g->file));
    g->op = camera_operator_of(&g->file);
    g->made = true;
    return IDM_OK;
}

idm_status given_operator_save(given_operator *g, idm_operator *own)
{
    g->own = *own;
    *own = (idm_operator){0};
    const idm_operator *op = &g->own;
    const measurement m = {.height = op->height,
                           .width = op->width,
                           .original_height = op->height,
                           .original_width = op->width,
                           .block = op->block_size,
                           .measurements = op->measurements,
                           .cs_ratio = op->cs_ratio,
                           .phi = op->phi,
                           .perm = op->perm};
    interrupt_hold();
    const idm_status status = measurement_save_operator(g->path, &m);
    interrupt_release();
    IDM_TRY(status);
    g->op = *op;
    g->made = true;
    return IDM_OK;
}

void given_operator_close(given_operator *g)
{
    measurement_free(&g->file);
    idm_operator_free(&g->own);
    *g = (given_operator){0};
}

idm_status measured_tile(const cli_call *call, int *tile)
{
    const char *text = cli_value(call, "tile");
    int64_t side;
    *tile = 0;
    if (!text) return IDM_OK;
    if (!text_to_int(text, &side) || side < 8 || side > MEASUREMENT_SIDE_MAX)
        return status_fail(IDM_USAGE, "--tile %.50s: a number of pixels is needed, such as 512", text);
    *tile = (int)side;
    return IDM_OK;
}
