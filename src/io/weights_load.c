#include "core/status.h"
#include "core/text.h"
#include "io/operator.h"
#include "io/tensor_file.h"
#include "io/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum layout { LAYOUT_IDM, LAYOUT_DIFFUSERS, LAYOUT_SINGLE_FILE } layout;

enum { PREFIXED_MAX = NAMES_LENGTH_MAX + 32 };

typedef struct loader {
    const char *path;
    tensor_file *file;
    weights_options options;
    layout layout;
    const char *prefix; // before every name in the file: "" or "module."
    bool *known;        // by index in the file: belongs to IDM
    model_sizes sizes;
    double cs_ratio;
    const tensor_entry *phi;
    int measurements;
} loader;

static const tensor_entry *find(const loader *l, const char *name)
{
    char prefixed[PREFIXED_MAX];
    (void)snprintf(prefixed, sizeof prefixed, "%s%s", l->prefix, name);
    const tensor_entry *entry = tensor_file_find(l->file, prefixed);
    if (entry) l->known[entry - tensor_file_at(l->file, 0)] = true;
    return entry;
}

// Under which name the file keeps a parameter; false: this layout has none in its role.
static bool source_name(const loader *l, const char *name, char out[NAMES_LENGTH_MAX + 1])
{
    if (l->layout != LAYOUT_IDM) return names_sd15(name, l->layout == LAYOUT_SINGLE_FILE, out);
    (void)snprintf(out, NAMES_LENGTH_MAX + 1, "%s", name);
    return true;
}

// *known = found, unless it was something else already. `who` said it: "its metadata".
static idm_status agree(const loader *l, const char *what, int *known, int found, const char *who)
{
    if (*known == 0) *known = found;
    if (found == 0 || *known == found) return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s: %s is %d in the file, but %d in %s", l->path, what, *known, found, who);
}

static idm_status agree_all(loader *l, const model_sizes *found, const char *who)
{
    IDM_TRY(agree(l, "channels (level 0)", &l->sizes.channels[0], found->channels[0], who));
    IDM_TRY(agree(l, "channels (level 1)", &l->sizes.channels[1], found->channels[1], who));
    IDM_TRY(agree(l, "steps", &l->sizes.steps, found->steps, who));
    IDM_TRY(agree(l, "block_size", &l->sizes.block, found->block, who));
    IDM_TRY(agree(l, "heads", &l->sizes.heads, found->heads, who));
    return agree(l, "groups", &l->sizes.groups, found->groups, who);
}

static idm_status find_layout(loader *l)
{
    static const struct {
        const char *prefix, *name;
        layout layout;
    } marks[] = {{"", "unet.conv_in.weight", LAYOUT_IDM},
                 {"module.", "unet.conv_in.weight", LAYOUT_IDM},
                 {"", "conv_in.weight", LAYOUT_DIFFUSERS},
                 {"module.", "conv_in.weight", LAYOUT_DIFFUSERS},
                 {"", "model.diffusion_model.input_blocks.0.0.weight", LAYOUT_SINGLE_FILE}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        l->prefix = marks[i].prefix;
        l->layout = marks[i].layout;
        if (find(l, marks[i].name)) return IDM_OK;
    }
    return status_fail(IDM_BAD_INPUT,
                       "%s: neither IDM weights nor a Stable Diffusion 1.5 U-Net (no tensor unet.conv_in.weight, conv_in.weight or "
                       "model.diffusion_model.input_blocks.0.0.weight)",
                       l->path);
}

// The first dimension of a parameter's tensor.
static idm_status first_dimension(const loader *l, const char *name, int *size)
{
    char source[NAMES_LENGTH_MAX + 1];
    (void)source_name(l, name, source);
    const tensor_entry *entry = find(l, source);
    if (!entry) return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" is missing", l->path, source);
    if (entry->rank == 0 || entry->shape[0] < 1 || entry->shape[0] > 1 << 20)
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" has an unusable shape", l->path, source);
    *size = (int)entry->shape[0];
    return IDM_OK;
}

static idm_status metadata_int(const loader *l, const char *key, int *value)
{
    const char *text = tensor_file_metadata(l->file, key);
    int64_t number;
    if (!text) return IDM_OK;
    if (!text_to_int(text, &number) || number < 1 || number > 1 << 20)
        return status_fail(IDM_BAD_INPUT, "%s: metadata \"%s\" is no usable number", l->path, key);
    *value = (int)number;
    return IDM_OK;
}

