// `idm tune` as a user types it, with kernels that are wrong, crash and hang among the candidates: IDM_CL_DIR holds a copy of the kernels
// in which a tile of conv_cpu.cl does so.
#include "cli_fixture.h"

#include <signal.h>
#include <time.h>

#define TUNE "\"$IDM\" tune --device \"$IDM_TEST_DEVICE\" --weights tiny.safetensors --set device.variants=cpu "
#define RUN "\"$IDM\" reconstruct grey.png --out out --set device.variants=cpu " TINY

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

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
    cli_expect(3, "none.txt|no such file|No such file", RUN " --set device.tuning=none.txt");
    cli_expect(0, NULL, "printf 'idm tuning 1\\nconv3x3 cpu: tile_rows=1000\\n' > bad.txt");
    cli_expect(3, "bad.txt:2|tile_rows = 1000|1 to 256", RUN " --set device.tuning=bad.txt");
}

// Planted: rows 6 x 4 are wrong, 8 x 3 never end, 7 x 3 crash the program.
static void test_planted(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               "mkdir cl && cp \"$DATA\"/../../cl/*.cl* cl && { cat ../\"$(basename \"$PWD\")\"/cl/conv_cpu.cl > /dev/null; "
               "sed -e 's|^    EPILOGUE_START;|&\\n"
               "#if TAPS == 9 \\&\\& TILE_ROWS == 8 \\&\\& TILE_VECS == 3\\n    for (volatile int i = 1; i;) {}\\n#endif\\n"
               "#if TAPS == 9 \\&\\& TILE_ROWS == 7 \\&\\& TILE_VECS == 3\\n    *(volatile __global float *)(64UL) = 1;\\n#endif|' "
               "-e 's|^                acc\\[r\\]\\[v\\] = fma|&|' "
               "-e 's|acc\\[r\\]\\[v\\] = tap0 ? sums|&|' -i cl/conv_cpu.cl; }");
    cli_expect(0, NULL,
               "sed -i 's|^#include \"window.clh\"|&\\n#if TAPS == 9 \\&\\& TILE_ROWS == 6 \\&\\& TILE_VECS == 4\\n#define PLANTED 1.01f\\n"
               "#else\\n#define PLANTED 1.0f\\n#endif|; s|acc\\[r\\]\\[v\\] = fma((float16)(a\\[r\\]\\[k\\])|acc[r][v] = fma(PLANTED * "
               "(float16)(a[r][k])|' cl/conv_cpu.cl && grep -q PLANTED cl/conv_cpu.cl");
    const double began = now();
    cli_expect(0, NULL,
               "IDM_CL_DIR=cl IDM_CACHE_DIR=planted " TUNE "--seconds 14 --size 64 --set model.channels=64,128 --set model.weights=");
    const double took = now() - began;
    if (took > 14 + 8) fail_msg("%.1f s", took);
    expect_said("tile_rows=6 tile_vectors=4 (wrong");
    expect_said("no answer within 4 s");
    expect_said("killed by signal");
    assert_int_equal(count_lines("planted/tuning/*.journal", "^failed.*tile_rows=6 tile_vectors=4.*wrong"), 1);
    assert_int_equal(count_lines("planted/tuning/*.journal", "^failed.*tile_rows=8 tile_vectors=3.*no answer"), 1);
    assert_int_equal(count_lines("planted/tuning/*.journal", "^failed.*tile_rows=7 tile_vectors=3.*signal"), 1);
    // a second search leaves them out: it neither rejects nor is started again
    cli_expect(0, NULL,
               "IDM_CL_DIR=cl IDM_CACHE_DIR=planted " TUNE "--seconds 6 --size 64 --set model.channels=64,128 --set model.weights=");
    expect_said("3 candidates failed before");
    expect_not_said("rejected");
    expect_not_said("started again");
    assert_int_equal(count_lines("planted/tuning/*", "^conv.*tile_rows=[678] tile_vectors=[34]"), 0);
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
    cJSON *result = cli_json("IDM_CACHE_DIR=used " TUNE "--seconds 8 --size 32 --json");
    assert_true(json_number(result, "classes") > 0);
    assert_true(json_number(result, "candidates") > 0);
    cJSON_Delete(result);
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
    cli_expect(0, NULL, RUN " --set device.tuning=none && mv out/grey.png untuned.png");
    cli_expect(0, NULL, RUN " --set device.tuning=own.txt --profile");
    expect_said("-DTILE_ROWS=3 -DTILE_VECS=2 -DUNROLL=2");
    expect_said("checking them"); // the canary's key holds the tuning
    cli_expect(0, NULL, "cmp out/grey.png untuned.png");
    cli_expect(0, NULL, RUN " --set device.tuning=own.txt");
    expect_not_said("checking them");
    cli_expect(0, NULL,
               "sed 's/tile_rows=3/tile_rows=4/' own.txt > other.txt && cp -r \"$DATA\"/../../cl wrong && "
               "sed -i 's|fma((float16)(a\\[r\\]\\[k\\])|fma((TILE_ROWS == 4 ? 1.01f : 1.0f) * (float16)(a[r][k])|' wrong/conv_cpu.cl");
    cli_expect(0, NULL, "IDM_CL_DIR=wrong " RUN " --set device.tuning=own.txt");
    cli_expect(4, "conv3x3 cpu: tile_rows=4|device.tuning=none", "IDM_CL_DIR=wrong " RUN " --set device.tuning=other.txt");
}

// Killed at some instant: no file, or a whole one; what was on trial is not tried again.
static void test_killed(void **state)
{
    (void)state;
    cli_expect(137, NULL, "export IDM_CACHE_DIR=killed; exec timeout -s KILL 3 " TUNE "--seconds 60 --size 32");
    cli_expect(0, NULL, "sleep 0.3; ! pgrep -f 'tune.*seconds 60 --size 32' || { sleep 1; ! pgrep -f 'tune.*seconds 60 --size 32'; }");
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
