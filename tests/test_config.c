// INI files, overrides, suggestions and the text of `idm help config`.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <idm/config.h>

#include "core/files.h"
#include "core/text.h"

#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/idm_test_config_XXXXXX";
static char file[PATH_MAX];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    return files_join(file, sizeof file, folder, "case.ini") == IDM_OK ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(file);
    return rmdir(folder);
}

static idm_status load_bytes(idm_config *config, const char *text, size_t size)
{
    assert_int_equal(files_write_whole(file, text, size), IDM_OK);
    idm_config_defaults(config);
    return idm_config_load(config, file);
}

static idm_status load(idm_config *config, const char *text)
{
    return load_bytes(config, text, strlen(text));
}

static void assert_message_has(const char *part)
{
    if (!strstr(idm_message(), part)) fail_msg("\"%s\" is not in \"%s\"", part, idm_message());
}

// The text must be refused with IDM_USAGE, "FILE:line" and `part` in the message, and leave the configuration as it was.
static void assert_refused(const char *text, int line, const char *part)
{
    static idm_config config, before;
    idm_config_defaults(&before);
    if (load(&config, text) != IDM_USAGE) fail_msg("accepted: %s", text);
    char place[PATH_MAX + 16];
    (void)snprintf(place, sizeof place, "%s:%d: ", file, line);
    assert_message_has(place);
    assert_message_has(part);
    assert_memory_equal(&config, &before, sizeof config);
}

static void test_defaults(void **state)
{
    (void)state;
    static idm_config c;
    idm_config_defaults(&c);
    assert_int_equal(c.model.channels[0], 0);
    assert_int_equal(c.model.heads, 0);
    assert_string_equal(c.model.weights, "");
    assert_true(c.sensing.cs_ratio == 0 && c.sensing.block_size == 0 && c.sensing.seed == 2025);
    assert_int_equal(c.data.patch_size, 256);
    assert_int_equal(c.data.workers, 4);
    assert_int_equal(c.train.epochs, 50);
    assert_int_equal(c.train.iterations_per_epoch, 1000);
    assert_int_equal(c.train.batch_size, 8);
    assert_true(c.train.learning_rate == 1e-4 && c.train.gamma == 0.5);
    const int milestones[] = {10, 20, 30, 40};
    assert_int_equal(c.train.milestone_count, 4);
    assert_memory_equal(c.train.milestones, milestones, sizeof milestones);
    assert_int_equal(c.train.precision, IDM_PRECISION_FP32);
    assert_string_equal(c.train.init, "random");
    assert_string_equal(c.train.save_every, "30min");
    assert_int_equal(c.train.keep, 3);
    assert_int_equal(c.train.validate_every, 1);
    assert_int_equal(c.train.log_every, 10);
    assert_true(c.train.clip == 0 && c.train.ema == 0);
    assert_true(c.data.cache == UINT64_C(1) << 30);
    assert_true(c.memory.budget == 0);
    assert_int_equal(c.memory.micro_batch, 0);
    assert_int_equal(c.memory.recompute, IDM_RECOMPUTE_AUTO);
    assert_string_equal(c.device.device, "auto");
    assert_string_equal(c.device.tuning, "auto");
    assert_int_equal(c.device.math, IDM_MATH_FAST);
    assert_false(c.device.math_given);
    assert_true(c.device.max_launch_ms == 100);
}