static idm_status read_metadata(const loader *l, model_sizes *said, double *cs_ratio)
{
    int version = 1;
    IDM_TRY(metadata_int(l, "heads", &said->heads));
    IDM_TRY(metadata_int(l, "groups", &said->groups));
    IDM_TRY(metadata_int(l, "steps", &said->steps));
    IDM_TRY(metadata_int(l, "block_size", &said->block));
    IDM_TRY(metadata_int(l, "format_version", &version));
    if (version != 1) return status_fail(IDM_BAD_INPUT, "%s: format_version %d is newer than this program", l->path, version);
    const char *channels = tensor_file_metadata(l->file, "channels"), *ratio = tensor_file_metadata(l->file, "cs_ratio");
    char beyond;
    if (channels && sscanf(channels, "%9d,%9d%c", &said->channels[0], &said->channels[1], &beyond) != 2)
        return status_fail(IDM_BAD_INPUT, "%s: metadata \"channels\" must be two numbers, \"c0,c1\"", l->path);
    if (ratio && (!text_to_double(ratio, cs_ratio) || !(*cs_ratio > 0 && *cs_ratio <= 1)))
        return status_fail(IDM_BAD_INPUT, "%s: metadata \"cs_ratio\" must be above 0, at most 1", l->path);
    return IDM_OK;
}

// phi (N, M) tells block and ratio.
static idm_status find_phi(loader *l)
{
    l->phi = l->layout == LAYOUT_IDM ? find(l, "phi") : NULL;
    if (!l->phi) return IDM_OK;
    const int64_t n = l->phi->shape[0], m = l->phi->shape[1];
    int block = 4;
    while (block < OPERATOR_BLOCK_MAX && (int64_t)block * block < n) block += 4;
    if (l->phi->rank != 2 || (int64_t)block * block != n || m < 1 || m > n) {
        char shape[200];
        tensor_shape_text(shape, l->phi->rank, l->phi->shape);
        return status_fail(IDM_BAD_INPUT, "%s: tensor \"phi\" has the shape %s, expected (N, M) with N = block_size^2, M <= N", l->path,
                           shape);
    }
    l->sizes.block = block;
    l->measurements = (int)m;
    return IDM_OK;
}

// phi's number of measurements must be what the ratio gives.
static idm_status agree_ratio(loader *l, double ratio, const char *who)
{
    if (ratio <= 0) return IDM_OK;
    if (l->phi && operator_measurements(l->sizes.block, ratio) != l->measurements)
        return status_fail(IDM_BAD_INPUT, "%s: phi has %d measurements per block of %d pixels, but cs_ratio is %g in %s", l->path,
                           l->measurements, l->sizes.block * l->sizes.block, ratio, who);
    if (!l->phi && l->cs_ratio > 0 && l->cs_ratio != ratio)
        return status_fail(IDM_BAD_INPUT, "%s: cs_ratio is %g in the file, but %g in %s", l->path, l->cs_ratio, ratio, who);
    if (!(l->cs_ratio > 0)) l->cs_ratio = ratio;
    return IDM_OK;
}

// What the caller says about the ratio, in weights that may be another's.
static idm_status take_ratio(loader *l)
{
    const double ratio = l->options.cs_ratio;
    const bool other = ratio > 0 && (l->phi ? operator_measurements(l->sizes.block, ratio) != l->measurements : l->cs_ratio != ratio);
    if (!l->options.any_ratio || !other) return agree_ratio(l, ratio, "the configuration");
    l->phi = NULL;
    l->measurements = 0;
    l->cs_ratio = ratio;
    return IDM_OK;
}

static idm_status check_divisors(const loader *l)
{
    for (int i = 0; i < 2; i++) {
        const int c = l->sizes.channels[i];
        if ((l->sizes.heads && c % l->sizes.heads != 0) || (l->sizes.groups && c % l->sizes.groups != 0))
            return status_fail(IDM_BAD_INPUT, "%s: %d channels cannot be divided into heads (%d) and groups (%d)", l->path, c,
                               l->sizes.heads, l->sizes.groups);
    }
    return IDM_OK;
}

// From the tensors' shapes first, then what the metadata says, then what the caller says; the later ones must not contradict.
static idm_status find_sizes(loader *l)
{
    model_sizes said = {0};
    double ratio_said = 0;
    IDM_TRY(first_dimension(l, "unet.conv_in.weight", &l->sizes.channels[0]));
    IDM_TRY(first_dimension(l, "unet.down_blocks.1.resnets.1.conv1.weight", &l->sizes.channels[1]));
    if (l->layout == LAYOUT_IDM) IDM_TRY(first_dimension(l, "alpha", &l->sizes.steps));
    IDM_TRY(find_phi(l));
    if (l->layout == LAYOUT_IDM) IDM_TRY(read_metadata(l, &said, &ratio_said));
    IDM_TRY(agree_all(l, &said, "its metadata"));
    IDM_TRY(agree_ratio(l, ratio_said, "its metadata"));
    IDM_TRY(agree_all(l, &l->options.sizes, "the configuration"));
    IDM_TRY(take_ratio(l));
    const model_sizes *published = &names_published_sizes;
    if (l->phi && !(l->cs_ratio > 0)) l->cs_ratio = (double)l->measurements / (l->sizes.block * l->sizes.block);
    if (l->sizes.steps == 0) l->sizes.steps = published->steps;
    if (memcmp(l->sizes.channels, published->channels, sizeof published->channels) == 0) {
        if (l->sizes.heads == 0) l->sizes.heads = published->heads;
        if (l->sizes.groups == 0) l->sizes.groups = published->groups;
    }
    return check_divisors(l);
}

