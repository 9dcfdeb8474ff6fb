// Gradients of the whole network, and Adam's steps, against PyTorch in double precision: every recompute mode, every table of variants.
#include "golden_fixture.h"
#include "train/golden.h"
#include "train/trainer.h"

typedef struct gradient_run {
    golden g;
    tensor_file *file;
    idm_session *session;
    trainer *trainer;
} gradient_run;

static const golden_setting CPU = {.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT};

static gradient_run open_run(const char *name, const golden_setting *setting, trainer_options options)
{
    gradient_run r = {0};
    char path[128];
    bool changed;
    (void)snprintf(path, sizeof path, "data/golden_%s.safetensors", name);
    assert_int_equal(tensor_file_open(path, &r.file), IDM_OK);
    golden_open(&r.g, name);
    r.session = golden_session(&r.g, setting);
    options.batch = r.g.m.count;
    options.height = r.g.m.height;
    options.width = r.g.m.width;
    options.phi = r.g.m.phi;
    options.measurements = r.g.m.measurements;
    if (trainer_create(r.session, &options, NULL, &changed, &r.trainer) != IDM_OK) fail_msg("%s", idm_message());
    return r;
}

static void close_run(gradient_run *r)
{
    trainer_free(r->trainer);
    idm_session_close(r->session);
    golden_close(&r->g);
    tensor_file_close(r->file);
}

static void step(gradient_run *r)
{
    trainer_step(r->trainer, r->g.m.x, r->g.m.y, r->g.m.perm, 0);
    if (context_finish(session_context(r->session)) != IDM_OK) fail_msg("%s", idm_message());
}

typedef struct bounds {
    double whole, median, worst;
} bounds;

static void check(const char *name, const golden_setting *setting, trainer_options options, bounds most, const char *what)
{
    gradient_run r = open_run(name, setting, options);
    golden_errors e;
    trainer_state state;
    step(&r);
    assert_int_equal(trainer_read(r.trainer, &state), IDM_OK);
    if (golden_compare(r.file, &session_insides(r.session).net->parameters, POOL_GRADIENTS, "grad", state.adam.scale, &e) != IDM_OK)
        fail_msg("%s", idm_message());
    assert_true(e.tensors > 500);
    if (getenv("IDM_TEST_ERRORS"))
        print_message("%s, %s: whole %.2e median %.2e worst %.2e (%s) zero %.1e\n", name, what, e.whole, e.median, e.worst, e.worst_name,
                      e.zero);
    if (!(e.whole <= most.whole && e.median <= most.median && e.worst <= most.worst && e.zero <= 1e-5))
        fail_msg("%s, %s: whole %.2e median %.2e worst %.2e (%s) zero %.1e", name, what, e.whole, e.median, e.worst, e.worst_name, e.zero);
    close_run(&r);
}

static const struct {
    idm_recompute mode;
    const char *name;
} MODES[] = {{IDM_RECOMPUTE_NONE, "none"}, {IDM_RECOMPUTE_BLOCKS, "blocks"}, {IDM_RECOMPUTE_INVERT, "invert"}};
enum { MODE_COUNT = 3 };

static void check_modes(const char *name, const golden_setting *setting, bounds exact, bounds inverted, const char *table)
{
    for (int i = 0; i < MODE_COUNT; i++) {
        char what[64];
        (void)snprintf(what, sizeof what, "%s, %s", table, MODES[i].name);
        check(name, setting, (trainer_options){.recompute = MODES[i].mode}, MODES[i].mode == IDM_RECOMPUTE_INVERT ? inverted : exact, what);
    }
}

