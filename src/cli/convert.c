// `idm convert`
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "io/weights.h"

static idm_status convert_run(const cli_call *call)
{
    const idm_config *c = &call->config;
    const weights_options options = {
        .sizes = {{c->model.channels[0], c->model.channels[1]}, c->model.heads, c->model.groups, c->model.steps, c->sensing.block_size},
        .cs_ratio = c->sensing.cs_ratio,
        .seed = c->train.seed,
    };
    interrupt_hold();
    const idm_status status = weights_convert(call->inputs[0], call->inputs[1], &options, cli_flag(call, "half"));
    interrupt_release();
    IDM_TRY(status);
    cli_note(call, "wrote %s", call->inputs[1]);
    return IDM_OK;
}

static const cli_option convert_options[] = {
    {"half", 0, NULL, "store the weights in 16 bits, half the file (.safetensors only); phi stays as it is"},
    {0},
};

const cli_command convert_command = {
    .name = "convert",
    .arguments = "IN OUT",
    .summary = "convert weights between .safetensors and torch zip archives",
    .description =
        "IN: any weights file: .safetensors or torch zip with the published names, or Stable Diffusion 1.5's U-Net (diffusers or single\n"
        "file), from which training starts. OUT: by its ending .safetensors, or .pkl .pt .pth .bin .ckpt: a torch zip that the authors'\n"
        "test.py loads. A torch zip does not say all sizes: --set model.heads=8 --set sensing.block_size=32 and the like are written into\n"
        "the .safetensors.",
    .least = 2,
    .most = 2,
    .options = convert_options,
    .run = convert_run,
};
