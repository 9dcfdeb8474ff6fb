// Validation: the published test protocol over a folder, by the network that is being trained.
#ifndef TRAIN_VALIDATE_H
#define TRAIN_VALIDATE_H

#include "eval/evaluate.h"

typedef struct validation_listener {
    void *user;
    bool (*stop)(void *user); // asked before every image
    void (*say)(void *user, bool warning, const char *text);
    // Each picture as it is done.
    idm_status (*row)(void *user, const char *file, const picture *p, const reconstruction *r);
} validation_listener;

typedef struct validation_result {
    size_t images;
    double psnr, ssim; // averages
    bool stopped;      // before all images were done
} validation_result;

// Images that cannot be read, or are too large for the device's memory, are left out with a warning; IDM_BAD_INPUT when none is left.
idm_status validate_folder(idm_session *session, const char *folder, const validation_listener *listener, validation_result *result);

#endif
