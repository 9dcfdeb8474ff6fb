#include "cli/save.h"

#include "cli/interrupt.h"
#include "core/status.h"
#include "io/safetensors.h"
#include <stdlib.h>

// Frees it.
static idm_status save_image(const char *path, idm_image *image)
{
    interrupt_hold();
    const idm_status status = idm_image_save_png(path, image);
    interrupt_release();
    idm_image_free(image);
    return status;
}

idm_status save_png(const char *path, const picture *p, const reconstruction *r)
{
    idm_image grey = {.width = r->width, .height = r->height, .channels = 1}, result;
    if (!p) {
        grey.pixels = calloc((size_t)r->width * (size_t)r->height, 1);
        if (!grey.pixels) return status_fail(IDM_FAILED, "%s: out of memory", path);
    }
    idm_status status = idm_image_with_luminance(p ? &p->image : &grey, r->plane, &result);
    if (status == IDM_OK) status = save_image(path, &result);
    idm_image_free(&grey);
    return status;
}

idm_status save_raw(const char *path, const reconstruction *r)
{
    const safetensors_tensor out = {.name = "out", .dtype = FILE_F32, .rank = 4, .shape = {1, 1, r->height, r->width}, .data = r->plane};
    interrupt_hold();
    const idm_status status = safetensors_write(path, &out, 1, NULL, 0);
    interrupt_release();
    return status;
}

idm_status save_panel(const char *path, const picture *p, const uint8_t *truth, const observation *o, const reconstruction *r)
{
    float *back = malloc((size_t)r->width * (size_t)r->height * sizeof *back);
    if (!back) return status_fail(IDM_FAILED, "%s: out of memory", path);
    idm_image panel;
    idm_status status = evaluate_back_projection(o->op, &o->tiling, o->y, back);
    if (status == IDM_OK)
        status = panel_make(&(panel_parts){.picture = p ? &p->image : NULL, .truth = truth, .back_projection = back, .result = r}, &panel);
    free(back);
    return status == IDM_OK ? save_image(path, &panel) : status;
}
