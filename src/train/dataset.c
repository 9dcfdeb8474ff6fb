#include "train/dataset.h"

#include "core/clock.h"
#include "core/random.h"
#include "core/status.h"
#include "core/threads.h"
#include "train/images.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A batch in the making, or handed out.
typedef struct slot {
    float *x;
    int32_t *perm;
    size_t unfinished; // tasks: `batch` patches, then the permutation
} slot;

typedef struct plane {
    uint8_t *cached; // stays where it is once it is there
    bool broken;
} plane;

enum { WARNINGS_MAX = 16, MESSAGE_SIZE = 4096 };

struct dataset {
    dataset_options options;
    training_images images;
    uint64_t order_key, crop_key, flip_key, permutation_key;
    slot *slots; // step s is in slot s % slot_count
    size_t slot_count;
    uint64_t first_step;
    pthread_t *threads;
    int thread_count;

    pthread_mutex_t lock; // of all below
    pthread_cond_t work, done;
    bool closing;
    uint64_t wanted;     // the step that dataset_next gives out next; the one before is the caller's
    uint64_t task_step;  // the next task to be taken: sample task_index of this step,
    size_t task_index;   // or its permutation
    uint64_t order_pass; // whose order is in `order`
    int32_t *order;
    plane *planes;
    size_t cached_images, cached_bytes, broken;
    uint64_t replaced;
    double waited;
    idm_status status; // of the first failure
    char message[MESSAGE_SIZE];
    char *warnings[WARNINGS_MAX]; // until dataset_next passes them on
    size_t warning_count, warnings_dropped;
};

typedef struct task {
    uint64_t step, sample; // sample: number k, where it is a patch
    size_t index;          // within the step
    size_t image;
    slot *slot;
} task;

static void fail(dataset *d, idm_status status, const char *message)
{
    if (d->status == IDM_OK) {
        d->status = status;
        (void)snprintf(d->message, sizeof d->message, "%s", message);
    }
    (void)pthread_cond_broadcast(&d->work);
    (void)pthread_cond_broadcast(&d->done);
}

// Locked. The image that sample k is cut from; samples are asked for in rising order.
static size_t image_of(dataset *d, uint64_t k)
{
    const uint64_t pass = k / d->images.count;
    if (pass != d->order_pass) {
        random_permutation(random_bits(d->order_key, pass), d->order, d->images.count);
        d->order_pass = pass;
    }
    return (size_t)d->order[k % d->images.count];
}

// Locked. The slot before the wanted one is the caller's.
static bool has_room(const dataset *d)
{
    const uint64_t held = d->wanted > d->first_step ? d->wanted - 1 : d->wanted;
    return d->task_step < held + d->slot_count;
}

// Locked. Waits for something to do; false: nothing ever.
static bool take_task(dataset *d, task *t)
{
    while (!d->closing && d->status == IDM_OK && !has_room(d)) (void)pthread_cond_wait(&d->work, &d->lock);
    if (d->closing || d->status != IDM_OK) return false;
    const size_t batch = (size_t)d->options.batch;
    *t = (task){.step = d->task_step, .index = d->task_index, .slot = &d->slots[d->task_step % d->slot_count]};
    if (t->index == 0) t->slot->unfinished = batch + 1;
    if (t->index < batch) {
        t->sample = t->step * batch + t->index;
        t->image = image_of(d, t->sample);
    }
    if (d->task_index++ == batch) {
        d->task_index = 0;
        d->task_step++;
    }
    return true;
}

// Locked. An image turned out to be damaged: idm_message() says how.
static void note_broken(dataset *d, size_t image)
{
    if (d->planes[image].broken) return;
    d->planes[image].broken = true;
    d->broken++;
    char *text = NULL;
    if (d->warning_count < WARNINGS_MAX && asprintf(&text, "%s; the next image takes its place", idm_message()) >= 0)
        d->warnings[d->warning_count++] = text;
    else d->warnings_dropped++;
    if (2 * (d->images.unreadable + d->broken) <= d->images.files && d->broken < d->images.count) return;
    (void)status_prefix(IDM_BAD_INPUT, "%s: %zu of %zu pictures cannot be read; the last", d->options.folder,
                        d->images.unreadable + d->broken, d->images.files);
    fail(d, IDM_BAD_INPUT, idm_message());
}

// Locked. Keeps the plane, if there is room and no other thread was faster. Returns the one to use; *owned: the caller frees it.
static const uint8_t *keep_plane(dataset *d, size_t image, uint8_t *values, bool *owned)
{
    const size_t size = (size_t)d->images.list[image].width * (size_t)d->images.list[image].height;
    plane *p = &d->planes[image];
    *owned = false;
    if (p->cached) {
        free(values);
        return p->cached;
    }
    if (d->options.cache_bytes - d->cached_bytes >= size) {
        d->cached_bytes += size;
        d->cached_images++;
        p->cached = values;
    } else *owned = true;
    return values;
}

