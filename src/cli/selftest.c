// `idm selftest`
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "io/operator.h"
#include "io/weights.h"
#include "model/network.h"
#include "tune/check_conv.h"
#include "tune/check_norm.h"
#include "tune/check_pointwise.h"
#include "tune/check_sensing.h"
#include <string.h>

// Relative error in norm that a correct float32 kernel stays below.
static const double tolerance_exact = 2e-6, tolerance_fast = 1e-5;

typedef struct selftest {
    const cli_call *call;
    ops o;
    model_sizes sizes;
    double tolerance;
    cJSON *rows;
    int checks, wrong;
    idm_status status; // of the device
} selftest;

static const char *variant_name(variant v)
{
    static const char *const names[] = {
        [VARIANT_GENERIC] = "generic", [VARIANT_CPU] = "cpu", [VARIANT_GPU] = "gpu", [VARIANT_CLBLAST] = "clblast"};
    return names[v];
}

static bool goes_on(const selftest *s)
{
    return s->status == IDM_OK && !interrupt_signal();
}

static void add_row(selftest *s, const char *op, variant v, const char *shape, check_result result)
{
    if (result.status != IDM_OK) {
        s->status = status_prefix(result.status, "selftest of %s %s", op, shape);
        return;
    }
    const bool right = result.error <= s->tolerance;
    s->checks++;
    s->wrong += !right;
    if (!s->call->json) printf("%-16s %-8s %-34s %9.2e  %s\n", op, variant_name(v), shape, result.error, right ? "ok" : "WRONG");
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "op", op);
    cJSON_AddStringToObject(row, "variant", variant_name(v));
    cJSON_AddStringToObject(row, "shape", shape);
    cli_json_number(row, "error", result.error);
    cJSON_AddBoolToObject(row, "pass", right);
    cJSON_AddItemToArray(s->rows, row);
    (void)fflush(stdout);
}

// Runs one check, gives its memory back, adds its row.
#define CHECK(s, op, v, call, ...)                                         \
    do {                                                                   \
        if (!goes_on(s)) break;                                            \
        char shape_[64];                                                   \
        (void)snprintf(shape_, sizeof shape_, __VA_ARGS__);                \
        const arena_mark mark_ = arena_save((s)->o.ctx, POOL_ACTIVATIONS); \
        const check_result result_ = (call);                               \
        arena_release((s)->o.ctx, POOL_ACTIVATIONS, mark_);                \
        add_row(s, op, v, shape_, result_);                                \
    } while (0)

enum { HEIGHT = 6, WIDTH = 7, PIXELS = HEIGHT * WIDTH }; // of feature maps: odd, and few, since the oracle is plain C

static void check_conv_shape(selftest *s, int in, int out, int stride, bool upsample)
{
    CHECK(s,
          stride == 2 ? "conv3x3 stride 2"
          : upsample  ? "upsample conv3x3"
                      : "conv3x3",
          s->o.table.conv, check_conv(&s->o, 1, HEIGHT, WIDTH, in, out, stride, upsample, CHECK_BIAS), "%d -> %d", in, out);
}

