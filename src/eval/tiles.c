#include "eval/tiles.h"

#include "core/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static int tiles_along(int length, int tile)
{
    const int stride = tile - tile / 8;
    return length <= tile ? 1 : 1 + (length - tile + stride - 1) / stride;
}

static int round_up(int length, int block)
{
    return (length + block - 1) / block * block;
}

idm_status tiling_make(int height, int width, int tile, int block, tiling *t)
{
    *t = (tiling){height, width, round_up(height, block), round_up(width, block), 1, 1};
    if (tile == 0) return IDM_OK;
    if (tile < 8 || tile % block) return status_fail(IDM_USAGE, "tile = %d: a multiple of the sampling block, %d, is needed", tile, block);
    t->rows = tiles_along(height, tile);
    t->columns = tiles_along(width, tile);
    if (t->rows > 1) t->tile_height = tile;
    if (t->columns > 1) t->tile_width = tile;
    return IDM_OK;
}

static bool fits_along(int length, int tile, int count)
{
    return count == 1 ? length <= tile : count > 1 && length > tile && (long)count * tile >= length && count <= length;
}

idm_status tiling_check(const tiling *t)
{
    if (t->height > 0 && t->width > 0 && fits_along(t->height, t->tile_height, t->rows) && fits_along(t->width, t->tile_width, t->columns))
        return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "a picture of %d x %d cannot be %d x %d tiles of %d x %d (height x width)", t->height, t->width,
                       t->rows, t->columns, t->tile_height, t->tile_width);
}

// First pixel of tile i along one side.
static int start_along(int length, int tile, int count, int i)
{
    return count == 1 ? 0 : (int)((long)i * (length - tile) / (count - 1));
}

// Share of tile i in pixel `at` before normalisation: 1, falling towards an edge over what it shares with that neighbour.
static float share_along(int length, int tile, int count, int i, int at)
{
    const int start = start_along(length, tile, count, i);
    float share = 1;
    if (i > 0) {
        const int shared = start_along(length, tile, count, i - 1) + tile - start;
        const float ramp = ((float)(at - start) + 0.5f) / (float)shared;
        if (ramp < share) share = ramp;
    }
    if (i + 1 < count) {
        const int shared = start + tile - start_along(length, tile, count, i + 1);
        const float ramp = ((float)(start + tile - at) - 0.5f) / (float)shared;
        if (ramp < share) share = ramp;
    }
    return share;
}

typedef struct place {
    int row, column, top, left, height, width; // of the tile's part that lies in the picture
} place;

static place place_of(const tiling *t, int index)
{
    place p = {.row = index / t->columns, .column = index % t->columns};
    p.top = start_along(t->height, t->tile_height, t->rows, p.row);
    p.left = start_along(t->width, t->tile_width, t->columns, p.column);
    p.height = t->height - p.top < t->tile_height ? t->height - p.top : t->tile_height;
    p.width = t->width - p.left < t->tile_width ? t->width - p.left : t->tile_width;
    return p;
}

void tiling_cut(const tiling *t, int index, const float *plane, float *tile)
{
    const place p = place_of(t, index);
    memset(tile, 0, (size_t)t->tile_height * (size_t)t->tile_width * sizeof *tile);
    for (int i = 0; i < p.height; i++)
        memcpy(tile + (size_t)i * t->tile_width, plane + (size_t)(p.top + i) * t->width + p.left, (size_t)p.width * sizeof *tile);
}

// Sum over all tiles' shares in pixel `at` of one side.
static float shares_along(int length, int tile, int count, int at)
{
    float sum = 0;
    for (int i = 0; i < count; i++) {
        const int start = start_along(length, tile, count, i);
        if (at >= start && at < start + tile) sum += share_along(length, tile, count, i, at);
    }
    return sum;
}

void tiling_blend(const tiling *t, const float *tiles, float *plane)
{
    memset(plane, 0, (size_t)t->height * (size_t)t->width * sizeof *plane);
    for (int index = 0; index < tiling_count(t); index++) {
        const place p = place_of(t, index);
        const float *tile = tiles + (size_t)index * (size_t)t->tile_height * (size_t)t->tile_width;
        for (int i = 0; i < p.height; i++) {
            const int y = p.top + i;
            const float down =
                share_along(t->height, t->tile_height, t->rows, p.row, y) / shares_along(t->height, t->tile_height, t->rows, y);
            for (int j = 0; j < p.width; j++) {
                const int x = p.left + j;
                const float across =
                    share_along(t->width, t->tile_width, t->columns, p.column, x) / shares_along(t->width, t->tile_width, t->columns, x);
                plane[(size_t)y * t->width + x] += down * across * tile[(size_t)i * t->tile_width + j];
            }
        }
    }
}
