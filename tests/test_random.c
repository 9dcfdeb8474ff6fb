#include "core/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// SplitMix64 from the state 1234567, as printed by its authors' program.
static void bits_are_splitmix64(void **state)
{
    (void)state;
    const uint64_t expected[5] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973), UINT64_C(9817491932198370423),
                                  UINT64_C(4593380528125082431), UINT64_C(16408922859458223821)};
    for (uint64_t i = 0; i < 5; i++) assert_true(random_bits(1234567, i) == expected[i]);
}

static void keys_differ_by_seed_and_purpose(void **state)
{
    (void)state;
    assert_true(random_key(1, "phi") == random_key(1, "phi"));
    assert_true(random_key(1, "phi") != random_key(2, "phi"));
    assert_true(random_key(1, "phi") != random_key(1, "perm"));
    assert_true(random_key(0, "") != random_key(0, "a"));
}

static void uniform_is_uniform(void **state)
{
    (void)state;
    enum { N = 100000, BINS = 16 };
    const uint64_t key = random_key(7, "uniform");
    int bins[BINS] = {0};
    double sum = 0;
    for (uint64_t i = 0; i < N; i++) {
        const double u = random_uniform(key, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        bins[(int)(u * BINS)]++;
    }
    assert_true(fabs(sum / N - 0.5) < 0.005);
    for (int b = 0; b < BINS; b++) assert_true(abs(bins[b] - N / BINS) < 400); // 5 standard deviations
    for (uint64_t i = 0; i < 1000; i++) assert_true(random_below(key, i, 3) < 3);
}

static void normal_has_the_moments_of_a_normal(void **state)
{
    (void)state;
    enum { N = 200000 };
    const uint64_t key = random_key(7, "normal");
    double moments[5] = {0};
    int inside = 0;
    for (uint64_t i = 0; i < N; i++) {
        const double z = random_normal(key, i);
        assert_true(isfinite(z));
        for (int m = 1; m < 5; m++) moments[m] += pow(z, m) / N;
        inside += fabs(z) < 1;
    }
    assert_true(fabs(moments[1]) < 0.012);
    assert_true(fabs(moments[2] - 1) < 0.016);
    assert_true(fabs(moments[3]) < 0.05);
    assert_true(fabs(moments[4] - 3) < 0.12);
    assert_true(fabs(inside / (double)N - 0.682689) < 0.006);
}

// Its log and cos, against the C library's.
static void normal_is_box_muller(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        const double u = 1 - random_uniform(99, 2 * i), turn = random_uniform(99, 2 * i + 1);
        const double expected = sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * turn);
        assert_true(fabs(random_normal(99, i) - expected) < 4e-15);
    }
}

static void permutation_holds_each_once(void **state)
{
    (void)state;
    enum { N = 1000 };
    int32_t order[N], again[N];
    bool seen[N] = {false};
    random_permutation(5, order, N);
    random_permutation(5, again, N);
    assert_memory_equal(order, again, sizeof order);
    int fixed = 0;
    for (int i = 0; i < N; i++) {
        assert_in_range(order[i], 0, N - 1);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
        fixed += order[i] == i;
    }
    assert_true(fixed < 10);
    random_permutation(6, again, N);
    assert_memory_not_equal(order, again, sizeof order);
    random_permutation(5, order, 1);
    assert_int_equal(order[0], 0);
    random_permutation(5, order, 0);
}

// Each of the 6 orders of 3 comes up equally often.
static void permutation_is_uniform(void **state)
{
    (void)state;
    int counts[27] = {0};
    for (uint64_t key = 0; key < 60000; key++) {
        int32_t o[3];
        random_permutation(random_key(key, "order"), o, 3);
        counts[9 * o[0] + 3 * o[1] + o[2]]++;
    }
    const int orders[6] = {5, 7, 11, 15, 19, 21};
    for (int i = 0; i < 6; i++) assert_true(abs(counts[orders[i]] - 10000) < 460); // 5 standard deviations
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_splitmix64),    cmocka_unit_test(keys_differ_by_seed_and_purpose),
        cmocka_unit_test(uniform_is_uniform),     cmocka_unit_test(normal_has_the_moments_of_a_normal),
        cmocka_unit_test(normal_is_box_muller),   cmocka_unit_test(permutation_holds_each_once),
        cmocka_unit_test(permutation_is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