static void check_convolutions(selftest *s)
{
    const int c0 = s->sizes.channels[0], c1 = s->sizes.channels[1];
    const int shapes[][2] = {{4, c0}, {c0, c0}, {c0, c1}, {c1, c1}, {3 * c1, c1}, {c1 + c0, c1}, {c1 + c0, c0}, {2 * c0, c0}, {c0, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check_conv_shape(s, shapes[i][0], shapes[i][1], 1, false);
    check_conv_shape(s, c0, c0, 2, false);
    check_conv_shape(s, c1, c1, 1, true);
    CHECK(s, "conv3x3 in body", s->o.table.conv,
          check_conv(&s->o, 1, HEIGHT, WIDTH, c0, c0, 1, false, CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING | CHECK_IN_PLACE), "%d -> %d",
          c0, c0);
}

static void check_linear_layers(selftest *s)
{
    const int c0 = s->sizes.channels[0], c1 = s->sizes.channels[1];
    const int shapes[][3] = {{c0, c0, CHECK_BIAS},      {c1, c1, CHECK_BIAS},
                             {c0, 8 * c0, CHECK_BIAS},  {4 * c0, c0, CHECK_BIAS | CHECK_RESIDUAL},
                             {c1, 8 * c1, CHECK_BIAS},  {4 * c1, c1, CHECK_BIAS | CHECK_RESIDUAL},
                             {c0, c1, CHECK_BIAS},      {3 * c1, c1, CHECK_BIAS},
                             {c1 + c0, c0, CHECK_BIAS}, {c0, c0, CHECK_BIAS | CHECK_RESIDUAL | CHECK_COUPLING | CHECK_IN_PLACE}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *z = shapes[i];
        CHECK(s, z[2] & CHECK_COUPLING ? "linear in body" : "linear", s->o.table.gemm, check_gemm(&s->o, PIXELS, z[0], z[1], z[2]),
              "%d -> %d", z[0], z[1]);
    }
}

static void check_the_rest(selftest *s)
{
    const int n = s->sizes.block * s->sizes.block, groups = s->sizes.groups;
    const double ratio = s->call->config.sensing.cs_ratio;
    const check_operator a = {2 * s->sizes.block, s->sizes.block, n, operator_measurements(s->sizes.block, ratio > 0 ? ratio : 0.1)};
    const variant v = s->o.table.pointwise;
    for (int level = 0; level < 2; level++) {
        const int c = s->sizes.channels[level];
        CHECK(s, "group norm", v, check_group_norm(&s->o, 2, HEIGHT, WIDTH, c, groups, false, 0.5f, false), "%d in %d groups", c, groups);
        CHECK(s, "group norm, silu", v, check_group_norm(&s->o, 2, HEIGHT, WIDTH, 2 * c, groups, true, 0.5f, false), "%d in %d groups",
              2 * c, groups);
        CHECK(s, "layer norm", v, check_layer_norm(&s->o, PIXELS, c, 0.5f), "%d", c);
        CHECK(s, "geglu", v, check_geglu(&s->o, PIXELS, 4 * c, 4), "%d", 4 * c);
        CHECK(s, "channel copy", v, check_channels_copy(&s->o, PIXELS, c, 3 * c, c), "%d into %d", c, 3 * c);
        CHECK(s, "injector", v, check_injector(&s->o, a, 1, c, level ? 4 : 2, true), "%d, %d x %d", c, a.height, a.width);
    }
    CHECK(s, "pixel shuffle", v, check_pixel_shuffle(&s->o, 2, HEIGHT, WIDTH, 1, 2), "4 <-> 1 planes");
    CHECK(s, "add scaled", v, check_add_scaled(&s->o, PIXELS, 1), "1 plane");
    CHECK(s, "A, A^T, A^T A", s->o.table.gemm, check_sensing(&s->o, a, 2), "%d pixels, %d measurements", n, a.measurements);
    CHECK(s, "ddim step", v, check_ddim(&s->o, a, 2, s->sizes.steps, true), "%d steps", s->sizes.steps);
}

// As [model] says, else the weights file, else published.
static idm_status find_sizes(const idm_config *c, model_sizes *sizes)
{
    model_sizes known = {
        {c->model.channels[0], c->model.channels[1]}, c->model.heads, c->model.groups, c->model.steps, c->sensing.block_size};
    if (*c->model.weights) {
        weights *w;
        IDM_TRY(weights_load(c->model.weights, &(weights_options){.sizes = known}, &w));
        known = w->sizes;
        weights_free(w);
    }
    *sizes = names_published_sizes;
    int *const to[] = {&sizes->channels[0], &sizes->channels[1], &sizes->heads, &sizes->groups, &sizes->steps, &sizes->block};
    const int from[] = {known.channels[0], known.channels[1], known.heads, known.groups, known.steps, known.block};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (from[i] > 0) *to[i] = from[i];
    return IDM_OK;
}

static idm_status report(selftest *s, const device_info *device)
{
    if (interrupt_signal()) return status_fail(IDM_FAILED, "stopped by a signal");
    IDM_TRY(s->status);
    if (s->call->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "device", device->name);
        cJSON_AddItemToObject(object, "checks", s->rows);
        s->rows = NULL;
        cJSON_AddNumberToObject(object, "tolerance", s->tolerance);
        cJSON_AddBoolToObject(object, "pass", s->wrong == 0);
        IDM_TRY(cli_print_json(object));
    } else printf("%d of %d checks passed\n", s->checks - s->wrong, s->checks);
    if (s->wrong == 0) return IDM_OK;
    return status_fail(IDM_WRONG_RESULT,
                       "%d of %d checks are wrong on %s (driver %s): its results cannot be trusted; try --set device.variants=generic, or "
                       "another driver",
                       s->wrong, s->checks, device->name, device->driver);
}

static idm_status run_checks(selftest *s, const device_info *device)
{
    const idm_config *c = &s->call->config;
    const idm_math math = c->device.math_given ? c->device.math : IDM_MATH_EXACT;
    s->tolerance = math == IDM_MATH_EXACT ? tolerance_exact : tolerance_fast;
    const int widest = network_max_channels(&s->sizes), blocks = 4 * s->sizes.channels[1];
    IDM_TRY(ops_create(s->o.ctx, c->device.variants, c->device.gemm, math, widest > blocks ? widest : blocks, &s->o));
    cli_note(s->call, "%s (%d:%d), math %s, tolerance %.0e", device->name, device->platform, device->index,
             math == IDM_MATH_EXACT ? "exact" : "fast", s->tolerance);
    if (!s->call->json) printf("%-16s %-8s %-34s %9s\n", "operation", "variant", "channels", "error");
    check_convolutions(s);
    check_linear_layers(s);
    check_the_rest(s);
    if (s->call->profile) context_profile_print(s->o.ctx, stderr);
    return report(s, device);
}

static idm_status selftest_run(const cli_call *call)
{
    selftest s = {.call = call};
    device_info device;
    IDM_TRY(find_sizes(&call->config, &s.sizes));
    IDM_TRY(device_choose(call->config.device.device, &device));
    const context_options options = {.max_launch_ms = call->config.device.max_launch_ms};
    IDM_TRY(context_create(&device, &options, &s.o.ctx));
    context *ctx = s.o.ctx;
    s.rows = cJSON_CreateArray();
    const idm_status status = run_checks(&s, &device);
    cJSON_Delete(s.rows);
    context_destroy(ctx);
    return status;
}

const cli_command selftest_command = {
    .name = "selftest",
    .arguments = "",
    .summary = "check every operation on this device against double precision",
    .description = "Runs each operation that the network needs, at its channel counts, with the kernel variants that this device and\n"
                   "configuration use, and compares with plain C in double precision. math = exact unless device.math is given. A row per\n"
                   "check: relative error in norm. Exit status 4 when one is above the tolerance.",
    .run = selftest_run,
};
