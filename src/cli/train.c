// `idm train`
#include "train/train.h"
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "core/files.h"
#include <string.h>
#include <unistd.h>

typedef struct training_display {
    const cli_call *call;
    bool terminal, visible; // a line that is drawn over; it is on the screen now
} training_display;

static void clear(training_display *d)
{
    if (d->visible) fputs("\r\033[K", stderr);
    d->visible = false;
}

static void say(void *user, bool warning, const char *text)
{
    training_display *d = user;
    clear(d);
    if (warning) cli_warn("%s", text);
    else cli_note(d->call, "%s", text);
}

static void show(void *user, const train_progress *p)
{
    training_display *d = user;
    char left[32], memory[32];
    if (d->call->quiet) return;
    clear(d);
    fprintf(stderr, "epoch %llu/%llu  step %llu/%llu  loss %.5f  lr %.3g  %.3g images/s  %s  %s left", (unsigned long long)p->epoch + 1,
            (unsigned long long)p->epochs, (unsigned long long)p->step, (unsigned long long)p->steps, p->loss, p->learning_rate,
            p->images_per_second, cli_bytes_text(memory, (double)p->peak_bytes), cli_time_text(left, p->seconds_left));
    if (p->skipped) fprintf(stderr, "  %llu steps skipped", (unsigned long long)p->skipped);
    if (!d->terminal) fputc('\n', stderr);
    d->visible = d->terminal;
    (void)fflush(stderr);
}

static void show_validation(void *user, const train_validation *v)
{
    training_display *d = user;
    clear(d);
    cli_note(d->call, "step %llu: validation PSNR %.3f dB, SSIM %.5f over %zu images%s", (unsigned long long)v->step, v->psnr, v->ssim,
             v->images, v->best ? ", the best so far" : "");
}

static idm_status report(const cli_call *call, const train_result *r)
{
    if (call->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "step", (double)r->step);
        cJSON_AddStringToObject(object, "checkpoint", r->checkpoint);
        cli_json_number(object, "loss", r->loss);
        cli_json_number(object, "best_psnr", r->best_psnr);
        return cli_print_json(object);
    }
    printf("%s\n", r->checkpoint);
    return IDM_OK;
}

static idm_status train_run_command(const cli_call *call)
{
    idm_config config = call->config;
    training_display display = {.call = call, .terminal = isatty(STDERR_FILENO) == 1};
    const train_listener listener = {.user = &display,
                                     .stop = interrupt_caught,
                                     .say = say,
                                     .progress = show,
                                     .validation = show_validation,
                                     .profile = call->profile ? stderr : NULL};
    train_result result = {0};
    if (call->input_count) {
        if (strlen(call->inputs[0]) >= sizeof config.train.out) return status_fail(IDM_USAGE, "the run directory's name is too long");
        (void)snprintf(config.train.out, sizeof config.train.out, "%s", call->inputs[0]);
    }
    interrupt_defer();
    const idm_status status = train_run(&config, cli_flag(call, "resume"), &listener, &result);
    clear(&display);
    if (status != IDM_OK) return status;
    IDM_TRY(report(call, &result));
    interrupt_leave();
    return IDM_OK;
}

static bool run_config(const cli_call *call, char *path, size_t size)
{
    return cli_flag(call, "resume") && call->input_count && files_join(path, size, call->inputs[0], "config.ini") == IDM_OK &&
           files_exists(path);
}

static const cli_option train_options_table[] = {
    {"resume", 0, NULL, "go on from the run's newest complete checkpoint"},
    {0},
};

const cli_command train_command = {
    .name = "train",
    .arguments = "[-c FILE.ini] [--resume] [RUN]",
    .summary = "train a network by the published recipe",
    .description =
        "RUN: the run directory, short for --set train.out=RUN: checkpoints, log, TensorBoard events, validation. --resume goes on\n"
        "from its newest complete checkpoint, to the same bits as if nothing had happened; with RUN and without -c the run's own\n"
        "config.ini is read. SIGINT and SIGTERM finish the step, save, and end with 130 or 143; a second one ends at once.",
    .least = 0,
    .most = 1,
    .options = train_options_table,
    .run = train_run_command,
    .own_config = run_config,
};
