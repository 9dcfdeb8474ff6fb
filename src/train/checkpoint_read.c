#include "core/config_keys.h"
#include "core/files.h"
#include "core/status.h"
#include "io/tensor_file.h"
#include "train/checkpoint_files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct checkpoint {
    char path[PATH_MAX];
    tensor_file *weights, *optimizer;
    training_state state;
    bool has_ema;
    float *values; // what checkpoint_read gave last
    size_t capacity;
};

const char *const checkpoint_prefixes[4] = {"", "m/", "v/", "ema/"};

void checkpoint_name(char out[CHECKPOINT_NAME_SIZE], checkpoint_kind kind, const parameter_name *which)
{
    (void)snprintf(out, CHECKPOINT_NAME_SIZE, "%s%s", checkpoint_prefixes[kind], which->name);
}

static idm_status path_of(const checkpoint *c, const char *name, char out[PATH_MAX])
{
    return files_join(out, PATH_MAX, c->path, name);
}

static idm_status read_state(checkpoint *c)
{
    enum { STATE_MAX = 1 << 16 };
    char path[PATH_MAX];
    uint8_t *text;
    size_t size;
    IDM_TRY(path_of(c, CHECKPOINT_STATE, path));
    IDM_TRY(files_read_whole(path, STATE_MAX, &text, &size));
    const idm_status status = strlen((char *)text) == size ? training_state_parse(path, (char *)text, &c->state)
                                                           : status_fail(IDM_BAD_INPUT, "%s: damaged: a zero byte", path);
    free(text);
    return status;
}

static idm_status open_parts(checkpoint *c)
{
    char path[PATH_MAX];
    IDM_TRY(path_of(c, CHECKPOINT_CONFIG, path));
    if (!files_exists(path)) return status_fail(IDM_BAD_INPUT, "%s is missing", path);
    IDM_TRY(read_state(c));
    IDM_TRY(path_of(c, CHECKPOINT_WEIGHTS, path));
    IDM_TRY(tensor_file_open(path, &c->weights));
    IDM_TRY(path_of(c, CHECKPOINT_OPTIMIZER, path));
    IDM_TRY(tensor_file_open(path, &c->optimizer));
    for (size_t i = 0; i < tensor_file_count(c->optimizer); i++)
        c->has_ema |= strncmp(tensor_file_at(c->optimizer, i)->name, checkpoint_prefixes[CHECKPOINT_EMA], 4) == 0;
    return IDM_OK;
}

idm_status checkpoint_open(const char *path, checkpoint **c)
{
    *c = calloc(1, sizeof **c);
    if (!*c) return status_fail(IDM_FAILED, "%s: not enough memory", path);
    idm_status status = files_join((*c)->path, sizeof(*c)->path, "", path);
    if (status == IDM_OK) status = open_parts(*c);
    if (status == IDM_OK) return IDM_OK;
    checkpoint_close(*c);
    *c = NULL;
    return status;
}

void checkpoint_close(checkpoint *c)
{
    if (!c) return;
    tensor_file_close(c->weights);
    tensor_file_close(c->optimizer);
    free(c->values);
    free(c);
}

const training_state *checkpoint_state(const checkpoint *c)
{
    return &c->state;
}

bool checkpoint_has_ema(const checkpoint *c)
{
    return c->has_ema;
}

idm_status checkpoint_read(checkpoint *c, checkpoint_kind kind, const parameter_name *which, const float **values)
{
    tensor_file *file = kind == CHECKPOINT_WEIGHT ? c->weights : c->optimizer;
    char name[CHECKPOINT_NAME_SIZE];
    checkpoint_name(name, kind, which);
    const tensor_entry *entry = tensor_file_find(file, name);
    if (!entry) return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" is missing", tensor_file_path(file), name);
    IDM_TRY(tensor_file_expect_shape(file, entry, which->rank, which->shape));
    if (entry->count > c->capacity) {
        free(c->values);
        c->values = malloc(entry->count * sizeof *c->values);
        c->capacity = c->values ? entry->count : 0;
        if (!c->values) return status_fail(IDM_FAILED, "%s: not enough memory", tensor_file_path(file));
    }
    IDM_TRY(tensor_file_read_f32(file, entry, c->values));
    IDM_TRY(tensor_file_check_finite(file, entry, c->values));
    *values = c->values;
    return IDM_OK;
}

// Keys whose value takes part in the numbers of a step; the network's sizes and phi come from the checkpoint itself.
static bool shapes_the_bits(const config_key *key)
{
    static const char *const keys[][2] = {
        {"data", "patch_size"},  {"train", "iterations_per_epoch"},
        {"train", "batch_size"}, {"train", "learning_rate"},
        {"train", "milestones"}, {"train", "gamma"},
        {"train", "precision"},  {"train", "seed"},
        {"train", "clip"},       {"train", "ema"},
        {"device", "gemm"},      {"device", "math"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key->section, keys[i][0]) == 0 && strcmp(key->name, keys[i][1]) == 0) return true;
    return false;
}

static idm_status config_changes(const idm_config *then, const idm_config *now, char *out, size_t size)
{
    size_t used = strlen(out);
    char was[IDM_PATH_SIZE + 16], is[IDM_PATH_SIZE + 16];
    for (size_t i = 0; i < CONFIG_KEY_COUNT && used < size; i++) {
        const config_key *key = &config_keys[i];
        if (!shapes_the_bits(key)) continue;
        IDM_TRY(config_format(then, key, "", was));
        IDM_TRY(config_format(now, key, "", is));
        if (strcmp(was, is) != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s.%s was %.200s, is %.200s", used ? "; " : "", key->section, key->name,
                                     was, is);
    }
    return IDM_OK;
}

idm_status checkpoint_changes(const checkpoint *c, const idm_config *config, const training_state *state, char *out, size_t size)
{
    char path[PATH_MAX];
    training_state_changes(&c->state, state, out, size);
    IDM_TRY(path_of(c, CHECKPOINT_CONFIG, path));
    idm_config *then = malloc(sizeof *then);
    if (!then) return status_fail(IDM_FAILED, "%s: not enough memory", path);
    idm_config_defaults(then);
    idm_status status = idm_config_load(then, path);
    if (status == IDM_OK) status = config_changes(then, config, out, size);
    free(then);
    return status == IDM_USAGE ? IDM_BAD_INPUT : status;
}
