#include "cli/cli.h"

#include "core/text.h"
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const cli_command *const cli_commands[] = {
    &devices_command, &selftest_command, &verify_command, &measure_command, &reconstruct_command, &eval_command,   &train_command,
    &plan_command,    &bench_command,    &tune_command,   &convert_command, &inspect_command,     &report_command, &help_command,
};
const size_t cli_command_count = sizeof cli_commands / sizeof *cli_commands;

enum { OPTION_CONFIG, OPTION_SET, OPTION_DEVICE, OPTION_WEIGHTS, OPTION_VERBOSE, OPTION_QUIET, OPTION_JSON, OPTION_PROFILE, OPTION_HELP };

const cli_option cli_common_options[] = {
    [OPTION_CONFIG] = {"config", 'c', "FILE.ini", "read this configuration (idm help config)"},
    [OPTION_SET] = {"set", 0, "section.key=value", "override one key; may be repeated"},
    [OPTION_DEVICE] = {"device", 0, "D",
                       "auto, cpu, gpu, an index P:D of `idm devices`, or part of a name; short for --set device.device=D"},
    [OPTION_WEIGHTS] = {"weights", 0, "FILE", "short for --set model.weights=FILE"},
    [OPTION_VERBOSE] = {"verbose", 'v', NULL, "say more on stderr"},
    [OPTION_QUIET] = {"quiet", 'q', NULL, "say nothing on stderr but warnings and errors; no progress bar"},
    [OPTION_JSON] = {"json", 0, NULL, "print the result as one JSON object"},
    [OPTION_PROFILE] = {"profile", 0, NULL, "print the time of each kernel on stderr at the end"},
    [OPTION_HELP] = {"help", 'h', NULL, "print the command's help"},
    {0},
};

idm_status cli_find(const char *name, const cli_command **command)
{
    const char *names[sizeof cli_commands / sizeof *cli_commands];
    for (size_t i = 0; i < cli_command_count; i++) {
        names[i] = cli_commands[i]->name;
        if (strcmp(name, names[i]) != 0) continue;
        *command = cli_commands[i];
        return IDM_OK;
    }
    return status_fail(IDM_USAGE, "unknown command '%.100s'; did you mean '%s'? (idm help lists all)", name,
                       text_nearest(name, names, cli_command_count));
}

// A word of the command line that is an option: which one, and its value.
typedef struct found_option {
    bool common;
    size_t index;
    const cli_option *option;
    const char *value;
} found_option;

static bool same_name(const cli_option *option, const char *word, size_t length)
{
    return strlen(option->name) == length && strncmp(option->name, word, length) == 0;
}

static idm_status unknown_option(const cli_command *command, const char *word)
{
    const char *names[2 * CLI_OPTIONS_MAX];
    size_t count = 0;
    for (const cli_option *o = command->options; o && o->name; o++) names[count++] = o->name;
    for (const cli_option *o = cli_common_options; o->name; o++) names[count++] = o->name;
    return status_fail(IDM_USAGE, "unknown option '%.100s'; did you mean '--%s'? (idm help %s lists all)", word,
                       text_nearest(word + strspn(word, "-"), names, count), command->name);
}

// `length` 0: a letter.
static bool find_in(const cli_option *options, const char *word, size_t length, found_option *found)
{
    for (size_t i = 0; options && options[i].name; i++) {
        if (length ? !same_name(&options[i], word, length) : options[i].letter != *word) continue;
        found->option = &options[i];
        found->index = i;
        return true;
    }
    return false;
}

static idm_status find_option(const cli_command *command, const char *word, found_option *found)
{
    const bool named = word[1] == '-';
    const char *body = word + (named ? 2 : 1), *end = named ? strchr(body, '=') : NULL;
    const size_t length = !named ? 0 : end ? (size_t)(end - body) : strlen(body);
    *found = (found_option){0};
    if (named && length == 0) return unknown_option(command, word);
    if (!find_in(command->options, body, length, found)) {
        if (!find_in(cli_common_options, body, length, found)) return unknown_option(command, word);
        found->common = true;
    }
    if (end) found->value = end + 1;
    else if (!named && body[1]) found->value = body + 1;
    if (found->value && !found->option->argument) {
        if (!named) return unknown_option(command, word);
        return status_fail(IDM_USAGE, "option --%s takes no value", found->option->name);
    }
    return IDM_OK;
}

// Options that change the configuration wait in `settings` until the file of -c has been read.
typedef struct setting {
    size_t index;
    const char *value;
} setting;

