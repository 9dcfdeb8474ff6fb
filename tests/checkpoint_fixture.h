// A small made-up network whose values can be told from all others, its checkpoints, and the check that one is whole.
#ifndef TESTS_CHECKPOINT_FIXTURE_H
#define TESTS_CHECKPOINT_FIXTURE_H

#include "hostile.h"

#include "core/files.h"
#include "core/folders.h"
#include "core/random.h"
#include "io/tensor_file.h"
#include "train/checkpoint.h"

#include <limits.h>

enum { PARAMETERS = 4, PHI = 16 * 5 };

static char told[4][1024]; // warnings
static size_t told_count;

static inline void tell(void *user, const char *text)
{
    (void)user;
    if (told_count < 4) (void)snprintf(told[told_count], sizeof told[0], "%s", text);
    told_count++;
}

static const warning_sink listener = {tell, NULL};

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

static inline void expected_values(uint64_t salt, checkpoint_kind kind, const parameter_name *which, float *values)
{
    const uint64_t key = random_bits(random_key(salt, which->name), (uint64_t)kind);
    for (size_t i = 0; i < which->count; i++) {
        uint32_t bits = (uint32_t)random_bits(key, i); // any float: subnormal ones and -0 too
        if ((bits & 0x7f800000) == 0x7f800000) bits ^= 0x00800000;
        if (i == 0) bits = kind == CHECKPOINT_M ? 0x80000000 : 1;
        memcpy(&values[i], &bits, sizeof bits);
    }
}

static inline const float *give(void *user, checkpoint_kind kind, const parameter_name *which)
{
    fixture *f = user;
    assert_true(which->count <= 256);
    expected_values(f->salt, kind, which, f->values);
    if (f->spoiled_name && f->spoiled_kind == kind && strcmp(f->spoiled_name, which->name) == 0) f->values[1] = f->spoiler;
    return f->dead ? NULL : f->values;
}

static inline training_state state_of(uint64_t step, uint64_t salt)
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

static inline idm_status write_step(const char *run, uint64_t step, fixture *f, bool ema)
{
    const training_state state = state_of(step, f->salt);
    const checkpoint_content content = {&small, ema, give, f, &config, &state, NULL};
    return checkpoint_write(run, &content);
}

static inline idm_status write_best(const char *run, fixture *f, bool ema)
{
    const training_state state = state_of(1, f->salt);
    const checkpoint_content content = {&small, ema, give, f, &config, &state, NULL};
    char rows[64];
    (void)snprintf(rows, sizeof rows, "{\"salt\":%d}\n", (int)f->salt);
    return checkpoint_write_best(run, &content, rows);
}

#define MUST(call)                                           \
    do {                                                     \
        if ((call) != IDM_OK) fail_msg("%s", idm_message()); \
    } while (0)

static inline const char *make_run(const char *name)
{
    static char path[160];
    (void)snprintf(path, sizeof path, "%s", temporary(name));
    MUST(files_make_folders(path));
    told_count = 0;
    return path;
}

static inline void assert_same(const char *what, const char *name, const float *values, const float *expected, size_t count)
{
    if (memcmp(values, expected, count * sizeof *values) != 0) fail_msg("%s of %s differs", what, name);
}

static inline void assert_same_state(const training_state *a, const training_state *b)
{
    char *first, *second;
    MUST(training_state_format(a, &first));
    MUST(training_state_format(b, &second));
    assert_string_equal(first, second);
    free(first);
    free(second);
}

// All values are those of the salt in its state.
static inline void assert_whole(const char *path, bool ema)
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
static inline uint64_t newest(const char *run, uint64_t *salt)
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

static inline size_t count_folders(const char *run, const char *part)
{
    char **names;
    size_t count, found = 0;
    MUST(folders_list(run, &names, &count));
    for (size_t i = 0; i < count; i++) found += strstr(names[i], part) != NULL;
    folders_free_names(names, count);
    return found;
}

static inline uint64_t best_salt(const char *run)
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

// Fills in what is not constant.
static inline void checkpoint_begin(void)
{
    idm_config_defaults(&config);
    for (int i = 0; i < PHI; i++) phi[i] = (float)i;
}

#endif