static idm_status read_f32(const loader *l, const tensor_entry *entry, float *values)
{
    IDM_TRY(tensor_file_read_f32(l->file, entry, values));
    return l->options.accept_nonfinite ? IDM_OK : tensor_file_check_finite(l->file, entry, values);
}

// Every parameter that the layout has must be there with its shape; checked before memory is taken for the values.
static idm_status check_shapes(const loader *l)
{
    parameter_name *list;
    size_t count;
    idm_status status = names_parameters(&l->sizes, &list, &count);
    if (status != IDM_OK) return status_prefix(IDM_BAD_INPUT, "%s", l->path);
    for (size_t i = 0; i < count && status == IDM_OK; i++) {
        char source[NAMES_LENGTH_MAX + 1];
        if (!source_name(l, list[i].name, source)) continue;
        const tensor_entry *entry = find(l, source);
        if (entry) status = tensor_file_expect_shape(l->file, entry, list[i].rank, list[i].shape);
        else
            status = status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" is missing (channels %d,%d, steps %d)", l->path, source,
                                 l->sizes.channels[0], l->sizes.channels[1], l->sizes.steps);
    }
    free(list);
    return status;
}

static idm_status read_values(const loader *l, weights *w)
{
    for (size_t i = 0; i < w->count; i++) {
        char source[NAMES_LENGTH_MAX + 1];
        if (!source_name(l, w->parameters[i].name, source)) {
            weights_start(w, i, l->options.seed);
            continue;
        }
        IDM_TRY(read_f32(l, find(l, source), w->values[i]));
    }
    return IDM_OK;
}

static idm_status read_phi(const loader *l, weights *w)
{
    if (!l->phi) return IDM_OK;
    w->measurements = l->measurements;
    w->phi = malloc(l->phi->count * sizeof *w->phi);
    if (!w->phi) return status_fail(IDM_FAILED, "%s: not enough memory for phi", l->path);
    return read_f32(l, l->phi, w->phi);
}

// A second name must hold what the first one does; as a rule they share the storage and nothing needs reading.
static idm_status check_alias(const loader *l, const weights *w, const parameter_alias *alias)
{
    const tensor_entry *entry = find(l, alias->alias), *target = find(l, alias->name);
    if (!entry || tensor_entry_same(entry, target)) return IDM_OK;
    IDM_TRY(tensor_file_expect_shape(l->file, entry, target->rank, target->shape));
    float *values = malloc((entry->count + 1) * sizeof *values);
    if (!values) return status_fail(IDM_FAILED, "%s: not enough memory to compare tensors", l->path);
    idm_status status = tensor_file_read_f32(l->file, entry, values);
    if (status == IDM_OK && memcmp(values, weights_find(w, alias->name), entry->count * sizeof *values) != 0)
        status = status_fail(IDM_BAD_INPUT, "%s: tensor \"%s\" differs from \"%s\", of which it is another name", l->path, alias->alias,
                             alias->name);
    free(values);
    return status;
}

static idm_status check_aliases(const loader *l, const weights *w)
{
    parameter_alias *aliases;
    size_t count;
    IDM_TRY(names_aliases(&l->sizes, &aliases, &count));
    idm_status status = IDM_OK;
    for (size_t i = 0; i < count && status == IDM_OK; i++) status = check_alias(l, w, &aliases[i]);
    free(aliases);
    return status;
}

// A name that IDM has not means that this is another network than it seems to be.
static idm_status check_no_others(const loader *l)
{
    for (size_t i = 0; i < tensor_file_count(l->file); i++) {
        if (!l->known[i])
            return status_fail(IDM_BAD_INPUT, "%s: tensor \"%.200s\" is none of IDM's (channels %d,%d, steps %d)", l->path,
                               tensor_file_at(l->file, i)->name, l->sizes.channels[0], l->sizes.channels[1], l->sizes.steps);
    }
    return IDM_OK;
}

static idm_status load(loader *l, weights **result)
{
    IDM_TRY(find_layout(l));
    IDM_TRY(find_sizes(l));
    IDM_TRY(check_shapes(l));
    IDM_TRY(weights_allocate(&l->sizes, result));
    (*result)->cs_ratio = l->cs_ratio;
    (*result)->imported = l->layout != LAYOUT_IDM;
    IDM_TRY(read_values(l, *result));
    if (l->layout != LAYOUT_IDM) return IDM_OK;
    IDM_TRY(read_phi(l, *result));
    IDM_TRY(check_aliases(l, *result));
    return check_no_others(l);
}

idm_status weights_load(const char *path, const weights_options *options, weights **result)
{
    loader l = {.path = path};
    if (options) l.options = *options;
    *result = NULL;
    IDM_TRY(tensor_file_open(path, &l.file));
    l.known = calloc(tensor_file_count(l.file) + 1, sizeof *l.known);
    const idm_status status = l.known ? load(&l, result) : status_fail(IDM_FAILED, "%s: not enough memory to read the file", path);
    if (status != IDM_OK) {
        weights_free(*result);
        *result = NULL;
    }
    free(l.known);
    tensor_file_close(l.file);
    return status;
}
