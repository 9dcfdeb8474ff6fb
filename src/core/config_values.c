// Values of configuration keys from and to text.
#include "core/config_keys.h"
#include "core/files.h"
#include "core/status.h"
#include "core/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(idm_math) == sizeof(int) && sizeof(idm_recompute) == sizeof(int), "CONFIG_WORD values are stored as ints");

// Index of `text` among "one|two|three", -1 if it is none of them.
static int word_index(const char *words, const char *text)
{
    const size_t length = strlen(text);
    for (int index = 0; words; index++) {
        const size_t word = strcspn(words, "|");
        if (word == length && strncmp(words, text, length) == 0) return index;
        words = words[word] ? words + word + 1 : NULL;
    }
    return -1;
}

static void word_at(const char *words, int index, char *out, size_t size)
{
    for (; index > 0; index--) words += strcspn(words, "|") + 1;
    (void)snprintf(out, size, "%.*s", (int)strcspn(words, "|"), words);
}

void config_allowed(const config_key *key, char *out, size_t size)
{
    char least[32], most[32];
    text_from_double(least, key->least);
    text_from_double(most, key->most);
    const char *or_words = key->words ? ", or auto" : "";
    switch (key->type) {
    case CONFIG_INT:
        (void)snprintf(out, size, "a whole number from %.0f to %.0f%s", key->least, key->most, or_words);
        break;
    case CONFIG_INTS:
        (void)snprintf(out, size, "%s%zu whole numbers from %.0f to %.0f, separated by commas%s", key->count_offset ? "up to " : "",
                       key->capacity, key->least, key->most, or_words);
        break;
    case CONFIG_UINT64:
        (void)snprintf(out, size, "a whole number from 0 to %" PRIu64, UINT64_MAX);
        break;
    case CONFIG_DOUBLE:
        (void)snprintf(out, size, "a number from %s to %s%s", least, most, or_words);
        break;
    case CONFIG_BYTES:
        if (key->least > 0)
            (void)snprintf(out, size, "a size of at least %.0fMiB such as 22GiB or 512MiB%s", key->least / (1 << 20), or_words);
        else (void)snprintf(out, size, "a size such as 22GiB or 512MiB%s", or_words);
        break;
    case CONFIG_WORD:
        (void)snprintf(out, size, "one of %s", key->words);
        break;
    case CONFIG_TEXT:
        (void)snprintf(out, size, "text of at most %zu characters", key->capacity - 1);
        break;
    case CONFIG_PATH:
        (void)snprintf(out, size, "a path of at most %zu characters%s", key->capacity - 1, or_words);
        break;
    case CONFIG_INIT:
        (void)snprintf(out, size, "random, sd15:FILE or weights:FILE");
        break;
    case CONFIG_INTERVAL:
        (void)snprintf(out, size, "a whole number and min, it or epoch: 30min, 200it, 1epoch");
        break;
    }
}

static idm_status refuse(const config_key *key, const char *text)
{
    char allowed[256];
    config_allowed(key, allowed, sizeof allowed);
    if (key->type != CONFIG_WORD) return status_fail(IDM_USAGE, "%s.%s = %.200s: must be %s", key->section, key->name, text, allowed);
    char words[8][32];
    const char *pointers[8];
    size_t count = 0;
    for (const char *rest = key->words; rest && count < 8; count++) {
        word_at(rest, 0, words[count], sizeof words[count]);
        pointers[count] = words[count];
        rest = strchr(rest, '|');
        if (rest) rest++;
    }
    return status_fail(IDM_USAGE, "%s.%s = %.200s: must be %s; did you mean %s?", key->section, key->name, text, allowed,
                       text_nearest(text, pointers, count));
}

static bool parse_int(const config_key *key, const char *text, int *value)
{
    int64_t number;
    if (!text_to_int(text, &number) || (double)number < key->least || (double)number > key->most) return false;
    *value = (int)number;
    return true;
}

// Comma-separated; returns how many, -1 when one of them is wrong or there are too many.
static int parse_ints(const config_key *key, const char *text, int *values)
{
    char copy[512];
    if (strlen(text) >= sizeof copy) return -1;
    memcpy(copy, text, strlen(text) + 1);
    int count = 0;
    for (char *item = copy; *copy && item; count++) {
        char *comma = strchr(item, ',');
        if (comma) *comma = '\0';
        if ((size_t)count == key->capacity || !parse_int(key, text_trim(item), &values[count])) return -1;
        item = comma ? comma + 1 : NULL;
    }
    return count;
}

static bool store_ints(idm_config *config, const config_key *key, const char *text)
{
    int values[IDM_MILESTONES_MAX] = {0};
    const bool is_auto = word_index(key->words, text) == 0;
    const int count = is_auto ? 0 : parse_ints(key, text, values);
    if (count < 0 || (!key->count_offset && !is_auto && (size_t)count != key->capacity)) return false;
    memcpy((char *)config + key->offset, values, key->capacity * sizeof *values);
    if (key->count_offset) memcpy((char *)config + key->count_offset, &count, sizeof count);
    return true;
}

static bool store_number(idm_config *config, const config_key *key, const char *text)
{
    char *field = (char *)config + key->offset;
    const bool is_auto = word_index(key->words, text) == 0;
    int integer = 0;
    uint64_t whole = 0;
    double real = 0;
    switch (key->type) {
    case CONFIG_INT:
        if (!is_auto && !parse_int(key, text, &integer)) return false;
        memcpy(field, &integer, sizeof integer);
        return true;
    case CONFIG_UINT64:
        if (!text_to_uint(text, &whole)) return false;
        memcpy(field, &whole, sizeof whole);
        return true;
    case CONFIG_BYTES:
        if (!is_auto && (!text_to_bytes(text, &whole) || (double)whole < key->least)) return false;
        memcpy(field, &whole, sizeof whole);
        return true;
    default:
        if (!is_auto && (!text_to_double(text, &real) || real < key->least || real > key->most)) return false;
        memcpy(field, &real, sizeof real);
        return true;
    }
}

