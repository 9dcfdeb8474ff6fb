#include "core/config_keys.h"

#include "core/status.h"
#include "core/text.h"

#include <stddef.h>
#include <string.h>

// clang-format off
#define FIELD(section, name) .offset = offsetof(idm_config, section.name)
#define STRING(section, name) FIELD(section, name), .capacity = sizeof(((idm_config *)0)->section.name)
#define KEY(section, name, ...) {#section, #name, __VA_ARGS__}

const config_key config_keys[] = {
    KEY(model, channels, .type = CONFIG_INTS, FIELD(model, channels), .capacity = 2, .least = 1, .most = 65536, .words = "auto", .initial = "auto",
        .meaning = "Channels of the U-Net's two levels. auto: as the weights file says, else 320,640."),
    KEY(model, heads, .type = CONFIG_INT, FIELD(model, heads), .least = 1, .most = 1024, .words = "auto", .initial = "auto",
        .meaning = "Attention heads. auto: as the weights file says, else 8."),
    KEY(model, groups, .type = CONFIG_INT, FIELD(model, groups), .least = 1, .most = 65536, .words = "auto", .initial = "auto",
        .meaning = "Groups of the group normalisations. auto: as the weights file says, else 32."),
    KEY(model, steps, .type = CONFIG_INT, FIELD(model, steps), .least = 1, .most = 1000, .words = "auto", .initial = "auto",
        .meaning = "Diffusion steps T. auto: as the weights file says, else 3."),
    KEY(model, weights, .type = CONFIG_PATH, STRING(model, weights), .initial = "",
        .meaning = "Weights file: .safetensors, torch zip (.pkl) as published, or a checkpoint."),

    KEY(sensing, cs_ratio, .type = CONFIG_DOUBLE, FIELD(sensing, cs_ratio), .least = 1e-6, .most = 1, .words = "auto", .initial = "auto",
        .unit = "measurements per pixel", .meaning = "Sampling ratio. auto: as the weights file says, else 0.1."),
    KEY(sensing, block_size, .type = CONFIG_INT, FIELD(sensing, block_size), .least = 4, .most = 256, .words = "auto", .initial = "auto",
        .unit = "pixels", .meaning = "Side B of a sampling block, a multiple of 4. auto: as the weights file says, else 32."),
    KEY(sensing, seed, .type = CONFIG_UINT64, FIELD(sensing, seed), .initial = "2025",
        .meaning = "Seed of Phi, where the weights file has none, and of the test permutations."),

    KEY(data, train, .type = CONFIG_PATH, STRING(data, train), .initial = "", .meaning = "Folder of training images."),
    KEY(data, validation, .type = CONFIG_PATH, STRING(data, validation), .initial = "", .meaning = "Folder of validation images."),
    KEY(data, patch_size, .type = CONFIG_INT, FIELD(data, patch_size), .least = 4, .most = 65535, .initial = "256", .unit = "pixels",
        .meaning = "Side of a training crop; smaller images are skipped."),
    KEY(data, workers, .type = CONFIG_INT, FIELD(data, workers), .least = 1, .most = 256, .initial = "4", .unit = "threads",
        .meaning = "Threads that read training images."),
    KEY(data, cache, .type = CONFIG_BYTES, FIELD(data, cache), .initial = "1GiB",
        .meaning = "Host memory for training images that are kept decoded (a byte per pixel); the others are read anew in every pass."),

    KEY(train, epochs, .type = CONFIG_INT, FIELD(train, epochs), .least = 1, .most = 1e6, .initial = "50", .meaning = "Epochs to train."),
    KEY(train, iterations_per_epoch, .type = CONFIG_INT, FIELD(train, iterations_per_epoch), .least = 1, .most = 1e9, .initial = "1000",
        .meaning = "Optimiser steps in an epoch."),
    KEY(train, batch_size, .type = CONFIG_INT, FIELD(train, batch_size), .least = 1, .most = 65536, .initial = "8", .unit = "images",
        .meaning = "Images per optimiser step."),
    KEY(train, learning_rate, .type = CONFIG_DOUBLE, FIELD(train, learning_rate), .least = 0, .most = 1, .initial = "1e-4",
        .meaning = "Adam's learning rate at the start."),
    KEY(train, milestones, .type = CONFIG_INTS, FIELD(train, milestones), .capacity = IDM_MILESTONES_MAX,
        .count_offset = offsetof(idm_config, train.milestone_count), .least = 1, .most = 1e6, .initial = "10,20,30,40", .unit = "epochs",
        .meaning = "The learning rate is multiplied by gamma after these epochs; empty: never."),
    KEY(train, gamma, .type = CONFIG_DOUBLE, FIELD(train, gamma), .least = 0, .most = 1, .initial = "0.5",
        .meaning = "Factor of the learning rate at every milestone."),
    KEY(train, clip, .type = CONFIG_DOUBLE, FIELD(train, clip), .least = 0, .most = 1e30, .initial = "0",
        .meaning = "Limit of the whole gradient's norm; a longer gradient is scaled down to it. 0: none."),
    KEY(train, ema, .type = CONFIG_DOUBLE, FIELD(train, ema), .least = 0, .most = 0.9999999, .initial = "0",
        .meaning = "Decay per step of the averaged weights that are kept beside the trained ones, such as 0.999. 0: none are kept."),
    KEY(train, precision, .type = CONFIG_WORD, FIELD(train, precision), .words = "fp32|half|bf16", .initial = "fp32",
        .meaning = "How activations and weight copies are stored; sums are float32 always."),
    KEY(train, seed, .type = CONFIG_UINT64, FIELD(train, seed), .initial = "2025", .meaning = "Seed of start values, crops, flips and permutations."),
    KEY(train, init, .type = CONFIG_INIT, STRING(train, init), .initial = "random",
        .meaning = "Start values: random, from Stable Diffusion 1.5, or from a weights file, of another cs_ratio too: Phi is then made anew."),
    KEY(train, out, .type = CONFIG_PATH, STRING(train, out), .initial = "run", .meaning = "Run directory: checkpoints, log, curves."),
    KEY(train, save_every, .type = CONFIG_INTERVAL, STRING(train, save_every), .initial = "30min", .meaning = "Time between checkpoints."),
    KEY(train, keep, .type = CONFIG_INT, FIELD(train, keep), .least = 1, .most = 1e6, .initial = "3", .unit = "checkpoints",
        .meaning = "Newest checkpoints that stay."),
    KEY(train, validate_every, .type = CONFIG_INT, FIELD(train, validate_every), .least = 0, .most = 1e6, .initial = "1", .unit = "epochs",
        .meaning = "Epochs between validations; 0: never."),
    KEY(train, log_every, .type = CONFIG_INT, FIELD(train, log_every), .least = 1, .most = 1e9, .initial = "10", .unit = "iterations",
        .meaning = "Optimiser steps between two lines of the log."),

    KEY(memory, budget, .type = CONFIG_BYTES, FIELD(memory, budget), .least = 1 << 20, .words = "auto", .initial = "auto",
        .meaning = "Device memory that may be used. auto: the lesser of 90 % and all but 1 GiB of what the device reports."),
    KEY(memory, micro_batch, .type = CONFIG_INT, FIELD(memory, micro_batch), .least = 1, .most = 65536, .words = "auto", .initial = "auto",
        .unit = "images", .meaning = "Images at a time on the device; the gradient is that of the whole batch. auto: what fits the budget."),
    KEY(memory, recompute, .type = CONFIG_WORD, FIELD(memory, recompute), .words = "auto|none|blocks|invert", .initial = "auto",
        .meaning = "What the backward pass computes again: nothing, module bodies, or inputs by inversion. auto: the fastest that fits."),

    KEY(device, device, .type = CONFIG_TEXT, STRING(device, device), .initial = "auto",
        .meaning = "OpenCL device: auto (the fastest GPU, else the CPU), cpu, gpu, an index P:D of `idm devices`, or part of a name."),
    KEY(device, tuning, .type = CONFIG_PATH, STRING(device, tuning), .words = "auto|none", .initial = "auto",
        .meaning = "Kernel parameters: a file of `idm tune`. auto: what it found for this device, else a table that fits. none: by each kernel's own choice."),
    KEY(device, variants, .type = CONFIG_WORD, FIELD(device, variants), .words = "auto|cpu|gpu|generic", .initial = "auto",
        .meaning = "Table of kernel variants. auto: by the device's type."),
    KEY(device, gemm, .type = CONFIG_WORD, FIELD(device, gemm), .words = "auto|own|clblast", .initial = "auto", .meaning = "Linear layers by which kernels. auto: on GPUs CLBlast, or the own ones where those were found to be faster; else the own ones."),
    KEY(device, matrix, .type = CONFIG_WORD, FIELD(device, matrix), .words = "auto|off|emulate", .initial = "auto",
        .meaning = "The device's matrix unit, for what is stored in 16 bits. auto: if it has one that gives right numbers. emulate: for tests, slow."),
    KEY(device, math, .type = CONFIG_WORD, FIELD(device, math), .words = "fast|exact", .initial = "fast",
        .meaning = "exact: no Winograd, no approximated exp or erf; what verify and selftest use unless this key is given."),
    KEY(device, max_launch_ms, .type = CONFIG_DOUBLE, FIELD(device, max_launch_ms), .least = 0.1, .most = 1e6, .initial = "100", .unit = "ms",
        .meaning = "No kernel launch is planned to run longer (a display driver's watchdog kills at 2 s)."),
};
// clang-format on

