// The whole network against PyTorch in double precision, in every table of variants.
#include "golden_fixture.h"

// What runs is what the setting asks for.
static void check_gemm(const golden *g, const golden_setting *s)
{
    idm_session *session = golden_session(g, s);
    char text[256];
    session_describe(session, text, sizeof text);
    assert_int_equal(strstr(text, "gemm clblast") != NULL, s->gemm == IDM_GEMM_CLBLAST);
    idm_session_close(session);
}

static void check_tables(const char *name, double tolerance)
{
    static const struct {
        const char *name;
        golden_setting setting;
    } tables[] = {
        {"cpu", {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT}},
        {"gpu", {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT}},
        {"generic", {.variants = IDM_VARIANTS_GENERIC, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT}},
        {"gpu, clblast", {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST, .math = IDM_MATH_EXACT}},
        {"cpu, clblast", {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_CLBLAST, .math = IDM_MATH_EXACT}},
        {"cpu, fast", {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_FAST}},
        {"gpu, fast", {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_FAST}},
    };
    golden g;
    golden_open(&g, name);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        char what[64];
        (void)snprintf(what, sizeof what, "%s, %s", name, tables[i].name);
        check_gemm(&g, &tables[i].setting);
        golden_check(&g, &tables[i].setting, tables[i].setting.math == IDM_MATH_FAST ? 1e-5 : tolerance, what);
    }
    golden_close(&g);
}

static void test_small(void **state)
{
    (void)state;
    check_tables("small", 2e-6);
}

static void test_tiny(void **state)
{
    (void)state;
    check_tables("tiny", 2e-6);
}

static void test_wide(void **state)
{
    (void)state;
    check_tables("wide", 2e-6);
}

static void test_padded(void **state)
{
    (void)state;
    check_tables("padded", 2e-6);
}

static void test_sharp(void **state)
{
    (void)state;
    check_tables("sharp", 4e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),  cmocka_unit_test(test_tiny),  cmocka_unit_test(test_wide),
        cmocka_unit_test(test_padded), cmocka_unit_test(test_sharp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
