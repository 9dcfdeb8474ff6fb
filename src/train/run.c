#include "train/run.h"

#include "core/append.h"
#include "core/files.h"
#include "core/status.h"
#include "train/checkpoint_files.h"
#include "train/tensorboard.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct run {
    char folder[IDM_PATH_SIZE], checkpoint[PATH_MAX];
    uint64_t step, validated;
    int lock; // descriptor
    appender log, validation;
    tensorboard *board;
};

static idm_status path_in(const run *r, const char *name, char out[PATH_MAX])
{
    return files_join(out, PATH_MAX, r->folder, name);
}

static idm_status refuse_second(const run *r)
{
    char holder[32] = "";
    const ssize_t length = pread(r->lock, holder, sizeof holder - 1, 0);
    holder[length > 0 ? strspn(holder, "0123456789") : 0] = '\0';
    return status_fail(IDM_USAGE, "%s: process %s trains in this directory; end it first, or choose another train.out", r->folder,
                       holder[0] ? holder : "(unknown)");
}

// The lock is the system's and ends with the process, however that ends; the number in the file is for people.
static idm_status lock(run *r, warning_sink warn)
{
    char path[PATH_MAX], text[64];
    IDM_TRY(path_in(r, "lock", path));
    r->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock < 0) return status_fail(IDM_FAILED, "%s: cannot write: %s", path, strerror(errno));
    if (flock(r->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) return refuse_second(r);
        (void)snprintf(text, sizeof text, "run directory not locked: %.30s", strerror(errno));
        if (warn.say) warn.say(warn.user, text);
    }
    const int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(r->lock, 0) == 0 && pwrite(r->lock, text, (size_t)length, 0) == length) return IDM_OK;
    return status_fail(IDM_FAILED, "%s: cannot write: %s", path, strerror(errno));
}

static idm_status choose_checkpoint(run *r, bool resume, warning_sink warn)
{
    checkpoint *c;
    IDM_TRY(checkpoint_recover(r->folder, warn));
    IDM_TRY(checkpoint_newest(r->folder, warn, r->checkpoint, sizeof r->checkpoint));
    const bool found = r->checkpoint[0] != '\0';
    if (found && !resume)
        return status_fail(IDM_USAGE, "%s: there is a run already, up to %s; go on with --resume, or choose another train.out", r->folder,
                           files_name(r->checkpoint));
    if (!found && resume && warn.say) {
        char text[PATH_MAX + 80];
        (void)snprintf(text, sizeof text, "%s: no complete checkpoint yet, training starts from the beginning", r->folder);
        warn.say(warn.user, text);
    }
    if (!found) return IDM_OK;
    IDM_TRY(checkpoint_open(r->checkpoint, &c));
    r->step = checkpoint_state(c)->step;
    checkpoint_close(c);
    return IDM_OK;
}

idm_status run_open(const idm_config *config, bool resume, warning_sink warn, run **result)
{
    *result = NULL;
    if (config->train.out[0] == '\0') return status_fail(IDM_USAGE, "train.out is not set: it names the run directory");
    if (resume && !files_is_folder(config->train.out))
        return status_fail(IDM_BAD_INPUT, "%s: there is no such run to resume", config->train.out);
    run *r = calloc(1, sizeof *r);
    if (!r) return status_fail(IDM_FAILED, "%s: not enough memory", config->train.out);
    r->lock = -1;
    (void)snprintf(r->folder, sizeof r->folder, "%s", config->train.out);
    idm_status status = files_make_folders(r->folder);
    if (status == IDM_OK) status = lock(r, warn);
    if (status == IDM_OK) status = choose_checkpoint(r, resume, warn);
    if (status == IDM_OK) *result = r;
    else run_close(r);
    return status;
}

void run_close(run *r)
{
    if (!r) return;
    tensorboard_close(r->board);
    append_close(&r->log);
    append_close(&r->validation);
    if (r->lock >= 0) (void)close(r->lock);
    free(r);
}

const char *run_folder(const run *r)
{
    return r->folder;
}

const char *run_checkpoint(const run *r)
{
    return r->checkpoint;
}

uint64_t run_validated_step(const run *r)
{
    return r->validated;
}

