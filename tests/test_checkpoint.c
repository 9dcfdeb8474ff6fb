// Checkpoints: to the last bit, whole at any instant (every single operation on the disk fails in turn, and the program is killed at random
// moments), and never with NaN in them.
#include "hostile.h"

#include "core/files.h"
#include "core/folders.h"
#include "core/random.h"
#include "io/operator.h"
#include "io/tensor_file.h"
#include "train/checkpoint.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { PARAMETERS = 4, PHI = 16 * 5 };

static char told[4][1024]; // warnings
static size_t told_count;

static void tell(void *user, const char *text)
{
    (void)user;
    if (told_count < 4) (void)snprintf(told[told_count], sizeof told[0], "%s", text);
    told_count++;
}

static const warning_sink listener = {tell, NULL}, tell_nobody = {NULL, NULL};

// Values are a function of kind, name and salt, so that what was read can be told from anything else.
typedef struct fixture {
    uint64_t salt;
    float values[256];
    checkpoint_kind spoiled_kind; // this tensor gets `spoiler` as its value 1
    const char *spoiled_name;
    float spoiler;
    bool dead; // the source has nothing
} fixture;

static parameter_name small_list[PARAMETERS] = {
    {.name = "alpha", .rank = 1, .shape = {3, 1, 1, 1}, .count = 3},
    {.name = "unet.a.weight", .rank = 4, .shape = {4, 2, 3, 3}, .count = 72},
    {.name = "unet.a.bias", .rank = 1, .shape = {4, 1, 1, 1}, .count = 4},
    {.name = "unet.b.weight", .rank = 2, .shape = {7, 9, 1, 1}, .count = 63},
};
static float phi[PHI];
static weights small = {
    .sizes = {{4, 16}, 1, 1, 1, 4}, .cs_ratio = 0.3, .parameters = small_list, .count = PARAMETERS, .phi = phi, .measurements = 5};

static void expected_values(uint64_t salt, checkpoint_kind kind, const parameter_name *which, float *values)
{
    const uint64_t key = random_bits(random_key(salt, which->name), (uint64_t)kind);
    for (size_t i = 0; i < which->count; i++) {
        uint32_t bits = (uint32_t)random_bits(key, i); // any float: subnormal ones and -0 too
        if ((bits & 0x7f800000) == 0x7f800000) bits ^= 0x00800000;
        if (i == 0) bits = kind == CHECKPOINT_M ? 0x80000000 : 1;
        memcpy(&values[i], &bits, sizeof bits);
    }
}

static const float *give(void *user, checkpoint_kind kind, const parameter_name *which)
{
    fixture *f = user;
    assert_true(which->count <= 256);
    expected_values(f->salt, kind, which, f->values);
    if (f->spoiled_name && f->spoiled_kind == kind && strcmp(f->spoiled_name, which->name) == 0) f->values[1] = f->spoiler;
    return f->dead ? NULL : f->values;
}

static training_state state_of(uint64_t step, uint64_t salt)
{
    return (training_state){.step = step,
                            .adam_step = step - 3,
                            .good_steps = 1,
                            .skipped_steps = 3,
                            .loss_scale = 65536,
                            .seconds = (double)salt,
                            .best_psnr = 1.0 / 3,
                            .best_step = 7,
                            .micro_batch = 2,
                            .anchors = 6,
                            .compute_units = 82,
                            .slab_bytes = UINT64_C(1) << 40,
                            .recompute = "invert",
                            .variants = "cpu: conv cpu",
                            .tuning = "",
                            .device = "A device; \"odd\" = yes",
                            .driver = "1.2",
                            .version = "0.1.0",
                            .data_hash = UINT64_MAX,
                            .data_count = 4744};
}

static idm_config config;

static idm_status write_step(const char *run, uint64_t step, fixture *f, bool ema)
{
    const training_state state = state_of(step, f->salt);
    const checkpoint_content content = {&small, ema, give, f, &config, &state};
    return checkpoint_write(run, &content);
}

static idm_status write_best(const char *run, fixture *f, bool ema)
{
    const training_state state = state_of(1, f->salt);
    const checkpoint_content content = {&small, ema, give, f, &config, &state};
    char rows[64];
    (void)snprintf(rows, sizeof rows, "{\"salt\":%d}\n", (int)f->salt);
    return checkpoint_write_best(run, &content, rows);
}

#define MUST(call)                                           \
    do {                                                     \
        if ((call) != IDM_OK) fail_msg("%s", idm_message()); \
    } while (0)

static const char *make_run(const char *name)
{
    static char path[160];
    (void)snprintf(path, sizeof path, "%s", temporary(name));
    MUST(files_make_folders(path));
    told_count = 0;
    return path;
}

