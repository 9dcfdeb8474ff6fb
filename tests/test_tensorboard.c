// Event files against bytes that TensorFlow's own protocol buffers gave, with checksums worked out bit by bit.
#include "hostile.h"

#include "core/files.h"
#include "train/tensorboard.h"
#include <idm/image.h>

#include <math.h>
#include <time.h>

enum { EVENTS_MAX = 16, TIME = 9 }; // an event begins with its wall time: a byte 9, then a double

typedef struct events {
    uint8_t *bytes;
    size_t size, count;
    const uint8_t *event[EVENTS_MAX];
    size_t length[EVENTS_MAX];
} events;

// The division of polynomials over GF(2), a bit at a time, most significant coefficient first.
static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
    uint64_t remainder = 0;
    uint32_t reversed = 0;
    for (size_t i = 0; i < 8 * size + 32; i++) {
        unsigned bit = i < 8 * size ? bytes[i / 8] >> (i % 8) & 1U : 0;
        if (i < 32) bit ^= 1; // the register begins with ones
        remainder = remainder << 1 | bit;
        if (remainder >> 32) remainder ^= UINT64_C(0x11EDC6F41);
    }
    for (int i = 0; i < 32; i++) reversed |= (uint32_t)(remainder >> i & 1) << (31 - i);
    return ~reversed;
}

static uint32_t unmask(uint32_t masked)
{
    const uint32_t rotated = masked - UINT32_C(0xa282ead8);
    return rotated >> 17 | rotated << 15;
}

// The only event file of the temporary folder whose name has `part` in it.
static void find_file(const char *part, char path[512])
{
    files_list list;
    size_t found = 0;
    assert_int_equal(files_list_folder(temporary_folder, false, &list), IDM_OK);
    for (size_t i = 0; i < list.count; i++) {
        assert_non_null(strstr(list.paths[i], "/events.out.tfevents."));
        if (!strstr(list.paths[i], part)) continue;
        found++;
        (void)snprintf(path, 512, "%s", list.paths[i]);
    }
    files_list_free(&list);
    assert_int_equal(found, 1);
}

static void remove_files(void)
{
    files_list list;
    assert_int_equal(files_list_folder(temporary_folder, false, &list), IDM_OK);
    for (size_t i = 0; i < list.count; i++) assert_int_equal(unlink(list.paths[i]), 0);
    files_list_free(&list);
}

// Takes the file apart; every checksum must be right, and no byte left.
static void read_events(const char *path, events *e)
{
    *e = (events){0};
    assert_int_equal(files_read_whole(path, 1 << 24, &e->bytes, &e->size), IDM_OK);
    const double now = (double)time(NULL);
    for (size_t at = 0; at < e->size;) {
        uint64_t length;
        uint32_t length_crc, crc;
        double seconds;
        assert_true(e->size - at >= 16 && e->count < EVENTS_MAX);
        memcpy(&length, e->bytes + at, 8);
        memcpy(&length_crc, e->bytes + at + 8, 4);
        assert_int_equal(unmask(length_crc), crc32c(e->bytes + at, 8));
        assert_true(length >= TIME && length <= e->size - at - 16);
        memcpy(&crc, e->bytes + at + 12 + length, 4);
        assert_int_equal(unmask(crc), crc32c(e->bytes + at + 12, length));
        assert_int_equal(e->bytes[at + 12], 9);
        memcpy(&seconds, e->bytes + at + 13, 8);
        assert_true(fabs(seconds - now) < 60);
        e->event[e->count] = e->bytes + at + 12 + TIME;
        e->length[e->count++] = length - TIME;
        at += length + 16;
    }
}

static void assert_event(const events *e, size_t index, const char *expected, size_t size)
{
    assert_true(index < e->count);
    assert_int_equal(e->length[index], size);
    assert_memory_equal(e->event[index], expected, size);
}
#define ASSERT_EVENT(e, index, text) assert_event(e, index, text, sizeof(text) - 1)

static void test_checksum(void **state)
{
    (void)state;
    assert_int_equal(crc32c((const uint8_t *)"123456789", 9), 0xE3069283); // the check value of CRC-32C
    uint8_t zeros[32] = {0};
    assert_int_equal(crc32c(zeros, 32), 0x8A9136AA); // RFC 3720
}

