#include "train/tensorboard.h"

#include "core/append.h"
#include "core/files.h"
#include "core/status.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct tensorboard {
    appender file;
    uint32_t table[256]; // of the CRC
};

// A growing message; sound == false: memory was short.
typedef struct message {
    uint8_t *bytes;
    size_t size, capacity;
    bool sound;
} message;

// Numbers of fields, from event.proto and summary.proto.
enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLORSPACE = 3, IMAGE_ENCODED = 4 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
typedef enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } wire_type;

static void put(message *m, const void *data, size_t size)
{
    if (m->sound && m->size + size > m->capacity) {
        const size_t capacity = 2 * (m->size + size) + 64;
        uint8_t *larger = realloc(m->bytes, capacity);
        m->sound = larger != NULL;
        if (larger) {
            m->bytes = larger;
            m->capacity = capacity;
        }
    }
    if (!m->sound || size == 0) return;
    memcpy(m->bytes + m->size, data, size);
    m->size += size;
}

static void put_varint(message *m, uint64_t value)
{
    uint8_t bytes[10];
    size_t count = 0;
    for (; value > 127; value >>= 7) bytes[count++] = (uint8_t)(value | 128);
    bytes[count++] = (uint8_t)value;
    put(m, bytes, count);
}

static void put_key(message *m, int field, wire_type type)
{
    put_varint(m, (uint64_t)field << 3 | type);
}

static void put_number(message *m, int field, uint64_t value)
{
    put_key(m, field, WIRE_VARINT);
    put_varint(m, value);
}

static void put_bytes(message *m, int field, const void *data, size_t size)
{
    put_key(m, field, WIRE_BYTES);
    put_varint(m, size);
    put(m, data, size);
}

// Ends the inner message.
static void put_message(message *m, int field, message *inner)
{
    m->sound = m->sound && inner->sound;
    put_bytes(m, field, inner->bytes, inner->size);
    free(inner->bytes);
}

static message begin_event(uint64_t step)
{
    message event = {.sound = true};
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    put_key(&event, EVENT_WALL_TIME, WIRE_64);
    put(&event, &seconds, sizeof seconds);
    if (step > 0) put_number(&event, EVENT_STEP, step);
    return event;
}

static uint32_t masked_crc(const tensorboard *board, const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) crc = board->table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
    crc = ~crc;
    return (crc >> 15 | crc << 17) + UINT32_C(0xA282EAD8);
}

// Ends the event.
static idm_status write_event(tensorboard *board, message *event)
{
    message record = {.sound = event->sound};
    const uint64_t size = event->size;
    const uint32_t size_crc = masked_crc(board, (const uint8_t *)&size, sizeof size), crc = masked_crc(board, event->bytes, event->size);
    put(&record, &size, sizeof size);
    put(&record, &size_crc, sizeof size_crc);
    put(&record, event->bytes, event->size);
    put(&record, &crc, sizeof crc);
    const idm_status status = record.sound ? append_write(&board->file, record.bytes, record.size)
                                           : status_fail(IDM_FAILED, "%s: not enough memory to write", board->file.path);
    free(event->bytes);
    free(record.bytes);
    return status;
}

static idm_status write_value(tensorboard *board, uint64_t step, message *value)
{
    message summary = {.sound = true}, event = begin_event(step);
    put_message(&summary, SUMMARY_VALUE, value);
    put_message(&event, EVENT_SUMMARY, &summary);
    return write_event(board, &event);
}

// The file's first event says its version; the second that what comes takes the place of older events.
static idm_status write_beginning(tensorboard *board, uint64_t step)
{
    static const char version[] = "brain.Event:2";
    message first = begin_event(0);
    put_bytes(&first, EVENT_FILE_VERSION, version, sizeof version - 1);
    IDM_TRY(write_event(board, &first));
    message second = begin_event(step + 1), session = {.sound = true};
    put_number(&session, SESSION_STATUS, SESSION_START);
    put_message(&second, EVENT_SESSION_LOG, &session);
    return write_event(board, &second);
}

static idm_status open_file(const char *folder, appender *file)
{
    char host[64] = "", name[256], path[PATH_MAX];
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0' || strchr(host, '/')) (void)snprintf(host, sizeof host, "localhost");
    bool exists = true;
    idm_status status = IDM_FAILED;
    for (int number = 0; exists && number < 1000; number++) {
        (void)snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.%d", (long long)time(NULL), host, (long)getpid(), number);
        IDM_TRY(files_join(path, sizeof path, folder, name));
        status = append_open(path, true, &exists, file);
    }
    return status;
}

idm_status tensorboard_open(const char *folder, uint64_t step, tensorboard **board)
{
    *board = NULL;
    tensorboard *b = calloc(1, sizeof *b);
    if (!b) return status_fail(IDM_FAILED, "%s: not enough memory", folder);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82F63B78) : 0);
        b->table[i] = crc;
    }
    idm_status status = open_file(folder, &b->file);
    if (status == IDM_OK) status = write_beginning(b, step);
    if (status == IDM_OK) *board = b;
    else tensorboard_close(b);
    return status;
}

idm_status tensorboard_scalar(tensorboard *board, uint64_t step, const char *tag, double value)
{
    message m = {.sound = true};
    const float single = (float)value;
    put_bytes(&m, VALUE_TAG, tag, strlen(tag));
    put_key(&m, VALUE_SIMPLE, WIRE_32);
    put(&m, &single, sizeof single);
    return write_value(board, step, &m);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

idm_status tensorboard_image(tensorboard *board, uint64_t step, const char *tag, const uint8_t *png, size_t size)
{
    // signature, then the header chunk: length, type, width, height, depth, colour type
    static const uint8_t channels[8] = {1, 0, 3, 3, 2, 0, 4, 0};
    if (size < 33 || memcmp(png, "\x89PNG\r\n\x1A\n\0\0\0\rIHDR", 16) != 0 || png[25] > 7 || channels[png[25]] == 0)
        return status_fail(IDM_BAD_INPUT, "%s: no PNG picture", tag);
    message image = {.sound = true}, value = {.sound = true};
    put_number(&image, IMAGE_HEIGHT, big_endian(png + 20));
    put_number(&image, IMAGE_WIDTH, big_endian(png + 16));
    put_number(&image, IMAGE_COLORSPACE, channels[png[25]]);
    put_bytes(&image, IMAGE_ENCODED, png, size);
    put_bytes(&value, VALUE_TAG, tag, strlen(tag));
    put_message(&value, VALUE_IMAGE, &image);
    return write_value(board, step, &value);
}

idm_status tensorboard_sync(tensorboard *board)
{
    return append_sync(&board->file);
}

void tensorboard_close(tensorboard *board)
{
    if (!board) return;
    append_close(&board->file);
    free(board);
}
