#include "io/names.h"

#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const model_sizes names_published_sizes = {{320, 640}, 8, 32, 3, 32};

enum { LEVELS = 2, DOWN_LAYERS = 2, UP_LAYERS = 3, DOWN_CHAINS = 2, UP_CHAIN_MODULES = 11 };
enum { CHANNELS_MAX = 65536, STEPS_MAX = 1000 };

typedef struct builder {
    parameter_name *list;
    size_t count, capacity;
    int steps;
} builder;

// Adds a parameter; its name is `prefix` followed by `leaf`.
static void add(builder *b, const char *prefix, const char *leaf, int rank, const int64_t shape[4], int fan_in, float start)
{
    if (b->count == b->capacity) return; // cannot be: the capacity is exact
    parameter_name *p = &b->list[b->count++];
    *p = (parameter_name){.rank = rank, .count = 1, .fan_in = fan_in, .start = start};
    (void)snprintf(p->name, sizeof p->name, "%s%s", prefix, leaf);
    for (int d = 0; d < 4; d++) {
        p->shape[d] = d < rank ? shape[d] : 1;
        p->count *= (size_t)p->shape[d];
    }
}

static void add_vector(builder *b, const char *prefix, const char *leaf, int count, int fan_in, float start)
{
    add(b, prefix, leaf, 1, (const int64_t[4]){count}, fan_in, start);
}

static void add_conv(builder *b, const char *name, int in, int out, int kernel)
{
    const int fan_in = in * kernel * kernel;
    add(b, name, ".weight", 4, (const int64_t[4]){out, in, kernel, kernel}, fan_in, 0);
    add_vector(b, name, ".bias", out, fan_in, 0);
}

static void add_linear(builder *b, const char *name, int in, int out, bool bias)
{
    add(b, name, ".weight", 2, (const int64_t[4]){out, in}, in, 0);
    if (bias) add_vector(b, name, ".bias", out, in, 0);
}

static void add_norm(builder *b, const char *name, int channels)
{
    add_vector(b, name, ".weight", channels, 0, 1);
    add_vector(b, name, ".bias", channels, 0, 0);
}

// A name by value: name_of(...).s lives as long as the statement that it is in.
typedef struct text {
    char s[NAMES_LENGTH_MAX + 1];
} text;

__attribute__((format(printf, 1, 2))) static text name_of(const char *format, ...)
{
    text result;
    va_list list;
    va_start(list, format);
    (void)vsnprintf(result.s, sizeof result.s, format, list);
    va_end(list);
    return result;
}

static void add_resnet(builder *b, const char *name, int in, int out)
{
    add_norm(b, name_of("%s.norm1", name).s, in);
    add_conv(b, name_of("%s.conv1", name).s, in, out, 3);
    add_norm(b, name_of("%s.norm2", name).s, out);
    add_conv(b, name_of("%s.conv2", name).s, out, out, 3);
    if (in != out) add_conv(b, name_of("%s.conv_shortcut", name).s, in, out, 1);
}

static void add_transformer(builder *b, const char *name, int c)
{
    const text block = name_of("%s.transformer_blocks.0", name);
    add_norm(b, name_of("%s.norm", name).s, c);
    add_conv(b, name_of("%s.proj_in", name).s, c, c, 1);
    add_norm(b, name_of("%s.norm1", block.s).s, c);
    add_linear(b, name_of("%s.attn1.to_q", block.s).s, c, c, false);
    add_linear(b, name_of("%s.attn1.to_k", block.s).s, c, c, false);
    add_linear(b, name_of("%s.attn1.to_v", block.s).s, c, c, false);
    add_linear(b, name_of("%s.attn1.to_out.0", block.s).s, c, c, true);
    add_norm(b, name_of("%s.norm3", block.s).s, c);
    add_linear(b, name_of("%s.ff.net.0.proj", block.s).s, c, 8 * c, true);
    add_linear(b, name_of("%s.ff.net.2", block.s).s, 4 * c, c, true);
    add_conv(b, name_of("%s.proj_out", name).s, c, c, 1);
}

static void add_injectors(builder *b, const char *name, int c, int shuffle, int count)
{
    const int planes = c / (shuffle * shuffle);
    for (int i = 0; i < count; i++) {
        for (int s = 0; s < b->steps; s++) {
            add_conv(b, name_of("%s.injectors.%d.f2i.%d.1", name, i, s).s, planes, 1, 1);
            add_conv(b, name_of("%s.injectors.%d.i2f.%d.0", name, i, s).s, 3, planes, 1);
        }
    }
}

// down_blocks.1 has no resnet in its first chain: its resnets.0 changes the width and stands outside.
static int down_chain_modules(int level, int chain)
{
    return level == 1 && chain == 0 ? 3 : 4;
}

