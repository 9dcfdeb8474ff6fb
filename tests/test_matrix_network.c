// The whole network with activations in 16 bits, its convolutions and linear layers through the emulated matrix unit, forward and gradients
// against PyTorch in double precision.
#include "golden_fixture.h"
#include "train/golden.h"
#include "train/trainer.h"

static void count_launches(void *user, const char *name, long launched, double seconds, cost total, double longest)
{
    (void)seconds, (void)total, (void)longest;
    if (strcmp(name, "conv_matrix") == 0 || strcmp(name, "conv_weight_gradient_matrix") == 0) *(long *)user += launched;
}

static void check(const char *name, idm_precision precision, double most_out, double most_median, const char *what)
{
    const golden_setting setting = {
        .variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT, .matrix = IDM_MATRIX_EMULATE};
    tensor_file *file;
    golden g;
    trainer *t;
    trainer_state state;
    golden_errors e;
    bool changed;
    long launched = 0;
    char path[64];
    (void)snprintf(path, sizeof path, "data/golden_%s.safetensors", name);
    assert_int_equal(tensor_file_open(path, &file), IDM_OK);
    golden_open(&g, name);
    idm_session *session = golden_session(&g, &setting);
    const trainer_options options = {.batch = g.m.count,
                                     .height = g.m.height,
                                     .width = g.m.width,
                                     .precision = precision,
                                     .recompute = IDM_RECOMPUTE_NONE,
                                     .phi = g.m.phi,
                                     .measurements = g.m.measurements};
    if (trainer_create(session, &options, NULL, &changed, &t) != IDM_OK) fail_msg("%s", idm_message());
    trainer_step(t, g.m.x, g.m.y, g.m.perm, 0);
    float *out = malloc(g.count * sizeof *out);
    assert_non_null(out);
    if (trainer_output(t, out) != IDM_OK || trainer_read(t, &state) != IDM_OK ||
        golden_compare(file, &session_insides(session).net->parameters, POOL_GRADIENTS, "grad", state.adam.scale, &e) != IDM_OK)
        fail_msg("%s", idm_message());
    const double error = golden_error(&g, out);
    context_profile_visit(session_context(session), count_launches, &launched);
    if (getenv("IDM_TEST_ERRORS"))
        print_message("%s: out %.2e, gradients: whole %.2e median %.2e worst %.2e (%s), %ld launches\n", what, error, e.whole, e.median,
                      e.worst, e.worst_name, launched);
    assert_true(launched > 100);
    if (!(error <= most_out && e.tensors > 500 && e.whole <= most_median && e.median <= most_median && e.zero <= 1e-5))
        fail_msg("%s: out %.2e, whole %.2e median %.2e zero %.1e", what, error, e.whole, e.median, e.zero);
    free(out);
    trainer_free(t);
    idm_session_close(session);
    golden_close(&g);
    tensor_file_close(file);
}

static void test_half(void **state)
{
    (void)state;
    check("tiny", IDM_PRECISION_HALF, 2e-3, 2e-3, "half");
}

static void test_bf16(void **state)
{
    (void)state;
    check("tiny", IDM_PRECISION_BF16, 1.5e-2, 3e-2, "bf16");
}

static void test_sharp_half(void **state)
{
    (void)state;
    check("sharp", IDM_PRECISION_HALF, 2e-3, 2e-3, "half, sharp");
}

static void test_sharp_bf16(void **state)
{
    (void)state;
    check("sharp", IDM_PRECISION_BF16, 1.5e-2, 3e-2, "bf16, sharp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_half), cmocka_unit_test(test_bf16), cmocka_unit_test(test_sharp_half),
                                       cmocka_unit_test(test_sharp_bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
