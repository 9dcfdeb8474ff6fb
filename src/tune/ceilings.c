#include "tune/ceilings.h"

#include "core/clock.h"
#include "core/status.h"
#include "ops/flat.h"
#include <math.h>

typedef struct probe {
    ops *o;
    tensor x, y, z;
    // of multiply_add
    int rounds, chains, vec;
    size_t items, groups;
    char options[64];
} probe;

// ---- arithmetic

static void shape_arithmetic(probe *p)
{
    const device_info *d = context_device(p->o->ctx);
    if (p->o->table.pointwise == VARIANT_CPU) {
        // vectors as wide as a register; 32 registers where they have 16 floats, else 16
        p->vec = d->native_vector >= 16 ? 16 : d->native_vector >= 8 ? 8 : 4;
        p->chains = p->vec == 16 ? 24 : 12;
        p->items = 1;
        p->groups = 16 * (size_t)d->compute_units;
    } else {
        p->vec = 1;
        p->chains = 16;
        p->items = d->max_work_group < 256 ? d->max_work_group : 256;
        p->groups = 32 * (size_t)d->compute_units;
    }
    (void)snprintf(p->options, sizeof p->options, "-DVEC=%d -DITEMS=%zu -DCHAINS=%d", p->vec, p->items, p->chains);
}

static double arithmetic_flops(const probe *p)
{
    return 2.0 * p->vec * p->chains * p->rounds * (double)(p->items * p->groups);
}

static void run_arithmetic(void *user)
{
    probe *p = user;
    kernel *k = kernel_get(p->o->ctx, "ceiling", "multiply_add", "%s", p->options);
    LAUNCH(p->o->ctx, k, ((work){.groups = {p->groups}, .local = {p->items}}), ((cost){arithmetic_flops(p), 0}), I(p->rounds), F(0.5f),
           T(p->y));
}

// As many rounds as take long beside a launch.
static idm_status measure_arithmetic(probe *p, double seconds, ceilings *c)
{
    static const double long_enough = 3e-3; // and short enough to find a moment without other programs
    enum { ROUNDS_MAX = 1 << 24 };
    const double deadline = clock_seconds() + 2 * seconds + 1;
    shape_arithmetic(p);
    const arena_mark mark = arena_save(p->o->ctx, POOL_ACTIVATIONS);
    p->y = arena_push(p->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, (int)p->groups, (int)p->items);
    p->rounds = 64;
    idm_status status;
    while ((status = stopwatch_measure(p->o->ctx, run_arithmetic, p, 0, deadline, &c->multiply_add)) == IDM_OK &&
           c->multiply_add.least < long_enough && p->rounds < ROUNDS_MAX && !context_dry(p->o->ctx))
        p->rounds *= c->multiply_add.least < long_enough / 8 ? 8 : 2;
    if (status == IDM_OK) status = stopwatch_measure(p->o->ctx, run_arithmetic, p, seconds, deadline, &c->multiply_add);
    c->flops = arithmetic_flops(p) / c->multiply_add.least;
    arena_release(p->o->ctx, POOL_ACTIVATIONS, mark);
    return status;
}

// ---- memory

static void run_copy(void *user)
{
    const probe *p = user;
    const flat_grid g = flat_plan(p->o, tensor_elements(p->x));
    kernel *k = kernel_get(p->o->ctx, "ceiling", "copy", "%s", g.options);
    LAUNCH(p->o->ctx, k, g.w, ((cost){0, 2 * (double)tensor_bytes(p->x)}), I(g.count), T(p->x), T(p->y));
}

static void run_triad(void *user)
{
    const probe *p = user;
    const flat_grid g = flat_plan(p->o, tensor_elements(p->x));
    kernel *k = kernel_get(p->o->ctx, "ceiling", "triad", "%s", g.options);
    LAUNCH(p->o->ctx, k, g.w, ((cost){2.0 * g.count, 3 * (double)tensor_bytes(p->x)}), I(g.count), T(p->x), T(p->z), T(p->y));
}

static tensor as_half(tensor t)
{
    t.type = DTYPE_F16;
    return t;
}

