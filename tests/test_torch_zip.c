#include "hostile.h"
#include "io/pickle.h"
#include "io/torch_zip.h"

#include <zip.h>

// ---- hand-made archives

typedef struct entry {
    const char *name;
    const void *bytes;
    size_t size;
    int method; // ZIP_CM_STORE or ZIP_CM_DEFLATE
} entry;

static const char *make_zip(const entry *entries, size_t count)
{
    const char *path = temporary("hand.pt");
    int code;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(zip);
    for (size_t i = 0; i < count; i++) {
        zip_source_t *source = zip_source_buffer(zip, entries[i].bytes, entries[i].size, 0);
        const zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
        assert_true(index >= 0);
        assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index, entries[i].method, 0), 0);
    }
    assert_int_equal(zip_close(zip), 0);
    return path;
}

// An archive of this pickle, with storage 0 of six floats.
static const float six[6] = {1, 2, 3, 4, 5, 6};

static const char *make_archive(const char *pickled, size_t size)
{
    const entry entries[] = {{"any name/data.pkl", pickled, size, ZIP_CM_DEFLATE},
                             {"any name/byteorder", "little", 6, ZIP_CM_STORE},
                             {"any name/data/0", six, sizeof six, ZIP_CM_DEFLATE},
                             {"any name/version", "3\n", 2, ZIP_CM_STORE}};
    return make_zip(entries, 4);
}

#define TEXT(length, text) "X" length "\0\0\0" text
#define STORAGE(type, key, count) "((" TEXT("\7", "storage") "ctorch\n" type "\n" TEXT("\1", key) TEXT("\6", "cuda:0") "K" count "tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define TAIL \
    "\x89"   \
    "ccollections\nOrderedDict\n)RtR" // requires_grad, hooks
// {"a": a tensor of storage 0, with first value, shape and strides as given}
#define ONE(first, shape, strides) "\x80\2}" TEXT("\1", "a") REBUILD STORAGE("FloatStorage", "0", "\6") "K" first shape strides TAIL "s."
#define PAIR(x, y) "K" x "K" y "\x86"

#define LONG_TEXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234" // 85 of 255

#define OPEN(literal, file) tensor_file_open(make_archive(literal, sizeof literal - 1), file)
#define ASSERT_REFUSED(literal, words)                        \
    do {                                                      \
        tensor_file *file_ = NULL;                            \
        const idm_status status_ = OPEN(literal, &file_);     \
        assert_refused(status_, temporary("hand.pt"), words); \
        assert_null(file_);                                   \
    } while (0)

static void assert_values(tensor_file *file, const char *name, const float *expected, size_t count)
{
    float values[6];
    const tensor_entry *tensor = tensor_file_find(file, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->count, count);
    assert_int_equal(tensor_file_read_f32(file, tensor, values), IDM_OK);
    assert_memory_equal(values, expected, count * sizeof *values);
}

static void contiguous_and_strided_tensors(void **state)
{
    (void)state;
    tensor_file *file;
    assert_int_equal(OPEN(ONE("\0", PAIR("\2", "\3"), PAIR("\3", "\1")), &file), IDM_OK);
    assert_string_equal(tensor_file_format(file), "torch zip");
    assert_values(file, "a", six, 6);
    tensor_file_close(file);
    assert_int_equal(OPEN(ONE("\0", PAIR("\3", "\2"), PAIR("\1", "\3")), &file), IDM_OK); // transposed
    assert_values(file, "a", (const float[]){1, 4, 2, 5, 3, 6}, 6);
    tensor_file_close(file);
    assert_int_equal(OPEN(ONE("\1", PAIR("\2", "\2"), PAIR("\3", "\1")), &file), IDM_OK); // a part
    assert_values(file, "a", (const float[]){2, 3, 5, 6}, 4);
    tensor_file_close(file);
    assert_int_equal(OPEN(ONE("\1", PAIR("\2", "\1"), "K\3\x8a\x8\0\0\0\0\0\0\0\x40\x86"), &file), IDM_OK); // a column
    assert_values(file, "a", (const float[]){2, 5}, 2);
    tensor_file_close(file);
    assert_int_equal(OPEN(ONE("\5", ")", ")"), &file), IDM_OK); // no dimensions
    assert_values(file, "a", (const float[]){6}, 1);
    tensor_file_close(file);
    assert_int_equal(OPEN(ONE("\0", PAIR("\0", "\3"), PAIR("\3", "\1")), &file), IDM_OK); // no values
    assert_values(file, "a", NULL, 0);
    tensor_file_close(file);
}

