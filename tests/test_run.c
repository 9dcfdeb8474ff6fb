// Run directories: one program at a time, logs that fit the checkpoint that training goes on from, whole lines whatever fails.
#include "hostile.h"

#include "core/files.h"
#include "train/checkpoint.h"
#include "train/run.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>

#define MUST(call)                                           \
    do {                                                     \
        if ((call) != IDM_OK) fail_msg("%s", idm_message()); \
    } while (0)

static idm_config config;
static char told[1024]; // the last warning
static int told_count;

static void tell(void *user, const char *text)
{
    (void)user;
    (void)snprintf(told, sizeof told, "%s", text);
    told_count++;
}

static const warning_sink listener = {tell, NULL};

// Training shall run in a folder of the temporary one.
static const idm_config *in(const char *name)
{
    idm_config_defaults(&config);
    (void)snprintf(config.train.out, sizeof config.train.out, "%s", temporary(name));
    told_count = 0;
    return &config;
}

static run *open_run(bool resume)
{
    run *r;
    MUST(run_open(&config, resume, listener, &r));
    return r;
}

static void assert_not_opened(bool resume, idm_status status, const char *part)
{
    run *r;
    if (run_open(&config, resume, listener, &r) != status) fail_msg("%s: another status: %s", part, idm_message());
    assert_null(r);
    if (!strstr(idm_message(), part) || !strstr(idm_message(), config.train.out)) fail_msg("\"%s\" is not in \"%s\"", part, idm_message());
}

static run_row row_of(uint64_t step)
{
    return (run_row){.step = step,
                     .epoch = 1,
                     .skipped = 2,
                     .peak_bytes = UINT64_C(1) << 40,
                     .loss = 1.0 / 3,
                     .lr = 1e-4,
                     .scale = 65536,
                     .seconds = 0.1 * (double)step,
                     .images_per_second = 1.5};
}

static const float *ones(void *user, checkpoint_kind kind, const parameter_name *which)
{
    static const float values[4] = {1, 1, 1, 1};
    (void)user, (void)kind, (void)which;
    return values;
}

static void save(uint64_t step)
{
    static parameter_name name = {.name = "a", .rank = 1, .shape = {4, 1, 1, 1}, .count = 4};
    static float phi[4];
    const weights w = {.sizes = {.block = 2}, .parameters = &name, .count = 1, .phi = phi, .measurements = 1};
    const training_state state = {.step = step};
    const checkpoint_content content = {&w, false, ones, NULL, &config, &state, NULL};
    MUST(checkpoint_write(config.train.out, &content));
}

// Lines of a file in the run directory, each parsed; the caller deletes the array.
static cJSON *read_lines(const char *name)
{
    char path[PATH_MAX];
    uint8_t *text;
    size_t size;
    (void)snprintf(path, sizeof path, "%s/%s", config.train.out, name);
    MUST(files_read_whole(path, 1 << 20, &text, &size));
    cJSON *lines = cJSON_CreateArray();
    for (char *line = (char *)text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) fail_msg("%s: half a line: %s", name, line);
        *end = '\0';
        cJSON *item = cJSON_ParseWithOpts(line, NULL, true);
        if (!item) fail_msg("%s: no JSON: %s", name, line);
        assert_true(cJSON_AddItemToArray(lines, item));
    }
    free(text);
    return lines;
}

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(item)) fail_msg("%s is no number", name);
    return item->valuedouble;
}

static void assert_steps(const char *name, int count, const double *steps)
{
    cJSON *lines = read_lines(name);
    assert_int_equal(cJSON_GetArraySize(lines), count);
    for (int i = 0; i < count; i++) assert_true(number(cJSON_GetArrayItem(lines, i), "step") == steps[i]);
    cJSON_Delete(lines);
}

static void test_log(void **state)
{
    (void)state;
    run *r;
    MUST(run_open(in("a/b/log"), false, listener, &r));
    assert_string_equal(run_folder(r), config.train.out);
    assert_string_equal(run_checkpoint(r), "");
    assert_int_equal(run_step(r), 0);
    MUST(run_start(r, &config));
    run_row row = row_of(10);
    MUST(run_log(r, &row));
    row.step = 20;
    row.loss = NAN;
    row.scale = INFINITY;
    MUST(run_log(r, &row));
    MUST(run_sync(r));
    cJSON *lines = read_lines("log.jsonl"); // while the run is open
    assert_int_equal(cJSON_GetArraySize(lines), 2);
    const cJSON *first = cJSON_GetArrayItem(lines, 0), *second = cJSON_GetArrayItem(lines, 1);
    assert_true(number(first, "step") == 10 && number(first, "epoch") == 1 && number(first, "skipped") == 2);
    assert_true(number(first, "loss") == 1.0 / 3 && number(first, "lr") == 1e-4 && number(first, "scale") == 65536);
    assert_true(number(first, "seconds") == 1 && number(first, "images_per_second") == 1.5 && number(first, "peak_bytes") == 0x1p40);
    assert_int_equal(cJSON_GetArraySize(first), 9);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(second, "loss")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(second, "scale")));
    cJSON_Delete(lines);
    run_close(r);
    run_close(NULL);
    idm_config *again = malloc(sizeof *again);
    assert_non_null(again);
    idm_config_defaults(again);
    MUST(idm_config_load(again, temporary("a/b/log/config.ini")));
    assert_memory_equal(again, &config, sizeof config);
    free(again);
}

