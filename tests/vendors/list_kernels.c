// list_kernels FOLDER [--launches]: every kernel, with its options, that the gpu and generic tables choose on devices as the three vendors
// make them, in dry runs of the network at several sizes and of the operations that it leaves out. Writes FOLDER/kernels.tsv, a line each:
// vendor, source, kernel, options, items per group "x,y,z"; and the sources with includes in place, FOLDER/SOURCE.cl. gate.py compiles
// them. With --launches also FOLDER/launches.tsv: of the published network at 256x256, with each of the parameters that `idm tune` would
// try, a line for each kernel: vendor, source, kernel, options, items, groups "x,y,z", the launch's whole-number arguments "a,b,...";
// reports.py makes the model's table of them.
#include "model/network.h"
#include "ops/adam.h"
#include "ops/attention.h"
#include "ops/pointwise.h"
#include "tune/candidates.h"
#include "tune/ceilings.h"
#include "tune/roofline.h"
#include "tune/tuning_choose.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct problem {
    model_sizes sizes;
    double ratio;
} problem;

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "list_kernels: %s: %s\n", what, detail);
    exit(1);
}

static tensor push(ops *o, int h, int w, int c)
{
    return arena_push(o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, h, w, c);
}

static sensing make_sensing(ops *o, const problem *p, int size)
{
    const int pixels = p->sizes.block * p->sizes.block, measurements = (int)(p->ratio * pixels + 0.999);
    float *phi = calloc((size_t)pixels * (size_t)measurements, sizeof *phi);
    int32_t *perm = calloc((size_t)size * (size_t)size, sizeof *perm);
    sensing s;
    if (!phi || !perm) fail("sampling operator", "out of memory");
    for (int i = 0; i < size * size; i++) perm[i] = i;
    sensing_create(o, phi, pixels, measurements, perm, size, size, &s);
    free(phi);
    free(perm);
    return s;
}

// What other callers than the network's forward pass run, for one level of it.
static void run_other_operations(ops *o, const problem *p, int channels, int side)
{
    const tensor x = push(o, side, side, channels), y = push(o, side, side, channels);
    silu_forward(o, x, y);
    epilogue_forward(o, x, &(epilogue){.v = push(o, 1, 1, 1), .mix = y}, y);
    upsample_nearest(o, x, push(o, 2 * side, 2 * side, channels));
    pixel_shuffle(o, x, 2, push(o, 2 * side, 2 * side, channels / 4));
    attention_forward(o, x, x, x, channels, p->sizes.heads, y, push(o, p->sizes.heads, side * side, 1));
}

// A training step, as each recompute mode and way of storing runs it.
static void run_training(ops *o, network *n, const sensing *s, tensor y, tensor image)
{
    static const idm_recompute modes[] = {IDM_RECOMPUTE_NONE, IDM_RECOMPUTE_INVERT};
    const tensor out = push(o, image.h, image.w, 1), loss = push(o, 1, 1, 1), state = adam_push_state(o, POOL_ACTIVATIONS);
    const adam_settings settings = adam_defaults();
    for (int i = 0; i < 2; i++)
        for (dtype storage = DTYPE_F32; storage <= DTYPE_BF16; storage++) {
            const network_dial dial = {.recompute = modes[i], .keep_wide = i == 0, .keep_steps = i == 0};
            o->storage = storage;
            o->attention_two_pass = i > 0;
            network_gradient(n, s, y, image, &dial, 1, adam_scale(state), loss, out);
        }
    o->storage = DTYPE_F32;
    adam_begin(o, image, state);
    adam_prepare(o, &settings, 1e-4, state);
    adam_update(o, &settings, state, image, image, image, image, NO_TENSOR);
    adam_update(o, &settings, state, image, image, image, image, image);
    adam_end(o, &settings, state);
}

// One image of size x size pixels; scratch is given back.
static void run_image(ops *o, network *n, const problem *p, int size)
{
    const arena_mark activations = arena_save(o->ctx, POOL_ACTIVATIONS), operators = arena_save(o->ctx, POOL_OPERATOR);
    const sensing s = make_sensing(o, p, size);
    const tensor y = push(o, 1, size * size / s.block_pixels, s.measurements), image = push(o, size, size, 1);
    sensing_forward(o, &s, image, y);
    network_forward(n, &s, y, image, NULL);
    run_other_operations(o, p, p->sizes.channels[0], size / 2);
    run_other_operations(o, p, p->sizes.channels[1], size / 4);
    if (size == 64 || size == 256) run_training(o, n, &s, y, image);
    arena_release(o->ctx, POOL_ACTIVATIONS, activations);
    arena_release(o->ctx, POOL_OPERATOR, operators);
}

// ---- devices

typedef struct vendor {
    const char *name, *cl_name;
    uint64_t local_memory;
    size_t max_work_group;
    unsigned compute_units;
    matrix_unit units[2]; // of its devices; NVIDIA's and its emulation, which is compiled to SPIR-V
} vendor;

