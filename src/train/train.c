// The run: opening, the loop over steps, and what happens between them.
#include "train/train.h"

#include "core/clock.h"
#include "core/files.h"
#include "core/status.h"
#include "train/checkpoint_files.h"
#include "train/dataset.h"
#include "train/run.h"
#include "train/schedule.h"
#include "train/snapshot.h"
#include "train/validate.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    WATCH_EVERY = 100,  // steps between two looks at every v
    SKIPPED_MOST = 200, // steps in a row without a finite gradient that end the run
    PICTURES = 4,       // of a validation that are kept
};

typedef struct training {
    idm_config config;
    const train_listener *listener;
    train_result *result;
    run *run;
    idm_session *session;
    trainer *trainer;
    dataset *data;
    snapshot snapshot;
    schedule_interval save_every;
    training_state state;
    bool stopping;
    double ticked, saved, logged; // on the clock: state.seconds are counted to there; the last checkpoint; the last log line
    uint64_t logged_step;
} training;

static void say(void *user, bool warning, const char *text)
{
    const training *t = user;
    if (t->listener->say) t->listener->say(t->listener->user, warning, text);
}

static void warn(void *user, const char *text)
{
    say(user, true, text);
}

static void say_format(training *t, bool warning, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say_format(training *t, bool warning, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    say(t, warning, text);
}

static warning_sink sink(training *t)
{
    return (warning_sink){warn, t};
}

// ---- opening

// What shapes the bits, as a checkpoint keeps it.
static void describe_plan(training *t)
{
    const training_plan *p = trainer_plan(t->trainer);
    const device_info *d = context_device(session_context(t->session));
    training_state *s = &t->state;
    s->micro_batch = p->micro_batch;
    s->anchors = CHAIN_ANCHOR_EVERY;
    s->compute_units = (int)d->compute_units;
    s->slab_bytes = d->max_allocation;
    (void)snprintf(s->recompute, sizeof s->recompute, "%s passes=%d kept_chains=%x", training_plan_mode(p), p->two_pass ? 2 : 1,
                   p->small_v);
    session_describe(t->session, s->variants, sizeof s->variants);
    (void)snprintf(s->device, sizeof s->device, "%s", d->name);
    (void)snprintf(s->driver, sizeof s->driver, "%s", d->driver);
    (void)snprintf(s->version, sizeof s->version, "%s", idm_version());
    const uint64_t hash = session_tuning(t->session)->hash;
    s->tuning[0] = '\0';
    if (hash) (void)snprintf(s->tuning, sizeof s->tuning, "%016" PRIx64, hash);
}

// The plan that a checkpoint's run had, as far as it shapes the bits. False: not understood.
static bool plan_of(const training_state *s, training_plan *p)
{
    char mode[16];
    int passes;
    *p = (training_plan){.micro_batch = s->micro_batch};
    if (sscanf(s->recompute, "%15s passes=%d kept_chains=%x", mode, &passes, &p->small_v) != 3) return false;
    p->two_pass = passes == 2;
    p->dial.recompute = strcmp(mode, "invert") == 0   ? IDM_RECOMPUTE_INVERT
                        : strcmp(mode, "blocks") == 0 ? IDM_RECOMPUTE_BLOCKS
                                                      : IDM_RECOMPUTE_NONE;
    return true;
}

static idm_status open_trainer(training *t, checkpoint *c)
{
    training_plan wanted;
    bool changed;
    char text[160];
    const trainer_options options = train_options(&t->config);
    const bool known = c && plan_of(checkpoint_state(c), &wanted);
    if (known && wanted.micro_batch > options.batch) wanted.micro_batch = options.batch; // the batch size has changed
    IDM_TRY(trainer_create(t->session, &options, known ? &wanted : NULL, &changed, &t->trainer));
    if (changed)
        say(t, true, "the plan of the checkpoint's run does not fit this device's memory: the bits of an undisturbed run are not kept");
    training_plan_text(trainer_plan(t->trainer), text, sizeof text);
    say_format(t, false, "%s; %.2f GiB of device memory", text, (double)trainer_plan(t->trainer)->peak / 1073741824);
    return IDM_OK;
}

static idm_status restore(training *t, checkpoint *c)
{
    training_state now_state = t->state;
    char text[2048];
    t->state = *checkpoint_state(c);
    now_state.step = t->state.step;
    IDM_TRY(checkpoint_changes(c, &t->config, &now_state, text, sizeof text));
    if (text[0]) say_format(t, true, "not the same as before, so bits may differ from an undisturbed run: %s", text);
    IDM_TRY(snapshot_restore(&t->snapshot, c));
    const trainer_state device = {.adam = {.scale = (float)t->state.loss_scale,
                                           .good_steps = (int)t->state.good_steps,
                                           .step = (int)t->state.adam_step,
                                           .skipped = (int)t->state.skipped_steps}};
    trainer_write(t->trainer, &device);
    describe_plan(t);
    say_format(t, false, "going on from step %llu", (unsigned long long)t->state.step);
    return context_status(session_context(t->session));
}

static idm_status open_data(training *t)
{
    const idm_config *c = &t->config;
    dataset_report report;
    if (!c->data.train[0]) return status_fail(IDM_USAGE, "data.train names no folder of training images");
    IDM_TRY(dataset_open(&(dataset_options){.folder = c->data.train,
                                            .patch_size = c->data.patch_size,
                                            .batch = c->train.batch_size,
                                            .workers = c->data.workers,
                                            .seed = c->train.seed,
                                            .cache_bytes = c->data.cache,
                                            .warn = sink(t)},
                         run_step(t->run), &t->data));
    dataset_count(t->data, &report);
    t->state.data_hash = report.hash;
    t->state.data_count = report.usable;
    say_format(t, false, "%zu training images", report.usable);
    return IDM_OK;
}

static void say_checking(void *user)
{
    say(user, false, "first use of these kernels on this device: checking them (some seconds, once)");
}

// The kernel parameters of the run that goes on, which shape its bits: those in its checkpoint, none where it had none; unless it goes on
// on another device, or the user names a file.
static idm_status checkpoint_tuning(const idm_config *config, const char *from, char *setting, size_t size)
{
    device_info device;
    checkpoint *c;
    IDM_TRY(device_choose(config->device.device, &device));
    IDM_TRY(checkpoint_open(from, &c));
    const training_state *then = checkpoint_state(c);
    const bool same = strcmp(then->device, device.name) == 0 && strcmp(then->driver, device.driver) == 0, tuned = then->tuning[0] != '\0';
    checkpoint_close(c);
    if (!same) return IDM_OK;
    if (tuned) return files_join(setting, size, from, CHECKPOINT_TUNING);
    (void)snprintf(setting, size, "none");
    return IDM_OK;
}

static idm_status open_session(training *t)
{
    char text[1024];
    idm_config loading = t->config; // the run's own configuration goes on saying what it began from
    const char *from = run_checkpoint(t->run);
    if (from[0] && (size_t)snprintf(loading.model.weights, sizeof loading.model.weights, "%s/weights.safetensors", from) >=
                       sizeof loading.model.weights)
        return status_fail(IDM_USAGE, "%.200s: the path is too long", from);
    if (!from[0]) IDM_TRY(train_initial_weights(&loading));
    else if (strcmp(loading.device.tuning, "auto") == 0)
        IDM_TRY(checkpoint_tuning(&loading, from, loading.device.tuning, sizeof loading.device.tuning));
    IDM_TRY(idm_session_open(&loading, &t->session));
    session_describe(t->session, text, sizeof text);
    say_format(t, false, "%s; tuning %s", text, session_tuning(t->session)->name);
    if (session_tuning_note(t->session, text, sizeof text)) say(t, false, text);
    return session_canary(t->session, true, say_checking, t);
}

static idm_status check_config(const training *t)
{
    const idm_config *c = &t->config;
    const int block = idm_session_block_size(t->session);
    if (c->data.patch_size % block)
        return status_fail(IDM_USAGE, "data.patch_size = %d is no multiple of the block size %d", c->data.patch_size, block);
    return IDM_OK;
}

static idm_status open_all(training *t, bool resume)
{
    checkpoint *c = NULL;
    IDM_TRY(schedule_parse_interval(t->config.train.save_every, &t->save_every));
    IDM_TRY(run_open(&t->config, resume, sink(t), &t->run));
    IDM_TRY(open_data(t));
    IDM_TRY(open_session(t));
    IDM_TRY(check_config(t));
    IDM_TRY(snapshot_create(t->session, t->config.train.ema > 0, &t->config, &t->state, &t->snapshot));
    if (session_tuning(t->session)->hash) t->snapshot.content.tuning = &session_tuning(t->session)->file;
    if (run_checkpoint(t->run)[0]) IDM_TRY(checkpoint_open(run_checkpoint(t->run), &c));
    idm_status status = open_trainer(t, c);
    if (status == IDM_OK) {
        describe_plan(t);
        if (c) status = restore(t, c);
    }
    checkpoint_close(c);
    return status == IDM_OK ? run_start(t->run, &t->config) : status;
}

static void close_all(training *t)
{
    dataset_close(t->data);
    snapshot_free(&t->snapshot);
    trainer_free(t->trainer);
    if (t->session && t->listener->profile) context_profile_print(session_context(t->session), t->listener->profile);
    idm_session_close(t->session);
    run_close(t->run);
}

// ---- between steps

static void tick(training *t)
{
    const double time = clock_seconds();
    t->state.seconds += time - t->ticked;
    t->ticked = time;
}

// The device's part of the state. Waits.
static idm_status read_state(training *t, trainer_state *device)
{
    IDM_TRY(trainer_read(t->trainer, device));
    t->state.loss_scale = device->adam.scale;
    t->state.good_steps = (uint64_t)device->adam.good_steps;
    t->state.adam_step = (uint64_t)device->adam.step;
    t->state.skipped_steps = (uint64_t)device->adam.skipped;
    return IDM_OK;
}

static idm_status log_step(training *t)
{
    trainer_state device;
    IDM_TRY(read_state(t, &device));
    tick(t);
    const double time = clock_seconds();
    const uint64_t steps = t->state.step - t->logged_step, all = schedule_steps(&t->config);
    if (steps == 0) return IDM_OK;
    const double speed = (double)steps / (time - t->logged);
    const run_row row = {.step = t->state.step,
                         .epoch = schedule_epoch(&t->config, t->state.step),
                         .skipped = t->state.skipped_steps,
                         .peak_bytes = trainer_plan(t->trainer)->peak,
                         .loss = (double)device.loss / (double)steps,
                         .lr = schedule_learning_rate(&t->config, t->state.step - 1),
                         .scale = device.adam.scale,
                         .seconds = t->state.seconds,
                         .images_per_second = speed * t->config.train.batch_size};
    device.loss = 0;
    trainer_write(t->trainer, &device);
    t->result->loss = row.loss;
    t->logged = time;
    t->logged_step = t->state.step;
    const train_progress p = {.step = row.step,
                              .steps = all,
                              .epoch = schedule_epoch(&t->config, t->state.step - 1),
                              .epochs = (uint64_t)t->config.train.epochs,
                              .loss = row.loss,
                              .learning_rate = row.lr,
                              .images_per_second = row.images_per_second,
                              .seconds_left = (double)(all - row.step) / speed,
                              .skipped = row.skipped,
                              .peak_bytes = row.peak_bytes};
    if (t->listener->progress) t->listener->progress(t->listener->user, &p);
    return run_log(t->run, &row);
}

static idm_status save(training *t)
{
    trainer_state device;
    IDM_TRY(read_state(t, &device));
    tick(t);
    IDM_TRY(run_sync(t->run));
    IDM_TRY(checkpoint_write(run_folder(t->run), &t->snapshot.content));
    t->saved = clock_seconds();
    return checkpoint_prune(run_folder(t->run), t->config.train.keep);
}

// A run whose gradients are never finite is over: it would go on for days without learning.
static idm_status check_alive(const training *t, uint64_t skipped_before, uint64_t steps)
{
    if (steps < SKIPPED_MOST || t->state.skipped_steps - skipped_before < steps) return IDM_OK;
    return status_fail(IDM_FAILED,
                       "no finite gradient in the last %llu steps: alpha outside (0, 1), or weights that have grown too large; the "
                       "checkpoints are untouched; try a lower train.learning_rate or train.clip = 1",
                       (unsigned long long)steps);
}

// ---- validation

typedef struct validating {
    training *t;
    run_validated *rows;
    size_t count, capacity;
} validating;

static idm_status add_row(void *user, const char *file, const picture *p, const reconstruction *r)
{
    validating *v = user;
    if (v->count == v->capacity) {
        const size_t capacity = v->capacity ? 2 * v->capacity : 16;
        run_validated *grown = realloc(v->rows, capacity * sizeof *grown);
        if (!grown) return status_fail(IDM_FAILED, "out of memory");
        v->rows = grown;
        v->capacity = capacity;
    }
    char *name = strdup(file);
    if (!name) return status_fail(IDM_FAILED, "out of memory");
    v->rows[v->count++] =
        (run_validated){.file = name, .height = r->height, .width = r->width, .psnr = r->psnr, .ssim = r->ssim, .seconds = r->seconds};
    if (v->count > PICTURES) return IDM_OK;
    idm_image image;
    IDM_TRY(idm_image_with_luminance(&p->image, r->plane, &image));
    const idm_status status = run_picture(v->t->run, v->t->state.step, file, &image);
    idm_image_free(&image);
    return status;
}

static bool stop_now(void *user)
{
    training *t = user;
    t->stopping = t->stopping || t->listener->stop(t->listener->user);
    return t->stopping;
}

static bool stop_validation(void *user)
{
    const validating *v = user;
    return stop_now(v->t);
}

static void say_validation(void *user, bool warning, const char *text)
{
    const validating *v = user;
    say(v->t, warning, text);
}

static idm_status keep_if_best(training *t, const validation_result *r, const char *line, bool *best)
{
    *best = t->state.best_step == 0 || r->psnr > t->state.best_psnr;
    if (!*best) return IDM_OK;
    t->state.best_psnr = r->psnr;
    t->state.best_step = t->state.step;
    return checkpoint_write_best(run_folder(t->run), &t->snapshot.content, line);
}

static idm_status finish_validation(training *t, const validating *v, const validation_result *r)
{
    char *line = NULL;
    bool best;
    const run_validation rows = {
        .step = t->state.step, .epoch = schedule_epoch(&t->config, t->state.step), .pictures = v->rows, .count = v->count};
    IDM_TRY(run_log_validation(t->run, &rows, &line));
    const idm_status status = keep_if_best(t, r, line, &best);
    free(line);
    t->result->best_psnr = t->state.best_psnr;
    const train_validation shown = {t->state.step, r->images, r->psnr, r->ssim, best};
    if (status == IDM_OK && t->listener->validation) t->listener->validation(t->listener->user, &shown);
    return status;
}

// The averaged weights where there are any.
static idm_status validate(training *t)
{
    const bool averaged = t->config.train.ema > 0;
    validating v = {.t = t};
    const validation_listener listener = {.user = &v, .stop = stop_validation, .say = say_validation, .row = add_row};
    validation_result r;
    if (averaged) trainer_swap_average(t->trainer);
    idm_status status = validate_folder(t->session, t->config.data.validation, &listener, &r);
    if (averaged) trainer_swap_average(t->trainer);
    if (status == IDM_OK) status = trainer_prepare(t->trainer);
    if (status == IDM_OK && !r.stopped) status = finish_validation(t, &v, &r);
    for (size_t i = 0; i < v.count; i++) free((char *)v.rows[i].file);
    free(v.rows);
    return status;
}

// ---- the loop

static idm_status watch_v(training *t)
{
    bool changed;
    if (t->state.step % WATCH_EVERY) return IDM_OK;
    IDM_TRY(trainer_watch_v(t->trainer, &changed));
    if (changed) {
        say(t, true, "some v has crossed 0.25: chains with smaller ones are recomputed rather than inverted");
        describe_plan(t);
    }
    return IDM_OK;
}

static bool validates(const training *t)
{
    return t->config.data.validation[0] && schedule_validates(&t->config, t->state.step);
}

// After a step: what is due.
static idm_status after_step(training *t)
{
    const uint64_t step = t->state.step;
    const bool last = step == schedule_steps(&t->config), stopping = stop_now(t);
    const uint64_t skipped = t->state.skipped_steps, steps = step - t->logged_step;
    if (step % (uint64_t)t->config.train.log_every == 0 || last || stopping) IDM_TRY(log_step(t));
    IDM_TRY(check_alive(t, skipped, steps));
    IDM_TRY(watch_v(t));
    bool due = last || stopping || schedule_due(&t->save_every, &t->config, step, clock_seconds() - t->saved);
    if (validates(t) && !stopping) {
        // saved first: a validation may take long, and may be stopped
        if (due) IDM_TRY(save(t));
        IDM_TRY(validate(t));
        due = !due || t->state.best_step == step; // with the best so far
    }
    return due ? save(t) : IDM_OK;
}

static idm_status loop(training *t)
{
    const uint64_t steps = schedule_steps(&t->config);
    t->logged_step = t->state.step;
    t->ticked = t->saved = t->logged = clock_seconds();
    // a validation that a signal stopped
    if (validates(t) && run_validated_step(t->run) != t->state.step) IDM_TRY(validate(t));
    while (t->state.step < steps && !t->stopping) {
        dataset_batch batch;
        IDM_TRY(dataset_next(t->data, &batch));
        trainer_step(t->trainer, batch.x, NULL, batch.perm, schedule_learning_rate(&t->config, t->state.step));
        IDM_TRY(context_status(session_context(t->session)));
        t->state.step++;
        IDM_TRY(after_step(t));
    }
    return IDM_OK;
}

idm_status train_run(const idm_config *config, bool resume, const train_listener *listener, train_result *result)
{
    *result = (train_result){.loss = NAN, .best_psnr = NAN};
    training *t = calloc(1, sizeof *t);
    if (!t) return status_fail(IDM_FAILED, "out of memory");
    t->config = *config;
    t->listener = listener;
    t->result = result;
    idm_status status = open_all(t, resume);
    if (status == IDM_OK) status = loop(t);
    result->step = t->state.step;
    if (status == IDM_OK)
        (void)snprintf(result->checkpoint, sizeof result->checkpoint, "%s/step_%07llu", run_folder(t->run),
                       (unsigned long long)t->state.step);
    close_all(t);
    free(t);
    return status;
}
