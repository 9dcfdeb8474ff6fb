#include "oracle/oracle_sensing.h"

#include "oracle/oracle_pointwise.h"
#include <math.h>
#include <stdlib.h>

void oracle_sensing_forward(const oracle_operator *a, const double *x, int n, double *y)
{
    const size_t pixels = (size_t)a->height * a->width, block = a->block_pixels, m = a->measurements;
    for (size_t s = 0; s < (size_t)n; s++)
        for (size_t row = 0; row < pixels / block; row++)
            for (size_t j = 0; j < m; j++) {
                double sum = 0;
                for (size_t i = 0; i < block; i++) sum += x[s * pixels + a->perm[row * block + i]] * a->phi[i * m + j];
                y[(s * (pixels / block) + row) * m + j] = sum;
            }
}

void oracle_sensing_adjoint(const oracle_operator *a, const double *y, int n, double *x)
{
    const size_t pixels = (size_t)a->height * a->width, block = a->block_pixels, m = a->measurements;
    for (size_t s = 0; s < (size_t)n; s++)
        for (size_t row = 0; row < pixels / block; row++)
            for (size_t i = 0; i < block; i++) {
                double sum = 0;
                for (size_t j = 0; j < m; j++) sum += y[(s * (pixels / block) + row) * m + j] * a->phi[i * m + j];
                x[s * pixels + a->perm[row * block + i]] = sum;
            }
}

int oracle_sensing_normal(const oracle_operator *a, const double *p, int n, double *z)
{
    const size_t pixels = (size_t)a->height * a->width;
    double *y = calloc((size_t)n * pixels / a->block_pixels * a->measurements, sizeof *y);
    if (!y) return 0;
    oracle_sensing_forward(a, p, n, y);
    oracle_sensing_adjoint(a, y, n, z);
    free(y);
    return 1;
}

static size_t plane_index(const oracle_injector *f, int s, int row, int column, int channel)
{
    return oracle_plane_index(f->h, f->w, 1, f->r, s, row, column, channel % (f->r * f->r));
}

static void feature_to_plane(const oracle_injector *f, const float *x, double *p)
{
    const int area = f->r * f->r;
    for (int s = 0; s < f->n; s++)
        for (int row = 0; row < f->h; row++)
            for (int column = 0; column < f->w; column++) {
                const float *pixel = x + (((size_t)s * f->h + row) * f->w + column) * f->c;
                for (int q = 0; q < area; q++) p[plane_index(f, s, row, column, q)] = f->f2i_bias[0];
                for (int k = 0; k < f->c; k++) p[plane_index(f, s, row, column, k)] += (double)f->f2i_weight[k / area] * pixel[k];
            }
}

int oracle_injector_forward(const oracle_operator *a, const oracle_injector *f, const float *x, const float *back_projection, double v,
                            const float *mix, double *y)
{
    const int area = f->r * f->r;
    const size_t pixels = (size_t)f->n * f->h * f->w * area;
    double *p = calloc(pixels, sizeof *p), *z = calloc(pixels, sizeof *z);
    if (p) feature_to_plane(f, x, p);
    const int ok = p && z && oracle_sensing_normal(a, p, f->n, z);
    for (int s = 0; ok && s < f->n; s++)
        for (int row = 0; row < f->h; row++)
            for (int column = 0; column < f->w; column++)
                for (int k = 0; k < f->c; k++) {
                    const size_t i = (((size_t)s * f->h + row) * f->w + column) * f->c + k, at = plane_index(f, s, row, column, k);
                    const float *w = f->i2f_weight + 3 * (k / area);
                    const double r = x[i] + w[0] * p[at] + w[1] * z[at] + (double)w[2] * back_projection[at] + f->i2f_bias[k / area];
                    y[i] = mix ? (1 - v) * r + v * mix[i] : r;
                }
    free(p);
    free(z);
    return ok;
}

// dp (through i2f alone) and dz: i2f's gradients of its first two inputs.
static void feature_gradient_to_planes(const oracle_injector *f, const float *dy, double *dp, double *dz)
{
    for (int s = 0; s < f->n; s++)
        for (int row = 0; row < f->h; row++)
            for (int column = 0; column < f->w; column++)
                for (int k = 0; k < f->c; k++) {
                    const size_t at = plane_index(f, s, row, column, k);
                    const double d = dy[(((size_t)s * f->h + row) * f->w + column) * f->c + k];
                    const float *w = f->i2f_weight + 3 * (k / (f->r * f->r));
                    dp[at] += w[0] * d;
                    dz[at] += w[1] * d;
                }
}

