#include "tune/tuning_choose.h"

#include "core/files.h"
#include "core/status.h"
#include <stdio.h>
#include <string.h>

bool tuning_device_path(const device_info *d, char *path, size_t size)
{
    char key[1024];
    (void)snprintf(key, sizeof key, "%s|%s|%s|%s|%s", d->name, d->vendor, d->driver, d->version, d->platform_name);
    return program_cache_path("tuning", key, path, size);
}

static void finish(tuning_choice *c)
{
    c->hash = tuning_hash(&c->file.t);
}

// ---- a file by name

static idm_status choose_given(const char *path, const device_info *device, tuning_choice *c)
{
    IDM_TRY(tuning_file_load(path, &c->file));
    uint64_t program;
    const idm_status status = program_hash(&program);
    if (status != IDM_OK) {
        tuning_file_free(&c->file);
        return status;
    }
    const tuning_file *f = &c->file;
    c->origin = TUNING_GIVEN;
    (void)snprintf(c->name, sizeof c->name, "%s", files_name(path));
    if (f->device[0] && (strcmp(f->device, device->name) != 0 || strcmp(f->driver, device->driver) != 0))
        (void)snprintf(c->note, sizeof c->note, "%.200s was made for %s, driver %s", path, f->device, f->driver);
    else if (f->program && f->program != program)
        (void)snprintf(c->note, sizeof c->note, "%.200s was made for another version of the kernels", path);
    return IDM_OK;
}

// ---- carried

static tuning_origin fits(const tuning_file *f, const device_info *device)
{
    if (f->architecture[0]) return strstr(device->name, f->architecture) ? TUNING_ARCHITECTURE : TUNING_NONE;
    if (f->vendor[0]) return strstr(device->vendor, f->vendor) ? TUNING_VENDOR : TUNING_NONE;
    const char *kind = device->type == DEVICE_GPU ? "gpu" : device->type == DEVICE_CPU ? "cpu" : "";
    return f->device_class[0] && strcmp(f->device_class, kind) == 0 ? TUNING_CLASS : TUNING_NONE;
}

idm_status tuning_choose_carried(const struct embedded_source *tables, const device_info *device, tuning_choice *c)
{
    for (; tables->name; tables++) {
        tuning_file f;
        const idm_status status = tuning_file_parse(tables->name, tables->text, &f);
        if (status != IDM_OK) {
            tuning_choice_free(c);
            return status;
        }
        const tuning_origin origin = fits(&f, device);
        if (origin == TUNING_NONE || (c->origin != TUNING_NONE && c->origin <= origin)) {
            tuning_file_free(&f);
            continue;
        }
        tuning_file_free(&c->file);
        c->file = f;
        c->origin = origin;
        (void)snprintf(c->name, sizeof c->name, "%s %.40s",
                       origin == TUNING_ARCHITECTURE ? "architecture"
                       : origin == TUNING_VENDOR     ? "vendor"
                                                     : "class",
                       origin == TUNING_ARCHITECTURE ? f.architecture
                       : origin == TUNING_VENDOR     ? f.vendor
                                                     : f.device_class);
    }
    finish(c);
    return IDM_OK;
}

// ---- auto

// Whether what `idm tune` wrote for the device is there and still of use; else the note says why not.
static bool choose_device(const device_info *device, tuning_choice *c)
{
    char path[4096];
    uint64_t program;
    if (!tuning_device_path(device, path, sizeof path) || !files_exists(path)) return false;
    if (tuning_file_load(path, &c->file) != IDM_OK || program_hash(&program) != IDM_OK) {
        (void)snprintf(c->note, sizeof c->note, "tuning file left out: %.400s", idm_message());
        tuning_file_free(&c->file);
        return false;
    }
    if (c->file.program != program) {
        (void)snprintf(c->note, sizeof c->note, "tuned for another version of the kernels");
        tuning_file_free(&c->file);
        return false;
    }
    c->origin = TUNING_DEVICE;
    (void)snprintf(c->name, sizeof c->name, "device");
    return true;
}

idm_status tuning_choose(const char *setting, const device_info *device, tuning_choice *c)
{
    *c = (tuning_choice){.name = "none"};
    if (strcmp(setting, "none") == 0) return IDM_OK;
    const bool is_auto = strcmp(setting, "auto") == 0;
    if (!is_auto) IDM_TRY(choose_given(setting, device, c));
    else if (!choose_device(device, c)) return tuning_choose_carried(embedded_tunings, device, c);
    finish(c);
    return IDM_OK;
}

void tuning_choice_free(tuning_choice *c)
{
    tuning_file_free(&c->file);
    *c = (tuning_choice){.name = "none"};
}
