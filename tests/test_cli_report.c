// `idm report`: the page of a run and of an evaluation.
#include "cli_fixture.h"

#define PICTURE_BEGINS "src=\"data:image/png;base64,iVBORw0KGgo"

static char page[1 << 20];

static size_t count(const char *word)
{
    size_t found = 0;
    for (const char *at = page; (at = strstr(at, word)) != NULL; at += strlen(word)) found++;
    return found;
}

static void expect(size_t times, const char *word)
{
    const size_t found = count(word);
    if (found != times) fail_msg("'%s' stands %zu times in the page, not %zu", word, found, times);
}

// The page stands alone: nothing is fetched, nothing runs; every element that is opened is closed.
static void expect_page(const char *name)
{
    static const char *const elements[] = {"html", "body", "table", "tr", "td", "figure", "svg", "pre"};
    cli_read(name, page, sizeof page);
    assert_true(strncmp(page, "<!DOCTYPE html>", 15) == 0 && strlen(page) < sizeof page - 1);
    expect(0, "<script");
    expect(0, "http:");
    expect(0, "href=");
    expect(0, ">nan");
    expect(0, ">inf");
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++) {
        char plain[32], with[32], close[32];
        (void)snprintf(plain, sizeof plain, "<%s>", elements[i]);
        (void)snprintf(with, sizeof with, "<%s ", elements[i]);
        (void)snprintf(close, sizeof close, "</%s>", elements[i]);
        expect(count(plain) + count(with), close);
    }
}

#define LOG_LINE(step, loss, rate)                                  \
    "{\"step\":" step ",\"epoch\":1,\"loss\":" loss ",\"lr\":" rate \
    ",\"scale\":1,\"seconds\":100,\"images_per_second\":12,\"peak_bytes\":1048576,\"skipped\":2}\n"

static void write_file(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", cli_folder, name);
    assert_int_equal(files_write_whole(path, text, strlen(text)), IDM_OK);
}

static void test_run(void **state)
{
    (void)state;
    cli_expect(0, NULL, "mkdir -p run/pictures/step_0000020 && cp grey.png run/pictures/step_0000020/a.png");
    write_file("run/log.jsonl",
               LOG_LINE("10", "0.5", "1e-3") LOG_LINE("20", "null", "1e-3") LOG_LINE("30", "0.05", "1e-3") "{\"step\":40,");
    write_file("run/validation.jsonl",
               "{\"step\":10,\"epoch\":1,\"psnr\":0,\"ssim\":0,\"pictures\":[{\"file\":\"a.tif\",\"psnr\":25.5,\"ssim\":0.75},"
               "{\"file\":\"b.tif\",\"psnr\":20.5,\"ssim\":0.25}]}\n"
               "{\"step\":20,\"epoch\":2,\"psnr\":0,\"ssim\":0,\"pictures\":[{\"file\":\"a.tif\",\"height\":32,\"width\":48,\"psnr\":21,"
               "\"ssim\":0.7,\"seconds\":0.25},{\"file\":\"<b>&.tif\",\"psnr\":null}]}\n");
    write_file("run/config.ini", "[train]\nout = \"<run>\"\n");
    cli_expect(0, NULL, "\"$IDM\" report run");
    assert_string_equal(cli_out, "run/report.html\n");
    expect_page("run/report.html");
    expect(5, "<svg ");
    expect(1, PICTURE_BEGINS);
    expect(1, "30 steps, 1 whole epochs, 1 min 40 s of training, 1.00 MiB of device memory; last loss 0.05000; 2 steps without");
    expect(1, "<tr><td>10</td><td>1</td><td>23.000</td><td>0.50000</td><td>best</td></tr>");
    expect(1, "<td>a.tif</td><td>32</td><td>48</td><td>21.000</td><td>0.70000</td><td>0.25</td>");
    expect(1, "<td>&lt;b&gt;&amp;.tif</td>"); // as text
    expect(1, "out = &quot;&lt;run&gt;&quot;");
    expect(1, ">0.1</text>"); // a mark of the loss
    // again over itself, elsewhere, as JSON
    cJSON *object = cli_json("\"$IDM\" report run --out elsewhere.html --json && cmp run/report.html elsewhere.html >&2");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(object, "out")), "elsewhere.html");
    cJSON_Delete(object);
}

static void test_little_or_wrong(void **state)
{
    (void)state;
    cli_expect(0, NULL, "mkdir -p young && : > young/log.jsonl && \"$IDM\" report young");
    expect_page("young/report.html");
    expect(1, "Nothing is logged yet");
    write_file("young/log.jsonl", LOG_LINE("1", "0.5", "0"));
    cli_expect(0, NULL, "\"$IDM\" report young");
    expect_page("young/report.html");
    expect(2, "<svg "); // a learning rate of 0 has no logarithm
    write_file("young/log.jsonl", LOG_LINE("1", "0.5", "0") "[1]\n");
    cli_expect(3, "young/log.jsonl, line 2", "\"$IDM\" report young");
    cli_expect(3, "nowhere: no such folder", "\"$IDM\" report nowhere");
    cli_expect(3, "empty|neither a run directory", "mkdir -p empty && \"$IDM\" report empty");
    cli_expect(3, "broken/eval.json", "mkdir -p broken && echo '[]' > broken/eval.json && \"$IDM\" report broken");
    assert_false(cli_has_file("broken/report.html"));
    cli_expect(3, "x.png: not a PNG picture",
               "mkdir -p fake; echo '{\"images\":[{\"file\":\"x.tif\"}]}' > fake/eval.json; "
               "echo text > fake/x.png; \"$IDM\" report fake");
    cli_expect(1, "cannot", "\"$IDM\" report run --out no/such/folder.html");
}

// Many lines are averaged to what can be seen, and keep their range.
static void test_long_log(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               "mkdir -p long && awk 'BEGIN { for (i = 1; i <= 30000; i++) printf \"{\\\"step\\\":%d,\\\"loss\\\":%g}\\n\", i, 1 / i }' "
               "> long/log.jsonl && \"$IDM\" report long");
    expect_page("long/report.html");
    expect(1, "<svg ");
    assert_true(strlen(page) < 20000);
    expect(1, ">0.0001</text>");
}

static void test_evaluation(void **state)
{
    (void)state;
    cli_expect(0, NULL,
               "mkdir -p set && cp grey.png set/one.png && cp colour.png set/two.png && \"$IDM\" eval set --out kept -q " TINY
               " && \"$IDM\" report kept");
    expect_page("kept/report.html");
    expect(2, PICTURE_BEGINS);
    expect(2, "<figure class=\"small\">");
    expect(1, "<td colspan=\"2\">2 pictures</td>");
    cli_expect(0, NULL,
               "\"$IDM\" eval set --out kept --panel -q " TINY " && \"$IDM\" report kept && base64 -w 0 kept/two_panel.png > coded.txt");
    expect_page("kept/report.html");
    expect(2, "<figure class=\"wide\">");
    static char coded[1 << 16];
    cli_read("coded.txt", coded, sizeof coded);
    expect(1, coded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_little_or_wrong),
        cmocka_unit_test(test_long_log),
        cmocka_unit_test(test_evaluation),
    };
    return cmocka_run_group_tests(tests, cli_begin, cli_end);
}
