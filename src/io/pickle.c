#include "io/pickle.h"

#include "core/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_NODES = 1024, GLOBAL_LENGTH_MAX = 200 };

typedef struct chunk {
    struct chunk *next;
    size_t used;
    pickle_node nodes[CHUNK_NODES];
} chunk;

struct pickle {
    chunk *chunks;
    size_t node_count;
    const pickle_node *root;
};

// The stack machine. Python keeps marks on the stack; here they are depths, so that no opcode can take a mark for a value or reach below
// one.
typedef struct machine {
    const char *path;
    const uint8_t *bytes;
    size_t size, at;
    const char *const *globals;
    pickle *result;
    pickle_node **stack;
    size_t depth, stack_capacity;
    size_t *marks;
    size_t mark_count, mark_capacity;
    pickle_node **memo; // NULL: nothing stored there
    size_t memo_capacity;
    bool stopped;
} machine;

static idm_status damaged(const machine *m, const char *what)
{
    return status_fail(IDM_BAD_INPUT, "%s: damaged pickle, byte %zu: %s", m->path, m->at, what);
}

static idm_status no_memory(const machine *m)
{
    return status_fail(IDM_FAILED, "%s: not enough memory to read the pickle", m->path);
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

static idm_status push(machine *m, pickle_node *node)
{
    if (m->depth == PICKLE_NODES_MAX) return damaged(m, "stack too deep");
    if (!reserve(&m->stack, &m->stack_capacity, m->depth + 1, sizeof *m->stack)) return no_memory(m);
    m->stack[m->depth++] = node;
    return IDM_OK;
}

static size_t stack_floor(const machine *m)
{
    return m->mark_count ? m->marks[m->mark_count - 1] : 0;
}

static idm_status pop(machine *m, pickle_node **node)
{
    if (m->depth == stack_floor(m)) return damaged(m, "stack is empty");
    *node = m->stack[--m->depth];
    return IDM_OK;
}

static idm_status push_new(machine *m, pickle_kind kind, pickle_node **node)
{
    pickle *p = m->result;
    if (p->node_count == PICKLE_NODES_MAX) return damaged(m, "too many values");
    if (!p->chunks || p->chunks->used == CHUNK_NODES) {
        chunk *more = malloc(sizeof *more);
        if (!more) return no_memory(m);
        more->next = p->chunks;
        more->used = 0;
        p->chunks = more;
    }
    p->node_count++;
    *node = &p->chunks->nodes[p->chunks->used++];
    **node = (pickle_node){.kind = kind};
    return push(m, *node);
}

static idm_status take(machine *m, size_t count, const uint8_t **bytes)
{
    if (count > m->size - m->at) return damaged(m, "ends too early");
    *bytes = m->bytes + m->at;
    m->at += count;
    return IDM_OK;
}

// An unsigned little-endian number of 1, 2 or 4 bytes.
static idm_status take_number(machine *m, size_t width, uint32_t *number)
{
    const uint8_t *bytes = NULL;
    IDM_TRY(take(m, width, &bytes));
    *number = 0;
    for (size_t i = 0; i < width; i++) *number |= (uint32_t)bytes[i] << 8 * i;
    return IDM_OK;
}

static idm_status push_integer(machine *m, pickle_kind kind, int64_t value)
{
    pickle_node *node = NULL;
    IDM_TRY(push_new(m, kind, &node));
    node->integer = value;
    return IDM_OK;
}

static idm_status append(machine *m, pickle_node *container, pickle_node *const *items, size_t count)
{
    if (count == 0) return IDM_OK;
    if (!reserve(&container->items, &container->capacity, container->count + count, sizeof *items)) return no_memory(m);
    memcpy(container->items + container->count, items, count * sizeof(pickle_node *));
    container->count += count;
    return IDM_OK;
}

// Ends the topmost mark: *items are the values above it, which leave the stack (and stay readable until the next push).
static idm_status pop_to_mark(machine *m, pickle_node ***items, size_t *count)
{
    if (m->mark_count == 0) return damaged(m, "no mark");
    const size_t bottom = m->marks[--m->mark_count];
    *items = m->stack + bottom;
    *count = m->depth - bottom;
    m->depth = bottom;
    return IDM_OK;
}

// One function per kind of opcode, with the width, count or kind that tells its opcodes apart; m->at is behind the opcode.

static idm_status do_proto(machine *m, unsigned argument)
{
    (void)argument;
    uint32_t version = 0;
    IDM_TRY(take_number(m, 1, &version));
    if (version == 2) return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s: pickle protocol %u, only 2 (torch.save's default) is read", m->path, version);
}

static idm_status do_stop(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *node = NULL;
    if (m->mark_count > 0) return damaged(m, "ends inside a mark");
    IDM_TRY(pop(m, &node));
    if (m->depth > 0) return damaged(m, "more than one value");
    m->result->root = node;
    m->stopped = true;
    return IDM_OK;
}

static idm_status do_mark(machine *m, unsigned argument)
{
    (void)argument;
    if (m->mark_count == PICKLE_NODES_MAX) return damaged(m, "too many marks");
    if (!reserve(&m->marks, &m->mark_capacity, m->mark_count + 1, sizeof *m->marks)) return no_memory(m);
    m->marks[m->mark_count++] = m->depth;
    return IDM_OK;
}

static idm_status do_none(machine *m, unsigned argument)
{
    return push_integer(m, PICKLE_NONE, argument);
}

static idm_status do_bool(machine *m, unsigned value)
{
    return push_integer(m, PICKLE_BOOL, value);
}

static idm_status do_number(machine *m, unsigned width)
{
    uint32_t number = 0;
    IDM_TRY(take_number(m, width, &number));
    return push_integer(m, PICKLE_INT, width == 4 ? (int32_t)number : (int64_t)number);
}

// A two's-complement number of up to 8 bytes.
static idm_status do_long(machine *m, unsigned argument)
{
    (void)argument;
    uint32_t width = 0;
    const uint8_t *bytes = NULL;
    IDM_TRY(take_number(m, 1, &width));
    IDM_TRY(take(m, width, &bytes));
    if (width > 8) return damaged(m, "integer of more than 64 bits");
    uint64_t value = width > 0 && bytes[width - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | bytes[i];
    return push_integer(m, PICKLE_INT, (int64_t)value);
}

static idm_status do_float(machine *m, unsigned argument)
{
    (void)argument;
    const uint8_t *bytes = NULL;
    pickle_node *node = NULL;
    IDM_TRY(take(m, 8, &bytes));
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++) bits = bits << 8 | bytes[i];
    IDM_TRY(push_new(m, PICKLE_FLOAT, &node));
    memcpy(&node->real, &bits, sizeof bits);
    return IDM_OK;
}

static idm_status do_text(machine *m, unsigned width)
{
    uint32_t length = 0;
    const uint8_t *bytes = NULL;
    pickle_node *node = NULL;
    IDM_TRY(take_number(m, width, &length));
    IDM_TRY(take(m, length, &bytes));
    IDM_TRY(push_new(m, PICKLE_TEXT, &node));
    node->text = (const char *)bytes;
    node->length = length;
    return IDM_OK;
}

static idm_status do_empty(machine *m, unsigned kind)
{
    pickle_node *node = NULL;
    return push_new(m, (pickle_kind)kind, &node);
}

// A tuple of the topmost `count` values.
static idm_status do_tuple(machine *m, unsigned count)
{
    if (m->depth - stack_floor(m) < count) return damaged(m, "stack is empty");
    const size_t bottom = m->depth - count;
    pickle_node *node = NULL;
    IDM_TRY(push_new(m, PICKLE_TUPLE, &node)); // above its items, which it then replaces
    IDM_TRY(append(m, node, m->stack + bottom, count));
    m->depth = bottom;
    return push(m, node);
}

static idm_status do_marked_tuple(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node **items = NULL;
    size_t count = 0;
    IDM_TRY(pop_to_mark(m, &items, &count));
    m->depth += count;
    return do_tuple(m, (unsigned)count);
}

// Adds items to the list or dict that lies below them on the stack, and leaves it there.
static idm_status add_items(machine *m, pickle_kind kind, pickle_node *const *items, size_t count)
{
    if (m->depth == stack_floor(m)) return damaged(m, "stack is empty");
    pickle_node *container = m->stack[m->depth - 1];
    if (container->kind != kind)
        return damaged(m, kind == PICKLE_LIST ? "items added to what is no list" : "items added to what is no dict");
    if (kind == PICKLE_DICT && count % 2 != 0) return damaged(m, "a key without a value");
    return append(m, container, items, count);
}

// An item of a list, or a key and a value.
static idm_status do_add(machine *m, unsigned kind)
{
    const size_t count = kind == PICKLE_DICT ? 2 : 1;
    if (m->depth - stack_floor(m) < count) return damaged(m, "stack is empty");
    m->depth -= count;
    return add_items(m, (pickle_kind)kind, m->stack + m->depth, count);
}

static idm_status do_add_marked(machine *m, unsigned kind)
{
    pickle_node **items = NULL;
    size_t count = 0;
    IDM_TRY(pop_to_mark(m, &items, &count));
    return add_items(m, (pickle_kind)kind, items, count);
}

static idm_status take_line(machine *m, const char **line, size_t *length)
{
    const uint8_t *begin = m->bytes + m->at, *end = memchr(begin, '\n', m->size - m->at);
    if (!end || end - begin > GLOBAL_LENGTH_MAX) return damaged(m, "name of a global without an end");
    for (const uint8_t *c = begin; c < end; c++) {
        if (*c <= ' ' || *c >= 0x7f) return damaged(m, "name of a global with unusual characters");
    }
    *line = (const char *)begin;
    *length = (size_t)(end - begin);
    m->at += *length + 1;
    return IDM_OK;
}

static idm_status do_global(machine *m, unsigned argument)
{
    (void)argument;
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    IDM_TRY(take_line(m, &module, &module_length));
    IDM_TRY(take_line(m, &name, &name_length));
    char text[2 * GLOBAL_LENGTH_MAX + 2];
    (void)snprintf(text, sizeof text, "%.*s.%.*s", (int)module_length, module, (int)name_length, name);
    size_t known = 0;
    while (m->globals[known] && strcmp(m->globals[known], text) != 0) known++;
    if (!m->globals[known])
        return status_fail(IDM_BAD_INPUT, "%s: refused: the pickle asks for \"%s\", which is no part of a weights file", m->path, text);
    pickle_node *node = NULL;
    IDM_TRY(push_new(m, PICKLE_GLOBAL, &node));
    node->text = m->globals[known];
    node->length = strlen(node->text);
    return IDM_OK;
}

static idm_status do_persistent(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *id = NULL, *node = NULL;
    IDM_TRY(pop(m, &id));
    if (id->kind != PICKLE_TUPLE) return damaged(m, "a persistent id that is no tuple");
    IDM_TRY(push_new(m, PICKLE_PERSISTENT, &node));
    return append(m, node, &id, 1);
}

// REDUCE and NEWOBJ: what Python would call becomes a node, except an empty OrderedDict, which is a dict.
static idm_status do_call(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *arguments = NULL, *function = NULL, *node = NULL;
    IDM_TRY(pop(m, &arguments));
    IDM_TRY(pop(m, &function));
    if (function->kind != PICKLE_GLOBAL) return damaged(m, "a call of what is no global");
    if (arguments->kind != PICKLE_TUPLE) return damaged(m, "arguments that are no tuple");
    if (pickle_is_global(function, "collections.OrderedDict")) {
        if (arguments->count > 0) return damaged(m, "an OrderedDict with arguments");
        return do_empty(m, PICKLE_DICT);
    }
    IDM_TRY(push_new(m, PICKLE_CALL, &node));
    IDM_TRY(append(m, node, &function, 1));
    return append(m, node, &arguments, 1);
}

// The state of an object (the _metadata of a state dict, a parameter's hooks) says nothing about tensors: dropped.
static idm_status do_build(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *state = NULL;
    IDM_TRY(pop(m, &state));
    if (m->depth == stack_floor(m)) return damaged(m, "stack is empty");
    const pickle_kind kind = m->stack[m->depth - 1]->kind;
    return kind == PICKLE_CALL || kind == PICKLE_DICT ? IDM_OK : damaged(m, "a state for what has none");
}

static idm_status do_put(machine *m, unsigned width)
{
    uint32_t index = 0;
    IDM_TRY(take_number(m, width, &index));
    if (m->depth == stack_floor(m)) return damaged(m, "stack is empty");
    if (index >= PICKLE_NODES_MAX) return damaged(m, "memo too large");
    if (!reserve(&m->memo, &m->memo_capacity, (size_t)index + 1, sizeof *m->memo)) return no_memory(m);
    m->memo[index] = m->stack[m->depth - 1];
    return IDM_OK;
}

static idm_status do_get(machine *m, unsigned width)
{
    uint32_t index = 0;
    IDM_TRY(take_number(m, width, &index));
    if (index >= m->memo_capacity || !m->memo[index]) return damaged(m, "asks the memo for what is not there");
    return push(m, m->memo[index]);
}

// Every opcode that is understood, by its byte, with what its function is told.
static const struct {
    idm_status (*run)(machine *m, unsigned argument);
    unsigned argument;
} opcodes[256] = {
    [0x80] = {do_proto, 0},
    ['.'] = {do_stop, 0},
    ['('] = {do_mark, 0},
    ['N'] = {do_none, 0},
    [0x88] = {do_bool, 1},
    [0x89] = {do_bool, 0},
    ['K'] = {do_number, 1},
    ['M'] = {do_number, 2},
    ['J'] = {do_number, 4},
    [0x8a] = {do_long, 0},
    ['G'] = {do_float, 0},
    ['U'] = {do_text, 1},
    ['T'] = {do_text, 4},
    ['X'] = {do_text, 4},
    [')'] = {do_empty, PICKLE_TUPLE},
    [']'] = {do_empty, PICKLE_LIST},
    ['}'] = {do_empty, PICKLE_DICT},
    [0x85] = {do_tuple, 1},
    [0x86] = {do_tuple, 2},
    [0x87] = {do_tuple, 3},
    ['t'] = {do_marked_tuple, 0},
    ['a'] = {do_add, PICKLE_LIST},
    ['s'] = {do_add, PICKLE_DICT},
    ['e'] = {do_add_marked, PICKLE_LIST},
    ['u'] = {do_add_marked, PICKLE_DICT},
    ['c'] = {do_global, 0},
    ['Q'] = {do_persistent, 0},
    ['R'] = {do_call, 0},
    [0x81] = {do_call, 0},
    ['b'] = {do_build, 0},
    ['q'] = {do_put, 1},
    ['r'] = {do_put, 4},
    ['h'] = {do_get, 1},
    ['j'] = {do_get, 4},
};

static idm_status run(machine *m)
{
    if (m->size > PICKLE_BYTES_MAX) return status_fail(IDM_BAD_INPUT, "%s: pickle of more than %d bytes", m->path, PICKLE_BYTES_MAX);
    enum { FIRST_STACK = 64 };
    if (!reserve(&m->stack, &m->stack_capacity, FIRST_STACK, sizeof *m->stack)) return no_memory(m);
    while (!m->stopped) {
        const uint8_t *opcode = NULL;
        IDM_TRY(take(m, 1, &opcode));
        if (!opcodes[*opcode].run)
            return status_fail(IDM_BAD_INPUT, "%s: refused: pickle opcode 0x%02x at byte %zu is no part of a weights file", m->path,
                               *opcode, m->at - 1);
        IDM_TRY(opcodes[*opcode].run(m, opcodes[*opcode].argument));
    }
    return m->at == m->size ? IDM_OK : damaged(m, "goes on after its end");
}

idm_status pickle_parse(const char *path, const uint8_t *bytes, size_t size, const char *const *globals, pickle **result)
{
    *result = NULL;
    machine m = {.path = path, .bytes = bytes, .size = size, .globals = globals, .result = calloc(1, sizeof(pickle))};
    const idm_status status = m.result ? run(&m) : no_memory(&m);
    free(m.stack);
    free(m.marks);
    free(m.memo);
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
        chunk *first = p->chunks;
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
