// `idm reconstruct`
#include "cli/inputs.h"
#include "cli/job.h"
#include "cli/measured.h"
#include "cli/save.h"
#include "eval/camera.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reconstructing {
    job job;
    files_list pictures, raws, panels; // outputs; raws is empty without --raw, panels without --panel
    given_operator given;
    int tile;
    cJSON *rows;
} reconstructing;

// A picture to measure, or a measurement of one or several pictures.
typedef struct source {
    picture picture;
    measurement measurement;
    bool measured;
    tiling tiling; // of each picture
    int pictures;
} source;

static void source_free(source *s)
{
    if (s->measured) measurement_free(&s->measurement);
    else picture_free(&s->picture);
}

static idm_status load_picture(const reconstructing *r, const char *path, source *s)
{
    IDM_TRY(picture_load(path, &s->picture));
    s->pictures = 1;
    const int block = idm_session_block_size(r->job.session);
    const idm_status status = tiling_make(s->picture.image.height, s->picture.image.width, r->tile, block, &s->tiling);
    if (status != IDM_OK) picture_free(&s->picture);
    return status;
}

static idm_status load_measurement(const reconstructing *r, const char *path, source *s)
{
    measurement *m = &s->measurement;
    IDM_TRY(measurement_load(path, r->given.path, m));
    s->measured = true;
    s->pictures = m->tile_rows ? 1 : m->count;
    if (m->tile_rows) s->tiling = (tiling){m->picture_height, m->picture_width, m->height, m->width, m->tile_rows, m->tile_columns};
    else s->tiling = (tiling){m->original_height, m->original_width, m->height, m->width, 1, 1};
    const idm_status status = tiling_check(&s->tiling);
    if (status != IDM_OK) measurement_free(m);
    return status == IDM_OK ? IDM_OK : status_prefix(status, "%s", path);
}

static idm_status load(const reconstructing *r, size_t i, source *s)
{
    const char *path = r->job.inputs.paths[i];
    *s = (source){0};
    return inputs_is_measurement(path) ? load_measurement(r, path, s) : load_picture(r, path, s);
}

static void plan_all(reconstructing *r)
{
    for (size_t i = 0; i < r->job.inputs.count; i++) {
        source s;
        if (load(r, i, &s) != IDM_OK) continue; // reported when its turn comes
        for (int k = 0; k < s.pictures; k++) job_add_work(&r->job, i, &s.tiling);
        source_free(&s);
    }
}

static void add_row(reconstructing *r, const char *in, const char *out, const reconstruction *result)
{
    progress_clear(&r->job.bar);
    if (!r->job.call->json) {
        printf("%s -> %s: %d x %d", in, out, result->height, result->width);
        if (!isnan(result->psnr)) printf(", PSNR %.3f dB", result->psnr);
        if (!isnan(result->ssim)) printf(", SSIM %.5f", result->ssim);
        printf(", %.2f s\n", result->seconds);
        (void)fflush(stdout);
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "file", in);
    cJSON_AddStringToObject(row, "out", out);
    cJSON_AddNumberToObject(row, "height", result->height);
    cJSON_AddNumberToObject(row, "width", result->width);
    cli_json_number(row, "psnr", result->psnr);
    cli_json_number(row, "ssim", result->ssim);
    cJSON_AddNumberToObject(row, "seconds", result->seconds);
    cJSON_AddItemToArray(r->rows, row);
}

// 8-bit truth of picture `index` from the planes beside the measurements; NULL: not in the file, or out of memory.
static uint8_t *truth_of(const source *s, int index)
{
    const tiling *t = &s->tiling;
    const size_t pixels = (size_t)t->height * (size_t)t->width, tile = (size_t)t->tile_height * (size_t)t->tile_width;
    if (!s->measurement.x) return NULL;
    float *plane = malloc(pixels * sizeof *plane);
    uint8_t *truth = malloc(pixels);
    if (plane && truth) {
        tiling_blend(t, s->measurement.x + (size_t)(index * tiling_count(t)) * tile, plane);
        for (size_t i = 0; i < pixels; i++) truth[i] = (uint8_t)lrintf(fminf(fmaxf(plane[i], 0), 1) * 255);
    }
    free(plane);
    return truth;
}