static void test_bytes(void **state)
{
    (void)state;
    tensorboard *board;
    events e;
    char path[512];
    assert_int_equal(tensorboard_open(temporary_folder, 300, &board), IDM_OK);
    assert_int_equal(tensorboard_scalar(board, 300, "train/loss", 0.25), IDM_OK);
    assert_int_equal(tensorboard_scalar(board, UINT64_C(1) << 40, "x", NAN), IDM_OK);
    assert_int_equal(tensorboard_sync(board), IDM_OK);
    find_file("events", path);
    read_events(path, &e); // all is in the file already
    free(e.bytes);
    tensorboard_close(board);
    read_events(path, &e);
    assert_int_equal(e.count, 4);
    // python: Event(wall_time=..., step=300, summary=Summary(value=[Summary.Value(tag="train/loss", simple_value=0.25)])), and so on
    ASSERT_EVENT(&e, 0,
                 "\x1a\x0d"
                 "brain.Event:2");
    ASSERT_EVENT(&e, 1, "\x10\xad\x02\x3a\x02\x08\x01");
    ASSERT_EVENT(&e, 2, "\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0atrain/loss\x15\x00\x00\x80\x3e");
    ASSERT_EVENT(&e, 3, "\x10\x80\x80\x80\x80\x80\x20\x2a\x0a\x0a\x08\x0a\x01x\x15\x00\x00\xc0\x7f");
    free(e.bytes);
    remove_files();
}

static void test_image(void **state)
{
    (void)state;
    static const char begin[] = "\x10\xf0\xa2\x04\x2a"; // step 70000, summary
    uint8_t pixels[300 * 2 * 3] = {1, 2, 3}, *png;
    char path[512];
    size_t size;
    tensorboard *board;
    events e;
    assert_int_equal(tensorboard_open(temporary_folder, 0, &board), IDM_OK);
    find_file("events", path);
    const char *picture = temporary("picture.png");
    assert_int_equal(idm_image_save_png(picture, &(idm_image){300, 2, 3, pixels}), IDM_OK);
    assert_int_equal(files_read_whole(picture, 1 << 20, &png, &size), IDM_OK);
    assert_int_equal(unlink(picture), 0);
    assert_true(size > 50 && size < 127 - 20); // so that all lengths are one byte
    assert_int_equal(tensorboard_image(board, 70000, "v/a", png, size), IDM_OK);
    assert_int_equal(tensorboard_image(board, 1, "v/a", png, 32), IDM_BAD_INPUT);
    assert_int_equal(tensorboard_image(board, 1, "v/a", pixels, sizeof pixels), IDM_BAD_INPUT);
    png[25] = 0; // grey
    assert_int_equal(tensorboard_image(board, 1, "", png, size), IDM_OK);
    tensorboard_close(board);
    read_events(path, &e);
    assert_int_equal(e.count, 4);
    ASSERT_EVENT(&e, 1, "\x10\x01\x3a\x02\x08\x01");
    assert_memory_equal(e.event[2], begin, 5);
    // lengths of summary, value; tag; image: height, width, colours, PNG
    const char inner[] = {(char)(size + 18),
                          0x0a,
                          (char)(size + 16),
                          0x0a,
                          3,
                          'v',
                          '/',
                          'a',
                          0x22,
                          (char)(size + 9),
                          8,
                          2,
                          0x10,
                          (char)0xac,
                          2,
                          0x18,
                          3,
                          0x22,
                          (char)size};
    assert_int_equal(e.length[2], 5 + sizeof inner + size);
    assert_memory_equal(e.event[2] + 5, inner, sizeof inner);
    png[25] = 2;
    assert_memory_equal(e.event[2] + 5 + sizeof inner, png, size);
    free(e.bytes);
    free(png);
    remove_files();
}

static void test_every_run_has_its_file(void **state)
{
    (void)state;
    enum { RUNS = 3 };
    tensorboard *boards[RUNS];
    files_list list;
    for (uint64_t i = 0; i < RUNS; i++) assert_int_equal(tensorboard_open(temporary_folder, 10 * i, &boards[i]), IDM_OK);
    for (size_t i = 0; i < RUNS; i++) tensorboard_close(boards[i]);
    assert_int_equal(files_list_folder(temporary_folder, false, &list), IDM_OK);
    assert_int_equal(list.count, RUNS);
    for (size_t i = 0; i < RUNS; i++) { // in the order of their names too
        events e;
        read_events(list.paths[i], &e);
        assert_int_equal(e.count, 2);
        assert_int_equal(e.event[1][1], 10 * i + 1);
        free(e.bytes);
    }
    files_list_free(&list);
    remove_files();
    assert_int_equal(tensorboard_open(temporary("nowhere"), 0, &boards[0]), IDM_FAILED);
    assert_null(boards[0]);
    tensorboard_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_every_run_has_its_file),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
