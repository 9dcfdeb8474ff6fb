// The insides of the pickle reader: the tree that it makes (pickle.c), and the stack machine (pickle_machine.c) whose program a pickle is
// (pickle_opcodes.c).
#ifndef IO_PICKLE_MACHINE_H
#define IO_PICKLE_MACHINE_H

#include "io/pickle.h"

enum { PICKLE_CHUNK_NODES = 1024 };

typedef struct pickle_chunk {
    struct pickle_chunk *next;
    size_t used;
    pickle_node nodes[PICKLE_CHUNK_NODES];
} pickle_chunk;

struct pickle {
    pickle_chunk *chunks; // own all nodes
    const pickle_node *root;
};

// Python keeps marks on the stack; here they are depths, so that no opcode can take a mark for a value or reach below one. "The top" is
// always above the topmost mark: where nothing is there, the pickle is damaged.
typedef struct machine {
    const char *path;
    const uint8_t *bytes;
    size_t size, at; // of the pickle; the next byte to read
    const char *const *globals;
    pickle *result;
    size_t node_count;
    pickle_node **stack;
    size_t depth, stack_capacity;
    size_t *marks;
    size_t mark_count, mark_capacity;
    pickle_node **memo; // NULL: nothing stored there
    size_t memo_count, memo_capacity;
    bool stopped;
} machine;

// IDM_BAD_INPUT: "PATH: damaged pickle, byte AT: WHAT".
idm_status machine_damaged(const machine *m, const char *what);
idm_status machine_no_memory(const machine *m);

// Frees all but the result.
void machine_free(machine *m);

idm_status machine_push(machine *m, pickle_node *node);
// A new node of this kind, otherwise zero.
idm_status machine_push_new(machine *m, pickle_kind kind, pickle_node **node);
idm_status machine_pop(machine *m, pickle_node **node);
idm_status machine_top(const machine *m, pickle_node **node);
// Are there `count` values at the top?
idm_status machine_need(const machine *m, size_t count);

idm_status machine_mark(machine *m);
// Ends the topmost mark: *items are the values above it, which leave the stack (and stay readable until the next push).
idm_status machine_pop_to_mark(machine *m, pickle_node ***items, size_t *count);

// Stores the top, and pushes what was stored.
idm_status machine_put(machine *m, uint64_t index);
idm_status machine_get(machine *m, uint64_t index);

// The next `count` bytes of the pickle.
idm_status machine_take(machine *m, uint64_t count, const uint8_t **bytes);
// An unsigned little-endian number of up to 8 bytes.
idm_status machine_take_number(machine *m, size_t width, uint64_t *number);

// Adds items to a node of a kind that has them.
idm_status machine_append(machine *m, pickle_node *container, pickle_node *const *items, size_t count);

// Reads and runs one opcode (pickle_opcodes.c).
idm_status machine_step(machine *m);

#endif
