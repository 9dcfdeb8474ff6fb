#include "tune/tune.h"

#include "core/clock.h"
#include "core/files.h"
#include "core/random.h"
#include "core/status.h"
#include "tune/candidates.h"
#include "tune/journal.h"
#include "tune/selftest.h"
#include "tune/supervise.h"
#include "tune/trial.h"
#include "tune/tuning_choose.h"
#include "tune/whole.h"
#include "tune/workload.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUNS = 3, CONFIRM_ROUNDS = 5, WHOLE_ROUNDS = 3 };
static const double HOPELESS = 1.5;                            // times the best: timed once only
static const double GAIN_LEAST = 0.98;                         // of the own choice's time, or less: faster by more than noise
static const double SHARE_LEAST = 0.003;                       // of the network's work; less is not worth the time
static const double WHOLE_SHARE = 0.3;                         // of all time, for the comparison at the end
static const double WHOLE_PASSES = 2 * 2 * 2.2 * WHOLE_ROUNDS; // forward passes that it takes, twice over, and a little
static const double CALL_SECONDS = 0.02;                       // of a call that is timed, at a device's peak rate

typedef struct search {
    const tune_options *options;
    supervise_link *link;
    double began, end;      // on the clock
    double candidate_limit; // seconds
    device_info device;
    char path[4096];
    uint64_t program;
    context *ctx;
    ops o;
    whole net;
    journal *journal;
    workload load;
    tuning found;
    int candidates, groups;
    bool lost; // a candidate has left the device in a state that only a new process gets out of
} search;

// ---- one candidate

// What is remembered of a candidate that failed: for the kernel, whatever the shape.
static void candidate_key(const tuning_row *row, char key[TUNING_LINE_SIZE])
{
    tuning_row any = *row;
    any.shape = (tuning_shape){.op = row->shape.op, .variant = row->shape.variant, .head = row->shape.head};
    tuning_row_format(&any, key);
}

static void fail_candidate(search *s, const char *key, const char *failure)
{
    supervise_say(s->link, "rejected: %s (%.200s)", key, failure);
    (void)journal_end(s->journal, key, failure);
}

// Leaves the device usable, or notes that it is not.
static void recover(search *s, trial *t)
{
    double seconds, difference;
    context_clear_error(s->ctx);
    if (trial_time(t, NULL, 1, 0, &seconds, &difference) == IDM_OK && difference <= selftest_tolerance(&s->o)) return;
    s->lost = true;
}

// row: null for the own choice. *seconds: infinite where the candidate failed, now or before.
static idm_status measure(search *s, trial *t, const tuning_shape *call, const tuning_row *row, double enough, double *seconds)
{
    char key[TUNING_LINE_SIZE], failure[512] = "";
    double difference = 0;
    *seconds = INFINITY;
    candidate_key(row ? row : &(tuning_row){.shape = tuning_class(call)}, key);
    if (journal_failure(s->journal, key)) return IDM_OK;
    IDM_TRY(journal_begin(s->journal, key));
    supervise_limit(s->link, s->candidate_limit);
    s->candidates++;
    const check_result checked = trial_check(&s->o, call, row);
    if (checked.status != IDM_OK) (void)snprintf(failure, sizeof failure, "does not run: %.400s", idm_message());
    else if (!(checked.error <= selftest_tolerance(&s->o))) (void)snprintf(failure, sizeof failure, "wrong, error %.1e", checked.error);
    else if (trial_time(t, row, RUNS, enough, seconds, &difference) != IDM_OK)
        (void)snprintf(failure, sizeof failure, "does not run: %.400s", idm_message());
    else if (!(difference <= selftest_tolerance(&s->o)))
        (void)snprintf(failure, sizeof failure, "wrong at full size, error %.1e", difference);
    supervise_no_limit(s->link);
    if (!failure[0]) return journal_end(s->journal, key, NULL);
    *seconds = INFINITY;
    fail_candidate(s, key, failure);
    if (checked.status != IDM_OK || context_status(s->ctx) != IDM_OK) recover(s, t);
    return IDM_OK;
}

// ---- one class

typedef struct group_search {
    const workload_group *group;
    tuning_shape call; // as it is timed
    trial *t;
    tuning_row best;
    double own, best_seconds;
    double end; // on the clock
} group_search;

