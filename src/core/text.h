// Words and numbers as people write them in INI files and on the command line.
#ifndef CORE_TEXT_H
#define CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The word of `words` (count > 0) that is fewest edits (insert, delete, replace, swap neighbours; case ignored) from `word`: "did you mean
// ...?"
const char *text_nearest(const char *word, const char *const *words, size_t count);

// Cuts white space from the end, in place, and returns the first character that is none.
char *text_trim(char *text);

// The whole of `text` must be the number, written as in C whatever the locale; false otherwise (also for empty text, overflow, infinities
// and NaN).
bool text_to_int(const char *text, int64_t *value);
bool text_to_uint(const char *text, uint64_t *value);
bool text_to_double(const char *text, double *value);

// Bytes: "22GiB", "512 MiB", "1.5GB", "4096"; K M G T with iB are powers of 1024, with B of 1000. Fractions of a byte are dropped; 2^53 and
// more is false.
bool text_to_bytes(const char *text, uint64_t *bytes);

// The shortest text that text_to_double (text_to_bytes) reads back as the same value; `out` takes at least 32 bytes.
void text_from_double(char out[32], double value);
void text_from_bytes(char out[32], uint64_t bytes);

#endif