// The luminance of t->image, or else of the next image that can be read, which t->image then is. NULL: the data set has failed.
static const uint8_t *find_plane(dataset *d, task *t, bool *owned)
{
    const size_t first = t->image;
    const uint8_t *found = NULL;
    *owned = false;
    (void)pthread_mutex_lock(&d->lock);
    while (!found && d->status == IDM_OK) {
        const plane *p = &d->planes[t->image];
        found = p->cached;
        if (!found && p->broken) t->image = (t->image + 1) % d->images.count; // a whole one comes: else the status were a failure
        else if (!found) {
            uint8_t *values;
            (void)pthread_mutex_unlock(&d->lock);
            const idm_status status = training_image_load(&d->images.list[t->image], &values);
            (void)pthread_mutex_lock(&d->lock);
            if (status == IDM_OK) found = keep_plane(d, t->image, values, owned);
            else if (status == IDM_BAD_INPUT) note_broken(d, t->image);
            else fail(d, status, idm_message());
        }
    }
    if (found && t->image != first) d->replaced++;
    (void)pthread_mutex_unlock(&d->lock);
    return found;
}

static void cut_patch(const uint8_t *corner, size_t width, int side, unsigned flip, float *out)
{
    for (int row = 0; row < side; row++) {
        for (int column = 0; column < side; column++) {
            int r = flip & 4 ? column : row, c = flip & 4 ? row : column;
            if (flip & 1) r = side - 1 - r;
            if (flip & 2) c = side - 1 - c;
            *out++ = (float)corner[(size_t)r * width + (size_t)c] / 255.0F;
        }
    }
}

// False: the data set has failed.
static bool make_patch(dataset *d, task *t)
{
    bool owned;
    const uint8_t *values = find_plane(d, t, &owned);
    if (!values) return false;
    const training_image *image = &d->images.list[t->image];
    const size_t side = (size_t)d->options.patch_size, width = (size_t)image->width, height = (size_t)image->height;
    const uint64_t column = random_below(d->crop_key, 2 * t->sample, width - side + 1);
    const uint64_t row = random_below(d->crop_key, 2 * t->sample + 1, height - side + 1);
    const unsigned flip = (unsigned)random_below(d->flip_key, t->step, 8);
    cut_patch(values + row * width + column, width, (int)side, flip, t->slot->x + t->index * side * side);
    if (owned) free((void *)(uintptr_t)values);
    return true;
}

