#include "cli/inputs.h"

#include "core/status.h"
#include "io/image_probe.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_ending(const char *path, int kinds)
{
    const char *dot = strrchr(files_name(path), '.');
    if ((kinds & INPUTS_PICTURES) && image_has_ending(path)) return true;
    return (kinds & INPUTS_MEASUREMENTS) && dot && strcasecmp(dot, ".safetensors") == 0;
}

static idm_status append(files_list *list, const char *path)
{
    char **grown = realloc(list->paths, (list->count + 1) * sizeof *grown), *copy = strdup(path);
    if (grown) list->paths = grown;
    if (!grown || !copy) {
        free(copy);
        return status_fail(IDM_FAILED, "out of memory");
    }
    list->paths[list->count++] = copy;
    return IDM_OK;
}

static idm_status append_folder(const char *folder, int kinds, files_list *list)
{
    files_list all;
    IDM_TRY(files_list_folder(folder, false, &all));
    const size_t before = list->count;
    idm_status status = IDM_OK;
    for (size_t i = 0; i < all.count && status == IDM_OK; i++)
        if (has_ending(all.paths[i], kinds)) status = append(list, all.paths[i]);
    files_list_free(&all);
    if (status == IDM_OK && list->count == before)
        status = status_fail(IDM_BAD_INPUT, "%s: no %s in this folder", folder,
                             kinds & INPUTS_MEASUREMENTS ? "picture (png, tif, bmp, jpg) or measurement (safetensors)"
                                                         : "picture (png, tif, bmp, jpg)");
    return status;
}

idm_status inputs_expand(char *const *words, int count, int kinds, files_list *list)
{
    *list = (files_list){0};
    idm_status status = IDM_OK;
    for (int i = 0; i < count && status == IDM_OK; i++) {
        if (files_is_folder(words[i])) status = append_folder(words[i], kinds, list);
        else status = append(list, words[i]);
    }
    if (status != IDM_OK) files_list_free(list);
    return status;
}

bool inputs_is_measurement(const char *path)
{
    unsigned char start[9] = {0};
    FILE *file = fopen(path, "rb");
    const size_t got = file ? fread(start, 1, sizeof start, file) : 0;
    if (file) (void)fclose(file);
    // header size below 2^32, then JSON; no picture format begins with four bytes and four zeros
    return got == sizeof start && start[8] == '{' && (start[4] | start[5] | start[6] | start[7]) == 0;
}

idm_status inputs_open_folder(const char *folder)
{
    IDM_TRY(files_make_folders(folder));
    if (access(folder, W_OK | X_OK) != 0) return status_fail(IDM_FAILED, "%s: cannot write into this folder: %s", folder, strerror(errno));
    return IDM_OK;
}

static bool same_file(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static idm_status check_outputs(const files_list *inputs, const files_list *outputs)
{
    for (size_t i = 0; i < outputs->count; i++) {
        for (size_t k = 0; k < i; k++)
            if (strcmp(outputs->paths[i], outputs->paths[k]) == 0)
                return status_fail(IDM_USAGE, "%s and %s would both be written to %s; do them in two calls with different --out",
                                   inputs->paths[k], inputs->paths[i], outputs->paths[i]);
        if (!files_exists(outputs->paths[i])) continue;
        for (size_t k = 0; k < inputs->count; k++)
            if (same_file(outputs->paths[i], inputs->paths[k]))
                return status_fail(IDM_USAGE, "%s would overwrite the input %s; choose another --out", outputs->paths[i], inputs->paths[k]);
    }
    return IDM_OK;
}

idm_status inputs_name_outputs(const files_list *inputs, const char *folder, const char *suffix, files_list *outputs)
{
    *outputs = (files_list){0};
    idm_status status = IDM_OK;
    for (size_t i = 0; i < inputs->count && status == IDM_OK; i++) {
        char base[NAME_MAX + 1], name[NAME_MAX + 64], path[PATH_MAX];
        status = files_base_name(base, sizeof base, inputs->paths[i]);
        if (status != IDM_OK) break;
        (void)snprintf(name, sizeof name, "%s%s", base, suffix);
        status = files_join(path, sizeof path, folder, name);
        if (status == IDM_OK) status = append(outputs, path);
    }
    if (status == IDM_OK) status = check_outputs(inputs, outputs);
    if (status != IDM_OK) files_list_free(outputs);
    return status;
}

idm_status inputs_check_apart(const files_list *inputs, const files_list *outputs, const files_list *others)
{
    for (size_t i = 0; i < outputs->count; i++)
        for (size_t k = 0; k < others->count; k++)
            if (strcmp(outputs->paths[i], others->paths[k]) == 0)
                return status_fail(IDM_USAGE,
                                   "what is made of %s and of %s would both be written to %s; do them in two calls with different --out",
                                   inputs->paths[i], inputs->paths[k], outputs->paths[i]);
    return IDM_OK;
}
