#include "tune/candidates.h"

#define PART(p, v)  \
    {               \
        TUNE_##p, v \
    }
#define ONE(p, v)       \
    {                   \
        {PART(p, v)}, 1 \
    }
#define TWO(p, v, p2, v2)             \
    {                                 \
        {PART(p, v), PART(p2, v2)}, 2 \
    }
#define THREE(p, v, p2, v2, p3, v3)                 \
    {                                               \
        {PART(p, v), PART(p2, v2), PART(p3, v3)}, 3 \
    }
#define FOUR(p, v, p2, v2, p3, v3, p4, v4)                        \
    {                                                             \
        {PART(p, v), PART(p2, v2), PART(p3, v3), PART(p4, v4)}, 4 \
    }
#define AXIS(settings)                                  \
    {                                                   \
        settings, sizeof(settings) / sizeof *(settings) \
    }
#define TILE(rows, vectors) TWO(TILE_ROWS, rows, TILE_VECTORS, vectors)
#define GPU_TILE(rows, outputs, item_rows) THREE(TILE_ROWS, rows, TILE_OUTPUTS, outputs, ITEM_ROWS, item_rows)

// clang-format off

// ---- CPUs. Sums in registers: rows x float16 vectors, up to 27 of 32 registers with AVX-512, where a float16 is one register; elsewhere it
// is two or four of 16 or 32.
static const candidate_setting wide_tiles[] = {
    TILE(6, 4), TILE(5, 5), TILE(8, 3), TILE(7, 3), TILE(4, 5), TILE(5, 4), TILE(4, 6), TILE(3, 8), TILE(10, 2), TILE(12, 2), TILE(9, 2)};
static const candidate_setting narrow_tiles[] = {TILE(6, 1), TILE(5, 1), TILE(4, 1), TILE(3, 2), TILE(2, 2), TILE(2, 3)};
static const candidate_setting unrolls[] = {ONE(UNROLL, 2), ONE(UNROLL, 8), ONE(UNROLL, 1)};
// pixels per group: less is shared out more evenly, more reads the panel less often
static const candidate_setting conv_blocks[] = {ONE(BLOCK, 120), ONE(BLOCK, 480), ONE(BLOCK, 60), ONE(BLOCK, 960)};
// of a panel that a core's second-level cache is taken to hold, and the tiles that share a pass over it
static const candidate_setting panels[] = {ONE(PANEL_KIB, 320), ONE(PANEL_KIB, 1280), ONE(PANEL_KIB, 256), ONE(PANEL_KIB, 4096)};
static const candidate_setting sub_tiles[] = {ONE(SUB_TILES, 8), ONE(SUB_TILES, 32)};
static const candidate_setting winograd[] = {ONE(WINOGRAD, 0), ONE(WINOGRAD, 1)};
static const candidate_axis conv_wide[] = {AXIS(winograd), AXIS(wide_tiles), AXIS(panels), AXIS(conv_blocks), AXIS(sub_tiles), AXIS(unrolls)};
static const candidate_axis conv_narrow[] = {AXIS(winograd), AXIS(narrow_tiles), AXIS(panels), AXIS(conv_blocks), AXIS(sub_tiles), AXIS(unrolls)};
static const candidate_axis linear_wide[] = {AXIS(wide_tiles), AXIS(conv_blocks), AXIS(unrolls)};
static const candidate_axis linear_narrow[] = {AXIS(narrow_tiles), AXIS(conv_blocks), AXIS(unrolls)};

// pixels summed in registers, and pixels of a slice
static const candidate_setting gradient_blocks[] = {ONE(BLOCK, 32), ONE(BLOCK, 128)};
static const candidate_setting slices[] = {ONE(SLICE, 1024), ONE(SLICE, 4096), ONE(SLICE, 512)};
static const candidate_setting direct[] = {ONE(WINOGRAD, 0)};
static const candidate_axis conv_gradient_wide[] = {AXIS(direct), AXIS(wide_tiles), AXIS(gradient_blocks), AXIS(slices), AXIS(unrolls)};
static const candidate_axis conv_gradient_narrow[] = {AXIS(direct), AXIS(narrow_tiles), AXIS(gradient_blocks), AXIS(slices), AXIS(unrolls)};
static const candidate_axis linear_gradient_wide[] = {AXIS(wide_tiles), AXIS(gradient_blocks), AXIS(slices), AXIS(unrolls)};
static const candidate_axis linear_gradient_narrow[] = {AXIS(narrow_tiles), AXIS(gradient_blocks), AXIS(slices), AXIS(unrolls)};

// queries in lanes: vectors, tiles of them that share a block of keys; keys in a block
static const candidate_setting attention_vectors[] = {ONE(TILE_VECTORS, 2), ONE(TILE_VECTORS, 1)};
static const candidate_setting query_tiles[] = {ONE(QUERY_TILES, 4), ONE(QUERY_TILES, 8), ONE(QUERY_TILES, 2)};
static const candidate_setting keys[] = {ONE(KEYS, 64), ONE(KEYS, 256), ONE(KEYS, 96), ONE(KEYS, 192)};
static const candidate_setting narrow_query_tiles[] = {ONE(QUERY_TILES, 6), ONE(QUERY_TILES, 12), ONE(QUERY_TILES, 16), ONE(QUERY_TILES, 24)};
static const candidate_axis attention_wide[] = {AXIS(keys), AXIS(query_tiles), AXIS(attention_vectors)};
static const candidate_axis attention_narrow[] = {AXIS(keys), AXIS(narrow_query_tiles)};

