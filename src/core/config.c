#include <idm/config.h>

#include "core/config_keys.h"
#include "core/files.h"
#include "core/status.h"
#include "core/text.h"

#include <ini.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_SIZE = IDM_PATH_SIZE + 512 };

void idm_config_defaults(idm_config *config)
{
    *config = (idm_config){0};
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) (void)config_parse(config, &config_keys[i], config_keys[i].initial, "");
    config->device.math_given = false;
}

// inih keeps lines in a buffer of 200 characters and cuts what is longer without a word. So the reader below hands it "key = *" and keeps
// the value aside for the handler; quotes and comments are then read here too.
typedef struct source {
    FILE *file;
    const char *path;
    char folder[IDM_PATH_SIZE];
    idm_config *config;
    char line[LINE_SIZE];
    char *value; // of the key that inih was handed last
    int number;  // of `line`, from 1
    int seen[CONFIG_KEY_COUNT];
    idm_status status; // of the first failure, which ends the reading
} source;

static void source_fail(source *s, const char *problem)
{
    s->status = status_fail(IDM_USAGE, "%s:%d: %s", s->path, s->number, problem);
}

// The next line without its end into s->line; false at the end and on failure.
static bool next_line(source *s)
{
    size_t length = 0;
    int c;
    s->number++;
    while ((c = getc(s->file)) != EOF && c != '\n') {
        if (c == '\0') source_fail(s, "a zero byte: this is no text file");
        else if (length + 1 == sizeof s->line) source_fail(s, "the line is too long");
        if (s->status != IDM_OK) return false;
        s->line[length++] = (char)c;
    }
    s->line[length] = '\0';
    if (!ferror(s->file)) return c != EOF || length > 0;
    s->status = status_fail(IDM_BAD_INPUT, "%s: cannot read: %s", s->path, strerror(errno));
    return false;
}

static bool is_comment(const char *text)
{
    return *text == '\0' || *text == ';' || *text == '#';
}

// Writes what inih shall see of a line.
static void shorten(source *s, char *text, char *out, size_t size)
{
    if (is_comment(text)) {
        (void)snprintf(out, size, "\n");
        return;
    }
    const char *close = strchr(text, ']');
    const size_t length = text[0] != '[' ? strcspn(text, "=:") : close ? (size_t)(close + 1 - text) : strlen(text);
    const char *suffix = text[0] == '[' ? "\n" : " = *\n";
    if (text[0] == '[') {
        if (!close) source_fail(s, "expected [section] or key = value");
        else if (!is_comment(close + 1 + strspn(close + 1, " \t")))
            source_fail(s, "[section] stands alone on its line, each key = value below it on its own");
    } else if (text[length] == '\0') source_fail(s, "expected [section] or key = value");
    else s->value = text + length + 1;
    if (length + strlen(suffix) >= size) source_fail(s, "the name is too long");
    else (void)snprintf(out, size, "%.*s%s", (int)length, text, suffix);
}

