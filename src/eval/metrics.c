#include <idm/metrics.h>

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

static double pixel(float value)
{
    const double v = (double)value;
    return 255 * (v < 0 ? 0 : v > 1 ? 1 : v); // NaN stays NaN, so that it shows in the figure
}

double idm_psnr(const float *x, const uint8_t *truth, int height, int width)
{
    const size_t count = (size_t)height * (size_t)width;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double difference = pixel(x[i]) - truth[i];
        sum += difference * difference;
    }
    return sum == 0 ? INFINITY : 10 * log10(255.0 * 255.0 * (double)count / sum);
}

enum { WINDOW = 7 };

typedef struct sums {
    double x, y, xx, yy, xy;
} sums;

static void add(sums *total, const sums *part)
{
    total->x += part->x;
    total->y += part->y;
    total->xx += part->xx;
    total->yy += part->yy;
    total->xy += part->xy;
}

static double similarity(const sums *s)
{
    const double n = WINDOW * WINDOW, c1 = (0.01 * 255) * (0.01 * 255), c2 = (0.03 * 255) * (0.03 * 255);
    const double mx = s->x / n, my = s->y / n, sample = n / (n - 1);
    const double vx = sample * (s->xx / n - mx * mx), vy = sample * (s->yy / n - my * my), vxy = sample * (s->xy / n - mx * my);
    return (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2));
}

// Sums over the windows of one row: down each column first, then across, every one from scratch so that no error is carried along.
static double row_of_windows(const float *x, const uint8_t *truth, int width, sums *columns)
{
    for (int j = 0; j < width; j++) {
        columns[j] = (sums){0};
        for (int i = 0; i < WINDOW; i++) {
            const double a = pixel(x[(size_t)i * (size_t)width + (size_t)j]), b = truth[(size_t)i * (size_t)width + (size_t)j];
            add(&columns[j], &(sums){a, b, a * a, b * b, a * b});
        }
    }
    double total = 0;
    for (int j = 0; j + WINDOW <= width; j++) {
        sums window = {0};
        for (int k = 0; k < WINDOW; k++) add(&window, &columns[j + k]);
        total += similarity(&window);
    }
    return total;
}

double idm_ssim(const float *x, const uint8_t *truth, int height, int width)
{
    if (height < WINDOW || width < WINDOW) return NAN;
    sums *columns = malloc((size_t)width * sizeof *columns);
    if (!columns) return NAN;
    double total = 0;
    const int rows = height - WINDOW + 1;
    for (int i = 0; i < rows; i++)
        total += row_of_windows(x + (size_t)i * (size_t)width, truth + (size_t)i * (size_t)width, width, columns);
    free(columns);
    return total / ((double)rows * (width - WINDOW + 1));
}
