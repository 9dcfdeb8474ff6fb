// Checkpoints are whole at any instant: every single operation on the disk fails in turn, the order of syncs is right for a loss of power,
// and the program is killed at random moments.
#include "checkpoint_fixture.h"

#include <signal.h>
#include <sys/wait.h>

static int run_child(const char *run, uint64_t step, const char *environment)
{
    char command[2048], self[PATH_MAX] = {0};
    const char *failer = getenv("IDM_WRITE_FAILER");
    if (!failer) fail_msg("IDM_WRITE_FAILER is not set");
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    (void)snprintf(command, sizeof command,
                   "ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 LD_PRELOAD='%s' %s '%s' write '%s' %d 2>'%s/message'", failer,
                   environment, self, run, (int)step, temporary_folder);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// Run as `test_checkpoint_faults write RUN STEP`: what a trainer does when it saves.
static int child(const char *run, int step)
{
    fixture f = {.salt = 2};
    idm_status status = write_step(run, (uint64_t)step, &f, false);
    if (status == IDM_OK) status = checkpoint_prune(run, 1);
    if (status == IDM_OK) status = write_best(run, &f, false);
    if (status != IDM_OK) (void)fprintf(stderr, "%s\n", idm_message());
    return (int)status;
}

static size_t count_lines(const char *path)
{
    uint8_t *text;
    size_t size, lines = 0;
    MUST(files_read_whole(path, 1 << 24, &text, &size));
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    free(text);
    return lines;
}

// Back to checkpoint 10 and its best weights, both with salt 1.
static void reset(void)
{
    char command[512];
    (void)snprintf(command, sizeof command, "cd '%s' && rm -rf run && cp -r template run", temporary_folder);
    assert_int_equal(system(command), 0);
}

static void check_after_fault(const char *run, uint64_t step, int status, bool exchange, long n)
{
    uint64_t salt = 0;
    told_count = 0;
    // without exchanges the old one may have stepped aside and found no way back, where nothing works any more
    if (!exchange) MUST(checkpoint_recover(run, (warning_sink){NULL, NULL}));
    const uint64_t found = newest(run, &salt);
    if (told_count > 0) fail_msg("operation %ld: %s", n, told[0]);
    if (status == IDM_OK) {
        assert_true(found == step && salt == 2);
        assert_int_equal(best_salt(run), 2);
        assert_int_equal(count_folders(run, ""), 2);
    } else {
        if (status != IDM_FAILED) fail_msg("operation %ld: status %d", n, status);
        if (!(found == 10 && salt == 1) && !(found == step && salt == 2)) fail_msg("operation %ld: step %d", n, (int)found);
        char message[PATH_MAX] = "";
        uint8_t *text;
        size_t size;
        MUST(files_read_whole(temporary("message"), sizeof message, &text, &size));
        if (!strstr((char *)text, "No space left on device") || !strstr((char *)text, "/run"))
            fail_msg("operation %ld: %s", n, (char *)text);
        free(text);
    }
    // what the next run does first
    MUST(checkpoint_recover(run, listener));
    assert_int_equal(newest(run, NULL), found);
    assert_int_equal(count_folders(run, "."), 0);
    const uint64_t best = best_salt(run);
    assert_true(best == 1 || best == 2);
}

static void test_every_operation_fails_once(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    char run[160], trace[160], environment[512];
    (void)snprintf(run, sizeof run, "%s/run", temporary_folder);
    (void)snprintf(trace, sizeof trace, "%s/trace", temporary_folder);
    MUST(write_step(make_run("template"), 10, &f, false));
    MUST(write_best(temporary("template"), &f, false));
    for (int variant = 0; variant < 8; variant++) {
        const uint64_t step = variant & 1 ? 10 : 20; // in the place of the old one, or beside it
        const char *on = variant & 2 ? "IDM_FAIL_ON=1" : "", *exchange = variant & 4 ? "IDM_NO_EXCHANGE=1" : "";
        long met = 0;
        reset();
        (void)snprintf(environment, sizeof environment, "IDM_FAIL_TRACE='%s' %s", trace, exchange);
        assert_int_equal(run_child(run, step, environment), IDM_OK);
        check_after_fault(run, step, IDM_OK, true, 0);
        const long operations = (long)count_lines(trace);
        assert_true(operations > 50);
        for (long n = 1; n <= operations + 1; n++) {
            reset();
            (void)snprintf(environment, sizeof environment, "IDM_FAIL_AT=%ld %s %s", n, on, exchange);
            const int status = run_child(run, step, environment);
            check_after_fault(run, step, status, exchange[0] == '\0', n);
            met += status != IDM_OK;
            if (n > operations) assert_int_equal(status, IDM_OK);
        }
        assert_true(met >= operations * 9 / 10); // the rest are syncs of folders that are synced again
    }
}

// The number of the first line of the trace from `from` on that has both parts; fails where there is none.
static size_t find_line(const char *const *lines, size_t count, size_t from, const char *begin, const char *end)
{
    for (size_t i = from; i < count; i++) {
        const size_t length = strlen(lines[i]), tail = strlen(end);
        if (strncmp(lines[i], begin, strlen(begin)) == 0 && length >= tail && strcmp(lines[i] + length - tail, end) == 0) return i;
    }
    fail_msg("no \"%s...%s\" after line %zu of the trace", begin, end, from);
    return 0;
}

// What a power loss could undo is on the disk before what depends on it.
static void test_order(void **state)
{
    (void)state;
    enum { LINES_MAX = 1000 };
    char run[160], environment[512], begin[512], end[512];
    const char *lines[LINES_MAX];
    (void)snprintf(run, sizeof run, "%s/run", temporary_folder);
    for (int replacing = 0; replacing < 2; replacing++) {
        reset();
        (void)snprintf(environment, sizeof environment, "IDM_FAIL_TRACE='%s'", temporary("trace"));
        assert_int_equal(run_child(run, replacing ? 10 : 20, environment), IDM_OK);
        uint8_t *text;
        size_t size, count = 0, placed = 0;
        MUST(files_read_whole(temporary("trace"), 1 << 24, &text, &size));
        for (char *line = strtok((char *)text, "\n"); line && count < LINES_MAX; line = strtok(NULL, "\n")) lines[count++] = line;
        const char *folder = replacing ? "step_0000010" : "step_0000020";
        static const char *const files[] = {"weights.safetensors", "optimizer.safetensors", "config.ini", "state"};
        for (int i = 0; i < 4; i++) {
            (void)snprintf(begin, sizeof begin, "fsync %s/%s.partial/%s", run, folder, files[i]);
            const size_t synced = find_line(lines, count, 0, begin, ".tmp");
            (void)snprintf(begin, sizeof begin, "fwrite %s/%s.partial/%s", run, folder, files[i]);
            for (size_t k = synced; k < count; k++) assert_int_not_equal(strncmp(lines[k], begin, strlen(begin)), 0);
            (void)snprintf(begin, sizeof begin, "rename %s/%s.partial/%s", run, folder, files[i]);
            const size_t renamed = find_line(lines, count, synced, begin, files[i]);
            if (renamed > placed) placed = renamed;
        }
        (void)snprintf(begin, sizeof begin, "fsync %s/%s.partial", run, folder);
        const size_t folder_synced = find_line(lines, count, placed, begin, ".partial");
        (void)snprintf(begin, sizeof begin, "%s %s/%s.partial", replacing ? "exchange" : "rename", run, folder);
        (void)snprintf(end, sizeof end, "/%s", folder);
        const size_t there = find_line(lines, count, folder_synced, begin, end);
        (void)snprintf(begin, sizeof begin, "fsync %s", run);
        assert_int_equal(find_line(lines, count, there, begin, "/run"), there + 1);
        free(text);
    }
}

// Saves for ever, as fast as it can.
static void save_on(const char *run, uint64_t step)
{
    for (fixture f = {.salt = step};; step++, f.salt = step) {
        if (write_step(run, step, &f, false) != IDM_OK || checkpoint_prune(run, 2) != IDM_OK || write_best(run, &f, false) != IDM_OK)
            _exit(1);
        if (step % 3 == 0 && write_step(run, step, &f, false) != IDM_OK) _exit(1);
    }
}

static void test_killed_while_saving(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    char run[160];
    (void)snprintf(run, sizeof run, "%s", make_run("killed"));
    MUST(write_step(run, 1, &f, false));
    MUST(write_best(run, &f, false));
    uint64_t last = 1, best = 1;
    size_t unfinished = 0;
    for (uint64_t i = 0; i < 50; i++) {
        const pid_t process = fork();
        assert_true(process >= 0);
        if (process == 0) save_on(run, last + 1);
        (void)usleep((unsigned)random_below(5, i, 40000));
        int status;
        assert_int_equal(kill(process, SIGKILL), 0);
        assert_int_equal(waitpid(process, &status, 0), process);
        if (!WIFSIGNALED(status)) fail_msg("saving failed");
        uint64_t salt = 0;
        const uint64_t step = newest(run, &salt);
        assert_true(step >= last && salt == step);
        unfinished += count_folders(run, ".partial");
        MUST(checkpoint_recover(run, listener));
        assert_int_equal(count_folders(run, "."), 0);
        assert_int_equal(newest(run, NULL), step);
        const uint64_t kept = best_salt(run);
        assert_true(kept >= best && kept <= step);
        best = kept;
        last = step;
    }
    assert_true(last > 1 && unfinished > 5); // else nothing was met
}

// In memory where there is room for files: nothing then waits for a disk.
static int make_quick_temporary(void **state)
{
    (void)snprintf(temporary_folder, sizeof temporary_folder, "/dev/shm/idm-test-XXXXXX");
    return mkdtemp(temporary_folder) ? 0 : make_temporary(state);
}

int main(int count, char **words)
{
    checkpoint_begin();
    if (count == 4 && strcmp(words[1], "write") == 0) return child(words[2], atoi(words[3]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation_fails_once),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_killed_while_saving),
    };
    return cmocka_run_group_tests(tests, make_quick_temporary, remove_temporary);
}