// tiles of owned tokens; other tokens in a block
static const candidate_setting own_tiles[] = {ONE(OWN, 4), ONE(OWN, 8), ONE(OWN, 2), ONE(OWN, 3)};
static const candidate_setting narrow_own_tiles[] = {ONE(OWN, 6), ONE(OWN, 12), ONE(OWN, 16)};
static const candidate_setting others[] = {ONE(OTHERS, 240), ONE(OTHERS, 60)};
static const candidate_axis backward_wide[] = {AXIS(own_tiles), AXIS(others), AXIS(attention_vectors)};
static const candidate_axis backward_narrow[] = {AXIS(narrow_own_tiles), AXIS(others)};

// ---- GPUs. Tiles of a work-group and rows of an item.
#define GPU_TILES(T) \
    T(128, 64, 8), T(64, 64, 4), T(64, 64, 8), T(128, 128, 8), T(64, 128, 8), T(64, 32, 4), T(32, 32, 4), T(32, 64, 4), T(128, 32, 8), T(128, 64, 4), T(256, 64, 8)
static const candidate_setting gpu_tiles[] = {GPU_TILES(GPU_TILE)};
// of local memory: with 2 the next step's values are on their way while this step's are used
static const candidate_setting buffers[] = {ONE(BUFFERS, 2)};
static const candidate_axis conv_gpu[] = {AXIS(gpu_tiles), AXIS(buffers)};
static const candidate_axis gradient_gpu[] = {AXIS(gpu_tiles)};
// Linear layers run by CLBlast where nothing is said: the own kernel, with its own choice of a tile at first.
#define OWN_TILE(rows, outputs, item_rows) FOUR(CLBLAST, 0, TILE_ROWS, rows, TILE_OUTPUTS, outputs, ITEM_ROWS, item_rows)
static const candidate_setting own_products[] = {ONE(CLBLAST, 0), GPU_TILES(OWN_TILE)};
static const candidate_setting own_buffers[] = {TWO(CLBLAST, 0, BUFFERS, 2)};
static const candidate_axis linear_gpu[] = {AXIS(own_products), AXIS(own_buffers)};
static const candidate_axis linear_gradient_gpu[] = {AXIS(own_products)};
static const candidate_setting attention_lanes[] = {
    TWO(LANES, 8, ITEM_ROWS, 16), TWO(LANES, 16, ITEM_ROWS, 16), TWO(LANES, 16, ITEM_ROWS, 8), TWO(LANES, 8, ITEM_ROWS, 8),
    TWO(LANES, 32, ITEM_ROWS, 8), TWO(LANES, 32, ITEM_ROWS, 4)};
static const candidate_axis attention_gpu[] = {AXIS(attention_lanes)};
#define BACKWARD(own, others, lanes, item) FOUR(OWN, own, OTHERS, others, LANES, lanes, ITEM_ROWS, item)
static const candidate_setting backward_tiles[] = {BACKWARD(32, 32, 8, 4), BACKWARD(16, 32, 16, 4), BACKWARD(16, 32, 8, 4),
    BACKWARD(16, 16, 16, 4), BACKWARD(32, 32, 8, 2), BACKWARD(16, 32, 8, 2), BACKWARD(16, 32, 16, 2), BACKWARD(16, 16, 16, 2)};
static const candidate_axis backward_gpu[] = {AXIS(backward_tiles)};

// clang-format on

#define AXES(list) (*axes = (list), sizeof(list) / sizeof *(list))

static size_t cpu_axes(tuned_op op, bool wide, const candidate_axis **axes)
{
    switch (op) {
    case TUNED_CONV:
        return wide ? AXES(conv_wide) : AXES(conv_narrow);
    case TUNED_LINEAR:
        return wide ? AXES(linear_wide) : AXES(linear_narrow);
    case TUNED_CONV_WEIGHT_GRADIENT:
        return wide ? AXES(conv_gradient_wide) : AXES(conv_gradient_narrow);
    case TUNED_LINEAR_WEIGHT_GRADIENT:
        return wide ? AXES(linear_gradient_wide) : AXES(linear_gradient_narrow);
    case TUNED_ATTENTION:
        return wide ? AXES(attention_wide) : AXES(attention_narrow);
    case TUNED_ATTENTION_BACKWARD:
        return wide ? AXES(backward_wide) : AXES(backward_narrow);
    default:
        return 0;
    }
}

static size_t gpu_axes(tuned_op op, const candidate_axis **axes)
{
    switch (op) {
    case TUNED_CONV:
        return AXES(conv_gpu);
    case TUNED_LINEAR:
        return AXES(linear_gpu);
    case TUNED_CONV_WEIGHT_GRADIENT:
        return AXES(gradient_gpu);
    case TUNED_LINEAR_WEIGHT_GRADIENT:
        return AXES(linear_gradient_gpu);
    case TUNED_ATTENTION:
        return AXES(attention_gpu);
    case TUNED_ATTENTION_BACKWARD:
        return AXES(backward_gpu);
    default:
        return 0;
    }
}

size_t candidates_axes(tuned_op op, variant v, const device_info *device, const candidate_axis **axes)
{
    *axes = NULL;
    if (v == VARIANT_CPU) return cpu_axes(op, device->native_vector >= 16, axes);
    return v == VARIANT_GPU ? gpu_axes(op, axes) : 0;
}

tuning_row candidates_apply(const tuning_row *row, const candidate_setting *setting)
{
    tuning_row result = *row;
    for (int i = 0; i < setting->count; i++) tuning_set(&result, setting->parts[i].parameter, setting->parts[i].value);
    return result;
}