// ini_reader: like fgets, into a buffer of `size` characters.
static char *read_line(char *out, int size, void *stream)
{
    source *s = stream;
    if (s->status != IDM_OK || !next_line(s)) return NULL;
    const size_t mark = s->number == 1 && strncmp(s->line, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; // UTF-8 byte order mark
    shorten(s, text_trim(s->line + mark), out, (size_t)size);
    return s->status == IDM_OK ? out : NULL;
}

// Cuts a comment off, in place: " ;" and what follows. Names often hold ";", so in a value that is free text only "; " with a space is
// taken for one.
static const char *cut_comment(const config_key *key, char *raw)
{
    for (char *c = raw; *c; c++) {
        if (*c != ';' || !(c == raw || c[-1] == ' ' || c[-1] == '\t')) continue;
        const bool free_text = key->type == CONFIG_PATH || key->type == CONFIG_INIT || key->type == CONFIG_TEXT;
        if (free_text && c[1] && !strchr(" \t;", c[1]))
            return "\" ;\" begins a comment: put the value in double quotes if it is part of it, else a space behind the ;";
        *c = '\0';
        break;
    }
    return NULL;
}

// "\"text with ; and \"\" for a quote\" ; comment" -> the text, in place.
static const char *unquote(char *text)
{
    const char *in = text + 1;
    char *out = text;
    for (; *in && (*in != '"' || in[1] == '"'); in++) {
        if (*in == '"') in++;
        *out++ = *in;
    }
    if (*in == '\0') return "the closing quote is missing";
    if (!is_comment(in + 1 + strspn(in + 1, " \t"))) return "only a ; comment may follow the closing quote";
    *out = '\0';
    return NULL;
}

// What is meant by the text behind "key =". IDM_USAGE: it is ambiguous.
static idm_status take_value(const config_key *key, char *raw, char **value)
{
    *value = text_trim(raw);
    const bool quoted = **value == '"';
    const char *problem = quoted ? unquote(*value) : cut_comment(key, raw);
    if (problem) return status_fail(IDM_USAGE, "%s.%s: %s", key->section, key->name, problem);
    if (!quoted) *value = text_trim(raw);
    return IDM_OK;
}

// ini_handler: `mark` is the "*" of read_line.
static int set_key(void *user, const char *section, const char *name, const char *mark)
{
    (void)mark;
    source *s = user;
    const config_key *key;
    s->status = config_find(section, name, &key);
    if (s->status == IDM_OK) {
        int *seen = &s->seen[key - config_keys];
        char *text = NULL;
        if (*seen) s->status = status_fail(IDM_USAGE, "%s.%s is set twice, first in line %d", section, name, *seen);
        else s->status = take_value(key, s->value, &text);
        if (s->status == IDM_OK) s->status = config_parse(s->config, key, text, s->folder);
        *seen = s->number;
    }
    if (s->status != IDM_OK) s->status = status_prefix(s->status, "%s:%d", s->path, s->number);
    return s->status == IDM_OK;
}

idm_status idm_config_load(idm_config *config, const char *path)
{
    source *s = calloc(1, sizeof *s);
    if (!s) return status_fail(IDM_FAILED, "%s: not enough memory", path);
    idm_config loaded = *config;
    s->path = path;
    s->config = &loaded;
    s->status = files_folder_of(s->folder, sizeof s->folder, path);
    if (strcmp(s->folder, ".") == 0) s->folder[0] = '\0';
    s->file = s->status == IDM_OK ? fopen(path, "rbe") : NULL;
    if (s->file) {
        const int line = ini_parse_stream(read_line, s, set_key, s);
        if (s->status == IDM_OK && line != 0) s->status = status_fail(IDM_USAGE, "%s:%d: expected [section] or key = value", path, line);
        (void)fclose(s->file);
    } else if (s->status == IDM_OK) s->status = status_fail(IDM_BAD_INPUT, "%s: cannot read: %s", path, strerror(errno));
    const idm_status status = s->status;
    if (status == IDM_OK) *config = loaded;
    free(s);
    return status;
}

idm_status idm_config_set(idm_config *config, const char *assignment)
{
    char section[64], name[64];
    const char *dot = strchr(assignment, '.'), *equals = strchr(assignment, '=');
    if (!dot || !equals || dot > equals) return status_fail(IDM_USAGE, "%.200s: expected section.key=value", assignment);
    (void)snprintf(section, sizeof section, "%.*s", (int)(dot - assignment), assignment);
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - dot - 1), dot + 1);
    char *copy = strdup(equals + 1);
    if (!copy) return status_fail(IDM_FAILED, "%.200s: not enough memory", assignment);
    const config_key *key;
    idm_status status = config_find(text_trim(section), text_trim(name), &key);
    if (status == IDM_OK) status = config_parse(config, key, text_trim(copy), "");
    free(copy);
    return status == IDM_OK ? IDM_OK : status_prefix(status, "%.200s", assignment);
}

static bool starts_section(size_t i)
{
    return i == 0 || strcmp(config_keys[i].section, config_keys[i - 1].section) != 0;
}

void idm_config_describe(FILE *out)
{
    (void)fprintf(out, "# An INI file: a ; line is a key at its default. Relative paths are relative to this file. After a value, \" ;\" "
                       "begins a comment;\n"
                       "# a value that has \" ;\" in it stands in \"double quotes\" (\"\" for a quote in them).\n");
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const config_key *key = &config_keys[i];
        char allowed[256];
        config_allowed(key, allowed, sizeof allowed);
        if (starts_section(i)) (void)fprintf(out, "\n[%s]\n", key->section);
        (void)fprintf(out, "# %s\n# Value: %s%s%s.\n; %s = %s\n", key->meaning, allowed, key->unit ? "; in " : "",
                      key->unit ? key->unit : "", key->name, key->initial);
    }
}

static bool needs_quotes(const char *text)
{
    const size_t length = strlen(text);
    return length > 0 && (text[0] == '"' || strchr(" \t", text[0]) || strchr(" \t", text[length - 1]) || strchr(text, ';'));
}

static void write_quoted(const char *text, FILE *out)
{
    (void)fputc('"', out);
    for (; *text; text++) (void)fprintf(out, "%s%c", *text == '"' ? "\"" : "", *text);
    (void)fprintf(out, "\"\n");
}

idm_status idm_config_write(const idm_config *config, FILE *out)
{
    char folder[IDM_PATH_SIZE], value[IDM_PATH_SIZE];
    if (!getcwd(folder, sizeof folder)) return status_fail(IDM_FAILED, "the working directory has no path: %s", strerror(errno));
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const config_key *key = &config_keys[i];
        const idm_status status = config_format(config, key, folder, value);
        if (status != IDM_OK) return status_prefix(status, "%s.%s", key->section, key->name);
        const bool default_only = key->offset == offsetof(idm_config, device.math) && !config->device.math_given;
        if (starts_section(i)) (void)fprintf(out, "%s[%s]\n", i ? "\n" : "", key->section);
        (void)fprintf(out, "%s%s = ", default_only ? "; " : "", key->name);
        if (needs_quotes(value)) write_quoted(value, out);
        else (void)fprintf(out, "%s\n", value);
    }
    return ferror(out) ? status_fail(IDM_FAILED, "cannot write the configuration: %s", strerror(errno)) : IDM_OK;
}
