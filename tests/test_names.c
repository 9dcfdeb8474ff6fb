#include "io/names.h"
#include "io/tensor_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN "../../shared/golden/"

static const model_sizes tiny = {{32, 64}, 4, 8, 3, 16};

static tensor_file *open_or_skip(const char *path)
{
    FILE *there = fopen(path, "rb");
    if (!there) {
        print_message("needs %s\n", path);
        skip();
    } else (void)fclose(there);
    tensor_file *file;
    assert_int_equal(tensor_file_open(path, &file), IDM_OK);
    return file;
}

static void published_size_has_the_published_count(void **state)
{
    (void)state;
    parameter_name *list;
    size_t count, values = 0;
    assert_int_equal(names_parameters(&names_published_sizes, &list, &count), IDM_OK);
    assert_int_equal(count, 585);
    for (size_t i = 0; i < count; i++) {
        values += list[i].count;
        for (size_t j = 0; j < i; j++) assert_string_not_equal(list[i].name, list[j].name);
    }
    assert_int_equal(values, 115265799);
    assert_string_equal(list[0].name, "input_help_scale_factor");
    assert_string_equal(list[584].name, "unet.conv_out.bias");
    free(list);
    parameter_alias *aliases;
    assert_int_equal(names_aliases(&names_published_sizes, &aliases, &count), IDM_OK);
    assert_int_equal(585 + count, 1079);
    free(aliases);
}

static void steps_change_the_count(void **state)
{
    (void)state;
    for (int steps = 1; steps < 6; steps++) {
        model_sizes sizes = tiny;
        sizes.steps = steps;
        parameter_name *list;
        size_t count;
        assert_int_equal(names_parameters(&sizes, &list, &count), IDM_OK);
        assert_int_equal(count, 342 + 81 * steps);
        assert_true(strlen(list[count - 1].name) > 0); // the list is full
        free(list);
    }
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    const model_sizes wrong[] = {{{30, 64}, 1, 1, 3, 8}, {{32, 40}, 1, 1, 3, 8},      {{64, 64}, 1, 1, 3, 8},   {{0, 64}, 1, 1, 3, 8},
                                 {{32, 64}, 1, 1, 0, 8}, {{32, 1 << 20}, 1, 1, 3, 8}, {{32, 64}, 1, 1, 1001, 8}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        parameter_name *list;
        size_t count;
        assert_int_equal(names_parameters(&wrong[i], &list, &count), IDM_USAGE);
        assert_null(list);
    }
}

static void check_start(const char *name, int fan_in, double start)
{
    parameter_name *list;
    size_t count, i = 0;
    assert_int_equal(names_parameters(&tiny, &list, &count), IDM_OK);
    while (i < count && strcmp(list[i].name, name) != 0) i++;
    assert_true(i < count);
    assert_int_equal(list[i].fan_in, fan_in);
    assert_true(list[i].start == (float)start);
    free(list);
}

static void start_values_are_the_published_ones(void **state)
{
    (void)state;
    check_start("alpha", 0, 0.5);
    check_start("body.2.v", 0, 0.5);
    check_start("unet.up_blocks.1.rev_module_list.10.v", 0, 0.5);
    check_start("unet.down_blocks.1.input_help_scale_factor", 0, 1);
    check_start("unet.down_blocks.1.merge_scale_factors", 0, 0);
    check_start("unet.down_blocks.0.injectors.3.f2i.2.1.weight", 8, 0); // 32 / 2^2 planes
    check_start("unet.down_blocks.1.injectors.3.i2f.2.0.bias", 3, 0);
    check_start("unet.conv_norm_out.weight", 0, 1);
    check_start("unet.conv_in.bias", 36, 0);
}

// The authors' layout, as torch.save wrote it: every name of the file, every shape, every shared storage.
static void names_and_aliases_are_those_of_the_authors_file(void **state)
{
    (void)state;
    tensor_file *file = open_or_skip(GOLDEN "idm_tiny.pkl");
    parameter_name *list;
    parameter_alias *aliases;
    size_t count, alias_count;
    assert_int_equal(names_parameters(&tiny, &list, &count), IDM_OK);
    assert_int_equal(names_aliases(&tiny, &aliases, &alias_count), IDM_OK);
    assert_int_equal(tensor_file_count(file), count + alias_count);
    for (size_t i = 0; i < count; i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        assert_string_equal(entry->name, list[i].name); // same order, too
        assert_int_equal(entry->rank, list[i].rank);
        assert_memory_equal(entry->shape, list[i].shape, (size_t)entry->rank * sizeof(int64_t));
        assert_int_equal(entry->count, list[i].count);
    }
    for (size_t i = 0; i < alias_count; i++) {
        const tensor_entry *alias = tensor_file_find(file, aliases[i].alias), *target = tensor_file_find(file, aliases[i].name);
        assert_non_null(alias);
        assert_true(tensor_entry_same(alias, target));
    }
    free(list);
    free(aliases);
    tensor_file_close(file);
}

// Every tensor of the expected import has a source of the same shape in both layouts, and nothing else has one.
static void sd15_names_are_those_of_both_layouts(void **state)
{
    (void)state;
    tensor_file *expected = open_or_skip(GOLDEN "sd15_tiny_expected.safetensors");
    tensor_file *files[2] = {open_or_skip(GOLDEN "sd15_tiny_diffusers.safetensors"),
                             open_or_skip(GOLDEN "sd15_tiny_single_file.safetensors")};
    parameter_name *list;
    size_t count, copied = 0;
    assert_int_equal(names_parameters(&tiny, &list, &count), IDM_OK);
    for (size_t i = 0; i < count; i++) {
        for (int layout = 0; layout < 2; layout++) {
            char name[NAMES_LENGTH_MAX + 1];
            const bool has = names_sd15(list[i].name, layout == 1, name);
            assert_int_equal(has, tensor_file_find(expected, list[i].name) != NULL);
            if (!has) continue;
            const tensor_entry *entry = tensor_file_find(files[layout], name);
            assert_non_null(entry);
            assert_int_equal(entry->rank, list[i].rank);
            assert_memory_equal(entry->shape, list[i].shape, (size_t)entry->rank * sizeof(int64_t));
            copied++;
        }
    }
    assert_int_equal(copied, 2 * tensor_file_count(expected));
    free(list);
    tensor_file_close(expected);
    tensor_file_close(files[0]);
    tensor_file_close(files[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_size_has_the_published_count),
        cmocka_unit_test(steps_change_the_count),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(start_values_are_the_published_ones),
        cmocka_unit_test(names_and_aliases_are_those_of_the_authors_file),
        cmocka_unit_test(sd15_names_are_those_of_both_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
