#include "train/state.h"

#include "core/status.h"
#include "core/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "idm training state 1";

typedef enum field_type { FIELD_INT, FIELD_COUNT, FIELD_REAL, FIELD_TEXT } field_type;

#define FIELD(type, name, shapes)                                                                  \
    {                                                                                              \
#name, type, offsetof(training_state, name), sizeof(((training_state *)0)->name), (shapes) \
    }

static const struct field {
    const char *name;
    field_type type;
    size_t offset, size;
    bool shapes; // the bits
} fields[] = {
    FIELD(FIELD_COUNT, step, false),      FIELD(FIELD_COUNT, adam_step, false),     FIELD(FIELD_COUNT, good_steps, false),
    FIELD(FIELD_REAL, loss_scale, false), FIELD(FIELD_COUNT, skipped_steps, false), FIELD(FIELD_REAL, seconds, false),
    FIELD(FIELD_REAL, best_psnr, false),  FIELD(FIELD_COUNT, best_step, false),     FIELD(FIELD_INT, micro_batch, true),
    FIELD(FIELD_TEXT, recompute, true),   FIELD(FIELD_INT, anchors, true),          FIELD(FIELD_COUNT, slab_bytes, true),
    FIELD(FIELD_TEXT, variants, true),    FIELD(FIELD_TEXT, tuning, true),          FIELD(FIELD_INT, compute_units, true),
    FIELD(FIELD_TEXT, device, true),      FIELD(FIELD_TEXT, driver, true),          FIELD(FIELD_TEXT, version, true),
    FIELD(FIELD_COUNT, data_hash, true),  FIELD(FIELD_COUNT, data_count, true),
};
enum { FIELD_TOTAL = sizeof fields / sizeof *fields, VALUE_SIZE = 512 };

static void format_value(const struct field *field, const training_state *state, char out[VALUE_SIZE])
{
    const char *place = (const char *)state + field->offset;
    int integer;
    uint64_t count;
    double real;
    switch (field->type) {
    case FIELD_INT:
        memcpy(&integer, place, sizeof integer);
        (void)snprintf(out, VALUE_SIZE, "%d", integer);
        break;
    case FIELD_COUNT:
        memcpy(&count, place, sizeof count);
        (void)snprintf(out, VALUE_SIZE, "%" PRIu64, count);
        break;
    case FIELD_REAL:
        memcpy(&real, place, sizeof real);
        text_from_double(out, real);
        break;
    default:
        (void)snprintf(out, VALUE_SIZE, "%s", place);
        for (char *c = out; (c = strpbrk(c, "\n\r")); c++) *c = ' ';
        break;
    }
}

idm_status training_state_format(const training_state *state, char **text)
{
    const size_t size = sizeof first_line + 1 + FIELD_TOTAL * (size_t)(VALUE_SIZE + 32);
    char value[VALUE_SIZE];
    *text = malloc(size);
    if (!*text) return status_fail(IDM_FAILED, "not enough memory for the training state");
    size_t used = (size_t)snprintf(*text, size, "%s\n", first_line);
    for (size_t i = 0; i < FIELD_TOTAL; i++) {
        double real = 0;
        if (fields[i].type == FIELD_REAL) memcpy(&real, (const char *)state + fields[i].offset, sizeof real);
        if (isnan(real)) {
            free(*text);
            *text = NULL;
            return status_fail(IDM_FAILED, "the training state's %s is NaN", fields[i].name);
        }
        format_value(&fields[i], state, value);
        used += (size_t)snprintf(*text + used, size - used, "%s = %s\n", fields[i].name, value);
    }
    return IDM_OK;
}

static bool parse_value(const struct field *field, const char *text, training_state *state)
{
    char *place = (char *)state + field->offset;
    int64_t whole;
    uint64_t count;
    double real;
    switch (field->type) {
    case FIELD_INT:
        if (!text_to_int(text, &whole) || whole < INT32_MIN || whole > INT32_MAX) return false;
        memcpy(place, &(int){(int)whole}, sizeof(int));
        return true;
    case FIELD_COUNT:
        if (!text_to_uint(text, &count)) return false;
        memcpy(place, &count, sizeof count);
        return true;
    case FIELD_REAL:
        if (strcmp(text, "inf") == 0) real = INFINITY; // PSNR of equal pictures
        else if (!text_to_double(text, &real)) return false;
        memcpy(place, &real, sizeof real);
        return true;
    default:
        if (strlen(text) >= field->size) return false;
        memcpy(place, text, strlen(text) + 1);
        return true;
    }
}

// line: "key = value".
static idm_status parse_line(const char *path, int number, char *line, bool *seen, training_state *state)
{
    char *separator = strstr(line, " = ");
    if (separator) *separator = '\0';
    size_t i = 0;
    while (separator && i < FIELD_TOTAL && strcmp(fields[i].name, line) != 0) i++;
    if (!separator || i == FIELD_TOTAL || seen[i])
        return status_fail(IDM_BAD_INPUT, "%s:%d: damaged: no known key that is not there yet: %.60s", path, number, line);
    seen[i] = true;
    if (parse_value(&fields[i], separator + 3, state)) return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s:%d: %s has an unusable value", path, number, line);
}

static idm_status parse_lines(const char *path, char *text, training_state *state)
{
    bool seen[FIELD_TOTAL] = {false};
    int number = 0;
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) return status_fail(IDM_BAD_INPUT, "%s: damaged: it ends within a line", path);
        *end = '\0';
        if (++number > 1) IDM_TRY(parse_line(path, number, line, seen, state));
        else if (strcmp(line, first_line) != 0)
            return status_fail(IDM_BAD_INPUT, "%s: no training state that this program reads (its first line is not \"%s\")", path,
                               first_line);
    }
    for (size_t i = 0; i < FIELD_TOTAL; i++)
        if (!seen[i]) return status_fail(IDM_BAD_INPUT, "%s: damaged: %s is missing", path, fields[i].name);
    return IDM_OK;
}

idm_status training_state_parse(const char *path, const char *text, training_state *state)
{
    training_state parsed = {0};
    char *copy = strdup(text);
    if (!copy) return status_fail(IDM_FAILED, "%s: not enough memory", path);
    const idm_status status = parse_lines(path, copy, &parsed);
    free(copy);
    if (status == IDM_OK) *state = parsed;
    return status;
}

void training_state_changes(const training_state *then, const training_state *now, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < FIELD_TOTAL && used < size; i++) {
        char was[VALUE_SIZE], is[VALUE_SIZE];
        format_value(&fields[i], then, was);
        format_value(&fields[i], now, is);
        if (fields[i].shapes && strcmp(was, is) != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s was %s, is %s", used ? "; " : "", fields[i].name, was, is);
    }
}
