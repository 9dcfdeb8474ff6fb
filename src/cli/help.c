// `idm help`: made from the tables of commands and options.
#include "cli/cli.h"

#include <string.h>

static void print_options(FILE *out, const cli_option *options)
{
    for (const cli_option *o = options; o && o->name; o++) {
        char left[64];
        if (o->letter)
            (void)snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        else (void)snprintf(left, sizeof left, "    --%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        fprintf(out, "  %-28s  %s\n", left, o->meaning);
    }
}

void help_overview(FILE *out)
{
    fputs("Reconstructs images from compressed measurements with the Invertible Diffusion Model, on any OpenCL device.\n\n"
          "usage: idm COMMAND [-c FILE.ini] [--set section.key=value]... [--device D] [OPTION]...\n\ncommands:\n",
          out);
    for (size_t i = 0; i < cli_command_count; i++) fprintf(out, "  %-12s  %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\noptions of every command:\n", out);
    print_options(out, cli_common_options);
    fputs("\nidm help COMMAND explains a command, idm help config every key of the configuration; idm --version prints the version.\n"
          "Exit status: 0 done; 1 failed while running (device, memory, disk); 2 wrong usage or configuration; 3 bad input file;\n"
          "4 wrong results (verify, selftest); 130, 143 stopped by a signal.\n",
          out);
}

void help_print(FILE *out, const cli_command *command)
{
    fprintf(out, "usage: idm %s %s\n\n%s\n", command->name, command->arguments, command->description);
    if (command->options && command->options->name) {
        fputs("\noptions:\n", out);
        print_options(out, command->options);
    }
    fputs("\noptions of every command:\n", out);
    print_options(out, cli_common_options);
}

static idm_status help_run(const cli_call *call)
{
    if (call->input_count == 0) {
        help_overview(stdout);
        return IDM_OK;
    }
    const char *topic = call->inputs[0];
    if (strcmp(topic, "config") == 0) {
        idm_config_describe(stdout);
        return IDM_OK;
    }
    const cli_command *command;
    IDM_TRY(cli_find(topic, &command));
    help_print(stdout, command);
    return IDM_OK;
}

const cli_command help_command = {
    .name = "help",
    .arguments = "[COMMAND | config]",
    .summary = "explain a command, or every key of the configuration",
    .description =
        "Without an argument: all commands. `idm help config`: every key of the INI file with its meaning, unit, default and\nallowed "
        "values, itself a valid INI file.",
    .most = 1,
    .run = help_run,
};
