#include "cli/html.h"

#include "core/files.h"
#include "core/status.h"
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void html_begin(FILE *page, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>", page);
    html_text(page, title);
    fputs("</title>\n<style>\n"
          "body { font: 15px/1.4 system-ui, sans-serif; color: #222; background: #fff; margin: 2em auto; max-width: 1080px; padding: 0 1em "
          "}\n"
          "h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }\n"
          "table { border-collapse: collapse } td, th { padding: .15em .9em .15em 0; text-align: right; font-variant-numeric: tabular-nums "
          "}\n"
          "td:first-child, th:first-child { text-align: left } th { border-bottom: 1px solid #999; font-weight: 600 }\n"
          "tr.sum td { border-top: 1px solid #999; font-weight: 600 }\n"
          "figure { margin: 1em 0 } figcaption { color: #555 } img { max-width: 100%; image-rendering: auto }\n"
          ".small { display: inline-block; margin: 0 1em 1em 0 }\n"
          "svg { margin: 0 1em 1em 0; font: 12px system-ui, sans-serif } pre { background: #f4f4f4; padding: 1em; overflow: auto }\n"
          "</style>\n</head>\n<body>\n<h1>",
          page);
    html_text(page, title);
    fputs("</h1>\n", page);
}

void html_end(FILE *page)
{
    fputs("</body>\n</html>\n", page);
}

// Bytes of the UTF-8 character that begins here; 0: none does.
static size_t character_length(const unsigned char *c)
{
    const size_t length = c[0] < 0x80                   ? 1
                          : c[0] >= 0xc2 && c[0] < 0xe0 ? 2
                          : c[0] >= 0xe0 && c[0] < 0xf0 ? 3
                          : c[0] >= 0xf0 && c[0] < 0xf5 ? 4
                                                        : 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80) return 0;
    return length;
}

void html_text(FILE *page, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        const size_t length = character_length(c);
        const char *escaped = *c == '&'    ? "&amp;"
                              : *c == '<'  ? "&lt;"
                              : *c == '>'  ? "&gt;"
                              : *c == '"'  ? "&quot;"
                              : *c == '\'' ? "&#39;"
                                           : NULL;
        if (escaped) fputs(escaped, page);
        else if (length == 0 || (*c < 0x20 && *c != '\n' && *c != '\t')) fputc('?', page);
        else (void)fwrite(c, 1, length, page);
        c += length ? length : 1;
    }
}

static void base64(FILE *page, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const unsigned bits = (unsigned)data[i] << 16 | (left > 1 ? (unsigned)data[i + 1] << 8 : 0) | (left > 2 ? data[i + 2] : 0);
        fputc(digits[bits >> 18], page);
        fputc(digits[bits >> 12 & 63], page);
        fputc(left > 1 ? digits[bits >> 6 & 63] : '=', page);
        fputc(left > 2 ? digits[bits & 63] : '=', page);
    }
}

idm_status html_picture(FILE *page, const char *path, const char *description)
{
    enum { PNG_MAX = 1 << 30 };
    static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uint8_t *data;
    size_t size;
    IDM_TRY(files_read_whole(path, PNG_MAX, &data, &size));
    const bool sound = size > sizeof signature && memcmp(data, signature, sizeof signature) == 0;
    if (sound) {
        fputs("<img alt=\"", page);
        html_text(page, description);
        fputs("\" src=\"data:image/png;base64,", page);
        base64(page, data, size);
        fputs("\">", page);
    }
    free(data);
    return sound ? IDM_OK : status_fail(IDM_BAD_INPUT, "%s: not a PNG picture", path);
}

// ---- curves

enum { WIDTH = 500, HEIGHT = 250, LEFT = 62, RIGHT = 12, TOP = 28, BOTTOM = 38, SEEN = 400 }; // SEEN: points at most

// What is drawn, y already its logarithm where that is asked for.
typedef struct plot {
    html_point points[SEEN];
    size_t count;
    double x0, x1, y0, y1; // of the axes
} plot;

static bool is_drawn(const html_curve *c, size_t i)
{
    return isfinite(c->points[i].x) && isfinite(c->points[i].y) && (!c->logarithmic || c->points[i].y > 0);
}

static void take_points(const html_curve *c, plot *p)
{
    size_t usable = 0, taken = 0;
    for (size_t i = 0; i < c->count; i++) usable += is_drawn(c, i);
    const size_t share = usable / SEEN + (usable % SEEN != 0); // of input points that make one
    html_point sum = {0, 0};
    p->count = 0;
    for (size_t i = 0, in = 0; i < c->count; i++) {
        if (!is_drawn(c, i)) continue;
        sum.x += c->points[i].x;
        sum.y += c->logarithmic ? log10(c->points[i].y) : c->points[i].y;
        taken++;
        if (++in < share && taken < usable) continue;
        p->points[p->count++] = (html_point){sum.x / (double)in, sum.y / (double)in};
        sum = (html_point){0, 0};
        in = 0;
    }
}

