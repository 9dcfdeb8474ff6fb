// The command line without pictures: usage, configuration, bad input, and the commands devices, convert, inspect, verify.
#include "cli_fixture.h"

#include <zip.h>

static void test_usage(void **state)
{
    (void)state;
    cli_expect(0, NULL, "\"$IDM\" --version");
    assert_string_equal(cli_out, "idm 0.1.0\n");
    assert_int_equal(cli_run("\"$IDM\""), 2);
    assert_non_null(strstr(cli_err, "usage: idm COMMAND"));
    cli_expect(0, NULL, "\"$IDM\" --help");
    assert_non_null(strstr(cli_out, "reconstruct"));
    static const char *const commands[] = {"devices", "selftest", "verify",  "measure", "reconstruct", "eval",
                                           "bench",   "convert",  "inspect", "report",  "help"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char line[64], usage[64];
        (void)snprintf(line, sizeof line, "\"$IDM\" help %s && \"$IDM\" %s -h", commands[i], commands[i]);
        (void)snprintf(usage, sizeof usage, "usage: idm %s", commands[i]);
        cli_expect(0, NULL, line);
        char *first = strstr(cli_out, usage);
        if (!first || !strstr(first + 1, usage)) fail_msg("%s: %s", line, cli_out);
    }
    cli_expect(0, NULL, "\"$IDM\" help config");
    assert_non_null(strstr(cli_out, "max_launch_ms"));
}

static void test_wrong_usage(void **state)
{
    (void)state;
    cli_expect(2, "'evla'|did you mean 'eval'", "\"$IDM\" evla data");
    cli_expect(2, "'trian'", "\"$IDM\" trian");
    cli_expect(2, "'measur'|did you mean 'measure'", "\"$IDM\" help measur");
    cli_expect(2, "'--jason'|did you mean '--json'", "\"$IDM\" devices --jason");
    cli_expect(2, "'--tiel=64'|did you mean '--tile'", "\"$IDM\" measure grey.png --out m --tiel=64");
    cli_expect(2, "'-x'", "\"$IDM\" devices -x");
    cli_expect(2, "before the command", "\"$IDM\" --json devices");
    cli_expect(2, "--set needs a value: section.key=value", "\"$IDM\" devices --set");
    cli_expect(2, "--json takes no value", "\"$IDM\" devices --json=yes");
    cli_expect(2, "unexpected argument 'extra'|usage: idm devices", "\"$IDM\" devices extra");
    cli_expect(2, "usage: idm convert IN OUT", "\"$IDM\" convert one");
    cli_expect(2, "needs --out", "\"$IDM\" measure grey.png");
    cli_expect(2, "needs --out", "\"$IDM\" reconstruct grey.png");
    cli_expect(2, "--tile|such as 512", "\"$IDM\" measure grey.png --out m --tile big");
    cli_expect(2, "tile = 40|multiple of the sampling block, 32", "\"$IDM\" measure grey.png --out m --tile 40");
    cli_expect(2, "needs --weights", "\"$IDM\" verify tiny.safetensors");
    cli_expect(2, "--tolerance -1", "\"$IDM\" verify tiny.safetensors --weights tiny.safetensors --tolerance=-1");
    cli_expect(2, ".safetensors|.pkl", "\"$IDM\" convert \"$DATA/idm_tiny.pkl\" weights.txt");
}

static void test_configuration(void **state)
{
    (void)state;
    cli_expect(2, "wrong.ini:2|\"heds\"|\"heads\"", "printf '[model]\\nheds = 4\\n' > wrong.ini; \"$IDM\" devices -c wrong.ini");
    cli_expect(2, "\"modle\"|\"model\"", "\"$IDM\" devices --set modle.heads=4");
    cli_expect(2, "variants|did you mean gpu", "\"$IDM\" devices --set device.variants=gnu");
    cli_expect(3, "nothere.ini", "\"$IDM\" devices -c nothere.ini");
    // a path of 300 characters and one with " ;" arrive whole
    cli_expect(3, NULL,
               "LONG=$(printf '%0300d' 7); printf '[model]\\nweights = %s.safetensors\\n' /none/$LONG > long.ini;"
               " \"$IDM\" reconstruct grey.png --out r -c long.ini");
    char *seven = strstr(cli_err, "0000007.safetensors");
    assert_non_null(seven);
    assert_true(seven - strstr(cli_err, "/none/") > 250);
    cli_expect(3, "/none/a ; b.safetensors",
               "printf '[model]\\nweights = \"/none/a ; b.safetensors\" ; a comment\\n' > odd.ini;"
               " \"$IDM\" reconstruct grey.png --out r -c odd.ini");
    // paths are relative to the file, --set wins over it, options may stand anywhere
    cli_expect(3, "sub/w.pkl",
               "mkdir -p sub; printf '[model]\\nweights = w.pkl\\n' > sub/c.ini; \"$IDM\" reconstruct -c sub/c.ini grey.png -o r");
    cli_expect(3, "mine.pkl", "\"$IDM\" reconstruct --set model.weights=mine.pkl grey.png -c sub/c.ini -o r");
    cli_expect(3, "mine.pkl", "\"$IDM\" reconstruct --weights=mine.pkl -csub/c.ini -or -- grey.png");
}

