#include "tune/energy.h"

#include "core/clock.h"
#include "tune/stopwatch.h"
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// NaN: cannot be read.
static double read_number(const char *path)
{
    double value = NAN;
    FILE *file = fopen(path, "r");
    if (!file) return NAN;
    if (fscanf(file, "%lf", &value) != 1) value = NAN;
    (void)fclose(file);
    return value;
}

static void add_source(energy *e, const char *path, double range)
{
    const double now = read_number(path);
    if (e->count == ENERGY_SOURCES_MAX || !isfinite(now) || strlen(path) >= sizeof e->sources[0].path) return;
    (void)snprintf(e->sources[e->count].path, sizeof e->sources[0].path, "%s", path);
    e->sources[e->count].last = now;
    e->sources[e->count++].range = range;
}

// Whole processors, not their parts (intel-rapl:0:1).
static void find_processors(energy *e, const char *root)
{
    char pattern[256];
    glob_t found = {0};
    (void)snprintf(pattern, sizeof pattern, "%s/class/powercap/intel-rapl:*/energy_uj", root);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) {
            const char *path = found.gl_pathv[i], *zone = strstr(path, "intel-rapl:");
            char range_path[512];
            if (!zone || strchr(zone + strlen("intel-rapl:"), ':')) continue;
            (void)snprintf(range_path, sizeof range_path, "%.*s/max_energy_range_uj", (int)(strrchr(path, '/') - path), path);
            const double range = read_number(range_path);
            if (range > 0) add_source(e, path, range);
        }
    globfree(&found);
}

// Of several cards nobody says here which one is meant.
static void find_amd_gpu(energy *e, const char *root)
{
    char pattern[256];
    glob_t found = {0};
    (void)snprintf(pattern, sizeof pattern, "%s/class/drm/card*/device/hwmon/hwmon*/power1_average", root);
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1) add_source(e, found.gl_pathv[0], 0);
    globfree(&found);
}

void energy_begin(energy *e, const device_info *device, const char *root)
{
    *e = (energy){.time = clock_seconds()};
    if (device->type == DEVICE_CPU) find_processors(e, root);
    else if (strstr(device->vendor, "Advanced Micro") || strstr(device->vendor, "AMD")) find_amd_gpu(e, root);
}

double energy_joules(energy *e)
{
    const double now = clock_seconds();
    for (int i = 0; i < e->count; i++) {
        const double value = read_number(e->sources[i].path), range = e->sources[i].range, before = e->sources[i].last;
        if (range > 0) e->joules += 1e-6 * (value >= before || !isfinite(value) ? value - before : value - before + range);
        else e->joules += 1e-6 * (value + before) / 2 * (now - e->time);
        e->sources[i].last = value;
    }
    e->time = now;
    return e->count > 0 ? e->joules : NAN;
}