static void take_range(plot *p)
{
    p->x0 = p->x1 = p->points[0].x;
    p->y0 = p->y1 = p->points[0].y;
    for (size_t i = 1; i < p->count; i++) {
        p->x0 = fmin(p->x0, p->points[i].x);
        p->x1 = fmax(p->x1, p->points[i].x);
        p->y0 = fmin(p->y0, p->points[i].y);
        p->y1 = fmax(p->y1, p->points[i].y);
    }
    const double x_room = p->x1 > p->x0 ? 0 : fmax(fabs(p->x0) * 0.1, 1e-12);
    const double y_room = p->y1 > p->y0 ? 0.05 * (p->y1 - p->y0) : fmax(fabs(p->y0) * 0.1, 1e-12);
    p->x0 -= x_room;
    p->x1 += x_room;
    p->y0 -= y_room;
    p->y1 += y_room;
}

static double across(const plot *p, double x)
{
    return LEFT + (x - p->x0) / (p->x1 - p->x0) * (WIDTH - LEFT - RIGHT);
}

static double down(const plot *p, double y)
{
    return HEIGHT - BOTTOM - (y - p->y0) / (p->y1 - p->y0) * (HEIGHT - TOP - BOTTOM);
}

// 1, 2 or 5 times a power of ten, for about five marks.
static double mark_distance(double range)
{
    const double raw = range / 5, power = pow(10, floor(log10(raw))), digit = raw / power;
    return power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
}

static void mark_down(FILE *page, const plot *p, double at, double value)
{
    fprintf(
        page,
        "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
        LEFT, WIDTH - RIGHT, down(p, at), down(p, at), LEFT - 6, down(p, at) + 4, value);
}

// 1, 2, ... 9 times powers of ten, as many of them as there is room for.
static void draw_decades(FILE *page, const plot *p)
{
    const double range = p->y1 - p->y0;
    for (int power = (int)floor(p->y0); power <= p->y1; power++)
        for (int digit = 1; digit < 10; digit++) {
            const double at = power + log10(digit);
            const bool wanted = digit == 1 || (range < 2.5 && (digit == 2 || digit == 5)) || range < 0.7;
            if (wanted && at >= p->y0 && at <= p->y1) mark_down(page, p, at, digit * pow(10, power));
        }
}

static void draw_axes(FILE *page, const html_curve *c, const plot *p)
{
    const double step = mark_distance(p->x1 - p->x0), rise = mark_distance(p->y1 - p->y0);
    for (double k = ceil(p->x0 / step); k * step <= p->x1; k++)
        fprintf(page, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n", across(p, k * step), HEIGHT - BOTTOM + 16,
                k * step);
    if (c->logarithmic) draw_decades(page, p);
    else
        for (double k = ceil(p->y0 / rise); k * rise <= p->y1; k++) mark_down(page, p, k * rise, k * rise);
    fprintf(page, "<polyline fill=\"none\" stroke=\"#444\" points=\"%d,%d %d,%d %d,%d\"/>\n", LEFT, TOP, LEFT, HEIGHT - BOTTOM,
            WIDTH - RIGHT, HEIGHT - BOTTOM);
    fprintf(page, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", WIDTH - RIGHT, HEIGHT - 6);
    html_text(page, c->x_name);
    fprintf(page, "</text>\n<text x=\"%d\" y=\"16\" font-weight=\"600\">", LEFT);
    html_text(page, c->title);
    fputs("</text>\n", page);
}

void html_plot(FILE *page, const html_curve *curve)
{
    plot p;
    take_points(curve, &p);
    if (p.count == 0) return;
    take_range(&p);
    fprintf(page, "<svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, HEIGHT, WIDTH, HEIGHT);
    draw_axes(page, curve, &p);
    fputs("<polyline fill=\"none\" stroke=\"#1667b7\" stroke-width=\"1.6\" points=\"", page);
    for (size_t i = 0; i < p.count; i++) fprintf(page, "%s%.1f,%.1f", i ? " " : "", across(&p, p.points[i].x), down(&p, p.points[i].y));
    fputs("\"/>\n", page);
    const html_point last = p.points[p.count - 1];
    fprintf(page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#1667b7\"/>\n</svg>\n", across(&p, last.x), down(&p, last.y));
}