uint64_t run_step(const run *r)
{
    return r->step;
}

// A whole line of a step up to `last`.
static bool is_kept(const char *line, size_t length, uint64_t last, uint64_t *step)
{
    return length > 0 && line[length - 1] == '\n' && sscanf(line, "{\"step\":%" SCNu64, step) == 1 && *step <= last;
}

// *newest: the last kept line's step.
static idm_status copy_kept(FILE *in, files_writer *out, uint64_t last, uint64_t *newest)
{
    char *line = NULL;
    size_t capacity = 0;
    uint64_t step;
    idm_status status = IDM_OK;
    for (ssize_t length; status == IDM_OK && (length = getline(&line, &capacity, in)) > 0;)
        if (is_kept(line, (size_t)length, last, &step)) {
            status = files_write(out, line, (size_t)length);
            *newest = step;
        }
    free(line);
    return status;
}

// Leaves the lines up to the step that training goes on from.
static idm_status cut_lines(const char *path, uint64_t last, uint64_t *newest)
{
    files_writer *out;
    FILE *in = fopen(path, "rbe");
    if (!in && errno == ENOENT) return IDM_OK;
    if (!in) return status_fail(IDM_FAILED, "%s: cannot read: %s", path, strerror(errno));
    idm_status status = files_write_begin(path, &out);
    if (status == IDM_OK) {
        status = copy_kept(in, out, last, newest);
        if (status == IDM_OK && ferror(in)) status = status_fail(IDM_FAILED, "%s: cannot read: %s", path, strerror(errno));
        if (status == IDM_OK) status = files_write_commit(out);
        else files_write_abort(out);
    }
    (void)fclose(in);
    return status;
}

static idm_status begin_lines(const run *r, const char *name, appender *lines, uint64_t *newest)
{
    char path[PATH_MAX];
    *newest = 0;
    IDM_TRY(path_in(r, name, path));
    IDM_TRY(cut_lines(path, r->step, newest));
    return append_open(path, false, NULL, lines);
}

// What a program that was killed while it wrote them left beside these files.
static idm_status remove_leftovers(const run *r)
{
    static const char *const names[] = {CHECKPOINT_CONFIG, RUN_LOG, RUN_VALIDATION};
    files_list list;
    IDM_TRY(files_list_folder(r->folder, false, &list));
    for (size_t i = 0; i < list.count; i++) {
        const char *name = files_name(list.paths[i]), *ending = strrchr(name, '.');
        if (!ending || strcmp(ending, ".tmp") != 0) continue;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            if (strncmp(name, names[k], strlen(names[k])) == 0) (void)unlink(list.paths[i]);
    }
    files_list_free(&list);
    return IDM_OK;
}

idm_status run_start(run *r, const idm_config *config)
{
    char path[PATH_MAX];
    IDM_TRY(remove_leftovers(r));
    IDM_TRY(path_in(r, CHECKPOINT_CONFIG, path));
    IDM_TRY(checkpoint_write_config(path, config));
    uint64_t logged;
    IDM_TRY(begin_lines(r, RUN_LOG, &r->log, &logged));
    IDM_TRY(begin_lines(r, RUN_VALIDATION, &r->validation, &r->validated));
    return tensorboard_open(r->folder, r->step, &r->board);
}

// Prints and deletes the object. *line: with its line end; NULL: no memory, which calls that build the object may have met too.
static idm_status append_json(appender *lines, cJSON *object, bool sound, char **line)
{
    char *text = sound ? cJSON_PrintUnformatted(object) : NULL;
    *line = NULL;
    cJSON_Delete(object);
    if (!text || asprintf(line, "%s\n", text) < 0) *line = NULL;
    cJSON_free(text);
    if (!*line) return status_fail(IDM_FAILED, "%s: not enough memory to write a line", lines->path);
    return append_write(lines, *line, strlen(*line));
}

typedef struct member {
    const char *name;
    double value; // NaN and infinity become null
} member;

static bool add_members(cJSON *object, const member *members, size_t count)
{
    bool sound = object != NULL;
    for (size_t i = 0; i < count && sound; i++) sound = cJSON_AddNumberToObject(object, members[i].name, members[i].value) != NULL;
    return sound;
}