int oracle_injector_backward(const oracle_operator *a, const oracle_injector *f, const float *x, const float *back_projection,
                             const float *dy, const oracle_injector_gradients *g)
{
    const size_t pixels = (size_t)f->n * f->h * f->w * f->r * f->r;
    double *p = calloc(pixels, sizeof *p), *z = calloc(pixels, sizeof *z), *dp = calloc(pixels, sizeof *dp);
    double *dz = calloc(pixels, sizeof *dz), *normal = calloc(pixels, sizeof *normal);
    int ok = p && z && dp && dz && normal;
    if (ok) {
        feature_to_plane(f, x, p);
        feature_gradient_to_planes(f, dy, dp, dz);
        ok = oracle_sensing_normal(a, p, f->n, z) && oracle_sensing_normal(a, dz, f->n, normal);
    }
    for (size_t i = 0; ok && i < pixels; i++) {
        dp[i] += normal[i];
        *g->f2i_bias += dp[i];
    }
    for (int s = 0; ok && s < f->n; s++)
        for (int row = 0; row < f->h; row++)
            for (int column = 0; column < f->w; column++)
                for (int channel = 0; channel < f->c; channel++) {
                    const size_t i = (((size_t)s * f->h + row) * f->w + column) * f->c + channel;
                    const size_t at = plane_index(f, s, row, column, channel);
                    const int k = channel / (f->r * f->r);
                    g->dx[i] = dy[i] + f->f2i_weight[k] * dp[at];
                    g->f2i_weight[k] += x[i] * dp[at];
                    g->i2f_weight[3 * k] += dy[i] * p[at];
                    g->i2f_weight[3 * k + 1] += dy[i] * z[at];
                    g->i2f_weight[3 * k + 2] += (double)dy[i] * back_projection[at];
                    g->i2f_bias[k] += dy[i];
                }
    free(p);
    free(z);
    free(dp);
    free(dz);
    free(normal);
    return ok;
}

// The noise as a plane.
static void noise_to_plane(const oracle_operator *a, const float *noise, int n, double *e)
{
    const int h = a->height / 2, w = a->width / 2;
    for (int s = 0; s < n; s++)
        for (int row = 0; row < h; row++)
            for (int column = 0; column < w; column++)
                for (int k = 0; k < 4; k++)
                    e[oracle_plane_index(h, w, 1, 2, s, row, column, k)] = noise[(((size_t)s * h + row) * w + column) * 4 + k];
}

int oracle_ddim_step(const oracle_operator *a, const float *x, const float *noise, const double *alpha_bar, int t,
                     const float *back_projection, int n, double v, const float *mix, double *result)
{
    const size_t pixels = (size_t)n * a->height * a->width;
    double *e = calloc(pixels, sizeof *e), *x0 = calloc(pixels, sizeof *x0), *z = calloc(pixels, sizeof *z);
    const int ok = e && x0 && z;
    if (ok) noise_to_plane(a, noise, n, e);
    for (size_t i = 0; ok && i < pixels; i++) x0[i] = (x[i] - sqrt(1 - alpha_bar[t]) * e[i]) / sqrt(alpha_bar[t]);
    const int done = ok && oracle_sensing_normal(a, x0, n, z);
    for (size_t i = 0; done && i < pixels; i++) {
        const double r = sqrt(alpha_bar[t - 1]) * (x0[i] - z[i] + back_projection[i]) + sqrt(1 - alpha_bar[t - 1]) * e[i];
        result[i] = mix ? (1 - v) * r + v * mix[i] : r;
    }
    free(e);
    free(x0);
    free(z);
    return done;
}

int oracle_ddim_step_backward(const oracle_operator *a, const float *x, const float *noise, const double *alpha_bar, int t,
                              const float *back_projection, int n, const float *dr, double *dx, double *de, double *dalpha_bar)
{
    const size_t pixels = (size_t)n * a->height * a->width;
    const int h = a->height / 2, w = a->width / 2;
    const double now = alpha_bar[t], next = alpha_bar[t - 1];
    double *e = calloc(pixels, sizeof *e), *x0 = calloc(pixels, sizeof *x0), *z = calloc(pixels, sizeof *z);
    double *d0 = calloc(pixels, sizeof *d0), *normal = calloc(pixels, sizeof *normal), *plane = calloc(pixels, sizeof *plane);
    int ok = e && x0 && z && d0 && normal && plane;
    if (ok) {
        noise_to_plane(a, noise, n, e);
        for (size_t i = 0; i < pixels; i++) {
            x0[i] = (x[i] - sqrt(1 - now) * e[i]) / sqrt(now);
            d0[i] = sqrt(next) * dr[i];
        }
        ok = oracle_sensing_normal(a, x0, n, z) && oracle_sensing_normal(a, d0, n, normal);
    }
    for (size_t i = 0; ok && i < pixels; i++) {
        const double d = dr[i], corrected = x0[i] - z[i] + back_projection[i];
        d0[i] -= normal[i];
        dx[i] = d0[i] / sqrt(now);
        plane[i] = sqrt(1 - next) * d - sqrt(1 - now) / sqrt(now) * d0[i];
        dalpha_bar[t] += d0[i] * e[i] / (2 * sqrt(1 - now) * sqrt(now)) - d0[i] * x0[i] / (2 * now);
        if (t > 1) dalpha_bar[t - 1] += d * corrected / (2 * sqrt(next)) - d * e[i] / (2 * sqrt(1 - next));
    }
    for (int s = 0; ok && s < n; s++)
        for (int row = 0; row < h; row++)
            for (int column = 0; column < w; column++)
                for (int k = 0; k < 4; k++)
                    de[(((size_t)s * h + row) * w + column) * 4 + k] = plane[oracle_plane_index(h, w, 1, 2, s, row, column, k)];
    free(e);
    free(x0);
    free(z);
    free(d0);
    free(normal);
    free(plane);
    return ok;
}
