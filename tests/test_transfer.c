// Copies that do not wait, and the pace of steps. The queue is held up by an event of the test's own, so that what waits for the device
// shows.
#include "ops_fixture.h"

#include "opencl/internal.h"
#include "ops/pointwise.h"
#include "ops/sensing.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static size_t held; // bytes of all buffers made, counted in front of the OpenCL loader; the tests give none back before they look

cl_mem clCreateBuffer(cl_context handle, cl_mem_flags flags, size_t size, void *host_ptr, cl_int *code)
{
    static cl_mem (*create)(cl_context, cl_mem_flags, size_t, void *, cl_int *);
    if (!create) create = dlsym(RTLD_NEXT, "clCreateBuffer");
    held += size;
    return create(handle, flags, size, host_ptr, code);
}

static tensor push(context *ctx, int count)
{
    return arena_push(ctx, POOL_ACTIVATIONS, DTYPE_F32, 1, 1, 1, count);
}

// Nothing launched from now on runs before release_queue.
static cl_event hold_queue(context *ctx)
{
    cl_int code;
    const cl_event hold = clCreateUserEvent(ctx->handle, &code);
    assert_int_equal(code, CL_SUCCESS);
    assert_int_equal(clEnqueueBarrierWithWaitList(ctx->queue, 1, &hold, NULL), CL_SUCCESS);
    return hold;
}

static void release_queue(cl_event hold)
{
    assert_int_equal(clSetUserEventStatus(hold, CL_COMPLETE), CL_SUCCESS);
    assert_int_equal(clReleaseEvent(hold), CL_SUCCESS);
}

// Releases the queue a little later, from another thread.
typedef struct late_release {
    cl_event hold;
    atomic_bool released;
    pthread_t thread;
} late_release;

static void *release_late(void *user)
{
    late_release *r = user;
    (void)usleep(100000);
    atomic_store(&r->released, true);
    release_queue(r->hold);
    return NULL;
}

static void begin_late_release(late_release *r, cl_event hold)
{
    r->hold = hold;
    atomic_init(&r->released, false);
    assert_int_equal(pthread_create(&r->thread, NULL, release_late, r), 0);
}

// A plan of steps with uploads of `first` and `second` floats and a download.
static void plan(context *ctx, int first, int second)
{
    download d;
    context_plan_begin(ctx);
    const tensor a = push(ctx, first), b = push(ctx, second);
    for (int step = 0; step < 3; step++) {
        context_upload(ctx, a, NULL);
        context_upload(ctx, b, NULL);
        context_download(ctx, tensor_shaped(b, 1, 1, 1, 1), NULL, &d);
        assert_true(download_done(ctx, &d));
        context_step_end(ctx);
    }
    arena_release(ctx, POOL_ACTIVATIONS, (arena_mark){0, 0});
    assert_int_equal(context_plan_commit(ctx), IDM_OK);
}

// Two steps and no more are launched without waiting; what they read is what `source` held when they were launched.
static void test_steps(void **state)
{
    (void)state;
    enum { LARGE = 5000, SMALL = 60 };
    ops_fixture f;
    ops_fixture_open(&f, IDM_VARIANTS_GENERIC, IDM_MATH_EXACT);
    context *ctx = f.ctx;
    const size_t before = held;
    plan(ctx, LARGE, SMALL);
    assert_int_equal(held - before, arena_held(ctx, POOL_ACTIVATIONS) + context_staging_bytes(ctx));
    assert_int_equal(context_staging_bytes(ctx), 2 * (20224 + 256) + DOWNLOADS_MAX * DOWNLOAD_BYTES_MAX);

    const size_t planned = held;
    const tensor large = push(ctx, LARGE), small = push(ctx, SMALL);
    float values[LARGE], got[LARGE], read[2][SMALL] = {{0}};
    download d[2];
    context_fill_zero(ctx, large);
    context_fill_zero(ctx, small);
    assert_int_equal(context_finish(ctx), IDM_OK);
    const cl_event hold = hold_queue(ctx);
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < LARGE; i++) values[i] = (float)(i + step);
        context_upload(ctx, large, values);
        for (int i = 0; i < SMALL; i++) values[i] = (float)(step + 1);
        context_upload(ctx, small, values);
        context_download(ctx, small, read[step], &d[step]);
        context_step_end(ctx);
    }
    assert_false(download_done(ctx, &d[0]) || download_done(ctx, &d[1]));
    late_release late;
    begin_late_release(&late, hold);
    context_step_end(ctx);
    assert_true(atomic_load(&late.released));
    assert_int_equal(download_wait(ctx, &d[1]), IDM_OK);
    assert_true(download_done(ctx, &d[0]) && download_done(ctx, &d[0]));
    for (int i = 0; i < SMALL; i++) assert_true(read[0][i] == 1 && read[1][i] == 2);
    assert_int_equal(context_read(ctx, large, got), IDM_OK);
    for (int i = 0; i < LARGE; i++) assert_true(got[i] == (float)(i + 1));
    assert_int_equal(held, planned);
    assert_int_equal(pthread_join(late.thread, NULL), 0);
    ops_fixture_close(&f);
}

