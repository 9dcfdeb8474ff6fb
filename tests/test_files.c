// Paths, listings, and writing that leaves either the old file or the whole new one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/files.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/idm_test_files_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1; // fails where a test left a file behind
}

static void assert_content(const char *path, const char *text)
{
    uint8_t *data;
    size_t size;
    assert_int_equal(files_read_whole(path, 1 << 20, &data, &size), IDM_OK);
    assert_int_equal(size, strlen(text));
    assert_string_equal((char *)data, text);
    free(data);
}

static void assert_count(size_t count)
{
    files_list list;
    assert_int_equal(files_list_folder(".", true, &list), IDM_OK);
    assert_int_equal(list.count, count);
    files_list_free(&list);
}

static void test_write(void **state)
{
    (void)state;
    files_writer *writer;
    assert_int_equal(files_write_whole("a", "old", 3), IDM_OK);
    assert_int_equal(files_write_begin("a", &writer), IDM_OK);
    assert_int_equal(files_write(writer, "new text", 8), IDM_OK);
    assert_content("a", "old"); // until the commit
    files_write_abort(writer);
    assert_content("a", "old");
    assert_count(1);
    assert_int_equal(files_write_whole("a", "new text", 8), IDM_OK);
    assert_content("a", "new text");
    assert_int_equal(symlink("a", "link"), 0);
    assert_int_equal(files_write_whole("link", "through", 7), IDM_OK);
    assert_content("a", "through");
    struct stat info;
    assert_true(lstat("link", &info) == 0 && S_ISLNK(info.st_mode));
    assert_int_equal(unlink("link"), 0);
    char name[NAME_MAX + 1];
    memset(name, 'n', NAME_MAX);
    name[NAME_MAX] = '\0';
    assert_int_equal(files_write_whole(name, "x", 1), IDM_OK); // the longest name there is
    assert_int_equal(unlink(name), 0);
    assert_int_equal(unlink("a"), 0);
    assert_int_equal(files_write_whole("no/such", "x", 1), IDM_FAILED);
    assert_non_null(strstr(idm_message(), "no/such: cannot write: No such file"));
    assert_int_equal(files_write_whole(".", "x", 1), IDM_FAILED);
}

// A limit on the size of files stands for a full disk.
static void test_full_disk(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    uint8_t *data = calloc(1, SIZE);
    assert_non_null(data);
    assert_int_equal(files_write_whole("a", "old", 3), IDM_OK);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 65536;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const idm_status status = files_write_whole("a", data, SIZE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    free(data);
    assert_int_equal(status, IDM_FAILED);
    assert_non_null(strstr(idm_message(), "a: cannot write: File too large"));
    assert_content("a", "old");
    assert_count(1);
    assert_int_equal(unlink("a"), 0);
    assert_int_equal(files_write_whole("/dev/full", "x", 1), IDM_FAILED);
    assert_non_null(strstr(idm_message(), "/dev/full: cannot write: No space left"));
}

static void test_list(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a/z", "a/y/x", "a.txt", ".hidden"};
    assert_int_equal(files_make_folders("a/y"), IDM_OK);
    assert_int_equal(files_make_folders("a/y/"), IDM_OK);
    for (size_t i = 0; i < 5; i++) assert_int_equal(files_write_whole(names[i], "", 0), IDM_OK);
    assert_int_equal(symlink("..", "a/loop"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    files_list list;
    assert_int_equal(files_list_folder(".", true, &list), IDM_OK);
    static const char *const expected[] = {"./a.txt", "./a/y/x", "./a/z", "./b"};
    assert_int_equal(list.count, 4);
    for (size_t i = 0; i < 4; i++) assert_string_equal(list.paths[i], expected[i]);
    files_list_free(&list);
    assert_int_equal(files_list_folder("a/", false, &list), IDM_OK);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.paths[0], "a/z");
    files_list_free(&list);
    assert_int_equal(files_list_folder("nowhere", false, &list), IDM_BAD_INPUT);
    assert_int_equal(list.count, 0);
    assert_int_equal(files_make_folders("b/c"), IDM_FAILED);
    for (size_t i = 0; i < 5; i++) assert_int_equal(unlink(names[i]), 0);
    assert_true(unlink("a/loop") == 0 && unlink("dangling") == 0 && rmdir("a/y") == 0 && rmdir("a") == 0);
}

static void test_read(void **state)
{
    (void)state;
    uint8_t *data;
    size_t size;
    assert_int_equal(files_write_whole("a", "12345", 5), IDM_OK);
    assert_int_equal(files_read_whole("a", 5, &data, &size), IDM_OK);
    assert_int_equal(size, 5);
    free(data);
    assert_int_equal(files_read_whole("a", 4, &data, &size), IDM_BAD_INPUT);
    assert_int_equal(files_read_whole("/dev/zero", 1 << 20, &data, &size), IDM_BAD_INPUT); // has no end
    assert_int_equal(files_read_whole("/dev/null", 1, &data, &size), IDM_OK);
    assert_int_equal(size, 0);
    free(data);
    assert_int_equal(files_read_whole(".", 1 << 20, &data, &size), IDM_BAD_INPUT);
    assert_null(data);
    assert_int_equal(unlink("a"), 0);
}

static void test_paths(void **state)
{
    (void)state;
    char out[32];
    static const char *const cases[][3] = {// path, folder, base name
                                           {"a/b/c.tar.gz", "a/b", "c.tar"},
                                           {"c", ".", "c"},
                                           {"/c.png", "/", "c"},
                                           {"a/.hidden", "a", ".hidden"}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(files_folder_of(out, sizeof out, cases[i][0]), IDM_OK);
        assert_string_equal(out, cases[i][1]);
        assert_int_equal(files_base_name(out, sizeof out, cases[i][0]), IDM_OK);
        assert_string_equal(out, cases[i][2]);
    }
    static const char *const joins[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"a", "/b", "/b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(files_join(out, sizeof out, joins[i][0], joins[i][1]), IDM_OK);
        assert_string_equal(out, joins[i][2]);
    }
    assert_int_equal(files_join(out, 4, "a", "b"), IDM_OK);
    assert_int_equal(files_join(out, 3, "a", "b"), IDM_USAGE);
    assert_int_equal(files_base_name(out, 3, "abc"), IDM_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write), cmocka_unit_test(test_full_disk), cmocka_unit_test(test_list),
        cmocka_unit_test(test_read),  cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