static idm_status apply_settings(const setting *settings, size_t count, cli_call *call)
{
    idm_config *config = &call->config;
    char path[IDM_PATH_SIZE];
    bool named = false;
    idm_config_defaults(config);
    for (size_t i = 0; i < count; i++)
        if (settings[i].index == OPTION_CONFIG) {
            IDM_TRY(idm_config_load(config, settings[i].value));
            named = true;
        }
    if (!named && call->command->own_config && call->command->own_config(call, path, sizeof path)) IDM_TRY(idm_config_load(config, path));
    for (size_t i = 0; i < count; i++) {
        const char *key = settings[i].index == OPTION_DEVICE    ? "device.device="
                          : settings[i].index == OPTION_WEIGHTS ? "model.weights="
                                                                : "";
        if (settings[i].index == OPTION_CONFIG) continue;
        char assignment[IDM_PATH_SIZE + 32];
        if ((size_t)snprintf(assignment, sizeof assignment, "%s%s", key, settings[i].value) >= sizeof assignment)
            return status_fail(IDM_USAGE, "--%s: the value is too long", cli_common_options[settings[i].index].name);
        IDM_TRY(idm_config_set(config, assignment));
    }
    return IDM_OK;
}

static void take_flag(cli_call *call, size_t index)
{
    switch (index) {
    case OPTION_VERBOSE:
        call->verbose = true;
        break;
    case OPTION_QUIET:
        call->quiet = true;
        break;
    case OPTION_JSON:
        call->json = true;
        break;
    case OPTION_PROFILE:
        call->profile = true;
        break;
    default:
        call->help = true;
    }
}

static idm_status check_inputs(const cli_call *call)
{
    const cli_command *c = call->command;
    if (call->input_count < c->least)
        return status_fail(IDM_USAGE, "%s needs %s; usage: idm %s %s", c->name, c->least == 1 ? "an argument" : "more arguments", c->name,
                           c->arguments);
    if (call->input_count > c->most)
        return status_fail(IDM_USAGE, "%s: unexpected argument '%.200s'; usage: idm %s %s", c->name, call->inputs[c->most], c->name,
                           c->arguments);
    return IDM_OK;
}

static idm_status parse_words(int count, char **words, cli_call *call, setting *settings, size_t *setting_count)
{
    bool only_inputs = false;
    for (int i = 0; i < count; i++) {
        if (only_inputs || words[i][0] != '-' || words[i][1] == '\0') {
            call->inputs[call->input_count++] = words[i];
            continue;
        }
        if (strcmp(words[i], "--") == 0) {
            only_inputs = true;
            continue;
        }
        found_option found;
        IDM_TRY(find_option(call->command, words[i], &found));
        assert(found.option);
        if (found.option->argument && !found.value) {
            if (i + 1 == count) return status_fail(IDM_USAGE, "option --%s needs a value: %s", found.option->name, found.option->argument);
            found.value = words[++i];
        }
        if (!found.common) call->values[found.index] = found.value ? found.value : "";
        else if (found.option->argument) settings[(*setting_count)++] = (setting){found.index, found.value};
        else take_flag(call, found.index);
    }
    return IDM_OK;
}

idm_status cli_parse(const cli_command *command, int count, char **words, cli_call *call)
{
    *call = (cli_call){.command = command, .inputs = calloc((size_t)count + 1, sizeof(char *))};
    setting *settings = calloc((size_t)count + 1, sizeof *settings);
    size_t setting_count = 0;
    idm_status status =
        call->inputs && settings ? parse_words(count, words, call, settings, &setting_count) : status_fail(IDM_FAILED, "out of memory");
    if (status == IDM_OK && !call->help) {
        status = check_inputs(call);
        if (status == IDM_OK) status = apply_settings(settings, setting_count, call);
    }
    free(settings);
    return status;
}

const char *cli_value(const cli_call *call, const char *name)
{
    for (size_t i = 0; call->command->options && call->command->options[i].name; i++)
        if (strcmp(call->command->options[i].name, name) == 0) return call->values[i];
    return NULL;
}

static void print_line(const char *format, va_list arguments)
{
    fputs("idm: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void cli_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
}

void cli_note(const cli_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!call->quiet) print_line(format, arguments);
    va_end(arguments);
}

void cli_detail(const cli_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (call->verbose) print_line(format, arguments);
    va_end(arguments);
}

idm_status cli_print_json(cJSON *object)
{
    char *text = object ? cJSON_Print(object) : NULL;
    if (text) puts(text);
    cJSON_free(text);
    cJSON_Delete(object);
    return text ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
}

void cli_json_number(cJSON *object, const char *name, double value)
{
    if (isfinite(value)) cJSON_AddNumberToObject(object, name, value);
}

const char *cli_bytes_text(char out[32], double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(out, 32, bytes < 10 && unit > 0 ? "%.2f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

const char *cli_time_text(char out[32], double seconds)
{
    const double minutes = floor(seconds / 60);
    if (seconds < 9.95) (void)snprintf(out, 32, "%.1f s", seconds);
    else if (seconds < 59.5) (void)snprintf(out, 32, "%.0f s", seconds);
    else if (minutes < 60) (void)snprintf(out, 32, "%.0f min %.0f s", minutes, floor(seconds - 60 * minutes));
    else (void)snprintf(out, 32, "%.0f h %.0f min", floor(minutes / 60), fmod(minutes, 60));
    return out;
}