idm_status run_log(run *r, const run_row *row)
{
    const member members[] = {{"step", (double)row->step},
                              {"epoch", (double)row->epoch},
                              {"loss", row->loss},
                              {"lr", row->lr},
                              {"scale", row->scale},
                              {"seconds", row->seconds},
                              {"images_per_second", row->images_per_second},
                              {"peak_bytes", (double)row->peak_bytes},
                              {"skipped", (double)row->skipped}};
    cJSON *object = cJSON_CreateObject();
    char *line;
    const bool sound = add_members(object, members, sizeof members / sizeof *members);
    const idm_status status = append_json(&r->log, object, sound, &line);
    free(line);
    if (status != IDM_OK) return status;
    IDM_TRY(tensorboard_scalar(r->board, row->step, "train/loss", row->loss));
    IDM_TRY(tensorboard_scalar(r->board, row->step, "train/learning_rate", row->lr));
    IDM_TRY(tensorboard_scalar(r->board, row->step, "train/loss_scale", row->scale));
    return tensorboard_scalar(r->board, row->step, "train/images_per_second", row->images_per_second);
}

static bool add_picture(cJSON *list, const run_validated *p)
{
    const member members[] = {{"height", p->height}, {"width", p->width}, {"psnr", p->psnr}, {"ssim", p->ssim}, {"seconds", p->seconds}};
    cJSON *object = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(list, object)) {
        cJSON_Delete(object);
        return false;
    }
    return cJSON_AddStringToObject(object, "file", p->file) && add_members(object, members, sizeof members / sizeof *members);
}

idm_status run_log_validation(run *r, const run_validation *v, char **line)
{
    double psnr = 0, ssim = 0;
    for (size_t i = 0; i < v->count; i++) {
        psnr += v->pictures[i].psnr / (double)v->count;
        ssim += v->pictures[i].ssim / (double)v->count;
    }
    const member members[] = {{"step", (double)v->step}, {"epoch", (double)v->epoch}, {"psnr", psnr}, {"ssim", ssim}};
    cJSON *object = cJSON_CreateObject();
    bool sound = add_members(object, members, sizeof members / sizeof *members);
    cJSON *list = sound ? cJSON_AddArrayToObject(object, "pictures") : NULL;
    sound = list != NULL;
    for (size_t i = 0; i < v->count && sound; i++) sound = add_picture(list, &v->pictures[i]);
    idm_status status = append_json(&r->validation, object, sound, line);
    if (status == IDM_OK) status = tensorboard_scalar(r->board, v->step, "validation/psnr", psnr);
    if (status == IDM_OK) status = tensorboard_scalar(r->board, v->step, "validation/ssim", ssim);
    if (status == IDM_OK) return IDM_OK;
    free(*line);
    *line = NULL;
    return status;
}

idm_status run_picture(run *r, uint64_t step, const char *name, const idm_image *image)
{
    enum { PICTURE_MAX = 1 << 30 };
    char base[NAME_MAX + 1], folder_name[64], file_name[NAME_MAX + 8], folder[PATH_MAX], path[PATH_MAX], tag[NAME_MAX + 16];
    uint8_t *png;
    size_t size;
    IDM_TRY(files_base_name(base, sizeof base, name));
    (void)snprintf(folder_name, sizeof folder_name, RUN_PICTURES, step);
    (void)snprintf(file_name, sizeof file_name, "%s.png", base);
    (void)snprintf(tag, sizeof tag, "validation/%s", base);
    IDM_TRY(path_in(r, folder_name, folder));
    IDM_TRY(files_join(path, sizeof path, folder, file_name));
    IDM_TRY(files_make_folders(folder));
    IDM_TRY(idm_image_save_png(path, image));
    IDM_TRY(files_read_whole(path, PICTURE_MAX, &png, &size));
    const idm_status status = tensorboard_image(r->board, step, tag, png, size);
    free(png);
    return status;
}

idm_status run_sync(run *r)
{
    IDM_TRY(append_sync(&r->log));
    IDM_TRY(append_sync(&r->validation));
    return tensorboard_sync(r->board);
}