static void test_every_kind_of_value(void **state)
{
    (void)state;
    static idm_config c;
    assert_int_equal(load(&c, "\xEF\xBB\xBF# all kinds\r\n"
                              "[model]\r\n"
                              "  channels = 32, 64   ; two levels\r\n"
                              "\theads: 4\r\n"
                              "[sensing] ; Phi comes from the weights file's own phi when it has one\n"
                              "cs_ratio = 0.3;\n" // no space: part of the value, hence refused below
                          ),
                     IDM_USAGE);
    assert_int_equal(load(&c, "\xEF\xBB\xBF# all kinds\r\n"
                              "[model]\r\n"
                              "  channels = 32, 64   ; two levels\r\n"
                              "\theads: 4\r\n"
                              "[sensing] ; Phi comes from the weights file's own phi when it has one\n"
                              "cs_ratio = 0.3\n"
                              "seed = 18446744073709551615\n"
                              "[train]\n"
                              "milestones =\n"
                              "init = sd15:unet.safetensors\n"
                              "save_every = 200it\n"
                              "precision = bf16\n"
                              "[memory]\n"
                              "budget = 22GiB\n"
                              "micro_batch = auto\n"
                              "[device]\n"
                              "math = exact\n"
                              "device = 0:1"),
                     IDM_OK);
    assert_int_equal(c.model.channels[0], 32);
    assert_int_equal(c.model.channels[1], 64);
    assert_int_equal(c.model.heads, 4);
    assert_true(c.sensing.cs_ratio == 0.3);
    assert_true(c.sensing.seed == UINT64_MAX);
    assert_int_equal(c.train.milestone_count, 0);
    assert_string_equal(c.train.save_every, "200it");
    assert_int_equal(c.train.precision, IDM_PRECISION_BF16);
    assert_true(c.memory.budget == UINT64_C(22) << 30);
    assert_int_equal(c.device.math, IDM_MATH_EXACT);
    assert_true(c.device.math_given);
    assert_string_equal(c.device.device, "0:1");
    char expected[PATH_MAX];
    (void)snprintf(expected, sizeof expected, "sd15:%s/unet.safetensors", folder);
    assert_string_equal(c.train.init, expected);
}

static void test_paths(void **state)
{
    (void)state;
    static idm_config c;
    char expected[PATH_MAX];
    assert_int_equal(load(&c, "[model]\nweights = sub/w.pkl\n[data]\ntrain=/images\nvalidation=\n[device]\ntuning = t.txt\n"), IDM_OK);
    (void)snprintf(expected, sizeof expected, "%s/sub/w.pkl", folder);
    assert_string_equal(c.model.weights, expected);
    assert_string_equal(c.data.train, "/images");
    assert_string_equal(c.data.validation, "");
    (void)snprintf(expected, sizeof expected, "%s/t.txt", folder);
    assert_string_equal(c.device.tuning, expected);
    assert_int_equal(load(&c, "[device]\ntuning = auto\n"), IDM_OK);
    assert_string_equal(c.device.tuning, "auto");
    assert_int_equal(idm_config_set(&c, "model.weights=w.pkl"), IDM_OK);
    assert_string_equal(c.model.weights, "w.pkl");
}

