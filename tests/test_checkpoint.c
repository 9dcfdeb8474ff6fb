// What a checkpoint holds, to the last bit; which one is chosen; and that none is ever written with NaN in it.
#include "checkpoint_fixture.h"

#include "io/operator.h"

#include <math.h>

static void test_state(void **state)
{
    (void)state;
    training_state s = state_of(123, 4), again;
    char *text, *changed, list[512];
    s.seconds = 0.1 + 0.2;
    s.best_psnr = INFINITY;
    (void)snprintf(s.device, sizeof s.device, "two\nlines");
    MUST(training_state_format(&s, &text));
    MUST(training_state_parse("F", text, &again));
    (void)snprintf(s.device, sizeof s.device, "two lines");
    assert_same_state(&s, &again);
    assert_true(again.seconds == 0.1 + 0.2 && again.best_psnr == INFINITY && again.data_hash == UINT64_MAX && again.slab_bytes >> 40 == 1);
    assert_string_equal(again.device, "two lines");
    training_state_changes(&s, &again, list, sizeof list);
    assert_string_equal(list, "");
    again.step++;
    again.seconds++;
    again.compute_units = 8;
    (void)snprintf(again.driver, sizeof again.driver, "1.3");
    training_state_changes(&s, &again, list, sizeof list);
    assert_string_equal(list, "compute_units was 82, is 8; driver was 1.2, is 1.3");

    static const char *const cases[][3] = {{"idm training state 1", "idm training state 2", "first line"},
                                           {"adam_step = 120\n", "", "adam_step is missing"},
                                           {"adam_step = 120\n", "adam_step = 120\nadam_step = 120\n", "F:4: damaged"},
                                           {"adam_step = 120\n", "adam_step = 120\nextra = 1\n", "extra"},
                                           {"adam_step = 120\n", "adam_step = -1\n", "F:3: adam_step"},
                                           {"adam_step = 120\n", "adam_step 120\n", "F:3: damaged"},
                                           {"loss_scale = 65536\n", "loss_scale = nan\n", "loss_scale"},
                                           {"micro_batch = 2\n", "micro_batch = 99999999999\n", "micro_batch"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *place = strstr(text, cases[i][0]);
        assert_non_null(place);
        assert_true(asprintf(&changed, "%.*s%s%s", (int)(place - text), text, cases[i][1], place + strlen(cases[i][0])) > 0);
        assert_int_equal(training_state_parse("F", changed, &again), IDM_BAD_INPUT);
        if (!strstr(idm_message(), cases[i][2])) fail_msg("\"%s\" is not in \"%s\"", cases[i][2], idm_message());
        free(changed);
    }
    text[strlen(text) - 1] = '\0';
    assert_int_equal(training_state_parse("F", text, &again), IDM_BAD_INPUT);
    free(text);
    s.loss_scale = NAN;
    assert_int_equal(training_state_format(&s, &text), IDM_FAILED);
}

static void test_round_trip(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    const char *run = make_run("trip");
    char path[PATH_MAX];
    assert_int_equal(newest(run, NULL), 0);
    MUST(write_step(run, 10, &f, true));
    MUST(checkpoint_newest(run, listener, path, sizeof path));
    assert_non_null(strstr(path, "/step_0000010"));
    assert_whole(path, true);
    f.salt = 2;
    MUST(write_step(run, 123456789, &f, false)); // more digits come later all the same
    uint64_t salt = 0;
    assert_int_equal(newest(run, &salt), 123456789);
    assert_int_equal(salt, 2);
    f.salt = 3;
    MUST(write_step(run, 123456789, &f, false)); // again
    assert_int_equal(newest(run, &salt), 123456789);
    assert_int_equal(salt, 3);
    assert_int_equal(count_folders(run, ""), 2);
    assert_int_equal(told_count, 0);
    assert_int_equal(write_step("no/such/run", 1, &f, false), IDM_FAILED);
    assert_non_null(strstr(idm_message(), "no/such/run"));
}

static void test_nothing_spoiled_is_written(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    const char *run = make_run("spoiled");
    MUST(write_step(run, 10, &f, true));
    MUST(write_best(run, &f, false));
    static const char *const prefixes[] = {"", "m/", "v/", "ema/"};
    for (int kind = 0; kind < 4; kind++) {
        for (int i = 0; i < PARAMETERS; i++) {
            char tensor[64];
            fixture spoiled = {
                .salt = 2, .spoiled_kind = (checkpoint_kind)kind, .spoiled_name = small_list[i].name, .spoiler = i % 2 ? NAN : -INFINITY};
            (void)snprintf(tensor, sizeof tensor, ": %s%s holds NaN or infinity (value 1)", prefixes[kind], small_list[i].name);
            assert_int_equal(write_step(run, 20, &spoiled, true), IDM_FAILED);
            if (!strstr(idm_message(), tensor) || !strstr(idm_message(), "step 20")) fail_msg("%s", idm_message());
            assert_int_equal(write_step(run, 10, &spoiled, true), IDM_FAILED); // nor is an old one replaced
            if (kind == CHECKPOINT_WEIGHT) assert_int_equal(write_best(run, &spoiled, false), IDM_FAILED);
            if (kind == CHECKPOINT_EMA) assert_int_equal(write_best(run, &spoiled, true), IDM_FAILED);
        }
    }
    fixture dead = {.salt = 2, .dead = true};
    assert_int_equal(write_step(run, 20, &dead, true), IDM_FAILED);
    small.phi = NULL;
    assert_int_equal(write_step(run, 20, &f, true), IDM_FAILED);
    assert_non_null(strstr(idm_message(), "phi"));
    assert_int_equal(write_best(run, &f, false), IDM_FAILED);
    small.phi = phi;
    assert_int_equal(count_folders(run, ""), 2);
    assert_int_equal(best_salt(run), 1);
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/step_0000010", run);
    assert_whole(path, true);
}

static void test_prune(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    const char *run = make_run("prune");
    for (uint64_t step = 1; step <= 5; step++) MUST(write_step(run, 9999997 + step, &f, false)); // 9999998 .. 10000002
    MUST(write_best(run, &f, false));
    MUST(checkpoint_prune(run, 9));
    assert_int_equal(count_folders(run, "step_"), 5);
    MUST(checkpoint_prune(run, 2));
    assert_int_equal(count_folders(run, ""), 3);
    assert_int_equal(newest(run, NULL), 10000002);
    assert_int_equal(count_folders(run, "step_10000001"), 1);
    assert_int_equal(best_salt(run), 1);
    MUST(checkpoint_prune(run, 1));
    assert_int_equal(count_folders(run, "step_10000002"), 1);
    assert_int_equal(count_folders(run, "step_"), 1);
}

static void spoil(const char *run, const char *file, const char *text)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", run, file);
    if (text) write_bytes(path, text, strlen(text));
    else assert_int_equal(unlink(path), 0);
}

