#include "train/history.h"

#include "core/files.h"
#include "core/status.h"

#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static uint64_t whole(const cJSON *object, const char *name)
{
    static const double most = 9007199254740992.0;
    const double value = number(object, name);
    return value > 0 && value < most ? (uint64_t)value : 0;
}

// One more element of `size` bytes, zeroed, at the end of an array whose capacity is the power of two at or above its count.
static void *grow(void **array, size_t *count, size_t size)
{
    if ((*count & (*count - 1)) == 0) { // 0, 1, 2, 4, ...: full
        void *grown = realloc(*array, (*count ? 2 * *count : 1) * size);
        if (!grown) return NULL;
        *array = grown;
    }
    void *element = (char *)*array + (*count)++ * size;
    memset(element, 0, size);
    return element;
}

static bool add_row(history *h, const cJSON *line)
{
    run_row *row = grow((void **)&h->rows, &h->row_count, sizeof *row);
    if (!row) return false;
    *row = (run_row){.step = whole(line, "step"),
                     .epoch = whole(line, "epoch"),
                     .skipped = whole(line, "skipped"),
                     .peak_bytes = whole(line, "peak_bytes"),
                     .loss = number(line, "loss"),
                     .lr = number(line, "lr"),
                     .scale = number(line, "scale"),
                     .seconds = number(line, "seconds"),
                     .images_per_second = number(line, "images_per_second")};
    return true;
}

static bool add_validation(history *h, const cJSON *line)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(line, "pictures"), *item;
    run_validation *v = grow((void **)&h->validations, &h->validation_count, sizeof *v);
    if (!v) return false;
    v->step = whole(line, "step");
    v->epoch = whole(line, "epoch");
    run_validated *pictures = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *pictures);
    v->pictures = pictures;
    if (!pictures) return false;
    cJSON_ArrayForEach(item, list)
    {
        const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "file"));
        char *name = strdup(file ? file : "");
        if (!name) return false;
        pictures[v->count++] = (run_validated){.file = name,
                                               .height = (int)fmin((double)whole(item, "height"), INT_MAX),
                                               .width = (int)fmin((double)whole(item, "width"), INT_MAX),
                                               .psnr = number(item, "psnr"),
                                               .ssim = number(item, "ssim"),
                                               .seconds = number(item, "seconds")};
    }
    return true;
}

typedef bool adder(history *h, const cJSON *line);

static idm_status read_lines(const char *folder, const char *name, adder *add, history *h)
{
    enum { LOG_MAX = 1 << 30 };
    char path[PATH_MAX];
    uint8_t *text;
    size_t size;
    IDM_TRY(files_join(path, sizeof path, folder, name));
    if (!files_exists(path)) return IDM_OK;
    IDM_TRY(files_read_whole(path, LOG_MAX, &text, &size));
    idm_status status = IDM_OK;
    size_t number_of_line = 1;
    for (char *line = (char *)text, *end; status == IDM_OK && (end = strchr(line, '\n')) != NULL; line = end + 1, number_of_line++) {
        *end = '\0';
        cJSON *object = cJSON_Parse(line);
        if (!cJSON_IsObject(object)) status = status_fail(IDM_BAD_INPUT, "%s, line %zu: not a line that idm logs", path, number_of_line);
        else if (!add(h, object)) status = status_fail(IDM_FAILED, "%s: not enough memory", path);
        cJSON_Delete(object);
    }
    free(text);
    return status;
}

idm_status history_read(const char *folder, history *h)
{
    *h = (history){0};
    idm_status status = read_lines(folder, RUN_LOG, add_row, h);
    if (status == IDM_OK) status = read_lines(folder, RUN_VALIDATION, add_validation, h);
    if (status != IDM_OK) history_free(h);
    return status;
}

void history_free(history *h)
{
    for (size_t i = 0; i < h->validation_count; i++) {
        const run_validation *v = &h->validations[i];
        for (size_t k = 0; k < v->count; k++) free((char *)v->pictures[k].file);
        free((run_validated *)v->pictures);
    }
    free(h->rows);
    free(h->validations);
    *h = (history){0};
}
