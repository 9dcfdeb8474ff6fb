// Writing and choosing; checkpoint_read.c reads.
#include "train/checkpoint.h"

#include "core/files.h"
#include "core/folders.h"
#include "core/status.h"
#include "io/safetensors.h"
#include "train/checkpoint_files.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTIAL ".partial"
static const char step_prefix[] = "step_";

// The path that values are on their way to, for messages.
typedef struct writing {
    const checkpoint_content *content;
    const char *path;
    checkpoint_kind kind; // of a weights file
    size_t kinds;         // in an optimizer file: m, v and perhaps ema of each parameter
} writing;

static const float *sound_values(const writing *w, checkpoint_kind kind, size_t index)
{
    const parameter_name *which = &w->content->w->parameters[index];
    const float *values = w->content->source(w->content->user, kind, which);
    if (!values) return NULL;
    const size_t bad = tensor_first_nonfinite(values, which->count);
    if (bad == which->count) return values;
    status_message("%s: %s%s holds NaN or infinity (value %zu): such a checkpoint is never written", w->path, checkpoint_prefixes[kind],
                   which->name, bad);
    return NULL;
}

static const float *weight_values(void *user, size_t index)
{
    const writing *w = user;
    return sound_values(w, w->kind, index);
}

static const void *optimizer_values(void *user, size_t index)
{
    const writing *w = user;
    return sound_values(w, (checkpoint_kind)(CHECKPOINT_M + index % w->kinds), index / w->kinds);
}

static idm_status write_weights(const char *folder, const checkpoint_content *content, checkpoint_kind kind)
{
    char path[PATH_MAX];
    IDM_TRY(files_join(path, sizeof path, folder, CHECKPOINT_WEIGHTS));
    if (!content->w->phi) return status_fail(IDM_FAILED, "%s: there is no phi, without which weights are worth nothing", path);
    writing w = {content, path, kind, 0};
    return weights_save_from(content->w, path, weight_values, &w);
}

static idm_status write_optimizer(const char *folder, const checkpoint_content *content)
{
    char path[PATH_MAX];
    IDM_TRY(files_join(path, sizeof path, folder, CHECKPOINT_OPTIMIZER));
    writing w = {.content = content, .path = path, .kinds = content->has_ema ? 3 : 2};
    const size_t count = content->w->count * w.kinds;
    safetensors_tensor *tensors = calloc(count + 1, sizeof *tensors);
    char(*names)[CHECKPOINT_NAME_SIZE] = calloc(count + 1, sizeof *names);
    idm_status status = IDM_FAILED;
    if (!tensors || !names) status = status_fail(IDM_FAILED, "%s: not enough memory to write", path);
    else {
        for (size_t i = 0; i < count; i++) {
            const parameter_name *p = &content->w->parameters[i / w.kinds];
            checkpoint_name(names[i], (checkpoint_kind)(CHECKPOINT_M + i % w.kinds), p);
            tensors[i] = (safetensors_tensor){.name = names[i], .dtype = FILE_F32, .rank = p->rank};
            memcpy(tensors[i].shape, p->shape, sizeof p->shape);
        }
        const safetensors_metadata metadata = {"format_version", "1"};
        status = safetensors_write_from(path, tensors, count, &metadata, 1, optimizer_values, &w);
    }
    free(tensors);
    free(names);
    return status;
}

static idm_status write_text(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX];
    IDM_TRY(files_join(path, sizeof path, folder, name));
    return files_write_whole(path, text, strlen(text));
}

static idm_status write_state(const char *folder, const training_state *state)
{
    char *text;
    IDM_TRY(training_state_format(state, &text));
    const idm_status status = write_text(folder, CHECKPOINT_STATE, text);
    free(text);
    return status;
}

idm_status checkpoint_write_config(const char *path, const idm_config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) return status_fail(IDM_FAILED, "%s: not enough memory to write", path);
    idm_status status = idm_config_write(config, memory);
    if (fclose(memory) != 0 && status == IDM_OK) status = status_fail(IDM_FAILED, "%s: not enough memory to write", path);
    if (status == IDM_OK) status = files_write_whole(path, text, size);
    free(text);
    return status;
}

