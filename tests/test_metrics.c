// Luminance of the test sets against the recorded checksums, PSNR and SSIM of A^T A x against the recorded figures.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <idm/image.h>
#include <idm/metrics.h>

#include "core/files.h"
#include "io/tensor_file.h"
#include "sha256.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARED "../../shared/"
enum { BLOCK = 32, N = BLOCK * BLOCK };

typedef struct plane {
    int height, width; // padded to whole blocks
    size_t count;
    double *x;
} plane;

static plane padded(const uint8_t *luma, int height, int width)
{
    plane p = {.height = (height + BLOCK - 1) / BLOCK * BLOCK, .width = (width + BLOCK - 1) / BLOCK * BLOCK};
    p.count = (size_t)p.height * (size_t)p.width;
    p.x = calloc(p.count, sizeof *p.x);
    assert_non_null(p.x);
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) p.x[(size_t)i * (size_t)p.width + (size_t)j] = luma[(size_t)i * (size_t)width + (size_t)j] / 255.0;
    return p;
}

// x <- A^T A x: rows of N permuted pixels, times Phi, times Phi^T, back to their places.
static void project(plane *p, const int64_t *perm, const float *phi, size_t m)
{
    double *y = malloc(m * sizeof *y);
    assert_non_null(y);
    for (size_t row = 0; row < p->count; row += N) {
        memset(y, 0, m * sizeof *y);
        for (size_t n = 0; n < N; n++)
            for (size_t k = 0; k < m; k++) y[k] += p->x[perm[row + n]] * (double)phi[n * m + k];
        for (size_t n = 0; n < N; n++) {
            double sum = 0;
            for (size_t k = 0; k < m; k++) sum += y[k] * (double)phi[n * m + k];
            p->x[perm[row + n]] = sum;
        }
    }
    free(y);
}

typedef struct fixture {
    cJSON *json;
    tensor_file *tensors;
    float *phi;
    size_t m;
} fixture;

static fixture fixture_open(void)
{
    fixture f;
    uint8_t *text;
    size_t size;
    assert_int_equal(files_read_whole(SHARED "golden/metrics.json", 1 << 24, &text, &size), IDM_OK);
    f.json = cJSON_ParseWithLength((const char *)text, size);
    assert_non_null(f.json);
    free(text);
    assert_int_equal(tensor_file_open(SHARED "golden/metrics_phi.safetensors", &f.tensors), IDM_OK);
    const tensor_entry *phi = tensor_file_find(f.tensors, "phi");
    assert_non_null(phi);
    assert_int_equal(phi->shape[0], N);
    f.m = (size_t)phi->shape[1];
    f.phi = malloc(phi->count * sizeof *f.phi);
    assert_non_null(f.phi);
    assert_int_equal(tensor_file_read_f32(f.tensors, phi, f.phi), IDM_OK);
    return f;
}

static void check_figures(const fixture *f, const char *file, const uint8_t *luma, int height, int width, double psnr, double ssim)
{
    plane p = padded(luma, height, width);
    char name[64];
    (void)snprintf(name, sizeof name, "perm_%zu", p.count);
    const tensor_entry *entry = tensor_file_find(f->tensors, name);
    assert_non_null(entry);
    assert_int_equal(entry->count, p.count);
    int64_t *perm = malloc(p.count * sizeof *perm);
    assert_non_null(perm);
    assert_int_equal(tensor_file_read_i64(f->tensors, entry, perm), IDM_OK);
    for (size_t i = 0; i < p.count; i++) assert_in_range(perm[i], 0, p.count - 1);
    project(&p, perm, f->phi, f->m);
    float *out = malloc((size_t)height * (size_t)width * sizeof *out);
    assert_non_null(out);
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++) out[(size_t)i * (size_t)width + (size_t)j] = (float)p.x[(size_t)i * (size_t)p.width + (size_t)j];
    const double psnr_error = fabs(idm_psnr(out, luma, height, width) - psnr), ssim_error = fabs(idm_ssim(out, luma, height, width) - ssim);
    if (!(psnr_error < 1e-3) || !(ssim_error < 1e-5)) fail_msg("%s: PSNR off by %g dB, SSIM by %g", file, psnr_error, ssim_error);
    free(out);
    free(perm);
    free(p.x);
}

