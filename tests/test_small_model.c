// The small networks that ship with idm, as a user calls them.
#include "cli_fixture.h"

// PSNR of a photograph of examples/, its panel too.
static double reconstruct(const char *picture, const char *config)
{
    char command[512], panel[128];
    (void)snprintf(command, sizeof command,
                   "\"$IDM\" reconstruct \"$DATA\"/../../examples/%s.png --out %s --panel -c \"$DATA\"/../../configs/%s.ini"
                   " --device \"$IDM_TEST_DEVICE\" --json",
                   picture, config, config);
    cJSON *object = cli_json(command);
    const double psnr = json_number(cJSON_GetArrayItem(cJSON_GetObjectItem(object, "images"), 0), "psnr");
    cJSON_Delete(object);
    (void)snprintf(panel, sizeof panel, "%s/%s_panel.png", config, picture);
    assert_true(cli_has_file(panel));
    return psnr;
}

static void test_photographs(void **state)
{
    (void)state;
    static const struct {
        const char *picture, *config;
        double least;
    } expected[] = {{"chelsea", "small", 27.5}, {"coffee", "small", 27.5}, {"chelsea", "small-25", 31}, {"chelsea", "small-50", 36}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const double psnr = reconstruct(expected[i].picture, expected[i].config);
        if (!(psnr >= expected[i].least))
            fail_msg("%s, %s: %.3f dB, less than %.1f", expected[i].config, expected[i].picture, psnr, expected[i].least);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_photographs)};
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