static void tensors_outside_their_storage(void **state)
{
    (void)state;
    ASSERT_REFUSED(ONE("\1", PAIR("\2", "\3"), PAIR("\3", "\1")), "\"a\": reaches outside its storage");
    ASSERT_REFUSED(ONE("\0", PAIR("\2", "\3"), PAIR("\4", "\1")), "\"a\": reaches outside its storage");
    ASSERT_REFUSED(ONE("\0", PAIR("\7", "\7"), PAIR("\0", "\0")), "\"a\": reaches outside its storage"); // expanded
    ASSERT_REFUSED(ONE("\7", PAIR("\0", "\3"), PAIR("\3", "\1")), "\"a\": reaches outside its storage");
    ASSERT_REFUSED(ONE("\0", "J\xff\xff\xff\xff\x85", "K\1\x85"), "damaged shape");
    ASSERT_REFUSED(ONE("\0", "K\2\x85", PAIR("\3", "\1")), "damaged shape");
    ASSERT_REFUSED(ONE("\0", "K\2\x85", "J\xff\xff\xff\xff\x85"), "damaged shape");
    ASSERT_REFUSED(ONE("\0", "\x8a\x8\0\0\0\0\0\0\0\x40\x85", "K\1\x85"), "impossibly large shape");
    ASSERT_REFUSED(ONE("\0", "\x8a\x8\0\0\0\0\0\0\0\x01\x85", "\x8a\x8\0\0\0\0\0\0\0\x7f\x85"), "reaches outside");
    ASSERT_REFUSED(ONE("\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"), "more than 8 dimensions");
    ASSERT_REFUSED(ONE("\0", "N", "N"), "damaged shape");
}

static void storages_that_do_not_fit(void **state)
{
    (void)state;
    ASSERT_REFUSED("\x80\2}" TEXT("\1", "a") REBUILD STORAGE("FloatStorage", "0", "\7") "K\0K\1\x85K\1\x85" TAIL "s.", "differ in size");
    ASSERT_REFUSED("\x80\2}" TEXT("\1", "a") REBUILD STORAGE("DoubleStorage", "0", "\6") "K\0K\1\x85K\1\x85" TAIL "s.", "differ in size");
    ASSERT_REFUSED("\x80\2}" TEXT("\1", "a") REBUILD STORAGE("FloatStorage", "1", "\6") "K\0K\1\x85K\1\x85" TAIL "s.",
                   "missing in the archive");
    ASSERT_REFUSED("\x80\2}" TEXT("\1", "a") REBUILD "(K\0K\0K\1\x85K\1\x85" TAIL "s.", "\"a\": has no storage");
    ASSERT_REFUSED("\x80\2}" TEXT("\1", "a") REBUILD "(K\1\x85QK\0K\1\x85K\1\x85" TAIL "s.", "described in an unknown way");
    // one storage as floats, then as integers of the same size
    ASSERT_REFUSED("\x80\2}" TEXT("\1", "a") REBUILD STORAGE("FloatStorage", "0", "\6") "K\0K\1\x85K\1\x85" TAIL "s" TEXT("\1", "b")
                       REBUILD STORAGE("IntStorage", "0", "\6") "K\0K\1\x85K\1\x85" TAIL "s.",
                   "\"b\": shares a storage with a tensor that describes it differently");
}

