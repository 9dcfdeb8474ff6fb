// Pieces of a page that needs no network and no script: escaped text, embedded pictures, curves as SVG.
#ifndef CLI_HTML_H
#define CLI_HTML_H

#include <idm/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

// Up to and including <body> and a headline.
void html_begin(FILE *page, const char *title);
void html_end(FILE *page);

// With & < > " ' escaped; what is no UTF-8 as question marks.
void html_text(FILE *page, const char *text);

// <img> of a PNG file, embedded. IDM_BAD_INPUT: cannot be read, or no PNG.
idm_status html_picture(FILE *page, const char *path, const char *description);

typedef struct html_point {
    double x, y;
} html_point;

typedef struct html_curve {
    const char *title, *x_name;
    const html_point *points; // in order of x; those that are not finite are left out
    size_t count;
    bool logarithmic; // y; points that are not above 0 are left out
} html_curve;

// <svg>, or nothing where no point is left. Long curves are averaged down to what can be seen.
void html_plot(FILE *page, const html_curve *curve);

#endif
