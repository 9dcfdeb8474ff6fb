#include "cli/job.h"

#include "core/clock.h"
#include "eval/session.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double limit_seconds = 600, worth_saying_seconds = 20;

static void describe(const job *j)
{
    char text[256], note[1024];
    const char *weights = j->call->config.model.weights;
    session_describe(j->session, text, sizeof text);
    cli_note(j->call, "%s; tuning %s", text, session_tuning(j->session)->name);
    if (session_tuning_note(j->session, note, sizeof note)) cli_note(j->call, "%s", note);
    if (*weights) cli_note(j->call, "weights %s", weights);
    else cli_note(j->call, "no weights given (--weights FILE): random start values, the pictures will be poor");
}

static void say_checking(void *user)
{
    const job *j = user;
    cli_note(j->call, "first use of these kernels on this device: checking them (some seconds, once)");
}

idm_status job_open(job *j, const cli_call *call, files_list *inputs)
{
    *j = (job){.call = call, .inputs = *inputs, .work = calloc(inputs->count + 1, sizeof *j->work), .failures = cJSON_CreateArray()};
    *inputs = (files_list){0};
    idm_status status = j->work && j->failures ? idm_session_open(&call->config, &j->session) : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK) {
        describe(j);
        status = session_canary(j->session, false, say_checking, j);
    }
    if (status != IDM_OK) job_close(j);
    return status;
}

void job_close(job *j)
{
    if (j->session && j->call->profile) context_profile_print(session_context(j->session), stderr);
    idm_session_close(j->session);
    files_list_free(&j->inputs);
    free(j->work);
    forecast_free(&j->forecast);
    cJSON_Delete(j->failures);
    *j = (job){0};
}

void job_add_work(job *j, size_t i, const tiling *t)
{
    size_t bytes;
    double flops;
    const int pixels = t->tile_height * t->tile_width;
    // what does not fit fails when its turn comes
    if (idm_session_plan(j->session, t->tile_height, t->tile_width, 1, &bytes, &flops) != IDM_OK) return;
    j->work[i] += flops * tiling_count(t);
    j->total += flops * tiling_count(t);
    if (bytes > j->bytes) j->bytes = bytes;
    if (pixels > j->largest_pixels) j->largest_pixels = pixels;
    forecast_plan(&j->forecast, session_context(j->session), tiling_count(t));
}

// Measures the reconstruction of side x side pixels.
static idm_status probe(job *j, int side, double *seconds)
{
    *seconds = 0;
    idm_operator op;
    context *ctx = session_context(j->session);
    IDM_TRY(idm_session_operator(j->session, side, side, "probe", &op));
    const size_t pixels = (size_t)side * (size_t)side;
    float *y = calloc(pixels, sizeof *y), *out = malloc(pixels * sizeof *out); // never more measurements than pixels
    idm_status status = y && out ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
    for (int run = 0; run < 2 && status == IDM_OK; run++) { // the first lays out memory, and builds kernels
        if (run == 1) forecast_measure_begin(&j->forecast, ctx);
        const double began = clock_seconds();
        status = idm_session_reconstruct(j->session, &op, y, 1, out, NULL, NULL);
        *seconds = clock_seconds() - began;
    }
    forecast_measure_end(&j->forecast, ctx, *seconds);
    if (status == IDM_OK && j->forecast.failed) status = status_fail(IDM_FAILED, "out of memory");
    free(y);
    free(out);
    idm_operator_free(&op);
    return status;
}

// Whether a probe of twice the side is worth its time, 16 times this one's at most, and each is run twice: some seconds, and a small part
// of a long job.
static bool probe_again(const job *j, double seconds)
{
    static const double share = 0.02, least = 3, most = 20;
    const double worth = fmin(fmax(share * j->seconds, least), most);
    return 2 * 16 * seconds < worth && 16 * seconds < j->seconds;
}

// From growing squares, no larger than the largest picture.
static idm_status predict(job *j)
{
    static const double worth_measuring = 2e10;
    static const int largest_probe = 256;
    if (j->total < worth_measuring) return IDM_OK;
    double seconds;
    int side = idm_session_block_size(j->session);
    do {
        IDM_TRY(probe(j, side, &seconds));
        side *= 2;
        j->seconds = forecast_seconds(&j->forecast);
    } while (probe_again(j, seconds) && side <= largest_probe && side * side <= j->largest_pixels);
    return IDM_OK;
}

idm_status job_begin(job *j, bool may_stop)
{
    char time[32], memory[32];
    IDM_TRY(predict(j));
    (void)cli_time_text(time, j->seconds);
    (void)cli_bytes_text(memory, (double)j->bytes);
    if (may_stop && j->seconds > limit_seconds)
        return status_fail(IDM_USAGE,
                           "this would take about %s and %s of device memory; give --yes to do it, --tile 512 to cut large pictures into "
                           "tiles, or a faster device (--device, idm devices)",
                           time, memory);
    if (j->seconds > worth_saying_seconds) cli_note(j->call, "predicted: %s, %s of device memory", time, memory);
    else cli_detail(j->call, "predicted: %.2g s, %.3g TFLOP, %s of device memory", j->seconds, j->total / 1e12, memory);
    progress_begin(&j->bar, j->call, j->total, j->inputs.count);
    return IDM_OK;
}

void job_next(job *j, size_t i)
{
    progress_item(&j->bar, j->inputs.paths[i], j->work[i]);
}

idm_status job_failed(job *j, size_t i, idm_status status)
{
    const char *path = j->inputs.paths[i], *message = idm_message();
    if (!strstr(message, path)) (void)status_prefix(status, "%s", path);
    message = idm_message();
    if (j->failed++ == 0) {
        j->first_failure = status;
        (void)snprintf(j->first_message, sizeof j->first_message, "%s", message);
    }
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "file", files_name(path));
    cJSON_AddStringToObject(item, "message", message);
    cJSON_AddItemToArray(j->failures, item);
    if (j->inputs.count == 1 || context_status(session_context(j->session)) != IDM_OK) return status; // the device is lost for all
    progress_clear(&j->bar);
    cli_warn("%s", message);
    return IDM_OK;
}

idm_status job_end(job *j)
{
    progress_clear(&j->bar);
    if (j->failed == 0) return IDM_OK;
    return status_fail(j->first_failure, "%zu of %zu inputs failed, the first: %s", j->failed, j->inputs.count, j->first_message);
}
