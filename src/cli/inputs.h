// Files and folders that a user names, and the files written for them.
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include "core/files.h"

enum { INPUTS_PICTURES = 1, INPUTS_MEASUREMENTS = 2 }; // what is taken from folders

// Every file named, and of each folder (not of those in it) the files whose ending says that they are of one of the `kinds`, in byte
// order. IDM_BAD_INPUT: no such file, or a folder without any. On failure *list is empty.
idm_status inputs_expand(char *const *words, int count, int kinds, files_list *list);

// By content: begins as a safetensors file.
bool inputs_is_measurement(const char *path);

// Makes the folder if needed. IDM_FAILED: cannot be written to.
idm_status inputs_open_folder(const char *folder);

// FOLDER/BASE + suffix for every input. IDM_USAGE: two inputs would share an output, or an output is one of the inputs.
idm_status inputs_name_outputs(const files_list *inputs, const char *folder, const char *suffix, files_list *outputs);

// outputs and others: two files for every input. IDM_USAGE: one of the outputs is one of the others.
idm_status inputs_check_apart(const files_list *inputs, const files_list *outputs, const files_list *others);

#endif