static void test_tables(void **state)
{
    static const struct {
        golden_setting setting;
        const char *name;
    } tables[] = {
        {{.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT}, "cpu"},
        {{.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT}, "gpu"},
        {{.variants = IDM_VARIANTS_GENERIC, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT}, "generic"},
        {{.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST, .math = IDM_MATH_FAST}, "gpu, clblast, fast"},
        {{.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_FAST}, "cpu, fast"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        check_modes("tiny", &tables[i].setting, (bounds){5e-6, 2e-6, 3e-4}, (bounds){5e-6, 2e-6, 2e-3}, tables[i].name);
}

// Devices that offer less (test_limits.c has the forward pass): small allocations in many slabs, 128 MiB at most, little local memory,
// small groups, narrow registers, float32 alone.
static void test_lesser_devices(void **state)
{
    static const struct {
        idm_variants variants;
        idm_recompute mode;
        const char *limits;
    } devices[] = {{IDM_VARIANTS_GPU, IDM_RECOMPUTE_INVERT, "max_alloc=128MiB,local=32KiB,workgroup=256,fp64=0,fp16=0"},
                   {IDM_VARIANTS_GPU, IDM_RECOMPUTE_BLOCKS, "max_alloc=2MiB,local=16KiB,workgroup=64,fp64=0,fp16=0,subgroups=0"},
                   {IDM_VARIANTS_GENERIC, IDM_RECOMPUTE_INVERT, "max_alloc=2MiB,local=16KiB,workgroup=64"},
                   {IDM_VARIANTS_CPU, IDM_RECOMPUTE_INVERT, "max_alloc=2MiB,vector=8"}};
    (void)state;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        const golden_setting s = {
            .variants = devices[i].variants, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_EXACT, .limits = devices[i].limits};
        const bool inverts = devices[i].mode == IDM_RECOMPUTE_INVERT;
        check("tiny", &s, (trainer_options){.recompute = devices[i].mode}, (bounds){5e-6, 2e-6, inverts ? 2e-3 : 3e-4}, s.limits);
    }
}

static void test_sharp(void **state)
{
    (void)state;
    check_modes("sharp", &CPU, (bounds){1e-4, 2e-5, 3e-3}, (bounds){1e-4, 2e-5, 3e-3}, "cpu");
}

static void test_small_v(void **state)
{
    (void)state;
    check_modes("small_v", &CPU, (bounds){5e-6, 5e-6, 3e-4}, (bounds){5e-6, 5e-6, 2e-3}, "cpu");
}

static void test_16_bits(void **state)
{
    (void)state;
    for (int i = 0; i < MODE_COUNT; i++) {
        const trainer_options half = {.recompute = MODES[i].mode, .precision = IDM_PRECISION_HALF};
        const trainer_options bf16 = {.recompute = MODES[i].mode, .precision = IDM_PRECISION_BF16};
        check("tiny", &CPU, half, (bounds){2e-3, 2e-3, 0.1}, "half");
        check("tiny", &CPU, bf16, (bounds){3e-2, 3e-2, 1}, "bf16");
    }
    const golden_setting gpu = {.variants = IDM_VARIANTS_GPU, .gemm = IDM_GEMM_CLBLAST, .math = IDM_MATH_EXACT};
    check("tiny", &gpu, (trainer_options){.recompute = IDM_RECOMPUTE_NONE, .precision = IDM_PRECISION_HALF}, (bounds){2e-3, 2e-3, 0.1},
          "gpu, half");
}

// ---- the same bits

typedef struct values {
    float *all;
    size_t count, capacity;
} values;

static idm_status collect(void *user, const parameter *which, const float *got, size_t count)
{
    values *v = user;
    (void)which;
    if (v->count + count > v->capacity) {
        v->capacity = 2 * (v->count + count);
        v->all = realloc(v->all, v->capacity * sizeof *v->all);
        assert_non_null(v->all);
    }
    memcpy(v->all + v->count, got, count * sizeof *got);
    v->count += count;
    return IDM_OK;
}

// Gradients of tiny, a batch of two, under a plan; the caller's to free.
static values gradients(const trainer_options *options, const training_plan *wanted)
{
    gradient_run r = open_run("tiny", &CPU, *options);
    values v = {0};
    bool changed = false;
    if (wanted) {
        trainer_options sized = *options;
        sized.batch = r.g.m.count;
        sized.height = r.g.m.height;
        sized.width = r.g.m.width;
        sized.phi = r.g.m.phi;
        sized.measurements = r.g.m.measurements;
        trainer_free(r.trainer);
        idm_session_close(r.session);
        r.session = golden_session(&r.g, &CPU);
        if (trainer_create(r.session, &sized, wanted, &changed, &r.trainer) != IDM_OK) fail_msg("%s", idm_message());
        assert_false(changed);
    }
    step(&r);
    assert_int_equal(parameters_download(&session_insides(r.session).net->parameters, POOL_GRADIENTS, collect, &v), IDM_OK);
    close_run(&r);
    return v;
}

static void assert_same(const values *a, const values *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->all, b->all, a->count * sizeof *a->all);
}

