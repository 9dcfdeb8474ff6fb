// The command line on pictures: measure, reconstruct, eval.
#include "cli_fixture.h"

static void assert_same_picture(const char *a, const char *b)
{
    char line[256];
    (void)snprintf(line, sizeof line, "cmp '%s' '%s'", a, b);
    cli_expect(0, NULL, line);
}

static idm_image load(const char *name)
{
    char path[512];
    idm_image image;
    (void)snprintf(path, sizeof path, "%s/%s", cli_folder, name);
    if (idm_image_load(path, &image) != IDM_OK) fail_msg("%s", idm_message());
    return image;
}

static void test_measured_first_or_now(void **state)
{
    (void)state;
    cli_expect(0, NULL, "\"$IDM\" measure grey.png --out m " TINY " && \"$IDM\" reconstruct m/grey.safetensors --out r1 " TINY " --raw");
    cli_expect(0, NULL, "\"$IDM\" reconstruct grey.png --out r2 " TINY " --raw");
    assert_non_null(strstr(cli_out, "PSNR"));
    assert_same_picture("r1/grey.png", "r2/grey.png");
    assert_same_picture("r1/grey.safetensors", "r2/grey.safetensors");
    cJSON *object = cli_json("\"$IDM\" inspect r1/grey.safetensors --json");
    const cJSON *shape = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(object, "tensors"), 0), "shape");
    assert_int_equal(cJSON_GetArrayItem(shape, 2)->valueint, 32);
    assert_int_equal(cJSON_GetArrayItem(shape, 3)->valueint, 48);
    cJSON_Delete(object);
    // the same again, and without the truth no figures
    cli_expect(0, NULL, "\"$IDM\" measure grey.png --out blind --no-truth " TINY " && \"$IDM\" reconstruct blind --out r3 " TINY);
    assert_null(strstr(cli_out, "PSNR"));
    assert_same_picture("r1/grey.png", "r3/grey.png");
    cli_expect(0, NULL,
               "\"$IDM\" measure grey.png --out other --set sensing.seed=7 " TINY " && ! cmp -s m/grey.safetensors other/grey.safetensors");
}

static void test_colour_and_odd_sizes(void **state)
{
    (void)state;
    cJSON *object = cli_json("\"$IDM\" reconstruct colour.png --out c --json " TINY);
    const cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(object, "images"), 0);
    assert_int_equal((int)json_number(row, "height"), 40);
    assert_int_equal((int)json_number(row, "width"), 27);
    assert_true(json_number(row, "psnr") > 3 && json_number(row, "ssim") > -1);
    cJSON_Delete(object);
    idm_image colour = load("c/colour.png"), grey;
    assert_int_equal(colour.channels, 3);
    assert_true(colour.height == 40 && colour.width == 27);
    cli_expect(0, NULL, "\"$IDM\" measure colour.png --out cm " TINY " && \"$IDM\" reconstruct cm --out cr " TINY);
    grey = load("cr/colour.png");
    assert_true(grey.channels == 1 && grey.height == 40 && grey.width == 27);
    idm_image_free(&colour);
    idm_image_free(&grey);
}

static void test_several_inputs(void **state)
{
    (void)state;
    cli_expect(0, NULL, "mkdir -p set && cp grey.png set/b.png && cp colour.png set/a.PNG && echo text > set/notes.txt");
    cJSON *object = cli_json("\"$IDM\" reconstruct set grey.png --out several --json " TINY);
    const cJSON *images = cJSON_GetObjectItem(object, "images");
    assert_int_equal(cJSON_GetArraySize(images), 3);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(images, 0), "file")), "set/a.PNG");
    cJSON_Delete(object);
    assert_true(cli_has_file("several/a.png") && cli_has_file("several/b.png") && cli_has_file("several/grey.png"));
    // a bad one does not stop the others, but the status says so
    cli_expect(3, "bad.png|1 of 3", "head -c 50 grey.png > set/bad.png; \"$IDM\" reconstruct set --out partial -q " TINY);
    assert_true(cli_has_file("partial/a.png") && cli_has_file("partial/b.png") && !cli_has_file("partial/bad.png"));
    cli_expect(3, "bad.png|1 of 3", "\"$IDM\" measure set --out pm -q " TINY);
    assert_true(cli_has_file("pm/a.safetensors") && cli_has_file("pm/b.safetensors") && !cli_has_file("pm/bad.safetensors"));
    // nothing is overwritten by accident
    cli_expect(2, "overwrite the input", "\"$IDM\" reconstruct grey.png --out . -q " TINY);
    cli_expect(2, "both be written", "\"$IDM\" reconstruct grey.png ./grey.png --out twice -q " TINY);
}

