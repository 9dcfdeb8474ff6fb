// `idm train` and `idm plan` as a user types them: stopping, killing, resuming.
#include "cli_fixture.h"
#include "io/safetensors.h"
#include <signal.h>

// A tiny network on small pictures; math = exact shares its kernels with the other tests.
#define SETTINGS                                                                                                                           \
    " --device \"$IDM_TEST_DEVICE\" --set model.channels=32,64 --set model.heads=4 --set model.groups=8 --set sensing.block_size=16"       \
    " --set data.train=pictures --set data.patch_size=32 --set train.batch_size=2 --set train.epochs=2 --set train.iterations_per_epoch=6" \
    " --set train.learning_rate=1e-3 --set device.math=exact --set train.log_every=2 --set train.validate_every=0"
#define TRAIN "\"$IDM\" train -q" SETTINGS

static int begin(void **state)
{
    if (cli_begin(state) != 0 || cli_run("mkdir pictures") != 0) return -1;
    for (int i = 0; i < 5; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "pictures/%d.png", i);
        cli_make_picture(name, 40 + 3 * i, 64 - 5 * i, i % 2 ? 3 : 1);
    }
    cli_expect(0, NULL, TRAIN " whole --set train.save_every=4it");
    return 0;
}

static void test_whole_run(void **state)
{
    (void)state;
    assert_true(cli_has_file("whole/step_0000012/weights.safetensors"));
    assert_true(cli_has_file("whole/step_0000012/optimizer.safetensors"));
    assert_true(cli_has_file("whole/config.ini"));
    cli_expect(0, NULL, "test $(wc -l < whole/log.jsonl) = 6 && ls whole/events.out.tfevents*");
    cli_expect(0, NULL, "\"$IDM\" reconstruct grey.png --out out --weights whole/step_0000012/weights.safetensors");
    cli_expect(2, "--resume|step_0000012", TRAIN " whole");
    cli_expect(0, NULL, TRAIN " whole --resume"); // nothing is left to do
}

static void assert_same_weights(const char *run)
{
    char command[256];
    (void)snprintf(command, sizeof command,
                   "for f in weights optimizer; do cmp whole/step_0000012/$f.safetensors %s/step_0000012/$f.safetensors; done", run);
    cli_expect(0, NULL, command);
}

static void test_same_again(void **state)
{
    (void)state;
    cli_expect(0, NULL, TRAIN " again");
    assert_same_weights("again");
}

static void test_blocks_same(void **state)
{
    (void)state;
    cli_expect(0, NULL, TRAIN " blocks --set memory.recompute=blocks");
    assert_same_weights("blocks");
}

// Killed at whatever moment, gone on from whatever is there, until it is done.
static void test_killed(void **state)
{
    (void)state;
    cli_expect(0, NULL, "mkdir killed");
    for (int i = 0; i < 6; i++) {
        char command[1024];
        // a killed process may take a moment to let go of the lock
        (void)snprintf(command, sizeof command, "timeout -s KILL 0.%d%d " TRAIN " killed --resume --set train.save_every=1it; sleep 0.5",
                       4 + i % 5, i);
        (void)cli_run(command);
    }
    cli_expect(0, NULL, TRAIN " killed --resume --set train.save_every=1it");
    assert_same_weights("killed");
}

// A run with kernel parameters of its own keeps them in its checkpoints: it goes on to the same bits when their file is gone.
static void test_tuned(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               "printf 'idm tuning 1\\nlinear cpu: tile_rows=2 tile_vectors=1\\nlinear gpu: tile_rows=16\\n' > own.txt && " TRAIN
               " tuned --set device.tuning=own.txt && " TRAIN " tuned-half --set device.tuning=own.txt --set train.epochs=1");
    cli_expect(0, NULL, "cmp own.txt tuned-half/step_0000006/tuning.txt; rm own.txt; test -s tuned-half/step_0000006/tuning.txt");
    cli_expect(0, NULL,
               TRAIN " tuned-half --resume --set device.tuning=auto && cmp tuned/step_0000012/weights.safetensors "
                     "tuned-half/step_0000012/weights.safetensors");
    cli_expect(3, "own.txt", TRAIN " tuned-half --resume --set device.tuning=own.txt");
}

