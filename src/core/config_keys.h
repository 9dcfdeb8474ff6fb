// The one table of configuration keys: it drives defaults, parsing, suggestions, `idm help config` and writing.
#ifndef CORE_CONFIG_KEYS_H
#define CORE_CONFIG_KEYS_H

#include <idm/config.h>

typedef enum config_type {
    CONFIG_INT,      // int from `least` to `most`
    CONFIG_INTS,     // `capacity` ints in a row; with `count_offset` up to that many, none included
    CONFIG_UINT64,   // uint64_t
    CONFIG_DOUBLE,   // double from `least` to `most`
    CONFIG_BYTES,    // uint64_t, at least `least`
    CONFIG_WORD,     // an enum; the value is the word's index in `words`
    CONFIG_TEXT,     // char[capacity]
    CONFIG_PATH,     // char[capacity], empty for none
    CONFIG_INIT,     // char[capacity]: random, sd15:FILE or weights:FILE
    CONFIG_INTERVAL, // char[capacity]: 30min, 200it or 1epoch
} config_type;

typedef struct config_key {
    const char *section, *name;
    config_type type;
    size_t offset, capacity, count_offset; // offsets in idm_config; count_offset 0: not counted
    double least, most;
    const char *words;   // separated by '|'. CONFIG_WORD: all; numbers: "auto" when it may stand for 0; paths: words that are no path
    const char *initial; // default, as it would stand in the file
    const char *unit;    // NULL: none
    const char *meaning;
} config_key;

extern const config_key config_keys[];
enum { CONFIG_KEY_COUNT = 39 };

// IDM_USAGE for an unknown section or key, with the nearest valid one.
idm_status config_find(const char *section, const char *name, const config_key **key);

// Puts the value that `text` stands for into *config, unchanged on failure. Relative paths are joined to `folder` ("": left as they are).
// IDM_USAGE, with key, text and what is allowed.
idm_status config_parse(idm_config *config, const config_key *key, const char *text, const char *folder);

// The value as config_parse reads it back; relative paths are made absolute by `folder` ("": left). Room for IDM_PATH_SIZE + 16 characters.
idm_status config_format(const idm_config *config, const config_key *key, const char *folder, char *out);

// "a whole number from 1 to 100, or auto"
void config_allowed(const config_key *key, char *out, size_t size);

#endif
