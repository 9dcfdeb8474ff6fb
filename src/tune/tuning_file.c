#include "tune/tuning_file.h"

#include "core/files.h"
#include "core/status.h"
#include "core/text.h"
#include "ops/ops.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "idm tuning 1";

// What a value may be at all; whether a kernel can do with it is found out by building it, and checked before it is used.
static const struct {
    int least, most;
} ranges[TUNING_PARAMETERS] = {
    [TUNE_TILE_ROWS] = {1, 256},  [TUNE_TILE_VECTORS] = {1, 8}, [TUNE_TILE_OUTPUTS] = {4, 256}, [TUNE_ITEM_ROWS] = {1, 16},
    [TUNE_UNROLL] = {1, 32},      [TUNE_SUB_TILES] = {1, 64},   [TUNE_BLOCK] = {1, 65536},      [TUNE_PANEL_KIB] = {16, 65536},
    [TUNE_SLICE] = {64, 1 << 20}, [TUNE_QUERY_TILES] = {1, 32}, [TUNE_KEYS] = {8, 1024},        [TUNE_OWN] = {1, 256},
    [TUNE_OTHERS] = {4, 1024},    [TUNE_LANES] = {1, 64},       [TUNE_CLBLAST] = {0, 1},        [TUNE_WINOGRAD] = {0, 1},
    [TUNE_BUFFERS] = {1, 2},
};

// ---- rows

static const struct {
    const char *name;
    size_t offset;
} class_fields[] = {{"in", offsetof(tuning_shape, in)},
                    {"out", offsetof(tuning_shape, out)},
                    {"pixels", offsetof(tuning_shape, pixels)},
                    {"head", offsetof(tuning_shape, head)}};
enum { CLASS_FIELDS = sizeof class_fields / sizeof *class_fields };

static const variant variants[] = {VARIANT_CPU, VARIANT_GPU};

void tuning_row_format(const tuning_row *row, char out[TUNING_LINE_SIZE])
{
    size_t used =
        (size_t)snprintf(out, TUNING_LINE_SIZE, "%s %s", tuned_op_names[row->shape.op], variant_name((variant)row->shape.variant));
    for (size_t i = 0; i < CLASS_FIELDS; i++) {
        int value;
        memcpy(&value, (const char *)&row->shape + class_fields[i].offset, sizeof value);
        if (value && used < TUNING_LINE_SIZE)
            used += (size_t)snprintf(out + used, TUNING_LINE_SIZE - used, " %s=%d", class_fields[i].name, value);
    }
    if (used < TUNING_LINE_SIZE) used += (size_t)snprintf(out + used, TUNING_LINE_SIZE - used, ":");
    for (tuning_parameter p = 0; p < TUNING_PARAMETERS; p++)
        if (row->given >> p & 1 && used < TUNING_LINE_SIZE)
            used += (size_t)snprintf(out + used, TUNING_LINE_SIZE - used, " %s=%d", tuning_parameter_names[p], row->values[p]);
}

// Index of `word` in `names`, or -1 with a message.
static int find_word(const char *what, const char *word, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, names[i]) == 0) return (int)i;
    (void)status_fail(IDM_BAD_INPUT, "unknown %s '%.60s'; did you mean '%s'?", what, word, text_nearest(word, names, count));
    return -1;
}

// "name=value" with a value in least .. most; *which is the name's place.
static idm_status parse_pair(char *word, const char *what, const char *const *names, size_t count, int *which, int *value)
{
    char *equals = strchr(word, '=');
    int64_t number;
    if (!equals) return status_fail(IDM_BAD_INPUT, "'%.60s' is no name=number", word);
    *equals = '\0';
    *which = find_word(what, word, names, count);
    if (*which < 0) return IDM_BAD_INPUT;
    if (!text_to_int(equals + 1, &number) || number < 0 || number > 1 << 24)
        return status_fail(IDM_BAD_INPUT, "%s: '%.60s' is no number that it can be", word, equals + 1);
    *value = (int)number;
    return IDM_OK;
}

