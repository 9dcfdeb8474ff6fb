// idm: parses the command line, runs a command, reports its failure.
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "opencl/pinning.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static idm_status run_command(const cli_command *command, int count, char **words)
{
    cli_call *call = malloc(sizeof *call);
    if (!call) return status_fail(IDM_FAILED, "out of memory");
    idm_status status = cli_parse(command, count, words, call);
    if (status == IDM_OK) {
        if (call->help) help_print(stdout, command);
        else status = command->run(call);
    }
    free(call->inputs);
    free(call);
    return status;
}

static idm_status dispatch(int argc, char **argv)
{
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0) {
        printf("idm %s\n", idm_version());
        return IDM_OK;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help_overview(stdout);
        return IDM_OK;
    }
    if (word[0] == '-')
        return status_fail(IDM_USAGE, "'%.100s' stands before the command; usage: idm COMMAND [OPTION]... (idm help)", word);
    const cli_command *command;
    IDM_TRY(cli_find(word, &command));
    return run_command(command, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help_overview(stderr);
        return IDM_USAGE;
    }
    interrupt_install();
    pinning_ask();
    idm_status status = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == IDM_OK)
        status = status_fail(IDM_FAILED, "cannot write the results to standard output: %s", strerror(errno));
    if (status != IDM_OK) cli_warn("%s", idm_message());
    return (int)status;
}
