// `idm measure`
#include "cli/inputs.h"
#include "cli/interrupt.h"
#include "cli/measured.h"
#include "eval/camera.h"
#include <stdlib.h>
#include <string.h>

typedef struct measuring {
    const cli_call *call;
    files_list inputs, outputs;
    camera camera;
    given_operator given;
    int tile;
    bool truth;
    cJSON *rows;
    size_t failed;
    idm_status first_failure;
} measuring;

static idm_status choose_operator(measuring *s, const tiling *t, const char *path, idm_operator *op)
{
    if (!s->given.path) return camera_operator(&s->camera, t->tile_height, t->tile_width, files_name(path), op);
    if (s->given.made) return IDM_OK;
    idm_operator own;
    IDM_TRY(camera_operator(&s->camera, t->tile_height, t->tile_width, files_name(s->given.path), &own));
    return given_operator_save(&s->given, &own);
}

// x (tiles, 1, height, width): what the camera saw.
static idm_status cut_truth(const picture *p, const tiling *t, measurement *m)
{
    const size_t pixels = (size_t)t->height * (size_t)t->width, tile = (size_t)m->height * (size_t)m->width;
    float *plane = malloc(pixels * sizeof *plane);
    m->x = malloc(tile * (size_t)m->count * sizeof *m->x);
    if (plane && m->x) {
        for (size_t i = 0; i < pixels; i++) plane[i] = (float)p->luminance[i] / 255.0f;
        for (int i = 0; i < m->count; i++) tiling_cut(t, i, plane, m->x + (size_t)i * tile);
    }
    free(plane);
    return plane && m->x ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
}

// m borrows phi and perm from op.
static idm_status fill(const measuring *s, const picture *p, const tiling *t, const idm_operator *op, measurement *m)
{
    *m = (measurement){.count = tiling_count(t),
                       .height = op->height,
                       .width = op->width,
                       .original_height = t->rows > 1 ? op->height : t->height,
                       .original_width = t->columns > 1 ? op->width : t->width,
                       .block = op->block_size,
                       .measurements = op->measurements,
                       .cs_ratio = op->cs_ratio,
                       .phi = op->phi,
                       .perm = op->perm};
    if (m->count > 1) {
        m->picture_height = t->height;
        m->picture_width = t->width;
        m->tile_rows = t->rows;
        m->tile_columns = t->columns;
    }
    const size_t blocks = (size_t)op->height * (size_t)op->width / ((size_t)op->block_size * (size_t)op->block_size);
    m->y = malloc((size_t)m->count * blocks * (size_t)op->measurements * sizeof *m->y);
    if (!m->y) return status_fail(IDM_FAILED, "out of memory");
    IDM_TRY(evaluate_measure(op, t, p->luminance, m->y));
    return s->truth ? cut_truth(p, t, m) : IDM_OK;
}

static void add_row(measuring *s, size_t i, const picture *p, const measurement *m)
{
    const char *in = s->inputs.paths[i], *out = s->outputs.paths[i];
    const int blocks = m->height / m->block * (m->width / m->block);
    if (!s->call->json)
        printf("%s -> %s: %d x %d, %d x %d blocks of %d measurements\n", in, out, p->image.height, p->image.width, m->count, blocks,
               m->measurements);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "file", in);
    cJSON_AddStringToObject(row, "out", out);
    cJSON_AddNumberToObject(row, "height", p->image.height);
    cJSON_AddNumberToObject(row, "width", p->image.width);
    cJSON_AddNumberToObject(row, "tiles", m->count);
    cJSON_AddNumberToObject(row, "measurements", (double)m->count * blocks * m->measurements);
    cJSON_AddItemToArray(s->rows, row);
}

