#include "tune/forecast.h"

#include <stdlib.h>
#include <string.h>

// One measure for kernels that compute and those that move: as the launcher has it.
static double work_of(cost c)
{
    return c.flops + 4 * c.bytes;
}

// The kernel's row, which may be new; null, and f->failed: no memory. Kernels of one name that differ in their options share a row: another
// size may choose other options.
static forecast_row *row_of(forecast *f, const char *kernel)
{
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->rows[i].kernel, kernel) == 0) return &f->rows[i];
    forecast_row *grown = realloc(f->rows, (f->count + 1) * sizeof *grown);
    if (!grown) {
        f->failed = true;
        return NULL;
    }
    f->rows = grown;
    grown[f->count] = (forecast_row){.kernel = kernel};
    return &grown[f->count++];
}

typedef struct visit {
    forecast *f;
    double factor; // of what is added
    double flops;  // of all rows
} visit;

static void add_planned(void *user, const char *kernel, cost counted)
{
    visit *v = user;
    forecast_row *row = row_of(v->f, kernel);
    v->flops += counted.flops;
    if (row) row->planned += v->factor * work_of(counted);
}

void forecast_plan(forecast *f, const context *ctx, double runs)
{
    visit v = {.f = f, .factor = runs};
    context_cost_visit(ctx, add_planned, &v);
    f->planned_flops += runs * (context_cost(ctx).flops - v.flops);
    f->runs += runs;
}

static void add_measured(void *user, const char *kernel, long launches, double seconds, cost total, double longest_launch_seconds)
{
    (void)launches, (void)longest_launch_seconds;
    visit *v = user;
    forecast_row *row = row_of(v->f, kernel);
    if (!row) return;
    row->measured += v->factor * work_of(total);
    row->seconds += v->factor * seconds;
}

static void add_counted(void *user, const char *kernel, cost counted)
{
    visit *v = user;
    (void)kernel;
    v->flops += counted.flops;
}

void forecast_measure_begin(forecast *f, context *ctx)
{
    for (size_t i = 0; i < f->count; i++) f->rows[i].measured = f->rows[i].seconds = 0;
    visit v = {.f = f, .factor = -1};
    context_profile_visit(ctx, add_measured, &v);
    context_reset_cost(ctx);
}

void forecast_measure_end(forecast *f, context *ctx, double wall_seconds)
{
    visit v = {.f = f, .factor = 1};
    context_profile_visit(ctx, add_measured, &v);
    context_cost_visit(ctx, add_counted, &v);
    f->measured_flops = context_cost(ctx).flops - v.flops;
    f->wall_seconds = wall_seconds;
}

double forecast_seconds(const forecast *f)
{
    double seconds = 0, measured = 0, measured_seconds = 0, unknown = 0;
    for (size_t i = 0; i < f->count; i++) {
        const forecast_row *r = &f->rows[i];
        if (r->measured > 0) seconds += r->planned * r->seconds / r->measured;
        else unknown += r->planned;
        measured += r->measured;
        measured_seconds += r->seconds;
    }
    if (measured > 0) seconds += unknown * measured_seconds / measured;
    // what kernels of ours do not account for: CLBlast's, which grows with its work, else launching, about the same for any size
    const double rest = f->wall_seconds > measured_seconds ? f->wall_seconds - measured_seconds : 0;
    return seconds + rest * (f->measured_flops > 0 ? f->planned_flops / f->measured_flops : f->runs);
}

void forecast_free(forecast *f)
{
    free(f->rows);
    *f = (forecast){0};
}