static void test_no_device(void **state)
{
    (void)state;
    cJSON *object = cli_json("OCL_ICD_VENDORS=/nonexistent \"$IDM\" devices --json");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "devices")), 0);
    cJSON_Delete(object);
    cli_expect(0, NULL, "OCL_ICD_VENDORS=/nonexistent \"$IDM\" devices");
    assert_non_null(strstr(cli_out, "no OpenCL device"));
    cli_expect(1, "no OpenCL device|pocl-opencl-icd",
               "OCL_ICD_VENDORS=/nonexistent \"$IDM\" reconstruct grey.png --out r --weights tiny.safetensors -q");
    cli_expect(1, "no OpenCL device", "OCL_ICD_VENDORS=/nonexistent \"$IDM\" selftest");
}

static void test_devices(void **state)
{
    (void)state;
    cJSON *object = cli_json("\"$IDM\" devices --json");
    const cJSON *devices = cJSON_GetObjectItem(object, "devices"), *device = cJSON_GetArrayItem(devices, 0);
    assert_true(cJSON_GetArraySize(devices) > 0);
    static const char *const texts[] = {"index", "name", "vendor", "driver", "type", "matrix"};
    static const char *const numbers[] = {"global_memory", "max_allocation", "local_memory"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) assert_true(cJSON_IsString(cJSON_GetObjectItem(device, texts[i])));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) assert_true(json_number(device, numbers[i]) > 1024);
    assert_true(cJSON_IsBool(cJSON_GetObjectItem(device, "fp16")) && cJSON_IsBool(cJSON_GetObjectItem(device, "subgroups")));
    cJSON_Delete(object);
    cli_expect(1, "no device matches 'teapot'|there are: ", "\"$IDM\" reconstruct grey.png --out r --device teapot -q");
    cli_expect(1, "standard output", "\"$IDM\" devices > /dev/full");
}

// data.pkl that calls os.system when it is unpickled by Python.
static void write_hostile_archive(void)
{
    static const char pickle[] = "\x80\x02"
                                 "cos\nsystem\n"
                                 "X\x0a\x00\x00\x00touch evil\x85R.";
    char path[128];
    int error;
    (void)snprintf(path, sizeof path, "%s/hostile.pkl", cli_folder);
    zip_t *archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    assert_non_null(archive);
    zip_source_t *source = zip_source_buffer(archive, pickle, sizeof pickle - 1, 0);
    assert_true(zip_file_add(archive, "archive/data.pkl", source, ZIP_FL_OVERWRITE) >= 0);
    assert_int_equal(zip_close(archive), 0);
}

static void test_bad_files(void **state)
{
    (void)state;
    cli_expect(3, "nothere.png", "\"$IDM\" reconstruct nothere.png --out r " TINY " -q");
    cli_expect(3, "nothere", "\"$IDM\" eval nothere");
    cli_expect(3, "nothere.safetensors", "\"$IDM\" inspect nothere.safetensors");
    cli_expect(3, "nothere.pkl", "\"$IDM\" reconstruct grey.png --out r --weights nothere.pkl -q");
    cli_expect(3, "empty|no picture", "mkdir -p empty; \"$IDM\" eval empty");
    static const char *const lengths[] = {"0", "7", "1000", "4000000"};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char line[160];
        (void)snprintf(line, sizeof line, "head -c %s tiny.safetensors > cut.safetensors; \"$IDM\" inspect cut.safetensors", lengths[i]);
        cli_expect(3, "cut.safetensors", line);
    }
    cli_expect(3, "cut.safetensors", "\"$IDM\" reconstruct grey.png --out r --weights cut.safetensors -q");
    write_hostile_archive();
    cli_expect(3, "hostile.pkl|os|system", "\"$IDM\" inspect hostile.pkl");
    cli_expect(3, "hostile.pkl|system", "\"$IDM\" convert hostile.pkl evil.safetensors");
    assert_false(cli_has_file("evil") || cli_has_file("evil.safetensors"));
    cli_expect(3, "64|32", "\"$IDM\" reconstruct grey.png --out r " TINY " --set model.channels=64,64 -q");
    cli_expect(3, "heads", "\"$IDM\" reconstruct grey.png --out r " TINY " --set model.heads=8 -q");
    cli_expect(3, "tiny.safetensors", "\"$IDM\" reconstruct tiny.safetensors --out r " TINY " -q");
    cli_expect(3, "text.png", "echo no picture > text.png; \"$IDM\" reconstruct text.png --out r " TINY " -q");
}

