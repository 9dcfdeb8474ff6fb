#include "tune/kernel_report.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t offset;
} mix_fields[] = {{"other=", offsetof(instruction_mix, other)},
                  {"special=", offsetof(instruction_mix, special)},
                  {"local_bytes=", offsetof(instruction_mix, local_bytes)},
                  {"global_bytes=", offsetof(instruction_mix, global_bytes)},
                  {"rounds=", offsetof(instruction_mix, rounds)},
                  {"waits=", offsetof(instruction_mix, waits)},
                  {"barriers=", offsetof(instruction_mix, barriers)}};

// Where `word` with a space before it begins in the line [line, end), or null.
static const char *word_in(const char *line, const char *end, const char *word)
{
    const size_t length = strlen(word);
    for (const char *p = line; p + 1 + length <= end; p++)
        if (*p == ' ' && memcmp(p + 1, word, length) == 0) return p + 1 + length;
    return NULL;
}

// How many of the options "-DA=1 -DB=2" the line has, its other options taking away; -1 if the target is not there.
static int likeness(const char *line, const char *end, const char *options, const char *target, bool *all)
{
    const char *const colon = word_in(line, end, ": ");
    char copy[1024], *rest = copy, *word, key[64];
    int same = 0, count = 0, in_line = 0;
    (void)snprintf(key, sizeof key, "%s=", target);
    if (!colon || !word_in(colon - 1, end, key)) return -1;
    for (const char *p = line; p < colon; p++) in_line += *p == '=';
    (void)snprintf(copy, sizeof copy, "%s", options);
    while ((word = strsep(&rest, " ")) != NULL) {
        if (strncmp(word, "-D", 2) != 0) continue;
        char wanted[128];
        (void)snprintf(wanted, sizeof wanted, "%s ", word + 2);
        count++;
        same += word_in(line, colon, wanted) != NULL;
    }
    *all = same == count && count == in_line;
    return same;
}

static void read_line(const char *line, const char *end, const char *target, kernel_report *report)
{
    char key[64];
    const char *at;
    at = word_in(line, end, "unit=matrix:");
    *report = (kernel_report){.mix.matrix = at ? (int)strtol(at, NULL, 10) : 0};
    for (size_t i = 0; i < sizeof mix_fields / sizeof *mix_fields; i++) {
        at = word_in(line, end, mix_fields[i].name);
        const double value = at ? strtod(at, NULL) : 0;
        memcpy((char *)&report->mix + mix_fields[i].offset, &value, sizeof value);
    }
    at = word_in(line, end, "items=");
    report->items = at ? (int)strtol(at, NULL, 10) : 0;
    (void)snprintf(key, sizeof key, "%s=", target);
    at = word_in(line, end, key);
    const char *slash = at ? strchr(at, '/') : NULL; // "registers/percent" or "spills"
    if (slash && *at >= '0' && *at <= '9') report->resident = strtod(slash + 1, NULL) / 100;
}

bool kernel_report_find(const char *file, const char *name, const char *options, const char *target, kernel_report *report)
{
    char head[256];
    int best = -1;
    (void)snprintf(head, sizeof head, "%s %s ", file, name);
    for (const char *line = embedded_reports[0].text, *end; line && *line; line = *end ? end + 1 : end) {
        bool exact;
        end = line + strcspn(line, "\n");
        if (strncmp(line, head, strlen(head)) != 0) continue;
        const int like = likeness(line, end, options, target, &exact);
        if (like <= best) continue;
        best = like;
        read_line(line, end, target, report);
        report->exact = exact;
        if (exact) return true;
    }
    return best >= 0;
}