static idm_status write_step(const char *folder, const checkpoint_content *content)
{
    char path[PATH_MAX];
    IDM_TRY(files_join(path, sizeof path, folder, CHECKPOINT_CONFIG));
    IDM_TRY(write_weights(folder, content, CHECKPOINT_WEIGHT));
    IDM_TRY(write_optimizer(folder, content));
    IDM_TRY(checkpoint_write_config(path, content->config));
    if (content->tuning) {
        IDM_TRY(files_join(path, sizeof path, folder, CHECKPOINT_TUNING));
        IDM_TRY(tuning_file_save(content->tuning, path));
    }
    return write_state(folder, content->state);
}

static idm_status make_paths(const char *run, const char *name, char final[PATH_MAX], char partial[PATH_MAX])
{
    char partial_name[64];
    (void)snprintf(partial_name, sizeof partial_name, "%s" PARTIAL, name);
    IDM_TRY(files_join(final, PATH_MAX, run, name));
    return files_join(partial, PATH_MAX, run, partial_name);
}

static void step_name(char out[48], uint64_t step)
{
    (void)snprintf(out, 48, "%s%07" PRIu64, step_prefix, step);
}

idm_status checkpoint_write(const char *run, const checkpoint_content *content)
{
    char name[48], final[PATH_MAX], partial[PATH_MAX];
    step_name(name, content->state->step);
    IDM_TRY(make_paths(run, name, final, partial));
    idm_status status = folders_make_empty(partial);
    if (status == IDM_OK) status = write_step(partial, content);
    if (status == IDM_OK) status = folders_put(partial, final);
    if (status == IDM_OK) return IDM_OK;
    folders_discard(partial);
    return status_prefix(status, "the checkpoint of step %" PRIu64 " failed", content->state->step);
}

static idm_status write_best(const char *folder, const checkpoint_content *content, const char *rows)
{
    IDM_TRY(write_weights(folder, content, content->has_ema ? CHECKPOINT_EMA : CHECKPOINT_WEIGHT));
    return write_text(folder, "validation.json", rows);
}

idm_status checkpoint_write_best(const char *run, const checkpoint_content *content, const char *rows)
{
    char final[PATH_MAX], partial[PATH_MAX];
    IDM_TRY(make_paths(run, "best", final, partial));
    idm_status status = folders_make_empty(partial);
    if (status == IDM_OK) status = write_best(partial, content, rows);
    if (status == IDM_OK) status = folders_put(partial, final);
    if (status == IDM_OK) return IDM_OK;
    folders_discard(partial);
    return status_prefix(status, "keeping the best weights failed");
}

// "step_0001000" -> 1000; false for other names.
static bool parse_step(const char *name, size_t length, uint64_t *step)
{
    enum { DIGITS_LEAST = 7, DIGITS_MOST = 19 };
    const size_t prefix = sizeof step_prefix - 1;
    if (length < prefix + DIGITS_LEAST || length > prefix + DIGITS_MOST || strncmp(name, step_prefix, prefix) != 0) return false;
    if (strspn(name + prefix, "0123456789") < length - prefix) return false;
    *step = strtoull(name + prefix, NULL, 10);
    return true;
}

static bool has_suffix(const char *name, const char *suffix)
{
    const size_t length = strlen(name), end = strlen(suffix);
    return length >= end && strcmp(name + length - end, suffix) == 0;
}

static int newer_first(const void *a, const void *b)
{
    const uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return (first < second) - (first > second);
}

// Steps of the folders that bear a checkpoint's final name, newest first. The caller frees *steps.
static idm_status list_steps(const char *run, uint64_t **steps, size_t *count)
{
    char **names;
    size_t name_count;
    *count = 0;
    *steps = NULL;
    IDM_TRY(folders_list(run, &names, &name_count));
    uint64_t *found = calloc(name_count + 1, sizeof *found);
    for (size_t i = 0; i < name_count && found; i++)
        if (parse_step(names[i], strlen(names[i]), &found[*count])) ++*count;
    folders_free_names(names, name_count);
    if (!found) return status_fail(IDM_FAILED, "%s: not enough memory", run);
    qsort(found, *count, sizeof *found, newer_first);
    *steps = found;
    return IDM_OK;
}