static void test_less_memory(void **state)
{
    (void)state;
    cli_expect(0, NULL, TRAIN " less --set train.epochs=1 --set train.save_every=4it");
    cli_expect(0, NULL, "IDM_LIMITS=memory=150MiB,max_alloc=64MiB " TRAIN " less --resume");
    assert_same_weights("less");
}

// Waits for a file to have something in it, for a minute.
#define AWAIT(file) "i=0; while ! test -s " file " && test $i -lt 600; do sleep 0.1; i=$((i+1)); done; "

static void test_stopped(void **state)
{
    (void)state;
    cli_expect(143, NULL, TRAIN " stopped --set train.epochs=100000 & " AWAIT("stopped/log.jsonl") "kill -TERM $!; wait $!");
    cli_expect(0, NULL, "ls -d stopped/step_*");
    cli_expect(0, NULL, "! ls -d stopped/*.partial");
    cli_expect(2, "trains in this directory",
               TRAIN " twice --set train.epochs=100000 & p=$!; " AWAIT("twice/lock") TRAIN
               " twice --resume; s=$?; kill -TERM $p; wait $p; exit $s");
}

// A signal in the midst of a validation, after its first picture: it is done again after the resume.
static void test_stopped_in_validation(void **state)
{
    (void)state;
    cli_expect(0, NULL, "mkdir large");
    for (int i = 0; i < 3; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "large/%d.png", i);
        cli_make_picture(name, 192, 192, 1);
    }
#define VALIDATE " --set data.validation=large --set train.validate_every=1"
    cli_expect(143, NULL,
               TRAIN " validating" VALIDATE " & i=0; while ! ls validating/pictures/*/*.png && test $i -lt 6000; do sleep 0.01;"
                     " i=$((i+1)); done; kill -TERM $!; wait $!");
    cli_expect(0, NULL, "! test -s validating/validation.jsonl && " TRAIN " validating --resume" VALIDATE);
    cli_expect(0, NULL, "test $(grep -c psnr validating/validation.jsonl) = 2");
    assert_same_weights("validating");
}

// A signal while a checkpoint is being written.
static void test_stopped_in_save(void **state)
{
    (void)state;
    cli_expect(143, NULL,
               TRAIN " saving --set train.epochs=100000 --set train.save_every=1it & i=0;"
                     " while ! ls -d saving/*.partial && test $i -lt 60000; do i=$((i+1)); done; kill -TERM $!; wait $!");
    cli_expect(0, NULL, "! ls -d saving/*.partial");
    cli_expect(0, NULL, "\"$IDM\" inspect $(ls -d saving/step_* | tail -n 1)/weights.safetensors");
}

// The disk is full from the n-th thing on that the run does to it.
static void test_disk_full(void **state)
{
    (void)state;
    cli_expect(0, NULL, "mkdir full-disk");
    for (int n = 1; n < 10000; n *= 2) {
        char command[2048];
        (void)snprintf(command, sizeof command,
                       "ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 IDM_FAIL_UNDER=full-disk IDM_FAIL_ON=1 IDM_FAIL_AT=%d"
                       " LD_PRELOAD=\"$IDM_WRITE_FAILER\" " TRAIN " full-disk --resume --set train.save_every=2it",
                       n);
        const int status = cli_run(command);
        if (status == 0) break;
        assert_int_equal(status, 1);
        assert_non_null(strstr(cli_err, "No space left on device"));
        assert_non_null(strstr(cli_err, "full-disk"));
    }
    cli_expect(0, NULL, TRAIN " full-disk --resume");
    assert_same_weights("full-disk");
}

