// `idm bench` as a user types it.
#include "cli_fixture.h"

#include <math.h>

#define SMALL "-c \"$DATA/../../configs/smoke.ini\" --size 32 -q --device \"$IDM_TEST_DEVICE\""

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!item) fail_msg("no member '%s'", name);
    return item;
}

static void check_row(const cJSON *row)
{
    assert_true(json_number(row, "seconds") > 0);
    assert_true(json_number(row, "gflops") > 0);
    assert_true(json_number(row, "least") <= json_number(row, "seconds") && json_number(row, "seconds") <= json_number(row, "most"));
    assert_true(json_number(row, "samples") >= 1);
}

static void test_everything(void **state)
{
    (void)state;
    cJSON *report = cli_json("\"$IDM\" bench " SMALL " --seconds 4 --json --out whole.json");
    assert_true(json_number(report, "workload_version") >= 1);
    assert_string_equal(member(report, "idm")->valuestring, idm_version());
    assert_true(strlen(member(member(report, "device"), "name")->valuestring) > 0);
    static const char *const ceilings[] = {"flops", "bandwidth", "half_bandwidth", "launch_seconds", "queued_launch_seconds"};
    for (size_t i = 0; i < sizeof ceilings / sizeof *ceilings; i++) assert_true(json_number(member(report, "ceilings"), ceilings[i]) > 0);
    const cJSON *row;
    assert_true(cJSON_GetArraySize(member(report, "ops")) > 60);
    cJSON_ArrayForEach(row, member(report, "ops"))
    {
        check_row(row);
        assert_true(strlen(member(row, "name")->valuestring) > 0 && strlen(member(row, "shape")->valuestring) > 0);
        assert_true(json_number(row, "percent_of_peak") > 0);
    }
    assert_int_equal(cJSON_GetArraySize(member(report, "network")), 2);
    cJSON_ArrayForEach(row, member(report, "network"))
    {
        check_row(row);
        assert_true(json_number(row, "height") == 32 && json_number(row, "width") == 32);
        const double images = json_number(row, "batch") / json_number(row, "seconds");
        assert_true(fabs(json_number(row, "images_per_second") / images - 1) < 1e-6);
        assert_true(json_number(row, "model_flops_utilisation") > 0 && json_number(row, "model_flops_utilisation") < 1);
    }
    const cJSON *forward = cJSON_GetArrayItem(member(report, "network"), 0), *train = cJSON_GetArrayItem(member(report, "network"), 1);
    assert_string_equal(member(forward, "mode")->valuestring, "forward");
    assert_string_equal(member(train, "mode")->valuestring, "train");
    assert_true(fabs(json_number(train, "model_flops") / json_number(forward, "model_flops") - 3 * json_number(train, "batch")) < 1e-3);
    // what --out keeps is what was printed
    cli_expect(0, NULL, "cat whole.json");
    cJSON *kept = cJSON_Parse(cli_out);
    assert_true(cJSON_Compare(report, kept, true));
    cJSON_Delete(kept);
    cJSON_Delete(report);
}

