// Training batches: against their definition in train/dataset.h, worked out here in another way; the same bits however they are made; and
// folders with bad pictures in them.
#include "hostile.h"

#include "core/files.h"
#include "core/random.h"
#include "train/dataset.h"
#include <idm/image.h>

#include <sys/stat.h>

enum { SIDE = 16, PIXELS = SIDE * SIDE, NAMES = 7 };

// In the list's order.
static const struct {
    const char *name;
    int width, height, channels;
} pictures[NAMES] = {{"set/a.png", 16, 16, 1},      {"set/b.PNG", 40, 17, 3},         {"set/deep/c.png", 16, 33, 3},
                     {"set/deep/d.png", 64, 64, 1}, {"set/deep/er/e.png", 21, 30, 3}, {"set/f.png", 100, 20, 1},
                     {"set/g.png", 19, 19, 3}};

static uint8_t *planes[NAMES];
static char told[8][2048]; // warnings
static size_t told_count;

static void tell(void *user, const char *text)
{
    assert_ptr_equal(user, told);
    if (told_count < 8) (void)snprintf(told[told_count], sizeof told[0], "%s", text);
    told_count++;
}

// A picture of hashed pixels; `plane` (may be NULL) gets its luminance.
static void write_picture(const char *path, int width, int height, int channels, uint8_t **plane)
{
    const size_t count = (size_t)(width * height * channels);
    idm_image image = {width, height, channels, malloc(count)};
    const uint64_t key = random_key(1, path);
    assert_non_null(image.pixels);
    for (size_t i = 0; i < count; i++) image.pixels[i] = (uint8_t)random_bits(key, i);
    if (idm_image_save_png(path, &image) != IDM_OK) fail_msg("%s", idm_message());
    if (plane) {
        *plane = malloc((size_t)(width * height));
        assert_non_null(*plane);
        for (int i = 0; i < width * height; i++) {
            const uint8_t *p = image.pixels + i * channels;
            (*plane)[i] = channels == 1 ? p[0] : (uint8_t)((4899 * p[0] + 9617 * p[1] + 1868 * p[2] + 8192) >> 14);
        }
    }
    idm_image_free(&image);
}

static int make_pictures(void **state)
{
    if (make_temporary(state) != 0) return -1;
    assert_int_equal(files_make_folders(temporary("set/deep/er")), IDM_OK);
    for (int i = 0; i < NAMES; i++)
        write_picture(temporary(pictures[i].name), pictures[i].width, pictures[i].height, pictures[i].channels, &planes[i]);
    return 0;
}

static int remove_pictures(void **state)
{
    for (int i = 0; i < NAMES; i++) free(planes[i]);
    return remove_temporary(state);
}