static device_info describe(const vendor *v, uint64_t local_memory, size_t max_work_group, unsigned compute_units)
{
    device_info d = {.type = DEVICE_GPU,
                     .global_memory = (uint64_t)64 << 30,
                     .max_allocation = (uint64_t)16 << 30,
                     .local_memory = local_memory < v->local_memory ? local_memory : v->local_memory,
                     .max_work_group = max_work_group < v->max_work_group ? max_work_group : v->max_work_group,
                     .compute_units = compute_units < v->compute_units ? compute_units : v->compute_units,
                     .clock_mhz = 1500,
                     .native_vector = 1};
    (void)snprintf(d.name, sizeof d.name, "%s", v->name);
    (void)snprintf(d.vendor, sizeof d.vendor, "%s", v->cl_name);
    return d;
}

// ---- output

typedef struct output {
    const char *folder, *vendor;
    matrix_unit unit; // what kernels are listed for
    FILE *table, *launches;
} output;

static FILE *open_in(const char *folder, const char *name, const char *suffix)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix) >= (int)sizeof path) fail(folder, "too long");
    FILE *f = fopen(path, "w");
    if (!f) fail(path, strerror(errno));
    return f;
}

static void write_source(const char *folder, const char *file)
{
    static char written[4096]; // names between spaces
    char *text, name[128];
    (void)snprintf(name, sizeof name, " %s ", file);
    if (strstr(written, name)) return;
    if (strlen(written) + strlen(name) >= sizeof written) fail(file, "too many sources");
    strcat(written, name);
    if (program_source(file, &text) != IDM_OK) fail(file, idm_message());
    FILE *f = open_in(folder, file, ".cl");
    fputs(text, f);
    if (fclose(f)) fail(file, strerror(errno));
    free(text);
}

static void write_kernel(void *user, const char *file, const char *name, const char *options, const size_t local[3])
{
    const output *out = user;
    fprintf(out->table, "%s\t%s\t%s\t%s\t%zu,%zu,%zu\n", out->vendor, file, name, options, local[0], local[1], local[2]);
    write_source(out->folder, file);
}

static void write_launch(void *user, const planned_launch *l)
{
    const output *out = user;
    if (!out->launches) return;
    const size_t *n = l->w.local, *g = l->w.groups;
    fprintf(out->launches, "%s\t%s\t%s\t%s\t%zu,%zu,%zu\t%zu,%zu,%zu\t", out->vendor, l->file, l->name, l->options, n[0], n[1], n[2], g[0],
            g[1], g[2]);
    for (int i = 0; i < l->number_count; i++) fprintf(out->launches, i ? ",%d" : "%d", l->numbers[i]);
    fputc('\n', out->launches);
}

static context *create_context(output *out, const device_info *d, idm_variants variants, idm_math math, const problem *p, ops *o,
                               network *n)
{
    const context_options options = {0};
    context *ctx;
    if (context_create(d, &options, &ctx) != IDM_OK ||
        ops_create(ctx, variants, IDM_GEMM_OWN, math, network_max_channels(&p->sizes), o) != IDM_OK ||
        network_create(o, &p->sizes, n) != IDM_OK)
        fail(d->name, idm_message());
    network_create_gradients(n);
    if (variants == IDM_VARIANTS_GPU) o->matrix = out->unit;
    return ctx;
}

static void list_problem(output *out, const device_info *d, idm_variants variants, idm_math math, const problem *p)
{
    static const int sizes[] = {32, 64, 128, 256, 512};
    ops o;
    network n;
    ceilings c;
    context *ctx = create_context(out, d, variants, math, p, &o, &n);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) run_image(&o, &n, p, sizes[i]);
    if (ceilings_measure(&o, 0, &c) != IDM_OK) fail(d->name, idm_message());
    kernel_visit(ctx, write_kernel, out);
    network_free(&n);
    context_destroy(ctx);
}

static const problem problems[] = { // of two steps: a third chooses nothing new
    {{{320, 640}, 8, 32, 2, 32}, 0.1},
    {{{32, 64}, 4, 8, 2, 16}, 0.1},
    {{{32, 64}, 2, 8, 2, 16}, 0.3},
    {{{48, 96}, 4, 16, 2, 8}, 0.5}};

static void list_device(output *out, const device_info *d, bool generic)
{
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        for (int math = IDM_MATH_FAST; math <= IDM_MATH_EXACT; math++) {
            list_problem(out, d, IDM_VARIANTS_GPU, (idm_math)math, &problems[i]);
            if (generic) list_problem(out, d, IDM_VARIANTS_GENERIC, (idm_math)math, &problems[i]);
        }
}

// ---- what the model's table has: the published network's launches

// The kernels that one tuning chooses, at one size; to launches.tsv, and with `gate` to kernels.tsv.
static void list_tuned(output *out, const device_info *d, const tuning *t, int size, bool gate)
{
    ops o;
    network n;
    context *ctx = create_context(out, d, IDM_VARIANTS_GPU, IDM_MATH_FAST, &problems[0], &o, &n);
    o.tuning = t;
    run_image(&o, &n, &problems[0], size);
    planned_visit(ctx, write_launch, out);
    if (gate) kernel_visit(ctx, write_kernel, out);
    network_free(&n);
    context_destroy(ctx);
}

