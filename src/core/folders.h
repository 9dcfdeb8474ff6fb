// Folders that appear whole or not at all. Failures are IDM_FAILED with path and the system's reason.
#ifndef CORE_FOLDERS_H
#define CORE_FOLDERS_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>

// Names of the folders in a folder, in byte order, hidden ones left out; freed by folders_free_names. IDM_BAD_INPUT: cannot be read.
idm_status folders_list(const char *path, char ***names, size_t *count);
void folders_free_names(char **names, size_t count);

// Makes an empty folder: one of that name is removed before.
idm_status folders_make_empty(const char *path);

// Removes a folder with all in it; a missing one is fine. folders_discard says nothing: idm_message() stays as it was.
idm_status folders_remove(const char *path);
void folders_discard(const char *path);

// The entries of the folder survive a power loss from here on.
idm_status folders_sync(const char *path);

// The suffix of a folder that steps aside for a moment.
#define FOLDERS_ASIDE ".replaced"

// Syncs the folder `from`, whose files are synced already, and renames it to `to`, beside it; a folder that is there is replaced at once,
// and removed. On file systems that cannot exchange two folders the old one bears the suffix FOLDERS_ASIDE for a moment: folders_recover
// brings it back if the program died in that moment. On failure either the old or the new one is there, and `from` may be.
idm_status folders_put(const char *from, const char *to);

// For a folder `name` that folders_put replaces: finishes or undoes what a killed one left. *recovered: the old one was brought back.
idm_status folders_recover(const char *path, bool *recovered);

#endif
