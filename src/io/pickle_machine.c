#include "io/pickle_machine.h"

#include "core/status.h"

#include <stdlib.h>
#include <string.h>

idm_status machine_damaged(const machine *m, const char *what)
{
    return status_fail(IDM_BAD_INPUT, "%s: damaged pickle, byte %zu: %s", m->path, m->at, what);
}

idm_status machine_no_memory(const machine *m)
{
    return status_fail(IDM_FAILED, "%s: not enough memory to read the pickle", m->path);
}

void machine_free(machine *m)
{
    free(m->stack);
    free(m->marks);
    free(m->memo);
}

// Makes room for `needed` elements; new ones are zero. False: no memory.
static bool reserve(void *array, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity) return true;
    void *old;
    memcpy(&old, array, sizeof old);
    size_t larger = *capacity ? 2 * *capacity : 8;
    if (larger < needed) larger = needed;
    char *grown = reallocarray(old, larger, size);
    if (!grown) return false;
    memset(grown + *capacity * size, 0, (larger - *capacity) * size);
    memcpy(array, &grown, sizeof grown);
    *capacity = larger;
    return true;
}

// ---- values

idm_status machine_push(machine *m, pickle_node *node)
{
    if (m->depth == PICKLE_NODES_MAX) return machine_damaged(m, "stack too deep");
    if (!reserve(&m->stack, &m->stack_capacity, m->depth + 1, sizeof *m->stack)) return machine_no_memory(m);
    m->stack[m->depth++] = node;
    return IDM_OK;
}

idm_status machine_need(const machine *m, size_t count)
{
    const size_t bottom = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    return m->depth - bottom >= count ? IDM_OK : machine_damaged(m, "stack is empty");
}

idm_status machine_top(const machine *m, pickle_node **node)
{
    IDM_TRY(machine_need(m, 1));
    *node = m->stack[m->depth - 1];
    return IDM_OK;
}

idm_status machine_pop(machine *m, pickle_node **node)
{
    IDM_TRY(machine_top(m, node));
    m->depth--;
    return IDM_OK;
}

idm_status machine_push_new(machine *m, pickle_kind kind, pickle_node **node)
{
    pickle *p = m->result;
    if (m->node_count == PICKLE_NODES_MAX) return machine_damaged(m, "too many values");
    if (!p->chunks || p->chunks->used == PICKLE_CHUNK_NODES) {
        pickle_chunk *more = malloc(sizeof *more);
        if (!more) return machine_no_memory(m);
        more->next = p->chunks;
        more->used = 0;
        p->chunks = more;
    }
    m->node_count++;
    *node = &p->chunks->nodes[p->chunks->used++];
    **node = (pickle_node){.kind = kind};
    return machine_push(m, *node);
}

idm_status machine_append(machine *m, pickle_node *container, pickle_node *const *items, size_t count)
{
    if (count == 0) return IDM_OK;
    if (!reserve(&container->items, &container->capacity, container->count + count, sizeof *items)) return machine_no_memory(m);
    memcpy(container->items + container->count, items, count * sizeof(pickle_node *));
    container->count += count;
    return IDM_OK;
}

// ---- marks

idm_status machine_mark(machine *m)
{
    if (m->mark_count == PICKLE_NODES_MAX) return machine_damaged(m, "too many marks");
    if (!reserve(&m->marks, &m->mark_capacity, m->mark_count + 1, sizeof *m->marks)) return machine_no_memory(m);
    m->marks[m->mark_count++] = m->depth;
    return IDM_OK;
}

idm_status machine_pop_to_mark(machine *m, pickle_node ***items, size_t *count)
{
    if (m->mark_count == 0) return machine_damaged(m, "no mark");
    const size_t bottom = m->marks[--m->mark_count];
    *items = m->stack ? m->stack + bottom : NULL; // a mark may come before any value
    *count = m->depth - bottom;
    m->depth = bottom;
    return IDM_OK;
}

// ---- memo

idm_status machine_put(machine *m, uint64_t index)
{
    pickle_node *top = NULL;
    IDM_TRY(machine_top(m, &top));
    if (index >= PICKLE_NODES_MAX) return machine_damaged(m, "memo too large");
    if (!reserve(&m->memo, &m->memo_capacity, (size_t)index + 1, sizeof *m->memo)) return machine_no_memory(m);
    m->memo_count += !m->memo[index];
    m->memo[index] = top;
    return IDM_OK;
}

idm_status machine_get(machine *m, uint64_t index)
{
    if (index >= m->memo_capacity || !m->memo[index]) return machine_damaged(m, "asks the memo for what is not there");
    return machine_push(m, m->memo[index]);
}

// ---- bytes

idm_status machine_take(machine *m, uint64_t count, const uint8_t **bytes)
{
    if (count > m->size - m->at) return machine_damaged(m, "ends too early");
    *bytes = m->bytes + m->at;
    m->at += count;
    return IDM_OK;
}

idm_status machine_take_number(machine *m, size_t width, uint64_t *number)
{
    const uint8_t *bytes = NULL;
    IDM_TRY(machine_take(m, width, &bytes));
    *number = 0;
    for (size_t i = 0; i < width; i++) *number |= (uint64_t)bytes[i] << 8 * i;
    return IDM_OK;
}
