#include "opencl/device.h"

#include "core/status.h"
#include "core/text.h"
#include "opencl/internal.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void get_text(cl_device_id id, cl_device_info what, char *out, size_t size)
{
    char text[4096] = "";
    if (clGetDeviceInfo(id, what, sizeof text, text, NULL) != CL_SUCCESS) text[0] = 0;
    const char *start = text + strspn(text, " \t");
    size_t length = strlen(start);
    while (length && (start[length - 1] == ' ' || start[length - 1] == '\t')) length--;
    if (length > size - 1) length = size - 1;
    memcpy(out, start, length);
    out[length] = 0;
}

static uint64_t get_number(cl_device_id id, cl_device_info what)
{
    cl_ulong value = 0; // every integer property fits, little-endian
    (void)clGetDeviceInfo(id, what, sizeof value, &value, NULL);
    return value;
}

static bool has_extension(cl_device_id id, const char *name)
{
    size_t size = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &size) != CL_SUCCESS || size == 0) return false;
    char *list = calloc(1, size + 1);
    bool found = false;
    if (list && clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, size, list, NULL) == CL_SUCCESS) {
        const size_t length = strlen(name);
        for (const char *p = list; (p = strstr(p, name)); p += length)
            if ((p == list || p[-1] == ' ') && (p[length] == ' ' || p[length] == 0)) {
                found = true;
                break;
            }
    }
    free(list);
    return found;
}

// cl_nv_device_attribute_query
enum { NVIDIA_CAPABILITY_MAJOR = 0x4000, NVIDIA_CAPABILITY_MINOR = 0x4001 };

