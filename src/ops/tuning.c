#include "ops/tuning.h"

#include "ops/ops.h"
#include <stdlib.h>

const char *const tuned_op_names[TUNED_OPS] = {
    [TUNED_CONV] = "conv3x3",
    [TUNED_LINEAR] = "linear",
    [TUNED_CONV_WEIGHT_GRADIENT] = "conv3x3_weight_gradient",
    [TUNED_LINEAR_WEIGHT_GRADIENT] = "linear_weight_gradient",
    [TUNED_ATTENTION] = "attention",
    [TUNED_ATTENTION_BACKWARD] = "attention_backward",
};

const char *const tuning_parameter_names[TUNING_PARAMETERS] = {
    [TUNE_TILE_ROWS] = "tile_rows",
    [TUNE_TILE_VECTORS] = "tile_vectors",
    [TUNE_TILE_OUTPUTS] = "tile_outputs",
    [TUNE_ITEM_ROWS] = "item_rows",
    [TUNE_UNROLL] = "unroll",
    [TUNE_SUB_TILES] = "sub_tiles",
    [TUNE_BLOCK] = "block",
    [TUNE_PANEL_KIB] = "panel_kib",
    [TUNE_SLICE] = "slice",
    [TUNE_QUERY_TILES] = "query_tiles",
    [TUNE_KEYS] = "keys",
    [TUNE_OWN] = "own",
    [TUNE_OTHERS] = "others",
    [TUNE_LANES] = "lanes",
    [TUNE_CLBLAST] = "clblast",
    [TUNE_WINOGRAD] = "winograd",
    [TUNE_BUFFERS] = "buffers",
};

static int power_of_two_from(int value)
{
    int power = 1;
    while (power < value && power <= INT32_MAX / 2) power *= 2;
    return value > 0 ? power : 0;
}

tuning_shape tuning_class(const tuning_shape *call)
{
    return (tuning_shape){
        .op = call->op,
        .variant = call->variant,
        .in = power_of_two_from(call->in),
        .out = (int)ceil_div((size_t)call->out, 16) * 16,
        .pixels = call->variant == VARIANT_GPU ? power_of_two_from(call->pixels) : 0,
        .head = call->head,
    };
}

// How far apart two powers of two are.
static int distance(int a, int b)
{
    int steps = 0;
    for (; a < b; a *= 2) steps++;
    for (; b < a; b *= 2) steps++;
    return steps;
}

// -1: the row is for other calls; else the better the higher.
static int fit(const tuning_shape *row, const tuning_shape *wanted)
{
    enum { MOST_STEPS = 32 };
    if (row->op != wanted->op || row->variant != wanted->variant) return -1;
    const int of_row[] = {row->in, row->out, row->head}, of_call[] = {wanted->in, wanted->out, wanted->head};
    int said = 0;
    for (int i = 0; i < 3; i++) {
        if (of_row[i] && of_row[i] != of_call[i]) return -1;
        said += of_row[i] != 0;
    }
    const int near = row->pixels && wanted->pixels ? MOST_STEPS - distance(row->pixels, wanted->pixels) : 0;
    return said * 2 * MOST_STEPS + near;
}

const tuning_row *tuning_find(const ops *o, const tuning_shape *call)
{
    if (o->seen) o->seen->call(o->seen->user, call);
    if (!o->tuning) return NULL;
    const tuning_shape wanted = tuning_class(call);
    const tuning_row *best = NULL;
    int best_fit = -1;
    for (size_t i = 0; i < o->tuning->count; i++) {
        const int row_fit = fit(&o->tuning->rows[i].shape, &wanted);
        if (row_fit <= best_fit) continue;
        best = &o->tuning->rows[i];
        best_fit = row_fit;
    }
    return best;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0xBF58476D1CE4E5B9u; // SplitMix64's rounds
    return (hash ^ (hash >> 31)) * 0x94D049BB133111EBu;
}

uint64_t tuning_hash(const tuning *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < t->count; i++) {
        const tuning_shape *s = &t->rows[i].shape;
        const int fields[] = {(int)s->op, s->variant, s->in, s->out, s->pixels, s->head};
        uint64_t hash = 0x9E3779B97F4A7C15u;
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) hash = mix(hash, (uint64_t)fields[k]);
        hash = mix(hash, t->rows[i].given);
        for (tuning_parameter p = 0; p < TUNING_PARAMETERS; p++) hash = mix(hash, (uint64_t)tuning_value(&t->rows[i], p, 0));
        sum += hash ^ (hash >> 29);
    }
    return sum;
}