static void run_halve(void *user)
{
    const probe *p = user;
    const tensor x = as_half(p->x), y = as_half(p->y);
    const flat_grid g = flat_plan(p->o, tensor_elements(x));
    kernel *k = kernel_get(p->o->ctx, "ceiling", "halve_half", "%s", g.options);
    LAUNCH(p->o->ctx, k, g.w, ((cost){(double)g.count, 2 * (double)tensor_bytes(x)}), I(g.count), T(x), T(y));
}

// Three arrays of 256 MiB, or what is there.
static int array_values(const ops *o)
{
    const device_info *d = context_device(o->ctx);
    double bytes = fmin((double)(256 << 20), fmin((double)d->max_allocation / 3, (double)d->global_memory / 24));
    return (int)(bytes / sizeof(float)) / 65536 * 65536 + (bytes < 65536 * sizeof(float) ? 65536 : 0);
}

static idm_status measure_memory(probe *p, double seconds, ceilings *c)
{
    context *ctx = p->o->ctx;
    const int values = array_values(p->o);
    const double deadline = clock_seconds() + 2 * seconds + 1, third = seconds / 3;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    tensor *const arrays[] = {&p->x, &p->y, &p->z};
    for (int i = 0; i < 3; i++) {
        *arrays[i] = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, values);
        ceilings_fill(p->o, *arrays[i]);
    }
    idm_status status = stopwatch_measure(ctx, run_copy, p, third, deadline, &c->copy);
    if (status == IDM_OK) status = stopwatch_measure(ctx, run_triad, p, third, deadline, &c->triad);
    context_fill_zero(ctx, p->x); // random bits make halves that are subnormal or not numbers, which some processors take longer for
    if (status == IDM_OK) status = stopwatch_measure(ctx, run_halve, p, third, deadline, &c->halve);
    const double bytes = (double)tensor_bytes(p->x);
    c->bandwidth = fmax(2 * bytes / c->copy.least, 3 * bytes / c->triad.least);
    c->half_bandwidth = 2 * (double)tensor_bytes(as_half(p->x)) / c->halve.least;
    arena_release(ctx, POOL_ACTIVATIONS, mark);
    return status;
}

void ceilings_fill(ops *o, tensor y)
{
    const flat_grid g = flat_plan(o, tensor_elements(y));
    kernel *k = kernel_get(o->ctx, "ceiling", "fill_random", "%s", g.options);
    LAUNCH(o->ctx, k, g.w, ((cost){0, (double)tensor_bytes(y)}), I(g.count), T(y));
}

// ---- launches

static void run_nothing(void *user)
{
    const probe *p = user;
    kernel *k = kernel_get(p->o->ctx, "ceiling", "nothing", "-DVEC=1 -DITEMS=1");
    LAUNCH(p->o->ctx, k, ((work){.groups = {1}}), ((cost){0, 0}), I(0));
}

static void run_nothing_and_wait(void *user)
{
    const probe *p = user;
    run_nothing(user);
    (void)context_finish(p->o->ctx);
}

static idm_status measure_launches(probe *p, double seconds, ceilings *c)
{
    const double deadline = clock_seconds() + 2 * seconds + 1;
    IDM_TRY(stopwatch_measure(p->o->ctx, run_nothing_and_wait, p, seconds / 2, deadline, &c->launch));
    IDM_TRY(stopwatch_measure(p->o->ctx, run_nothing, p, seconds / 2, deadline, &c->queued));
    c->launch_seconds = c->launch.seconds;
    c->queued_seconds = c->queued.seconds;
    return IDM_OK;
}

idm_status ceilings_measure(ops *o, double seconds, ceilings *result)
{
    probe p = {.o = o};
    *result = (ceilings){0};
    ceilings again = {0};
    IDM_TRY(measure_arithmetic(&p, 0.2 * seconds, result));
    IDM_TRY(measure_memory(&p, 0.5 * seconds, result));
    IDM_TRY(measure_launches(&p, 0.1 * seconds, result));
    IDM_TRY(measure_arithmetic(&p, 0.2 * seconds, &again)); // another program may have held a core the first time
    if (again.flops > result->flops) {
        result->flops = again.flops;
        result->multiply_add = again.multiply_add;
    }
    return IDM_OK;
}
