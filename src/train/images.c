#include "train/images.h"

#include "core/files.h"
#include "core/status.h"
#include "core/threads.h"
#include "io/image_probe.h"
#include <idm/image.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct probe {
    int width, height;
    char *problem; // why the file cannot be read; NULL: it can
    idm_status status;
} probe;

// Files are taken one after the other by whichever thread is free; each result has a place of its own.
typedef struct probing {
    const files_list *files;
    probe *results;
    atomic_size_t next;
} probing;

static void *probe_files(void *argument)
{
    probing *p = argument;
    for (size_t i = atomic_fetch_add(&p->next, 1); i < p->files->count; i = atomic_fetch_add(&p->next, 1)) {
        probe *result = &p->results[i];
        result->status = image_probe(p->files->paths[i], &result->width, &result->height);
        if (result->status != IDM_OK) result->problem = strdup(idm_message());
    }
    return NULL;
}

// With fewer threads than wanted where the system gives no more.
static void probe_all(const files_list *files, int threads, probe *results)
{
    enum { THREADS_MAX = 64 };
    probing p = {.files = files, .results = results};
    pthread_t others[THREADS_MAX];
    int started = 0;
    while (started < threads - 1 && started < THREADS_MAX && threads_start(&others[started], probe_files, &p)) started++;
    (void)probe_files(&p);
    for (int i = 0; i < started; i++) (void)pthread_join(others[i], NULL);
}

// Keeps the pictures of a listing.
static void keep_pictures(files_list *files)
{
    size_t kept = 0;
    for (size_t i = 0; i < files->count; i++) {
        if (image_has_ending(files->paths[i])) files->paths[kept++] = files->paths[i];
        else free(files->paths[i]);
    }
    files->count = kept;
}

static void add_to_hash(XXH3_state_t *hash, const training_image *image, const char *folder)
{
    const char *name = image->path + strlen(folder);
    char size[32];
    while (*name == '/') name++;
    const int length = snprintf(size, sizeof size, "%d %d", image->width, image->height);
    (void)XXH3_64bits_update(hash, name, strlen(name) + 1);
    (void)XXH3_64bits_update(hash, size, (size_t)length + 1);
}

// A list of names that says how many there are and shows the first few.
enum { NAMES_SHOWN = 5 };

typedef struct name_list {
    char text[2048];
    size_t length, count;
} name_list;

static void add_name(name_list *names, const char *name)
{
    if (names->count++ >= NAMES_SHOWN) return;
    const int length =
        snprintf(names->text + names->length, sizeof names->text - names->length, "%s%.300s", names->length ? ", " : "", name);
    if (length > 0) names->length += (size_t)length;
    if (names->length >= sizeof names->text) names->length = sizeof names->text - 1;
}

static const char *and_others(const name_list *names)
{
    return names->count > NAMES_SHOWN ? ", ..." : "";
}

static void warn_of(warning_sink warn, const char *folder, size_t files, const char *what, const name_list *names)
{
    char text[4096];
    if (!warn.say || names->count == 0) return;
    (void)snprintf(text, sizeof text, "%.1000s: %zu of %zu pictures %s and are left out: %s%s", folder, names->count, files, what,
                   names->text, and_others(names));
    warn.say(warn.user, text);
}

// Moves the usable files' paths over to *images.
static idm_status sort_out(const char *folder, files_list *files, const probe *results, int side, training_images *images, name_list *small,
                           name_list *unreadable)
{
    XXH3_state_t *hash = XXH3_createState();
    images->list = calloc(files->count + 1, sizeof *images->list);
    if (!hash || !images->list) {
        (void)XXH3_freeState(hash);
        return status_fail(IDM_FAILED, "%s: not enough memory for the list of images", folder);
    }
    (void)XXH3_64bits_reset(hash);
    idm_status status = IDM_OK;
    for (size_t i = 0; i < files->count && status == IDM_OK; i++) {
        const probe *result = &results[i];
        if (result->status == IDM_FAILED) status = status_fail(IDM_FAILED, "%s", result->problem ? result->problem : "not enough memory");
        else if (result->status != IDM_OK) add_name(unreadable, result->problem ? result->problem : files->paths[i]);
        else if (result->width < side || result->height < side) add_name(small, files->paths[i]);
        else {
            training_image *image = &images->list[images->count++];
            *image = (training_image){files->paths[i], result->width, result->height};
            files->paths[i] = NULL;
            add_to_hash(hash, image, folder);
        }
    }
    images->hash = XXH3_64bits_digest(hash);
    images->small = small->count;
    images->unreadable = unreadable->count;
    (void)XXH3_freeState(hash);
    return status;
}

static idm_status judge(const char *folder, int side, const training_images *images, const name_list *unreadable)
{
    if (2 * images->unreadable > images->files)
        return status_fail(IDM_BAD_INPUT, "%s: %zu of %zu pictures cannot be read: %s%s", folder, images->unreadable, images->files,
                           unreadable->text, and_others(unreadable));
    if (images->count == 0)
        return status_fail(IDM_BAD_INPUT, "%s: none of the %zu pictures has %d x %d pixels; choose a smaller data.patch_size", folder,
                           images->files, side, side);
    return IDM_OK;
}

static idm_status scan_files(const char *folder, int side, int threads, warning_sink warn, files_list *files, training_images *images)
{
    if (files->count == 0) return status_fail(IDM_BAD_INPUT, "%s: no picture (png, tif, bmp, jpg) in this folder or below it", folder);
    probe *results = calloc(files->count, sizeof *results);
    if (!results) return status_fail(IDM_FAILED, "%s: not enough memory for the list of images", folder);
    name_list small = {0}, unreadable = {0};
    images->files = files->count;
    probe_all(files, threads, results);
    idm_status status = sort_out(folder, files, results, side, images, &small, &unreadable);
    if (status == IDM_OK) status = judge(folder, side, images, &unreadable);
    for (size_t i = 0; i < files->count; i++) free(results[i].problem);
    free(results);
    if (status != IDM_OK) return status;
    char smaller[64];
    (void)snprintf(smaller, sizeof smaller, "are smaller than %d x %d pixels", side, side);
    warn_of(warn, folder, images->files, smaller, &small);
    warn_of(warn, folder, images->files, "cannot be read", &unreadable);
    return IDM_OK;
}

idm_status training_images_scan(const char *folder, int side, int threads, warning_sink warn, training_images *images)
{
    files_list files;
    *images = (training_images){0};
    IDM_TRY(files_list_folder(folder, true, &files));
    keep_pictures(&files);
    const idm_status status = scan_files(folder, side, threads, warn, &files, images);
    files_list_free(&files);
    if (status != IDM_OK) training_images_free(images);
    return status;
}

void training_images_free(training_images *images)
{
    for (size_t i = 0; i < images->count; i++) free(images->list[i].path);
    free(images->list);
    *images = (training_images){0};
}

idm_status training_image_load(const training_image *image, uint8_t **plane)
{
    idm_image picture;
    *plane = NULL;
    IDM_TRY(idm_image_load(image->path, &picture));
    idm_status status = IDM_OK;
    if (picture.width != image->width || picture.height != image->height)
        status = status_fail(IDM_BAD_INPUT, "%s: %d x %d pixels now, %d x %d before: it was changed meanwhile", image->path, picture.width,
                             picture.height, image->width, image->height);
    else if (!(*plane = malloc((size_t)picture.width * (size_t)picture.height)))
        status = status_fail(IDM_FAILED, "%s: not enough memory", image->path);
    else idm_image_luminance(&picture, *plane);
    idm_image_free(&picture);
    return status;
}