static void archives_that_are_not_torch_files(void **state)
{
    (void)state;
    static const char good[] = ONE("\0", PAIR("\2", "\3"), PAIR("\3", "\1"));
    tensor_file *file;
    const entry no_pickle[] = {{"a/other", "x", 1, ZIP_CM_STORE}};
    const char *path = make_zip(no_pickle, 1);
    assert_refused(tensor_file_open(path, &file), path, "no data.pkl");
    const entry big[] = {{"a/data.pkl", good, sizeof good - 1, ZIP_CM_STORE},
                         {"a/byteorder", "big", 3, ZIP_CM_STORE},
                         {"a/data/0", six, sizeof six, ZIP_CM_STORE}};
    path = make_zip(big, 3);
    assert_refused(tensor_file_open(path, &file), path, "big-endian");
    path = temporary("old.pth");
    write_bytes(path, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
    assert_refused(tensor_file_open(path, &file), path, "torch before 1.6");
}

// A wrong byte in a stored storage is found by its checksum when it is read.
static void damaged_storage(void **state)
{
    (void)state;
    static const char good[] = ONE("\0", PAIR("\2", "\3"), PAIR("\3", "\1"));
    const entry entries[] = {{"a/data.pkl", good, sizeof good - 1, ZIP_CM_STORE}, {"a/data/0", six, sizeof six, ZIP_CM_STORE}};
    const char *path = make_zip(entries, 2);
    size_t size;
    uint8_t *bytes = read_or_skip(path, &size), *place = memmem(bytes, size, six, sizeof six);
    assert_non_null(place);
    place[5] ^= 1;
    write_bytes(path, bytes, size);
    tensor_file *file;
    float values[6];
    assert_int_equal(tensor_file_open(path, &file), IDM_OK);
    assert_refused(tensor_file_read_f32(file, tensor_file_at(file, 0), values), path, "entry of a is damaged");
    tensor_file_close(file);
    for (size_t cut = 4; cut < size; cut += 7) { // without its end it is no archive
        write_bytes(path, bytes, cut);
        assert_refused(tensor_file_open(path, &file), path, "truncated?");
    }
    free(bytes);
}

static void code_is_refused_by_name(void **state)
{
    (void)state;
    ASSERT_REFUSED("\x80\2cos\nsystem\n" TEXT("\2", "id") "\x85R.", "\"os.system\"");
    ASSERT_REFUSED("\x80\2cposix\nsystem\n" TEXT("\2", "id") "\x85R.", "\"posix.system\"");
    ASSERT_REFUSED("\x80\2cbuiltins\neval\n" TEXT("\2", "id") "\x85R.", "\"builtins.eval\"");
    ASSERT_REFUSED("\x80\2ctorch\nload\n.", "\"torch.load\"");
    ASSERT_REFUSED("\x80\2(icos\nsystem\n.", "opcode 0x69");                    // INST
    ASSERT_REFUSED("\x80\4\x8c\2os\x94\x8c\6system\x94\x93.", "\"os.system\""); // STACK_GLOBAL
    ASSERT_REFUSED("\x80\4\x8c\14torch.FloatS\x8c\7torage\0\x93.", "unusual characters");
    ASSERT_REFUSED("\x80\2\x82\1.", "opcode 0x82"); // EXT1
    ASSERT_REFUSED("\x80\2\x97.", "opcode 0x97");   // NEXT_BUFFER
    ASSERT_REFUSED("\x80\1N.", "pickle protocol 1;");
    ASSERT_REFUSED("\x80\6N.", "pickle protocol 6;");
}

static void damaged_pickles(void **state)
{
    (void)state;
    ASSERT_REFUSED("", "ends too early");
    ASSERT_REFUSED("\x80\2", "ends too early");
    ASSERT_REFUSED("\x80\2.", "stack is empty");
    ASSERT_REFUSED("\x80\2NN.", "more than one value");
    ASSERT_REFUSED("\x80\2(N.", "inside a mark");
    ASSERT_REFUSED("\x80\2N.N", "goes on after its end");
    ASSERT_REFUSED("\x80\2t.", "no mark");
    ASSERT_REFUSED("\x80\2N(\x85.", "stack is empty"); // must not reach below the mark
    ASSERT_REFUSED("\x80\2]N(NNu.", "no dict");
    ASSERT_REFUSED("\x80\2}Na.", "no list");
    ASSERT_REFUSED("\x80\2}(Nu.", "a key without a value");
    ASSERT_REFUSED("\x80\2NNs.", "stack is empty");
    ASSERT_REFUSED("\x80\2h\0.", "asks the memo");
    ASSERT_REFUSED("\x80\2Nr\xff\xff\xff\xff.", "memo too large");
    ASSERT_REFUSED("\x80\2X\xff\xff\xff\xffxx.", "ends too early");
    ASSERT_REFUSED("\x80\2\x8a\xff.", "ends too early");
    ASSERT_REFUSED("\x80\2\x8a\x9"
                   "123456789.",
                   "more than 64 bits");
    ASSERT_REFUSED("\x80\2N)R.", "a call of what is no global");
    ASSERT_REFUSED("\x80\2ctorch\nSize\nNR.", "arguments that are no tuple");
    ASSERT_REFUSED("\x80\2ccollections\nOrderedDict\nN\x85R.", "OrderedDict with arguments");
    ASSERT_REFUSED("\x80\2NQ.", "no tuple");
    ASSERT_REFUSED("\x80\2NNb.", "a state for what has none");
    ASSERT_REFUSED("\x80\2cos", "without an end");
    ASSERT_REFUSED("\x80\2co\x1bs\nx\n.", "unusual characters");
    ASSERT_REFUSED("\x80\4\x8c\5torchN\x93.", "no text");
    ASSERT_REFUSED("\x80\4\x8c\5torch\x93.", "stack is empty");
    ASSERT_REFUSED("\x80\4\x8c\xff" LONG_TEXT LONG_TEXT LONG_TEXT "\x8c\1x\x93.", "too long");
    ASSERT_REFUSED("\x80\4\x94.", "stack is empty"); // MEMOIZE
    ASSERT_REFUSED("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xffxx.", "ends too early");
    ASSERT_REFUSED("\x80\4\x95\3\0\0\0\0\0\0\0N.", "ends too early");
    ASSERT_REFUSED("\x80\2N.", "holds no dict");
    ASSERT_REFUSED("\x80\2}.", "holds no tensors");
}

static void bounds_of_the_machine(void **state)
{
    (void)state;
    static const char *const globals[] = {NULL};
    const size_t size = 5000000;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    const struct {
        int opcode;
        const char *words;
    } floods[] = {{'N', "too many values"}, {'(', "too many marks"}, {']', "too many values"}};
    for (size_t i = 0; i < 3; i++) {
        pickle *p;
        memset(bytes, floods[i].opcode, size);
        assert_refused(pickle_parse("flood", bytes, size, globals, &p), "flood", floods[i].words);
        assert_null(p);
    }
    for (size_t i = 0; i < size; i += 2) memcpy(bytes + i, i ? "h\0" : "Nq", 2); // N, PUT 'h', GET 0 ... : memo 0 is empty
    pickle *p;
    assert_refused(pickle_parse("flood", bytes, size, globals, &p), "flood", "");
    free(bytes);
}

// A list in itself, by way of the memo: parsed and freed without a walk.
static void cycles_are_harmless(void **state)
{
    (void)state;
    ASSERT_REFUSED("\x80\2]q\0h\0a.", "holds no dict");
    ASSERT_REFUSED("\x80\2}q\0" TEXT("\12", "state_dict") "h\0s.", "holds no tensors");
}

// The layout of Stable Diffusion's .ckpt: other things beside the state dict, some of them objects.
static void nested_state_dict(void **state)
{
    (void)state;
    tensor_file *file;
    assert_int_equal(OPEN("\x80\2}(" TEXT("\5", "epoch") "K\3" TEXT("\2", "lr") "G?\xb9\x99\x99\x99\x99\x99\x9a" TEXT("\11", "callbacks") "}cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\nNs" TEXT(
                              "\5", "score") "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\2f8\x88\x89\x87R(K\3U\1<"
                                             "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
                                             "c_codecs\nencode\n" TEXT("\1", "x")
                                                 TEXT("\6", "latin1") "\x86R\x86R" TEXT("\12", "state_dict") "}(" TEXT("\1", "a")
                                                     REBUILD STORAGE("FloatStorage", "0", "\6") "K\0K\6\x85K\1\x85" TAIL TEXT(
                                                         "\1", "n") "K\1" TEXT("\1", "p") "ctorch._utils\n_rebuild_parameter\n(" REBUILD
                                                         STORAGE("FloatStorage", "0", "\6") "K\1K\2\x85K\1\x85" TAIL "\x88"
                                                                                            "ccollections\nOrderedDict\n)RtRuu.",
                          &file),
                     IDM_OK);
    assert_int_equal(tensor_file_count(file), 2);
    assert_values(file, "a", six, 6);
    assert_values(file, "p", (const float[]){2, 3}, 2);
    tensor_file_close(file);
}

// A state dict as protocols 4 and 5 write it: short texts, globals from the stack, a memo that counts by itself.
static void later_protocols(void **state)
{
    (void)state;
#define SHORT(length, text) "\x8c" length text "\x94"
#define DICT                                                                                                                      \
    "}\x94(" SHORT("\1", "a") SHORT("\14", "torch._utils") SHORT("\22", "_rebuild_tensor_v2") "\x93\x94((" SHORT("\7", "storage") \
        SHORT("\5", "torch") SHORT("\14", "FloatStorage") "\x93\x94" SHORT("\1", "0")                                             \
            SHORT("\3", "cpu") "K\6t\x94QK\0K\2K\3"                                                                               \
                               "\x86\x94K\3K\1\x86\x94\x89" SHORT("\13", "collections")                                           \
                                   SHORT("\13", "OrderedDict") "\x93\x94)R\x94t\x94R\x94"                                         \
                                                               "\x8d\1\0\0\0\0\0\0\0"                                             \
                                                               "b\x94h\4(h\13QK\1K\2\x85K\3\x85\x89h\20)RtR"                      \
                                                               "C\1xB\1\0\0\0yu."
    tensor_file *file;
    for (int protocol = 3; protocol <= 5; protocol++) {
        char pickled[] = "\x80\4\x95\0\0\0\0\0\0\0\0" DICT;
        pickled[1] = (char)protocol;
        pickled[3] = (char)(sizeof DICT - 1); // of the frame
        if (tensor_file_open(make_archive(pickled, sizeof pickled - 1), &file) != IDM_OK) fail_msg("%s", idm_message());
        assert_int_equal(tensor_file_count(file), 2);
        assert_values(file, "a", six, 6);
        assert_values(file, "b", (const float[]){2, 5}, 2);
        tensor_file_close(file);
    }
}

static void duplicate_and_unusable_names(void **state)
{
    (void)state;
#define TENSOR(name) TEXT("\1", name) REBUILD STORAGE("FloatStorage", "0", "\6") "K\0K\6\x85K\1\x85" TAIL "s"
    ASSERT_REFUSED("\x80\2}" TENSOR("a") TENSOR("a") ".", "\"a\" is there twice");
    ASSERT_REFUSED("\x80\2}" TENSOR("\n") ".", "unusable name");
}

static void written_archive_is_read_back(void **state)
{
    (void)state;
    const float other[2] = {7, 8};
    const torch_zip_tensor tensors[] = {
        {"a", 2, {2, 3}, six}, {"b", 1, {2}, other}, {"alias of a", 2, {2, 3}, six}, {"scalar", 0, {0}, other}};
    const char *path = temporary("written.pkl");
    assert_int_equal(torch_zip_write(path, tensors, 3), IDM_OK);
    tensor_file *file;
    assert_int_equal(tensor_file_open(path, &file), IDM_OK);
    assert_int_equal(tensor_file_count(file), 3);
    assert_values(file, "a", six, 6);
    assert_values(file, "b", other, 2);
    assert_values(file, "alias of a", six, 6);
    assert_true(tensor_entry_same(tensor_file_find(file, "a"), tensor_file_find(file, "alias of a")));
    assert_false(tensor_entry_same(tensor_file_find(file, "a"), tensor_file_find(file, "b")));
    tensor_file_close(file);
    assert_int_equal(torch_zip_write(temporary("no/such/folder.pkl"), tensors, 1), IDM_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contiguous_and_strided_tensors),
        cmocka_unit_test(tensors_outside_their_storage),
        cmocka_unit_test(storages_that_do_not_fit),
        cmocka_unit_test(archives_that_are_not_torch_files),
        cmocka_unit_test(damaged_storage),
        cmocka_unit_test(code_is_refused_by_name),
        cmocka_unit_test(damaged_pickles),
        cmocka_unit_test(bounds_of_the_machine),
        cmocka_unit_test(cycles_are_harmless),
        cmocka_unit_test(nested_state_dict),
        cmocka_unit_test(later_protocols),
        cmocka_unit_test(duplicate_and_unusable_names),
        cmocka_unit_test(written_archive_is_read_back),
    };
    return cmocka_run_group_tests(tests, make_temporary, remove_temporary);
}
