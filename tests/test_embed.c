// A program outside the project that embeds libidm: installs into a temporary prefix, builds examples/embed.c by pkg-config, runs it.
#include "cli_fixture.h"

static void test_example(void **state)
{
    (void)state;
    char *example = realpath("../examples/embed.c", NULL);
    assert_non_null(example);
    assert_int_equal(setenv("EXAMPLE", example, 1), 0);
    free(example);
    cli_expect(0, NULL, "cmake --install \"$(dirname \"$IDM\")\" --prefix \"$PWD/prefix\"");
    cli_expect(0, NULL,
               "PC=$(dirname \"$(find prefix -name idm.pc)\") && cc -std=c11 -Wall -Wextra -Werror \"$EXAMPLE\" -o embed "
               "$(PKG_CONFIG_PATH=\"$PC\" pkg-config --define-variable=prefix=\"$PWD/prefix\" --cflags --libs idm)");
    cli_expect(
        0, NULL,
        "LD_LIBRARY_PATH=$(dirname \"$(find prefix -name libidm.so)\") ./embed colour.png embedded.png model.weights=tiny.safetensors "
        "device.device=\"$IDM_TEST_DEVICE\"");
    assert_non_null(strstr(cli_out, "PSNR"));
    cli_expect(0, NULL, "\"$IDM\" reconstruct colour.png --out cli " TINY " && cmp embedded.png cli/colour.png");
    cli_expect(0, NULL, "prefix/bin/idm --version && test -f prefix/share/idm/configs/published.ini");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_example)};
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
