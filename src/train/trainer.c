#include "train/trainer.h"

#include "core/status.h"
#include "ops/pointwise.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct trainer {
    idm_session *session;
    session_parts in;
    context *ctx;
    trainer_options options;
    adam_settings adam;
    training_plan plan;
    bool planning; // the session only plans
    // What lives across steps, in POOL_OPERATOR from `fixed` on: the operator; the batch, its measurements and what came out; one value;
    // Adam's.
    arena_mark fixed;
    sensing a;
    tensor x, y, out, loss, state;
};

// ---- an iteration

static int batch_rows(const trainer *t)
{
    const int n = t->in.sizes.block * t->in.sizes.block;
    return t->options.height * t->options.width / n;
}

// Samples [first, first + count).
static tensor samples(tensor all, int first, int count)
{
    all.offset += (size_t)first * (tensor_bytes(all) / (size_t)all.n);
    all.n = count;
    return all;
}

static void push_fixed(trainer *t)
{
    const trainer_options *o = &t->options;
    context *ctx = t->ctx;
    t->fixed = arena_save(ctx, POOL_OPERATOR);
    sensing_create(t->in.o, o->phi, t->in.sizes.block * t->in.sizes.block, o->measurements, NULL, o->height, o->width, &t->a);
    t->x = arena_push(ctx, POOL_OPERATOR, DTYPE_F32, o->batch, o->height, o->width, 1);
    t->out = arena_push(ctx, POOL_OPERATOR, DTYPE_F32, o->batch, o->height, o->width, 1);
    t->y = arena_push(ctx, POOL_OPERATOR, DTYPE_F32, o->batch, 1, batch_rows(t), o->measurements);
    t->loss = arena_push(ctx, POOL_OPERATOR, DTYPE_F32, 1, 1, 1, 1);
    t->state = adam_push_state(t->in.o, POOL_OPERATOR);
}

// Gradients, and what Adam keeps of each parameter.
static const pool MIRRORS[] = {POOL_GRADIENTS, POOL_MOMENT1, POOL_MOMENT2, POOL_EMA};

static int mirror_count(const trainer *t)
{
    return !t->options.optimiser ? 1 : t->options.ema > 0 ? 4 : 3;
}

static void push_mirrors(trainer *t)
{
    for (int i = 0; i < mirror_count(t); i++) arena_mirror_create(t->ctx, POOL_WEIGHTS, MIRRORS[i]);
}

static void micro_batch(trainer *t, const training_plan *p, int first, int count)
{
    const float share = 1.0f / ((float)t->options.batch * (float)t->options.height * (float)t->options.width);
    network_gradient(t->in.net, &t->a, samples(t->y, first, count), samples(t->x, first, count), &p->dial, share, adam_scale(t->state),
                     t->loss, samples(t->out, first, count));
}

static void optimise(trainer *t, double learning_rate)
{
    ops *o = t->in.o;
    context *ctx = t->ctx;
    const int slabs = arena_slabs(ctx, POOL_WEIGHTS);
    for (int i = 0; i < slabs; i++) adam_begin(o, arena_slab(ctx, POOL_GRADIENTS, i), t->state);
    adam_prepare(o, &t->adam, learning_rate, t->state);
    for (int i = 0; i < slabs; i++)
        adam_update(o, &t->adam, t->state, arena_slab(ctx, POOL_GRADIENTS, i), arena_slab(ctx, POOL_WEIGHTS, i),
                    arena_slab(ctx, POOL_MOMENT1, i), arena_slab(ctx, POOL_MOMENT2, i),
                    t->options.ema > 0 ? arena_slab(ctx, POOL_EMA, i) : NO_TENSOR);
    adam_end(o, &t->adam, t->state);
}

typedef struct step_input {
    const float *x, *y; // y null: it is made of x
    const int32_t *perm;
    double learning_rate;
} step_input;

dtype trainer_storage(idm_precision precision)
{
    static const dtype storage[] = {[IDM_PRECISION_FP32] = DTYPE_F32, [IDM_PRECISION_HALF] = DTYPE_F16, [IDM_PRECISION_BF16] = DTYPE_BF16};
    return storage[precision];
}

