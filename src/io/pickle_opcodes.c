#include "core/status.h"
#include "io/pickle_machine.h"

#include <stdio.h>
#include <string.h>

enum { GLOBAL_LENGTH_MAX = 200 };

// One function per kind of opcode, with the width, count or kind that tells its opcodes apart; m->at is behind the opcode.

static idm_status do_proto(machine *m, unsigned argument)
{
    (void)argument;
    uint64_t version = 0;
    IDM_TRY(machine_take_number(m, 1, &version));
    if (version >= 2 && version <= 5) return IDM_OK;
    return status_fail(IDM_BAD_INPUT, "%s: pickle protocol %u; 2 (torch.save's default) to 5 are read", m->path, (unsigned)version);
}

static idm_status do_stop(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *node = NULL;
    if (m->mark_count > 0) return machine_damaged(m, "ends inside a mark");
    IDM_TRY(machine_pop(m, &node));
    if (m->depth > 0) return machine_damaged(m, "more than one value");
    m->result->root = node;
    m->stopped = true;
    return IDM_OK;
}

static idm_status do_mark(machine *m, unsigned argument)
{
    (void)argument;
    return machine_mark(m);
}

static idm_status push_integer(machine *m, pickle_kind kind, int64_t value)
{
    pickle_node *node = NULL;
    IDM_TRY(machine_push_new(m, kind, &node));
    node->integer = value;
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
    uint64_t number = 0;
    IDM_TRY(machine_take_number(m, width, &number));
    return push_integer(m, PICKLE_INT, width == 4 ? (int32_t)(uint32_t)number : (int64_t)number);
}

// A two's-complement number of up to 8 bytes.
static idm_status do_long(machine *m, unsigned argument)
{
    (void)argument;
    uint64_t width = 0;
    const uint8_t *bytes = NULL;
    IDM_TRY(machine_take_number(m, 1, &width));
    IDM_TRY(machine_take(m, width, &bytes));
    if (width > 8) return machine_damaged(m, "integer of more than 64 bits");
    uint64_t value = width > 0 && bytes[width - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | bytes[i];
    return push_integer(m, PICKLE_INT, (int64_t)value);
}

static idm_status do_float(machine *m, unsigned argument)
{
    (void)argument;
    const uint8_t *bytes = NULL;
    pickle_node *node = NULL;
    IDM_TRY(machine_take(m, 8, &bytes));
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++) bits = bits << 8 | bytes[i];
    IDM_TRY(machine_push_new(m, PICKLE_FLOAT, &node));
    memcpy(&node->real, &bits, sizeof bits);
    return IDM_OK;
}

static idm_status do_text(machine *m, unsigned width)
{
    uint64_t length = 0;
    const uint8_t *bytes = NULL;
    pickle_node *node = NULL;
    IDM_TRY(machine_take_number(m, width, &length));
    IDM_TRY(machine_take(m, length, &bytes));
    IDM_TRY(machine_push_new(m, PICKLE_TEXT, &node));
    node->text = (const char *)bytes;
    node->length = length;
    return IDM_OK;
}

static idm_status do_empty(machine *m, unsigned kind)
{
    pickle_node *node = NULL;
    return machine_push_new(m, (pickle_kind)kind, &node);
}

// A tuple of the topmost `count` values.
static idm_status do_tuple(machine *m, unsigned count)
{
    IDM_TRY(machine_need(m, count));
    const size_t bottom = m->depth - count;
    pickle_node *node = NULL;
    IDM_TRY(machine_push_new(m, PICKLE_TUPLE, &node)); // above its items, which it then replaces
    IDM_TRY(machine_append(m, node, m->stack + bottom, count));
    m->depth = bottom;
    return machine_push(m, node);
}

static idm_status do_marked_tuple(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node **items = NULL;
    size_t count = 0;
    IDM_TRY(machine_pop_to_mark(m, &items, &count));
    m->depth += count;
    return do_tuple(m, (unsigned)count);
}

// Adds items to the list or dict that lies below them on the stack, and leaves it there.
static idm_status add_items(machine *m, pickle_kind kind, pickle_node *const *items, size_t count)
{
    pickle_node *container = NULL;
    IDM_TRY(machine_top(m, &container));
    if (container->kind != kind)
        return machine_damaged(m, kind == PICKLE_LIST ? "items added to what is no list" : "items added to what is no dict");
    if (kind == PICKLE_DICT && count % 2 != 0) return machine_damaged(m, "a key without a value");
    return machine_append(m, container, items, count);
}

// An item of a list, or a key and a value.
static idm_status do_add(machine *m, unsigned kind)
{
    const size_t count = kind == PICKLE_DICT ? 2 : 1;
    IDM_TRY(machine_need(m, count));
    m->depth -= count;
    return add_items(m, (pickle_kind)kind, m->stack + m->depth, count);
}

static idm_status do_add_marked(machine *m, unsigned kind)
{
    pickle_node **items = NULL;
    size_t count = 0;
    IDM_TRY(machine_pop_to_mark(m, &items, &count));
    return add_items(m, (pickle_kind)kind, items, count);
}

static idm_status take_line(machine *m, const char **line, size_t *length)
{
    const uint8_t *begin = m->bytes + m->at, *end = memchr(begin, '\n', m->size - m->at);
    if (!end || end - begin > GLOBAL_LENGTH_MAX) return machine_damaged(m, "name of a global without an end");
    *line = (const char *)begin;
    *length = (size_t)(end - begin);
    m->at += *length + 1;
    return IDM_OK;
}

