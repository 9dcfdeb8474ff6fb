// Epochs, learning rate and intervals.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/schedule.h"

#include <string.h>

static idm_config config;

static int make_config(void **state)
{
    (void)state;
    idm_config_defaults(&config);
    return 0;
}

static void test_published_rates(void **state)
{
    (void)state;
    assert_int_equal(schedule_steps(&config), 50000);
    const struct {
        uint64_t step;
        double rate;
    } cases[] = {{0, 1e-4},         {9999, 1e-4},      {10000, 0.5e-4},    {19999, 0.5e-4},    {20000, 0.25e-4},
                 {30000, 0.125e-4}, {39999, 0.125e-4}, {40000, 0.0625e-4}, {49999, 0.0625e-4}, {1000000, 0.0625e-4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_true(schedule_learning_rate(&config, cases[i].step) == cases[i].rate);
    assert_int_equal(schedule_epoch(&config, 999), 0);
    assert_int_equal(schedule_epoch(&config, 1000), 1);
}

static void test_other_rates(void **state)
{
    (void)state;
    idm_config other = config;
    other.train.milestone_count = 0;
    assert_true(schedule_learning_rate(&other, 49999) == 1e-4);
    assert_int_equal(idm_config_set(&other, "train.milestones=3,1,3"), IDM_OK); // in any order; a repeated one counts twice, as in PyTorch
    assert_int_equal(idm_config_set(&other, "train.gamma=0.1"), IDM_OK);
    assert_int_equal(idm_config_set(&other, "train.iterations_per_epoch=7"), IDM_OK);
    assert_true(schedule_learning_rate(&other, 6) == 1e-4);
    assert_true(schedule_learning_rate(&other, 7) == 1e-4 * 0.1);
    assert_true(schedule_learning_rate(&other, 20) == 1e-4 * 0.1);
    assert_true(schedule_learning_rate(&other, 21) == 1e-4 * 0.1 * 0.1 * 0.1);
}

static void test_validation(void **state)
{
    (void)state;
    idm_config other = config;
    assert_false(schedule_validates(&other, 0));
    assert_false(schedule_validates(&other, 999));
    assert_true(schedule_validates(&other, 1000));
    other.train.validate_every = 3;
    assert_false(schedule_validates(&other, 1000));
    assert_true(schedule_validates(&other, 6000));
    other.train.validate_every = 0;
    assert_false(schedule_validates(&other, 1000));
}

static void test_intervals(void **state)
{
    (void)state;
    schedule_interval interval;
    assert_int_equal(schedule_parse_interval(config.train.save_every, &interval), IDM_OK);
    assert_true(interval.unit == SCHEDULE_MINUTES && interval.count == 30);
    assert_false(schedule_due(&interval, &config, 1000, 1799.9));
    assert_true(schedule_due(&interval, &config, 1001, 1800));
    assert_int_equal(schedule_parse_interval("200it", &interval), IDM_OK);
    assert_true(interval.unit == SCHEDULE_ITERATIONS && interval.count == 200);
    assert_false(schedule_due(&interval, &config, 0, 1e9));
    assert_false(schedule_due(&interval, &config, 199, 1e9));
    assert_true(schedule_due(&interval, &config, 400, 0));
    assert_int_equal(schedule_parse_interval("2epoch", &interval), IDM_OK);
    assert_true(interval.unit == SCHEDULE_EPOCHS && interval.count == 2);
    assert_false(schedule_due(&interval, &config, 1000, 0));
    assert_true(schedule_due(&interval, &config, 2000, 0));
    static const char *const wrong[] = {"", "30", "min", "0min", "000it", "5 min", "-1it", "5mins", "1234567890it", "1.5epoch"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(schedule_parse_interval(wrong[i], &interval), IDM_USAGE);
        assert_non_null(strstr(idm_message(), "30min"));
        idm_config refused = config; // the configuration's own check agrees
        char assignment[64] = "train.save_every=";
        assert_int_equal(idm_config_set(&refused, strcat(assignment, wrong[i])), IDM_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_rates),
        cmocka_unit_test(test_other_rates),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_intervals),
    };
    return cmocka_run_group_tests(tests, make_config, NULL);
}