// One iteration, or in a plan (nothing in the input is read) its launches and memory.
static void iteration(trainer *t, const training_plan *p, const step_input *in)
{
    const int batch = t->options.batch, slabs = arena_slabs(t->ctx, POOL_GRADIENTS);
    t->in.o->attention_two_pass = p->two_pass;
    t->in.o->storage = trainer_storage(t->options.precision);
    context_upload(t->ctx, t->x, in->x);
    sensing_update(t->in.o, &t->a, in->perm);
    if (in->y) context_upload(t->ctx, t->y, in->y);
    else sensing_forward(t->in.o, &t->a, t->x, t->y);
    for (int i = 0; i < slabs; i++) context_fill_zero(t->ctx, arena_slab(t->ctx, POOL_GRADIENTS, i));
    for (int first = 0; first < batch; first += p->micro_batch)
        micro_batch(t, p, first, p->micro_batch < batch - first ? p->micro_batch : batch - first);
    t->in.o->storage = DTYPE_F32; // reconstructions
    if (t->options.optimiser) optimise(t, in->learning_rate);
    if (t->options.optimiser && p->keep_layouts) network_renew_layouts(t->in.net);
    context_step_end(t->ctx);
}

// ---- planning

static void release_all(trainer *t)
{
    arena_release(t->ctx, POOL_OPERATOR, t->fixed);
    for (int i = 0; i < mirror_count(t); i++) arena_release(t->ctx, MIRRORS[i], (arena_mark){0, 0});
}

// What the plan so far takes.
static void take_peaks(const trainer *t, training_plan *p)
{
    p->staging = context_staging_bytes(t->ctx);
    p->peak = CONTEXT_BYTES + p->staging;
    for (int i = 0; i < POOL_COUNT; i++) {
        p->pools[i] = arena_peak(t->ctx, (pool)i);
        p->peak += p->pools[i];
    }
}

// In a plan: all pushes and launches of an iteration; costs and memory go to p.
static void plan_iteration(trainer *t, training_plan *p)
{
    push_mirrors(t);
    push_fixed(t);
    context_reset_cost(t->ctx);
    iteration(t, p, &(step_input){0});
    p->flops = context_cost(t->ctx).flops;
    p->bytes = context_cost(t->ctx).bytes;
    take_peaks(t, p);
    release_all(t);
}

static idm_status measure_plan(trainer *t, training_plan *p)
{
    context_plan_begin(t->ctx);
    plan_iteration(t, p);
    if (!t->planning) context_set_dry(t->ctx, false);
    return context_status(t->ctx);
}

// Of a forward pass of the batch, which does not depend on the plan.
static double forward_flops(trainer *t)
{
    context_plan_begin(t->ctx);
    push_fixed(t);
    context_reset_cost(t->ctx);
    network_forward(t->in.net, &t->a, samples(t->y, 0, 1), samples(t->out, 0, 1), NULL);
    arena_release(t->ctx, POOL_OPERATOR, t->fixed);
    if (!t->planning) context_set_dry(t->ctx, false);
    return context_cost(t->ctx).flops * t->options.batch;
}

// In the order of the work they cost (forward passes an iteration at the published sizes, from 3.3 to 5.1).
static const struct {
    network_dial dial;
    bool two_pass;
} DIALS[] = {
    {{IDM_RECOMPUTE_NONE, true, true}, false},    {{IDM_RECOMPUTE_NONE, false, true}, false},
    {{IDM_RECOMPUTE_NONE, true, false}, false},   {{IDM_RECOMPUTE_NONE, false, false}, false},
    {{IDM_RECOMPUTE_BLOCKS, true, true}, false},  {{IDM_RECOMPUTE_BLOCKS, false, true}, false},
    {{IDM_RECOMPUTE_INVERT, true, true}, false},  {{IDM_RECOMPUTE_INVERT, false, true}, false},
    {{IDM_RECOMPUTE_BLOCKS, true, false}, false}, {{IDM_RECOMPUTE_BLOCKS, false, false}, false},
    {{IDM_RECOMPUTE_INVERT, true, false}, false}, {{IDM_RECOMPUTE_INVERT, false, false}, false},
    {{IDM_RECOMPUTE_INVERT, false, false}, true},
};
enum { DIAL_COUNT = sizeof DIALS / sizeof *DIALS };