// What picture `index` of the source is reconstructed from.
typedef struct shot {
    observation seen;
    idm_operator of_file;
    const uint8_t *truth; // NULL: not known
    uint8_t *own_truth;
    const picture *picture; // NULL: not known
} shot;

static idm_status take_shot(const reconstructing *r, size_t i, const source *s, int index, shot *t)
{
    *t = (shot){0};
    if (!s->measured) {
        t->picture = &s->picture;
        t->truth = s->picture.luminance;
        return evaluate_observe(r->job.session, &s->picture, files_name(r->job.inputs.paths[i]), r->given.made ? &r->given.op : NULL,
                                r->tile, &t->seen);
    }
    const measurement *m = &s->measurement;
    const size_t blocks = (size_t)m->height * (size_t)m->width / ((size_t)m->block * (size_t)m->block);
    t->of_file = camera_operator_of(m); // borrowed from the measurement, as is y
    t->seen = (observation){
        .tiling = s->tiling, .op = &t->of_file, .y = m->y + (size_t)(index * tiling_count(&s->tiling)) * blocks * (size_t)m->measurements};
    t->truth = t->own_truth = truth_of(s, index);
    return IDM_OK;
}

static void shot_free(shot *t)
{
    if (t->picture) observation_free(&t->seen);
    free(t->own_truth);
}

// "DIR/NAME.png" -> "DIR/NAME_2.png" where a measurement holds several pictures.
static void number_path(char *out, size_t size, const char *path, int index, int count)
{
    const char *dot = strrchr(path, '.');
    if (count == 1) (void)snprintf(out, size, "%s", path);
    else (void)snprintf(out, size, "%.*s_%d%s", (int)(dot - path), path, index, dot);
}

static idm_status save(reconstructing *r, size_t i, const source *s, int index, const shot *t, const reconstruction *result)
{
    char path[IDM_PATH_SIZE + 32];
    if (r->raws.count) {
        number_path(path, sizeof path, r->raws.paths[i], index, s->pictures);
        IDM_TRY(save_raw(path, result));
    }
    if (r->panels.count) {
        number_path(path, sizeof path, r->panels.paths[i], index, s->pictures);
        IDM_TRY(save_panel(path, t->picture, t->truth, &t->seen, result));
    }
    number_path(path, sizeof path, r->pictures.paths[i], index, s->pictures);
    IDM_TRY(save_png(path, t->picture, result));
    add_row(r, r->job.inputs.paths[i], path, result);
    return IDM_OK;
}

static idm_status reconstruct_one(reconstructing *r, size_t i, const source *s, int index, bool *saving)
{
    shot t;
    reconstruction result = {0};
    *saving = false;
    IDM_TRY(take_shot(r, i, s, index, &t));
    idm_status status =
        evaluate_reconstruct(r->job.session, t.seen.op, &t.seen.tiling, t.seen.y, t.truth, progress_report, &r->job.bar, &result);
    if (status == IDM_OK) {
        *saving = true;
        status = save(r, i, s, index, &t, &result);
    }
    reconstruction_free(&result);
    shot_free(&t);
    return status;
}

static idm_status reconstruct_input(reconstructing *r, size_t i, bool *saving)
{
    source s;
    IDM_TRY(load(r, i, &s));
    idm_status status = IDM_OK;
    for (int k = 0; k < s.pictures && status == IDM_OK; k++) status = reconstruct_one(r, i, &s, k, saving);
    source_free(&s);
    return status;
}

