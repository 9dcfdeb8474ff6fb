// For tests that run the idm program as a user types it: a temporary folder with weights and pictures, a shell, and what came out.
#ifndef TESTS_CLI_FIXTURE_H
#define TESTS_CLI_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/files.h"
#include <cjson/cJSON.h>
#include <idm/idm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// Sizes of tests/data/idm_tiny.pkl that its format cannot say, and the device.
#define TINY "--weights tiny.safetensors --device \"$IDM_TEST_DEVICE\""

static char cli_folder[64];
static char cli_out[1 << 20], cli_err[1 << 16]; // of the last command

static inline void cli_read(const char *name, char *text, size_t size)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", cli_folder, name);
    FILE *file = fopen(path, "rb");
    const size_t got = file ? fread(text, 1, size - 1, file) : 0;
    text[got] = '\0';
    if (file) (void)fclose(file);
}

// Runs a shell command in the folder, where $IDM is the program; its exit status, 128 + N after signal N.
static inline int cli_run(const char *command)
{
    char line[4096];
    const int length =
        snprintf(line, sizeof line, "cd '%s' && IDM=\"$IDM_BINARY\" && export IDM && (%s) > stdout.txt 2> stderr.txt", cli_folder, command);
    assert_true(length > 0 && (size_t)length < sizeof line);
    const int status = system(line);
    cli_read("stdout.txt", cli_out, sizeof cli_out);
    cli_read("stderr.txt", cli_err, sizeof cli_err);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// The command ends with `status`, and the message has all of `words` (separated by '|'; NULL: anything).
static inline void cli_expect(int status, const char *words, const char *command)
{
    const int got = cli_run(command);
    if (got != status) fail_msg("%s: status %d, not %d\n%s%s", command, got, status, cli_out, cli_err);
    if (status == 0 || !words) return;
    char copy[512], *rest = copy, *word;
    (void)snprintf(copy, sizeof copy, "%s", words);
    while ((word = strsep(&rest, "|")) != NULL)
        if (!strstr(cli_err, word)) fail_msg("%s: no '%s' in: %s", command, word, cli_err);
    if (strncmp(cli_err, "idm: ", 5) != 0 && !strstr(cli_err, "\nidm: ")) fail_msg("%s: not a message of idm: %s", command, cli_err);
}

// A command that succeeds and prints one JSON object, the caller's to cJSON_Delete.
static inline cJSON *cli_json(const char *command)
{
    cli_expect(0, NULL, command);
    cJSON *object = cJSON_Parse(cli_out);
    if (!cJSON_IsObject(object)) fail_msg("%s: no JSON object: %s", command, cli_out);
    return object;
}

static inline double json_number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(item)) fail_msg("no number '%s'", name);
    return item->valuedouble;
}

static inline bool cli_has_file(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", cli_folder, name);
    return files_exists(path);
}

// A test picture: waves, different in each channel.
static inline void cli_make_picture(const char *name, int height, int width, int channels)
{
    char path[512];
    idm_image image = {width, height, channels, malloc((size_t)height * (size_t)width * (size_t)channels)};
    assert_non_null(image.pixels);
    for (int i = 0; i < height * width * channels; i++) {
        const int pixel = i / channels, channel = i % channels;
        image.pixels[i] = (uint8_t)(pixel % width * (5 + channel) + pixel / width * (3 + 2 * channel) + 40 * channel);
    }
    (void)snprintf(path, sizeof path, "%s/%s", cli_folder, name);
    assert_int_equal(idm_image_save_png(path, &image), IDM_OK);
    idm_image_free(&image);
}

// cmocka group fixtures.
static inline int cli_begin(void **state)
{
    (void)state;
    char *data = realpath("data", NULL);
    if (!getenv("IDM_BINARY")) fail_msg("IDM_BINARY is not set");
    if (setenv("IDM_TEST_DEVICE", "auto", 0) != 0 || !data || setenv("DATA", data, 1) != 0) return -1;
    free(data);
    (void)snprintf(cli_folder, sizeof cli_folder, "/tmp/idm-test-cli-XXXXXX");
    if (!mkdtemp(cli_folder)) return -1;
    cli_make_picture("grey.png", 32, 48, 1);
    cli_make_picture("colour.png", 40, 27, 3);
    return cli_run("\"$IDM\" convert \"$DATA/idm_tiny.pkl\" tiny.safetensors --set model.heads=4 --set model.groups=8"
                   " --set sensing.block_size=16");
}

static inline int cli_end(void **state)
{
    (void)state;
    char command[96];
    (void)snprintf(command, sizeof command, "rm -r '%s'", cli_folder);
    return system(command);
}

#endif
