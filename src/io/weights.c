#include "io/weights.h"

#include "core/random.h"
#include "core/status.h"
#include "core/text.h"
#include "io/half.h"
#include "io/safetensors.h"
#include "io/torch_zip.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

idm_status weights_allocate(const model_sizes *sizes, weights **result)
{
    *result = NULL;
    weights *w = calloc(1, sizeof *w);
    if (!w) return status_fail(IDM_FAILED, "not enough memory for weights");
    w->sizes = *sizes;
    const idm_status status = names_parameters(sizes, &w->parameters, &w->count);
    if (status != IDM_OK) {
        weights_free(w);
        return status;
    }
    size_t total = 0;
    for (size_t i = 0; i < w->count; i++) total += w->parameters[i].count;
    w->values = calloc(w->count, sizeof *w->values);
    w->block = malloc(total * sizeof *w->block);
    if (!w->values || !w->block) {
        weights_free(w);
        return status_fail(IDM_FAILED, "not enough memory for weights (%zu bytes)", total * sizeof *w->block);
    }
    size_t at = 0;
    for (size_t i = 0; i < w->count; i++) {
        w->values[i] = w->block + at;
        at += w->parameters[i].count;
    }
    *result = w;
    return IDM_OK;
}

void weights_free(weights *w)
{
    if (!w) return;
    free(w->parameters);
    free(w->values);
    free(w->block);
    free(w->phi);
    free(w);
}

void weights_drop_values(weights *w)
{
    free(w->values);
    free(w->block);
    w->values = NULL;
    w->block = NULL;
}

void weights_start(weights *w, size_t i, uint64_t seed)
{
    const parameter_name *p = &w->parameters[i];
    const uint64_t key = random_key(seed, p->name);
    const double bound = p->fan_in ? 1 / sqrt(p->fan_in) : 0;
    for (size_t k = 0; k < p->count; k++) w->values[i][k] = p->fan_in ? (float)(bound * (2 * random_uniform(key, k) - 1)) : p->start;
}

idm_status weights_init_random(const model_sizes *sizes, uint64_t seed, weights **result)
{
    IDM_TRY(weights_allocate(sizes, result));
    for (size_t i = 0; i < (*result)->count; i++) weights_start(*result, i, seed);
    return IDM_OK;
}

float *weights_find(const weights *w, const char *name)
{
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->parameters[i].name, name) == 0) return w->values[i];
    }
    return NULL;
}

enum { METADATA_KEYS = 7, METADATA_TEXT = 48 };

typedef struct metadata {
    safetensors_metadata items[METADATA_KEYS];
    char texts[METADATA_KEYS][METADATA_TEXT];
    size_t count;
} metadata;

// Numbers that are not known (0) are left out.
static void add_metadata(metadata *m, const char *key, int number)
{
    if (number == 0) return;
    (void)snprintf(m->texts[m->count], METADATA_TEXT, "%d", number);
    m->items[m->count] = (safetensors_metadata){key, m->texts[m->count]};
    m->count++;
}

static void describe(const weights *w, metadata *m)
{
    (void)snprintf(m->texts[0], METADATA_TEXT, "%d,%d", w->sizes.channels[0], w->sizes.channels[1]);
    m->items[0] = (safetensors_metadata){"channels", m->texts[0]};
    m->count = 1;
    add_metadata(m, "heads", w->sizes.heads);
    add_metadata(m, "groups", w->sizes.groups);
    add_metadata(m, "steps", w->sizes.steps);
    add_metadata(m, "block_size", w->sizes.block);
    if (w->cs_ratio > 0) {
        text_from_double(m->texts[m->count], w->cs_ratio);
        m->items[m->count] = (safetensors_metadata){"cs_ratio", m->texts[m->count]};
        m->count++;
    }
    add_metadata(m, "format_version", 1);
}

typedef struct saving {
    const weights *w;
    const char *path;
    weights_source *source;
    void *user;
    uint16_t *half; // room for the largest parameter; NULL: float32 is written
} saving;

static const void *halved(const saving *s, size_t index, const float *values)
{
    const parameter_name *p = &s->w->parameters[index];
    for (size_t i = 0; i < p->count; i++) {
        s->half[i] = half_from_float(values[i]);
        if (isinf(half_to_float(s->half[i]))) {
            (void)status_fail(IDM_FAILED, "%s: %s holds %g, too large for 16 bits", s->path, p->name, (double)values[i]);
            return NULL;
        }
    }
    return s->half;
}