static bool same_values(const tuning_row *a, const tuning_row *b)
{
    return a->given == b->given && memcmp(a->values, b->values, sizeof a->values) == 0;
}

// Columns that a CPU's panels would have beyond the operand's, of all: work for nothing.
static double padding(const tuning_shape *call, const tuning_row *row)
{
    const size_t panel = 16 * (size_t)tuning_value(row, TUNE_TILE_VECTORS, 1), out = (size_t)call->out;
    return out ? 1 - (double)out / (double)(ceil_div(out, panel) * panel) : 0;
}

static idm_status search_axis(search *s, group_search *g, const candidate_axis *axis, double end)
{
    static const double padding_most = 0.25;
    const tuning_row start = g->best;
    for (size_t i = 0; i < axis->count && !s->lost; i++) {
        if (supervise_clock(s->link) >= end) return IDM_OK;
        const tuning_row row = candidates_apply(&start, &axis->settings[i]);
        double seconds;
        if (same_values(&row, &g->best) || padding(&g->call, &row) > padding_most) continue;
        IDM_TRY(measure(s, g->t, &g->call, &row, HOPELESS * g->best_seconds, &seconds));
        if (seconds >= g->best_seconds) continue;
        g->best = row;
        g->best_seconds = seconds;
    }
    return IDM_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// Both in alternation; the median of the ratios, so that what else the machine does, which lasts longer than one, counts for little.
static idm_status confirm(search *s, group_search *g)
{
    double own = INFINITY, ratios[CONFIRM_ROUNDS], seconds, best, difference;
    supervise_limit(s->link, s->candidate_limit);
    for (int i = 0; i < CONFIRM_ROUNDS; i++) {
        IDM_TRY(trial_time(g->t, NULL, 1, INFINITY, &seconds, &difference));
        IDM_TRY(trial_time(g->t, &g->best, 1, INFINITY, &best, &difference));
        own = fmin(own, seconds);
        ratios[i] = best / seconds;
    }
    supervise_no_limit(s->link);
    qsort(ratios, CONFIRM_ROUNDS, sizeof *ratios, by_value);
    g->own = own;
    g->best_seconds = own * ratios[CONFIRM_ROUNDS / 2];
    return IDM_OK;
}

static idm_status search_axes(search *s, group_search *g)
{
    const candidate_axis *axes;
    const size_t count = candidates_axes(g->call.op, (variant)g->call.variant, &s->device, &axes);
    IDM_TRY(measure(s, g->t, &g->call, NULL, INFINITY, &g->own));
    if (!isfinite(g->own)) return IDM_OK; // what the operation does by itself fails here: nothing to hold others to
    g->best_seconds = g->own;
    for (size_t i = 0; i < count && !s->lost; i++) {
        const double time = supervise_clock(s->link); // what an axis leaves is for the next ones
        IDM_TRY(search_axis(s, g, &axes[i], time + (g->end - time) / (double)(count - i)));
    }
    if (g->best.given && !s->lost) IDM_TRY(confirm(s, g));
    return IDM_OK;
}

static void finish_group(search *s, const group_search *g)
{
    char line[TUNING_LINE_SIZE], name[TUNING_LINE_SIZE];
    const bool kept = g->best.given && g->best_seconds < GAIN_LEAST * g->own;
    const double rate = g->call.pixels > 0 && isfinite(g->own) ? workload_call_flops(&g->call) / g->own * 1e-9 : 0;
    tuning_row_format(&(tuning_row){.shape = g->group->class}, name);
    tuning_row_format(&g->best, line);
    (void)journal_finish(s->journal, name, kept ? line : "-");
    if (kept) supervise_say(s->link, "%s  %.1f -> %.1f GFLOP/s", line, rate, rate * g->own / g->best_seconds);
    else supervise_say(s->link, "%s own choice kept  %.1f GFLOP/s", name, rate);
}

static idm_status search_group(search *s, const workload_group *group, double end)
{
    static const double unknown_rate = 1e11; // FLOP/s
    const device_info *d = &s->device;
    const double peak = d->type == DEVICE_CPU ? (double)d->compute_units * d->clock_mhz * 1e6 * 4 * d->native_vector
                                              : fmax(unknown_rate, (double)d->compute_units * d->clock_mhz * 1e6 * 128);
    // where the class says how many pixels, that many
    const tuning_shape call = workload_reduce(&group->call, fmax(peak, 1e10) * CALL_SECONDS * (group->class.pixels ? 16 : 1));
    group_search g = {.group = group, .call = call, .best = {.shape = group->class}, .end = end};
    supervise_limit(s->link, s->candidate_limit);
    g.t = trial_create(&s->o, &call);
    supervise_no_limit(s->link);
    if (!g.t) return context_status(s->ctx);
    const idm_status status = search_axes(s, &g);
    trial_free(g.t);
    if (status != IDM_OK || s->lost) return status;
    finish_group(s, &g);
    s->groups++;
    return IDM_OK;
}

// ---- all classes

static idm_status search_groups(search *s, double end)
{
    double left = 0;
    for (size_t i = 0; i < s->load.count; i++) left += s->load.groups[i].flops;
    for (size_t i = 0; i < s->load.count && !s->lost; i++) {
        const workload_group *g = &s->load.groups[i];
        char name[TUNING_LINE_SIZE];
        const double time = supervise_clock(s->link), share = g->flops / left;
        left -= g->flops;
        tuning_row_format(&(tuning_row){.shape = g->class}, name);
        if (journal_result(s->journal, name)) continue; // by a child before this one
        if (time >= end || g->flops < SHARE_LEAST * s->load.flops) continue;
        IDM_TRY(search_group(s, g, time + (end - time) * fmax(share, 0.1)));
    }
    return IDM_OK;
}

// Of all finished classes, from the journal. *searched: how many there are.
static idm_status collect(search *s, int *searched)
{
    *searched = 0;
    for (size_t i = 0; i < s->load.count; i++) {
        char name[TUNING_LINE_SIZE];
        tuning_row row;
        tuning_row_format(&(tuning_row){.shape = s->load.groups[i].class}, name);
        const char *result = journal_result(s->journal, name);
        if (!result) continue;
        ++*searched;
        if (strcmp(result, "-") == 0) continue;
        IDM_TRY(tuning_row_parse(result, &row));
        if (!tuning_add(&s->found, &row)) return status_fail(IDM_FAILED, "out of memory");
    }
    return IDM_OK;
}

// ---- the whole network

// The largest picture, up to the one tuned for, that the comparison has time for. *seconds: of a forward pass on one of side `least`; then
// of the chosen one.
static int choose_side(search *s, int least, double *seconds)
{
    workload smallest = {0}, w = {0};
    const tune_options *t = s->options;
    const double allowed = WHOLE_SHARE * t->seconds / WHOLE_PASSES;
    int side = t->side;
    if (workload_find(&s->device, t->config, &t->sizes, t->cs_ratio, least, false, &smallest) != IDM_OK) return least;
    for (; side > least; side = side / 2 / t->sizes.block * t->sizes.block) {
        if (side < least) side = least;
        if (workload_find(&s->device, t->config, &t->sizes, t->cs_ratio, side, false, &w) != IDM_OK) break;
        const double expected = *seconds * w.flops / smallest.flops;
        workload_free(&w);
        if (expected > allowed) continue;
        *seconds = expected;
        break;
    }
    workload_free(&smallest);
    return side < least ? least : side;
}

// The shortest of a few rounds, without and with these rows in alternation.
static idm_status time_rows(search *s, const tuning *t, tune_result *r)
{
    char key[64];
    (void)snprintf(key, sizeof key, "whole network %016" PRIx64, tuning_hash(t));
    r->tuned = INFINITY;
    if (journal_failure(s->journal, key)) return IDM_OK;
    IDM_TRY(journal_begin(s->journal, key));
    for (int i = 0; i < WHOLE_ROUNDS; i++) {
        double untuned, tuned;
        IDM_TRY(whole_time(&s->net, t, r->side, &tuned));
        IDM_TRY(whole_time(&s->net, NULL, r->side, &untuned));
        r->untuned = fmin(r->untuned, untuned);
        r->tuned = fmin(r->tuned, tuned);
    }
    return journal_end(s->journal, key, NULL);
}

// Without and with what was found; where all of it does not help the whole, half of it may, that of the most work first; else nothing is
// kept.
static idm_status compare_whole(search *s, int side, tune_result *r)
{
    r->side = side;
    IDM_TRY(whole_time(&s->net, NULL, side, &r->untuned));
    const size_t count = s->found.count, half = (count + 1) / 2;
    const tuning parts[] = {s->found, {s->found.rows, half}, {s->found.rows + half, count - half}};
    for (int i = 0; i < 3; i++) {
        const double began = supervise_clock(s->link);
        if (parts[i].count == 0 || (i > 0 && began + 2 * WHOLE_ROUNDS * 2 * r->untuned > s->end)) break;
        IDM_TRY(time_rows(s, &parts[i], r));
        supervise_say(s->link, "whole network with %zu of %zu rows: %.3f s, without %.3f s", parts[i].count, count, r->tuned, r->untuned);
        if (r->tuned >= r->untuned) continue;
        memmove(s->found.rows, parts[i].rows, parts[i].count * sizeof *s->found.rows);
        s->found.count = parts[i].count;
        return IDM_OK;
    }
    s->found.count = 0;
    r->tuned = r->untuned;
    return IDM_OK;
}

// ---- the file

// Rows of other classes that the file has already, for other networks, stay.
static idm_status save(search *s)
{
    char folder[4096];
    tuning_file f, old = {0};
    f = (tuning_file){.program = s->program};
    memcpy(f.device, s->device.name, sizeof f.device);
    memcpy(f.driver, s->device.driver, sizeof f.driver);
    if (files_exists(s->path) && tuning_file_load(s->path, &old) == IDM_OK && old.program != s->program) tuning_file_free(&old);
    idm_status status = IDM_OK;
    for (size_t i = 0; i < old.t.count && status == IDM_OK; i++) {
        char name[TUNING_LINE_SIZE];
        tuning_row_format(&(tuning_row){.shape = old.t.rows[i].shape}, name);
        if (!journal_result(s->journal, name) && !tuning_add(&f.t, &old.t.rows[i])) status = status_fail(IDM_FAILED, "out of memory");
    }
    for (size_t i = 0; i < s->found.count && status == IDM_OK; i++)
        if (!tuning_add(&f.t, &s->found.rows[i])) status = status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) status = files_folder_of(folder, sizeof folder, s->path);
    if (status == IDM_OK) status = files_make_folders(folder);
    if (status == IDM_OK) status = tuning_file_save(&f, s->path);
    tuning_file_free(&old);
    tuning_file_free(&f);
    return status;
}