static void test_same_bits(void **state)
{
    (void)state;
    const trainer_options none = {.recompute = IDM_RECOMPUTE_NONE, .micro_batch = 1};
    values first = gradients(&none, NULL), again = gradients(&none, NULL);
    assert_same(&first, &again);
    free(again.all);
    const trainer_options blocks = {.recompute = IDM_RECOMPUTE_BLOCKS, .micro_batch = 1};
    again = gradients(&blocks, NULL);
    assert_same(&first, &again);
    free(again.all);
    const trainer_options whole = {.recompute = IDM_RECOMPUTE_NONE, .micro_batch = 2};
    again = gradients(&whole, NULL);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < first.count; i++) {
        difference += ((double)first.all[i] - again.all[i]) * ((double)first.all[i] - again.all[i]);
        norm += (double)first.all[i] * first.all[i];
    }
    assert_true(difference <= 4e-12 * norm); // micro-batches sum in another order
    free(again.all);
    free(first.all);
}

// ---- Adam

static void check_training(const golden_setting *setting)
{
    gradient_run r = open_run("tiny_training", setting, (trainer_options){.optimiser = true});
    assert_true(arena_held(session_context(r.session), POOL_DERIVED) > 0); // kept operands, renewed after each step
    const double rate = golden_number(r.file, "lr");
    const tensor_entry *entry = tensor_file_find(r.file, "losses");
    float losses[64];
    assert_true(entry && entry->count <= 64);
    assert_int_equal(tensor_file_read_f32(r.file, entry, losses), IDM_OK);
    for (size_t i = 0; i < entry->count; i++) {
        trainer_state s;
        trainer_step(r.trainer, r.g.m.x, r.g.m.y, r.g.m.perm, rate);
        if (trainer_read(r.trainer, &s) != IDM_OK) fail_msg("%s", idm_message());
        if (fabs(s.loss - losses[i]) > 1e-4 * losses[i]) fail_msg("loss %zu: %.8f, not %.8f", i, (double)s.loss, (double)losses[i]);
        s.loss = 0;
        trainer_write(r.trainer, &s);
    }
    golden_errors e;
    assert_int_equal(golden_compare(r.file, &session_insides(r.session).net->parameters, POOL_WEIGHTS, "param", 1, &e), IDM_OK);
    if (getenv("IDM_TEST_ERRORS"))
        print_message("parameters: whole %.2e median %.2e worst %.2e (%s)\n", e.whole, e.median, e.worst, e.worst_name);
    assert_true(e.tensors > 500 && e.whole <= 1e-4 && e.worst <= 1e-2);
    close_run(&r);
}

static void test_training(void **state)
{
    (void)state;
    check_training(&CPU);
    check_training(&(golden_setting){.variants = IDM_VARIANTS_CPU, .gemm = IDM_GEMM_OWN, .math = IDM_MATH_FAST}); // with Winograd
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),   cmocka_unit_test(test_lesser_devices), cmocka_unit_test(test_sharp),
        cmocka_unit_test(test_small_v),  cmocka_unit_test(test_16_bits),        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