static idm_status parse_class(char *text, tuning_row *row)
{
    const char *names[CLASS_FIELDS], *kinds[2] = {variant_name(variants[0]), variant_name(variants[1])};
    for (size_t i = 0; i < CLASS_FIELDS; i++) names[i] = class_fields[i].name;
    char *rest = text, *word;
    for (int i = 0; (word = strsep(&rest, " \t")) != NULL;) {
        if (!*word) continue;
        int which, value;
        if (i == 0) {
            which = find_word("operation", word, tuned_op_names, TUNED_OPS);
            if (which < 0) return IDM_BAD_INPUT;
            row->shape.op = (tuned_op)which;
        } else if (i == 1) {
            which = find_word("variant", word, kinds, 2);
            if (which < 0) return IDM_BAD_INPUT;
            row->shape.variant = (int)variants[which];
        } else {
            IDM_TRY(parse_pair(word, "part of a shape class", names, CLASS_FIELDS, &which, &value));
            memcpy((char *)&row->shape + class_fields[which].offset, &value, sizeof value);
        }
        i++;
        if (!rest && i < 2) return status_fail(IDM_BAD_INPUT, "a row begins with operation and variant");
    }
    return IDM_OK;
}

static idm_status parse_values(char *text, tuning_row *row)
{
    char *rest = text, *word;
    while ((word = strsep(&rest, " \t")) != NULL) {
        int which, value;
        if (!*word) continue;
        IDM_TRY(parse_pair(word, "parameter", tuning_parameter_names, TUNING_PARAMETERS, &which, &value));
        if (value < ranges[which].least || value > ranges[which].most)
            return status_fail(IDM_BAD_INPUT, "%s = %d: it must be %d to %d", word, value, ranges[which].least, ranges[which].most);
        if (row->given >> which & 1) return status_fail(IDM_BAD_INPUT, "%s is given twice", word);
        tuning_set(row, (tuning_parameter)which, value);
    }
    return row->given ? IDM_OK : status_fail(IDM_BAD_INPUT, "a row without values");
}

idm_status tuning_row_parse(const char *text, tuning_row *row)
{
    char copy[TUNING_LINE_SIZE];
    *row = (tuning_row){0};
    if (strlen(text) >= sizeof copy) return status_fail(IDM_BAD_INPUT, "a line longer than %zu characters", sizeof copy - 1);
    memcpy(copy, text, strlen(text) + 1);
    char *colon = strchr(copy, ':');
    if (!colon) return status_fail(IDM_BAD_INPUT, "'%.60s' is neither a key with a value nor a row with a colon", text);
    *colon = '\0';
    IDM_TRY(parse_class(text_trim(copy), row));
    return parse_values(text_trim(colon + 1), row);
}

static bool same_class(const tuning_shape *a, const tuning_shape *b)
{
    return a->op == b->op && a->variant == b->variant && a->in == b->in && a->out == b->out && a->pixels == b->pixels && a->head == b->head;
}

bool tuning_add(tuning *t, const tuning_row *row)
{
    for (size_t i = 0; i < t->count; i++)
        if (same_class(&t->rows[i].shape, &row->shape)) {
            t->rows[i] = *row;
            return true;
        }
    tuning_row *grown = realloc(t->rows, (t->count + 1) * sizeof *grown);
    if (!grown) return false;
    t->rows = grown;
    grown[t->count++] = *row;
    return true;
}

// ---- files

static idm_status parse_key(char *line, char *equals, tuning_file *f)
{
    static const char *const names[] = {"device", "driver", "architecture", "vendor", "class", "program", "figures"};
    char *const texts[] = {f->device, f->driver, f->architecture, f->vendor, f->device_class};
    const size_t sizes[] = {sizeof f->device, sizeof f->driver, sizeof f->architecture, sizeof f->vendor, sizeof f->device_class};
    *equals = '\0';
    char *key = text_trim(line), *value = text_trim(equals + 1);
    const int which = find_word("key", key, names, sizeof names / sizeof *names);
    if (which < 0) return IDM_BAD_INPUT;
    if (which == 5) {
        char *end;
        f->program = strtoull(value, &end, 16);
        return *end || !*value ? status_fail(IDM_BAD_INPUT, "program: '%.60s' is no hexadecimal number", value) : IDM_OK;
    }
    if (which == 6) {
        f->predicted = strcmp(value, "predicted") == 0;
        return f->predicted || strcmp(value, "measured") == 0
                   ? IDM_OK
                   : status_fail(IDM_BAD_INPUT, "figures are predicted or measured, not '%.60s'", value);
    }
    if (!*value || strlen(value) >= sizes[which]) return status_fail(IDM_BAD_INPUT, "%s has an unusable value", key);
    if (which == 4 && strcmp(value, "cpu") != 0 && strcmp(value, "gpu") != 0)
        return status_fail(IDM_BAD_INPUT, "class is cpu or gpu, not '%.60s'", value);
    memcpy(texts[which], value, strlen(value) + 1);
    return IDM_OK;
}

