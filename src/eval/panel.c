#include "eval/panel.h"

#include "core/status.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *pixel_at(const idm_image *panel, int part, int width, size_t pixel)
{
    const size_t row = pixel / (size_t)width, column = pixel % (size_t)width + (size_t)part * (size_t)(width + PANEL_GAP);
    return panel->pixels + 3 * (row * (size_t)panel->width + column);
}

static void paint_image(const idm_image *panel, int part, const idm_image *image)
{
    const size_t count = (size_t)image->width * (size_t)image->height, channels = (size_t)image->channels;
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < 3; c++) pixel_at(panel, part, image->width, i)[c] = image->pixels[i * channels + c % channels];
}

static uint8_t level(float value)
{
    return (uint8_t)lrintf(255 * fminf(fmaxf(value, 0), 1));
}

static void paint_stretched(const idm_image *panel, int part, const float *plane, const reconstruction *r)
{
    const size_t count = (size_t)r->width * (size_t)r->height;
    float least = INFINITY, greatest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        least = fminf(least, plane[i]);
        greatest = fmaxf(greatest, plane[i]);
    }
    const float range = greatest > least ? greatest - least : 1;
    for (size_t i = 0; i < count; i++) memset(pixel_at(panel, part, r->width, i), level((plane[i] - least) / range), 3);
}

static void paint_error(const idm_image *panel, int part, const uint8_t *truth, const reconstruction *r)
{
    const size_t count = (size_t)r->width * (size_t)r->height;
    for (size_t i = 0; i < count; i++) {
        const float value = 255 * fminf(fmaxf(r->plane[i], 0), 1), error = fabsf(value - truth[i]) / PANEL_ERROR_WHITE;
        uint8_t *pixel = pixel_at(panel, part, r->width, i);
        for (int c = 0; c < 3; c++) pixel[c] = level(3 * error - (float)c); // one channel after the other
    }
}

static idm_status paint_result(const idm_image *panel, int part, const idm_image *like, const reconstruction *r)
{
    idm_image image;
    IDM_TRY(idm_image_with_luminance(like, r->plane, &image));
    paint_image(panel, part, &image);
    idm_image_free(&image);
    return IDM_OK;
}

idm_status panel_make(const panel_parts *parts, idm_image *panel)
{
    const reconstruction *r = parts->result;
    const size_t count = (size_t)r->width * (size_t)r->height;
    const int shown = parts->truth ? 4 : 2;
    *panel = (idm_image){.width = shown * r->width + (shown - 1) * PANEL_GAP, .height = r->height, .channels = 3};
    idm_image grey = {.width = r->width, .height = r->height, .channels = 1, .pixels = calloc(count, 1)};
    panel->pixels = malloc(3 * (size_t)panel->width * (size_t)panel->height);
    idm_status status = grey.pixels && panel->pixels ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) {
        int part = 0;
        const idm_image *like = parts->picture ? parts->picture : &grey;
        memset(panel->pixels, 255, 3 * (size_t)panel->width * (size_t)panel->height);
        if (parts->truth) {
            memcpy(grey.pixels, parts->truth, count);
            paint_image(panel, part++, like);
        }
        paint_stretched(panel, part++, parts->back_projection, r);
        status = paint_result(panel, part++, like, r);
        if (parts->truth) paint_error(panel, part, parts->truth, r);
    }
    idm_image_free(&grey);
    if (status != IDM_OK) idm_image_free(panel);
    return status;
}