// ---- a child

static idm_status open_journal(search *s, const supervise_attempt *attempt)
{
    char path[4096 + 16], key[512];
    const tune_options *t = s->options;
    if (t->out) (void)snprintf(s->path, sizeof s->path, "%s", t->out);
    else if (!tuning_device_path(&s->device, s->path, sizeof s->path))
        return status_fail(IDM_FAILED, "there is no folder for the tuning file: set IDM_CACHE_DIR or HOME, or give --out FILE");
    IDM_TRY(program_hash(&s->program));
    (void)snprintf(path, sizeof path, "%s.journal", s->path);
    (void)snprintf(key, sizeof key, "%s|%s", s->device.name, s->device.driver);
    const char *reason = attempt->reason[0] ? attempt->reason : "the search was ended in it";
    if (strcmp(reason, SUPERVISE_OUT_OF_TIME) == 0) reason = NULL;
    return journal_open(path, random_key(s->program, key), attempt->number > 0, reason, &s->journal);
}

static idm_status open_device(search *s)
{
    const idm_config *c = s->options->config;
    const int net = network_max_channels(&s->options->sizes), checks = selftest_max_channels(&s->options->sizes);
    IDM_TRY(context_create(&s->device, &(context_options){.max_launch_ms = c->device.max_launch_ms}, &s->ctx));
    return ops_create(s->ctx, c->device.variants, c->device.gemm, c->device.math, net > checks ? net : checks, &s->o);
}

