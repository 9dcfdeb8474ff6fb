// The training pass: forward with tapes, L1 loss, backward.
#include "model/network.h"

#include "core/status.h"
#include "ops/coupling.h"
#include "ops/ddim.h"
#include "ops/loss.h"
#include "ops/pointwise.h"
#include <math.h>

void network_create_gradients(network *n)
{
    arena_mirror_create(n->o->ctx, POOL_WEIGHTS, POOL_GRADIENTS);
}

// ---- one step of the outer chain. Its images are single planes: they are always kept.

typedef struct training {
    network *n;
    ops *o;
    const sensing *s;
    const network_dial *dial;
    tensor back_projection, alpha_bar, dalpha_bar;
    // streams before step module j and after the last; the noise estimate and the body's result of module j
    tensor x1[STEPS_MAX + 1], x2[STEPS_MAX + 1], e[STEPS_MAX], f[STEPS_MAX];
    unet_tape tapes[STEPS_MAX];
    bool kept[STEPS_MAX];
    arena_mark marks[STEPS_MAX]; // below the tape
} training;

static tensor push_plane(const training *t, tensor like)
{
    return arena_push(t->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, like.n, t->s->height, t->s->width, 1);
}

static tensor push_latent(const training *t, tensor like)
{
    return arena_push(t->o->ctx, POOL_ACTIVATIONS, DTYPE_F32, like.n, t->s->height / 2, t->s->width / 2, 4);
}

static int step_of(const training *t, int j)
{
    return t->n->unet.sizes.steps - j;
}

static pass pass_of(const training *t, int j)
{
    return (pass){.o = t->o,
                  .s = t->s,
                  .back_projection = t->back_projection,
                  .step = step_of(t, j),
                  .recompute = t->dial->recompute,
                  .keep_wide = t->dial->keep_wide};
}

// e[j] from x1[j].
static void estimate(training *t, int j, bool keep)
{
    const pass p = pass_of(t, j);
    t->marks[j] = arena_save(t->o->ctx, POOL_ACTIVATIONS);
    t->kept[j] = keep;
    const tensor latent = push_latent(t, t->x1[j]);
    pixel_unshuffle(t->o, t->x1[j], 2, latent);
    unet_forward(&p, &t->n->unet, latent, t->e[j], keep ? &t->tapes[j] : NULL);
    if (!keep) arena_release(t->o->ctx, POOL_ACTIVATIONS, t->marks[j]);
}

static void forward(training *t, tensor y)
{
    ops *o = t->o;
    const int steps = t->n->unet.sizes.steps;
    sensing_adjoint(o, t->s, y, t->back_projection);
    alpha_bar_forward(o, t->n->alpha, t->alpha_bar);
    ddim_start(o, t->back_projection, t->alpha_bar, steps, t->x1[0]);
    scale(o, t->x1[0], t->n->help, t->x2[0]);
    for (int j = 0; j < steps; j++) {
        estimate(t, j, t->dial->keep_steps || j == steps - 1);
        ddim_step_forward(o, t->s, t->x1[j], t->e[j], t->alpha_bar, step_of(t, j), t->back_projection, &(epilogue){0}, t->f[j]);
        coupling_forward(o, t->f[j], t->x2[j], t->n->v[j], t->x1[j + 1]);
    }
}

// d1, d2: the gradients of module j's results, become those of its inputs, the other way round.
static void step_backward(training *t, int j, tensor d1, tensor d2)
{
    ops *o = t->o;
    const pass p = pass_of(t, j);
    if (!t->kept[j]) estimate(t, j, true);
    coupling_backward(o, t->f[j], t->x2[j], t->n->v[j], d1, t->f[j], d1, parameters_gradient(o, t->n->v[j]));
    const tensor dx = push_plane(t, d1), de = push_latent(t, d1);
    ddim_step_backward(o, t->s, t->x1[j], t->e[j], t->alpha_bar, step_of(t, j), t->back_projection, t->f[j], dx, de, t->dalpha_bar);
    add(o, d2, dx, d2);
    unet_backward(&p, &t->n->unet, &t->tapes[j], de, de);
    pixel_shuffle(o, de, 2, dx);
    add(o, d2, dx, d2);
    arena_release(o->ctx, POOL_ACTIVATIONS, t->marks[j]);
}

// d1: the gradient of out; d2: scratch.
static void backward(training *t, tensor d1, tensor d2)
{
    ops *o = t->o;
    network *n = t->n;
    const int steps = n->unet.sizes.steps;
    dot_add(o, d1, t->x2[steps], parameters_gradient(o, n->merge));
    scale(o, d1, n->merge, d2);
    for (int j = steps - 1; j >= 0; j--) {
        step_backward(t, j, d1, d2);
        const tensor dx1 = d2;
        d2 = d1;
        d1 = dx1;
    }
    dot_add(o, t->x1[0], d2, parameters_gradient(o, n->help));
    add_scaled(o, d1, d2, n->help, d1);
    ddim_start_backward(o, d1, t->back_projection, t->alpha_bar, steps, t->dalpha_bar);
    alpha_bar_backward(o, n->alpha, t->alpha_bar, t->dalpha_bar, parameters_gradient(o, n->alpha));
}

void network_gradient(network *n, const sensing *s, tensor y, tensor x, const network_dial *dial, float share, tensor scale, tensor loss,
                      tensor out)
{
    context *ctx = n->o->ctx;
    const int steps = n->unet.sizes.steps;
    const arena_mark mark = arena_save(ctx, POOL_ACTIVATIONS);
    training t = {.n = n, .o = n->o, .s = s, .dial = dial};
    t.back_projection = push_plane(&t, x);
    t.alpha_bar = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, steps + 1);
    t.dalpha_bar = arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, steps + 1);
    const tensor d1 = push_plane(&t, x), d2 = push_plane(&t, x);
    t.x1[0] = push_plane(&t, x);
    t.x2[0] = push_plane(&t, x);
    for (int j = 0; j < steps; j++) {
        t.e[j] = push_latent(&t, x);
        t.f[j] = push_plane(&t, x);
        t.x1[j + 1] = push_plane(&t, x);
        t.x2[j + 1] = t.x1[j];
    }
    context_fill_zero(ctx, t.dalpha_bar);
    forward(&t, y);
    add_scaled(n->o, t.x1[steps], t.x2[steps], n->merge, out);
    l1_loss(n->o, out, x, share, scale, loss, d1);
    backward(&t, d1, d2);
    arena_release(ctx, POOL_ACTIVATIONS, mark);
}

// ---- chains that cannot be inverted

enum { CHAINS = 6 };

static chain *chain_at(network *n, int b)
{
    return b < 4 ? &n->unet.down[b / 2].chains[b % 2] : &n->unet.up[b - 4].chain;
}

idm_status network_find_small_v(network *n, unsigned *chains)
{
    *chains = 0;
    for (int b = 0; b < CHAINS; b++) {
        const chain *c = chain_at(n, b);
        for (int k = 0; k < c->count; k++) {
            float v;
            IDM_TRY(context_read(n->o->ctx, c->modules[k].v, &v));
            if (!(fabsf(v) >= CHAIN_SMALL_V)) *chains |= 1u << b;
        }
    }
    network_set_small_v(n, *chains);
    return IDM_OK;
}

void network_set_small_v(network *n, unsigned chains)
{
    for (int b = 0; b < CHAINS; b++) chain_at(n, b)->small_v = chains >> b & 1;
}