static void test_convert(void **state)
{
    (void)state;
    static const char sizes[] = " --set model.heads=4 --set model.groups=8 --set sensing.block_size=16";
    char line[256];
    (void)snprintf(line, sizeof line,
                   "\"$IDM\" convert tiny.safetensors back.pkl && \"$IDM\" convert back.pkl again.safetensors%s && cmp tiny.safetensors "
                   "again.safetensors",
                   sizes);
    cli_expect(0, NULL, line);
    cJSON *object = cli_json("\"$IDM\" inspect back.pkl --json");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "tensors")), 1079);
    cJSON_Delete(object);
    object = cli_json("\"$IDM\" inspect tiny.safetensors --json");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "tensors")), 585);
    const cJSON *metadata = cJSON_GetObjectItem(object, "metadata");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(metadata, "channels")), "32,64");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(metadata, "heads")), "4");
    cJSON_Delete(object);
    cli_expect(0, NULL, "\"$IDM\" inspect tiny.safetensors");
    assert_non_null(strstr(cli_out, "unet.conv_in.weight"));
}

static void test_unwritable(void **state)
{
    (void)state;
    cli_expect(1, "grey.png", "\"$IDM\" measure grey.png --out grey.png");
    cli_expect(1, "grey.png: cannot make the folder", "\"$IDM\" reconstruct colour.png --out grey.png/sub " TINY " -q");
    cli_expect(1, "/proc/none", "\"$IDM\" eval . --out /proc/none " TINY " -q");
    cli_expect(1, "full.safetensors|No space left",
               "ln -sf /dev/full full.safetensors; \"$IDM\" convert tiny.safetensors full.safetensors -q");
    cli_expect(1, "grey.safetensors|File too large", "mkdir -p limited; ulimit -f 4; \"$IDM\" measure grey.png --out limited -q");
    cli_expect(0, NULL, "ls -A limited | wc -l");
    assert_int_equal(atoi(cli_out), 0); // nothing half written stays
}

#define GOLDEN "../../shared/golden/tiny.safetensors"

static void test_verify(void **state)
{
    (void)state;
    char *golden = realpath(GOLDEN, NULL);
    if (!golden) {
        print_message("skipped: no " GOLDEN " here\n");
        skip();
    }
    assert_int_equal(setenv("GOLDEN", golden, 1), 0);
    free(golden);
    cJSON *object = cli_json("\"$IDM\" verify \"$GOLDEN\" " TINY " --json --dump dump.safetensors --tolerance 2e-6");
    assert_true(json_number(object, "output_error") < 2e-6 && json_number(object, "loss_error") < 2e-6);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(object, "pass")));
    const cJSON *gradients = cJSON_GetObjectItem(object, "gradient_error");
    assert_true(json_number(gradients, "whole") < 5e-6 && json_number(gradients, "median") < 2e-6 &&
                json_number(gradients, "worst") < 3e-4);
    cJSON_Delete(object);
    object = cli_json("\"$IDM\" inspect dump.safetensors --json");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "tensors")), 2 + 585);
    cJSON_Delete(object);
    cli_expect(4, "error of a gradient", "\"$IDM\" verify \"$GOLDEN\" " TINY " --gradient-tolerance 1e-12 -q");
    cli_expect(4, "output error|above the tolerance", "\"$IDM\" verify \"$GOLDEN\" " TINY " --tolerance 1e-12 -q");
    cli_expect(3, "neither out nor loss",
               "\"$IDM\" measure grey.png --out g " TINY " -q && \"$IDM\" verify g/grey.safetensors " TINY " -q");
}

static void test_selftest(void **state)
{
    (void)state;
    cJSON *object = cli_json("\"$IDM\" selftest " TINY " --json");
    const cJSON *checks = cJSON_GetObjectItem(object, "checks"), *row;
    assert_true(cJSON_GetArraySize(checks) > 30);
    cJSON_ArrayForEach(row, checks) assert_true(json_number(row, "error") <= json_number(object, "tolerance"));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(object, "pass")));
    cJSON_Delete(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),     cmocka_unit_test(test_wrong_usage), cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_no_device), cmocka_unit_test(test_devices),     cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_convert),   cmocka_unit_test(test_unwritable),  cmocka_unit_test(test_verify),
        cmocka_unit_test(test_selftest),
    };
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