static void assert_same(const char *what, const char *name, const float *values, const float *expected, size_t count)
{
    if (memcmp(values, expected, count * sizeof *values) != 0) fail_msg("%s of %s differs", what, name);
}

static void assert_same_state(const training_state *a, const training_state *b)
{
    char *first, *second;
    MUST(training_state_format(a, &first));
    MUST(training_state_format(b, &second));
    assert_string_equal(first, second);
    free(first);
    free(second);
}

// All values are those of the salt in its state.
static void assert_whole(const char *path, bool ema)
{
    checkpoint *c;
    float expected[256];
    const float *values;
    MUST(checkpoint_open(path, &c));
    assert_int_equal(checkpoint_has_ema(c), ema);
    const uint64_t salt = (uint64_t)checkpoint_state(c)->seconds;
    const training_state state = state_of(checkpoint_state(c)->step, salt);
    assert_same_state(checkpoint_state(c), &state);
    for (size_t i = 0; i < PARAMETERS; i++) {
        for (int kind = CHECKPOINT_WEIGHT; kind <= (ema ? CHECKPOINT_EMA : CHECKPOINT_V); kind++) {
            MUST(checkpoint_read(c, (checkpoint_kind)kind, &small_list[i], &values));
            expected_values(salt, (checkpoint_kind)kind, &small_list[i], expected);
            assert_same(path, small_list[i].name, values, expected, small_list[i].count);
        }
    }
    char text[256];
    MUST(checkpoint_changes(c, &config, &state, text, sizeof text));
    assert_string_equal(text, "");
    checkpoint_close(c);
}

// The newest one is whole. Returns its step, 0 for none; *salt (may be NULL) as in its state.
static uint64_t newest(const char *run, uint64_t *salt)
{
    char path[PATH_MAX];
    MUST(checkpoint_newest(run, listener, path, sizeof path));
    if (path[0] == '\0') return 0;
    assert_whole(path, false);
    checkpoint *c;
    MUST(checkpoint_open(path, &c));
    const uint64_t step = checkpoint_state(c)->step;
    if (salt) *salt = (uint64_t)checkpoint_state(c)->seconds;
    checkpoint_close(c);
    return step;
}

static size_t count_folders(const char *run, const char *part)
{
    char **names;
    size_t count, found = 0;
    MUST(folders_list(run, &names, &count));
    for (size_t i = 0; i < count; i++) found += strstr(names[i], part) != NULL;
    folders_free_names(names, count);
    return found;
}

static uint64_t best_salt(const char *run)
{
    char path[PATH_MAX];
    float expected[256], values[256];
    tensor_file *file;
    uint8_t *rows;
    size_t size;
    int salt;
    (void)snprintf(path, sizeof path, "%s/best/validation.json", run);
    MUST(files_read_whole(path, 1000, &rows, &size));
    assert_int_equal(sscanf((char *)rows, "{\"salt\":%d}", &salt), 1);
    free(rows);
    (void)snprintf(path, sizeof path, "%s/best/weights.safetensors", run);
    MUST(tensor_file_open(path, &file));
    for (size_t i = 0; i < PARAMETERS; i++) {
        const tensor_entry *entry = tensor_file_find(file, small_list[i].name);
        assert_non_null(entry);
        MUST(tensor_file_read_f32(file, entry, values));
        expected_values((uint64_t)salt, CHECKPOINT_WEIGHT, &small_list[i], expected);
        assert_same(path, entry->name, values, expected, entry->count);
    }
    assert_non_null(tensor_file_find(file, "phi"));
    tensor_file_close(file);
    return (uint64_t)salt;
}

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
    uint64_t salt;
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
    const checkpoint_content content = {names, true, give_network, w, &config, &s};
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

