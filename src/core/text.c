#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WORD_MAX = 63 }; // longer words are compared by their beginning

static int lower(char c)
{
    return tolower((unsigned char)c);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

// Optimal string alignment distance, three rows of the table at a time.
static unsigned distance(const char *a, const char *b)
{
    const size_t length_a = strnlen(a, WORD_MAX), length_b = strnlen(b, WORD_MAX);
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= length_b; j++) last[j] = (unsigned)j;
    for (size_t i = 1; i <= length_a; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= length_b; j++) {
            const unsigned changed = lower(a[i - 1]) != lower(b[j - 1]);
            now[j] = least(last[j - 1] + changed, least(last[j], now[j - 1]) + 1);
            const bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
            if (swapped) now[j] = least(now[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[length_b];
}

const char *text_nearest(const char *word, const char *const *words, size_t count)
{
    size_t best = 0;
    unsigned best_distance = ~0U;
    for (size_t i = 0; i < count; i++) {
        const unsigned d = distance(word, words[i]);
        if (d < best_distance) {
            best_distance = d;
            best = i;
        }
    }
    return words[best];
}

char *text_trim(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1])) text[--length] = '\0';
    while (isspace((unsigned char)*text)) text++;
    return text;
}

bool text_to_int(const char *text, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno) return false;
    *value = number;
    return true;
}

bool text_to_uint(const char *text, uint64_t *value)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || errno || strchr(text, '-')) return false; // strtoull takes "-1" for 2^64 - 1
    *value = number;
    return true;
}

// A program that embeds the library may have set a locale with a decimal comma. Returns what uselocale() needs to go back.
static locale_t enter_c_locale(locale_t *c)
{
    *c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    return *c ? uselocale(*c) : (locale_t)0;
}

static void leave_c_locale(locale_t before, locale_t c)
{
    if (!c) return;
    (void)uselocale(before);
    freelocale(c);
}

static bool leading_double(const char *text, double *value, const char **rest)
{
    locale_t c;
    const locale_t before = enter_c_locale(&c);
    char *end = NULL;
    *value = strtod(text, &end);
    leave_c_locale(before, c);
    *rest = end;
    return end != text && isfinite(*value);
}

bool text_to_double(const char *text, double *value)
{
    double number;
    const char *rest;
    if (!leading_double(text, &number, &rest) || *rest != '\0') return false;
    *value = number;
    return true;
}

static const struct unit {
    const char *name;
    uint64_t bytes;
} units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"TB", UINT64_C(1000000000000)},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"KB", 1000},
    {"B", 1},
    {"", 1},
};
enum { UNIT_COUNT = sizeof units / sizeof *units, BINARY_UNIT_COUNT = 4 };

bool text_to_bytes(const char *text, uint64_t *bytes)
{
    double number;
    const char *rest;
    if (!leading_double(text, &number, &rest) || number < 0) return false;
    while (isspace((unsigned char)*rest)) rest++;
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if (strcasecmp(rest, units[i].name) != 0) continue;
        const double total = number * (double)units[i].bytes;
        if (total >= 0x1p53) return false; // beyond, a double has no single bytes
        *bytes = (uint64_t)total;
        return true;
    }
    return false;
}

void text_from_double(char out[32], double value)
{
    locale_t c;
    const locale_t before = enter_c_locale(&c);
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(out, 32, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    leave_c_locale(before, c);
}

void text_from_bytes(char out[32], uint64_t bytes)
{
    for (size_t i = 0; i < BINARY_UNIT_COUNT; i++) {
        if (bytes == 0 || bytes % units[i].bytes != 0) continue;
        (void)snprintf(out, 32, "%" PRIu64 "%s", bytes / units[i].bytes, units[i].name);
        return;
    }
    (void)snprintf(out, 32, "%" PRIu64, bytes);
}
