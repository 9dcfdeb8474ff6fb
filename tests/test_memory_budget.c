// memory.budget holds for all device memory, counted from outside the program (buffer_counter.c).
#include "cli_fixture.h"

// Peak bytes of the last counted command.
static size_t counted_peak(void)
{
    char trace[1 << 16];
    size_t peak = 0;
    cli_read("trace.txt", trace, sizeof trace);
    for (const char *line = trace; *line; line = strchr(line, '\n') + 1)
        if (sscanf(line, "%*f %*u %zu", &peak) != 1) fail_msg("not a line of a trace: %.80s", line);
    return peak;
}

static int run_counted(const char *variants, size_t budget)
{
    char command[1024];
    const char *counter = getenv("IDM_BUFFER_COUNTER");
    if (!counter) fail_msg("IDM_BUFFER_COUNTER is not set");
    (void)snprintf(command, sizeof command,
                   "rm -f trace.txt && ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 IDM_BUFFER_COUNT=trace.txt LD_PRELOAD='%s' "
                   "\"$IDM\" reconstruct "
                   "grey.png --out out " TINY " --set device.variants=%s --set device.gemm=own --set memory.budget=%zu",
                   counter, variants, budget);
    return cli_run(command);
}

// What the library plans for grey.png.
static size_t planned(idm_variants variants)
{
    idm_config *config = malloc(sizeof *config);
    idm_session *session;
    size_t bytes = 0;
    double flops;
    assert_non_null(config);
    idm_config_defaults(config);
    (void)snprintf(config->model.weights, sizeof config->model.weights, "%s/tiny.safetensors", cli_folder);
    (void)snprintf(config->device.device, sizeof config->device.device, "%s", getenv("IDM_TEST_DEVICE"));
    config->device.variants = variants;
    config->device.gemm = IDM_GEMM_OWN;
    if (idm_session_open(config, &session) != IDM_OK || idm_session_plan(session, 32, 48, 1, &bytes, &flops) != IDM_OK)
        fail_msg("%s", idm_message());
    idm_session_close(session);
    free(config);
    return bytes;
}

static void check_table(idm_variants variants, const char *name)
{
    const size_t least = planned(variants), budgets[] = {least, least + least / 10, 2 * least, (size_t)64 << 20};
    (void)run_counted(name, (size_t)64 << 20); // whatever a first start does is over then
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        const int status = run_counted(name, budgets[i]);
        if (status != 0) fail_msg("%s, budget %zu: status %d: %s", name, budgets[i], status, cli_err);
        const size_t peak = counted_peak();
        if (peak > budgets[i]) fail_msg("%s: %zu bytes held, the budget is %zu", name, peak, budgets[i]);
        if (i == 0 && peak != least) fail_msg("%s: %zu bytes held, %zu planned", name, peak, least);
    }
    assert_int_equal(run_counted(name, least - 1), IDM_FAILED);
    assert_non_null(strstr(cli_err, "memory.budget"));
}

static void test_cpu(void **state)
{
    (void)state;
    check_table(IDM_VARIANTS_CPU, "cpu");
}

static void test_gpu(void **state)
{
    (void)state;
    check_table(IDM_VARIANTS_GPU, "gpu");
}

static void test_generic(void **state)
{
    (void)state;
    check_table(IDM_VARIANTS_GENERIC, "generic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cpu), cmocka_unit_test(test_gpu), cmocka_unit_test(test_generic)};
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