static void test_operator_of_a_set(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               "mkdir -p pair && cp grey.png pair/one.png && cp grey.png pair/two.png && \"$IDM\" measure pair --out po --operator "
               "camera.safetensors " TINY);
    cJSON *object = cli_json("\"$IDM\" inspect po/one.safetensors --json");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(object, "tensors")), 2); // y, x
    cJSON_Delete(object);
    cli_expect(0, NULL,
               "cp camera.safetensors before && \"$IDM\" measure pair --out po2 --operator camera.safetensors " TINY
               " && cmp camera.safetensors before && cmp po/one.safetensors po2/one.safetensors");
    cli_expect(0, NULL, "\"$IDM\" reconstruct po --out pr --operator camera.safetensors " TINY);
    cli_expect(0, NULL, "\"$IDM\" reconstruct pair/one.png --out pi --operator camera.safetensors " TINY);
    assert_same_picture("pr/one.png", "pr/two.png");
    assert_same_picture("pr/one.png", "pi/one.png");
    cli_expect(3, "phi|operator", "\"$IDM\" reconstruct po/one.safetensors --out pr " TINY " -q");
    cli_expect(2, "operator is for 32 x 48", "\"$IDM\" reconstruct colour.png --out pr --operator camera.safetensors " TINY " -q");
}

static void test_tiles(void **state)
{
    (void)state;
    cli_make_picture("large.png", 50, 90, 1);
    cli_expect(0, NULL, "\"$IDM\" measure large.png --out tm --tile 48 " TINY " && \"$IDM\" reconstruct tm --out tr " TINY);
    assert_non_null(strstr(cli_out, "50 x 90, PSNR"));
    cli_expect(0, NULL, "\"$IDM\" reconstruct large.png --tile 48 --out ti " TINY);
    assert_same_picture("tr/large.png", "ti/large.png");
    cJSON *object = cli_json("\"$IDM\" inspect tm/large.safetensors --json");
    const cJSON *metadata = cJSON_GetObjectItem(object, "metadata");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(metadata, "tile_rows")), "2");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(metadata, "tile_columns")), "2");
    cJSON_Delete(object);
}

static void test_panels(void **state)
{
    (void)state;
    cli_expect(0, NULL, "\"$IDM\" reconstruct grey.png colour.png --out pn --panel " TINY);
    idm_image grey = load("pn/grey_panel.png"), colour = load("pn/colour_panel.png"), original = load("colour.png");
    assert_true(grey.height == 32 && grey.width == 4 * 48 + 3 * 4 && grey.channels == 3);
    assert_true(colour.height == 40 && colour.width == 4 * 27 + 3 * 4);
    for (int row = 0; row < 40; row++)
        assert_memory_equal(colour.pixels + (size_t)(row * colour.width * 3), original.pixels + (size_t)(row * 27 * 3), 27 * 3);
    idm_image_free(&grey);
    idm_image_free(&colour);
    idm_image_free(&original);
    // of measurements: the same where the file has the truth, two parts where not
    cli_expect(0, NULL, "\"$IDM\" measure grey.png --out pm " TINY " && \"$IDM\" reconstruct pm/grey.safetensors --out pp --panel " TINY);
    assert_same_picture("pn/grey_panel.png", "pp/grey_panel.png");
    cli_expect(0, NULL,
               "\"$IDM\" measure grey.png --no-truth --out pb " TINY " && \"$IDM\" reconstruct pb/grey.safetensors --out pq --panel " TINY);
    grey = load("pq/grey_panel.png");
    assert_int_equal(grey.width, 2 * 48 + 4);
    idm_image_free(&grey);
    // tiles, and eval
    cli_expect(0, NULL,
               "\"$IDM\" reconstruct grey.png --tile 32 --out pt --panel " TINY " && ! cmp -s pt/grey_panel.png pn/grey_panel.png");
    cli_expect(0, NULL, "mkdir -p one && cp grey.png one && \"$IDM\" eval one --out pe --panel " TINY);
    assert_same_picture("pn/grey_panel.png", "pe/grey_panel.png");
    cli_expect(2, "--out", "\"$IDM\" eval one --panel " TINY);
    cli_expect(2, "both be written|grey_panel.png",
               "cp grey.png grey_panel.png; \"$IDM\" reconstruct grey.png grey_panel.png --out px --panel " TINY);
}