static void add_down_block(builder *b, int level, int in, int c)
{
    const text name = name_of("unet.down_blocks.%d", level);
    for (int j = 0; j < DOWN_LAYERS; j++) add_resnet(b, name_of("%s.resnets.%d", name.s, j).s, j ? c : in, c);
    for (int j = 0; j < DOWN_LAYERS; j++) add_transformer(b, name_of("%s.attentions.%d", name.s, j).s, c);
    add_injectors(b, name.s, c, level ? 4 : 2, 2 * DOWN_LAYERS);
    if (level == 0) add_conv(b, name_of("%s.downsamplers.0.conv", name.s).s, c, c, 3);
    add_vector(b, name.s, ".input_help_scale_factor", 1, 0, 1);
    add_vector(b, name.s, ".merge_scale_factors", DOWN_CHAINS, 0, 0);
    for (int j = 0; j < DOWN_CHAINS; j++) {
        for (int k = 0; k < down_chain_modules(level, j); k++)
            add_vector(b, name_of("%s.rev_module_lists.%d.%d.v", name.s, j, k).s, "", 1, 0, 0.5F);
    }
}

static void add_up_block(builder *b, int block, int c, const int in[UP_LAYERS])
{
    const text name = name_of("unet.up_blocks.%d", block);
    for (int j = 0; j < UP_LAYERS; j++) {
        add_resnet(b, name_of("%s.resnets.%d", name.s, j).s, in[j], c);
        add_transformer(b, name_of("%s.attentions.%d", name.s, j).s, c);
    }
    add_injectors(b, name.s, c, block ? 2 : 4, 2 * UP_LAYERS);
    if (block == 0) add_conv(b, name_of("%s.upsamplers.0.conv", name.s).s, c, c, 3);
    add_vector(b, name.s, ".input_help_scale_factor", 1, 0, 1);
    add_vector(b, name.s, ".merge_scale_factor", 1, 0, 0);
    for (int k = 0; k < UP_CHAIN_MODULES; k++) add_vector(b, name_of("%s.rev_module_list.%d.v", name.s, k).s, "", 1, 0, 0.5F);
}

static idm_status check_sizes(const model_sizes *sizes)
{
    const int c0 = sizes->channels[0], c1 = sizes->channels[1];
    if (c0 <= 0 || c0 > CHANNELS_MAX || c0 % 4 != 0 || c1 <= 0 || c1 > CHANNELS_MAX || c1 % 16 != 0 || c0 == c1)
        return status_fail(IDM_USAGE, "channels %d,%d: must be two different multiples of 4 and 16, at most %d", c0, c1, CHANNELS_MAX);
    if (sizes->steps <= 0 || sizes->steps > STEPS_MAX) return status_fail(IDM_USAGE, "steps %d: must be 1 to %d", sizes->steps, STEPS_MAX);
    return IDM_OK;
}

idm_status names_parameters(const model_sizes *sizes, parameter_name **list, size_t *count)
{
    *list = NULL;
    *count = 0;
    IDM_TRY(check_sizes(sizes));
    const int c0 = sizes->channels[0], c1 = sizes->channels[1];
    builder b = {.capacity = 342 + 81 * (size_t)sizes->steps, .steps = sizes->steps};
    b.list = calloc(b.capacity, sizeof *b.list);
    if (!b.list) return status_fail(IDM_FAILED, "not enough memory for %zu names", b.capacity);
    add_vector(&b, "input_help_scale_factor", "", 1, 0, 1);
    add_vector(&b, "merge_scale_factor", "", 1, 0, 0);
    add_vector(&b, "alpha", "", sizes->steps, 0, 0.5F);
    for (int s = 0; s < sizes->steps; s++) add_vector(&b, name_of("body.%d.v", s).s, "", 1, 0, 0.5F);
    add_conv(&b, "unet.conv_in", 4, c0, 3);
    add_down_block(&b, 0, c0, c0);
    add_down_block(&b, 1, c0, c1);
    add_up_block(&b, 0, c1, (const int[UP_LAYERS]){3 * c1, 2 * c1, c1 + c0});
    add_up_block(&b, 1, c0, (const int[UP_LAYERS]){c1 + c0, 2 * c0, 2 * c0});
    add_norm(&b, "unet.conv_norm_out", c0);
    add_conv(&b, "unet.conv_out", c0, 4, 3);
    *list = b.list;
    *count = b.count;
    return IDM_OK;
}

typedef struct alias_builder {
    const parameter_name *parameters;
    size_t parameter_count;
    parameter_alias *list;
    size_t count;
} alias_builder;

// Everything below `block`.`module` has a second name below `block`.`chain`.body.
static void alias_module(alias_builder *b, const char *block, const char *chain, const char *module)
{
    const text target = name_of("%s.%s.", block, module);
    const size_t length = strlen(target.s);
    for (size_t i = 0; i < b->parameter_count; i++) {
        const char *name = b->parameters[i].name;
        if (strncmp(name, target.s, length) != 0) continue;
        parameter_alias *alias = &b->list[b->count++];
        (void)snprintf(alias->name, sizeof alias->name, "%s", name);
        (void)snprintf(alias->alias, sizeof alias->alias, "%s", name_of("%s.%s.body.%s", block, chain, name + length).s);
    }
}