static void say_begin(search *s)
{
    double tuned = 0;
    for (size_t i = 0; i < s->load.count; i++) tuned += s->load.groups[i].flops;
    supervise_say(s->link, "%s, driver %s: %zu classes of calls with %.0f %% of the work, math %s", s->device.name, s->device.driver,
                  s->load.count, 100 * tuned / s->load.flops, s->o.exact ? "exact" : "fast");
    if (journal_failures(s->journal))
        supervise_say(s->link, "%d candidates failed before and are left out (%s.journal)", journal_failures(s->journal), s->path);
}

static idm_status search_all(search *s, tune_result *r)
{
    const tune_options *t = s->options;
    const int least = t->sizes.block;
    double seconds, reserve;
    // the smallest picture first: builds every kernel that the comparison needs, and tells what larger ones take
    IDM_TRY(whole_open(&s->net, &s->o, &t->sizes, t->cs_ratio));
    IDM_TRY(whole_time(&s->net, NULL, least, &seconds));
    const int side = choose_side(s, least, &seconds);
    reserve = fmin(fmax(WHOLE_PASSES * seconds, 0.1 * t->seconds), 0.6 * (s->end - supervise_clock(s->link)));
    IDM_TRY(search_groups(s, s->end - reserve - 0.02 * t->seconds));
    if (s->lost) return IDM_OK;
    IDM_TRY(collect(s, &r->groups));
    return r->groups ? compare_whole(s, side, r) : IDM_OK;
}

