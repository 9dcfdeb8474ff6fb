#include "tune/journal.h"

#include "core/append.h"
#include "core/files.h"
#include "core/status.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A record: kind, tab, key, and of some tab, text.
typedef enum record_kind { RECORD_BEGIN, RECORD_GOOD, RECORD_FAILED, RECORD_RESULT, RECORD_KINDS } record_kind;
static const char *const kind_names[RECORD_KINDS] = {
    [RECORD_BEGIN] = "begin", [RECORD_GOOD] = "good", [RECORD_FAILED] = "failed", [RECORD_RESULT] = "result"};

typedef struct record {
    record_kind kind;
    char *key, *text;
} record;

struct journal {
    appender file;
    record *records;
    size_t count;
};

static const char first_line[] = "idm tuning journal 1";

static const record *newest(const journal *j, record_kind kind, const char *key)
{
    for (size_t i = j->count; i > 0; i--)
        if (j->records[i - 1].kind == kind && strcmp(j->records[i - 1].key, key) == 0) return &j->records[i - 1];
    return NULL;
}

static idm_status remember(journal *j, record_kind kind, const char *key, const char *text)
{
    record *grown = realloc(j->records, (j->count + 1) * sizeof *grown);
    if (grown) j->records = grown;
    const record r = {kind, strdup(key), strdup(text)};
    if (grown && r.key && r.text) {
        grown[j->count++] = r;
        return IDM_OK;
    }
    free(r.key);
    free(r.text);
    return status_fail(IDM_FAILED, "not enough memory for the tuning journal");
}

static idm_status write_record(journal *j, const record *r)
{
    char line[2048];
    const int length = snprintf(line, sizeof line, "%s\t%.900s\t%.900s\n", kind_names[r->kind], r->key, r->text);
    return append_write(&j->file, line, (size_t)length);
}

static idm_status add(journal *j, record_kind kind, const char *key, const char *text)
{
    IDM_TRY(remember(j, kind, key, text));
    return write_record(j, &j->records[j->count - 1]);
}

// Lines that are no records, such as one that a power cut left half written, count for nothing.
static idm_status read_line(journal *j, char *line)
{
    char *rest = line;
    const char *kind = strsep(&rest, "\t"), *key = rest ? strsep(&rest, "\t") : NULL;
    if (!key || !rest) return IDM_OK;
    for (record_kind k = 0; k < RECORD_KINDS; k++)
        if (strcmp(kind, kind_names[k]) == 0) return remember(j, k, key, rest);
    return IDM_OK;
}

static idm_status read_records(journal *j, const char *path, uint64_t program)
{
    enum { SIZE_MOST = 16 << 20 };
    uint8_t *text;
    size_t size;
    char wanted[64];
    if (!files_exists(path)) return IDM_OK;
    IDM_TRY(files_read_whole(path, SIZE_MOST, &text, &size));
    (void)snprintf(wanted, sizeof wanted, "%s %016" PRIx64, first_line, program);
    char *rest = (char *)text, *line = strsep(&rest, "\n");
    idm_status status = IDM_OK;
    if (strcmp(line, wanted) == 0)
        while (status == IDM_OK && rest && (line = strsep(&rest, "\n")) != NULL && rest) status = read_line(j, line);
    free(text);
    return status;
}

// What was begun and not ended ended the search.
static idm_status condemn_unfinished(journal *j, const char *reason)
{
    if (!reason || j->count == 0 || j->records[j->count - 1].kind != RECORD_BEGIN) return IDM_OK;
    char key[1024];
    (void)snprintf(key, sizeof key, "%s", j->records[j->count - 1].key);
    return remember(j, RECORD_FAILED, key, reason);
}

// Writes anew what counts, whole, and goes on behind it.
static idm_status start_file(journal *j, const char *path, uint64_t program, bool resumed)
{
    char line[2048];
    files_writer *w;
    IDM_TRY(files_write_begin(path, &w));
    (void)files_write(w, line, (size_t)snprintf(line, sizeof line, "%s %016" PRIx64 "\n", first_line, program));
    size_t kept = 0;
    for (size_t i = 0; i < j->count; i++) {
        const record r = j->records[i];
        if (r.kind == RECORD_FAILED || (resumed && r.kind == RECORD_RESULT)) {
            j->records[kept++] = r;
            (void)files_write(w, line, (size_t)snprintf(line, sizeof line, "%s\t%.900s\t%.900s\n", kind_names[r.kind], r.key, r.text));
            continue;
        }
        free(r.key);
        free(r.text);
    }
    j->count = kept;
    IDM_TRY(files_write_commit(w));
    return append_open(path, false, NULL, &j->file);
}

idm_status journal_open(const char *path, uint64_t program, bool resumed, const char *reason, journal **result)
{
    char folder[4096];
    *result = NULL;
    journal *j = calloc(1, sizeof *j);
    if (!j) return status_fail(IDM_FAILED, "not enough memory for the tuning journal");
    j->file.descriptor = -1;
    idm_status status = files_folder_of(folder, sizeof folder, path);
    if (status == IDM_OK) status = files_make_folders(folder);
    if (status == IDM_OK) status = read_records(j, path, program);
    if (status == IDM_OK) status = condemn_unfinished(j, reason);
    if (status == IDM_OK) status = start_file(j, path, program, resumed);
    if (status == IDM_OK) *result = j;
    else journal_close(j);
    return status;
}

void journal_close(journal *j)
{
    if (!j) return;
    append_close(&j->file);
    for (size_t i = 0; i < j->count; i++) {
        free(j->records[i].key);
        free(j->records[i].text);
    }
    free(j->records);
    free(j);
}

const char *journal_failure(const journal *j, const char *key)
{
    const record *r = newest(j, RECORD_FAILED, key);
    return r ? r->text : NULL;
}

int journal_failures(const journal *j)
{
    int sum = 0;
    for (size_t i = 0; i < j->count; i++) sum += j->records[i].kind == RECORD_FAILED;
    return sum;
}

idm_status journal_begin(journal *j, const char *key)
{
    IDM_TRY(add(j, RECORD_BEGIN, key, ""));
    return append_sync(&j->file);
}

idm_status journal_end(journal *j, const char *key, const char *failure)
{
    IDM_TRY(add(j, failure ? RECORD_FAILED : RECORD_GOOD, key, failure ? failure : ""));
    return failure ? append_sync(&j->file) : IDM_OK;
}

idm_status journal_finish(journal *j, const char *group, const char *result)
{
    return add(j, RECORD_RESULT, group, result);
}

const char *journal_result(const journal *j, const char *group)
{
    const record *r = newest(j, RECORD_RESULT, group);
    return r ? r->text : NULL;
}
