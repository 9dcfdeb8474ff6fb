// choose_tables FOLDER: the tuning tables that the program carries (configs/tuning): for each kind of GPU and each class of calls that the
// published network makes at 256x256, those of `idm tune`'s candidates for which the model (src/tune/prediction.c) predicts the least time
// and whose kernels do not spill there. Nothing of them was measured. bench/tables.sh runs it.
#include "tune/bench_calls.h"
#include "tune/candidates.h"
#include "tune/prediction.h"
#include "tune/tuning_file.h"
#include "tune/workload.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const model_sizes published = {{320, 640}, 8, 32, 3, 32};
static const double WORTH = 0.98; // of the time of the kernel's own choice

static void fail(const char *what, const char *detail)
{
    fprintf(stderr, "choose_tables: %s: %s\n", what, detail);
    exit(1);
}

// Not of linear layers: whether CLBlast is faster there, nothing predicts.
static bench_operation *operation_of(tuned_op op)
{
    static bench_operation *const operations[TUNED_OPS] = {
        [TUNED_CONV] = bench_conv,
        [TUNED_CONV_WEIGHT_GRADIENT] = bench_conv_weight,
        [TUNED_ATTENTION] = bench_attention,
        [TUNED_ATTENTION_BACKWARD] = bench_attention_gradient,
    };
    return operations[op];
}

// Predicted for one call with one row, or null: the kernel's own choice. Infinite: it cannot run so, spills, or no report is of it.
static double seconds_with(ops *o, const roofline_device *device, const tuning_shape *call, const tuning_row *row)
{
    context *ctx = o->ctx;
    const int side = (int)lround(sqrt(call->pixels));
    bench_call c = {.o = o,
                    .preparing = true,
                    .height = side,
                    .width = call->pixels / side,
                    .in = call->in,
                    .out = call->out,
                    .stride = 1,
                    .heads = call->heads};
    if (call->heads) c.in = c.out = call->heads * call->head;
    const tuning t = {.rows = (tuning_row *)row, .count = row != NULL};
    const arena_mark activations = arena_save(ctx, POOL_ACTIVATIONS), derived = arena_save(ctx, POOL_DERIVED);
    o->tuning = &t;
    operation_of(call->op)(&c);
    c.preparing = false;
    context_reset_cost(ctx);
    operation_of(call->op)(&c);
    o->tuning = NULL;
    arena_release(ctx, POOL_ACTIVATIONS, activations);
    arena_release(ctx, POOL_DERIVED, derived);
    if (context_status(ctx) != IDM_OK) fail(device->name, idm_message());
    const prediction p = prediction_of_context(ctx, device);
    return row && (p.inexact > 0 || p.unreported > 0) ? INFINITY : p.seconds;
}

// Of a picture by itself, and of one in a batch: a row is used for both.
static double both_seconds(ops *o, const roofline_device *device, const tuning_shape *call, const tuning_row *row)
{
    enum { BATCH = 8 };
    tuning_shape batch = *call;
    if (!call->heads) batch.pixels *= BATCH;
    return 0.5 * (seconds_with(o, device, call, row) + seconds_with(o, device, &batch, row) / (call->heads ? 1 : BATCH));
}

// Every combination of the axes' settings; after the first axis a setting may also be left out.
static bool combination(const candidate_axis *axes, size_t count, size_t number, tuning_row *row)
{
    for (size_t i = 0; i < count; i++) {
        const size_t settings = axes[i].count + (i > 0), which = number % settings;
        if (which < axes[i].count) *row = candidates_apply(row, &axes[i].settings[which]);
        number /= settings;
    }
    return number == 0;
}

static void choose_row(ops *o, const roofline_device *device, const workload_group *g, FILE *f)
{
    const candidate_axis *axes;
    const size_t axis_count = candidates_axes(g->class.op, VARIANT_GPU, context_device(o->ctx), &axes);
    if (!axis_count || !operation_of(g->class.op)) return;
    const double own = both_seconds(o, device, &g->call, NULL);
    double best_seconds = WORTH * own;
    tuning_row best = {.shape = g->class};
    bool found = false;
    for (size_t number = 0;; number++) {
        tuning_row row = {.shape = g->class};
        if (!combination(axes, axis_count, number, &row)) break;
        const double seconds = both_seconds(o, device, &g->call, &row);
        if (!(seconds < best_seconds)) continue;
        best = row;
        best_seconds = seconds;
        found = true;
    }
    if (!found) return;
    char line[TUNING_LINE_SIZE];
    tuning_row_format(&best, line);
    fprintf(f, "%s # %.3f ms instead of %.3f\n", line, 1e3 * best_seconds, 1e3 * own);
}

static void choose_table(const char *folder, const char *name, const char *architecture)
{
    const roofline_device *device;
    char path[4096];
    workload w;
    context *ctx;
    ops o;
    idm_config config;
    idm_config_defaults(&config);
    config.device.variants = IDM_VARIANTS_GPU;
    if (roofline_find(name, &device) != IDM_OK) fail(name, idm_message());
    const device_info info = roofline_describe(device);
    if (snprintf(path, sizeof path, "%s/%s.txt", folder, name) >= (int)sizeof path) fail(folder, "too long");
    FILE *f = fopen(path, "w");
    if (!f) fail(path, "cannot be written");
    fprintf(f,
            "idm tuning 1\n# Made by bench/tables.sh: predicted times of one call (mean of a picture by itself and in a batch of 8), not "
            "measured. See bench/VENDORS.md, Predictions.\n"
            "architecture = %s\nfigures = predicted\n",
            architecture);
    if (workload_find(&info, &config, &published, 0.1, 256, true, &w) != IDM_OK ||
        context_create(&info, &(context_options){0}, &ctx) != IDM_OK ||
        ops_create(ctx, IDM_VARIANTS_GPU, IDM_GEMM_OWN, IDM_MATH_FAST, 8 * published.channels[1], &o) != IDM_OK)
        fail(name, idm_message());
    for (size_t i = 0; i < w.count; i++) choose_row(&o, device, &w.groups[i], f);
    workload_free(&w);
    context_destroy(ctx);
    if (fclose(f)) fail(path, "cannot be written");
}

int main(int argc, char **argv)
{
    // the name in src/tune/roofline.c, and what drivers' names of such devices have in them
    static const char *const tables[][2] = {{"rtx3090", "RTX 3090"},  {"a100-80", "A100"}, {"h100", "H100"},
                                            {"rx7900xtx", "gfx1100"}, {"mi210", "gfx90a"}, {"a770", "A770"},
                                            {"iris-xe", "Iris(R) Xe"}};
    if (argc != 2) fail("usage", "choose_tables FOLDER");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) choose_table(argv[1], tables[i][0], tables[i][1]);
    return 0;
}