// One layer of a chain, from module k on: [resnet], injector, attention, injector. Returns the next k.
static int alias_layer(alias_builder *b, const char *block, const char *chain, int k, int layer, bool resnet)
{
    if (resnet) alias_module(b, block, name_of("%s.%d", chain, k++).s, name_of("resnets.%d", layer).s);
    alias_module(b, block, name_of("%s.%d", chain, k++).s, name_of("injectors.%d", 2 * layer).s);
    alias_module(b, block, name_of("%s.%d", chain, k++).s, name_of("attentions.%d", layer).s);
    alias_module(b, block, name_of("%s.%d", chain, k++).s, name_of("injectors.%d", 2 * layer + 1).s);
    return k;
}

idm_status names_aliases(const model_sizes *sizes, parameter_alias **list, size_t *count)
{
    parameter_name *parameters;
    size_t parameter_count;
    *list = NULL;
    *count = 0;
    IDM_TRY(names_parameters(sizes, &parameters, &parameter_count));
    alias_builder b = {parameters, parameter_count, calloc(parameter_count, sizeof *b.list), 0}; // a parameter has at most one alias
    if (!b.list) {
        free(parameters);
        return status_fail(IDM_FAILED, "not enough memory for %zu names", parameter_count);
    }
    for (int level = 0; level < LEVELS; level++) {
        const text down = name_of("unet.down_blocks.%d", level), up = name_of("unet.up_blocks.%d", level);
        for (int j = 0; j < DOWN_CHAINS; j++)
            (void)alias_layer(&b, down.s, name_of("rev_module_lists.%d", j).s, 0, j, down_chain_modules(level, j) == 4);
        int k = 0;
        for (int j = 0; j < UP_LAYERS; j++) k = alias_layer(&b, up.s, "rev_module_list", k, j, j > 0);
    }
    free(parameters);
    *list = b.list;
    *count = b.count;
    return IDM_OK;
}

// How a name begins here and there; NULL ends the table.
typedef struct prefix_map {
    const char *ours, *theirs;
} prefix_map;

static const char *mapped(const prefix_map *map, const char *name, const char **rest)
{
    for (; map->ours; map++) {
        const size_t length = strlen(map->ours);
        if (strncmp(name, map->ours, length) != 0) continue;
        *rest = name + length;
        return map->theirs;
    }
    return NULL;
}

static const prefix_map resnet_parts[] = {{"norm1.", "in_layers.0."},
                                          {"conv1.", "in_layers.2."},
                                          {"norm2.", "out_layers.0."},
                                          {"conv2.", "out_layers.3."},
                                          {"conv_shortcut.", "skip_connection."},
                                          {NULL, NULL}};

static const prefix_map top_parts[] = {
    {"conv_in.", "input_blocks.0.0."}, {"conv_norm_out.", "out.0."}, {"conv_out.", "out.2."}, {NULL, NULL}};

// BLOCK.LIST.INDEX.rest, of down_blocks (down) or up_blocks, to the single-file name.
static bool single_file_block(bool down, int block, const char *list, int layer, const char *rest, text *out)
{
    const char *where = down ? "input_blocks" : "output_blocks";
    const int first = down ? 1 + 3 * block : 3 * block;
    if (strcmp(list, "attentions") == 0) *out = name_of("%s.%d.1.%s", where, first + layer, rest);
    else if (strcmp(list, "resnets") == 0) {
        const char *leaf, *part = mapped(resnet_parts, rest, &leaf);
        if (!part) return false;
        *out = name_of("%s.%d.0.%s%s", where, first + layer, part, leaf);
    } else if (strcmp(list, "downsamplers") == 0 && strncmp(rest, "conv.", 5) == 0)
        *out = name_of("%s.%d.0.op.%s", where, first + DOWN_LAYERS, rest + 5);
    else if (strcmp(list, "upsamplers") == 0) *out = name_of("%s.%d.%d.%s", where, first + 2, block == 0 ? 1 : 2, rest);
    else return false;
    return true;
}

bool names_sd15(const char *name, bool single_file, char out[NAMES_LENGTH_MAX + 1])
{
    if (strncmp(name, "unet.", 5) != 0) return false;
    const char *rest = name + 5, *top_rest;
    int block, layer, used = 0;
    char side[8] = "", list[16] = "";
    text result;
    const char *top = mapped(top_parts, rest, &top_rest);
    if (top) {
        result = single_file ? name_of("%s%s", top, top_rest) : name_of("%s", rest);
    } else {
        if (sscanf(rest, "%4[a-z]_blocks.%d.%15[a-z].%d.%n", side, &block, list, &layer, &used) != 4 || used == 0) return false;
        const bool down = strcmp(side, "down") == 0;
        if (!down && strcmp(side, "up") != 0) return false;
        if (strcmp(list, "injectors") == 0) return false;
        if (!down) block += 2; // SD's up blocks 0 and 1 belong to the levels that were cut off
        if (single_file) {
            if (!single_file_block(down, block, list, layer, rest + used, &result)) return false;
        } else result = name_of("%s_blocks.%d.%s.%d.%s", side, block, list, layer, rest + used);
    }
    if (single_file) result = name_of("model.diffusion_model.%s", result.s);
    memcpy(out, result.s, sizeof result.s);
    return true;
}
