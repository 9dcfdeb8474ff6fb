// `idm inspect`
#include "cli/cli.h"
#include "io/tensor_file.h"

static idm_status print_json(const tensor_file *file)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "file", tensor_file_path(file));
    cJSON_AddStringToObject(object, "format", tensor_file_format(file));
    cJSON *metadata = cJSON_AddObjectToObject(object, "metadata"), *tensors = cJSON_AddArrayToObject(object, "tensors");
    const char *key, *value;
    for (size_t i = 0; (value = tensor_file_metadata_at(file, i, &key)) != NULL; i++) cJSON_AddStringToObject(metadata, key, value);
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", entry->name);
        cJSON_AddStringToObject(item, "dtype", file_dtype_name(entry->dtype));
        cJSON *shape = cJSON_AddArrayToObject(item, "shape");
        for (int d = 0; d < entry->rank; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)entry->shape[d]));
        cJSON_AddItemToArray(tensors, item);
    }
    return cli_print_json(object);
}

static void print_table(const tensor_file *file)
{
    const size_t count = tensor_file_count(file);
    const char *key, *value;
    double values = 0;
    printf("%s: %s, %zu tensors\n", tensor_file_path(file), tensor_file_format(file), count);
    for (size_t i = 0; (value = tensor_file_metadata_at(file, i, &key)) != NULL; i++) printf("  %s = %s\n", key, value);
    for (size_t i = 0; i < count; i++) {
        const tensor_entry *entry = tensor_file_at(file, i);
        char shape[200];
        tensor_shape_text(shape, entry->rank, entry->shape);
        printf("%-4s  %-20s  %s\n", file_dtype_name(entry->dtype), shape, entry->name);
        values += (double)entry->count;
    }
    printf("%.0f values in all\n", values);
}

static idm_status inspect_run(const cli_call *call)
{
    tensor_file *file;
    IDM_TRY(tensor_file_open(call->inputs[0], &file));
    idm_status status = IDM_OK;
    if (call->json) status = print_json(file);
    else print_table(file);
    tensor_file_close(file);
    return status;
}

const cli_command inspect_command = {
    .name = "inspect",
    .arguments = "FILE",
    .summary = "list the tensors and metadata of a weights, measurement or checkpoint file",
    .description = "FILE: .safetensors, or a torch zip archive (.pkl, .pt, .bin, .ckpt), read as data: nothing in it is executed.",
    .least = 1,
    .most = 1,
    .run = inspect_run,
};