static void check_image(const fixture *f, const cJSON *entry, int *figures)
{
    const char *file = cJSON_GetStringValue(cJSON_GetObjectItem(entry, "file"));
    char path[512];
    (void)snprintf(path, sizeof path, SHARED "data/%s", file);
    if (!files_exists(path)) (void)snprintf(path, sizeof path, SHARED "golden/%s", files_name(file));
    idm_image image;
    if (idm_image_load(path, &image) != IDM_OK) fail_msg("%s", idm_message());
    assert_int_equal(image.height, (int)cJSON_GetNumberValue(cJSON_GetObjectItem(entry, "height")));
    assert_int_equal(image.width, (int)cJSON_GetNumberValue(cJSON_GetObjectItem(entry, "width")));
    const size_t count = (size_t)image.width * (size_t)image.height;
    uint8_t *luma = malloc(count);
    assert_non_null(luma);
    idm_image_luminance(&image, luma);
    char digest[65];
    sha256_hex(luma, count, digest);
    const char *expected = cJSON_GetStringValue(cJSON_GetObjectItem(entry, "luma_sha256"));
    if (strcmp(digest, expected) != 0) fail_msg("%s: luminance differs from the recorded one", file);
    const cJSON *psnr = cJSON_GetObjectItem(entry, "psnr"), *ssim = cJSON_GetObjectItem(entry, "ssim");
    if (psnr) {
        check_figures(f, file, luma, image.height, image.width, psnr->valuedouble, ssim->valuedouble);
        ++*figures;
    }
    free(luma);
    idm_image_free(&image);
}

static void test_recorded_figures(void **state)
{
    (void)state;
    if (!files_exists(SHARED "golden/metrics.json")) {
        print_message("skipped: no " SHARED "golden/metrics.json here\n");
        skip();
    }
    fixture f = fixture_open();
    const cJSON *images = cJSON_GetObjectItem(f.json, "images"), *entry;
    int count = 0, figures = 0;
    cJSON_ArrayForEach(entry, images)
    {
        check_image(&f, entry, &figures);
        count++;
    }
    print_message("%d checksums, %d figures\n", count, figures);
    assert_int_equal(count, 80);
    assert_true(figures >= 11);
    free(f.phi);
    tensor_file_close(f.tensors);
    cJSON_Delete(f.json);
}

static void test_sha256(void **state)
{
    (void)state;
    char digest[65];
    sha256_hex("abc", 3, digest);
    assert_string_equal(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char long_text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    sha256_hex(long_text, 56, digest);
    assert_string_equal(digest, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

enum { H = 12, W = 17 };

// 49 terms a window, straight from the definition.
static double plain_ssim(const float *x, const uint8_t *truth)
{
    double total = 0;
    for (int i = 3; i < H - 3; i++) {
        for (int j = 3; j < W - 3; j++) {
            double mx = 0, my = 0, vx = 0, vy = 0, vxy = 0;
            for (int k = 0; k < 49; k++) {
                const int at = (i + k / 7 - 3) * W + j + k % 7 - 3;
                mx += fmin(fmax((double)x[at], 0), 1) * 255 / 49;
                my += truth[at] / 49.0;
            }
            for (int k = 0; k < 49; k++) {
                const int at = (i + k / 7 - 3) * W + j + k % 7 - 3;
                const double dx = fmin(fmax((double)x[at], 0), 1) * 255 - mx, dy = truth[at] - my;
                vx += dx * dx / 48;
                vy += dy * dy / 48;
                vxy += dx * dy / 48;
            }
            total += (2 * mx * my + 6.5025) * (2 * vxy + 58.5225) / ((mx * mx + my * my + 6.5025) * (vx + vy + 58.5225));
        }
    }
    return total / ((H - 6) * (W - 6));
}

static void test_definition(void **state)
{
    (void)state;
    float x[H * W];
    uint8_t truth[H * W];
    uint32_t random = 1;
    for (int i = 0; i < H * W; i++) {
        random = random * 1664525U + 1013904223U;
        truth[i] = (uint8_t)(random >> 24);
        x[i] = (float)truth[i] / 255.0F;
    }
    assert_true(idm_psnr(x, truth, H, W) > 130); // only float32 rounding is left
    assert_true(fabs(idm_ssim(x, truth, H, W) - 1) < 1e-9);
    for (int i = 0; i < H * W; i++) x[i] += 0.2F * (float)(i % 5 - 2); // beyond 0 and 1 too
    assert_true(fabs(idm_ssim(x, truth, H, W) - plain_ssim(x, truth)) < 1e-12);
    for (int i = 0; i < H * W; i++) {
        truth[i] = (uint8_t)(i % 2 ? 0 : 255);
        x[i] = truth[i] ? 7.0F : -3.0F;
    }
    assert_true(isinf(idm_psnr(x, truth, H, W)));
    x[0] = 0;
    assert_true(fabs(idm_psnr(x, truth, H, W) - 10 * log10(H * W)) < 1e-12);
    x[0] = NAN;
    assert_true(isnan(idm_psnr(x, truth, H, W)) && isnan(idm_ssim(x, truth, H, W)));
    assert_true(isnan(idm_ssim(x, truth, 6, W)) && isnan(idm_ssim(x, truth, W, 6)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_recorded_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