static void test_damaged_ones_are_passed_over(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    const char *run = make_run("damaged");
    for (uint64_t step = 1; step <= 6; step++) MUST(write_step(run, step, &f, false));
    spoil(run, "step_0000006/config.ini", NULL);
    spoil(run, "step_0000005/state", "idm training state 1\n");
    spoil(run, "step_0000004/optimizer.safetensors", "");
    spoil(run, "step_0000003/weights.safetensors", "short");
    MUST(files_make_folders(temporary("damaged/step_0000009.partial")));
    MUST(files_make_folders(temporary("damaged/step_12")));
    write_bytes(temporary("damaged/step_0000100"), "", 0);
    assert_int_equal(rename(temporary("damaged/step_0000001"), temporary("damaged/step_0000007")), 0); // not what its state says
    assert_int_equal(newest(run, NULL), 2);
    assert_int_equal(told_count, 5);
    assert_non_null(strstr(told[0], "step_0000007 is damaged and passed over"));
    assert_non_null(strstr(told[1], "config.ini is missing"));
    assert_non_null(strstr(told[2], "step is missing"));
    assert_non_null(strstr(told[3], "optimizer.safetensors"));
    MUST(checkpoint_prune(run, 1)); // counts whole ones only
    told_count = 0;
    assert_int_equal(newest(run, NULL), 2);
    checkpoint *c;
    const float *values;
    MUST(checkpoint_open(temporary("damaged/step_0000002"), &c));
    const parameter_name missing = {.name = "other", .rank = 1, .shape = {3, 1, 1, 1}, .count = 3},
                         longer = {.name = "alpha", .rank = 1, .shape = {4, 1, 1, 1}, .count = 4};
    assert_int_equal(checkpoint_read(c, CHECKPOINT_M, &missing, &values), IDM_BAD_INPUT);
    assert_non_null(strstr(idm_message(), "\"m/other\" is missing"));
    assert_int_equal(checkpoint_read(c, CHECKPOINT_V, &longer, &values), IDM_BAD_INPUT);
    assert_int_equal(checkpoint_read(c, CHECKPOINT_EMA, &small_list[0], &values), IDM_BAD_INPUT);
    checkpoint_close(c);
}