static void test_refused(void **state)
{
    (void)state;
    cli_expect(2, "data.train", "\"$IDM\" train run-none");
    cli_expect(3, "nowhere", TRAIN " run-none --set data.train=nowhere");
    cli_expect(3, "128", TRAIN " run-none --set data.patch_size=128");
    cli_expect(2, "multiple", TRAIN " run-none --set data.patch_size=40");
    cli_expect(3, "absent.safetensors", TRAIN " run-none --set train.init=weights:absent.safetensors");
    cli_expect(1, "budget", TRAIN " run-none --set memory.budget=8MiB");
    cli_expect(1, "file: cannot make the folder", "touch file && " TRAIN " file/run");
    if (geteuid() != 0) cli_expect(1, "cannot", "mkdir locked && chmod 500 locked && " TRAIN " locked/run");
}

// The run's config.ini is the configuration as given, also after a resume: another run can begin with it.
static void test_repeated_from_its_configuration(void **state)
{
    (void)state;
    const char *start = " --set train.init=weights:whole/step_0000012/weights.safetensors --set train.epochs=1";
    char command[2048];
    (void)snprintf(command, sizeof command, TRAIN " first%s --set train.iterations_per_epoch=2 && " TRAIN " first --resume%s", start,
                   start);
    cli_expect(0, NULL, command);
    cli_expect(0, NULL, "grep -q '^init = weights:' first/config.ini && grep -q '^weights = *$' first/config.ini");
    cli_expect(0, NULL,
               "\"$IDM\" train -q -c first/config.ini second && cmp first/step_0000006/weights.safetensors "
               "second/step_0000006/weights.safetensors");
}

// A network trained at one ratio is where another one's training starts.
static void test_another_ratio(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               TRAIN
               " quarter --set train.init=weights:whole/step_0000012/weights.safetensors --set sensing.cs_ratio=0.25 --set train.epochs=1");
    cli_expect(0, NULL, "\"$IDM\" inspect quarter/step_0000006/weights.safetensors | grep '^F32.*(256, 64) *phi$'");
    cli_expect(0, NULL, "\"$IDM\" train -q -c quarter/config.ini --resume quarter");
}

static void test_profile(void **state)
{
    (void)state;
    cli_expect(0, NULL, TRAIN " profiled --profile --set train.epochs=1 --set train.iterations_per_epoch=1");
    assert_non_null(strstr(cli_err, "adam_update"));
}

static void test_precisions(void **state)
{
    (void)state;
    cli_expect(0, NULL, TRAIN " half --set train.precision=half --set train.epochs=1 --set train.clip=1 --set train.ema=0.9");
    cli_expect(0, NULL, "grep -q '\"scale\":65536' half/log.jsonl");
    cli_expect(0, NULL, TRAIN " half --set train.precision=half --set train.clip=1 --set train.ema=0.9 --resume");
}

static void test_validation(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               TRAIN " validated --set data.validation=pictures --set train.validate_every=1 --set train.epochs=1 --set train.ema=0.5");
    assert_true(cli_has_file("validated/best/weights.safetensors"));
    cli_expect(0, NULL, "test $(wc -l < validated/validation.jsonl) = 1 && ls validated/pictures/step_0000006/*.png");
}

