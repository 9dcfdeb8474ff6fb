// The GPU variants' tiles, shared by cl/conv_gpu.cl (rows are pixels) and cl/conv_weight_gradient_gpu.cl (rows are input channels).
#ifndef OPS_CONV_GPU_H
#define OPS_CONV_GPU_H

#include "ops/ops.h"

// A work-group's tile of the result, and an item's part of it: item_rows x 4 outputs.
typedef struct gpu_tile {
    int rows, outputs, item_rows;
    double speed; // of a full device, against the best tile: FMAs per value read from local memory
} gpu_tile;

enum { GPU_TILES = 4, GPU_TILE_OUTPUTS = 4, GPU_ITEMS_PER_UNIT = 512 }; // the last: what keeps a compute unit busy

// From the largest to the smallest, which runs everywhere: 64 items, 4.25 KiB.
extern const gpu_tile conv_gpu_tiles[GPU_TILES];

size_t gpu_tile_items(const gpu_tile *t);
// Of a result of rows x outputs, for struct work.
double gpu_tile_padding(const gpu_tile *t, size_t rows, size_t outputs);
bool gpu_tile_fits(const gpu_tile *t, const device_info *device);

// The tuning's tile, where the row sets one that the device has room for.
bool gpu_tile_tuned(const tuning_row *row, const device_info *device, gpu_tile *t);

// 4 if rows of c floats of all these tensors are aligned float4, else 1.
int conv_gpu_vector(int c, const tensor *tensors, size_t count);

#endif
