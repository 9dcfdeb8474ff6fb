#include "tune/prediction.h"

#include <math.h>
#include <string.h>

const char *const bottleneck_names[BOTTLENECKS] = {
    [BOUND_ARITHMETIC] = "arithmetic",
    [BOUND_INSTRUCTIONS] = "instructions",
    [BOUND_LOCAL_MEMORY] = "local memory",
    [BOUND_SPECIAL] = "exp2",
    [BOUND_CACHE] = "cache",
    [BOUND_MEMORY] = "memory",
    [BOUND_LATENCY] = "latency",
    [BOUND_LAUNCH] = "launches",
};

// What the model does not know, and takes for the middle one.
typedef struct doubts {
    double overlap;      // of the pipes that are not the busiest: 1 wholly, 0 not at all; -1: as the number of teams says
    double local_bytes;  // loads of 16 bytes by items that read the same may take half
    double latency;      // of data sheets' and others' measurements
    double memory_share; // of the peak bandwidth that streams reach
    double clock;        // against the data sheet's boost clock, under full load
} doubts;
static const doubts middle = {-1, 1, 1, 0.85, 1}, hopeful = {1, 0.5, 0.6, 0.92, 1}, fearful = {0, 1, 1.4, 0.75, 0.85};

static const double BARRIER_CYCLES = 20;

// Cycles of one group.
typedef struct group_cycles {
    double pipes[4]; // arithmetic or issue, matrix, special, local
    double alone;
    bool issue_bound; // pipes[0] is the issue of instructions, not the multiply-adds
} group_cycles;

static group_cycles cycles_of(const roofline_device *d, const modelled_launch *l, const doubts *doubt)
{
    const instruction_mix *m = &l->report.mix;
    const double items = l->report.items, per_item = l->products / (l->groups * items); // products, or matrix instructions
    const double each = m->matrix ? per_item / m->matrix : per_item;
    const double arithmetic = m->matrix ? 0 : each * items / d->lanes, issue = each * items * (1 + m->other) / d->issue_lanes;
    const double team_issue = each * (1 + m->other) * d->team * d->schedulers / d->issue_lanes;
    const double waits = m->rounds * d->global_latency + m->waits * d->local_latency + m->barriers * BARRIER_CYCLES;
    return (group_cycles){.pipes = {fmax(arithmetic, issue), m->matrix && d->matrix > 0 ? per_item * items / d->matrix : 0,
                                    each * items * m->special / d->special_lanes,
                                    each * items * m->local_bytes * doubt->local_bytes / d->local_bytes},
                          .alone = team_issue + doubt->latency * each * waits,
                          .issue_bound = issue > 1.02 * arithmetic};
}

static bottleneck busiest(const group_cycles *g)
{
    static const bottleneck names[] = {BOUND_ARITHMETIC, BOUND_ARITHMETIC, BOUND_SPECIAL, BOUND_LOCAL_MEMORY};
    int best = 0;
    for (int i = 1; i < 4; i++)
        if (g->pipes[i] > g->pipes[best]) best = i;
    return best == 0 && g->issue_bound ? BOUND_INSTRUCTIONS : names[best];
}

// Of so many groups on one unit at once.
static double unit_cycles(const roofline_device *d, const modelled_launch *l, const group_cycles *g, double groups, const doubts *doubt,
                          bool *waiting)
{
    double most = 0, sum = 0;
    for (int i = 0; i < 4; i++) {
        most = fmax(most, g->pipes[i]);
        sum += g->pipes[i];
    }
    const double teams = groups * ceil(l->report.items / (double)d->team) / d->schedulers;
    const double apart = doubt->overlap < 0 ? 1 / fmax(teams, 1) : 1 - doubt->overlap;
    const double busy = groups * (most + apart * (sum - most));
    *waiting = g->alone > busy;
    return fmax(busy, g->alone);
}

static double execution_seconds(const roofline_device *d, const modelled_launch *l, const doubts *doubt, bottleneck *bound)
{
    static const double WHOLE_PERCENT = 0.0099; // reports leave out what is below
    const double resident = fmax(floor((l->report.resident + WHOLE_PERCENT) * d->items_most / l->report.items), 1);
    const group_cycles g = cycles_of(d, l, doubt);
    const double waves = floor(l->groups / (resident * d->units)), rest = l->groups - waves * resident * d->units;
    bool waiting = false, last_waiting = false;
    const double full = waves > 0 ? waves * unit_cycles(d, l, &g, resident, doubt, &waiting) : 0;
    const double last = rest > 0 ? unit_cycles(d, l, &g, ceil(rest / d->units), doubt, &last_waiting) : 0;
    // units that idle while the last groups run are a latency, too
    *bound = (last > full ? last_waiting || rest < 0.5 * d->units : waiting) ? BOUND_LATENCY : busiest(&g);
    return (full + last) / (doubt->clock * d->clock_mhz * 1e6);
}

