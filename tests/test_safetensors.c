#include "hostile.h"
#include "io/half.h"
#include "io/safetensors.h"

#include <math.h>

// A file of this header and `data_size` zero bytes.
static const char *hand_made(const char *header, size_t data_size)
{
    const char *path = temporary("hand.safetensors");
    uint8_t bytes[4096] = {0};
    const uint64_t length = strlen(header);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    write_bytes(path, bytes, 8 + length + data_size);
    return path;
}

static void assert_header_refused(const char *header, size_t data_size, const char *words)
{
    tensor_file *file;
    const char *path = hand_made(header, data_size);
    assert_refused(tensor_file_open(path, &file), path, words);
    assert_null(file);
}

#define ENTRY(name, dtype, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void headers_that_do_not_fit_the_file(void **state)
{
    (void)state;
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 0, 8) "}", 4, "\"a\" lies outside the file");
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 8, 0) "}", 8, "\"a\" lies outside the file");
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 0, 8) "," ENTRY("b", "F32", "[2]", 4, 12) "}", 12, "\"b\" overlaps");
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 0, 8) "," ENTRY("b", "F32", "[2]", 0, 8) "}", 8, "overlaps");
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 0, 8) "," ENTRY("b", "F32", "[1]", 12, 16) "}", 16, "gap before tensor \"b\"");
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 4, 12) "}", 12, "gap before tensor \"a\"");
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 0, 8) "}", 9, "1 bytes after the last tensor");
    assert_header_refused("{" ENTRY("a", "F32", "[3]", 0, 8) "}", 8, "\"a\" has 8 bytes, but its shape and type need 12");
}

static void damaged_descriptions(void **state)
{
    (void)state;
    assert_header_refused("{" ENTRY("a", "F32", "[2]", 0, 8) "," ENTRY("a", "F32", "[2]", 8, 16) "}", 16, "\"a\" is there twice");
    assert_header_refused("{" ENTRY("a", "F32", "[4294967296,4294967296,2]", 0, 8) "}", 8, "impossibly large shape");
    assert_header_refused("{" ENTRY("a", "F32", "[9007199254740991,4096]", 0, 8) "}", 8, "impossibly large shape");
    assert_header_refused("{" ENTRY("a", "F32", "[-2]", 0, 8) "}", 8, "damaged shape");
    assert_header_refused("{" ENTRY("a", "F32", "[1.5]", 0, 8) "}", 8, "damaged shape");
    assert_header_refused("{" ENTRY("a", "F32", "[1e300]", 0, 8) "}", 8, "damaged shape");
    assert_header_refused("{" ENTRY("a", "F32", "[1,1,1,1,1,1,1,1,2]", 0, 8) "}", 8, "more than 8 dimensions");
    assert_header_refused("{" ENTRY("a", "F32", "{}", 0, 8) "}", 8, "damaged shape");
    assert_header_refused("{" ENTRY("a", "F8_E4M3", "[8]", 0, 8) "}", 8, "type F8_E4M3, which is not supported");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "needs exactly dtype, shape and data_offsets");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "needs exactly");
    assert_header_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "lies outside");
    assert_header_refused("{\"a\":7}", 0, "needs exactly");
    assert_header_refused("{" ENTRY("a\\u001b[2J", "F32", "[2]", 0, 8) "}", 8, "unusable name");
    assert_header_refused("{" ENTRY("", "F32", "[2]", 0, 8) "}", 8, "unusable name");
    assert_header_refused("{\"__metadata__\":[]}", 0, "damaged or repeated __metadata__");
    assert_header_refused("{\"__metadata__\":{\"a\":1}}", 0, "metadata \"a\" is not a text");
    assert_header_refused("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "metadata key \"a\" is there twice");
}

