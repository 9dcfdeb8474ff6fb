// Tensors stored in 16 bits: every way of storing and loading (cl/storage.clh), for the numbers that go wrong first.
#include "ops/storage.h"
#include "ops_fixture.h"

#include <math.h>
#include <string.h>

static const uint32_t SPECIAL[] = {
    0x7fffffff, 0xffffffff, 0x7f800001, 0xff800001, 0x7fc00000, // NaN
    0x7f800000, 0xff800000, 0x7f7fffff, 0xff7fffff,             // infinite, and the largest
    0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, // subnormal, and the smallest that is not
    0x00008000, 0x00008001, 0x00018000, 0x80008000,             // between two of bf16's subnormals
    0x00000000, 0x80000000, 0x3f800000, 0xbf800000,             // exact
    0x477fe000, 0x477fefff, 0x477ff000, 0xc77ff000, 0x47800000, // around half's largest
    0x38800000, 0x387fffff, 0x387fe000, 0x33800000, 0x33000000, // around half's smallest normal and subnormal
    0x33000001, 0x32ffffff, 0xb3000000, 0xb3c00000, 0x33c00000, // half-way between subnormals
    0x3f801000, 0x3f803000, 0x3f801001, 0x3f802fff,             // half-way between halves: to even
    0x3f808000, 0x3f818000, 0x3f808001, 0x3f817fff, 0x7f7f8000, // between bf16's; the last becomes infinite
};
enum { SPECIALS = sizeof SPECIAL / sizeof *SPECIAL };

// v rounded to nearest even to `bits` of fraction, with exponents from `least` on and magnitudes below `most`.
static double rounded(float v, int bits, int least, double most)
{
    int exponent;
    if (!isfinite(v) || v == 0) return v;
    (void)frexp(v, &exponent);
    exponent = exponent - 1 < least ? least : exponent - 1;
    const double step = ldexp(1, exponent - bits), value = rint(v / step) * step;
    return fabs(value) < most ? copysign(value, v) : copysign(INFINITY, v);
}

static void check_type(ops *o, const char *table, dtype type, int channels)
{
    const int rows = 3 * SPECIALS + 1;
    const size_t count = (size_t)rows * (size_t)channels;
    float *values = check_values(count, 1, 4), *got = malloc(count * sizeof *got);
    assert_true(values && got);
    // every special number in every lane of a vector, then random ones
    for (size_t i = 0; i < count / 2; i++) memcpy(&values[i], &SPECIAL[(i + i / SPECIALS) % SPECIALS], sizeof *values);
    const arena_mark mark = arena_save(o->ctx, POOL_ACTIVATIONS);
    const tensor x = check_upload(o, values, 1, 1, rows, channels), wide = check_output(o, 1, 1, rows, channels);
    const tensor narrow = arena_push(o->ctx, POOL_ACTIVATIONS, type, 1, 1, rows, channels);
    storage_convert(o, x, narrow);
    storage_convert(o, narrow, wide);
    if (context_read(o->ctx, wide, got) != IDM_OK) fail_msg("%s", idm_message());
    for (size_t i = 0; i < count; i++) {
        const double want = type == DTYPE_F16 ? rounded(values[i], 10, -14, 65520) : rounded(values[i], 7, -126, 0x1p128);
        const bool same = isnan(want) ? isnan(got[i]) : (double)got[i] == want && !signbit(got[i]) == !signbit(want);
        if (!same) fail_msg("%s, %d channels: %a came back as %a, not %a", table, channels, (double)values[i], (double)got[i], want);
    }
    arena_release(o->ctx, POOL_ACTIVATIONS, mark);
    free(values);
    free(got);
}

static void both_types(ops *o, const char *table)
{
    static const int channels[] = {1, 3, 4, 8, 16, 20, 48}; // vectors of every width
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        check_type(o, table, DTYPE_F16, channels[i]);
        check_type(o, table, DTYPE_BF16, channels[i]);
    }
}

static void test_every_width(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, both_types);
    ops_fixture_each(IDM_MATH_FAST, both_types);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_width)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