static bool store_word(idm_config *config, const config_key *key, const char *text)
{
    const int index = word_index(key->words, text);
    if (index < 0) return false;
    memcpy((char *)config + key->offset, &index, sizeof index);
    if (key->offset == offsetof(idm_config, device.math)) config->device.math_given = true;
    return true;
}

static bool is_interval(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 10 && text[strspn(text, "0")] != text[digits] && word_index("min|it|epoch", text + digits) >= 0;
}

// Length of the prefix "sd15:" or "weights:" of train.init, 0 without.
static size_t init_prefix(const char *text)
{
    if (strncmp(text, "sd15:", 5) == 0) return 5;
    return strncmp(text, "weights:", 8) == 0 ? 8 : 0;
}

// `text` with the path in it, if there is one, joined to `folder`.
static idm_status resolve(const config_key *key, const char *text, const char *folder, char *out)
{
    const bool is_init = key->type == CONFIG_INIT && init_prefix(text) > 0;
    const bool is_path = key->type == CONFIG_PATH && text[0] && word_index(key->words, text) < 0;
    const size_t prefix = is_init ? init_prefix(text) : 0;
    if (strlen(text) >= key->capacity) return status_fail(IDM_USAGE, "longer than %zu characters", key->capacity - 1);
    memcpy(out, text, prefix);
    if (is_init || is_path) return files_join(out + prefix, key->capacity - prefix, folder, text + prefix);
    memcpy(out, text, strlen(text) + 1);
    return IDM_OK;
}

static idm_status store_string(idm_config *config, const config_key *key, const char *text, const char *folder)
{
    char value[IDM_PATH_SIZE];
    const size_t prefix = init_prefix(text);
    if (text[strcspn(text, "\n\r")]) return refuse(key, text);
    if (key->type == CONFIG_INIT && strcmp(text, "random") != 0 && (prefix == 0 || text[prefix] == '\0')) return refuse(key, text);
    if (key->type == CONFIG_INTERVAL && !is_interval(text)) return refuse(key, text);
    if (key->type == CONFIG_TEXT && text[0] == '\0') return refuse(key, text);
    const idm_status status = resolve(key, text, folder, value);
    if (status != IDM_OK) return status_prefix(status, "%s.%s", key->section, key->name);
    memcpy((char *)config + key->offset, value, strlen(value) + 1);
    return IDM_OK;
}

idm_status config_parse(idm_config *config, const config_key *key, const char *text, const char *folder)
{
    bool fits;
    switch (key->type) {
    case CONFIG_INT:
    case CONFIG_UINT64:
    case CONFIG_DOUBLE:
    case CONFIG_BYTES:
        fits = store_number(config, key, text);
        break;
    case CONFIG_INTS:
        fits = store_ints(config, key, text);
        break;
    case CONFIG_WORD:
        fits = store_word(config, key, text);
        break;
    default:
        return store_string(config, key, text, folder);
    }
    return fits ? IDM_OK : refuse(key, text);
}

static void format_ints(const idm_config *config, const config_key *key, char *out, size_t size)
{
    const int *values = (const int *)((const char *)config + key->offset);
    int count = (int)key->capacity;
    if (key->count_offset) memcpy(&count, (const char *)config + key->count_offset, sizeof count);
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < count && used < size; i++) used += (size_t)snprintf(out + used, size - used, "%s%d", i ? "," : "", values[i]);
}

// Zero stands for auto where the key knows that word.
static void format_number(const idm_config *config, const config_key *key, char *out, size_t size)
{
    const void *field = (const char *)config + key->offset;
    const int *integer = field;
    const uint64_t *whole = field;
    const double *real = field;
    char text[32];
    bool zero;
    switch (key->type) {
    case CONFIG_INT:
        zero = *integer == 0;
        (void)snprintf(text, sizeof text, "%d", *integer);
        break;
    case CONFIG_UINT64:
        zero = *whole == 0;
        (void)snprintf(text, sizeof text, "%" PRIu64, *whole);
        break;
    case CONFIG_BYTES:
        zero = *whole == 0;
        text_from_bytes(text, *whole);
        break;
    default:
        zero = *real == 0;
        text_from_double(text, *real);
        break;
    }
    (void)snprintf(out, size, "%s", zero && key->words ? "auto" : text);
}

idm_status config_format(const idm_config *config, const config_key *key, const char *folder, char *out)
{
    const char *field = (const char *)config + key->offset;
    switch (key->type) {
    case CONFIG_INT:
    case CONFIG_UINT64:
    case CONFIG_DOUBLE:
    case CONFIG_BYTES:
        format_number(config, key, out, IDM_PATH_SIZE);
        return IDM_OK;
    case CONFIG_INTS:
        if (key->words && *(const int *)(const void *)field == 0) (void)snprintf(out, IDM_PATH_SIZE, "auto");
        else format_ints(config, key, out, IDM_PATH_SIZE);
        return IDM_OK;
    case CONFIG_WORD:
        word_at(key->words, *(const int *)(const void *)field, out, IDM_PATH_SIZE);
        return IDM_OK;
    default:
        return resolve(key, field, folder, out);
    }
}