static void test_long_lines(void **state)
{
    (void)state;
    static idm_config c;
    static char text[3 * IDM_PATH_SIZE], path[2 * IDM_PATH_SIZE];
    const struct {
        size_t length;
        bool fits;
    } cases[] = {{199, true}, {200, true}, {300, true}, {4095, true}, {4096, false}, {6000, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(path, 'x', cases[i].length);
        path[0] = '/';
        path[cases[i].length] = '\0';
        (void)snprintf(text, sizeof text, "[model]\nheads = 2\nweights = %s\nsteps = 7\n", path);
        if (!cases[i].fits) {
            assert_refused(text, 3, cases[i].length < 5000 ? "longer than 4095" : "too long");
            continue;
        }
        assert_int_equal(load(&c, text), IDM_OK);
        assert_string_equal(c.model.weights, path);
        assert_int_equal(c.model.steps, 7);
    }
    memset(path, 'k', 300);
    path[300] = '\0';
    (void)snprintf(text, sizeof text, "[model]\n%s = 1\n", path);
    assert_refused(text, 2, "too long");
    (void)snprintf(text, sizeof text, "[%s]\n", path);
    assert_refused(text, 1, "too long");
    (void)snprintf(text, sizeof text, "; %s %s\n[model]\nheads = 2 ; %s\n", path, path, path);
    assert_int_equal(load(&c, text), IDM_OK);
    assert_int_equal(c.model.heads, 2);
}

static void test_comments_and_quotes(void **state)
{
    (void)state;
    static idm_config c;
    static const struct {
        const char *line, *value;
    } cases[] = {
        {"weights = /a b.pkl ; the best", "/a b.pkl"},
        {"weights = \"/a ;b.pkl\"", "/a ;b.pkl"},
        {"weights = \"/a ; b.pkl\"   ; the best", "/a ; b.pkl"},
        {"weights = /a;b.pkl", "/a;b.pkl"},
        {"weights = \"/a \"\"b\"\".pkl\" # c", "/a \"b\".pkl"},
        {"weights = /a #b = c.pkl", "/a #b = c.pkl"},
        {"weights = \" /lead\"", NULL}, // relative: checked for its end only
        {"weights = ; none", ""},
        {"weights = \"\"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "[model]\n%s\n", cases[i].line);
        if (load(&c, text) != IDM_OK) fail_msg("%s", idm_message());
        if (cases[i].value) assert_string_equal(c.model.weights, cases[i].value);
        else assert_non_null(strstr(c.model.weights, "/ /lead"));
    }
    assert_refused("[model]\nweights = /a ;b.pkl\n", 2, "double quotes");
    assert_refused("[model]\nweights = \"/a\n", 2, "closing quote");
    assert_refused("[model]\nweights = \"/a\" b\n", 2, "closing quote");
    assert_int_equal(load(&c, "[model]\nheads = 4 ;four\n"), IDM_OK);
    assert_int_equal(c.model.heads, 4);
}

static void test_unknown_names(void **state)
{
    (void)state;
    assert_refused("[model]\nchanels = 1,2\n", 2, "\"channels\"");
    assert_refused("[modle]\nheads = 1\n", 2, "\"model\"");
    assert_refused("[model]\ncs_ratio = 0.1\n", 2, "\"cs_ratio\" in section \"sensing\"");
    assert_refused("heads = 1\n", 1, "section");
    assert_refused("[device]\nvariants = gnu\n", 2, "did you mean gpu?");
    assert_refused("[train]\nprecision = fp16\n", 2, "did you mean fp32?");
    static idm_config c;
    idm_config_defaults(&c);
    assert_int_equal(idm_config_set(&c, "trian.epochs=3"), IDM_USAGE);
    assert_message_has("did you mean \"train\"?");
    assert_int_equal(idm_config_set(&c, "train.epoch=3"), IDM_USAGE);
    assert_message_has("\"epochs\"");
}

static void test_wrong_values(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
        int line;
    } cases[] = {
        {"[train]\nepochs = ten\n", "a whole number from 1", 2},
        {"[train]\nepochs = 0\n", "a whole number from 1", 2},
        {"[train]\nepochs = 3.5\n", "a whole number", 2},
        {"[train]\nepochs = 99999999999999999999\n", "a whole number", 2},
        {"[train]\nepochs =\n", "a whole number", 2},
        {"[train]\nlearning_rate = nan\n", "a number from 0 to 1", 2},
        {"[train]\nlearning_rate = 1e-4x\n", "a number from 0 to 1", 2},
        {"[train]\nseed = -1\n", "a whole number from 0", 2},
        {"[train]\nmilestones = 1,2,\n", "whole numbers", 2},
        {"[train]\nmilestones = 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n", "up to 16", 2},
        {"[train]\ninit = sd15:\n", "sd15:FILE", 2},
        {"[train]\ninit = zero\n", "sd15:FILE", 2},
        {"[train]\nsave_every = 0min\n", "30min", 2},
        {"[train]\nsave_every = 30\n", "30min", 2},
        {"[train]\nsave_every = 5 min\n", "30min", 2},
        {"[train]\nepochs = auto\n", "a whole number", 2},
        {"[train]\nepochs = 1\n\nepochs = 2\n", "first in line 2", 4},
        {"[train]\nepochs = 1\n[model]\nheads = 1\n[train]\nepochs = 1\n", "set twice", 6},
        {"[model]\nchannels = 320\n", "2 whole numbers", 2},
        {"[model]\nchannels = 320,640,640\n", "2 whole numbers", 2},
        {"[model]\nchannels = 320,640   heads = 8\n", "2 whole numbers", 2},
        {"[model]    channels = 320,640\n", "alone on its line", 1},
        {"[model]\nheads\n", "key = value", 2},
        {"[model\nheads = 1\n", "key = value", 1},
        {"[sensing]\ncs_ratio = 1.5\n", "a number from", 2},
        {"[sensing]\ncs_ratio = 0\n", "a number from", 2},
        {"[memory]\nbudget = 22GiBB\n", "22GiB", 2},
        {"[memory]\nbudget = -1GiB\n", "22GiB", 2},
        {"[memory]\nbudget = 5\n", "at least 1MiB", 2},
        {"[data]\ncache = much\n", "a size such as 22GiB", 2},
        {"[train]\nema = 1\n", "a number from 0 to 0.9999999", 2},
        {"[device]\ndevice =\n", "text", 2},
        {"[device]\nmax_launch_ms = 0\n", "a number from 0.1", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_refused(cases[i].text, cases[i].line, cases[i].part);
    static idm_config c;
    static const char zero[] = "[model]\nhea\0ds = 1\n";
    assert_int_equal(load_bytes(&c, zero, sizeof zero - 1), IDM_USAGE);
    assert_message_has("no text file");
}

static void test_unreadable(void **state)
{
    (void)state;
    static idm_config c;
    idm_config_defaults(&c);
    assert_int_equal(idm_config_load(&c, "no/such.ini"), IDM_BAD_INPUT);
    assert_message_has("no/such.ini");
    assert_int_equal(idm_config_load(&c, folder), IDM_BAD_INPUT);
    assert_message_has(folder);
}

static void test_set(void **state)
{
    (void)state;
    static idm_config c;
    idm_config_defaults(&c);
    assert_int_equal(idm_config_set(&c, "memory.budget=512MiB"), IDM_OK);
    assert_true(c.memory.budget == UINT64_C(512) << 20);
    assert_int_equal(idm_config_set(&c, "memory.budget=auto"), IDM_OK);
    assert_true(c.memory.budget == 0);
    assert_int_equal(idm_config_set(&c, "data.cache=0"), IDM_OK);
    assert_true(c.data.cache == 0);
    assert_int_equal(idm_config_set(&c, "model.weights=/a ;b=c.pkl"), IDM_OK); // no comments here: the shell has quotes of its own
    assert_string_equal(c.model.weights, "/a ;b=c.pkl");
    assert_int_equal(idm_config_set(&c, "device.math=fast"), IDM_OK);
    assert_true(c.device.math_given);
    static const char *const wrong[] = {"train", "train.epochs", "epochs=3", "=3", ".", "train.epochs=x", "data.train=a\nb", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const idm_config before = c;
        assert_int_equal(idm_config_set(&c, wrong[i]), IDM_USAGE);
        assert_message_has(wrong[i]);
        assert_memory_equal(&c, &before, sizeof c);
    }
}

static void write_to_file(const idm_config *config)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    if (config) assert_int_equal(idm_config_write(config, out), IDM_OK);
    else idm_config_describe(out);
    assert_int_equal(fclose(out), 0);
}

static void test_write_is_read_back(void **state)
{
    (void)state;
    static idm_config c, again;
    idm_config_defaults(&c);
    static const char *const overrides[] = {"model.channels=32,64",
                                            "model.weights=/w ; \"odd\".pkl",
                                            "sensing.cs_ratio=0.1234567890123",
                                            "train.seed=18446744073709551615",
                                            "train.milestones=",
                                            "train.out=/runs/a",
                                            "train.ema=0.9995",
                                            "data.cache=0",
                                            "train.init=weights:/w.pkl",
                                            "memory.budget=1073741825",
                                            "memory.recompute=invert",
                                            "device.device=NVIDIA; x",
                                            "device.tuning=/t.txt",
                                            "data.train=/\xc3\xa4 b",
                                            "device.max_launch_ms=0.7"};
    for (int math_given = 0; math_given < 2; math_given++) {
        for (size_t i = 0; i < sizeof overrides / sizeof *overrides; i++) assert_int_equal(idm_config_set(&c, overrides[i]), IDM_OK);
        if (math_given) assert_int_equal(idm_config_set(&c, "device.math=exact"), IDM_OK);
        write_to_file(&c);
        idm_config_defaults(&again);
        if (idm_config_load(&again, file) != IDM_OK) fail_msg("%s", idm_message());
        assert_memory_equal(&again, &c, sizeof c);
    }
    assert_int_equal(idm_config_set(&c, "train.out=here"), IDM_OK);
    write_to_file(&c);
    assert_int_equal(idm_config_load(&again, file), IDM_OK);
    char expected[PATH_MAX], here[PATH_MAX / 2];
    assert_non_null(getcwd(here, sizeof here));
    (void)snprintf(expected, sizeof expected, "%s/here", here);
    assert_string_equal(again.train.out, expected);
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    assert_int_equal(idm_config_write(&c, full), IDM_FAILED);
    (void)fclose(full);
}

static void test_description(void **state)
{
    (void)state;
    static idm_config c, defaults;
    write_to_file(NULL);
    idm_config_defaults(&defaults);
    idm_config_defaults(&c);
    assert_int_equal(idm_config_load(&c, file), IDM_OK);
    assert_memory_equal(&c, &defaults, sizeof c);
    uint8_t *text;
    size_t size;
    assert_int_equal(files_read_whole(file, 1 << 20, &text, &size), IDM_OK);
    static const char *const parts[] = {"[model]\n", "\n; budget = auto\n", "one of fast|exact", "\n; milestones = 10,20,30,40\n",
                                        "random, sd15:FILE"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_non_null(strstr((char *)text, parts[i]));
    // with the defaults taken out of their comments it is a file that says the same
    char *out = (char *)text;
    for (const char *in = out; *in; in++) {
        if (*in == ';' && in[-1] == '\n') in++;
        else *out++ = *in;
    }
    const size_t length = (size_t)(out - (char *)text);
    assert_int_equal(load_bytes(&c, (char *)text, length), IDM_OK);
    assert_true(c.device.math_given);
    assert_non_null(strstr(c.train.out, "/run"));
    memcpy(c.train.out, defaults.train.out, sizeof c.train.out);
    c.device.math_given = false;
    free(text);
    assert_memory_equal(&c.model, &defaults.model, sizeof c.model);
    assert_memory_equal(&c.device, &defaults.device, sizeof c.device);
    assert_memory_equal(&c.memory, &defaults.memory, sizeof c.memory);
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t bytes;
    double value;
    assert_true(text_to_bytes("1.5GB", &bytes) && bytes == 1500000000);
    assert_true(text_to_bytes("2.3 gib", &bytes) && bytes == 2469606195);
    assert_true(text_to_bytes("4096", &bytes) && bytes == 4096);
    assert_false(text_to_bytes("9e99GiB", &bytes) || text_to_bytes("GiB", &bytes) || text_to_bytes("", &bytes) ||
                 text_to_bytes("1 GiB x", &bytes));
    // a host program's decimal comma changes nothing, where such a locale is installed
    const bool comma = setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL;
    assert_true(text_to_double("0.25", &value) && value == 0.25);
    char text[32];
    text_from_double(text, 0.25);
    assert_string_equal(text, "0.25");
    if (comma) assert_non_null(setlocale(LC_NUMERIC, "C"));
    static const char *const words[] = {"heads", "groups", "steps", "channels"};
    assert_string_equal(text_nearest("HEADS", words, 4), "heads");
    assert_string_equal(text_nearest("setps", words, 4), "steps");
    assert_string_equal(text_nearest("chanel", words, 4), "channels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),           cmocka_unit_test(test_every_kind_of_value), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_long_lines),         cmocka_unit_test(test_comments_and_quotes), cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_wrong_values),       cmocka_unit_test(test_unreadable),          cmocka_unit_test(test_set),
        cmocka_unit_test(test_write_is_read_back), cmocka_unit_test(test_description),         cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
