// For tests of operations: a device, a context and an ops for one table of variants, and a loop over all tables.
//
//     static void check_all(ops *o, const char *table) { OPS_CHECK(o, 1e-6, check_silu(o, 3, 5, 7, 17)); }
//     static void test_silu(void **state) { (void)state; ops_fixture_each(IDM_MATH_EXACT, check_all); }
//
// IDM_TEST_DEVICE chooses the device (default "auto").
#ifndef TESTS_OPS_FIXTURE_H
#define TESTS_OPS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tune/check.h"
#include <stdlib.h>

typedef struct ops_fixture {
    context *ctx;
    ops o;
} ops_fixture;

// Fails the test when there is no device.
static inline void ops_fixture_open(ops_fixture *f, idm_variants variants, idm_math math)
{
    const char *device = getenv("IDM_TEST_DEVICE");
    const context_options options = {0};
    const int widest = 4096; // channels that a convolution under test may read
    device_info info;
    if (device_choose(device ? device : "auto", &info) != IDM_OK || context_create(&info, &options, &f->ctx) != IDM_OK ||
        ops_create(f->ctx, variants, IDM_GEMM_OWN, math, widest, &f->o) != IDM_OK)
        fail_msg("%s", idm_message());
}

static inline void ops_fixture_close(ops_fixture *f)
{
    context_destroy(f->ctx);
}

// Runs `body` once for each table of variants.
static inline void ops_fixture_each(idm_math math, void (*body)(ops *o, const char *table))
{
    static const struct {
        idm_variants variants;
        const char *name;
    } tables[] = {{IDM_VARIANTS_CPU, "cpu"}, {IDM_VARIANTS_GPU, "gpu"}, {IDM_VARIANTS_GENERIC, "generic"}};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        ops_fixture f;
        ops_fixture_open(&f, tables[i].variants, math);
        body(&f.o, tables[i].name);
        ops_fixture_close(&f);
    }
}

// Runs one check_OP call, gives back what it pushed, and fails the test if the error is above the tolerance. IDM_TEST_ERRORS=1 prints every
// error.
#define OPS_CHECK(o, tolerance, call)                                                                                          \
    do {                                                                                                                       \
        const arena_mark mark_ = arena_save((o)->ctx, POOL_ACTIVATIONS);                                                       \
        const check_result result_ = (call);                                                                                   \
        arena_release((o)->ctx, POOL_ACTIVATIONS, mark_);                                                                      \
        if (getenv("IDM_TEST_ERRORS")) print_message("%.2e (%.0e) %s\n", result_.error, (double)(tolerance), #call);           \
        if (result_.status != IDM_OK) fail_msg("%s: %s", #call, idm_message());                                                \
        if (!(result_.error <= (tolerance))) fail_msg("%s: error %.3e above %.3e", #call, result_.error, (double)(tolerance)); \
    } while (0)

#endif
