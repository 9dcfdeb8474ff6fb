// `idm bench --compare`: two reports side by side.
#include "cli/bench.h"
#include "core/files.h"
#include <stdlib.h>
#include <string.h>

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text ? text : "";
}

// 0: there is none.
static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static idm_status check_report(const char *path, const cJSON *report)
{
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(report, "workload_version");
    if (!cJSON_IsObject(report) || !cJSON_IsNumber(version))
        return status_fail(IDM_BAD_INPUT, "%s: not the figures of `idm bench --out`", path);
    if (version->valuedouble != BENCH_WORKLOAD)
        return status_fail(IDM_BAD_INPUT,
                           "%s: its figures are of workload_version %g (idm %.20s), this idm measures workload_version %d: they do not "
                           "compare; measure again with one of the two programs",
                           path, version->valuedouble, text_of(report, "idm"), BENCH_WORKLOAD);
    return IDM_OK;
}

idm_status bench_compare_load(const char *path, cJSON **report)
{
    enum { LIMIT = 16 << 20 };
    uint8_t *data;
    size_t size;
    IDM_TRY(files_read_whole(path, LIMIT, &data, &size));
    *report = cJSON_ParseWithLength((const char *)data, size);
    free(data);
    const idm_status status = check_report(path, *report);
    if (status != IDM_OK) {
        cJSON_Delete(*report);
        *report = NULL;
    }
    return status;
}

// ---- rows

// What a row is called in both reports: the operation and its shape, or the network's mode, size and batch.
static void name_row(const cJSON *row, char *name, size_t size)
{
    if (cJSON_GetObjectItemCaseSensitive(row, "mode"))
        (void)snprintf(name, size, "%.20s %gx%g, batch %g", text_of(row, "mode"), number_of(row, "height"), number_of(row, "width"),
                       number_of(row, "batch"));
    else (void)snprintf(name, size, "%.60s, %.60s", text_of(row, "name"), text_of(row, "shape"));
}

enum { NAME_SIZE = 160 };

static const cJSON *find_row(const cJSON *rows, const char *name)
{
    const cJSON *row;
    char other[NAME_SIZE];
    cJSON_ArrayForEach(row, rows)
    {
        name_row(row, other, sizeof other);
        if (strcmp(name, other) == 0) return row;
    }
    return NULL;
}

typedef struct comparison {
    const cJSON *old;
    cJSON *list; // null: text
    int rows, unmatched;
} comparison;

static void compare_row(comparison *c, const char *name, double seconds, double before)
{
    if (!(seconds > 0) || !(before > 0)) {
        c->unmatched++;
        return;
    }
    c->rows++;
    if (!c->list) {
        printf("%-54s %12.3f %12.3f %8.2f\n", name, 1e3 * before, 1e3 * seconds, before / seconds);
        return;
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", name);
    cJSON_AddNumberToObject(row, "old_seconds", before);
    cJSON_AddNumberToObject(row, "seconds", seconds);
    cJSON_AddNumberToObject(row, "ratio", before / seconds);
    cJSON_AddItemToArray(c->list, row);
}

static void compare_part(comparison *c, const cJSON *report, const char *part)
{
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(report, part), *old = cJSON_GetObjectItemCaseSensitive(c->old, part), *row;
    char name[NAME_SIZE];
    cJSON_ArrayForEach(row, rows)
    {
        name_row(row, name, sizeof name);
        compare_row(c, name, number_of(row, "seconds"), number_of(find_row(old, name), "seconds"));
    }
    cJSON_ArrayForEach(row, old)
    {
        name_row(row, name, sizeof name);
        c->unmatched += find_row(rows, name) == NULL;
    }
}

static void warn_of_differences(const cJSON *report, const cJSON *old)
{
    const char *version = text_of(report, "idm"), *old_version = text_of(old, "idm");
    if (strcmp(version, old_version) != 0) cli_warn("figures of different versions: idm %.20s before, idm %.20s now", old_version, version);
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(report, "measured")) !=
        cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(old, "measured")))
        cli_warn("one of the two was not measured: its times are what peak rates allow");
    if (!cJSON_Compare(cJSON_GetObjectItemCaseSensitive(report, "settings"), cJSON_GetObjectItemCaseSensitive(old, "settings"), true))
        cli_warn("the settings differ (size, network, math or precision): only what has the same shape is compared");
}

idm_status bench_compare(const cli_call *call, cJSON *report, const cJSON *old, const char *old_name)
{
    comparison c = {.old = old};
    const cJSON *device = cJSON_GetObjectItemCaseSensitive(report, "device"), *before = cJSON_GetObjectItemCaseSensitive(old, "device");
    warn_of_differences(report, old);
    if (call->json) c.list = cJSON_AddArrayToObject(report, "compare");
    else {
        printf("\nold: %s (idm %s), %s\nnew: %s (idm %s)\n", text_of(before, "name"), text_of(old, "idm"), old_name,
               text_of(device, "name"), text_of(report, "idm"));
        printf("%-54s %12s %12s %8s\n", "", "old ms", "new ms", "old/new");
    }
    compare_part(&c, report, "ops");
    compare_part(&c, report, "network");
    if (c.unmatched) cli_note(call, "%d rows are not in both", c.unmatched);
    return c.rows > 0 ? IDM_OK : status_fail(IDM_BAD_INPUT, "%s: it has no row in common with the new figures", old_name);
}