static idm_status parse_line(char *line, tuning_file *f)
{
    tuning_row row;
    char *equals = strstr(line, " = ");
    if (equals) return parse_key(line, equals + 1, f);
    IDM_TRY(tuning_row_parse(line, &row));
    for (size_t i = 0; i < f->t.count; i++)
        if (same_class(&f->t.rows[i].shape, &row.shape)) return status_fail(IDM_BAD_INPUT, "a second row of the same class");
    return tuning_add(&f->t, &row) ? IDM_OK : status_fail(IDM_FAILED, "not enough memory");
}

static idm_status parse_lines(const char *name, char *text, tuning_file *f)
{
    char *rest = text, *line;
    bool begun = false;
    for (int number = 1; (line = strsep(&rest, "\n")) != NULL; number++) {
        line[strcspn(line, "#\r")] = '\0';
        line = text_trim(line);
        if (!*line) continue;
        if (!begun) {
            if (strcmp(line, first_line) != 0)
                return status_fail(IDM_BAD_INPUT, "%s:%d: no tuning file that this program reads (it does not begin with \"%s\")", name,
                                   number, first_line);
            begun = true;
            continue;
        }
        const idm_status status = parse_line(line, f);
        if (status != IDM_OK) return status_prefix(status, "%s:%d", name, number);
    }
    return begun ? IDM_OK : status_fail(IDM_BAD_INPUT, "%s: an empty tuning file", name);
}

idm_status tuning_file_parse(const char *name, const char *text, tuning_file *f)
{
    *f = (tuning_file){0};
    char *copy = strdup(text);
    const idm_status status = copy ? parse_lines(name, copy, f) : status_fail(IDM_FAILED, "%s: not enough memory", name);
    free(copy);
    if (status != IDM_OK) tuning_file_free(f);
    return status;
}

idm_status tuning_file_load(const char *path, tuning_file *f)
{
    enum { SIZE_MOST = 1 << 20 };
    uint8_t *text;
    size_t size;
    *f = (tuning_file){0};
    IDM_TRY(files_read_whole(path, SIZE_MOST, &text, &size));
    const idm_status status = strlen((const char *)text) == size ? tuning_file_parse(path, (const char *)text, f)
                                                                 : status_fail(IDM_BAD_INPUT, "%s: no text", path);
    free(text);
    return status;
}

idm_status tuning_file_save(const tuning_file *f, const char *path)
{
    char line[TUNING_LINE_SIZE + 16];
    const char *const keys[][2] = {
        {"device", f->device}, {"driver", f->driver}, {"architecture", f->architecture}, {"vendor", f->vendor}, {"class", f->device_class}};
    files_writer *w;
    IDM_TRY(files_write_begin(path, &w));
    (void)files_write(w, line, (size_t)snprintf(line, sizeof line, "%s\n", first_line));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i][1][0]) (void)files_write(w, line, (size_t)snprintf(line, sizeof line, "%s = %s\n", keys[i][0], keys[i][1]));
    if (f->program) (void)files_write(w, line, (size_t)snprintf(line, sizeof line, "program = %016" PRIx64 "\n", f->program));
    if (f->predicted) (void)files_write(w, line, (size_t)snprintf(line, sizeof line, "figures = predicted\n"));
    for (size_t i = 0; i < f->t.count; i++) {
        tuning_row_format(&f->t.rows[i], line);
        (void)files_write(w, line, strlen(line));
        (void)files_write(w, "\n", 1);
    }
    return files_write_commit(w);
}

void tuning_file_free(tuning_file *f)
{
    free(f->t.rows);
    *f = (tuning_file){0};
}