static void test_memory(void **state)
{
    (void)state;
    cli_make_picture("wide.png", 256, 512, 1);
    cli_expect(1, "wide.png|GiB of device memory", "IDM_LIMITS=memory=40MiB \"$IDM\" reconstruct wide.png --out w -q " TINY);
    assert_false(cli_has_file("w/wide.png"));
    // the one that fits is done all the same
    cli_expect(1, "wide.png|1 of 2", "IDM_LIMITS=memory=40MiB \"$IDM\" reconstruct wide.png grey.png --out w -q " TINY);
    assert_true(cli_has_file("w/grey.png") && !cli_has_file("w/wide.png"));
    cli_expect(2, "IDM_LIMITS|'memroy'", "IDM_LIMITS=memroy=40MiB \"$IDM\" reconstruct wide.png --out w -q " TINY);
}

static void test_long_job(void **state)
{
    (void)state;
    cli_make_picture("huge.png", 1536, 1536, 1);
    const char *cpu = "\"$IDM\" reconstruct huge.png --out h --weights tiny.safetensors --device cpu";
    char line[256];
    if (cli_run(cpu) == 1) {
        print_message("skipped: no CPU device, or too little memory: %s", cli_err);
        skip();
    }
    cli_expect(2, "--yes|--tile|would take about", cpu);
    static const struct {
        const char *name;
        int status;
    } signals[] = {{"INT", 130}, {"TERM", 143}};
    for (size_t i = 0; i < 2; i++) { // once it says how long it will take
        (void)snprintf(
            line, sizeof line,
            "%s --yes & i=0; until grep -q predicted stderr.txt || test $i = 600; do sleep 0.1; i=$((i+1)); done; kill -%s $!; wait $!",
            cpu, signals[i].name);
        cli_expect(signals[i].status, "predicted|stopped by a signal", line);
    }
    assert_false(cli_has_file("h/huge.png"));
}

static void test_eval(void **state)
{
    (void)state;
    cli_expect(0, NULL, "mkdir -p data && cp grey.png data/z.png && cp colour.png data/k.png");
    cJSON *object = cli_json("\"$IDM\" eval data --out kept --json " TINY);
    const cJSON *images = cJSON_GetObjectItem(object, "images"), *average = cJSON_GetObjectItem(object, "average");
    const cJSON *first = cJSON_GetArrayItem(images, 0), *second = cJSON_GetArrayItem(images, 1);
    assert_int_equal(cJSON_GetArraySize(images), 2);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(first, "file")), "k.png");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(second, "file")), "z.png");
    const double mean = (json_number(first, "psnr") + json_number(second, "psnr")) / 2;
    assert_true(json_number(average, "psnr") > mean - 1e-9 && json_number(average, "psnr") < mean + 1e-9);
    assert_true(json_number(first, "seconds") > 0 && json_number(average, "ssim") < 1);
    // the same figures as reconstruct
    cJSON *again = cli_json("\"$IDM\" reconstruct data/z.png --out again --json " TINY);
    const cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItem(again, "images"), 0);
    assert_true(json_number(row, "psnr") == json_number(second, "psnr") && json_number(row, "ssim") == json_number(second, "ssim"));
    assert_same_picture("again/z.png", "kept/z.png");
    cJSON_Delete(again);
    cli_expect(0, NULL, "cat kept/eval.json"); // what --json printed
    cJSON *kept = cJSON_Parse(cli_out);
    assert_true(cJSON_Compare(kept, object, true));
    cJSON_Delete(kept);
    cJSON_Delete(object);
    cli_expect(0, NULL, "\"$IDM\" eval data -q --profile " TINY);
    assert_non_null(strstr(cli_out, "average"));
    assert_true(strlen(cli_err) > 100); // the profile
    cli_expect(3, "bad.png|1 of 3", "head -c 50 grey.png > data/bad.png; \"$IDM\" eval data -q " TINY);
    assert_non_null(strstr(cli_out, "2 images"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_first_or_now),
        cmocka_unit_test(test_colour_and_odd_sizes),
        cmocka_unit_test(test_several_inputs),
        cmocka_unit_test(test_operator_of_a_set),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_panels),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_long_job),
        cmocka_unit_test(test_eval),
    };
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