static idm_status run_all(reconstructing *r)
{
    plan_all(r);
    IDM_TRY(job_begin(&r->job, !cli_flag(r->job.call, "yes")));
    for (size_t i = 0; i < r->job.inputs.count; i++) {
        bool saving = false;
        job_next(&r->job, i);
        const idm_status status = reconstruct_input(r, i, &saving);
        if (status != IDM_OK && saving) return status;
        if (status != IDM_OK) IDM_TRY(job_failed(&r->job, i, status));
    }
    if (r->job.call->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddItemToObject(object, "images", r->rows);
        r->rows = NULL;
        if (r->job.failed) cJSON_AddItemToObject(object, "failed", cJSON_Duplicate(r->job.failures, true));
        IDM_TRY(cli_print_json(object));
    }
    return job_end(&r->job);
}

// All that can be wrong before the weights are loaded.
static idm_status prepare(reconstructing *r, const cli_call *call, files_list *inputs)
{
    const char *out = cli_value(call, "out");
    if (!out) return status_fail(IDM_USAGE, "reconstruct needs --out DIR");
    IDM_TRY(measured_tile(call, &r->tile));
    IDM_TRY(inputs_expand(call->inputs, call->input_count, INPUTS_PICTURES | INPUTS_MEASUREMENTS, inputs));
    if (inputs->count == 1 && !files_exists(inputs->paths[0])) return status_fail(IDM_BAD_INPUT, "%s: no such file", inputs->paths[0]);
    IDM_TRY(inputs_open_folder(out));
    IDM_TRY(inputs_name_outputs(inputs, out, ".png", &r->pictures));
    if (cli_flag(call, "raw")) IDM_TRY(inputs_name_outputs(inputs, out, ".safetensors", &r->raws));
    if (cli_flag(call, "panel")) IDM_TRY(inputs_name_outputs(inputs, out, "_panel.png", &r->panels));
    IDM_TRY(inputs_check_apart(inputs, &r->pictures, &r->panels));
    const char *operator_path = cli_value(call, "operator");
    if (operator_path && !files_exists(operator_path)) return status_fail(IDM_BAD_INPUT, "%s: no such file", operator_path);
    return given_operator_open(&r->given, operator_path);
}

static idm_status reconstruct_run(const cli_call *call)
{
    reconstructing r = {.rows = cJSON_CreateArray()};
    files_list inputs = {0};
    idm_status status = prepare(&r, call, &inputs);
    if (status == IDM_OK) status = job_open(&r.job, call, &inputs);
    if (status == IDM_OK) {
        status = run_all(&r);
        progress_clear(&r.job.bar);
        job_close(&r.job);
    }
    files_list_free(&inputs);
    files_list_free(&r.pictures);
    files_list_free(&r.raws);
    files_list_free(&r.panels);
    given_operator_close(&r.given);
    cJSON_Delete(r.rows);
    return status;
}

static const cli_option reconstruct_options[] = {
    {"out", 'o', "DIR", "folder of the pictures, NAME.png for NAME.safetensors or NAME.tif"},
    {"raw", 0, NULL, "also write NAME.safetensors: the plane `out` in float32, not clamped"},
    {"panel", 0, NULL, "also write NAME_panel.png: picture, A^T y, reconstruction, and map of errors side by side"},
    {"tile", 0, "SIDE", "cut images larger than this into overlapping tiles of SIDE x SIDE pixels (as measure does)"},
    {"operator", 0, "FILE", "the sampling operator of measurement files that leave it out; images are measured with it"},
    {"yes", 'y', NULL, "go on although it will take more than 10 minutes"},
    {0},
};

const cli_command reconstruct_command = {
    .name = "reconstruct",
    .arguments = "INPUT... --out DIR",
    .summary = "reconstruct measurement files, or images that are measured first",
    .description =
        "INPUT: measurement files, images (png, tif, bmp, jpg), and folders of them. Of a colour image the luminance is measured\n"
        "and reconstructed, its Cr and Cb are kept. Prints PSNR and SSIM where the truth is known. Jobs of more than 10 minutes\n"
        "stop with a prediction unless --yes is given.",
    .least = 1,
    .most = 1 << 30,
    .options = reconstruct_options,
    .run = reconstruct_run,
};