static void *run_worker(void *argument)
{
    dataset *d = argument;
    const size_t batch = (size_t)d->options.batch, pixels = (size_t)d->options.patch_size * (size_t)d->options.patch_size;
    task t;
    (void)pthread_mutex_lock(&d->lock);
    while (take_task(d, &t)) {
        (void)pthread_mutex_unlock(&d->lock);
        bool made = true;
        if (t.index < batch) made = make_patch(d, &t);
        else random_permutation(random_bits(d->permutation_key, t.step), t.slot->perm, pixels);
        (void)pthread_mutex_lock(&d->lock);
        if (made && --t.slot->unfinished == 0) (void)pthread_cond_signal(&d->done);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return NULL;
}

static idm_status allocate(dataset *d)
{
    const size_t pixels = (size_t)d->options.patch_size * (size_t)d->options.patch_size, batch = (size_t)d->options.batch;
    // the caller's, and work for every thread beyond the batch that is waited for
    d->slot_count = 3 + (size_t)d->options.workers / (batch + 1);
    d->slots = calloc(d->slot_count, sizeof *d->slots);
    d->order = calloc(d->images.count, sizeof *d->order);
    d->planes = calloc(d->images.count, sizeof *d->planes);
    d->threads = calloc((size_t)d->options.workers, sizeof *d->threads);
    bool sound = d->slots && d->order && d->planes && d->threads;
    for (size_t i = 0; i < d->slot_count && sound; i++) {
        d->slots[i].x = malloc(batch * pixels * sizeof *d->slots[i].x);
        d->slots[i].perm = malloc(pixels * sizeof *d->slots[i].perm);
        d->slots[i].unfinished = batch + 1;
        sound = d->slots[i].x && d->slots[i].perm;
    }
    if (sound) return IDM_OK;
    return status_fail(IDM_FAILED, "%s: not enough memory for training batches of %d patches of %d x %d pixels", d->options.folder,
                       d->options.batch, d->options.patch_size, d->options.patch_size);
}

static idm_status open_set(dataset *d, uint64_t first_step)
{
    const dataset_options *o = &d->options;
    IDM_TRY(training_images_scan(o->folder, o->patch_size, o->workers, o->warn, &d->images));
    IDM_TRY(allocate(d));
    d->order_key = random_key(o->seed, "data order");
    d->crop_key = random_key(o->seed, "data crop");
    d->flip_key = random_key(o->seed, "data flip");
    d->permutation_key = random_key(o->seed, "data permutation");
    d->first_step = d->wanted = d->task_step = first_step;
    d->order_pass = UINT64_MAX; // none yet
    while (d->thread_count < o->workers && threads_start(&d->threads[d->thread_count], run_worker, d)) d->thread_count++;
    return d->thread_count > 0 ? IDM_OK : status_fail(IDM_FAILED, "%s: the system gives no thread to read images with", o->folder);
}

idm_status dataset_open(const dataset_options *options, uint64_t first_step, dataset **data)
{
    *data = NULL;
    if (options->folder[0] == '\0') return status_fail(IDM_USAGE, "data.train is not set: it names the folder of training images");
    if ((int64_t)options->patch_size * options->patch_size > INT32_MAX)
        return status_fail(IDM_USAGE, "data.patch_size = %d: a patch must have less than 2^31 pixels", options->patch_size);
    dataset *d = calloc(1, sizeof *d);
    char *folder = strdup(options->folder);
    if (!d || !folder) {
        free(d);
        free(folder);
        return status_fail(IDM_FAILED, "%s: not enough memory", options->folder);
    }
    d->options = *options;
    d->options.folder = folder;
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_cond_init(&d->work, NULL);
    (void)pthread_cond_init(&d->done, NULL);
    const idm_status status = open_set(d, first_step);
    if (status == IDM_OK) *data = d;
    else dataset_close(d);
    return status;
}

// Takes over the warnings; to be passed on unlocked, since the listener may ask for the counts.
static void pass_on(const dataset *d, char **warnings, size_t count, size_t dropped)
{
    const warning_sink warn = d->options.warn;
    char text[128];
    for (size_t i = 0; i < count; i++) {
        if (warn.say) warn.say(warn.user, warnings[i]);
        free(warnings[i]);
    }
    (void)snprintf(text, sizeof text, "%zu more training images cannot be read", dropped);
    if (dropped && warn.say) warn.say(warn.user, text);
}

// Locked. All tasks of the step are taken and done.
static bool is_complete(const dataset *d, uint64_t step)
{
    return d->task_step > step && d->slots[step % d->slot_count].unfinished == 0;
}

idm_status dataset_next(dataset *d, dataset_batch *batch)
{
    char *warnings[WARNINGS_MAX];
    const double begun = clock_seconds();
    (void)pthread_mutex_lock(&d->lock);
    const uint64_t step = d->wanted++; // gives back the slot before
    (void)pthread_cond_broadcast(&d->work);
    while (d->status == IDM_OK && !is_complete(d, step)) (void)pthread_cond_wait(&d->done, &d->lock);
    d->waited += clock_seconds() - begun;
    const idm_status status = is_complete(d, step) ? IDM_OK : d->status;
    const size_t count = d->warning_count, dropped = d->warnings_dropped;
    memcpy(warnings, d->warnings, sizeof warnings);
    d->warning_count = d->warnings_dropped = 0;
    (void)pthread_mutex_unlock(&d->lock);
    pass_on(d, warnings, count, dropped);
    if (status != IDM_OK) return status_fail(status, "%s", d->message); // written once
    const slot *s = &d->slots[step % d->slot_count];
    *batch = (dataset_batch){step, s->x, s->perm};
    return IDM_OK;
}

void dataset_count(dataset *d, dataset_report *report)
{
    (void)pthread_mutex_lock(&d->lock);
    *report = (dataset_report){
        .files = d->images.files,
        .small = d->images.small,
        .unreadable = d->images.unreadable,
        .usable = d->images.count,
        .broken = d->broken,
        .replaced = d->replaced,
        .hash = d->images.hash,
        .cached_images = d->cached_images,
        .cached_bytes = d->cached_bytes,
        .waited = d->waited,
    };
    (void)pthread_mutex_unlock(&d->lock);
}

void dataset_close(dataset *d)
{
    if (!d) return;
    (void)pthread_mutex_lock(&d->lock);
    d->closing = true;
    (void)pthread_cond_broadcast(&d->work);
    (void)pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < d->thread_count; i++) (void)pthread_join(d->threads[i], NULL);
    for (size_t i = 0; i < d->slot_count && d->slots; i++) {
        free(d->slots[i].x);
        free(d->slots[i].perm);
    }
    for (size_t i = 0; i < d->images.count && d->planes; i++) free(d->planes[i].cached);
    for (size_t i = 0; i < d->warning_count; i++) free(d->warnings[i]);
    training_images_free(&d->images);
    free(d->slots);
    free(d->order);
    free(d->planes);
    free(d->threads);
    (void)pthread_cond_destroy(&d->work);
    (void)pthread_cond_destroy(&d->done);
    (void)pthread_mutex_destroy(&d->lock);
    free((void *)(uintptr_t)d->options.folder);
    free(d);
}