static void test_validation(void **state)
{
    (void)state;
    run *r;
    char *line, path[PATH_MAX];
    MUST(run_open(in("validation"), false, listener, &r));
    MUST(run_start(r, &config));
    const run_validated pictures[] = {{"set/a \"b\".png", 256, 128, 30, 0.5, 1.25}, {"c.tif", 8, 8, 33, 0.75, 0.5}};
    const run_validation v = {1000, 1, pictures, 2};
    MUST(run_log_validation(r, &v, &line));
    cJSON *lines = read_lines("validation.jsonl"), *same = cJSON_Parse(line);
    assert_int_equal(line[strlen(line) - 1], '\n');
    free(line);
    const cJSON *item = cJSON_GetArrayItem(lines, 0), *list = cJSON_GetObjectItemCaseSensitive(item, "pictures");
    assert_true(cJSON_Compare(item, same, true));
    assert_true(number(item, "step") == 1000 && number(item, "epoch") == 1 && number(item, "psnr") == 31.5 &&
                number(item, "ssim") == 0.625);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    item = cJSON_GetArrayItem(list, 0);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "file")), pictures[0].file);
    assert_true(number(item, "height") == 256 && number(item, "width") == 128 && number(item, "psnr") == 30 &&
                number(item, "seconds") == 1.25);
    cJSON_Delete(lines);
    cJSON_Delete(same);
    uint8_t pixels[6] = {1, 2, 3, 4, 5, 6};
    idm_image image = {3, 2, 1, pixels};
    MUST(run_picture(r, 1000, "set/a.b.png", &image));
    MUST(run_picture(r, 1000, "set/a.b.png", &image)); // again
    run_close(r);
    (void)snprintf(path, sizeof path, "%s/pictures/step_0001000/a.b.png", config.train.out);
    MUST(idm_image_load(path, &image));
    assert_memory_equal(image.pixels, pixels, sizeof pixels);
    idm_image_free(&image);
}

static void test_resume_cuts_the_logs(void **state)
{
    (void)state;
    run *r;
    char path[PATH_MAX], *line;
    MUST(run_open(in("resumed"), false, listener, &r));
    MUST(run_start(r, &config));
    for (uint64_t step = 10; step <= 50; step += 10) {
        const run_row row = row_of(step);
        const run_validation v = {step, 1, NULL, 0};
        MUST(run_log(r, &row));
        if (step % 20 == 0) MUST(run_log_validation(r, &v, &line));
        if (step % 20 == 0) free(line);
        if (step == 30) save(30);
    }
    assert_not_opened(true, IDM_USAGE, "trains in this directory");
    run_close(r);
    (void)snprintf(path, sizeof path, "%s/log.jsonl", config.train.out);
    FILE *log = fopen(path, "a");
    assert_non_null(log);
    (void)fputs("{\"step\":30,\"epo", log); // killed in the middle
    assert_int_equal(fclose(log), 0);
    MUST(files_make_folders(temporary("resumed/step_0000040.partial")));
    write_bytes(temporary("resumed/log.jsonl.12-3.tmp"), "x", 1);
    write_bytes(temporary("resumed/mine.tmp"), "x", 1);
    assert_not_opened(false, IDM_USAGE, "up to step_0000030; go on with --resume");
    r = open_run(true);
    assert_string_equal(files_name(run_checkpoint(r)), "step_0000030");
    assert_int_equal(run_step(r), 30);
    assert_false(files_exists(temporary("resumed/step_0000040.partial")));
    assert_int_equal(told_count, 1);
    MUST(run_start(r, &config));
    assert_steps("log.jsonl", 3, (const double[]){10, 20, 30});
    assert_steps("validation.jsonl", 1, (const double[]){20});
    assert_false(files_exists(temporary("resumed/log.jsonl.12-3.tmp")));
    assert_true(files_exists(temporary("resumed/mine.tmp")));
    const run_row row = row_of(40);
    MUST(run_log(r, &row));
    run_close(r);
    assert_steps("log.jsonl", 4, (const double[]){10, 20, 30, 40});
}

static void test_start_again_without_a_checkpoint(void **state)
{
    (void)state;
    run *r;
    assert_not_opened((in("fresh"), true), IDM_BAD_INPUT, "no such run");
    assert_false(files_exists(config.train.out));
    for (int i = 0; i < 2; i++) {
        MUST(run_open(&config, false, listener, &r));
        MUST(run_start(r, &config));
        const run_row row = row_of(10);
        MUST(run_log(r, &row));
        run_close(r);
        assert_steps("log.jsonl", 1, (const double[]){10});
    }
    write_bytes(temporary("file"), "x", 1);
    assert_not_opened((in("file"), false), IDM_FAILED, "cannot make the folder");
    config.train.out[0] = '\0';
    assert_not_opened(false, IDM_USAGE, "train.out");
}

