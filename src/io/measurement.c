#include "io/measurement.h"

#include "core/status.h"
#include "core/text.h"
#include "io/operator.h"
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A whole number in the metadata; *value stays where the key is missing.
static idm_status metadata_int(const tensor_file *file, const char *key, int most, int *value)
{
    const char *text = tensor_file_metadata(file, key);
    int64_t number;
    if (!text) return IDM_OK;
    if (!text_to_int(text, &number) || number < 1 || number > most)
        return status_fail(IDM_BAD_INPUT, "%s: metadata \"%s\" must be a number from 1 to %d", tensor_file_path(file), key, most);
    *value = (int)number;
    return IDM_OK;
}

static idm_status read_sizes(const tensor_file *file, measurement *m)
{
    const char *path = tensor_file_path(file);
    IDM_TRY(metadata_int(file, "height", MEASUREMENT_SIDE_MAX, &m->height));
    IDM_TRY(metadata_int(file, "width", MEASUREMENT_SIDE_MAX, &m->width));
    if (m->height == 0 || m->width == 0)
        return status_fail(IDM_BAD_INPUT, "%s: no measurement file: the metadata lack height and width", path);
    if ((int64_t)m->height * m->width > MEASUREMENT_PIXELS_MAX)
        return status_fail(IDM_BAD_INPUT, "%s: %d x %d pixels are more than %d", path, m->height, m->width, MEASUREMENT_PIXELS_MAX);
    m->original_height = m->height;
    m->original_width = m->width;
    IDM_TRY(metadata_int(file, "original_height", m->height, &m->original_height));
    IDM_TRY(metadata_int(file, "original_width", m->width, &m->original_width));
    return metadata_int(file, "block_size", OPERATOR_BLOCK_MAX, &m->block);
}

// Whether the tiles lie as the picture's size asks is for the one who puts them together.
static idm_status read_tiles(const tensor_file *file, measurement *m)
{
    IDM_TRY(metadata_int(file, "picture_height", MEASUREMENT_SIDE_MAX, &m->picture_height));
    IDM_TRY(metadata_int(file, "picture_width", MEASUREMENT_SIDE_MAX, &m->picture_width));
    IDM_TRY(metadata_int(file, "tile_rows", MEASUREMENT_SIDE_MAX, &m->tile_rows));
    IDM_TRY(metadata_int(file, "tile_columns", MEASUREMENT_SIDE_MAX, &m->tile_columns));
    const int given = (m->picture_height > 0) + (m->picture_width > 0) + (m->tile_rows > 0) + (m->tile_columns > 0);
    if (given == 0) return IDM_OK;
    if (given < 4 || (int64_t)m->tile_rows * m->tile_columns != m->count ||
        (int64_t)m->picture_height * m->picture_width > MEASUREMENT_PIXELS_MAX)
        return status_fail(IDM_BAD_INPUT, "%s: the metadata picture_height, picture_width, tile_rows, tile_columns do not fit %d tiles",
                           tensor_file_path(file), m->count);
    return IDM_OK;
}

static idm_status check_block(const char *path, const measurement *m)
{
    const int b = m->block;
    if (b < 4 || b % 4 != 0 || m->height % b != 0 || m->width % b != 0)
        return status_fail(IDM_BAD_INPUT, "%s: height %d and width %d must be multiples of block_size %d, and that of 4", path, m->height,
                           m->width, b);
    if (m->original_height <= m->height - b || m->original_width <= m->width - b)
        return status_fail(IDM_BAD_INPUT, "%s: %d x %d padded to %d x %d: more than block_size %d needs", path, m->original_height,
                           m->original_width, m->height, m->width, b);
    return IDM_OK;
}

// The ratio that the file says must give phi's M.
static idm_status read_ratio(const tensor_file *file, measurement *m)
{
    const char *text = tensor_file_metadata(file, "cs_ratio");
    if (!text) return IDM_OK;
    double ratio;
    if (!text_to_double(text, &ratio) || !(ratio > 0 && ratio <= 1))
        return status_fail(IDM_BAD_INPUT, "%s: metadata \"cs_ratio\" must be above 0, at most 1", tensor_file_path(file));
    if (operator_measurements(m->block, ratio) != m->measurements)
        return status_fail(IDM_BAD_INPUT, "%s: cs_ratio %g of %d pixels is not the %d measurements of phi", tensor_file_path(file), ratio,
                           m->block * m->block, m->measurements);
    m->cs_ratio = ratio;
    return IDM_OK;
}

static idm_status read_f32(tensor_file *file, const tensor_entry *entry, float **values)
{
    *values = malloc((entry->count + 1) * sizeof **values);
    if (!*values) return status_fail(IDM_FAILED, "%s: not enough memory for \"%s\"", tensor_file_path(file), entry->name);
    IDM_TRY(tensor_file_read_f32(file, entry, *values));
    return tensor_file_check_finite(file, entry, *values);
}