// alpha outside (0, 1): no gradient is finite, so no step changes the weights.
static void test_not_finite(void **state)
{
    (void)state;
    char path[128];
    const float two[3] = {2, 2, 2};
    tensor_file *file;
    (void)snprintf(path, sizeof path, "%s/tiny.safetensors", cli_folder);
    assert_int_equal(tensor_file_open(path, &file), IDM_OK);
    const size_t count = tensor_file_count(file);
    safetensors_tensor *all = calloc(count, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < count; i++) {
        const tensor_entry *e = tensor_file_at(file, i);
        float *values = malloc(e->count * sizeof *values);
        assert_non_null(values);
        assert_int_equal(tensor_file_read_f32(file, e, values), IDM_OK);
        if (strcmp(e->name, "alpha") == 0) memcpy(values, two, sizeof two);
        all[i] = (safetensors_tensor){.name = e->name, .dtype = FILE_F32, .rank = e->rank, .data = values};
        for (int d = 0; d < e->rank; d++) all[i].shape[d] = e->shape[d];
    }
    (void)snprintf(path, sizeof path, "%s/bad.safetensors", cli_folder);
    assert_int_equal(safetensors_write(path, all, count, NULL, 0), IDM_OK);
    for (size_t i = 0; i < count; i++) free((void *)all[i].data);
    free(all);
    tensor_file_close(file);
    cli_expect(0, NULL, TRAIN " bad --set train.epochs=1 --set train.init=weights:bad.safetensors");
    cli_expect(0, NULL, "tail -n 1 bad/log.jsonl | grep -q '\"skipped\":6'");
}

// What a run says it takes is what it takes, counted from outside the program (buffer_counter.c).
static void test_memory(void **state)
{
    static const char *const modes[] = {"none", "blocks", "invert", "none --set device.math=fast", "invert --set device.math=fast"};
    (void)state;
    if (!getenv("IDM_BUFFER_COUNTER")) fail_msg("IDM_BUFFER_COUNTER is not set");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char command[2048];
        double counted, planned;
        (void)snprintf(command, sizeof command,
                       "rm -rf counted && ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 IDM_BUFFER_COUNT=trace "
                       "LD_PRELOAD=\"$IDM_BUFFER_COUNTER\" " TRAIN
                       " counted --set train.epochs=1 --set memory.recompute=%s && tail -n 1 trace | cut -d ' ' -f 3 &&"
                       " tail -n 1 counted/log.jsonl | sed 's/.*peak_bytes\":\\([0-9]*\\).*/\\1/'",
                       modes[i]);
        cli_expect(0, NULL, command);
        assert_int_equal(sscanf(cli_out, "%*s %lf %lf", &counted, &planned), 2);
        assert_true(counted > 0 && counted == planned);
    }
}

static void test_plan(void **state)
{
    (void)state;
    cJSON *plan = cli_json("\"$IDM\" plan --json --set memory.recompute=invert --set memory.micro_batch=1 --set memory.budget=22GiB");
    assert_true(json_number(plan, "peak_bytes") < 2.8 * 1073741824);
    assert_true(json_number(plan, "parameters") == 115265799);
    cJSON_Delete(plan);
    plan = cli_json("\"$IDM\" plan --json --set memory.recompute=invert --set memory.micro_batch=1 --set train.precision=half");
    assert_true(json_number(plan, "peak_bytes") < 2.6 * 1073741824);
    cJSON_Delete(plan);
    plan = cli_json("\"$IDM\" plan --json --set memory.budget=22GiB --for rtx3090");
    assert_true(json_number(plan, "forward_equivalents") <= 3.4 && json_number(plan, "peak_bytes") <= 22 * 1073741824.0);
    cJSON_Delete(plan);
    cli_expect(0, NULL, "OCL_ICD_VENDORS=/nowhere \"$IDM\" plan");
    assert_null(strstr(cli_out, "prediction"));
    cli_expect(0, NULL, "OCL_ICD_VENDORS=/nowhere \"$IDM\" plan --for mi210");
    assert_non_null(strstr(cli_out, "prediction, not measured"));
    cli_expect(2, "rtx3090", "\"$IDM\" plan --for rtx3099");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_run),
        cmocka_unit_test(test_same_again),
        cmocka_unit_test(test_blocks_same),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_tuned),
        cmocka_unit_test(test_less_memory),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_stopped_in_validation),
        cmocka_unit_test(test_stopped_in_save),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_repeated_from_its_configuration),
        cmocka_unit_test(test_another_ratio),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_precisions),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, begin, cli_end);
}