static int run_child(const char *run, uint64_t step, const char *environment)
{
    char command[2048], self[PATH_MAX] = {0};
    const char *failer = getenv("IDM_WRITE_FAILER");
    if (!failer) fail_msg("IDM_WRITE_FAILER is not set");
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    (void)snprintf(command, sizeof command,
                   "ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 LD_PRELOAD='%s' %s '%s' write '%s' %d 2>'%s/message'", failer,
                   environment, self, run, (int)step, temporary_folder);
    const int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// Run as `test_checkpoint write RUN STEP`: what a trainer does when it saves.
static int child(const char *run, int step)
{
    fixture f = {.salt = 2};
    idm_status status = write_step(run, (uint64_t)step, &f, false);
    if (status == IDM_OK) status = checkpoint_prune(run, 1);
    if (status == IDM_OK) status = write_best(run, &f, false);
    if (status != IDM_OK) (void)fprintf(stderr, "%s\n", idm_message());
    return (int)status;
}

static size_t count_lines(const char *path)
{
    uint8_t *text;
    size_t size, lines = 0;
    MUST(files_read_whole(path, 1 << 24, &text, &size));
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    free(text);
    return lines;
}

// Back to checkpoint 10 and its best weights, both with salt 1.
static void reset(void)
{
    char command[512];
    (void)snprintf(command, sizeof command, "cd '%s' && rm -rf run && cp -r template run", temporary_folder);
    assert_int_equal(system(command), 0);
}

static void check_after_fault(const char *run, uint64_t step, int status, bool exchange, long n)
{
    uint64_t salt;
    told_count = 0;
    // without exchanges the old one may have stepped aside and found no way back, where nothing works any more
    if (!exchange) MUST(checkpoint_recover(run, tell_nobody));
    const uint64_t found = newest(run, &salt);
    if (told_count > 0) fail_msg("operation %ld: %s", n, told[0]);
    if (status == IDM_OK) {
        assert_true(found == step && salt == 2);
        assert_int_equal(best_salt(run), 2);
        assert_int_equal(count_folders(run, ""), 2);
    } else {
        if (status != IDM_FAILED) fail_msg("operation %ld: status %d", n, status);
        if (!(found == 10 && salt == 1) && !(found == step && salt == 2)) fail_msg("operation %ld: step %d", n, (int)found);
        char message[PATH_MAX] = "";
        uint8_t *text;
        size_t size;
        MUST(files_read_whole(temporary("message"), sizeof message, &text, &size));
        if (!strstr((char *)text, "No space left on device") || !strstr((char *)text, "/run"))
            fail_msg("operation %ld: %s", n, (char *)text);
        free(text);
    }
    // what the next run does first
    MUST(checkpoint_recover(run, listener));
    assert_int_equal(newest(run, NULL), found);
    assert_int_equal(count_folders(run, "."), 0);
    const uint64_t best = best_salt(run);
    assert_true(best == 1 || best == 2);
}

static void test_every_operation_fails_once(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    char run[160], trace[160], environment[512];
    (void)snprintf(run, sizeof run, "%s/run", temporary_folder);
    (void)snprintf(trace, sizeof trace, "%s/trace", temporary_folder);
    MUST(write_step(make_run("template"), 10, &f, false));
    MUST(write_best(temporary("template"), &f, false));
    for (int variant = 0; variant < 8; variant++) {
        const uint64_t step = variant & 1 ? 10 : 20; // in the place of the old one, or beside it
        const char *on = variant & 2 ? "IDM_FAIL_ON=1" : "", *exchange = variant & 4 ? "IDM_NO_EXCHANGE=1" : "";
        long met = 0;
        reset();
        (void)snprintf(environment, sizeof environment, "IDM_FAIL_TRACE='%s' %s", trace, exchange);
        assert_int_equal(run_child(run, step, environment), IDM_OK);
        check_after_fault(run, step, IDM_OK, true, 0);
        const long operations = (long)count_lines(trace);
        assert_true(operations > 50);
        for (long n = 1; n <= operations + 1; n++) {
            reset();
            (void)snprintf(environment, sizeof environment, "IDM_FAIL_AT=%ld %s %s", n, on, exchange);
            const int status = run_child(run, step, environment);
            check_after_fault(run, step, status, exchange[0] == '\0', n);
            met += status != IDM_OK;
            if (n > operations) assert_int_equal(status, IDM_OK);
        }
        assert_true(met >= operations * 9 / 10); // the rest are syncs of folders that are synced again
    }
}

// The number of the first line of the trace from `from` on that has both parts; fails where there is none.
static size_t find_line(const char *const *lines, size_t count, size_t from, const char *begin, const char *end)
{
    for (size_t i = from; i < count; i++) {
        const size_t length = strlen(lines[i]), tail = strlen(end);
        if (strncmp(lines[i], begin, strlen(begin)) == 0 && length >= tail && strcmp(lines[i] + length - tail, end) == 0) return i;
    }
    fail_msg("no \"%s...%s\" after line %zu of the trace", begin, end, from);
    return 0;
}

// What a power loss could undo is on the disk before what depends on it.
static void test_order(void **state)
{
    (void)state;
    enum { LINES_MAX = 1000 };
    char run[160], environment[512], begin[512], end[512];
    const char *lines[LINES_MAX];
    (void)snprintf(run, sizeof run, "%s/run", temporary_folder);
    for (int replacing = 0; replacing < 2; replacing++) {
        reset();
        (void)snprintf(environment, sizeof environment, "IDM_FAIL_TRACE='%s'", temporary("trace"));
        assert_int_equal(run_child(run, replacing ? 10 : 20, environment), IDM_OK);
        uint8_t *text;
        size_t size, count = 0, placed = 0;
        MUST(files_read_whole(temporary("trace"), 1 << 24, &text, &size));
        for (char *line = strtok((char *)text, "\n"); line && count < LINES_MAX; line = strtok(NULL, "\n")) lines[count++] = line;
        const char *folder = replacing ? "step_0000010" : "step_0000020";
        static const char *const files[] = {"weights.safetensors", "optimizer.safetensors", "config.ini", "state"};
        for (int i = 0; i < 4; i++) {
            (void)snprintf(begin, sizeof begin, "fsync %s/%s.partial/%s", run, folder, files[i]);
            const size_t synced = find_line(lines, count, 0, begin, ".tmp");
            (void)snprintf(begin, sizeof begin, "fwrite %s/%s.partial/%s", run, folder, files[i]);
            for (size_t k = synced; k < count; k++) assert_int_not_equal(strncmp(lines[k], begin, strlen(begin)), 0);
            (void)snprintf(begin, sizeof begin, "rename %s/%s.partial/%s", run, folder, files[i]);
            const size_t renamed = find_line(lines, count, synced, begin, files[i]);
            if (renamed > placed) placed = renamed;
        }
        (void)snprintf(begin, sizeof begin, "fsync %s/%s.partial", run, folder);
        const size_t folder_synced = find_line(lines, count, placed, begin, ".partial");
        (void)snprintf(begin, sizeof begin, "%s %s/%s.partial", replacing ? "exchange" : "rename", run, folder);
        (void)snprintf(end, sizeof end, "/%s", folder);
        const size_t there = find_line(lines, count, folder_synced, begin, end);
        (void)snprintf(begin, sizeof begin, "fsync %s", run);
        assert_int_equal(find_line(lines, count, there, begin, "/run"), there + 1);
        free(text);
    }
}

// Saves for ever, as fast as it can.
static void save_on(const char *run, uint64_t step)
{
    for (fixture f = {.salt = step};; step++, f.salt = step) {
        if (write_step(run, step, &f, false) != IDM_OK || checkpoint_prune(run, 2) != IDM_OK || write_best(run, &f, false) != IDM_OK)
            _exit(1);
        if (step % 3 == 0 && write_step(run, step, &f, false) != IDM_OK) _exit(1);
    }
}

static void test_killed_while_saving(void **state)
{
    (void)state;
    fixture f = {.salt = 1};
    char run[160];
    (void)snprintf(run, sizeof run, "%s", make_run("killed"));
    MUST(write_step(run, 1, &f, false));
    MUST(write_best(run, &f, false));
    uint64_t last = 1, best = 1;
    size_t unfinished = 0;
    for (uint64_t i = 0; i < 50; i++) {
        const pid_t process = fork();
        assert_true(process >= 0);
        if (process == 0) save_on(run, last + 1);
        (void)usleep((unsigned)random_below(5, i, 40000));
        int status;
        assert_int_equal(kill(process, SIGKILL), 0);
        assert_int_equal(waitpid(process, &status, 0), process);
        if (!WIFSIGNALED(status)) fail_msg("saving failed");
        uint64_t salt;
        const uint64_t step = newest(run, &salt);
        assert_true(step >= last && salt == step);
        unfinished += count_folders(run, ".partial");
        MUST(checkpoint_recover(run, listener));
        assert_int_equal(count_folders(run, "."), 0);
        assert_int_equal(newest(run, NULL), step);
        const uint64_t kept = best_salt(run);
        assert_true(kept >= best && kept <= step);
        best = kept;
        last = step;
    }
    assert_true(last > 1 && unfinished > 5); // else nothing was met
}

// In memory where there is room for files: nothing then waits for a disk.
static int make_quick_temporary(void **state)
{
    (void)snprintf(temporary_folder, sizeof temporary_folder, "/dev/shm/idm-test-XXXXXX");
    return mkdtemp(temporary_folder) ? 0 : make_temporary(state);
}

int main(int count, char **words)
{
    idm_config_defaults(&config);
    for (int i = 0; i < PHI; i++) phi[i] = (float)i;
    if (count == 4 && strcmp(words[1], "write") == 0) return child(words[2], atoi(words[3]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_nothing_spoiled_is_written),
        cmocka_unit_test(test_prune),
        cmocka_unit_test(test_damaged_ones_are_passed_over),
        cmocka_unit_test(test_recover),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_network),
        cmocka_unit_test(test_every_operation_fails_once),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_killed_while_saving),
    };
    return cmocka_run_group_tests(tests, make_quick_temporary, remove_temporary);
}
