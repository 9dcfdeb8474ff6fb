// What `idm bench` found, as JSON and as tables.
#include "cli/bench.h"
#include <math.h>

static void add_device(cJSON *report, const device_info *d)
{
    static const char *const types[] = {[DEVICE_CPU] = "cpu", [DEVICE_GPU] = "gpu", [DEVICE_OTHER] = "other"};
    cJSON *object = cJSON_AddObjectToObject(report, "device");
    cJSON_AddStringToObject(object, "name", d->name);
    cJSON_AddStringToObject(object, "vendor", d->vendor);
    cJSON_AddStringToObject(object, "driver", d->driver);
    cJSON_AddStringToObject(object, "platform", d->platform_name);
    cJSON_AddStringToObject(object, "type", types[d->type]);
    cJSON_AddNumberToObject(object, "compute_units", d->compute_units);
    cJSON_AddNumberToObject(object, "clock_mhz", d->clock_mhz);
    cJSON_AddNumberToObject(object, "global_memory", (double)d->global_memory);
}

static void add_settings(benchmark *b, const ops *o, const bench_settings *s)
{
    static const char *const precisions[] = {[IDM_PRECISION_FP32] = "fp32", [IDM_PRECISION_HALF] = "half", [IDM_PRECISION_BF16] = "bf16"};
    const int channels[] = {s->sizes.channels[0], s->sizes.channels[1]};
    cJSON *object = cJSON_AddObjectToObject(b->report, "settings");
    cJSON_AddNumberToObject(object, "size", s->side);
    cJSON_AddItemToObject(object, "channels", cJSON_CreateIntArray(channels, 2));
    cJSON_AddNumberToObject(object, "heads", s->sizes.heads);
    cJSON_AddNumberToObject(object, "groups", s->sizes.groups);
    cJSON_AddNumberToObject(object, "steps", s->sizes.steps);
    cJSON_AddNumberToObject(object, "block_size", s->sizes.block);
    cJSON_AddNumberToObject(object, "cs_ratio", s->cs_ratio);
    cJSON_AddStringToObject(object, "math", o->exact ? "exact" : "fast");
    cJSON_AddStringToObject(object, "train_precision", precisions[b->call->config.train.precision]);
    cJSON *variants = cJSON_AddObjectToObject(b->report, "variants");
    cJSON_AddStringToObject(variants, "gemm", variant_name(o->table.gemm));
    cJSON_AddStringToObject(variants, "conv", variant_name(o->table.conv));
    cJSON_AddStringToObject(variants, "attention", variant_name(o->table.attention));
}

idm_status bench_report_begin(benchmark *b, const ops *o, const bench_settings *settings)
{
    b->report = cJSON_CreateObject();
    if (!b->report) return status_fail(IDM_FAILED, "out of memory");
    cJSON_AddStringToObject(b->report, "idm", idm_version());
    cJSON_AddNumberToObject(b->report, "workload_version", BENCH_WORKLOAD);
    cJSON_AddBoolToObject(b->report, "measured", !b->planned);
    add_device(b->report, &b->device);
    add_settings(b, o, settings);
    if (b->call->json) return IDM_OK;
    printf("%s; gemm %s, conv %s, attention %s, math %s\n", b->device.name, variant_name(o->table.gemm), variant_name(o->table.conv),
           variant_name(o->table.attention), o->exact ? "exact" : "fast");
    return IDM_OK;
}

// ---- ceilings

static void add_spread(cJSON *object, const timing *t)
{
    if (t->samples == 0) return;
    cJSON_AddNumberToObject(object, "least", t->least);
    cJSON_AddNumberToObject(object, "most", t->most);
    cJSON_AddNumberToObject(object, "lower_quartile", t->low);
    cJSON_AddNumberToObject(object, "upper_quartile", t->high);
    cJSON_AddNumberToObject(object, "samples", t->samples);
}

static void add_probe(cJSON *object, const char *name, const timing *t)
{
    cJSON *probe = cJSON_AddObjectToObject(object, name);
    cJSON_AddNumberToObject(probe, "seconds", t->seconds);
    add_spread(probe, t);
}