// Finds a tensor in the measurement file, else in the operator file; *owner is where.
static idm_status find_either(tensor_file *file, tensor_file *operator_file, const char *name, tensor_file **owner,
                              const tensor_entry **entry)
{
    *owner = file;
    *entry = tensor_file_find(file, name);
    if (!*entry && operator_file) {
        *owner = operator_file;
        *entry = tensor_file_find(operator_file, name);
    }
    if (*entry) return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" is missing%s", tensor_file_path(file), name,
                       operator_file ? " here and in the operator file" : "; give the operator file");
}

static idm_status read_phi(tensor_file *file, tensor_file *operator_file, measurement *m)
{
    tensor_file *owner;
    const tensor_entry *phi;
    IDM_TRY(find_either(file, operator_file, "phi", &owner, &phi));
    if (operator_file && owner == operator_file) {
        const int said = m->block;
        IDM_TRY(metadata_int(operator_file, "block_size", OPERATOR_BLOCK_MAX, &m->block));
        if (said && m->block != said)
            return status_fail(IDM_BAD_INPUT, "%s: block_size %d, but %d in %s", tensor_file_path(file), said, m->block,
                               tensor_file_path(operator_file));
    }
    if (m->block == 0) { // as phi says
        for (int b = 4; b <= OPERATOR_BLOCK_MAX && m->block == 0; b += 4) m->block = b * b == phi->shape[0] ? b : 0;
    }
    IDM_TRY(check_block(tensor_file_path(file), m));
    const int64_t n = (int64_t)m->block * m->block, columns = phi->rank == 2 ? phi->shape[1] : 0;
    IDM_TRY(tensor_file_expect_shape(owner, phi, 2, (const int64_t[]){n, columns}));
    if (columns < 1 || columns > n)
        return status_fail(IDM_BAD_INPUT, "%s: phi has %lld columns, must be 1 to %lld", tensor_file_path(owner), (long long)columns,
                           (long long)n);
    m->measurements = (int)columns;
    m->cs_ratio = (double)columns / (double)n;
    IDM_TRY(read_ratio(file, m));
    if (owner != file) IDM_TRY(read_ratio(owner, m));
    return read_f32(owner, phi, &m->phi);
}

// Narrows to int32 and sees that each pixel comes once.
static idm_status check_perm(const tensor_file *file, const int64_t *values, int32_t *perm, size_t count)
{
    memset(perm, 0xff, count * sizeof *perm);
    for (size_t i = 0; i < count; i++) { // perm as the set of those seen
        if (values[i] < 0 || (uint64_t)values[i] >= count || perm[values[i]] != -1)
            return status_fail(IDM_BAD_INPUT, "%s: tensor \"perm\" is no permutation of %zu pixels (value %zu is %lld)",
                               tensor_file_path(file), count, i, (long long)values[i]);
        perm[values[i]] = 0;
    }
    for (size_t i = 0; i < count; i++) perm[i] = (int32_t)values[i];
    return IDM_OK;
}

static idm_status read_perm(tensor_file *file, tensor_file *operator_file, measurement *m)
{
    tensor_file *owner;
    const tensor_entry *entry;
    IDM_TRY(find_either(file, operator_file, "perm", &owner, &entry));
    const int64_t count = (int64_t)m->height * m->width;
    IDM_TRY(tensor_file_expect_shape(owner, entry, 1, &count));
    int64_t *values = malloc((size_t)count * sizeof *values);
    m->perm = malloc((size_t)count * sizeof *m->perm);
    idm_status status = IDM_OK;
    if (!values || !m->perm) status = status_fail(IDM_FAILED, "%s: not enough memory for perm", tensor_file_path(owner));
    if (status == IDM_OK) status = tensor_file_read_i64(owner, entry, values);
    if (status == IDM_OK) status = check_perm(owner, values, m->perm, (size_t)count);
    free(values);
    return status;
}

static idm_status read_planes(tensor_file *file, bool y_needed, measurement *m)
{
    const tensor_entry *y = tensor_file_find(file, "y"), *x = tensor_file_find(file, "x");
    if (!y && (y_needed || !x))
        return status_fail(IDM_BAD_INPUT, "%s: no measurement file: tensor \"y\" is missing", tensor_file_path(file));
    const tensor_entry *one = y ? y : x;
    const int64_t count = one->rank > 0 ? one->shape[0] : 0;
    enum { PLANES_MAX = 65536 };
    if (count < 1 || count > PLANES_MAX)
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" must hold 1 to %d planes", tensor_file_path(file), one->name, PLANES_MAX);
    m->count = (int)count;
    const int64_t pixels = (int64_t)m->height * m->width, n = (int64_t)m->block * m->block;
    if (y) {
        IDM_TRY(tensor_file_expect_shape(file, y, 3, (const int64_t[]){count, pixels / n, m->measurements}));
        IDM_TRY(read_f32(file, y, &m->y));
    }
    if (x) {
        IDM_TRY(tensor_file_expect_shape(file, x, 4, (const int64_t[]){count, 1, m->height, m->width}));
        IDM_TRY(read_f32(file, x, &m->x));
    }
    return IDM_OK;
}

