#include "model/network.h"

#include "core/status.h"
#include "ops/conv_winograd.h"
#include "ops/ddim.h"
#include "ops/pointwise.h"

int network_max_channels(const model_sizes *sizes)
{
    const int c0 = sizes->channels[0], c1 = sizes->channels[1], widest = c0 > c1 ? c0 : c1;
    const int feed_forward = 4 * widest, up = 3 * c1 > c0 + c1 ? 3 * c1 : c0 + c1;
    const int n = sizes->block * sizes->block;
    return feed_forward > up ? (feed_forward > n ? feed_forward : n) : up > n ? up : n;
}

static idm_status check_sizes(const model_sizes *z)
{
    const int c0 = z->channels[0], c1 = z->channels[1];
    if (z->steps < 1 || z->steps > STEPS_MAX) return status_fail(IDM_USAGE, "model.steps = %d: 1 to %d are possible", z->steps, STEPS_MAX);
    if (z->block < 4 || z->block % 4 || z->block > 256)
        return status_fail(IDM_USAGE, "sensing.block_size = %d: a multiple of 4 up to 256 is needed", z->block);
    if (c0 < 1 || c1 < 1 || c0 > 8192 || c1 > 8192 || c0 % 4 || c1 % 16)
        return status_fail(IDM_USAGE, "model.channels = %d,%d: multiples of 4 and of 16 up to 8192 are needed", c0, c1);
    if (z->heads < 1 || c0 % z->heads || c1 % z->heads)
        return status_fail(IDM_USAGE, "model.heads = %d does not divide the channels %d,%d", z->heads, c0, c1);
    if (z->groups < 1 || c0 % z->groups || c1 % z->groups)
        return status_fail(IDM_USAGE, "model.groups = %d does not divide the channels %d,%d", z->groups, c0, c1);
    return IDM_OK;
}

static void create_parameters(network *n, const model_sizes *sizes)
{
    parameters *p = &n->parameters;
    n->help = parameters_vector(p, 1, "input_help_scale_factor");
    n->merge = parameters_vector(p, 1, "merge_scale_factor");
    n->alpha = parameters_vector(p, sizes->steps, "alpha");
    for (int s = 0; s < sizes->steps; s++) n->v[s] = parameters_vector(p, 1, "body.%d.v", s);
    unet_create(p, sizes, &n->unet);
}

idm_status network_create(ops *o, const model_sizes *sizes, network *n)
{
    *n = (network){.o = o, .parameters = {.o = o}};
    IDM_TRY(check_sizes(sizes));
    // once dry, so that the slabs are as large as the weights and no larger
    const arena_mark mark = arena_save(o->ctx, POOL_WEIGHTS);
    context_plan_begin(o->ctx);
    create_parameters(n, sizes);
    if (context_device(o->ctx)->device_id) {
        arena_release(o->ctx, POOL_WEIGHTS, mark);
        IDM_TRY(context_plan_commit(o->ctx));
        n->parameters.count = 0;
        create_parameters(n, sizes);
    }
    return context_status(o->ctx);
}

void network_free(network *n)
{
    parameters_free(&n->parameters);
}

// ---- kept layouts

// Where a weight is used.
typedef struct place {
    int level;  // 0: at half the picture's height and width, 1: at a quarter; of what is written
    int stride; // 2: of the downsampler, which reads at level 0 and writes at level 1
} place;

typedef void weight_visitor(network *n, weight *w, place at, void *user);

static void visit_resnet(network *n, resnet *r, place at, weight_visitor *visit, void *user)
{
    visit(n, &r->conv1.w, at, user);
    visit(n, &r->conv2.w, at, user);
    if (r->in != r->out) visit(n, &r->shortcut.w, at, user);
}

static void visit_module(network *n, module *m, place at, weight_visitor *visit, void *user)
{
    if (m->kind == MODULE_RESNET) visit_resnet(n, &m->body.resnet, at, visit, user);
    if (m->kind != MODULE_TRANSFORMER) return;
    transformer *t = &m->body.transformer;
    layer *const layers[] = {&t->proj_in, &t->to_q, &t->to_k, &t->to_v, &t->to_out, &t->ff_proj, &t->ff_out, &t->proj_out};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) visit(n, &layers[i]->w, at, user);
}

static void visit_weights(network *n, weight_visitor *visit, void *user)
{
    static const place levels[] = {{0, 1}, {1, 1}}, downsampler = {1, 2};
    unet *u = &n->unet;
    visit(n, &u->conv_in.w, levels[0], user);
    for (int i = 0; i < 2; i++) {
        down_block *d = &u->down[i];
        if (d->has_first) visit_resnet(n, &d->first, levels[i], visit, user);
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < d->chains[j].count; k++) visit_module(n, &d->chains[j].modules[k], levels[i], visit, user);
        if (d->has_downsampler) visit(n, &d->downsampler.w, downsampler, user);
    }
    for (int i = 0; i < 2; i++) {
        up_block *b = &u->up[i];
        const place at = levels[1 - i];
        visit_resnet(n, &b->first, at, visit, user);
        for (int k = 0; k < b->chain.count; k++) visit_module(n, &b->chain.modules[k], at, visit, user);
        if (b->has_upsampler) visit(n, &b->upsampler.w, levels[0], user);
    }
    visit(n, &u->conv_out.w, levels[0], user);
}

