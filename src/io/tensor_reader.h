// What a file format gives to tensor_file.c. Only safetensors.c and torch_zip.c include this.
#ifndef IO_TENSOR_READER_H
#define IO_TENSOR_READER_H

#include "io/tensor_file.h"

typedef struct tensor_reader {
    const char *format;
    void *self;
    // The bytes of a storage, valid until the next call. `entry` is what they are wanted for.
    idm_status (*storage)(void *self, const tensor_entry *entry, const uint8_t **bytes);
    void (*close)(void *self);
} tensor_reader;

typedef struct tensor_metadata {
    char *key, *value;
} tensor_metadata;

// Grows while a reader runs. Owns names, keys and values (from malloc).
typedef struct tensor_list {
    tensor_entry *entries;
    size_t count, capacity;
    tensor_metadata *metadata;
    size_t metadata_count, metadata_capacity;
} tensor_list;

// A name or another word of the file may be printed: 1 to 4095 bytes, no control characters.
bool tensor_text_is_sound(const char *text, size_t length);

// Copies the name. IDM_BAD_INPUT for one that is not sound.
idm_status tensor_list_add(tensor_list *list, const char *path, const char *name, size_t name_length, tensor_entry entry);
idm_status tensor_list_add_metadata(tensor_list *list, const char *path, const char *key, const char *value);
void tensor_list_free(tensor_list *list);

// Product of the shape; false where a dimension is negative or the product times the type's size does not fit in 63 bits.
bool tensor_entry_count(tensor_entry *entry);

// Strides of a contiguous tensor of the entry's shape.
void tensor_entry_make_contiguous(tensor_entry *entry);

#endif