// Whether the caller's wishes allow it.
static bool allowed(const trainer *t, int i, const training_plan *wanted)
{
    const network_dial *d = &DIALS[i].dial;
    const idm_recompute asked = t->options.recompute;
    if (wanted)
        return (d->recompute == IDM_RECOMPUTE_INVERT) == (wanted->dial.recompute == IDM_RECOMPUTE_INVERT) &&
               DIALS[i].two_pass == wanted->two_pass;
    if (asked == IDM_RECOMPUTE_AUTO) return true;
    // to ask for inversion is to ask for the least memory
    return d->recompute == asked && (asked != IDM_RECOMPUTE_INVERT || (!d->keep_steps && !d->keep_wide && !DIALS[i].two_pass));
}

typedef struct search {
    training_plan best;
    bool found;
    size_t least; // peak of the smallest plan seen
} search;

static idm_status try_plan(trainer *t, int i, int micro_batch, search *s, bool *fits)
{
    training_plan p = {.dial = DIALS[i].dial, .two_pass = DIALS[i].two_pass, .micro_batch = micro_batch};
    IDM_TRY(measure_plan(t, &p));
    if (!s->least || p.peak < s->least) s->least = p.peak;
    *fits = p.peak <= t->in.budget;
    if (!*fits) return IDM_OK;
    s->best = p;
    s->found = true;
    return IDM_OK;
}

// The first dial that fits, with the largest micro-batch that still does.
static idm_status search_plans(trainer *t, const training_plan *wanted, search *s)
{
    const int batch = t->options.batch, given = wanted ? wanted->micro_batch : t->options.micro_batch;
    for (int i = 0; i < DIAL_COUNT && !s->found; i++) {
        if (!allowed(t, i, wanted)) continue;
        bool fits;
        IDM_TRY(try_plan(t, i, given ? given : 1, s, &fits));
        for (int micro = batch; fits && !given && micro > 1; micro = (micro + 1) / 2) {
            bool larger;
            IDM_TRY(try_plan(t, i, micro, s, &larger));
            if (larger) break;
        }
    }
    return IDM_OK;
}

static idm_status choose_plan(trainer *t, const training_plan *wanted, bool *changed)
{
    search s = {0};
    *changed = false;
    if (wanted) {
        IDM_TRY(search_plans(t, wanted, &s));
        *changed = !s.found;
    }
    if (!s.found) IDM_TRY(search_plans(t, NULL, &s));
    const unsigned small_v = t->plan.small_v;
    t->plan = s.best;
    t->plan.small_v = small_v;
    t->plan.forward_flops = forward_flops(t);
    if (s.found) return IDM_OK;
    return status_fail(IDM_FAILED,
                       "training %d x %d pixels needs at least %.2f GiB of device memory this way, the budget on '%s' is %.2f GiB; use "
                       "smaller patches, memory.recompute = invert, memory.micro_batch = 1, or raise memory.budget",
                       t->options.height, t->options.width, (double)s.least / 1073741824, context_device(t->ctx)->name,
                       (double)t->in.budget / 1073741824);
}

const char *training_plan_mode(const training_plan *p)
{
    static const char *const names[] = {
        [IDM_RECOMPUTE_AUTO] = "auto", [IDM_RECOMPUTE_NONE] = "none", [IDM_RECOMPUTE_BLOCKS] = "blocks", [IDM_RECOMPUTE_INVERT] = "invert"};
    return names[p->dial.recompute];
}

void training_plan_text(const training_plan *p, char *out, size_t size)
{
    (void)snprintf(out, size, "recompute %s%s%s, micro-batch %d%s", training_plan_mode(p), p->dial.keep_steps ? "" : ", steps one by one",
                   p->dial.keep_wide ? "" : ", feed-forward in chunks", p->micro_batch,
                   p->two_pass ? ", attention backward in two passes" : "");
}

// ---- laying out

// Layouts are kept where memory is plenty: the plan without any recomputation fits.
static idm_status keep_layouts(trainer *t)
{
    training_plan *p = &t->plan;
    p->keep_layouts = p->dial.recompute == IDM_RECOMPUTE_NONE;
    if (!p->keep_layouts) return IDM_OK;
    network_keep_layouts(t->in.net, t->options.height, t->options.width, t->in.budget - p->peak, t->options.optimiser);
    return context_status(t->ctx);
}

