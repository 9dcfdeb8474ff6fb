// `idm tune` as a user types it, with kernels that are wrong, crash and hang among the candidates: IDM_CL_DIR holds a copy of the kernels
// in which some blocks of attention_cpu.cl do so.
#include "cli_fixture.h"

#include "core/clock.h"
#include <math.h>

#define TUNE "\"$IDM\" tune --device \"$IDM_TEST_DEVICE\" --weights tiny.safetensors --set device.variants=cpu "
#define NETWORK TUNE "--size 64 --set model.channels=64,128 --set model.weights= "
// A sanitizer would turn a crash into an exit status.
#define CRASHING "ASAN_OPTIONS=$ASAN_OPTIONS:handle_segv=0 IDM_CL_DIR=planted-cl IDM_CACHE_DIR=planted "
#define RUN "\"$IDM\" reconstruct grey.png --out out --set device.variants=cpu " TINY

// Lines of a file of the cache that hold `text`.
static int count_lines(const char *pattern, const char *text)
{
    char command[512];
    (void)snprintf(command, sizeof command, "cat %s 2>/dev/null | grep -c -e '%s' || true", pattern, text);
    assert_int_equal(cli_run(command), 0);
    return atoi(cli_out);
}

static void expect_said(const char *words)
{
    if (!strstr(cli_err, words)) fail_msg("no '%s' in: %s", words, cli_err);
}

static void expect_not_said(const char *words)
{
    if (strstr(cli_err, words)) fail_msg("'%s' in: %s", words, cli_err);
}

static void test_usage(void **state)
{
    (void)state;
    cli_expect(2, "--seconds|1", TUNE "--seconds 1");
    cli_expect(2, "--seconds|soon", TUNE "--seconds soon");
    cli_expect(2, "--size", TUNE "--size 3");
    cli_expect(2, "nothing to tune|generic", "\"$IDM\" tune " TINY " --set device.variants=generic --size 32");
    cli_expect(3, "none.txt|No such file", RUN " --set device.tuning=none.txt");
    cli_expect(0, NULL, "printf 'idm tuning 1\\nconv3x3 cpu: tile_rows=1000\\n' > bad.txt");
    cli_expect(3, "bad.txt:2|tile_rows = 1000|1 to 256", RUN " --set device.tuning=bad.txt");
}

// Planted: blocks of 64 keys are wrong, of 256 crash the program, of 96 never end.
static void test_planted(void **state)
{
    (void)state;
    cli_expect(
        0, NULL,
        "cp -r \"$DATA\"/../../cl planted-cl && sed -i 's|^    float keys.BLOCK..HEAD., values.BLOCK..HEAD.;|&\\n"
        "#if KEYS == 96\\n    for (volatile int i = 1; i;) {}\\n#elif KEYS == 256\\n    *(volatile __global float *)64UL = 1;\\n#endif|; "
        "s|lane. / weight;|lane] / weight * (KEYS == 64 ? 1.01f : 1.0f);|' planted-cl/attention_cpu.cl && "
        "grep -q 'KEYS == 96' planted-cl/attention_cpu.cl && grep -q 1.01f planted-cl/attention_cpu.cl");
    static const char *const said[] = {"keys=64 (wrong", "no answer within 8 s", "killed by signal"};
    static const char *const failed[] = {"^failed.*keys=64.*wrong", "^failed.*keys=96.*no answer", "^failed.*keys=256.*signal"};
    enum { PLANTED = 3, ATTEMPTS = 5, SECONDS = 20, OVERTIME = 8 };
    bool was_said[PLANTED] = {false};
    double least = INFINITY;
    int met = 0;
    for (int attempt = 0; attempt < ATTEMPTS && (met < PLANTED || least > SECONDS + OVERTIME); attempt++) { // a busy machine gets less far
        const double began = clock_seconds();
        cli_expect(0, NULL, CRASHING NETWORK "--seconds 20");
        least = fmin(least, clock_seconds() - began);
        met = 0;
        for (int i = 0; i < PLANTED; i++) was_said[i] |= strstr(cli_err, said[i]) != NULL;
        for (int i = 0; i < PLANTED; i++) met += count_lines("planted/tuning/*.journal", failed[i]);
    }
    assert_int_equal(met, PLANTED);
    for (int i = 0; i < PLANTED; i++)
        if (!was_said[i]) fail_msg("never said: %s", said[i]);
    if (least > SECONDS + OVERTIME) fail_msg("%.1f s", least);
    // another search leaves them out: it neither rejects nor is started again
    cli_expect(0, NULL, CRASHING NETWORK "--seconds 8");
    expect_said("3 candidates failed before");
    expect_not_said("rejected");
    expect_not_said("no answer");
    expect_not_said("killed by");
    assert_int_equal(count_lines("$(ls planted/tuning/* | grep -v journal)", "keys=\\(64\\|96\\|256\\)"), 0);
}

