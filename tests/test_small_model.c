// The small network that ships with idm, as a user calls it.
#include "cli_fixture.h"

static void test_photographs(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double psnr;
    } pictures[] = {{"chelsea.png", 27.5}, {"coffee.png", 27.5}};
    cJSON *object =
        cli_json("\"$IDM\" reconstruct \"$DATA\"/../../examples/chelsea.png \"$DATA\"/../../examples/coffee.png --out small --panel"
                 " -c \"$DATA\"/../../configs/small.ini --device \"$IDM_TEST_DEVICE\" --json");
    for (int i = 0; i < 2; i++) {
        const double psnr = json_number(cJSON_GetArrayItem(cJSON_GetObjectItem(object, "images"), i), "psnr");
        if (psnr < pictures[i].psnr) fail_msg("%s: %.3f dB, less than %.1f", pictures[i].name, psnr, pictures[i].psnr);
    }
    cJSON_Delete(object);
    assert_true(cli_has_file("small/chelsea_panel.png") && cli_has_file("small/coffee_panel.png"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_photographs)};
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
