#include "cli/sizes.h"

#include "core/status.h"
#include "io/weights.h"

idm_status sizes_find(const idm_config *c, model_sizes *sizes)
{
    model_sizes known = {
        {c->model.channels[0], c->model.channels[1]}, c->model.heads, c->model.groups, c->model.steps, c->sensing.block_size};
    if (*c->model.weights) {
        weights *w;
        IDM_TRY(weights_load(c->model.weights, &(weights_options){.sizes = known}, &w));
        known = w->sizes;
        weights_free(w);
    }
    *sizes = names_published_sizes;
    int *const to[] = {&sizes->channels[0], &sizes->channels[1], &sizes->heads, &sizes->groups, &sizes->steps, &sizes->block};
    const int from[] = {known.channels[0], known.channels[1], known.heads, known.groups, known.steps, known.block};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (from[i] > 0) *to[i] = from[i];
    return IDM_OK;
}

double sizes_ratio(const idm_config *c)
{
    return c->sensing.cs_ratio > 0 ? c->sensing.cs_ratio : 0.1;
}
