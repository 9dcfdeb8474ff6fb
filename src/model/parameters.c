#include "model/parameters.h"

#include "core/status.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static tensor add(parameters *p, parameter which, int rows, int columns)
{
    which.value = arena_push(p->o->ctx, POOL_WEIGHTS, DTYPE_F32, 1, 1, rows, columns);
    if (p->count == p->capacity) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 256;
        parameter *grown = realloc(p->list, capacity * sizeof *grown);
        if (!grown) {
            context_fail(p->o->ctx, IDM_FAILED, "out of memory");
            return which.value;
        }
        p->list = grown;
        p->capacity = capacity;
    }
    p->list[p->count++] = which;
    return which.value;
}

#define FORMAT_NAME(target, last)                                 \
    do {                                                          \
        va_list arguments_;                                       \
        va_start(arguments_, last);                               \
        (void)vsnprintf(target, sizeof target, last, arguments_); \
        va_end(arguments_);                                       \
    } while (0)

tensor parameters_vector(parameters *p, int count, const char *name, ...)
{
    parameter which = {.rank = 1, .shape = {count}};
    FORMAT_NAME(which.name, name);
    return add(p, which, 1, count);
}

tensor parameters_plain_kernel(parameters *p, int rows, int columns, const char *name, ...)
{
    parameter which = {.rank = 4, .shape = {rows, columns, 1, 1}};
    FORMAT_NAME(which.name, name);
    return add(p, which, rows, columns);
}

weight parameters_weight(parameters *p, int in, int out, int window, const char *name, ...)
{
    parameter which = {.rank = window ? 4 : 2, .shape = {out, in, window, window}, .transpose = true};
    FORMAT_NAME(which.name, name);
    const int taps = window == 3 ? 9 : 1;
    return (weight){.plain = add(p, which, taps * in, out), .taps = taps, .in = in, .out = out};
}

layer parameters_layer(parameters *p, int in, int out, int window, bool bias, const char *name, ...)
{
    char prefix[80];
    FORMAT_NAME(prefix, name);
    layer l = {.w = parameters_weight(p, in, out, window, "%s.weight", prefix)};
    if (bias) l.bias = parameters_vector(p, out, "%s.bias", prefix);
    return l;
}

norm_layer parameters_norm(parameters *p, int channels, const char *name, ...)
{
    char prefix[80];
    FORMAT_NAME(prefix, name);
    norm_layer n;
    n.weight = parameters_vector(p, channels, "%s.weight", prefix);
    n.bias = parameters_vector(p, channels, "%s.bias", prefix);
    return n;
}

// Between out x in x taps (published) and [taps][in][out].
static void turn(const parameter *which, const float *from, float *to, bool to_published)
{
    const size_t out = (size_t)which->shape[0], in = (size_t)which->shape[1];
    const size_t taps = which->rank == 4 ? (size_t)which->shape[2] * (size_t)which->shape[3] : 1;
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t t = 0; t < taps; t++) {
                const size_t published = (o * in + i) * taps + t, here = (t * in + i) * out + o;
                if (to_published) to[published] = from[here];
                else to[here] = from[published];
            }
}

static float *scratch_for_largest(const parameters *p)
{
    size_t largest = 1;
    for (size_t i = 0; i < p->count; i++)
        if (tensor_elements(p->list[i].value) > largest) largest = tensor_elements(p->list[i].value);
    float *scratch = malloc(largest * sizeof *scratch);
    if (!scratch) (void)status_fail(IDM_FAILED, "out of memory");
    return scratch;
}

static tensor place(const parameters *p, const parameter *which, pool where)
{
    return where == POOL_WEIGHTS ? which->value : arena_mirror(p->o->ctx, which->value, POOL_WEIGHTS, where);
}

idm_status parameters_upload(parameters *p, pool to, parameters_source *source, void *user)
{
    float *turned = scratch_for_largest(p);
    idm_status status = turned ? IDM_OK : IDM_FAILED;
    for (size_t i = 0; i < p->count && status == IDM_OK; i++) {
        const parameter *which = &p->list[i];
        const float *values = source(user, which, tensor_elements(which->value));
        if (!values) {
            status = IDM_BAD_INPUT;
            break;
        }
        if (which->transpose) turn(which, values, turned, false);
        context_write(p->o->ctx, place(p, which, to), which->transpose ? turned : values);
        status = context_status(p->o->ctx);
    }
    free(turned);
    return status;
}

idm_status parameters_read(const parameters *p, const parameter *which, pool from, float *values)
{
    const size_t count = tensor_elements(which->value);
    float *here = which->transpose ? malloc(count * sizeof *here) : values;
    if (!here) return status_fail(IDM_FAILED, "out of memory");
    const idm_status status = context_read(p->o->ctx, place(p, which, from), here);
    if (status == IDM_OK && which->transpose) turn(which, here, values, true);
    if (which->transpose) free(here);
    return status;
}

idm_status parameters_download(const parameters *p, pool from, parameters_sink *sink, void *user)
{
    float *values = scratch_for_largest(p);
    idm_status status = values ? IDM_OK : IDM_FAILED;
    for (size_t i = 0; i < p->count && status == IDM_OK; i++) {
        status = parameters_read(p, &p->list[i], from, values);
        if (status == IDM_OK) status = sink(user, &p->list[i], values, tensor_elements(p->list[i].value));
    }
    free(values);
    return status;
}

const parameter *parameters_find(const parameters *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->list[i].name, name) == 0) return &p->list[i];
    return NULL;
}

void parameters_free(parameters *p)
{
    free(p->list);
    *p = (parameters){0};
}

tensor parameters_gradient(const ops *o, tensor value)
{
    return tensor_given(value) ? arena_mirror(o->ctx, value, POOL_WEIGHTS, POOL_GRADIENTS) : NO_TENSOR;
}