static unsigned get_attribute(cl_device_id id, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

// The sub-groups of Intel's matrix unit are the smallest of the device; their sizes by cl_intel_required_subgroup_size.
static unsigned intel_matrix_size(cl_device_id id)
{
    enum { SUB_GROUP_SIZES_INTEL = 0x4108 };
    size_t sizes[16] = {0}, bytes = 0, least = 0;
    if (!has_extension(id, "cl_intel_subgroup_matrix_multiply_accumulate") ||
        clGetDeviceInfo(id, SUB_GROUP_SIZES_INTEL, sizeof sizes, sizes, &bytes) != CL_SUCCESS)
        return 0;
    for (size_t i = 0; i < bytes / sizeof *sizes; i++)
        if (least == 0 || sizes[i] < least) least = sizes[i];
    return (unsigned)least;
}

static void describe(cl_platform_id platform, cl_device_id id, device_info *info)
{
    get_text(id, CL_DEVICE_NAME, info->name, sizeof info->name);
    get_text(id, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    get_text(id, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    get_text(id, CL_DEVICE_VERSION, info->version, sizeof info->version);
    if (clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof info->platform_name, info->platform_name, NULL) != CL_SUCCESS)
        info->platform_name[0] = 0;
    const uint64_t type = get_number(id, CL_DEVICE_TYPE);
    info->type = type & CL_DEVICE_TYPE_GPU ? DEVICE_GPU : type & CL_DEVICE_TYPE_CPU ? DEVICE_CPU : DEVICE_OTHER;
    info->global_memory = get_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_allocation = get_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_memory = get_number(id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->max_work_group = get_number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info->compute_units = (unsigned)get_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->clock_mhz = (unsigned)get_number(id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    info->native_vector = (unsigned)get_number(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    info->fp16 = has_extension(id, "cl_khr_fp16");
    info->fp64 = has_extension(id, "cl_khr_fp64");
    info->subgroups = has_extension(id, "cl_khr_subgroups") || has_extension(id, "cl_intel_subgroups");
    if (has_extension(id, "cl_nv_device_attribute_query"))
        info->nvidia_capability = 10 * get_attribute(id, NVIDIA_CAPABILITY_MAJOR) + get_attribute(id, NVIDIA_CAPABILITY_MINOR);
    info->intel_matrix = intel_matrix_size(id);
    info->platform_id = platform;
    info->device_id = id;
}

static idm_status apply_limit(device_info *info, const char *name, const char *value)
{
    static const char *const names[] = {"memory", "max_alloc", "local", "workgroup", "vector", "fp16", "fp64", "subgroups"};
    uint64_t number;
    if (!text_to_bytes(value, &number)) return status_fail(IDM_USAGE, "IDM_LIMITS: '%s=%s' is not a number or size", name, value);
    uint64_t *const sizes[] = {&info->global_memory, &info->max_allocation, &info->local_memory};
    bool *const flags[] = {&info->fp16, &info->fp64, &info->subgroups};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            if (number < *sizes[i]) *sizes[i] = number;
            return IDM_OK;
        }
    if (strcmp(name, "workgroup") == 0) {
        if (number > 0 && number < info->max_work_group) info->max_work_group = number;
        return IDM_OK;
    }
    if (strcmp(name, "vector") == 0) {
        if (number > 0 && number < info->native_vector) info->native_vector = (unsigned)number;
        return IDM_OK;
    }
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[5 + i]) == 0) {
            *flags[i] = *flags[i] && number != 0;
            return IDM_OK;
        }
    return status_fail(IDM_USAGE, "IDM_LIMITS: unknown limit '%s'; did you mean '%s'?", name,
                       text_nearest(name, names, sizeof names / sizeof *names));
}

idm_status device_apply_limits(device_info *info)
{
    const char *limits = getenv("IDM_LIMITS");
    if (!limits) return IDM_OK;
    char *copy = strdup(limits), *rest = copy, *item;
    idm_status status = copy ? IDM_OK : status_fail(IDM_FAILED, "out of memory");
    while (status == IDM_OK && (item = strsep(&rest, ",")) != NULL) {
        char *name = text_trim(item), *value = strchr(name, '=');
        if (!*name) continue;
        if (!value) {
            status = status_fail(IDM_USAGE, "IDM_LIMITS: '%s' has no '=value'", name);
            break;
        }
        *value++ = 0;
        status = apply_limit(info, text_trim(name), text_trim(value));
    }
    free(copy);
    return status;
}

idm_status device_list(device_info **list, size_t *count)
{
    *list = NULL;
    *count = 0;
    cl_uint platforms = 0;
    if (clGetPlatformIDs(0, NULL, &platforms) != CL_SUCCESS || platforms == 0) return IDM_OK;
    cl_platform_id *ids = calloc(platforms, sizeof *ids);
    if (!ids || clGetPlatformIDs(platforms, ids, NULL) != CL_SUCCESS) {
        free(ids);
        return status_fail(IDM_FAILED, "cannot list the OpenCL platforms");
    }
    idm_status status = IDM_OK;
    for (cl_uint p = 0; p < platforms && status == IDM_OK; p++) {
        cl_uint devices = 0;
        if (clGetDeviceIDs(ids[p], CL_DEVICE_TYPE_ALL, 0, NULL, &devices) != CL_SUCCESS || devices == 0) continue;
        cl_device_id *found = calloc(devices, sizeof *found);
        device_info *grown = realloc(*list, (*count + devices) * sizeof **list);
        if (grown) *list = grown;
        if (!found || !grown) status = status_fail(IDM_FAILED, "out of memory");
        else if (clGetDeviceIDs(ids[p], CL_DEVICE_TYPE_ALL, devices, found, NULL) == CL_SUCCESS)
            for (cl_uint d = 0; d < devices && status == IDM_OK; d++) {
                device_info *info = &(*list)[(*count)++];
                *info = (device_info){.platform = (int)p, .index = (int)d};
                describe(ids[p], found[d], info);
                status = device_apply_limits(info);
            }
        free(found);
    }
    free(ids);
    if (status != IDM_OK) {
        free(*list);
        *list = NULL;
        *count = 0;
    }
    return status;
}

// Every GPU is faster than every CPU here; among equals the product of units and clock decides.
static double rank(const device_info *info)
{
    static const double classes[] = {[DEVICE_CPU] = 1e12, [DEVICE_GPU] = 1e24, [DEVICE_OTHER] = 1};
    return classes[info->type] * (1 + (double)info->compute_units * (1 + info->clock_mhz));
}

static bool matches(const device_info *info, const char *selector)
{
    int platform, index, end = 0;
    if (sscanf(selector, "%d:%d%n", &platform, &index, &end) == 2 && selector[end] == 0)
        return info->platform == platform && info->index == index;
    if (strcasecmp(selector, "auto") == 0) return true;
    if (strcasecmp(selector, "cpu") == 0) return info->type == DEVICE_CPU;
    if (strcasecmp(selector, "gpu") == 0) return info->type == DEVICE_GPU;
    return strcasestr(info->name, selector) != NULL || strcasestr(info->platform_name, selector) != NULL;
}

static idm_status no_match(const char *selector, const device_info *list, size_t count)
{
    if (count == 0)
        return status_fail(IDM_FAILED, "no OpenCL device found; install your GPU's OpenCL driver, or pocl-opencl-icd to run on the CPU");
    char known[2048] = "";
    for (size_t i = 0; i < count; i++) {
        const size_t used = strlen(known);
        (void)snprintf(known + used, sizeof known - used, "%s%d:%d %s", i ? ", " : "", list[i].platform, list[i].index, list[i].name);
    }
    return status_fail(IDM_FAILED, "no device matches '%s'; there are: %s", selector, known);
}

idm_status device_choose(const char *selector, device_info *info)
{
    if (!selector || !*selector) selector = "auto";
    device_info *list;
    size_t count;
    IDM_TRY(device_list(&list, &count));
    const device_info *best = NULL;
    for (size_t i = 0; i < count; i++)
        if (matches(&list[i], selector) && (!best || rank(&list[i]) > rank(best))) best = &list[i];
    if (best) *info = *best;
    const idm_status status = best ? IDM_OK : no_match(selector, list, count);
    free(list);
    return status;
}