void bench_report_ceilings(benchmark *b)
{
    const ceilings *c = &b->ceilings;
    cJSON *object = cJSON_AddObjectToObject(b->report, "ceilings");
    cJSON_AddNumberToObject(object, "flops", c->flops);
    cJSON_AddNumberToObject(object, "bandwidth", c->bandwidth);
    if (!b->planned) {
        cJSON_AddNumberToObject(object, "half_bandwidth", c->half_bandwidth);
        cJSON_AddNumberToObject(object, "launch_seconds", c->launch_seconds);
        cJSON_AddNumberToObject(object, "queued_launch_seconds", c->queued_seconds);
        cJSON *probes = cJSON_AddObjectToObject(object, "probes");
        add_probe(probes, "multiply_add", &c->multiply_add);
        add_probe(probes, "copy", &c->copy);
        add_probe(probes, "triad", &c->triad);
        add_probe(probes, "halve_half", &c->halve);
        add_probe(probes, "launch", &c->launch);
        add_probe(probes, "queued_launch", &c->queued);
    }
    if (b->call->json) return;
    printf("%s: %.0f GFLOP/s float32, %.1f GB/s\n", b->planned ? "peaks by data sheet" : "ceilings measured", c->flops * 1e-9,
           c->bandwidth * 1e-9);
    if (!b->planned)
        printf("  16-bit storage %.1f GB/s; launch and wait %.1f us, launch queued %.1f us\n", c->half_bandwidth * 1e-9,
               c->launch_seconds * 1e6, c->queued_seconds * 1e6);
    (void)fflush(stdout);
}

// ---- operations

static double least_seconds(const ceilings *c, double flops, double bytes)
{
    return fmax(flops / c->flops, bytes / c->bandwidth);
}

static void add_prediction(cJSON *object, const prediction *p)
{
    cJSON_AddBoolToObject(object, "predicted", true);
    cJSON_AddNumberToObject(object, "least", p->least);
    cJSON_AddNumberToObject(object, "most", p->most);
}

// What bounds a row.
static const char *bound_of(const benchmark *b, const bench_row *row, bool computing)
{
    return b->planned ? bottleneck_names[prediction_bottleneck(&row->predicted)] : computing ? "arithmetic" : "memory";
}

static void print_op(const benchmark *b, const bench_row *row, double seconds, double percent, bool computing)
{
    char spread[32] = "", part[32] = "";
    if (b->measured + b->failed == 1 && b->planned)
        puts("predictions, not measured: ms, from least to most; % of the time that the data sheet allows");
    if (b->measured + b->failed == 1)
        printf("%-26s %-8s %-28s %10s %*s %9s %8s %6s  %s\n", "operation", "variant", "shape", "ms", b->planned ? 17 : 7,
               b->planned ? "range" : "spread", "GFLOP/s", "GB/s", "%", "bound by");
    printf("%-26s %-8s %-28s ", row->name, row->variant, row->shape);
    if (row->failure) {
        puts(row->failure);
        return;
    }
    if (b->planned) (void)snprintf(spread, sizeof spread, "%.3f to %.3f", 1e3 * row->predicted.least, 1e3 * row->predicted.most);
    else (void)snprintf(spread, sizeof spread, "%.0f%%", 100 * (row->time.high - row->time.low) / seconds);
    (void)snprintf(part, sizeof part, "%.0f", percent);
    printf("%10.3f %*s %9.1f %8.1f %6s  %s\n", 1e3 * seconds, b->planned ? 17 : 7, spread, 1e-9 * row->flops / seconds,
           1e-9 * row->bytes / seconds, part, bound_of(b, row, computing));
}