// A row for every operation that has a `round`-th combination of settings, of any shape. 0: there is none any more.
static size_t candidate_rows(const device_info *d, size_t round, tuning_row rows[TUNED_OPS], size_t *count_of)
{
    size_t listed = 0;
    *count_of = 0;
    for (tuned_op op = TUNED_CONV; op < TUNED_OPS; op++) {
        const candidate_axis *axes;
        const size_t axis_count = candidates_axes(op, VARIANT_GPU, d, &axes);
        tuning_row row = {.shape = {.op = op, .variant = VARIANT_GPU}};
        size_t left = round;
        for (size_t i = 0; i < axis_count; i++) { // after the first axis, a setting may also be left out
            const size_t settings = axes[i].count + (i > 0), which = left % settings;
            if (which < axes[i].count) row = candidates_apply(&row, &axes[i].settings[which]);
            left /= settings;
        }
        // what spills on Intel's (src/ops/conv_gpu.c, attention.c): 8 rows an item of a product, 4 tokens of attention's backward pass
        const int most = op <= TUNED_LINEAR_WEIGHT_GRADIENT ? 4 : op == TUNED_ATTENTION_BACKWARD ? 2 : INT32_MAX;
        const bool crowded = strstr(d->vendor, "Intel") && tuning_value(&row, TUNE_ITEM_ROWS, 0) > most;
        if (axis_count && !left) {
            listed++;
            if (!crowded) rows[(*count_of)++] = row;
        }
    }
    return listed;
}

static void list_sizes(output *out, const device_info *d)
{
    static const int sizes[] = {64, 256, 512};
    static const unsigned units[] = {1024, 96, 28};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) { // they have a say in the choice of tiles
            device_info smaller = *d;
            if (units[k] < d->compute_units) smaller.compute_units = units[k];
            list_tuned(out, &smaller, NULL, sizes[i], false);
        }
}

static void list_candidates(output *out, const device_info *d)
{
    tuning_row rows[TUNED_OPS];
    for (size_t round = 0, count; candidate_rows(d, round, rows, &count) > 0; round++)
        list_tuned(out, d, &(tuning){.rows = rows, .count = count}, 256, false);
}

// The tables that the program carries, each on devices of its vendor: they are named after devices of src/tune/roofline.c.
static void list_shipped(output *out, const device_info *d)
{
    for (const struct embedded_source *e = embedded_tunings; e->name; e++) {
        char device[64];
        const roofline_device *made_for;
        tuning_file f;
        (void)snprintf(device, sizeof device, "%.*s", (int)strcspn(e->name, "."), e->name);
        if (roofline_find(device, &made_for) != IDM_OK) fail(e->name, idm_message());
        if (strcmp(made_for->vendor, d->vendor) != 0) continue;
        if (tuning_file_parse(e->name, e->text, &f) != IDM_OK) fail(e->name, idm_message());
        list_tuned(out, d, &f.t, 64, true);
        list_tuned(out, d, &f.t, 256, true);
        tuning_file_free(&f);
    }
}

int main(int argc, char **argv)
{
    static const vendor vendors[] = {{"nvidia", "NVIDIA Corporation", 48 << 10, 1024, 132, {MATRIX_NVIDIA, MATRIX_EMULATED}},
                                     {"amd", "Advanced Micro Devices, Inc.", 64 << 10, 256, 104, {MATRIX_AMD_WMMA, MATRIX_AMD_MFMA}},
                                     {"intel", "Intel(R) Corporation", 64 << 10, 1024, 512, {MATRIX_INTEL_8, MATRIX_INTEL_16}}};
    static const struct {
        uint64_t local_memory;
        size_t max_work_group;
        unsigned compute_units;
    } limits[] = {{64 << 10, 1024, 1024}, {48 << 10, 256, 32}, {32 << 10, 256, 8}, {32 << 10, 64, 8}};
    const bool launches = argc == 3 && strcmp(argv[2], "--launches") == 0;
    if (argc != 2 + launches) fail("usage", "list_kernels FOLDER [--launches]");
    output out = {.folder = argv[1], .table = open_in(argv[1], "kernels", ".tsv")};
    if (launches) out.launches = open_in(argv[1], "launches", ".tsv");
    for (size_t v = 0; v < sizeof vendors / sizeof *vendors; v++)
        for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
            const device_info d = describe(&vendors[v], limits[l].local_memory, limits[l].max_work_group, limits[l].compute_units);
            out.vendor = vendors[v].name;
            for (int i = 1; i >= 0; i--) {
                out.unit = vendors[v].units[i];
                list_device(&out, &d, i == 0);
                if (l == 0 && launches) list_sizes(&out, &d);
            }
            if (l == 0 && launches) list_candidates(&out, &d);
            if (l == 0) list_shipped(&out, &d);
        }
    if (fclose(out.table)) fail("kernels.tsv", strerror(errno));
    if (launches && fclose(out.launches)) fail("launches.tsv", strerror(errno));
    return 0;
}