static void test_full_ring_blocks(void **state)
{
    (void)state;
    ops_fixture f;
    ops_fixture_open(&f, IDM_VARIANTS_GENERIC, IDM_MATH_EXACT);
    context *ctx = f.ctx;
    plan(ctx, 640, 64);
    const tensor t = push(ctx, 640), copies = push(ctx, 3 * 640);
    float values[640], got[3 * 640];
    late_release late;
    const cl_event hold = hold_queue(ctx);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 640; i++) values[i] = (float)(k + 1);
        if (k == 2) begin_late_release(&late, hold);
        context_upload(ctx, t, values);
        assert_true(k == 2 || ctx->staging.count == k + 1);
        context_copy(ctx, t, tensor_row_range(tensor_shaped(copies, 1, 1, 3, 640), k, 1));
    }
    assert_true(atomic_load(&late.released));
    assert_int_equal(context_read(ctx, copies, got), IDM_OK);
    for (int i = 0; i < 3 * 640; i++) assert_true(got[i] == (float)(i / 640 + 1));
    assert_int_equal(pthread_join(late.thread, NULL), 0);
    ops_fixture_close(&f);
}

// Uploads of all sizes, in a ring of any size: each launch sees the upload before it, and none is overwritten while it is read.
static void check_order(int planned)
{
    enum { ROUNDS = 200, MOST = 3000 };
    ops_fixture f;
    ops_fixture_open(&f, IDM_VARIANTS_GENERIC, IDM_MATH_EXACT);
    context *ctx = f.ctx;
    if (planned) plan(ctx, planned, planned);
    const tensor t = push(ctx, MOST), sums = push(ctx, MOST), one = push(ctx, 1);
    float *values = check_values(MOST, 1, 1), *got = malloc(MOST * sizeof *got), *want = calloc(MOST, sizeof *want);
    assert_true(values && got && want);
    context_write(ctx, one, &(float){1});
    context_fill_zero(ctx, sums);
    for (int round = 0; round < ROUNDS; round++) {
        const int count = 1 + (round * 1237) % MOST;
        const tensor part = tensor_shaped(t, 1, 1, 1, count), sum = tensor_shaped(sums, 1, 1, 1, count);
        for (int i = 0; i < count; i++) {
            values[i] = (float)((round * 31 + i) % 1000);
            want[i] += values[i];
        }
        context_upload(ctx, part, values);
        add_scaled(&f.o, sum, part, one, sum);
        if (round % 3 == 2) context_step_end(ctx);
    }
    assert_int_equal(context_read(ctx, sums, got), IDM_OK);
    assert_memory_equal(got, want, MOST * sizeof *got);
    free(values);
    free(got);
    free(want);
    ops_fixture_close(&f);
}

static void test_order(void **state)
{
    (void)state;
    check_order(0);
    check_order(1500);
    check_order(3000);
    check_order(100000);
}

static void test_unplanned(void **state)
{
    (void)state;
    ops_fixture f;
    ops_fixture_open(&f, IDM_VARIANTS_GENERIC, IDM_MATH_EXACT);
    const tensor t = push(f.ctx, 8);
    const float values[] = {1, 2, 3, 4, 5, 6, 7, 8};
    float got[8] = {0};
    download d[DOWNLOADS_MAX + 1];
    assert_int_equal(context_staging_bytes(f.ctx), 0);
    context_upload(f.ctx, t, values);
    for (int i = 0; i < DOWNLOADS_MAX; i++) context_download(f.ctx, t, got, &d[i]);
    assert_int_equal(context_staging_bytes(f.ctx), 2 * 256 + DOWNLOADS_MAX * DOWNLOAD_BYTES_MAX);
    for (int round = 0; round < 20; round++) { // slots come back
        assert_int_equal(download_wait(f.ctx, &d[round % DOWNLOADS_MAX]), IDM_OK);
        context_download(f.ctx, t, got, &d[round % DOWNLOADS_MAX]);
    }
    assert_memory_equal(got, values, sizeof got);
    context_download(f.ctx, t, got, &d[DOWNLOADS_MAX]); // one too many
    for (int i = 0; i <= DOWNLOADS_MAX; i++) assert_int_equal(download_wait(f.ctx, &d[i]), IDM_FAILED);
    assert_true(download_done(f.ctx, &d[0]));
    context_clear_error(f.ctx);
    context_download(f.ctx, push(f.ctx, DOWNLOAD_BYTES_MAX / 4 + 1), got, &d[0]);
    assert_int_equal(download_wait(f.ctx, &d[0]), IDM_FAILED);
    ops_fixture_close(&f);
}