static void test_lock(void **state)
{
    (void)state;
    char holder[64];
    int ready[2];
    run *r;
    in("locked");
    assert_int_equal(pipe(ready), 0);
    const pid_t process = fork();
    assert_true(process >= 0);
    if (process == 0) {
        const bool opened = run_open(&config, false, listener, &r) == IDM_OK;
        (void)!write(ready[1], opened ? "y" : "n", 1);
        (void)pause();
        _exit(0);
    }
    char answer = 0;
    assert_int_equal(read(ready[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    (void)snprintf(holder, sizeof holder, "process %ld trains in this directory", (long)process);
    assert_not_opened(false, IDM_USAGE, holder);
    assert_not_opened(true, IDM_USAGE, holder);
    assert_int_equal(kill(process, SIGKILL), 0);
    assert_int_equal(waitpid(process, NULL, 0), process);
    (void)close(ready[0]);
    (void)close(ready[1]);
    r = open_run(false); // the lock went with its process
    (void)snprintf(holder, sizeof holder, "process %ld trains", (long)getpid());
    assert_not_opened(false, IDM_USAGE, holder);
    run_close(r);
    run_close(open_run(false));
}

// Run as `test_run log RUN`: every failure is passed over, as a trainer may do that waits for room on the disk.
static int child(const char *folder)
{
    run *r;
    char *line;
    int failures = 0;
    idm_config_defaults(&config);
    (void)snprintf(config.train.out, sizeof config.train.out, "%s", folder);
    if (run_open(&config, true, (warning_sink){NULL, NULL}, &r) != IDM_OK || run_start(r, &config) != IDM_OK) {
        (void)fprintf(stderr, "%s\n", idm_message());
        return 100;
    }
    for (uint64_t step = 40; step < 60; step += 10) {
        const run_row row = row_of(step);
        const run_validated picture = {"a.png", 1, 1, 1, 1, 1};
        const run_validation v = {step, 1, &picture, 1};
        failures += run_log(r, &row) != IDM_OK;
        failures += run_log_validation(r, &v, &line) != IDM_OK;
        free(line);
    }
    failures += run_sync(r) != IDM_OK;
    if (failures) (void)fprintf(stderr, "%s\n", idm_message());
    run_close(r);
    return failures;
}

static int run_child(const char *environment)
{
    char command[2048], self[PATH_MAX] = {0};
    const char *failer = getenv("IDM_WRITE_FAILER");
    if (!failer) fail_msg("IDM_WRITE_FAILER is not set");
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    (void)snprintf(
        command, sizeof command,
        "cd '%s' && rm -rf run && cp -r template run && ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 LD_PRELOAD='%s' %s '%s' "
        "log '%s/run' 2>message",
        temporary_folder, failer, environment, self, temporary_folder);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void check_lines(const char *name)
{
    cJSON *lines = read_lines(name);
    double last = 0;
    for (const cJSON *line = lines->child; line; line = line->next) {
        assert_true(number(line, "step") > last);
        last = number(line, "step");
    }
    assert_true(last >= 30); // what was before the checkpoint is there whatever happened
    cJSON_Delete(lines);
}

static void test_every_operation_fails_once(void **state)
{
    (void)state;
    run *r;
    char *line;
    MUST(run_open(in("template"), false, listener, &r));
    MUST(run_start(r, &config));
    for (uint64_t step = 10; step <= 40; step += 10) {
        const run_row row = row_of(step);
        const run_validation v = {step, 1, NULL, 0};
        MUST(run_log(r, &row));
        MUST(run_log_validation(r, &v, &line));
        free(line);
        if (step == 30) save(30);
    }
    run_close(r);
    in("run");
    for (int on = 0; on < 2; on++) {
        char environment[256];
        (void)snprintf(environment, sizeof environment, "IDM_FAIL_TRACE='%s'", temporary("trace"));
        assert_int_equal(run_child(environment), 0);
        uint8_t *text;
        size_t size;
        int operations = 0;
        MUST(files_read_whole(temporary("trace"), 1 << 20, &text, &size));
        for (size_t i = 0; i < size; i++) operations += text[i] == '\n';
        free(text);
        assert_true(operations > 30);
        int met = 0;
        for (int n = 1; n <= operations + 1; n++) {
            (void)snprintf(environment, sizeof environment, "IDM_FAIL_AT=%d %s", n, on ? "IDM_FAIL_ON=1" : "");
            const int status = run_child(environment);
            check_lines("log.jsonl");
            check_lines("validation.jsonl");
            if (n > operations) assert_int_equal(status, 0);
            if (status == 0) continue;
            met++;
            MUST(files_read_whole(temporary("message"), 4096, &text, &size));
            if (!strstr((char *)text, "No space left on device")) fail_msg("operation %d: %s", n, (char *)text);
            free(text);
        }
        assert_true(met >= operations * 3 / 4); // the rest: folders that are there already are made, and synced as well as it goes
    }
}

int main(int count, char **words)
{
    if (count == 3 && strcmp(words[1], "log") == 0) return child(words[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_resume_cuts_the_logs),
        cmocka_unit_test(test_start_again_without_a_checkpoint),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_every_operation_fails_once),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