static void damaged_headers(void **state)
{
    (void)state;
    assert_header_refused("[]", 0, "damaged header");
    assert_header_refused("", 0, "damaged header");
    assert_header_refused("{", 0, "damaged header");
    assert_header_refused("{} x", 0, "damaged header");
    assert_header_refused("{\"a\"", 0, "damaged header");
    char deep[3000] = "{\"a\":";
    memset(deep + 5, '[', 2900);
    assert_header_refused(deep, 0, "damaged header");

    tensor_file *file;
    const char *path = temporary("short.safetensors");
    write_bytes(path, "\1\0\0", 3);
    assert_refused(tensor_file_open(path, &file), path, "too short");
    write_bytes(path, "\x20\0\0\0\0\0\0\0{}", 10);
    assert_refused(tensor_file_open(path, &file), path, "truncated");
    write_bytes(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_refused(tensor_file_open(path, &file), path, "truncated");
    assert_refused(tensor_file_open(temporary_folder, &file), temporary_folder, "not a regular file");
    path = temporary("missing");
    assert_refused(tensor_file_open(path, &file), path, "No such file");
}

// 100 MB and one byte, sparse.
static void header_over_the_limit(void **state)
{
    (void)state;
    const char *path = temporary("large.safetensors");
    const uint64_t size = 100000001;
    write_bytes(path, &size, sizeof size);
    assert_int_equal(truncate(path, 100000100), 0);
    tensor_file *file;
    assert_refused(tensor_file_open(path, &file), path, "header of 100000001 bytes");
}

static void written_file_is_read_back(void **state)
{
    (void)state;
    const float f32[6] = {1, -2.5F, 3, 4, 5, 1e-42F};
    const double f64[2] = {0.1, -1e300};
    const int64_t i64[3] = {-1, INT64_MAX, 0};
    const int32_t i32[2] = {-7, 8};
    const uint8_t u8[3] = {0, 128, 255};
    const uint16_t f16[2] = {0x3c00, 0xfc00}, bf16[2] = {0x3f80, 0x7fc1};
    const safetensors_tensor tensors[] = {
        {"u \"8\"", FILE_U8, 1, {3}, u8}, {"f32", FILE_F32, 3, {1, 2, 3}, f32}, {"i64", FILE_I64, 1, {3}, i64},
        {"f16", FILE_F16, 1, {2}, f16},   {"bf16", FILE_BF16, 2, {2, 1}, bf16}, {"i32", FILE_I32, 1, {2}, i32},
        {"f64", FILE_F64, 1, {2}, f64},   {"scalar", FILE_F32, 0, {0}, f32},    {"empty", FILE_F32, 2, {0, 5}, f32},
    };
    const safetensors_metadata metadata[] = {{"channels", "32,64"}, {"note", "a \"b\"\n"}};
    const char *path = temporary("written.safetensors");
    assert_int_equal(safetensors_write(path, tensors, 9, metadata, 2), IDM_OK);
    tensor_file *file;
    assert_int_equal(tensor_file_open(path, &file), IDM_OK);
    assert_int_equal(tensor_file_count(file), 9);
    assert_string_equal(tensor_file_format(file), "safetensors");
    assert_string_equal(tensor_file_metadata(file, "channels"), "32,64");
    assert_string_equal(tensor_file_metadata(file, "note"), "a \"b\"\n");
    assert_null(tensor_file_metadata(file, "other"));
    assert_null(tensor_file_find(file, "other"));
    float values[6];
    int64_t integers[3];
    const tensor_entry *entry = tensor_file_find(file, "f32");
    assert_int_equal(entry->rank, 3);
    assert_int_equal(entry->shape[2], 3);
    assert_int_equal(tensor_file_read_f32(file, entry, values), IDM_OK);
    assert_memory_equal(values, f32, sizeof f32);
    assert_int_equal(tensor_file_read_f32(file, tensor_file_find(file, "f64"), values), IDM_OK);
    assert_true(values[0] == 0.1F && isinf(values[1]));
    assert_int_equal(tensor_file_read_f32(file, tensor_file_find(file, "f16"), values), IDM_OK);
    assert_true(values[0] == 1 && values[1] == -INFINITY);
    assert_int_equal(tensor_file_read_f32(file, tensor_file_find(file, "bf16"), values), IDM_OK);
    assert_true(values[0] == 1 && isnan(values[1]));
    assert_int_equal(tensor_file_read_f32(file, tensor_file_find(file, "scalar"), values), IDM_OK);
    assert_true(values[0] == 1);
    assert_int_equal(tensor_file_read_f32(file, tensor_file_find(file, "empty"), values), IDM_OK);
    assert_int_equal(tensor_file_read_i64(file, tensor_file_find(file, "i64"), integers), IDM_OK);
    assert_memory_equal(integers, i64, sizeof i64);
    assert_int_equal(tensor_file_read_i64(file, tensor_file_find(file, "i32"), integers), IDM_OK);
    assert_true(integers[0] == -7 && integers[1] == 8);
    assert_int_equal(tensor_file_read_i64(file, tensor_file_find(file, "u \"8\""), integers), IDM_OK);
    assert_true(integers[1] == 128 && integers[2] == 255);
    assert_refused(tensor_file_read_i64(file, entry, integers), path, "\"f32\" holds F32 where integers belong");
    assert_refused(tensor_file_read_f32(file, tensor_file_find(file, "i32"), values), path, "\"i32\" holds I32");
    assert_refused(tensor_file_expect_shape(file, entry, 1, (const int64_t[]){6}), path, "(1, 2, 3), expected (6)");
    for (size_t i = 0; i < 9; i++) { // each at a multiple of its type's size
        const tensor_entry *e = tensor_file_at(file, i);
        assert_int_equal(e->offset % file_dtype_size(e->dtype), 0);
    }
    tensor_file_close(file);
    size_t size;
    uint8_t *bytes = read_or_skip(path, &size);
    uint64_t header;
    memcpy(&header, bytes, 8);
    assert_int_equal(header % 8, 0);
    free(bytes);
}

static void every_half_is_converted_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const int exponent = (h >> 10) & 31, fraction = h & 1023;
        const float value = half_to_float((uint16_t)h);
        if (exponent == 31 && fraction) {
            assert_true(isnan(value));
            continue;
        }
        const double magnitude = exponent == 31 ? INFINITY : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        assert_true(value == (float)(h & 0x8000 ? -magnitude : magnitude));
        assert_int_equal(signbit(value) != 0, h >> 15);
        assert_int_equal(half_from_float(value), h);
        if (exponent == 31) continue;
        // halfway to the next one: to the even of the two
        const float between = (float)((double)value + ldexp(h & 0x8000 ? -0.5 : 0.5, (exponent ? exponent : 1) - 25));
        assert_int_equal(half_from_float(between), h % 2 ? h + 1 : h);
        assert_int_equal(half_from_float(nextafterf(between, 0)), h);
    }
    assert_int_equal(half_from_float(NAN) & 0x7fff, 0x7e00);
}

