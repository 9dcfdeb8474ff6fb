#include "train/golden.h"

#include "core/status.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double FLOOR = 1e-5; // of the whole vector's norm

void golden_projections(const float *values, size_t count, double scale, double out[4])
{
    for (uint32_t k = 0; k < 4; k++) {
        double sum = 0;
        for (size_t i = 0; i < count; i++) {
            uint32_t h = (uint32_t)i * 2654435761u ^ k * 0x9E3779B9u;
            h = (h ^ h >> 16) * 0x85EBCA6Bu;
            h = (h ^ h >> 13) * 0xC2B2AE35u;
            h ^= h >> 16;
            sum += values[i] * (h / 2147483648.0 - 1.0);
        }
        out[k] = sum / scale;
    }
}

typedef struct row {
    char name[96];
    double difference, norm; // norms; of projections the difference as they estimate it
    bool zero;               // the true value is zero
} row;

typedef struct comparison {
    tensor_file *golden;
    const char *kind;
    double scale;
    row *rows;
    size_t count;
} comparison;

// A comma-separated list in the metadata.
static bool listed(const tensor_file *golden, const char *name)
{
    const size_t length = strlen(name);
    const char *list = tensor_file_metadata(golden, "zero_gradients");
    for (; list && *list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
        if (strncmp(list, name, length) == 0 && (list[length] == ',' || list[length] == 0)) return true;
    return false;
}

static idm_status read_truth(const comparison *c, const char *suffix, const char *name, size_t count, float **values)
{
    char full[160];
    (void)snprintf(full, sizeof full, "%s%s/%s", c->kind, suffix, name);
    *values = NULL;
    const tensor_entry *entry = tensor_file_find(c->golden, full);
    if (!entry) return IDM_OK;
    if (entry->count != count)
        return status_fail(IDM_BAD_INPUT, "%s: '%s' has %zu values, %zu belong there", tensor_file_path(c->golden), full, entry->count,
                           count);
    *values = malloc(count * sizeof **values);
    if (!*values) return status_fail(IDM_FAILED, "out of memory");
    const idm_status status = tensor_file_read_f32(c->golden, entry, *values);
    if (status != IDM_OK) {
        free(*values);
        *values = NULL;
    }
    return status;
}

static void compare_whole(row *r, const float *got, double scale, const float *want, size_t count)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = got[i] / scale - want[i];
        difference += d * d;
        norm += (double)want[i] * want[i];
    }
    r->difference = sqrt(difference);
    r->norm = sqrt(norm);
}

// The differences of four projections are together about twice as large as the tensor's.
static void compare_projections(row *r, const float *got, size_t count, double scale, const float *want_norm, const float *want)
{
    double projections[4], difference = 0;
    golden_projections(got, count, scale, projections);
    for (int k = 0; k < 4; k++) difference += (projections[k] - want[k]) * (projections[k] - want[k]);
    r->difference = sqrt(difference) / 2;
    r->norm = *want_norm;
}

static idm_status compare_one(void *user, const parameter *which, const float *got, size_t count)
{
    comparison *c = user;
    row *r = &c->rows[c->count];
    const bool zero = listed(c->golden, which->name);
    if (zero && strcmp(c->kind, "param") == 0) return IDM_OK; // Adam's steps along a zero gradient are noise
    float *whole, *norm = NULL, *projections = NULL;
    IDM_TRY(read_truth(c, "", which->name, count, &whole));
    idm_status status = whole ? IDM_OK : read_truth(c, "norm", which->name, 1, &norm);
    if (status == IDM_OK && norm) status = read_truth(c, "proj", which->name, 4, &projections);
    if (status == IDM_OK && (whole || projections)) {
        *r = (row){.zero = zero};
        (void)snprintf(r->name, sizeof r->name, "%s", which->name);
        if (whole) compare_whole(r, got, c->scale, whole, count);
        else compare_projections(r, got, count, c->scale, norm, projections);
        c->count++;
    }
    free(whole);
    free(norm);
    free(projections);
    return status;
}

static int by_difference(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return x->difference < y->difference ? -1 : x->difference > y->difference;
}

// Rows become relative, those of zero truths leave the list.
static void summarise(comparison *c, golden_errors *errors)
{
    double difference = 0, norm = 0;
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        difference += c->rows[i].difference * c->rows[i].difference;
        norm += c->rows[i].norm * c->rows[i].norm;
    }
    norm = sqrt(norm);
    errors->tensors = c->count;
    errors->whole = sqrt(difference) / norm;
    for (size_t i = 0; i < c->count; i++) {
        row r = c->rows[i];
        if (r.zero) {
            errors->zero = fmax(errors->zero, r.difference / norm);
            continue;
        }
        r.difference /= r.norm + FLOOR * norm;
        if (!isfinite(r.difference)) r.difference = INFINITY; // a NaN would get lost in sorting
        c->rows[count++] = r;
    }
    if (count == 0) return;
    qsort(c->rows, count, sizeof *c->rows, by_difference);
    errors->median = c->rows[count / 2].difference;
    errors->worst = c->rows[count - 1].difference;
    (void)snprintf(errors->worst_name, sizeof errors->worst_name, "%s", c->rows[count - 1].name);
}

idm_status golden_compare(tensor_file *golden, const parameters *p, pool where, const char *kind, double scale, golden_errors *errors)
{
    *errors = (golden_errors){0};
    comparison c = {.golden = golden, .kind = kind, .scale = scale, .rows = calloc(p->count + 1, sizeof *c.rows)};
    if (!c.rows) return status_fail(IDM_FAILED, "out of memory");
    const idm_status status = parameters_download(p, where, compare_one, &c);
    if (status == IDM_OK && c.count) summarise(&c, errors);
    free(c.rows);
    return status;
}