static void fill_new_tensors(trainer *t)
{
    const trainer_state start = {.adam = adam_initial_state(t->adam.scaling)};
    for (int i = 0; i < arena_slabs(t->ctx, POOL_WEIGHTS) && t->options.ema > 0 && t->options.optimiser; i++)
        context_copy(t->ctx, arena_slab(t->ctx, POOL_WEIGHTS, i), arena_slab(t->ctx, POOL_EMA, i));
    trainer_write(t, &start);
}

// All memory, in slabs exactly as large as the plan; what must survive is made once, here.
static idm_status lay_out(trainer *t)
{
    IDM_TRY(keep_layouts(t));
    context_plan_begin(t->ctx);
    plan_iteration(t, &t->plan);
    if (t->planning) return context_status(t->ctx);
    IDM_TRY(context_plan_commit(t->ctx));
    push_mirrors(t);
    push_fixed(t);
    fill_new_tensors(t);
    return context_status(t->ctx);
}

idm_status trainer_create(idm_session *session, const trainer_options *options, const training_plan *wanted, bool *changed,
                          trainer **result)
{
    *result = NULL;
    trainer *t = calloc(1, sizeof *t);
    if (!t) return status_fail(IDM_FAILED, "out of memory");
    *t = (trainer){.session = session, .in = session_insides(session), .ctx = session_context(session), .options = *options};
    if (!options->phi) {
        t->options.phi = t->in.phi;
        t->options.measurements = t->in.measurements;
    }
    t->planning = !context_device(t->ctx)->device_id;
    t->adam = adam_defaults();
    t->adam.clip = options->clip;
    t->adam.decay = options->ema;
    t->adam.scaling = options->precision == IDM_PRECISION_HALF;
    session_forget_plan(session);
    idm_status status = IDM_OK;
    if (wanted) network_set_small_v(t->in.net, t->plan.small_v = wanted->small_v);
    else if (!t->planning) status = network_find_small_v(t->in.net, &t->plan.small_v);
    if (status == IDM_OK) status = choose_plan(t, wanted, changed);
    if (status == IDM_OK) status = lay_out(t);
    if (status == IDM_OK) *result = t;
    else trainer_free(t);
    return status;
}

void trainer_free(trainer *t)
{
    free(t); // its memory is the context's
}

const training_plan *trainer_plan(const trainer *t)
{
    return &t->plan;
}

idm_status trainer_prepare(trainer *t)
{
    session_forget_plan(t->session);
    if (!t->plan.keep_layouts) network_drop_layouts(t->in.net);
    else if (arena_held(t->ctx, POOL_DERIVED) == 0) IDM_TRY(keep_layouts(t));
    context_plan_begin(t->ctx);
    iteration(t, &t->plan, &(step_input){0});
    return context_plan_commit(t->ctx);
}

idm_status trainer_watch_v(trainer *t, bool *changed)
{
    const unsigned before = t->plan.small_v;
    *changed = false;
    if (t->plan.dial.recompute != IDM_RECOMPUTE_INVERT) return IDM_OK;
    IDM_TRY(network_find_small_v(t->in.net, &t->plan.small_v));
    *changed = t->plan.small_v != before;
    return *changed ? trainer_prepare(t) : IDM_OK;
}

void trainer_swap_average(trainer *t)
{
    arena_swap(t->ctx, POOL_WEIGHTS, POOL_EMA);
    network_renew_layouts(t->in.net);
}

// ---- running

void trainer_step(trainer *t, const float *x, const float *y, const int32_t *perm, double learning_rate)
{
    iteration(t, &t->plan, &(step_input){x, y, perm, learning_rate});
}

idm_status trainer_read(trainer *t, trainer_state *state)
{
    IDM_TRY(context_read(t->ctx, t->loss, &state->loss));
    return context_read(t->ctx, t->state, &state->adam);
}

void trainer_write(trainer *t, const trainer_state *state)
{
    context_write(t->ctx, t->loss, &state->loss);
    context_write(t->ctx, t->state, &state->adam);
}

idm_status trainer_output(trainer *t, float *out)
{
    return context_read(t->ctx, t->out, out);
}
