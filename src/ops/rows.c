#include "ops/rows.h"

#include <stdio.h>

enum {
    GPU_ITEMS = 64,           // per group: what every device allows, and a full wavefront on all of them
    GPU_LANES = 16,           // 16 float4 are 256 bytes in a row
    CPU_GROUP_FLOATS = 32768, // per group: long enough to hide its start, short enough to share out evenly
    CPU_GROUPS_WANTED = 64,
};

rows_grid rows_plan(const ops *o, int samples, int rows, int c, int vec, int floats)
{
    rows_grid g = {.rows = rows, .vectors = c / vec, .vec = vec, .lanes = 1, .row_items = 1};
    if (o->table.pointwise == VARIANT_CPU) {
        const int even = (int)((long)rows * samples / CPU_GROUPS_WANTED), full = CPU_GROUP_FLOATS / floats;
        g.block = even < full ? even : full;
        if (g.block < 1) g.block = 1;
    } else {
        while (g.lanes < GPU_LANES && 2 * g.lanes <= g.vectors) g.lanes *= 2;
        g.block = g.row_items = GPU_ITEMS / g.lanes;
    }
    g.w =
        (work){.groups = {1, ceil_div((size_t)rows, (size_t)g.block), (size_t)samples}, .local = {(size_t)g.lanes, (size_t)g.row_items, 1}};
    (void)snprintf(g.options, sizeof g.options, "-DVEC=%d -DLANES=%d -DROW_ITEMS=%d", g.vec, g.lanes, g.row_items);
    return g;
}

tensor rows_flat(tensor t)
{
    const size_t elements = tensor_elements(t);
    enum { LONGEST = 1024, SHORTEST = 64 };
    size_t c = LONGEST;
    while (elements % c != 0) c /= 2;
    const bool wanted = c > (size_t)t.c || (t.c > LONGEST && c >= SHORTEST);
    return wanted ? tensor_shaped(t, 1, 1, (int)(elements / c), (int)c) : tensor_matrix(t);
}