static idm_status finish(search *s, tune_result *r)
{
    if (r->groups == 0)
        return status_fail(IDM_USAGE, "%.0f s were too short to search anything on '%s'; give --seconds more", s->options->seconds,
                           s->device.name);
    IDM_TRY(save(s));
    supervise_result(s->link, "%.6f %.6f %d %d %zu %d %d %s", r->untuned, r->tuned, r->side, r->groups, s->found.count, s->candidates,
                     journal_failures(s->journal), s->path);
    return IDM_OK;
}

static idm_status run_search(search *s, const supervise_attempt *attempt)
{
    enum { AGAIN = 77 }; // as an exit status: to be started once more
    const tune_options *t = s->options;
    tune_result r = {0};
    IDM_TRY(device_choose(t->config->device.device, &s->device));
    IDM_TRY(open_journal(s, attempt));
    if (attempt->number > 0) supervise_say(s->link, "the search was started again: %s", attempt->reason);
    IDM_TRY(workload_find(&s->device, t->config, &t->sizes, t->cs_ratio, t->side, t->training, &s->load));
    if (s->load.count == 0)
        return status_fail(IDM_USAGE, "nothing to tune: device.variants = generic has no parameters on '%s'", s->device.name);
    if (attempt->last) {
        IDM_TRY(collect(s, &r.groups));
        return finish(s, &r);
    }
    IDM_TRY(open_device(s));
    if (attempt->number == 0) say_begin(s);
    IDM_TRY(search_all(s, &r));
    if (s->lost) _exit(AGAIN);
    return finish(s, &r);
}

typedef struct tune_job {
    const tune_options *options;
    double began;
    void (*say)(void *user, const char *text);
    void *user;
} tune_job;

static idm_status run_child(void *user, supervise_link *link, const supervise_attempt *attempt)
{
    const tune_job *job = user;
    search *s = calloc(1, sizeof *s); // the child's end frees it, with the device's memory
    if (!s) return status_fail(IDM_FAILED, "out of memory");
    *s = (search){.options = job->options,
                  .link = link,
                  .began = job->began,
                  .end = job->began + job->options->seconds,
                  .candidate_limit = fmax(8, job->options->seconds / 6)};
    return run_search(s, attempt);
}

static void say_line(void *user, const char *text)
{
    const tune_job *job = user;
    if (job->say) job->say(job->user, text);
}

idm_status tune_run(const tune_options *options, void (*say)(void *user, const char *text), void *user, tune_result *result)
{
    char text[IDM_PATH_SIZE + 256];
    int path = 0;
    tune_job job = {options, clock_seconds(), say, user};
    const supervise_job supervised = {
        .run = run_child, .say = say_line, .user = &job, .seconds = options->seconds + fmin(2, 0.05 * options->seconds)};
    *result = (tune_result){0};
    IDM_TRY(supervise_run(&supervised, text, sizeof text));
    if (sscanf(text, "%lf %lf %d %d %d %d %d %n", &result->untuned, &result->tuned, &result->side, &result->groups, &result->improved,
               &result->candidates, &result->failures, &path) != 7)
        return status_fail(IDM_FAILED, "the search for kernel parameters gave no result");
    (void)snprintf(result->path, sizeof result->path, "%s", text + path);
    return IDM_OK;
}
