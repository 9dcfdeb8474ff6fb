// A picture as overlapping tiles of one size, each measured and reconstructed on its own, blended linearly where they overlap.
// A picture in one piece is the case of one tile, padded with zeros right and below to multiples of the sampling block.
#ifndef EVAL_TILES_H
#define EVAL_TILES_H

#include <idm/status.h>

typedef struct tiling {
    int height, width;           // of the picture
    int tile_height, tile_width; // multiples of the sampling block
    int rows, columns;           // of tiles, evenly spread; neighbours share at least an eighth of a tile
} tiling;

// tile: side of a tile in pixels, a multiple of block; 0: one piece. A side of the picture no longer than `tile` gets one tile, padded.
// IDM_USAGE: tile is no multiple of block, or too small.
idm_status tiling_make(int height, int width, int tile, int block, tiling *t);

// The same from sizes in a file. IDM_BAD_INPUT: they do not belong together.
idm_status tiling_check(const tiling *t);

static inline int tiling_count(const tiling *t)
{
    return t->rows * t->columns;
}

// tile (tile_height x tile_width) number `index`, row by row, from plane (height x width).
void tiling_cut(const tiling *t, int index, const float *plane, float *tile);

// plane from all tiles, one after the other; of overlapping ones the average, weighted by the distance from the tile's own inner edge.
void tiling_blend(const tiling *t, const float *tiles, float *plane);

#endif
