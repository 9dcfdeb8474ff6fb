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

static void count_transforms(void *user, const char *name, long launched, double seconds, cost total, double longest)
{
    (void)seconds, (void)total, (void)longest;
    if (strcmp(name, "weight_to_winograd") == 0) *(long *)user += launched;
}

static long transforms(idm_session *session)
{
    long count = 0;
    context_profile_visit(session_context(session), count_transforms, &count);
    return count;
}

// Weights kept in the layouts of a small picture give way to a larger one's, which are then read as they are.
static void test_layouts_follow_pictures(void **state)
{
    const golden_setting setting = {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_FAST};
    golden g;
    idm_operator small;
    (void)state;
    golden_open(&g, "tiny");
    idm_session *session = golden_session(&g, &setting);
    const int side = idm_session_block_size(session);
    assert_int_equal(idm_session_operator(session, side, side, "small", &small), IDM_OK);
    float *y = calloc((size_t)small.measurements, sizeof *y), *out = calloc((size_t)side * (size_t)side, sizeof *out);
    assert_true(y && out);
    assert_int_equal(idm_session_reconstruct(session, &small, y, 1, out, NULL, NULL), IDM_OK);
    assert_int_equal(transforms(session), 0);
    free(golden_reconstruct(&g, session));
    const long kept = transforms(session);
    assert_true(kept > 0);
    free(golden_reconstruct(&g, session));
    assert_int_equal(transforms(session), kept);
    idm_operator_free(&small);
    free(y);
    free(out);
    idm_session_close(session);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),  cmocka_unit_test(test_tiny),  cmocka_unit_test(test_wide),
        cmocka_unit_test(test_padded), cmocka_unit_test(test_sharp), cmocka_unit_test(test_layouts_follow_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
