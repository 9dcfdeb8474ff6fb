// `idm eval`
#include "cli/inputs.h"
#include "cli/job.h"
#include "cli/save.h"
#include <math.h>

typedef struct evaluation {
    job job;
    files_list outputs; // empty without --out
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
    reconstruction r = {0};
    *saving = false;
    IDM_TRY(picture_load(path, &p));
    idm_status status = evaluate_picture(e->job.session, &p, files_name(path), NULL, 0, progress_report, &e->job.bar, &r);
    if (status == IDM_OK && e->outputs.count) {
        *saving = true;
        status = save_png(e->outputs.paths[i], &p, &r);
    }
    if (status == IDM_OK) add_row(e, path, &r);
    reconstruction_free(&r);
    picture_free(&p);
    return status;
}

static idm_status finish(evaluation *e)
{
    const double count = (double)e->count;
    if (e->job.call->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddItemToObject(object, "images", e->rows);
        e->rows = NULL;
        cJSON *average = cJSON_AddObjectToObject(object, "average");
        cli_json_number(average, "psnr", e->psnr / count);
        cli_json_number(average, "ssim", e->ssim / count);
        if (e->job.failed) cJSON_AddItemToObject(object, "failed", cJSON_Duplicate(e->job.failures, true));
        IDM_TRY(cli_print_json(object));
    } else if (e->count > 0) {
        printf("%-28s %5zu %-7s %8.3f %9.5f\n", "average", e->count, e->count == 1 ? "image" : "images", e->psnr / count, e->ssim / count);
    }
    return job_end(&e->job);
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

static idm_status eval_run(const cli_call *call)
{
    evaluation e = {.rows = cJSON_CreateArray()};
    files_list inputs;
    const char *out = cli_value(call, "out");
    idm_status status = inputs_expand(call->inputs, call->input_count, INPUTS_PICTURES, &inputs);
    if (status == IDM_OK && out) {
        status = inputs_open_folder(out);
        if (status == IDM_OK) status = inputs_name_outputs(&inputs, out, ".png", &e.outputs);
    }
    if (status == IDM_OK) status = job_open(&e.job, call, &inputs);
    else files_list_free(&inputs);
    if (status == IDM_OK) {
        status = run_all(&e);
        progress_clear(&e.job.bar);
        job_close(&e.job);
    }
    files_list_free(&e.outputs);
    cJSON_Delete(e.rows);
    return status;
}

static const cli_option eval_options[] = {
    {"out", 'o', "DIR", "keep the reconstructed pictures there, as PNG"},
    {0},
};

const cli_command eval_command = {
    .name = "eval",
    .arguments = "DATASET_DIR [--out DIR]",
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
