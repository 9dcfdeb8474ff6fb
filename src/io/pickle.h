// Python pickles (protocols 2 to 5, as far as torch writes them) as plain data. Nothing is ever called: a "call" of an allowed global
// becomes a node that names it and holds its arguments, which the reader of the file interprets. Unknown opcodes and globals that are not
// on the caller's list are refused by name.
#ifndef IO_PICKLE_H
#define IO_PICKLE_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bounds on what a pickle may hold; a node is at most one per opcode.
enum { PICKLE_BYTES_MAX = 32 << 20, PICKLE_NODES_MAX = 2 << 20 };

typedef enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,       // str or bytes
    PICKLE_TUPLE,      // items
    PICKLE_LIST,       // items
    PICKLE_DICT,       // items: key, value, key, value ...; also OrderedDict
    PICKLE_GLOBAL,     // text: "module.name"
    PICKLE_CALL,       // items: global, arguments (a tuple)
    PICKLE_PERSISTENT, // items: the persistent id, what torch calls a storage
} pickle_kind;

// Nodes may be shared, and lists and dicts may (hostile) hold themselves: whoever walks down bounds the depth.
typedef struct pickle_node pickle_node;
struct pickle_node {
    pickle_kind kind;
    union {
        int64_t integer; // PICKLE_INT, PICKLE_BOOL
        double real;
        struct {
            const char *text; // not zero-terminated, except a global's
            size_t length;
        };
        struct {
            pickle_node **items;
            size_t count, capacity;
        };
    };
};

typedef struct pickle pickle;

// Parses `size` bytes, which must stay in place as long as the pickle does (texts point into them). `globals` ends with NULL: the allowed
// "module.name"s. IDM_BAD_INPUT: anything else than a sound pickle within the bounds; the message begins with `path`.
idm_status pickle_parse(const char *path, const uint8_t *bytes, size_t size, const char *const *globals, pickle **result);
void pickle_free(pickle *p); // NULL is fine

const pickle_node *pickle_root(const pickle *p);

// The value of a text key, NULL where there is none (or `dict` is no dict).
const pickle_node *pickle_get(const pickle_node *dict, const char *key);

bool pickle_is_text(const pickle_node *node, const char *text);
bool pickle_is_global(const pickle_node *node, const char *name);

// The arguments of a call of this global (a tuple), NULL for anything else.
const pickle_node *pickle_call_arguments(const pickle_node *node, const char *global);

#endif