// Of a launch whose kernel only moves bytes: enough of them have to be on their way at once (Little's law).
static double memory_seconds(const roofline_device *d, double bytes, double items, const doubts *doubt, bottleneck *bound)
{
    static const double BYTES_OF_ITEM = 16, LATENCY_SECONDS = 600e-9; // a vector of floats; of memory, beyond caches
    const double on_way = fmin(items, 0.66 * d->units * d->items_most) * BYTES_OF_ITEM;
    const double by_latency = on_way / (LATENCY_SECONDS * doubt->latency), by_bandwidth = d->bandwidth * doubt->memory_share;
    *bound = by_latency < by_bandwidth ? BOUND_LATENCY : BOUND_MEMORY;
    return bytes / fmin(by_latency, by_bandwidth);
}

static double launch_seconds(const roofline_device *d, const modelled_launch *l, const doubts *doubt, bottleneck *bound)
{
    bottleneck by_memory;
    const double items = l->groups * fmax(l->report.items, 1);
    const bool product = l->products > 0 && l->report.resident > 0;
    double seconds = memory_seconds(d, l->bytes, items, doubt, &by_memory);
    *bound = by_memory;
    if (product) {
        bottleneck inside;
        const double execution = execution_seconds(d, l, doubt, &inside);
        const double each = l->report.mix.matrix ? l->products / l->report.mix.matrix : l->products;
        const double cache = each * l->report.mix.global_bytes / d->cache_bandwidth;
        if (fmax(execution, cache) > seconds) *bound = cache > execution ? BOUND_CACHE : inside;
        seconds = fmax(seconds, fmax(execution, cache));
    } else if (l->products > 0) { // some arithmetic that no report describes: at half the peak
        const double arithmetic = l->products / (0.5 * d->flops / 2);
        if (arithmetic > seconds) *bound = BOUND_ARITHMETIC;
        seconds = fmax(seconds, arithmetic);
    }
    if (seconds < d->launch_seconds) *bound = BOUND_LAUNCH;
    return seconds + d->launch_seconds;
}

prediction prediction_of_launch(const roofline_device *device, const modelled_launch *l)
{
    bottleneck bound, unused;
    const double seconds = launch_seconds(device, l, &middle, &bound);
    prediction p = {
        .seconds = seconds, .least = launch_seconds(device, l, &hopeful, &unused), .most = launch_seconds(device, l, &fearful, &unused)};
    p.by[bound] = seconds;
    return p;
}

static void add(prediction *sum, const prediction *p, double times)
{
    sum->seconds += times * p->seconds;
    sum->least += times * p->least;
    sum->most += times * p->most;
    for (int i = 0; i < BOTTLENECKS; i++) sum->by[i] += times * p->by[i];
    sum->unreported += times * p->unreported;
    sum->inexact += times * p->inexact;
    sum->library += times * p->library;
}

typedef struct visit {
    const roofline_device *device;
    prediction sum;
    cost counted;
} visit;

static void add_launch(void *user, const planned_launch *planned)
{
    static const double FLOPS_OF_PRODUCT = 16; // per byte: more than what only moves data does
    visit *v = user;
    const work *w = &planned->w;
    modelled_launch l = {.groups = (double)w->groups[0] * (double)w->groups[1] * (double)w->groups[2],
                         .products = 0.5 * planned->each.flops * (w->padding > 0 ? w->padding : 1),
                         .bytes = planned->each.bytes};
    const bool found = kernel_report_find(planned->file, planned->name, planned->options, v->device->target, &l.report);
    const double items = (double)w->local[0] * (double)w->local[1] * (double)w->local[2];
    l.report.items = (int)items;
    prediction p = prediction_of_launch(v->device, &l);
    if (!found && planned->each.flops > FLOPS_OF_PRODUCT * planned->each.bytes) p.unreported = p.seconds;
    if (found && !(l.report.resident > 0)) p.unreported = p.seconds;
    if (found && !l.report.exact) p.inexact = p.seconds;
    add(&v->sum, &p, (double)planned->count);
    v->counted.flops += (double)planned->count * planned->each.flops;
    v->counted.bytes += (double)planned->count * planned->each.bytes;
}

prediction prediction_of_context(const context *ctx, const roofline_device *device)
{
    visit v = {.device = device};
    planned_visit(ctx, add_launch, &v);
    const cost all = context_cost(ctx); // what no kernel of ours did: CLBlast's products, copies
    const modelled_launch rest = {
        .groups = 1e6, .products = 0.5 * fmax(all.flops - v.counted.flops, 0), .bytes = fmax(all.bytes - v.counted.bytes, 0)};
    prediction p = prediction_of_launch(device, &rest);
    if (rest.products > 0) p.library = p.seconds;
    if (rest.products > 0 || rest.bytes > 0) add(&v.sum, &p, 1);
    return v.sum;
}

bottleneck prediction_bottleneck(const prediction *p)
{
    int best = 0;
    for (int i = 1; i < BOTTLENECKS; i++)
        if (p->by[i] > p->by[best]) best = i;
    return (bottleneck)best;
}
