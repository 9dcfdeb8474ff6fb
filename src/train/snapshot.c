#include "train/snapshot.h"

#include "core/status.h"
#include <stdlib.h>
#include <string.h>

static const pool POOLS[] = {
    [CHECKPOINT_WEIGHT] = POOL_WEIGHTS, [CHECKPOINT_M] = POOL_MOMENT1, [CHECKPOINT_V] = POOL_MOMENT2, [CHECKPOINT_EMA] = POOL_EMA};

static const float *values_of(void *user, checkpoint_kind kind, const parameter_name *which)
{
    snapshot *s = user;
    const parameters *p = &session_insides(s->session).net->parameters;
    const parameter *found = parameters_find(p, which->name);
    if (!found) {
        (void)status_fail(IDM_FAILED, "the network has no parameter '%s'", which->name);
        return NULL;
    }
    return parameters_read(p, found, POOLS[kind], s->buffer) == IDM_OK ? s->buffer : NULL;
}

idm_status snapshot_create(idm_session *session, bool has_ema, const idm_config *config, const training_state *state, snapshot *s)
{
    const session_parts parts = session_insides(session);
    *s = (snapshot){.session = session};
    s->names = (weights){.sizes = parts.sizes, .cs_ratio = parts.cs_ratio, .phi = (float *)parts.phi, .measurements = parts.measurements};
    IDM_TRY(names_parameters(&parts.sizes, &s->names.parameters, &s->names.count));
    size_t largest = 1;
    for (size_t i = 0; i < s->names.count; i++)
        if (s->names.parameters[i].count > largest) largest = s->names.parameters[i].count;
    s->buffer = malloc(largest * sizeof *s->buffer);
    if (!s->buffer) return status_fail(IDM_FAILED, "out of memory");
    s->content = (checkpoint_content){.w = &s->names, .has_ema = has_ema, .source = values_of, .user = s, .config = config, .state = state};
    return IDM_OK;
}

void snapshot_free(snapshot *s)
{
    free(s->names.parameters);
    free(s->buffer);
    *s = (snapshot){0};
}

typedef struct restoring {
    checkpoint *c;
    const weights *names;
    checkpoint_kind kind;
} restoring;

static const float *kept_values(void *user, const parameter *which, size_t count)
{
    const restoring *r = user;
    const float *values;
    (void)count;
    for (size_t i = 0; i < r->names->count; i++)
        if (strcmp(r->names->parameters[i].name, which->name) == 0)
            return checkpoint_read(r->c, r->kind, &r->names->parameters[i], &values) == IDM_OK ? values : NULL;
    (void)status_fail(IDM_FAILED, "no published parameter '%s'", which->name);
    return NULL;
}

idm_status snapshot_restore(const snapshot *s, checkpoint *c)
{
    parameters *p = &session_insides(s->session).net->parameters;
    const checkpoint_kind last = s->content.has_ema && checkpoint_has_ema(c) ? CHECKPOINT_EMA : CHECKPOINT_V;
    for (checkpoint_kind kind = CHECKPOINT_M; kind <= last; kind++) {
        restoring r = {c, &s->names, kind};
        IDM_TRY(parameters_upload(p, POOLS[kind], kept_values, &r));
    }
    return IDM_OK;
}