static void test_used(void **state)
{
    (void)state;
    cli_expect(0, NULL, "IDM_CACHE_DIR=used " RUN);
    expect_said("untuned on this device");
    cli_expect(0, NULL, "IDM_CACHE_DIR=used " RUN " -q");
    expect_not_said("untuned");
    cli_expect(0, NULL, "IDM_CACHE_DIR=used " RUN " --set device.tuning=none && mv out/grey.png untuned.png");
    expect_not_said("untuned");
    bool searched = false;
    for (int attempt = 0; attempt < 5 && !searched; attempt++) { // a busy machine gets less far, and then has the kernels
        const int status = cli_run("IDM_CACHE_DIR=used " TUNE "--seconds 12 --size 32 --json");
        if (status == 2 && strstr(cli_err, "too short")) continue;
        assert_int_equal(status, 0);
        cJSON *result = cJSON_Parse(cli_out);
        assert_non_null(result);
        searched = json_number(result, "classes") > 0 && json_number(result, "candidates") > 0;
        cJSON_Delete(result);
    }
    assert_true(searched);
    cli_expect(0, NULL, "IDM_CACHE_DIR=used " RUN " -v");
    expect_not_said("untuned");
    expect_said("tuning device");
    cli_expect(0, NULL, "IDM_CACHE_DIR=used \"$IDM\" devices --json | grep -q '\"tuned\":\\s*\"yes\"'");
    // a damaged one is said to be left out; for other kernels too
    cli_expect(0, NULL, "for f in used/tuning/*; do case $f in *.journal) ;; *) echo nonsense >> $f; cp $f copy.txt;; esac; done");
    cli_expect(0, NULL, "IDM_CACHE_DIR=used " RUN);
    expect_said("untuned on this device");
    expect_said("left out");
    cli_expect(3, "copy.txt", RUN " --set device.tuning=copy.txt");
}

// Rows are used, whoever wrote them: other tiles, the same picture; and checked, whoever wrote them.
static void test_given(void **state)
{
    (void)state;
    cli_expect(
        0, NULL,
        "printf 'idm tuning 1\\nconv3x3 cpu: tile_rows=3 tile_vectors=2 unroll=2\\nlinear cpu: tile_rows=2 tile_vectors=1\\n' > own.txt");
    cli_expect(0, NULL, "IDM_CACHE_DIR=given " RUN " --set device.tuning=none && mv out/grey.png untuned.png");
    cli_expect(0, NULL, "IDM_CACHE_DIR=given " RUN " --set device.tuning=own.txt --profile");
    expect_said("-DTILE_ROWS=3 -DTILE_VECS=2 -DUNROLL=2");
    expect_said("checking them"); // the canary's key holds the tuning
    cli_expect(0, NULL, "cmp out/grey.png untuned.png");
    cli_expect(0, NULL, "IDM_CACHE_DIR=given " RUN " --set device.tuning=own.txt");
    expect_not_said("checking them");
    cli_expect(0, NULL,
               "sed 's/tile_rows=3/tile_rows=4/' own.txt > other.txt && cp -r \"$DATA\"/../../cl wrong && "
               "sed -i 's|fma((float16)(a\\[r\\])|fma((TILE_ROWS == 4 ? 1.01f : 1.0f) * (float16)(a[r])|' wrong/tile.clh && "
               "! cmp -s wrong/tile.clh \"$DATA\"/../../cl/tile.clh");
    cli_expect(0, NULL, "IDM_CACHE_DIR=given IDM_CL_DIR=wrong " RUN " --set device.tuning=own.txt");
    cli_expect(4, "conv3x3 cpu: tile_rows=4|device.tuning=none",
               "IDM_CACHE_DIR=given IDM_CL_DIR=wrong " RUN " --set device.tuning=other.txt");
}

// Killed at some instant: no file, or a whole one; what was on trial is not tried again.
static void test_killed(void **state)
{
    (void)state;
    cli_expect(137, NULL, "export IDM_CACHE_DIR=killed; exec timeout -s KILL 3 " TUNE "--seconds 60 --size 32");
    cli_expect(0, NULL, "for i in $(seq 40); do pgrep -f '[t]une.*seconds 60 --size 32' || exit 0; sleep 0.25; done; exit 1");
    cli_expect(0, NULL, "for f in killed/tuning/*; do case $f in *.journal|*'*') ;; *) exit 1;; esac; done");
    cli_expect(0, NULL, "IDM_CACHE_DIR=killed " RUN);
    expect_said("untuned");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage), cmocka_unit_test(test_planted), cmocka_unit_test(test_used),
        cmocka_unit_test(test_given), cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
