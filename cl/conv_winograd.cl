// Convolution 3x3 of stride 1 as Winograd's F(4x4, 3x3), CPU register-tile variant, NHWC: a quarter of the multiplications of conv_cpu.cl.
//   y (pixels x out) = epilogue(conv3x3(x)),  x (n, h, w, in), y (n, oh, ow, out)
//   W in panels of PANEL outputs, transformed: [ceil(out / PANEL)][POSITIONS][in][PANEL], zero beyond out (weight.cl, weight_to_winograd).
// y is cut into tiles of 4x4 pixels, row by row, picture by picture; those at the right and lower edges may lie partly outside. The host goes through them in
// slices, so that what is between the kernels stays in the caches: tiles [first, first + count), in blocks of `block`, a multiple of TILE_ROWS.
//   winograd_input   the tiles' inputs, 6x6 pixels each, transformed:     [blocks][POSITIONS][block][stride], stride = in rounded up to 16;
//                    or, for cl/conv_weight_gradient_winograd.cl, in panels of `width` channels, a multiple of 16: [blocks][panels][POSITIONS][block][width]
//   conv_winograd    for each position inputs times weights, in products: [blocks][panels][POSITIONS][block][PANEL]; these transformed, in y
// One item per group, no local memory, no barriers.
#include "common.clh"
#include "epilogue.clh"
#include "tile.clh"
#include "winograd.clh"
#define TAPS 9
#include "window.clh"

// Group: one tile.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void winograd_input(TENSOR(const float, x), TENSOR(const float, zeros), TENSOR(float, inputs),
                                                                            const int in, const int width, const int first, const int block, WINDOW_ARGUMENTS)
{
    START(x);
    START(zeros);
    START(inputs);
    const int tile = GROUP_ID(0), row = tile % block, panels = (in + width - 1) / width;
    int picture, top, left;
    tile_at(first + tile, oh, ow, &picture, &top, &left);
    __global const float *from[POSITIONS];
    for (int i = 0; i < POSITIONS; i++) {
        const int source = picture_pixel(picture * h * w, top - 1 + i / INPUTS, left - 1 + i % INPUTS, h, w, doubled, dilate);
        from[i] = source != OUTSIDE ? x + (size_t)source * in : zeros;
    }
    const size_t apart = (size_t)block * width; // from a position to the next
    inputs += (size_t)(tile / block) * panels * POSITIONS * apart + (size_t)row * width;
    for (int k = 0; k < panels * width; k += 16) {
        __global float *to = inputs + (size_t)(k / width) * POSITIONS * apart + k % width;
        const int count = in - k;
        float16 columns[INPUTS][INPUTS]; // of the block transformed down its columns
#pragma unroll
        for (int j = 0; j < INPUTS; j++) {
            float16 d[INPUTS];
#pragma unroll
            for (int i = 0; i < INPUTS; i++) d[i] = load_most(from[i * INPUTS + j] + k, count);
            winograd_input_transform(d, columns[j]);
        }
#pragma unroll
        for (int i = 0; i < INPUTS; i++) {
            float16 d[INPUTS], t[INPUTS];
#pragma unroll
            for (int j = 0; j < INPUTS; j++) d[j] = columns[j][i];
            winograd_input_transform(d, t);
#pragma unroll
            for (int j = 0; j < INPUTS; j++) STORE16(t[j], to + (i * INPUTS + j) * apart);
        }
    }
}

// What a tile's products make of one vector of output channels.
static inline void tile_outputs(__global const float *products, const int apart, float16 y[OUTPUTS][OUTPUTS])
{
    float16 columns[INPUTS][OUTPUTS];
#pragma unroll
    for (int j = 0; j < INPUTS; j++) {
        float16 m[INPUTS];
#pragma unroll
        for (int i = 0; i < INPUTS; i++) m[i] = vload16(0, products + (i * INPUTS + j) * apart);
        winograd_output_transform(m, columns[j]);
    }
#pragma unroll
    for (int i = 0; i < OUTPUTS; i++) {
        float16 m[INPUTS];
#pragma unroll
        for (int j = 0; j < INPUTS; j++) m[j] = columns[j][i];
        winograd_output_transform(m, y[i]);
    }
}

// Group: a panel, and the tiles of a block.
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void conv_winograd(TENSOR(const float, inputs), TENSOR(const float, panels), TENSOR(float, products),
                                                                           EPILOGUE_ARGUMENTS, TENSOR(float, y), const int in, const int out, const int first,
                                                                           const int count_of_tiles, const int block, const int oh, const int ow)
{
    START(inputs);
    START(panels);
    START(products);
    START(y);
    EPILOGUE_START;
    const int panel = GROUP_ID(0), panel_count = (out + PANEL - 1) / PANEL, stride16 = (in + 15) / 16 * 16;
    const int first_here = GROUP_ID(1) * block, tiles = min(block, count_of_tiles - first_here);
    inputs += (size_t)GROUP_ID(1) * POSITIONS * block * stride16;
    products += ((size_t)GROUP_ID(1) * panel_count + panel) * POSITIONS * block * PANEL;
    panels += (size_t)panel * POSITIONS * in * PANEL;

    for (int position = 0; position < POSITIONS; position++)
        for (int tile = 0; tile < tiles; tile += TILE_ROWS) {
            __global const float *a[TILE_ROWS];
            float16 acc[TILE_ROWS][TILE_VECS];
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++) {
                a[r] = inputs + ((size_t)position * block + min(tile + r, tiles - 1)) * stride16;
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) acc[r][v] = 0.0f;
            }
            accumulate(acc, a, panels + (size_t)position * in * PANEL, in);
            __global float *to = products + ((size_t)position * block + tile) * PANEL;
#pragma unroll
            for (int r = 0; r < TILE_ROWS; r++)
#pragma unroll
                for (int v = 0; v < TILE_VECS; v++) STORE16(acc[r][v], to + 16 * (r * TILE_VECS + v));
        }

    for (int tile = 0; tile < tiles; tile++) {
        int picture, top, left;
        tile_at(first + first_here + tile, oh, ow, &picture, &top, &left);
        const int rows = min((int)OUTPUTS, oh - top), columns = min((int)OUTPUTS, ow - left);
        for (int c = panel * PANEL, v = 0; v < TILE_VECS && c < out; v++, c += 16) {
            const int count = out - c;
            float16 results[OUTPUTS][OUTPUTS];
            tile_outputs(products + tile * PANEL + 16 * v, block * PANEL, results);
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < columns; j++) {
                    const size_t at = (size_t)((picture * oh + top + i) * ow + left + j) * out + c;
                    float16 result = results[i][j];
                    if (count >= 16) {
                        EPILOGUE(float16, LOAD_ALL, result, at, c);
                        STORE16(result, y + at);
                    } else {
                        EPILOGUE(float16, LOAD_SOME, result, at, c);
                        store_some(result, y + at, count);
                    }
                }
        }
    }
}
