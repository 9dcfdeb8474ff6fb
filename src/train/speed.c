#include "train/speed.h"

#include "core/status.h"
#include "tune/energy.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// What both kinds of run need: a random batch, its measurements, room for what comes out.
typedef struct speed_work {
    idm_session *session;
    trainer *trainer;
    idm_operator op;
    int batch;
    float *x, *y, *out;
    idm_status status; // of the first run that failed
    int runs;
    energy energy;
    double joules; // when the warm-up was over
} speed_work;

static void free_work(speed_work *w)
{
    idm_operator_free(&w->op);
    trainer_free(w->trainer);
    free(w->x);
    free(w->y);
    free(w->out);
}

static idm_status make_work(speed_work *w, int side, int batch)
{
    const size_t values = (size_t)batch * (size_t)side * (size_t)side;
    w->batch = batch;
    IDM_TRY(idm_session_operator(w->session, side, side, "bench", &w->op));
    w->x = malloc(values * sizeof *w->x);
    w->y = malloc(values * sizeof *w->y); // never more measurements than pixels
    w->out = malloc(values * sizeof *w->out);
    if (!w->x || !w->y || !w->out) return status_fail(IDM_FAILED, "out of memory");
    for (size_t i = 0; i < values; i++) w->x[i] = (float)((uint32_t)i * 2654435761u >> 8) / 16777216.0f;
    idm_measure(&w->op, w->x, batch, w->y);
    return IDM_OK;
}

static void count_run(speed_work *w)
{
    if (w->runs++ == 0) energy_begin(&w->energy, context_device(session_context(w->session)), "/sys");
    if (w->runs == 2) w->joules = energy_joules(&w->energy);
}

static void run_forward(void *user)
{
    speed_work *w = user;
    count_run(w);
    if (w->status == IDM_OK) w->status = idm_session_reconstruct(w->session, &w->op, w->y, w->batch, w->out, NULL, NULL);
}

static void run_step(void *user)
{
    speed_work *w = user;
    count_run(w);
    trainer_step(w->trainer, w->x, NULL, w->op.perm, 0);
}

static idm_status measure(speed_work *w, void (*run)(void *user), double seconds, double deadline, speed *result)
{
    const idm_status status = stopwatch_measure(session_context(w->session), run, w, seconds, deadline, &result->time);
    result->joules = w->runs > 1 ? (energy_joules(&w->energy) - w->joules) / (w->runs - 1) : NAN;
    return w->status != IDM_OK ? w->status : status;
}

static bool only_plans(idm_session *session)
{
    return !context_device(session_context(session))->device_id;
}

idm_status speed_forward(idm_session *session, int side, double seconds, double deadline, speed *result)
{
    speed_work w = {.session = session};
    size_t bytes;
    *result = (speed){.mode = "forward", .height = side, .width = side, .batch = 1, .joules = NAN};
    IDM_TRY(idm_session_plan(session, side, side, 1, &bytes, &result->flops));
    result->bytes = context_cost(session_context(session)).bytes;
    result->model_flops = result->flops;
    if (only_plans(session)) return IDM_OK;
    idm_status status = make_work(&w, side, 1);
    if (status == IDM_OK) status = measure(&w, run_forward, seconds, deadline, result);
    free_work(&w);
    return status;
}

idm_status speed_train(idm_session *session, const trainer_options *options, double seconds, double deadline, speed *result)
{
    speed_work w = {.session = session};
    bool changed;
    *result = (speed){.mode = "train", .height = options->height, .width = options->width, .batch = options->batch, .joules = NAN};
    IDM_TRY(trainer_create(session, options, NULL, &changed, &w.trainer));
    const training_plan *plan = trainer_plan(w.trainer);
    result->flops = plan->flops;
    result->bytes = plan->bytes;
    result->model_flops = 3 * plan->forward_flops;
    training_plan_text(plan, result->plan, sizeof result->plan);
    idm_status status = IDM_OK;
    if (!only_plans(session)) {
        status = make_work(&w, options->height, options->batch);
        if (status == IDM_OK) status = measure(&w, run_step, seconds, deadline, result);
    }
    free_work(&w);
    return status;
}