static void unwritable_target(void **state)
{
    (void)state;
    const char *path = temporary("no/such/folder.safetensors");
    assert_int_equal(safetensors_write(path, NULL, 0, NULL, 0), IDM_FAILED);
    assert_non_null(strstr(idm_message(), path));
    const float value = 1;
    const safetensors_tensor tensor = {"a", FILE_F32, 1, {1}, &value};
    if (access("/dev/full", W_OK) == 0) assert_int_equal(safetensors_write("/dev/full", &tensor, 1, NULL, 0), IDM_FAILED);
}

// Every prefix of a good file is refused, none crashes.
static void truncated_anywhere(void **state)
{
    (void)state;
    const float values[3] = {1, 2, 3};
    const safetensors_tensor tensors[] = {{"a", FILE_F32, 1, {3}, values}, {"b", FILE_F32, 1, {2}, values}};
    const char *whole = temporary("whole.safetensors"), *part = temporary("part.safetensors");
    assert_int_equal(safetensors_write(whole, tensors, 2, NULL, 0), IDM_OK);
    size_t size;
    uint8_t *bytes = read_or_skip(whole, &size);
    for (size_t cut = 0; cut < size; cut++) {
        tensor_file *file;
        write_bytes(part, bytes, cut);
        assert_refused(tensor_file_open(part, &file), part, "");
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_that_do_not_fit_the_file),
        cmocka_unit_test(damaged_descriptions),
        cmocka_unit_test(damaged_headers),
        cmocka_unit_test(header_over_the_limit),
        cmocka_unit_test(written_file_is_read_back),
        cmocka_unit_test(every_half_is_converted_exactly),
        cmocka_unit_test(unwritable_target),
        cmocka_unit_test(truncated_anywhere),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