typedef struct keeping {
    int height, width;
    size_t left;      // bytes
    bool backward;    // the backward pass's operands too
    weight_form form; // of the operands that are kept now
} keeping;

static weight_form form_at(const network *n, const keeping *k, const weight *w, int in, int out, int level, int stride)
{
    return w->taps == 9 ? conv_form(n->o, in, out, stride, k->height >> (level + 1), k->width >> (level + 1)) : WEIGHT_TAPS;
}

static void keep(network *n, weight *w, place at, void *user)
{
    keeping *k = user;
    const weight_form form = form_at(n, k, w, w->in, w->out, at.level, at.stride);
    // the gradient with respect to x is as large as x, and a convolution of stride 1
    const weight_form backward_form = form_at(n, k, w, w->out, w->in, at.stride == 2 ? at.level - 1 : at.level, 1);
    const size_t panels = form == k->form ? weight_panels_bytes(n->o, w, form) : 0;
    const size_t transposed = k->backward && backward_form == k->form ? weight_transposed_bytes(n->o, w, backward_form) : 0;
    if (panels && panels <= k->left) {
        weight_keep_panels(n->o, w, form);
        k->left -= panels;
    }
    if (transposed && transposed <= k->left) {
        weight_keep_transposed(n->o, w, backward_form);
        k->left -= transposed;
    }
}

// Winograd's operands come last: for each byte that they take, making them again costs least.
static void keep_all(network *n, keeping k)
{
    for (k.form = WEIGHT_TAPS; k.form <= WEIGHT_WINOGRAD; k.form++) visit_weights(n, keep, &k);
}

static void renew(network *n, weight *w, place at, void *user)
{
    (void)at, (void)user;
    weight_renew(n->o, w);
}

static void forget(network *n, weight *w, place at, void *user)
{
    (void)n, (void)at, (void)user;
    w->panels = w->transposed = NO_TENSOR;
}

void network_keep_layouts(network *n, int height, int width, size_t bytes, bool backward)
{
    const keeping k = {.height = height, .width = width, .left = bytes, .backward = backward};
    network_drop_layouts(n);
    if (context_device(n->o->ctx)->device_id) {
        context_plan_begin(n->o->ctx);
        keep_all(n, k);
        visit_weights(n, forget, NULL);
        arena_release(n->o->ctx, POOL_DERIVED, (arena_mark){0, 0});
        if (context_plan_commit(n->o->ctx) != IDM_OK) return;
    }
    keep_all(n, k);
    n->kept_for.height = height;
    n->kept_for.width = width;
    n->kept_for.backward = backward;
}

bool network_layouts_suit(const network *n, int height, int width)
{
    const int c = n->unet.sizes.channels[1];
    for (int level = 0; level < 2; level++) {
        const int shift = level + 1;
        if (conv_form(n->o, c, c, 1, height >> shift, width >> shift) !=
            conv_form(n->o, c, c, 1, n->kept_for.height >> shift, n->kept_for.width >> shift))
            return n->kept_for.backward;
    }
    return true;
}

void network_renew_layouts(network *n)
{
    visit_weights(n, renew, NULL);
}

void network_drop_layouts(network *n)
{
    visit_weights(n, forget, NULL);
    arena_release(n->o->ctx, POOL_DERIVED, (arena_mark){0, 0});
    arena_free(n->o->ctx, POOL_DERIVED);
}

// ---- forward

typedef struct progress_state {
    context *ctx;
    const network_progress *progress;
    int done, all;
} progress_state;

static void module_done(void *user)
{
    progress_state *state = user;
    if (context_dry(state->ctx) || context_finish(state->ctx) != IDM_OK) return;
    state->progress->report(state->progress->user, (double)++state->done / state->all);
}

static int modules_per_step(const unet *u)
{
    int sum = 0;
    for (int level = 0; level < 2; level++)
        sum += u->down[level].chains[0].count + u->down[level].chains[1].count + u->up[level].chain.count;
    return sum;
}

void network_forward(network *n, const sensing *s, tensor y, tensor out, const network_progress *progress)
{
    ops *o = n->o;
    context *ctx = o->ctx;
    const int steps = n->unet.sizes.steps;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    const tensor back_projection = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, y.n, s->height, s->width, 1);
    const tensor alpha_bar = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, steps + 1);
    tensor x1 = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, y.n, s->height, s->width, 1), x2 = out;
    const tensor latent = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, y.n, s->height / 2, s->width / 2, 4);
    sensing_adjoint(o, s, y, back_projection);
    alpha_bar_forward(o, n->alpha, alpha_bar);
    ddim_start(o, back_projection, alpha_bar, steps, x1);
    scale(o, x1, n->help, x2);

    progress_state state = {.ctx = ctx, .progress = progress, .all = steps * modules_per_step(&n->unet)};
    for (int t = steps; t >= 1; t--) {
        const pass p = {
            .o = o, .s = s, .back_projection = back_projection, .step = t, .after_module = progress ? module_done : NULL, .user = &state};
        pixel_unshuffle(o, x1, 2, latent);
        unet_forward(&p, &n->unet, latent, latent, NULL);
        ddim_step_forward(o, s, x1, latent, alpha_bar, t, back_projection, &(epilogue){.v = n->v[steps - t], .mix = x2}, x2);
        const tensor y1 = x2;
        x2 = x1;
        x1 = y1;
    }
    add_scaled(o, x1, x2, n->merge, out);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}