static idm_status read_all(tensor_file *file, tensor_file *operator_file, bool y_needed, measurement *m)
{
    IDM_TRY(read_sizes(file, m));
    IDM_TRY(read_phi(file, operator_file, m));
    IDM_TRY(read_perm(file, operator_file, m));
    IDM_TRY(read_planes(file, y_needed, m));
    return read_tiles(file, m);
}

idm_status measurement_read(tensor_file *file, tensor_file *operator_file, bool y_needed, measurement *m)
{
    *m = (measurement){0};
    const idm_status status = read_all(file, operator_file, y_needed, m);
    if (status != IDM_OK) measurement_free(m);
    return status;
}

idm_status measurement_load(const char *path, const char *operator_path, measurement *m)
{
    tensor_file *file, *operator_file = NULL;
    *m = (measurement){0};
    IDM_TRY(tensor_file_open(path, &file));
    idm_status status = operator_path ? tensor_file_open(operator_path, &operator_file) : IDM_OK;
    if (status == IDM_OK) status = measurement_read(file, operator_file, true, m);
    tensor_file_close(operator_file);
    tensor_file_close(file);
    return status;
}

idm_status measurement_load_operator(const char *path, measurement *m)
{
    tensor_file *file;
    *m = (measurement){0};
    IDM_TRY(tensor_file_open(path, &file));
    idm_status status = read_sizes(file, m);
    if (status == IDM_OK) status = read_phi(file, NULL, m);
    if (status == IDM_OK) status = read_perm(file, NULL, m);
    tensor_file_close(file);
    if (status != IDM_OK) measurement_free(m);
    return status;
}

static idm_status save(const char *path, const measurement *m, bool planes, bool with_operator)
{
    const int64_t pixels = (int64_t)m->height * m->width, n = (int64_t)m->block * m->block;
    int64_t *perm = with_operator ? malloc((size_t)pixels * sizeof *perm) : NULL;
    if (with_operator && !perm) return status_fail(IDM_FAILED, "%s: not enough memory to write", path);
    for (int64_t i = 0; perm && i < pixels; i++) perm[i] = m->perm[i];
    const safetensors_tensor all[] = {
        {"y", FILE_F32, 3, {m->count, pixels / n, m->measurements}, planes ? m->y : NULL},
        {"phi", FILE_F32, 2, {n, m->measurements}, with_operator ? m->phi : NULL},
        {"perm", FILE_I64, 1, {pixels}, perm},
        {"x", FILE_F32, 4, {m->count, 1, m->height, m->width}, planes ? m->x : NULL},
    };
    safetensors_tensor tensors[4];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        if (all[i].data) tensors[count++] = all[i];
    }
    static const char *const keys[] = {"height",         "width",         "original_height", "original_width", "block_size",
                                       "picture_height", "picture_width", "tile_rows",       "tile_columns"};
    const int numbers[] = {m->height,         m->width,         m->original_height, m->original_width, m->block,
                           m->picture_height, m->picture_width, m->tile_rows,       m->tile_columns};
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    char texts[NUMBERS + 1][32];
    safetensors_metadata metadata[NUMBERS + 1];
    size_t keys_count = 0;
    for (size_t i = 0; i < NUMBERS; i++) {
        if (numbers[i] == 0) continue; // not in tiles
        (void)snprintf(texts[i], sizeof texts[i], "%d", numbers[i]);
        metadata[keys_count++] = (safetensors_metadata){keys[i], texts[i]};
    }
    text_from_double(texts[NUMBERS], m->cs_ratio);
    metadata[keys_count++] = (safetensors_metadata){"cs_ratio", texts[NUMBERS]};
    const idm_status status = safetensors_write(path, tensors, count, metadata, keys_count);
    free(perm);
    return status;
}

idm_status measurement_save(const char *path, const measurement *m, bool with_operator)
{
    return save(path, m, true, with_operator);
}

idm_status measurement_save_operator(const char *path, const measurement *m)
{
    return save(path, m, false, true);
}

void measurement_free(measurement *m)
{
    free(m->y);
    free(m->x);
    free(m->phi);
    free(m->perm);
    *m = (measurement){0};
}
