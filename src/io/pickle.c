#include "io/pickle.h"

#include "core/status.h"
#include "io/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

static idm_status run(machine *m)
{
    if (m->size > PICKLE_BYTES_MAX) return status_fail(IDM_BAD_INPUT, "%s: pickle of more than %d bytes", m->path, PICKLE_BYTES_MAX);
    while (!m->stopped) IDM_TRY(machine_step(m));
    return m->at == m->size ? IDM_OK : machine_damaged(m, "goes on after its end");
}

idm_status pickle_parse(const char *path, const uint8_t *bytes, size_t size, const char *const *globals, pickle **result)
{
    *result = NULL;
    machine m = {.path = path, .bytes = bytes, .size = size, .globals = globals, .result = calloc(1, sizeof(pickle))};
    const idm_status status = m.result ? run(&m) : machine_no_memory(&m);
    machine_free(&m);
    if (status == IDM_OK) *result = m.result;
    else pickle_free(m.result);
    return status;
}

static bool has_items(const pickle_node *node)
{
    return node->kind == PICKLE_TUPLE || node->kind == PICKLE_LIST || node->kind == PICKLE_DICT || node->kind == PICKLE_CALL ||
           node->kind == PICKLE_PERSISTENT;
}

void pickle_free(pickle *p)
{
    if (!p) return;
    while (p->chunks) {
        pickle_chunk *first = p->chunks;
        for (size_t i = 0; i < first->used; i++) {
            if (has_items(&first->nodes[i])) free(first->nodes[i].items);
        }
        p->chunks = first->next;
        free(first);
    }
    free(p);
}

const pickle_node *pickle_root(const pickle *p)
{
    return p->root;
}

bool pickle_is_text(const pickle_node *node, const char *text)
{
    return node->kind == PICKLE_TEXT && node->length == strlen(text) && memcmp(node->text, text, node->length) == 0;
}

bool pickle_is_global(const pickle_node *node, const char *name)
{
    return node->kind == PICKLE_GLOBAL && strcmp(node->text, name) == 0;
}

const pickle_node *pickle_get(const pickle_node *dict, const char *key)
{
    if (dict->kind != PICKLE_DICT) return NULL;
    for (size_t i = 0; i < dict->count; i += 2) {
        if (pickle_is_text(dict->items[i], key)) return dict->items[i + 1];
    }
    return NULL;
}

const pickle_node *pickle_call_arguments(const pickle_node *node, const char *global)
{
    return node->kind == PICKLE_CALL && pickle_is_global(node->items[0], global) ? node->items[1] : NULL;
}