// After an error all of it does nothing.
static void test_sticky_error(void **state)
{
    (void)state;
    ops_fixture f;
    ops_fixture_open(&f, IDM_VARIANTS_GENERIC, IDM_MATH_EXACT);
    const tensor t = push(f.ctx, 8);
    float values[8] = {0}, got[8] = {7};
    download d;
    context_fail(f.ctx, IDM_FAILED, "planted");
    context_upload(f.ctx, t, values);
    context_download(f.ctx, t, got, &d);
    for (int i = 0; i < 4; i++) context_step_end(f.ctx);
    assert_true(download_done(f.ctx, &d));
    assert_int_equal(download_wait(f.ctx, &d), IDM_FAILED);
    assert_true(got[0] == 7);
    assert_non_null(strstr(idm_message(), "planted"));
    ops_fixture_close(&f);
}

// More launches at once than the context keeps times of: it waits for the oldest only.
static void test_many_launches(void **state)
{
    (void)state;
    ops_fixture f;
    ops_fixture_open(&f, IDM_VARIANTS_GENERIC, IDM_MATH_EXACT);
    const tensor t = push(f.ctx, 4), one = push(f.ctx, 1);
    float got[4];
    context_write(f.ctx, one, &(float){1});
    context_fill_zero(f.ctx, t);
    add_scaled(&f.o, t, one, one, t); // builds
    context_fill_zero(f.ctx, t);
    assert_int_equal(context_finish(f.ctx), IDM_OK);
    const cl_event hold = hold_queue(f.ctx);
    const tensor first = tensor_shaped(t, 1, 1, 1, 1);
    for (int i = 0; i < PENDING_MAX; i++) add_scaled(&f.o, first, one, one, first);
    late_release late;
    begin_late_release(&late, hold);
    for (int i = 0; i < 100; i++) add_scaled(&f.o, first, one, one, first);
    assert_true(atomic_load(&late.released));
    assert_int_equal(context_read(f.ctx, t, got), IDM_OK);
    assert_true(got[0] == PENDING_MAX + 100);
    assert_int_equal(pthread_join(late.thread, NULL), 0);
    ops_fixture_close(&f);
}

// A permutation that comes later is the same as one given at once; neither waits.
static void update_permutation(ops *o, const char *table)
{
    enum { H = 12, W = 20, PIXELS = H * W, N = 16, M = 5 };
    (void)table;
    float *phi = check_values((size_t)N * M, 1, 0.5f), *x = check_values(PIXELS, 2, 1), want[PIXELS], got[PIXELS];
    int32_t perms[2][PIXELS];
    assert_true(phi && x);
    for (int i = 0; i < PIXELS; i++) perms[0][i] = (i * 7 + 3) % PIXELS;
    for (int i = 0; i < PIXELS; i++) perms[1][i] = (i * 11 + 5) % PIXELS;
    sensing given, later;
    sensing_create(o, phi, N, M, perms[1], H, W, &given);
    sensing_create(o, phi, N, M, NULL, H, W, &later);
    const tensor plane = check_upload(o, x, 1, H, W, 1), y = check_output(o, 1, 1, PIXELS / N, M);
    const tensor first = check_output(o, 1, H, W, 1), second = check_output(o, 1, H, W, 1);
    sensing_forward(o, &given, plane, y);
    sensing_adjoint(o, &given, y, first);
    assert_int_equal(context_read(o->ctx, first, want), IDM_OK);
    sensing_update(o, &later, perms[0]);
    sensing_forward(o, &later, plane, y); // built before the queue is held up
    sensing_adjoint(o, &later, y, second);
    assert_int_equal(context_read(o->ctx, second, got), IDM_OK);
    assert_memory_not_equal(got, want, sizeof want);
    const cl_event hold = hold_queue(o->ctx);
    sensing_update(o, &later, perms[1]);
    memset(perms[1], 0, sizeof perms[1]);
    sensing_forward(o, &later, plane, y);
    sensing_adjoint(o, &later, y, second);
    release_queue(hold);
    assert_int_equal(context_read(o->ctx, second, got), IDM_OK);
    assert_memory_equal(got, want, sizeof want);
    free(phi);
    free(x);
}

static void test_update_permutation(void **state)
{
    (void)state;
    ops_fixture_each(IDM_MATH_EXACT, update_permutation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_full_ring_blocks),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_unplanned),
        cmocka_unit_test(test_sticky_error),
        cmocka_unit_test(test_many_launches),
        cmocka_unit_test(test_update_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
