// What a weight, measurement or other tensor file holds, for people and programs.
#ifndef IO_INSPECT_H
#define IO_INSPECT_H

#include <idm/status.h>
#include <stdbool.h>
#include <stdio.h>

// Writes format, metadata and every tensor's name, type, shape and bytes: a table, or with `json` one object {"file", "format", "metadata":
// {key: text}, "tensors": [{"name", "dtype", "shape": [...], "bytes", "shared_with"?}]}. "shared_with" names the first tensor that is the
// same values (authors' files).
idm_status inspect_file(const char *path, FILE *out, bool json);

#endif