// A new folder in the temporary one.
static const char *make_set(const char *name)
{
    const char *path = temporary(name);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static dataset_options options_for(const char *set, int batch, int workers, size_t cache)
{
    static char folder[160];
    (void)snprintf(folder, sizeof folder, "%s", set); // temporary() writes over its old results
    told_count = 0;
    return (dataset_options){
        .folder = folder, .patch_size = SIDE, .batch = batch, .workers = workers, .seed = 7, .cache_bytes = cache, .warn = {tell, told}};
}

static dataset *open_set(const dataset_options *options, uint64_t first_step)
{
    dataset *data;
    if (dataset_open(options, first_step, &data) != IDM_OK) fail_msg("%s", idm_message());
    return data;
}

static dataset_batch next_batch(dataset *data)
{
    dataset_batch batch;
    if (dataset_next(data, &batch) != IDM_OK) fail_msg("%s", idm_message());
    return batch;
}

static void assert_told(size_t index, const char *part)
{
    if (index >= told_count || !strstr(told[index], part)) fail_msg("warning %zu: \"%s\" is not in \"%s\"", index, part, told[index]);
}

static void assert_not_opened(const dataset_options *options, idm_status status, const char *part)
{
    dataset *data;
    if (dataset_open(options, 0, &data) != status) fail_msg("%s: another status: %s", part, idm_message());
    assert_null(data);
    if (!strstr(idm_message(), part)) fail_msg("\"%s\" is not in \"%s\"", part, idm_message());
}

static void turn(uint8_t patch[PIXELS], unsigned flip)
{
    uint8_t old[PIXELS];
    for (int step = 0; step < 3; step++) { // upside down, mirrored, transposed
        if (!(flip >> step & 1)) continue;
        memcpy(old, patch, PIXELS);
        for (int i = 0; i < PIXELS; i++) {
            const int r = i / SIDE, c = i % SIDE;
            patch[i] = old[step == 0 ? (SIDE - 1 - r) * SIDE + c : step == 1 ? r * SIDE + SIDE - 1 - c : c * SIDE + r];
        }
    }
}

static void expect_patch(uint64_t k, unsigned flip, const float *x)
{
    int32_t order[NAMES];
    uint8_t patch[PIXELS];
    random_permutation(random_bits(random_key(7, "data order"), k / NAMES), order, NAMES);
    const int image = order[k % NAMES], width = pictures[image].width, height = pictures[image].height;
    const int left = (int)random_below(random_key(7, "data crop"), 2 * k, (uint64_t)(width - SIDE + 1));
    const int top = (int)random_below(random_key(7, "data crop"), 2 * k + 1, (uint64_t)(height - SIDE + 1));
    for (int r = 0; r < SIDE; r++) memcpy(patch + r * SIDE, planes[image] + (top + r) * width + left, SIDE);
    turn(patch, flip);
    for (int i = 0; i < PIXELS; i++)
        if (x[i] != (float)patch[i] / 255) fail_msg("sample %d, pixel %d: %g instead of %g", (int)k, i, x[i], patch[i] / 255.0);
}

static void test_definition(void **state)
{
    (void)state;
    static const int batches[] = {1, 3, 7, 20}; // the last ones go through several passes each
    for (size_t b = 0; b < 4; b++) {
        const dataset_options options = options_for(temporary("set"), batches[b], 3, 1 << 20);
        dataset *data = open_set(&options, 0);
        unsigned flips_seen = 0;
        for (uint64_t step = 0; step < 40; step++) {
            const dataset_batch batch = next_batch(data);
            const unsigned flip = (unsigned)random_below(random_key(7, "data flip"), step, 8);
            assert_int_equal(batch.step, step);
            for (int i = 0; i < batches[b]; i++) expect_patch(step * (uint64_t)batches[b] + (uint64_t)i, flip, batch.x + i * PIXELS);
            int32_t perm[PIXELS];
            random_permutation(random_bits(random_key(7, "data permutation"), step), perm, PIXELS);
            assert_memory_equal(batch.perm, perm, sizeof perm);
            flips_seen |= 1U << flip;
        }
        assert_int_equal(flips_seen, 255);
        dataset_close(data);
        assert_int_equal(told_count, 0);
    }
}

static void test_same_bits(void **state)
{
    (void)state;
    enum { STEPS = 30, BATCH = 5, VALUES = BATCH * PIXELS };
    float *expected = malloc(sizeof(float[STEPS][VALUES]));
    int32_t *perms = malloc(sizeof(int32_t[STEPS][PIXELS]));
    assert_true(expected && perms);
    const struct {
        int workers;
        size_t cache;
        uint64_t first;
    } cases[] = {{1, 0, 0}, {1, SIZE_MAX, 0}, {4, 0, 0}, {16, 3000, 0}, {3, 1 << 20, 11}, {40, 5000, 29}, {2, 0, 13}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dataset_options options = options_for(temporary("set"), BATCH, cases[i].workers, cases[i].cache);
        dataset *data = open_set(&options, cases[i].first);
        for (uint64_t step = cases[i].first; step < STEPS; step++) {
            const dataset_batch batch = next_batch(data);
            assert_int_equal(batch.step, step);
            if (i == 0) memcpy(expected + step * VALUES, batch.x, sizeof(float[VALUES]));
            if (i == 0) memcpy(perms + step * PIXELS, batch.perm, sizeof(int32_t[PIXELS]));
            assert_memory_equal(batch.x, expected + step * VALUES, sizeof(float[VALUES]));
            assert_memory_equal(batch.perm, perms + step * PIXELS, sizeof(int32_t[PIXELS]));
        }
        dataset_report report;
        dataset_count(data, &report);
        assert_true(report.cached_bytes <= cases[i].cache);
        assert_true(cases[i].cache > 0 || report.cached_images == 0);
        if (i == 1) assert_int_equal(report.cached_images, NAMES);
        assert_true(report.usable == NAMES && report.files == NAMES && report.broken == 0 && report.replaced == 0);
        dataset_close(data);
    }
    free(expected);
    free(perms);
}

static void test_other_seeds(void **state)
{
    (void)state;
    dataset_options options = options_for(temporary("set"), 2, 1, 0);
    dataset *one = open_set(&options, 0);
    options.seed = 8;
    dataset *other = open_set(&options, 0);
    const dataset_batch a = next_batch(one), b = next_batch(other);
    assert_memory_not_equal(a.x, b.x, sizeof(float[2 * PIXELS]));
    assert_memory_not_equal(a.perm, b.perm, sizeof(int32_t[PIXELS]));
    dataset_close(one);
    dataset_close(other);
}

// Every image once in a pass, in a new order each time.
static void test_passes(void **state)
{
    (void)state;
    enum { COUNT = 9, PASSES = 6 };
    (void)make_set("grey");
    for (int i = 0; i < COUNT; i++) {
        uint8_t pixels[PIXELS];
        char name[32];
        memset(pixels, 10 * i, sizeof pixels);
        (void)snprintf(name, sizeof name, "grey/%d.png", i);
        assert_int_equal(idm_image_save_png(temporary(name), &(idm_image){SIDE, SIDE, 1, pixels}), IDM_OK);
    }
    const dataset_options options = options_for(temporary("grey"), 1, 2, 1 << 20);
    dataset *data = open_set(&options, 0);
    int orders[PASSES][COUNT];
    for (int pass = 0; pass < PASSES; pass++) {
        unsigned seen = 0;
        for (int i = 0; i < COUNT; i++) {
            orders[pass][i] = (int)(next_batch(data).x[0] * 25.5F + 0.5F);
            seen |= 1U << orders[pass][i];
        }
        assert_int_equal(seen, (1U << COUNT) - 1);
        if (pass > 0) assert_memory_not_equal(orders[pass], orders[pass - 1], sizeof orders[0]);
    }
    dataset_close(data);
}

static void test_what_is_left_out(void **state)
{
    (void)state;
    (void)make_set("mixed");
    const dataset_options options = options_for(temporary("mixed"), 2, 2, 0);
    assert_not_opened(&options, IDM_BAD_INPUT, "no picture");
    write_bytes(temporary("mixed/readme.txt"), "no picture", 10);
    write_bytes(temporary("mixed/.hidden.png"), "no picture", 10);
    assert_not_opened(&options, IDM_BAD_INPUT, "no picture");
    write_picture(temporary("mixed/narrow.png"), SIDE - 1, 50, 1, NULL);
    write_picture(temporary("mixed/low.png"), 50, SIDE - 1, 3, NULL);
    assert_not_opened(&options, IDM_BAD_INPUT, "none of the 2 pictures has 16 x 16 pixels");
    assert_non_null(strstr(idm_message(), options.folder));
    assert_int_equal(told_count, 0);
    write_picture(temporary("mixed/right.png"), SIDE, SIDE, 1, NULL);
    write_bytes(temporary("mixed/bad.bmp"), "BM and nothing", 14);
    write_bytes(temporary("mixed/bad.jpg"), "", 0);
    dataset *data = open_set(&options, 0);
    assert_int_equal(told_count, 2);
    assert_told(0, "2 of 5 pictures are smaller than 16 x 16 pixels");
    assert_told(0, "mixed/low.png, ");
    assert_told(0, "mixed/narrow.png");
    assert_told(1, "2 of 5 pictures cannot be read");
    assert_told(1, "mixed/bad.bmp: damaged BMP");
    assert_told(1, "mixed/bad.jpg: neither");
    dataset_report report;
    dataset_count(data, &report);
    assert_true(report.files == 5 && report.small == 2 && report.unreadable == 2 && report.usable == 1);
    for (int i = 0; i < 5; i++) (void)next_batch(data);
    dataset_close(data);
}

static void test_too_many_bad(void **state)
{
    (void)state;
    (void)make_set("bad");
    write_picture(temporary("bad/a.png"), SIDE, SIDE, 1, NULL);
    write_bytes(temporary("bad/b.png"), "x", 1);
    const dataset_options options = options_for(temporary("bad"), 1, 1, 0);
    dataset_close(open_set(&options, 0)); // half of them
    write_bytes(temporary("bad/c.png"), "x", 1);
    assert_not_opened(&options, IDM_BAD_INPUT, "2 of 3 pictures cannot be read");
    assert_non_null(strstr(idm_message(), "b.png"));
}

static void test_wrong_options(void **state)
{
    (void)state;
    dataset_options options = options_for(temporary("nowhere"), 1, 1, 0);
    assert_not_opened(&options, IDM_BAD_INPUT, "nowhere");
    options.folder = "";
    assert_not_opened(&options, IDM_USAGE, "data.train");
    options.folder = temporary("set");
    options.patch_size = 46341;
    assert_not_opened(&options, IDM_USAGE, "data.patch_size");
    options.patch_size = 46340;
    options.batch = 65536;
    assert_not_opened(&options, IDM_BAD_INPUT, "none of the 7 pictures");
}

// Its size can still be read, its pixels cannot.
static void break_picture(const char *path)
{
    uint8_t *bytes;
    size_t size;
    assert_int_equal(files_read_whole(path, 1 << 20, &bytes, &size), IDM_OK);
    write_bytes(path, bytes, size - 14); // the last chunk, and of the checksum before it two bytes
    free(bytes);
}

static void copy_set(const char *name, int count)
{
    (void)make_set(name);
    for (int i = 0; i < count; i++) {
        uint8_t pixels[PIXELS];
        char path[32];
        memset(pixels, 10 * i, sizeof pixels);
        (void)snprintf(path, sizeof path, "%s/%d.png", name, i);
        assert_int_equal(idm_image_save_png(temporary(path), &(idm_image){SIDE, SIDE, 1, pixels}), IDM_OK);
    }
}

// 2 and 3 of 6 can be opened but not decoded: 4 stands in for them, whoever looks first.
static void test_damage_behind_the_header(void **state)
{
    (void)state;
    enum { COUNT = 6, STEPS = 24 };
    copy_set("hurt", COUNT);
    break_picture(temporary("hurt/2.png"));
    break_picture(temporary("hurt/3.png"));
    for (int workers = 1; workers <= 8; workers *= 2) {
        for (uint64_t first = 0; first < 12; first += 5) {
            const dataset_options options = options_for(temporary("hurt"), 2, workers, workers == 2 ? 0 : 1 << 20);
            dataset *data = open_set(&options, first);
            for (uint64_t step = first; step < STEPS; step++) {
                const dataset_batch batch = next_batch(data);
                for (uint64_t i = 0; i < 2; i++) {
                    int32_t order[COUNT];
                    const uint64_t k = 2 * step + i;
                    random_permutation(random_bits(random_key(7, "data order"), k / COUNT), order, COUNT);
                    const int image = order[k % COUNT], expected = image == 2 || image == 3 ? 4 : image;
                    assert_int_equal((int)(batch.x[i * PIXELS] * 25.5F + 0.5F), expected);
                }
            }
            dataset_report report;
            dataset_count(data, &report);
            assert_true(report.usable == COUNT && report.broken == 2 && report.unreadable == 0);
            assert_true(report.replaced >= 2 * (STEPS - first) / 3);
            dataset_close(data);
            assert_int_equal(told_count, 2); // once each
            assert_true(strstr(told[0], "hurt/2.png: damaged PNG") || strstr(told[1], "hurt/2.png: damaged PNG"));
            assert_told(0, "takes its place");
        }
    }
}

static void test_damage_everywhere(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    copy_set("dead", COUNT);
    char name[32];
    for (int broken = 3; broken <= COUNT; broken += 2) {
        for (int i = broken == 3 ? 0 : 3; i < broken; i++) {
            (void)snprintf(name, sizeof name, "dead/%d.png", i);
            break_picture(temporary(name));
        }
        for (int workers = 1; workers <= 6; workers += 5) {
            const dataset_options options = options_for(temporary("dead"), 3, workers, 1 << 20);
            dataset *data = open_set(&options, 0);
            dataset_batch batch;
            idm_status status = IDM_OK;
            for (int step = 0; step < 10 && status == IDM_OK; step++) status = dataset_next(data, &batch);
            assert_int_equal(status, IDM_BAD_INPUT);
            assert_non_null(strstr(idm_message(), "dead: 3 of 5 pictures cannot be read"));
            assert_int_equal(dataset_next(data, &batch), IDM_BAD_INPUT); // and it stays so
            assert_non_null(strstr(idm_message(), "dead: 3 of 5 pictures"));
            dataset_close(data);
        }
    }
}

static void test_changed_meanwhile(void **state)
{
    (void)state;
    copy_set("moving", 4);
    const dataset_options options = options_for(temporary("moving"), 1, 1, 0);
    dataset *data = open_set(&options, 0);
    (void)next_batch(data);
    write_picture(temporary("moving/1.png"), SIDE + 1, SIDE, 1, NULL);
    dataset_report report;
    for (int step = 0; step < 20; step++) (void)next_batch(data);
    dataset_count(data, &report);
    assert_true(report.broken == 1 && report.replaced > 0);
    dataset_close(data);
    assert_int_equal(told_count, 1);
    assert_told(0, "moving/1.png: 17 x 16 pixels now, 16 x 16 before");
}

static uint64_t hash_of(const char *folder)
{
    const dataset_options options = options_for(folder, 1, 2, 0);
    dataset *data = open_set(&options, 0);
    dataset_report report;
    dataset_count(data, &report);
    dataset_close(data);
    return report.hash;
}

static void test_hash(void **state)
{
    (void)state;
    char command[512], slash[256];
    const uint64_t hash = hash_of(temporary("set"));
    (void)snprintf(slash, sizeof slash, "%s//", temporary("set"));
    assert_true(hash_of(slash) == hash);
    (void)snprintf(command, sizeof command, "cd '%s' && cp -r set elsewhere && touch elsewhere/x.txt", temporary_folder);
    assert_int_equal(system(command), 0);
    assert_true(hash_of(temporary("elsewhere")) == hash);
    assert_int_equal(rename(temporary("elsewhere/a.png"), temporary("elsewhere/A.png")), 0);
    assert_true(hash_of(temporary("elsewhere")) != hash);
    assert_int_equal(rename(temporary("elsewhere/A.png"), temporary("elsewhere/a.png")), 0);
    assert_true(hash_of(temporary("elsewhere")) == hash);
    write_picture(temporary("elsewhere/a.png"), 17, 16, 1, NULL);
    assert_true(hash_of(temporary("elsewhere")) != hash);
}

// Closed at any moment, with work under way.
static void test_close(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        const dataset_options options = options_for(temporary("set"), 1 + i % 5, 1 + i % 7, i % 2 ? 0 : 1 << 20);
        dataset *data = open_set(&options, (uint64_t)i);
        for (int step = 0; step < i % 4; step++) (void)next_batch(data);
        dataset_close(data);
    }
    dataset_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_other_seeds),
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_what_is_left_out),
        cmocka_unit_test(test_too_many_bad),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_damage_behind_the_header),
        cmocka_unit_test(test_damage_everywhere),
        cmocka_unit_test(test_changed_meanwhile),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, make_pictures, remove_pictures);
}
