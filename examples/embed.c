// Embeds libidm: measures a picture, reconstructs it, prints PSNR and SSIM.
//
//     cc embed.c -o embed $(pkg-config --cflags --libs idm)
//     ./embed picture.png out.png [section.key=value]...         e.g. model.weights=FILE device.device=gpu
#include <idm/idm.h>
#include <stdio.h>
#include <stdlib.h>

static int round_up(int length, int block)
{
    return (length + block - 1) / block * block;
}

// Luminance in [0, 1], zero-padded to height x width.
static float *padded_plane(const idm_image *image, const uint8_t *luminance, int height, int width)
{
    float *plane = calloc((size_t)height * (size_t)width, sizeof *plane);
    for (int y = 0; plane && y < image->height; y++)
        for (int x = 0; x < image->width; x++) plane[y * width + x] = (float)luminance[y * image->width + x] / 255;
    return plane;
}

static idm_status run(idm_session *session, const char *in, const char *out)
{
    idm_image image = {0}, result = {0};
    idm_operator op = {0};
    idm_status status = idm_image_load(in, &image);
    if (status != IDM_OK) return status;
    const int block = idm_session_block_size(session), height = round_up(image.height, block), width = round_up(image.width, block);
    status = idm_session_operator(session, height, width, in, &op);
    const size_t rows = (size_t)(height / block) * (size_t)(width / block);
    uint8_t *luminance = malloc((size_t)image.width * (size_t)image.height);
    float *y = malloc(rows * (size_t)(op.measurements + 1) * sizeof *y), *plane = NULL;
    if (status == IDM_OK && luminance && y) {
        idm_image_luminance(&image, luminance);
        plane = padded_plane(&image, luminance, height, width);
        idm_measure(&op, plane, 1, y);
        status = idm_session_reconstruct(session, &op, y, 1, plane, NULL, NULL);
    }
    if (status == IDM_OK && plane) {
        for (int i = 1; i < image.height; i++) // crop
            for (int x = 0; x < image.width; x++) plane[i * image.width + x] = plane[i * width + x];
        printf("PSNR %.3f dB, SSIM %.5f\n", idm_psnr(plane, luminance, image.height, image.width),
               idm_ssim(plane, luminance, image.height, image.width));
        status = idm_image_with_luminance(&image, plane, &result);
        if (status == IDM_OK) status = idm_image_save_png(out, &result);
    }
    free(luminance);
    free(y);
    free(plane);
    idm_operator_free(&op);
    idm_image_free(&image);
    idm_image_free(&result);
    return status;
}

int main(int argc, char **argv)
{
    static idm_config config;
    idm_session *session = NULL;
    idm_status status = argc < 3 ? IDM_USAGE : IDM_OK;
    idm_config_defaults(&config);
    for (int i = 3; i < argc && status == IDM_OK; i++) status = idm_config_set(&config, argv[i]);
    if (status == IDM_OK) status = idm_session_open(&config, &session);
    if (status == IDM_OK) status = run(session, argv[1], argv[2]);
    idm_session_close(session);
    if (status != IDM_OK) fprintf(stderr, "embed: %s\n", argc < 3 ? "usage: embed IN OUT.png [section.key=value]..." : idm_message());
    return (int)status;
}