static void test_recover(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    const char *run = make_run("recover");
    MUST(write_step(run, 1, &f, false));
    MUST(write_step(run, 2, &f, false));
    MUST(write_best(run, &f, false));
    assert_int_equal(rename(temporary("recover/step_0000002"), temporary("recover/step_0000002.replaced")), 0);
    assert_int_equal(rename(temporary("recover/best"), temporary("recover/best.replaced")), 0);
    MUST(files_make_folders(temporary("recover/step_0000003.partial/x")));
    MUST(files_make_folders(temporary("recover/step_0000001.replaced/x")));
    MUST(files_make_folders(temporary("recover/best.partial")));
    MUST(files_make_folders(temporary("recover/mine.partial")));
    write_bytes(temporary("recover/step_0000003.partial/x/y"), "y", 1);
    MUST(checkpoint_recover(run, listener));
    assert_int_equal(told_count, 4);
    assert_int_equal(newest(run, NULL), 2);
    assert_int_equal(best_salt(run), 1);
    assert_int_equal(count_folders(run, ""), 4);
    assert_int_equal(count_folders(run, "mine.partial"), 1); // not ours
}

static void test_changes(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    const char *run = make_run("changes");
    char text[1024], path[PATH_MAX];
    checkpoint *c;
    MUST(write_step(run, 1, &f, false));
    (void)snprintf(path, sizeof path, "%s/step_0000001", run);
    MUST(checkpoint_open(path, &c));
    idm_config *other = malloc(sizeof *other);
    assert_non_null(other);
    *other = config;
    static const char *const same[] = {"train.epochs=3", "train.keep=1", "data.workers=9", "train.out=elsewhere"};
    for (size_t i = 0; i < 4; i++) MUST(idm_config_set(other, same[i]));
    training_state now = state_of(99, 99);
    MUST(checkpoint_changes(c, other, &now, text, sizeof text));
    assert_string_equal(text, "");
    MUST(idm_config_set(other, "train.batch_size=4"));
    MUST(idm_config_set(other, "train.milestones="));
    now.micro_batch = 1;
    MUST(checkpoint_changes(c, other, &now, text, sizeof text));
    assert_string_equal(text, "micro_batch was 2, is 1; train.batch_size was 8, is 4; train.milestones was 10,20,30,40, is ");
    MUST(checkpoint_changes(c, other, &now, text, 20)); // too little room
    assert_int_equal(strlen(text), 19);
    checkpoint_close(c);
    free(other);
}

static const float *give_network(void *user, checkpoint_kind kind, const parameter_name *which)
{
    const weights *w = user;
    (void)kind;
    return weights_find(w, which->name);
}

// A whole network's checkpoint is a weights file like any other.
static void test_network(void **state)
{
    (void)state;
    const model_sizes sizes = {{16, 32}, 2, 4, 1, 4};
    weights *w, *names, *again;
    float square[16 * 5];
    const char *run = make_run("network");
    MUST(weights_init_random(&sizes, 3, &w));
    MUST(weights_init_random(&sizes, 3, &names));
    weights_drop_values(names);
    for (int i = 0; i < 16 * 5; i++) square[i] = (float)i / 7;
    names->phi = malloc(sizeof square);
    assert_non_null(names->phi);
    memcpy(names->phi, square, sizeof square);
    names->cs_ratio = 0.3;
    names->measurements = operator_measurements(4, 0.3);
    assert_int_equal(names->measurements, 5);
    const training_state s = state_of(500, 1);
    const checkpoint_content content = {names, true, give_network, w, &config, &s, NULL};
    MUST(checkpoint_write(run, &content));
    MUST(weights_load(temporary("network/step_0000500/weights.safetensors"), NULL, &again));
    assert_memory_equal(&again->sizes, &sizes, sizeof sizes);
    assert_memory_equal(again->phi, square, sizeof square);
    for (size_t i = 0; i < w->count; i++) assert_memory_equal(again->values[i], w->values[i], w->parameters[i].count * sizeof(float));
    weights_free(again);
    MUST(checkpoint_write_best(run, &content, "{}\n"));
    MUST(weights_load(temporary("network/best/weights.safetensors"), NULL, &again));
    weights_free(again);
    weights_free(names);
    weights_free(w);
}

static int begin(void **state)
{
    checkpoint_begin();
    return make_temporary(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_nothing_spoiled_is_written),
        cmocka_unit_test(test_prune),
        cmocka_unit_test(test_damaged_ones_are_passed_over),
        cmocka_unit_test(test_recover),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_network),
    };
    return cmocka_run_group_tests(tests, begin, remove_temporary);
}
