// The command line: a table of commands, each with a table of options that drives parsing, help and suggestions. Commands call the
// library, print results on stdout and everything else on stderr.
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "core/status.h"
#include <cjson/cJSON.h>
#include <idm/config.h>
#include <stdbool.h>
#include <stddef.h>

enum { CLI_OPTIONS_MAX = 16 };

typedef struct cli_option {
    const char *name;     // without dashes; a table ends with a NULL name
    char letter;          // 0: no short form
    const char *argument; // what help calls its value; NULL: a flag
    const char *meaning;
} cli_option;

typedef struct cli_call cli_call;

typedef struct cli_command {
    const char *name, *arguments, *summary;
    const char *description; // paragraphs for `idm help NAME`
    int least, most;         // inputs: words that are no options
    const cli_option *options;
    idm_status (*run)(const cli_call *call);
    // The configuration file to read where the call names none with -c, in `path`; null, or false: none.
    bool (*own_config)(const cli_call *call, char *path, size_t size);
} cli_command;

// One call as the user typed it.
struct cli_call {
    const cli_command *command;
    idm_config config;
    char **inputs; // pointers into argv
    int input_count;
    const char *values[CLI_OPTIONS_MAX]; // of command->options, by place; "" for a flag that was given
    bool json, profile, quiet, verbose, help;
};

extern const cli_command devices_command, selftest_command, verify_command, measure_command, reconstruct_command, eval_command,
    train_command, plan_command, bench_command, tune_command, convert_command, inspect_command, report_command, help_command;
extern const cli_command *const cli_commands[];
extern const size_t cli_command_count;
extern const cli_option cli_common_options[];

// The command of this name; IDM_USAGE names the nearest.
idm_status cli_find(const char *name, const cli_command **command);

// Fills *call (call->inputs is the caller's to free()) from the words after the command's name, and reads the configuration. IDM_USAGE:
// unknown option (names the nearest), missing value, too few or too many inputs.
idm_status cli_parse(const cli_command *command, int count, char **words, cli_call *call);

// Value of one of the command's own options; NULL: not given.
const char *cli_value(const cli_call *call, const char *name);
static inline bool cli_flag(const cli_call *call, const char *name)
{
    return cli_value(call, name) != NULL;
}

// "idm: ..." on stderr: cli_warn always, cli_note not with -q, cli_detail only with -v.
void cli_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_note(const cli_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_detail(const cli_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Prints and frees one JSON object. IDM_FAILED: no memory (object may be NULL).
idm_status cli_print_json(cJSON *object);
// Leaves the member out where the value is not finite.
void cli_json_number(cJSON *object, const char *name, double value);

// "1.5 GiB"; "3 min 20 s". `out` holds 32 bytes.
const char *cli_bytes_text(char out[32], double bytes);
const char *cli_time_text(char out[32], double seconds);

void help_overview(FILE *out);
void help_print(FILE *out, const cli_command *command);

#endif