static void test_compare(void **state)
{
    (void)state;
    // twice as slow before
    cJSON *report = cli_json("cat whole.json"), *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(report, "ops"))
    {
        cJSON *seconds = cJSON_GetObjectItem(row, "seconds");
        cJSON_SetNumberValue(seconds, 2 * seconds->valuedouble);
    }
    char *text = cJSON_Print(report), path[128];
    (void)snprintf(path, sizeof path, "%s/slow.json", cli_folder);
    assert_int_equal(files_write_whole(path, text, strlen(text)), IDM_OK);
    cJSON_free(text);
    const int rows = cJSON_GetArraySize(member(report, "ops"));
    cJSON_Delete(report);
    cJSON *both = cli_json("\"$IDM\" bench --compare slow.json whole.json --json");
    assert_int_equal(cJSON_GetArraySize(member(both, "compare")), rows + 2);
    int i = 0;
    const cJSON *pair;
    cJSON_ArrayForEach(pair, member(both, "compare"))
    {
        const double ratio = i++ < rows ? 2 : 1;
        assert_true(fabs(json_number(pair, "ratio") - ratio) < 1e-6);
        assert_true(fabs(json_number(pair, "old_seconds") / json_number(pair, "seconds") - ratio) < 1e-6);
    }
    cJSON_Delete(both);
    cli_expect(0, NULL, "\"$IDM\" bench --compare slow.json whole.json");
    assert_non_null(strstr(cli_out, "conv3x3, 16x16, 32 -> 32"));
    assert_non_null(strstr(cli_out, "old/new"));
    // with a measurement; another size has only some rows
    cli_expect(0, NULL, "\"$IDM\" bench " SMALL " --size 48 --seconds 1 --only ops --compare whole.json");
    assert_non_null(strstr(cli_out, "adam, 16777216 values"));
    assert_non_null(strstr(cli_err, "settings differ"));
    assert_null(strstr(cli_out, "conv3x3, 16x16"));
    // other versions
    cli_expect(0, NULL,
               "sed 's/\"idm\":.*/\"idm\": \"0.0.9\",/' whole.json > older.json && \"$IDM\" bench --compare older.json whole.json");
    assert_non_null(strstr(cli_err, "idm 0.0.9 before"));
    cli_expect(0, NULL, "sed 's/\"workload_version\":.*/\"workload_version\": 99,/' whole.json > other.json");
    cli_expect(3, "other.json|workload_version 99|workload_version 1", "\"$IDM\" bench --compare other.json whole.json");
    cli_expect(3, "other.json|workload_version 99", "\"$IDM\" bench --compare whole.json other.json");
    cli_expect(3, "other.json", "\"$IDM\" bench " SMALL " --compare other.json"); // before it measures anything
    assert_string_equal(cli_out, "");
}

static void test_bad_files(void **state)
{
    (void)state;
    cli_expect(3, "nothere.json", "\"$IDM\" bench --compare nothere.json");
    cli_expect(3, "empty.json|idm bench --out", ": > empty.json; \"$IDM\" bench --compare empty.json");
    cli_expect(3, "list.json", "echo '[1]' > list.json; \"$IDM\" bench --compare list.json");
    cli_expect(3, "cut.json", "head -c 300 whole.json > cut.json; \"$IDM\" bench --compare cut.json");
    cli_expect(3, "odd.json|idm bench --out", "echo '{\"workload_version\": \"one\"}' > odd.json; \"$IDM\" bench --compare odd.json");
    cli_expect(3, "none.json|no row in common",
               "echo '{\"workload_version\": 1, \"ops\": [1, {\"name\": 3}, null], \"network\": 7}' > none.json;"
               " \"$IDM\" bench --compare none.json whole.json");
    cli_expect(1, "none/x.json", "\"$IDM\" bench --for rtx3090 --only ceilings --out none/x.json");
}

static void test_planned(void **state)
{
    (void)state;
    cJSON *report = cli_json("OCL_ICD_VENDORS=/nonexistent \"$IDM\" bench --for rtx3090 --json --out card.json");
    assert_true(cJSON_IsFalse(member(report, "measured")));
    assert_true(json_number(member(report, "ceilings"), "bandwidth") == 936e9);
    const cJSON *row;
    cJSON_ArrayForEach(row, member(report, "ops"))
    {
        const double least = fmax(json_number(row, "flops") / 35.6e12, json_number(row, "bytes") / 936e9),
                     seconds = json_number(row, "seconds");
        assert_true(seconds > least && fabs(json_number(row, "percent_of_peak") * seconds / (100 * least) - 1) < 1e-6);
        assert_true(json_number(row, "least") <= seconds && seconds <= json_number(row, "most"));
        assert_true(cJSON_IsTrue(member(row, "predicted")));
    }
    assert_int_equal(cJSON_GetArraySize(member(report, "network")), 2);
    cJSON_ArrayForEach(row, member(report, "network"))
    {
        assert_true(json_number(row, "model_flops_utilisation") <= 1);
        assert_true(json_number(row, "seconds") > 0.1);
        assert_true(cJSON_IsTrue(member(row, "predicted")) && json_number(row, "least") < json_number(row, "most"));
    }
    cJSON_Delete(report);
    cli_expect(0, NULL, "\"$IDM\" bench --for a100-40 --only ops --compare card.json");
    assert_non_null(strstr(cli_out, "predictions, not measured"));
    assert_non_null(strstr(cli_out, "conv3x3, 128x128, 320 -> 320"));
    assert_non_null(strstr(cli_out, "attention, 16384 tokens, 8 heads of 40"));
}

