// `idm inspect`
#include "io/inspect.h"

#include "cli/cli.h"

static idm_status inspect_run(const cli_call *call)
{
    return inspect_file(call->inputs[0], stdout, call->json);
}

const cli_command inspect_command = {
    .name = "inspect",
    .arguments = "FILE",
    .summary = "list the tensors and metadata of a weights, measurement or checkpoint file",
    .description = "FILE: .safetensors, or a torch zip archive (.pkl, .pt, .bin, .ckpt), read as data: nothing in it is executed.",
    .least = 1,
    .most = 1,
    .run = inspect_run,
};