static idm_status measure_picture(measuring *s, size_t i, const picture *p, bool *saving)
{
    tiling t;
    const int block = s->given.made ? s->given.op.block_size : s->camera.block_size;
    IDM_TRY(tiling_make(p->image.height, p->image.width, s->tile, block, &t));
    idm_operator own = {0};
    IDM_TRY(choose_operator(s, &t, s->inputs.paths[i], &own));
    const idm_operator *op = s->given.path ? &s->given.op : &own;
    measurement m = {0};
    idm_status status = evaluate_check_operator(op, &t);
    if (status == IDM_OK) status = fill(s, p, &t, op, &m);
    if (status == IDM_OK) {
        *saving = true;
        interrupt_hold();
        status = measurement_save(s->outputs.paths[i], &m, !s->given.path);
        interrupt_release();
    }
    if (status == IDM_OK) add_row(s, i, p, &m);
    free(m.y);
    free(m.x);
    idm_operator_free(&own);
    return status;
}

static idm_status measure_all(measuring *s)
{
    for (size_t i = 0; i < s->inputs.count; i++) {
        const char *path = s->inputs.paths[i];
        picture p;
        bool saving = false;
        idm_status status = picture_load(path, &p);
        if (status == IDM_OK) {
            status = measure_picture(s, i, &p, &saving);
            picture_free(&p);
        }
        if (status == IDM_OK) continue;
        if (!strstr(idm_message(), path) && !saving) (void)status_prefix(status, "%s", path);
        if (saving || s->inputs.count == 1) return status;
        cli_warn("%s", idm_message());
        if (s->failed++ == 0) s->first_failure = status;
    }
    if (s->call->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddItemToObject(object, "files", s->rows);
        s->rows = NULL;
        IDM_TRY(cli_print_json(object));
    }
    return s->failed ? status_fail(s->first_failure, "%zu of %zu pictures failed", s->failed, s->inputs.count) : IDM_OK;
}

static idm_status prepare(measuring *s)
{
    const char *out = cli_value(s->call, "out");
    if (!out) return status_fail(IDM_USAGE, "measure needs --out DIR");
    IDM_TRY(measured_tile(s->call, &s->tile));
    IDM_TRY(inputs_expand(s->call->inputs, s->call->input_count, INPUTS_PICTURES, &s->inputs));
    IDM_TRY(inputs_open_folder(out));
    IDM_TRY(inputs_name_outputs(&s->inputs, out, ".safetensors", &s->outputs));
    IDM_TRY(given_operator_open(&s->given, cli_value(s->call, "operator")));
    if (s->given.made) return IDM_OK;
    IDM_TRY(camera_open(&s->call->config, &s->camera));
    cli_note(s->call, "blocks of %d x %d, %d measurements each", s->camera.block_size, s->camera.block_size, s->camera.measurements);
    return IDM_OK;
}

static idm_status measure_run(const cli_call *call)
{
    measuring s = {.call = call, .truth = !cli_flag(call, "no-truth"), .rows = cJSON_CreateArray()};
    idm_status status = prepare(&s);
    if (status == IDM_OK) status = measure_all(&s);
    cJSON_Delete(s.rows);
    camera_close(&s.camera);
    given_operator_close(&s.given);
    files_list_free(&s.inputs);
    files_list_free(&s.outputs);
    return status;
}

static const cli_option measure_options[] = {
    {"out", 'o', "DIR", "folder of the measurement files, NAME.safetensors for NAME.png"},
    {"tile", 0, "SIDE", "cut pictures larger than this into overlapping tiles of SIDE x SIDE pixels, measured independently"},
    {"operator", 0, "FILE", "one sampling operator for all: read from FILE, or made and written there; the files then leave it out"},
    {"no-truth", 0, NULL, "leave the picture itself out of the file"},
    {0},
};

const cli_command measure_command = {
    .name = "measure",
    .arguments = "IMAGE... --out DIR",
    .summary = "simulate the camera: write a measurement file per image",
    .description =
        "IMAGE: pictures (png, tif, bmp, jpg) and folders of them. Of each the luminance is measured, zero-padded to whole\n"
        "blocks: y = A x with Phi of the weights file (or from sensing.seed) and a permutation that belongs to sensing.seed and\n"
        "the file name. With --tile a large picture becomes one file of several planes with the same A. Needs no device.",
    .least = 1,
    .most = 1 << 30,
    .options = measure_options,
    .run = measure_run,
};