_Static_assert(sizeof config_keys / sizeof *config_keys == CONFIG_KEY_COUNT, "CONFIG_KEY_COUNT");

static idm_status unknown_section(const char *section)
{
    const char *names[CONFIG_KEY_COUNT];
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) names[i] = config_keys[i].section;
    return status_fail(IDM_USAGE, "unknown section \"%.100s\"; did you mean \"%s\"?", section,
                       text_nearest(section, names, CONFIG_KEY_COUNT));
}

idm_status config_find(const char *section, const char *name, const config_key **key)
{
    const char *names[CONFIG_KEY_COUNT];
    size_t count = 0;
    const config_key *elsewhere = NULL;
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        const bool same_section = strcmp(config_keys[i].section, section) == 0, same_name = strcmp(config_keys[i].name, name) == 0;
        if (same_section && same_name) {
            *key = &config_keys[i];
            return IDM_OK;
        }
        if (same_section) names[count++] = config_keys[i].name;
        if (same_name) elsewhere = &config_keys[i];
    }
    if (count == 0) return unknown_section(section);
    return status_fail(IDM_USAGE, "unknown key \"%.100s\" in section \"%s\"; did you mean \"%s\" in section \"%s\"?", name, section,
                       elsewhere ? elsewhere->name : text_nearest(name, names, count), elsewhere ? elsewhere->section : section);
}
