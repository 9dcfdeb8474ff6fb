// `idm eval`
#include "cli/inputs.h"
#include "cli/interrupt.h"
#include "cli/job.h"
#include "cli/save.h"
#include <math.h>
#include <string.h>

typedef struct evaluation {
    job job;
    const char *out;            // NULL: nothing is kept
    files_list outputs, panels; // empty without --out, without --panel
    cJSON *rows;
    double psnr, ssim; // sums
    size_t count;
} evaluation;

static void plan_all(evaluation *e)
{
    for (size_t i = 0; i < e->job.inputs.count; i++) {
        picture p;
        tiling t;
        if (picture_load(e->job.inputs.paths[i], &p) != IDM_OK) continue; // reported when its turn comes
        if (tiling_make(p.image.height, p.image.width, 0, idm_session_block_size(e->job.session), &t) == IDM_OK)
            job_add_work(&e->job, i, &t);
        picture_free(&p);
    }
}

static void add_row(evaluation *e, const char *path, const reconstruction *r)
{
    e->psnr += r->psnr;
    e->ssim += r->ssim;
    e->count++;
    progress_clear(&e->job.bar);
    if (!e->job.call->json) {
        printf("%-28s %5d x %-5d %8.3f %9.5f %9.2f\n", files_name(path), r->height, r->width, r->psnr, r->ssim, r->seconds);
        (void)fflush(stdout);
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "file", files_name(path));
    cJSON_AddNumberToObject(row, "height", r->height);
    cJSON_AddNumberToObject(row, "width", r->width);
    cli_json_number(row, "psnr", r->psnr);
    cli_json_number(row, "ssim", r->ssim);
    cJSON_AddNumberToObject(row, "seconds", r->seconds);
    cJSON_AddItemToArray(e->rows, row);
}

// *saving: what failed was the writing, which would fail for the others too.
static idm_status evaluate_one(evaluation *e, size_t i, bool *saving)
{
    const char *path = e->job.inputs.paths[i];
    picture p;
    observation seen;
    reconstruction r = {0};
    *saving = false;
    IDM_TRY(picture_load(path, &p));
    idm_status status = evaluate_observe(e->job.session, &p, files_name(path), NULL, 0, &seen);
    if (status == IDM_OK) {
        status = evaluate_reconstruct(e->job.session, seen.op, &seen.tiling, seen.y, p.luminance, progress_report, &e->job.bar, &r);
        *saving = status == IDM_OK && e->out;
        if (*saving) status = save_png(e->outputs.paths[i], &p, &r);
        if (*saving && status == IDM_OK && e->panels.count) status = save_panel(e->panels.paths[i], &p, p.luminance, &seen, &r);
        observation_free(&seen);
    }
    if (status == IDM_OK) add_row(e, path, &r);
    reconstruction_free(&r);
    picture_free(&p);
    return status;
}

// The rows and averages as one object; takes the rows.
static cJSON *result_object(evaluation *e)
{
    cJSON *object = cJSON_CreateObject(), *average;
    cJSON_AddItemToObject(object, "images", e->rows);
    e->rows = NULL;
    average = cJSON_AddObjectToObject(object, "average");
    cli_json_number(average, "psnr", e->psnr / (double)e->count);
    cli_json_number(average, "ssim", e->ssim / (double)e->count);
    if (e->job.failed) cJSON_AddItemToObject(object, "failed", cJSON_Duplicate(e->job.failures, true));
    return object;
}

static idm_status keep_result(const evaluation *e, const cJSON *object)
{
    char path[IDM_PATH_SIZE];
    IDM_TRY(files_join(path, sizeof path, e->out, EVAL_RESULT));
    char *text = cJSON_Print(object);
    if (!text) return status_fail(IDM_FAILED, "%s: out of memory", path);
    interrupt_hold();
    const idm_status status = files_write_whole(path, text, strlen(text));
    interrupt_release();
    cJSON_free(text);
    return status;
}

static idm_status finish(evaluation *e)
{
    const double count = (double)e->count;
    if (!e->job.call->json && e->count > 0)
        printf("%-28s %5zu %-7s %8.3f %9.5f\n", "average", e->count, e->count == 1 ? "image" : "images", e->psnr / count, e->ssim / count);
    cJSON *object = result_object(e);
    const idm_status status = e->out ? keep_result(e, object) : IDM_OK;
    if (e->job.call->json && status == IDM_OK) IDM_TRY(cli_print_json(object));
    else cJSON_Delete(object);
    return status == IDM_OK ? job_end(&e->job) : status;
}

static idm_status run_all(evaluation *e)
{
    plan_all(e);
    IDM_TRY(job_begin(&e->job, false));
    if (!e->job.call->json) printf("%-28s %-13s %8s %9s %9s\n", "file", "height x width", "PSNR dB", "SSIM", "seconds");
    for (size_t i = 0; i < e->job.inputs.count; i++) {
        bool saving;
        job_next(&e->job, i);
        const idm_status status = evaluate_one(e, i, &saving);
        if (status != IDM_OK && saving) return status;
        if (status != IDM_OK) IDM_TRY(job_failed(&e->job, i, status));
    }
    return finish(e);
}

static idm_status name_outputs(evaluation *e, const cli_call *call, const files_list *inputs)
{
    const bool panel = cli_flag(call, "panel");
    e->out = cli_value(call, "out");
    if (!e->out) return panel ? status_fail(IDM_USAGE, "--panel needs --out DIR, the folder to write to") : IDM_OK;
    IDM_TRY(inputs_open_folder(e->out));
    IDM_TRY(inputs_name_outputs(inputs, e->out, ".png", &e->outputs));
    if (panel) IDM_TRY(inputs_name_outputs(inputs, e->out, "_panel.png", &e->panels));
    return inputs_check_apart(inputs, &e->outputs, &e->panels);
}

static idm_status eval_run(const cli_call *call)
{
    evaluation e = {.rows = cJSON_CreateArray()};
    files_list inputs = {0};
    idm_status status = inputs_expand(call->inputs, call->input_count, INPUTS_PICTURES, &inputs);
    if (status == IDM_OK) status = name_outputs(&e, call, &inputs);
    if (status == IDM_OK) status = job_open(&e.job, call, &inputs);
    if (status == IDM_OK) {
        status = run_all(&e);
        progress_clear(&e.job.bar);
        job_close(&e.job);
    }
    files_list_free(&inputs);
    files_list_free(&e.outputs);
    files_list_free(&e.panels);
    cJSON_Delete(e.rows);
    return status;
}

static const cli_option eval_options[] = {
    {"out", 'o', "DIR", "keep there the reconstructed pictures as PNG, and eval.json with what --json prints"},
    {"panel", 0, NULL, "with --out: also NAME_panel.png: picture, A^T y, reconstruction, and map of errors side by side"},
    {0},
};

const cli_command eval_command = {
    .name = "eval",
    .arguments = "DATASET_DIR [--out DIR [--panel]]",
    .summary = "the published test protocol: PSNR and SSIM of every image of a folder",
    .description =
        "Every picture (png, tif, bmp, jpg) of the folder: luminance, zero-padded, measured with a permutation that belongs to\n"
        "sensing.seed and its file name, reconstructed, cropped, compared with the 8-bit luminance. A row per image in order of\n"
        "their names, and the average. An image that fails does not stop the others, but the exit status says so.",
    .least = 1,
    .most = 1,
    .options = eval_options,
    .run = eval_run,
};