// With 16-bit storage products are predicted on the card's matrix unit; what is float32 even then, as in card.json.
static void test_planned_half(void **state)
{
    (void)state;
    cJSON *plain = cli_json("cat card.json"), *half = cli_json("\"$IDM\" bench --for rtx3090 --only ops --set train.precision=half --json");
    const cJSON *row, *before = member(plain, "ops")->child;
    cJSON_ArrayForEach(row, member(half, "ops"))
    {
        const char *name = member(row, "name")->valuestring;
        const bool product = strncmp(name, "linear", 6) == 0 || strncmp(name, "conv3x3", 7) == 0 || strncmp(name, "attention", 9) == 0;
        assert_string_equal(name, member(before, "name")->valuestring);
        assert_int_equal(strcmp(member(row, "variant")->valuestring, "matrix") == 0, product);
        if (strncmp(name, "attention", 9) == 0) assert_true(json_number(row, "seconds") < json_number(before, "seconds"));
        if (strncmp(name, "coupling", 8) == 0) assert_true(json_number(row, "seconds") == json_number(before, "seconds"));
        before = before->next;
    }
    assert_null(before);
    cJSON_Delete(plain);
    cJSON_Delete(half);
}

static void test_wrong_usage(void **state)
{
    (void)state;
    cli_expect(2, "did you mean 'rtx3090'", "\"$IDM\" bench --for rtx3091");
    cli_expect(2, "--only opps|ceilings, ops, network", "\"$IDM\" bench --only opps");
    cli_expect(2, "--size 33|16", "\"$IDM\" bench -c \"$DATA/../../configs/smoke.ini\" --size 33 --for rtx3090");
    cli_expect(2, "--size big", "\"$IDM\" bench --size big --for rtx3090");
    cli_expect(2, "--batch 0", "\"$IDM\" bench --batch 0 --for rtx3090");
    cli_expect(2, "--seconds 0", "\"$IDM\" bench --seconds 0 --for rtx3090");
    cli_expect(2, "--seconds nan", "\"$IDM\" bench --seconds nan --for rtx3090");
    cli_expect(2, "a.json|--compare", "\"$IDM\" bench a.json");
    cli_expect(2, "--size has no meaning", "\"$IDM\" bench a.json --compare b.json --size 32");
    cli_expect(2, "unexpected argument", "\"$IDM\" bench a.json b.json --compare c.json");
    cli_expect(1, "no OpenCL device", "OCL_ICD_VENDORS=/nonexistent \"$IDM\" bench");
    cli_expect(0, NULL, "\"$IDM\" help bench");
    assert_non_null(strstr(cli_out, "--compare FILE.json"));
}

// A device too small for some rows gives the others.
static void test_small_device(void **state)
{
    (void)state;
    cJSON *report = cli_json("IDM_LIMITS=max_alloc=32MiB \"$IDM\" bench " SMALL " --seconds 2 --only ops --json");
    const cJSON *row;
    int failed = 0;
    cJSON_ArrayForEach(row, member(report, "ops"))
    {
        const cJSON *failure = cJSON_GetObjectItem(row, "failure");
        failed += failure != NULL;
        if (!failure) check_row(row);
        else assert_true(strcmp(member(row, "name")->valuestring, "adam") == 0 && strstr(failure->valuestring, "64.0 MiB"));
    }
    assert_int_equal(failed, 1);
    cJSON_Delete(report);
    cli_expect(1, "memory", "\"$IDM\" bench " SMALL " --seconds 1 --only network --set memory.budget=3MiB");
}

// No figure of a device that computes wrongly.
static void test_canary(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               "cp -r \"$DATA/../../cl\" kernels && sed -i 's|return x /|return 1.01f * x /|' kernels/math.clh && ! cmp -s kernels/math.clh"
               " \"$DATA/../../cl/math.clh\"");
    assert_int_equal(cli_run("IDM_CL_DIR=kernels \"$IDM\" bench " SMALL " --seconds 1"), 4);
    assert_string_equal(cli_out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),   cmocka_unit_test(test_compare),      cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_planned),      cmocka_unit_test(test_planned_half), cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_small_device), cmocka_unit_test(test_canary),
    };
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