// phi comes behind the parameters.
static const void *saved_values(void *user, size_t index)
{
    const saving *s = user;
    if (index == s->w->count) return s->w->phi;
    const float *values = s->source(s->user, index);
    return values && s->half ? halved(s, index, values) : values;
}

static idm_status save(saving s)
{
    const weights *w = s.w;
    const char *path = s.path;
    safetensors_tensor *tensors = calloc(w->count + 1, sizeof *tensors);
    if (!tensors) return status_fail(IDM_FAILED, "%s: not enough memory to write", path);
    for (size_t i = 0; i < w->count; i++) {
        const parameter_name *p = &w->parameters[i];
        tensors[i] = (safetensors_tensor){.name = p->name, .dtype = s.half ? FILE_F16 : FILE_F32, .rank = p->rank};
        memcpy(tensors[i].shape, p->shape, sizeof p->shape);
    }
    size_t count = w->count;
    if (w->phi) {
        const int64_t rows = (int64_t)w->sizes.block * w->sizes.block;
        tensors[count++] = (safetensors_tensor){.name = "phi", .dtype = FILE_F32, .rank = 2, .shape = {rows, w->measurements}};
    }
    metadata m;
    describe(w, &m);
    const idm_status status = safetensors_write_from(path, tensors, count, m.items, m.count, saved_values, &s);
    free(tensors);
    return status;
}

idm_status weights_save_from(const weights *w, const char *path, weights_source *source, void *user)
{
    return save((saving){w, path, source, user, NULL});
}

static const float *own_values(void *user, size_t index)
{
    const weights *const *w = user;
    return (*w)->values[index];
}

idm_status weights_save(const weights *w, const char *path)
{
    return weights_save_from(w, path, own_values, &w);
}

idm_status weights_save_half(const weights *w, const char *path)
{
    size_t largest = 0;
    for (size_t i = 0; i < w->count; i++) largest = w->parameters[i].count > largest ? w->parameters[i].count : largest;
    uint16_t *half = malloc(largest * sizeof *half);
    if (!half) return status_fail(IDM_FAILED, "%s: not enough memory to write", path);
    const idm_status status = save((saving){w, path, own_values, &w, half});
    free(half);
    return status;
}

static void set_torch_tensor(torch_zip_tensor *tensor, const char *name, const parameter_name *p, const float *values)
{
    *tensor = (torch_zip_tensor){.name = name, .rank = p->rank, .data = values};
    memcpy(tensor->shape, p->shape, sizeof p->shape);
}

static size_t index_of(const weights *w, const char *name)
{
    size_t i = 0;
    while (strcmp(w->parameters[i].name, name) != 0) i++;
    return i;
}

idm_status weights_save_torch(const weights *w, const char *path)
{
    parameter_alias *aliases;
    size_t alias_count;
    IDM_TRY(names_aliases(&w->sizes, &aliases, &alias_count));
    torch_zip_tensor *tensors = calloc(w->count + alias_count, sizeof *tensors);
    idm_status status = tensors ? IDM_OK : status_fail(IDM_FAILED, "%s: not enough memory to write", path);
    if (status == IDM_OK) {
        for (size_t i = 0; i < w->count; i++) set_torch_tensor(&tensors[i], w->parameters[i].name, &w->parameters[i], w->values[i]);
        for (size_t i = 0; i < alias_count; i++) {
            const size_t target = index_of(w, aliases[i].name);
            set_torch_tensor(&tensors[w->count + i], aliases[i].alias, &w->parameters[target], w->values[target]);
        }
        status = torch_zip_write(path, tensors, w->count + alias_count);
    }
    free(tensors);
    free(aliases);
    return status;
}

idm_status weights_convert(const char *in, const char *out, const weights_options *options, bool half)
{
    static const char *const torch_endings[] = {".pkl", ".pt", ".pth", ".ckpt", ".bin"};
    const char *ending = strrchr(out, '.');
    const bool safetensors = ending && strcasecmp(ending, ".safetensors") == 0;
    bool torch = false;
    for (size_t i = 0; ending && i < sizeof torch_endings / sizeof *torch_endings; i++) torch |= strcasecmp(ending, torch_endings[i]) == 0;
    if (!safetensors && !torch)
        return status_fail(IDM_USAGE, "%s: the name must end in .safetensors, or in .pkl, .pt, .pth, .ckpt or .bin for a torch file", out);
    if (half && torch) return status_fail(IDM_USAGE, "%s: 16-bit weights are written as .safetensors only", out);
    weights *w;
    IDM_TRY(weights_load(in, options, &w));
    const idm_status status = torch ? weights_save_torch(w, out) : half ? weights_save_half(w, out) : weights_save(w, out);
    weights_free(w);
    return status;
}
