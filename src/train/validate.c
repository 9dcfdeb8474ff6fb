#include "train/validate.h"

#include "core/files.h"
#include "core/status.h"
#include "eval/session.h"
#include "io/image_probe.h"
#include <math.h>

static idm_status validate_one(idm_session *session, const char *path, const validation_listener *l, validation_result *result)
{
    picture p;
    reconstruction r = {0};
    IDM_TRY(picture_load(path, &p));
    idm_status status = evaluate_picture(session, &p, files_name(path), NULL, 0, NULL, NULL, &r);
    if (status == IDM_OK && isfinite(r.psnr)) {
        result->images++;
        result->psnr += r.psnr;
        result->ssim += r.ssim;
        status = l->row(l->user, files_name(path), &p, &r);
    }
    reconstruction_free(&r);
    picture_free(&p);
    return status;
}

idm_status validate_folder(idm_session *session, const char *folder, const validation_listener *l, validation_result *result)
{
    files_list list;
    idm_status status = IDM_OK;
    *result = (validation_result){0};
    IDM_TRY(files_list_folder(folder, false, &list));
    for (size_t i = 0; i < list.count && status == IDM_OK && !result->stopped; i++) {
        result->stopped = l->stop(l->user);
        if (result->stopped || !image_has_ending(list.paths[i])) continue;
        status = validate_one(session, list.paths[i], l, result);
        if (status == IDM_OK || context_status(session_context(session)) != IDM_OK) continue;
        char text[512];
        (void)snprintf(text, sizeof text, "validation leaves out %.200s: %.200s", list.paths[i], idm_message());
        l->say(l->user, true, text);
        status = IDM_OK;
    }
    files_list_free(&list);
    if (status != IDM_OK || result->stopped) return status;
    if (result->images == 0) return status_fail(IDM_BAD_INPUT, "%s: no image to validate with", folder);
    result->psnr /= (double)result->images;
    result->ssim /= (double)result->images;
    return IDM_OK;
}