// Whole as far as can be told without reading all of it.
static idm_status check_complete(const char *path, uint64_t step)
{
    checkpoint *c;
    IDM_TRY(checkpoint_open(path, &c));
    const uint64_t inside = checkpoint_state(c)->step;
    checkpoint_close(c);
    if (inside == step) return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s: its state is of step %" PRIu64, path, inside);
}

idm_status checkpoint_newest(const char *run, warning_sink warn, char *path, size_t size)
{
    uint64_t *steps;
    size_t count;
    path[0] = '\0';
    IDM_TRY(list_steps(run, &steps, &count));
    idm_status status = IDM_OK;
    bool found = false;
    for (size_t i = 0; i < count && !found && status == IDM_OK; i++) {
        char name[48], text[2048];
        step_name(name, steps[i]);
        status = files_join(path, size, run, name);
        if (status != IDM_OK) break;
        const idm_status whole = check_complete(path, steps[i]);
        found = whole == IDM_OK;
        if (whole == IDM_FAILED) status = whole;
        if (found || whole == IDM_FAILED || !warn.say) continue;
        (void)snprintf(text, sizeof text, "%.500s is damaged and passed over: %.1400s", name, idm_message());
        warn.say(warn.user, text);
    }
    free(steps);
    if (!found) path[0] = '\0';
    return status;
}

// A folder that is being removed must not look complete.
static idm_status remove_step(const char *run, uint64_t step)
{
    char name[48], final[PATH_MAX], partial[PATH_MAX];
    step_name(name, step);
    IDM_TRY(make_paths(run, name, final, partial));
    IDM_TRY(folders_remove(partial));
    if (rename(final, partial) != 0) return status_fail(IDM_FAILED, "%s: cannot remove this old checkpoint: %s", final, strerror(errno));
    return folders_remove(partial);
}

idm_status checkpoint_prune(const char *run, int keep)
{
    uint64_t *steps;
    size_t count;
    IDM_TRY(list_steps(run, &steps, &count));
    idm_status status = IDM_OK;
    int kept = 0;
    for (size_t i = 0; i < count && status == IDM_OK; i++) {
        char name[48], path[PATH_MAX];
        step_name(name, steps[i]);
        status = files_join(path, sizeof path, run, name);
        if (status != IDM_OK || check_complete(path, steps[i]) != IDM_OK) continue; // damaged: for the user to look at
        if (kept < keep) kept++;
        else status = remove_step(run, steps[i]);
    }
    free(steps);
    return status;
}

static void say(warning_sink warn, const char *run, const char *name, const char *what)
{
    char text[PATH_MAX + 128];
    (void)snprintf(text, sizeof text, "%s: %s %s", run, name, what);
    if (warn.say) warn.say(warn.user, text);
}

// A folder of a checkpoint or of the best weights, by its name without the suffix.
static bool is_ours(const char *name, size_t length)
{
    uint64_t step;
    return parse_step(name, length, &step) || (length == 4 && strncmp(name, "best", 4) == 0);
}

static idm_status recover_one(const char *run, const char *name, warning_sink warn)
{
    char path[PATH_MAX];
    const size_t length = strlen(name);
    const char *suffix = has_suffix(name, PARTIAL) ? PARTIAL : has_suffix(name, FOLDERS_ASIDE) ? FOLDERS_ASIDE : NULL;
    if (!suffix || !is_ours(name, length - strlen(suffix))) return IDM_OK;
    IDM_TRY(files_join(path, sizeof path, run, name));
    if (strcmp(suffix, PARTIAL) == 0) {
        IDM_TRY(folders_remove(path));
        say(warn, run, name, "was never finished, and is removed");
        return IDM_OK;
    }
    bool recovered;
    path[strlen(path) - strlen(suffix)] = '\0';
    IDM_TRY(folders_recover(path, &recovered));
    if (recovered) say(warn, run, name, "is brought back: it was to be replaced when the program died");
    return IDM_OK;
}

idm_status checkpoint_recover(const char *run, warning_sink warn)
{
    char **names;
    size_t count;
    IDM_TRY(folders_list(run, &names, &count));
    idm_status status = IDM_OK;
    for (size_t i = 0; i < count && status == IDM_OK; i++) status = recover_one(run, names[i], warn);
    folders_free_names(names, count);
    return status;
}