void bench_report_op(void *user, const bench_row *row)
{
    benchmark *b = user;
    cJSON *list = cJSON_GetObjectItem(b->report, "ops"), *object = cJSON_CreateObject();
    const double least = least_seconds(&b->ceilings, row->flops, row->bytes);
    const bool computing = row->flops / b->ceilings.flops >= row->bytes / b->ceilings.bandwidth;
    const double seconds = b->planned ? row->predicted.seconds : row->time.seconds;
    b->failed += row->failure != NULL;
    b->measured += row->failure == NULL;
    cJSON_AddStringToObject(object, "name", row->name);
    cJSON_AddStringToObject(object, "variant", row->variant);
    cJSON_AddStringToObject(object, "shape", row->shape);
    if (!row->failure) {
        cJSON_AddNumberToObject(object, "seconds", seconds);
        if (b->planned) add_prediction(object, &row->predicted);
        else add_spread(object, &row->time);
        cJSON_AddNumberToObject(object, "gflops", 1e-9 * row->flops / seconds);
        cJSON_AddNumberToObject(object, "gbytes_per_second", 1e-9 * row->bytes / seconds);
        cJSON_AddNumberToObject(object, "percent_of_peak", 100 * least / seconds);
    } else cJSON_AddStringToObject(object, "failure", row->failure);
    cJSON_AddStringToObject(object, "bound", bound_of(b, row, computing));
    cJSON_AddNumberToObject(object, "flops", row->flops);
    cJSON_AddNumberToObject(object, "bytes", row->bytes);
    cJSON_AddItemToArray(list, object);
    if (b->call->json) return;
    print_op(b, row, seconds, 100 * least / seconds, computing);
    (void)fflush(stdout);
}

// ---- the network

static void print_speed(const speed *row, const prediction *predicted, double seconds, double utilisation)
{
    printf("%-8s %dx%d, batch %d: %.3f s, %.3g images/s, %.0f GFLOP/s, model FLOPs utilisation %.0f%%", row->mode, row->height, row->width,
           row->batch, seconds, row->batch / seconds, 1e-9 * row->flops / seconds, 100 * utilisation);
    if (predicted)
        printf(" (a prediction: %.3f to %.3f s, mostly bound by %s)", predicted->least, predicted->most,
               bottleneck_names[prediction_bottleneck(predicted)]);
    if (row->time.samples) printf(" (%d runs, %.3f to %.3f s)", row->time.samples, row->time.least, row->time.most);
    if (isfinite(row->joules)) printf(", %.1f J", row->joules);
    if (*row->plan) printf("; %s", row->plan);
    puts("");
}

static void add_speed(cJSON *object, const speed *row, double seconds, double utilisation)
{
    cJSON_AddNumberToObject(object, "seconds", seconds);
    add_spread(object, &row->time);
    cJSON_AddNumberToObject(object, "images_per_second", row->batch / seconds);
    cJSON_AddNumberToObject(object, "flops", row->flops);
    cJSON_AddNumberToObject(object, "model_flops", row->model_flops);
    cJSON_AddNumberToObject(object, "gflops", 1e-9 * row->flops / seconds);
    cJSON_AddNumberToObject(object, "model_flops_utilisation", utilisation);
    cli_json_number(object, "joules", row->joules);
    if (*row->plan) cJSON_AddStringToObject(object, "plan", row->plan);
}

void bench_report_network(benchmark *b, const speed *row, const char *failure, const prediction *predicted)
{
    cJSON *object = cJSON_CreateObject();
    const double seconds = b->planned ? predicted->seconds : row->time.seconds;
    const double utilisation = row->model_flops / seconds / b->ceilings.flops;
    b->failed += failure != NULL;
    b->measured += failure == NULL;
    cJSON_AddStringToObject(object, "mode", row->mode);
    cJSON_AddNumberToObject(object, "height", row->height);
    cJSON_AddNumberToObject(object, "width", row->width);
    cJSON_AddNumberToObject(object, "batch", row->batch);
    if (failure) cJSON_AddStringToObject(object, "failure", failure);
    else add_speed(object, row, seconds, utilisation);
    if (b->planned && !failure) {
        add_prediction(object, predicted);
        cJSON_AddStringToObject(object, "bound", bottleneck_names[prediction_bottleneck(predicted)]);
    }
    cJSON_AddItemToArray(cJSON_GetObjectItem(b->report, "network"), object);
    if (failure) cli_warn("%s at %dx%d, batch %d: %s", row->mode, row->height, row->width, row->batch, failure);
    else if (!b->call->json) print_speed(row, b->planned ? predicted : NULL, seconds, utilisation);
    (void)fflush(stdout);
}