// MODULE.NAME, if the caller allows it.
static idm_status push_global(machine *m, const char *module, size_t module_length, const char *name, size_t name_length)
{
    char text[2 * GLOBAL_LENGTH_MAX + 2];
    const int length = snprintf(text, sizeof text, "%.*s.%.*s", (int)module_length, module, (int)name_length, name);
    bool usual = (size_t)length == module_length + 1 + name_length; // else one of them has a zero byte
    for (int i = 0; i < length; i++) usual = usual && text[i] > ' ' && text[i] < 0x7f;
    if (!usual) return machine_damaged(m, "name of a global with unusual characters");
    size_t known = 0;
    while (m->globals[known] && strcmp(m->globals[known], text) != 0) known++;
    if (!m->globals[known])
        return status_fail(IDM_BAD_INPUT, "%s: refused: the pickle asks for \"%s\", which is no part of a weights file", m->path, text);
    pickle_node *node = NULL;
    IDM_TRY(machine_push_new(m, PICKLE_GLOBAL, &node));
    node->text = m->globals[known];
    node->length = strlen(node->text);
    return IDM_OK;
}

static idm_status do_global(machine *m, unsigned argument)
{
    (void)argument;
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    IDM_TRY(take_line(m, &module, &module_length));
    IDM_TRY(take_line(m, &name, &name_length));
    return push_global(m, module, module_length, name, name_length);
}

// The same from two texts on the stack (protocol 4).
static idm_status do_stack_global(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *module = NULL, *name = NULL;
    IDM_TRY(machine_pop(m, &name));
    IDM_TRY(machine_pop(m, &module));
    if (module->kind != PICKLE_TEXT || name->kind != PICKLE_TEXT) return machine_damaged(m, "name of a global that is no text");
    if (module->length > GLOBAL_LENGTH_MAX || name->length > GLOBAL_LENGTH_MAX) return machine_damaged(m, "name of a global too long");
    return push_global(m, module->text, module->length, name->text, name->length);
}

static idm_status do_persistent(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *id = NULL, *node = NULL;
    IDM_TRY(machine_pop(m, &id));
    if (id->kind != PICKLE_TUPLE) return machine_damaged(m, "a persistent id that is no tuple");
    IDM_TRY(machine_push_new(m, PICKLE_PERSISTENT, &node));
    return machine_append(m, node, &id, 1);
}

// REDUCE and NEWOBJ: what Python would call becomes a node, except an empty OrderedDict, which is a dict.
static idm_status do_call(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *arguments = NULL, *function = NULL, *node = NULL;
    IDM_TRY(machine_pop(m, &arguments));
    IDM_TRY(machine_pop(m, &function));
    if (function->kind != PICKLE_GLOBAL) return machine_damaged(m, "a call of what is no global");
    if (arguments->kind != PICKLE_TUPLE) return machine_damaged(m, "arguments that are no tuple");
    if (pickle_is_global(function, "collections.OrderedDict")) {
        if (arguments->count > 0) return machine_damaged(m, "an OrderedDict with arguments");
        return do_empty(m, PICKLE_DICT);
    }
    IDM_TRY(machine_push_new(m, PICKLE_CALL, &node));
    IDM_TRY(machine_append(m, node, &function, 1));
    return machine_append(m, node, &arguments, 1);
}

// The state of an object (the _metadata of a state dict, a parameter's hooks) says nothing about tensors: dropped.
static idm_status do_build(machine *m, unsigned argument)
{
    (void)argument;
    pickle_node *state = NULL, *object = NULL;
    IDM_TRY(machine_pop(m, &state));
    IDM_TRY(machine_top(m, &object));
    return object->kind == PICKLE_CALL || object->kind == PICKLE_DICT ? IDM_OK : machine_damaged(m, "a state for what has none");
}

static idm_status do_put(machine *m, unsigned width)
{
    uint64_t index = 0;
    IDM_TRY(machine_take_number(m, width, &index));
    return machine_put(m, index);
}

static idm_status do_memoize(machine *m, unsigned argument)
{
    (void)argument;
    return machine_put(m, m->memo_count);
}

static idm_status do_get(machine *m, unsigned width)
{
    uint64_t index = 0;
    IDM_TRY(machine_take_number(m, width, &index));
    return machine_get(m, index);
}

// Frames only tell a reader from a stream how much to fetch.
static idm_status do_frame(machine *m, unsigned argument)
{
    (void)argument;
    uint64_t length = 0;
    IDM_TRY(machine_take_number(m, 8, &length));
    return length <= m->size - m->at ? IDM_OK : machine_damaged(m, "ends too early");
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
    ['C'] = {do_text, 1},
    ['B'] = {do_text, 4},
    [0x8c] = {do_text, 1},
    [0x8d] = {do_text, 8},
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
    [0x93] = {do_stack_global, 0},
    ['Q'] = {do_persistent, 0},
    ['R'] = {do_call, 0},
    [0x81] = {do_call, 0},
    ['b'] = {do_build, 0},
    ['q'] = {do_put, 1},
    ['r'] = {do_put, 4},
    ['h'] = {do_get, 1},
    ['j'] = {do_get, 4},
    [0x94] = {do_memoize, 0},
    [0x95] = {do_frame, 0},
};

idm_status machine_step(machine *m)
{
    const uint8_t *opcode = NULL;
    IDM_TRY(machine_take(m, 1, &opcode));
    if (!opcodes[*opcode].run)
        return status_fail(IDM_BAD_INPUT, "%s: refused: pickle opcode 0x%02x at byte %zu is no part of a weights file", m->path, *opcode,
                           m->at - 1);
    return opcodes[*opcode].run(m, opcodes[*opcode].argument);
}
