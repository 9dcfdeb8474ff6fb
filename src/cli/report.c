// `idm report`
#include "cli/cli.h"
#include "cli/html.h"
#include "cli/interrupt.h"
#include "cli/save.h"
#include "core/files.h"
#include "train/history.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reporting {
    const char *folder;
    FILE *page;
} reporting;

// ---- tables

static void cell(FILE *page, const char *format, double value)
{
    fputs("<td>", page);
    if (isfinite(value)) fprintf(page, format, value);
    else fputs("-", page);
    fputs("</td>", page);
}

static const char picture_table[] =
    "<table>\n<tr><th>file</th><th>height</th><th>width</th><th>PSNR dB</th><th>SSIM</th><th>seconds</th></tr>\n";

static void picture_row(FILE *page, const run_validated *p)
{
    fputs("<tr><td>", page);
    html_text(page, p->file);
    fputs("</td>", page);
    cell(page, "%.0f", p->height);
    cell(page, "%.0f", p->width);
    cell(page, "%.3f", p->psnr);
    cell(page, "%.5f", p->ssim);
    cell(page, "%.2f", p->seconds);
    fputs("</tr>\n", page);
}

static void end_picture_table(FILE *page, size_t count, double psnr, double ssim)
{
    fprintf(page, "<tr class=\"sum\"><td>average</td><td colspan=\"2\">%zu pictures</td>", count);
    cell(page, "%.3f", psnr);
    cell(page, "%.5f", ssim);
    fputs("<td></td></tr>\n</table>\n", page);
}

// ---- a training run

static double average(const run_validation *v, bool ssim)
{
    double sum = 0;
    for (size_t i = 0; i < v->count; i++) sum += ssim ? v->pictures[i].ssim : v->pictures[i].psnr;
    return sum / (double)v->count;
}

typedef double column(const history *h, size_t i);

static double loss_of(const history *h, size_t i)
{
    return h->rows[i].loss;
}

static double rate_of(const history *h, size_t i)
{
    return h->rows[i].lr;
}

static double speed_of(const history *h, size_t i)
{
    return h->rows[i].images_per_second;
}

static double psnr_of(const history *h, size_t i)
{
    return average(&h->validations[i], false);
}

static double ssim_of(const history *h, size_t i)
{
    return average(&h->validations[i], true);
}

static idm_status plot_all(FILE *page, const history *h)
{
    static const struct {
        const char *title;
        column *column;
        bool validated, logarithmic;
    } curves[] = {{"training loss, mean absolute error", loss_of, false, true},
                  {"validation PSNR, dB", psnr_of, true, false},
                  {"validation SSIM", ssim_of, true, false},
                  {"learning rate", rate_of, false, true},
                  {"images per second", speed_of, false, false}};
    const size_t most = h->row_count > h->validation_count ? h->row_count : h->validation_count;
    html_point *points = calloc(most + 1, sizeof *points);
    if (!points) return status_fail(IDM_FAILED, "out of memory");
    for (size_t k = 0; k < sizeof curves / sizeof *curves; k++) {
        const bool validated = curves[k].validated;
        const size_t count = validated ? h->validation_count : h->row_count;
        for (size_t i = 0; i < count; i++)
            points[i] = (html_point){(double)(validated ? h->validations[i].step : h->rows[i].step), curves[k].column(h, i)};
        html_plot(page, &(html_curve){curves[k].title, "step", points, count, curves[k].logarithmic});
    }
    free(points);
    return IDM_OK;
}

static void summarise(FILE *page, const history *h)
{
    const run_row *last = &h->rows[h->row_count - 1];
    char time[32], memory[32];
    fprintf(page, "<p>%llu steps, %llu whole epochs, %s of training, %s of device memory; last loss %.5f", (unsigned long long)last->step,
            (unsigned long long)last->epoch, cli_time_text(time, last->seconds), cli_bytes_text(memory, (double)last->peak_bytes),
            last->loss);
    if (last->skipped) fprintf(page, "; %llu steps without a finite gradient", (unsigned long long)last->skipped);
    fputs(".</p>\n", page);
}

static size_t best_of(const history *h)
{
    size_t best = 0;
    for (size_t i = 1; i < h->validation_count; i++)
        if (psnr_of(h, i) > psnr_of(h, best)) best = i;
    return best;
}

static void list_validations(FILE *page, const history *h)
{
    const size_t best = best_of(h);
    fputs("<h2>Validations</h2>\n<table>\n<tr><th>step</th><th>epoch</th><th>PSNR dB</th><th>SSIM</th><th></th></tr>\n", page);
    for (size_t i = 0; i < h->validation_count; i++) {
        fprintf(page, "<tr><td>%llu</td><td>%llu</td>", (unsigned long long)h->validations[i].step,
                (unsigned long long)h->validations[i].epoch);
        cell(page, "%.3f", psnr_of(h, i));
        cell(page, "%.5f", ssim_of(h, i));
        fprintf(page, "<td>%s</td></tr>\n", i == best ? "best" : "");
    }
    fputs("</table>\n", page);
}

// The picture, if it was kept. *kept: it was.
static idm_status show_picture(const reporting *r, const char *name, const char *caption, const char *class, bool *kept)
{
    char path[PATH_MAX];
    IDM_TRY(files_join(path, sizeof path, r->folder, name));
    *kept = files_exists(path);
    if (!*kept) return IDM_OK;
    fprintf(r->page, "<figure class=\"%s\">", class);
    IDM_TRY(html_picture(r->page, path, caption));
    fputs("<figcaption>", r->page);
    html_text(r->page, caption);
    fputs("</figcaption></figure>\n", r->page);
    return IDM_OK;
}

static void caption_of(char *out, size_t size, const run_validated *p)
{
    char figures[64] = "";
    if (isfinite(p->psnr)) (void)snprintf(figures, sizeof figures, ": %.3f dB, SSIM %.5f", p->psnr, p->ssim);
    (void)snprintf(out, size, "%s%s", p->file, figures);
}

static idm_status show_validation(const reporting *r, const run_validation *v)
{
    fprintf(r->page, "<h2>Validation of step %llu</h2>\n", (unsigned long long)v->step);
    for (size_t i = 0; i < v->count; i++) {
        char base[NAME_MAX + 1], folder[64], name[PATH_MAX], caption[PATH_MAX];
        bool kept;
        if (files_base_name(base, sizeof base, v->pictures[i].file) != IDM_OK) continue;
        (void)snprintf(folder, sizeof folder, RUN_PICTURES, v->step);
        (void)snprintf(name, sizeof name, "%s/%s.png", folder, base);
        caption_of(caption, sizeof caption, &v->pictures[i]);
        IDM_TRY(show_picture(r, name, caption, "small", &kept));
    }
    fputs(picture_table, r->page);
    for (size_t i = 0; i < v->count; i++) picture_row(r->page, &v->pictures[i]);
    end_picture_table(r->page, v->count, average(v, false), average(v, true));
    return IDM_OK;
}

static idm_status show_config(const reporting *r)
{
    enum { CONFIG_MAX = 1 << 20 };
    char path[PATH_MAX];
    uint8_t *text;
    size_t size;
    IDM_TRY(files_join(path, sizeof path, r->folder, "config.ini"));
    if (!files_exists(path)) return IDM_OK;
    IDM_TRY(files_read_whole(path, CONFIG_MAX, &text, &size));
    fputs("<h2>Configuration</h2>\n<pre>", r->page);
    html_text(r->page, (char *)text);
    fputs("</pre>\n", r->page);
    free(text);
    return IDM_OK;
}

static idm_status report_run(const reporting *r)
{
    history h;
    IDM_TRY(history_read(r->folder, &h));
    if (h.row_count) summarise(r->page, &h);
    else fputs("<p>Nothing is logged yet.</p>\n", r->page);
    idm_status status = plot_all(r->page, &h);
    if (status == IDM_OK && h.validation_count) {
        list_validations(r->page, &h);
        status = show_validation(r, &h.validations[h.validation_count - 1]);
    }
    history_free(&h);
    return status == IDM_OK ? show_config(r) : status;
}

// ---- an evaluation

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static run_validated row_of(const cJSON *item)
{
    const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "file"));
    const double height = number(item, "height"), width = number(item, "width");
    return (run_validated){.file = file ? file : "",
                           .height = height > 0 && height < INT_MAX ? (int)height : 0,
                           .width = width > 0 && width < INT_MAX ? (int)width : 0,
                           .psnr = number(item, "psnr"),
                           .ssim = number(item, "ssim"),
                           .seconds = number(item, "seconds")};
}

// The panel, else the reconstruction.
static idm_status show_result(const reporting *r, const run_validated *p)
{
    char base[NAME_MAX + 1], name[NAME_MAX + 16], caption[PATH_MAX];
    bool kept;
    if (files_base_name(base, sizeof base, files_name(p->file)) != IDM_OK) return IDM_OK;
    caption_of(caption, sizeof caption, p);
    (void)snprintf(name, sizeof name, "%s_panel.png", base);
    IDM_TRY(show_picture(r, name, caption, "wide", &kept));
    if (kept) return IDM_OK;
    (void)snprintf(name, sizeof name, "%s.png", base);
    return show_picture(r, name, caption, "small", &kept);
}

static idm_status report_results(const reporting *r, const cJSON *object, const char *path)
{
    const cJSON *images = cJSON_GetObjectItemCaseSensitive(object, "images"), *item;
    const cJSON *sums = cJSON_GetObjectItemCaseSensitive(object, "average");
    if (!cJSON_IsArray(images)) return status_fail(IDM_BAD_INPUT, "%s: not what idm eval --out writes", path);
    fputs(picture_table, r->page);
    cJSON_ArrayForEach(item, images)
    {
        const run_validated row = row_of(item);
        picture_row(r->page, &row);
    }
    end_picture_table(r->page, (size_t)cJSON_GetArraySize(images), number(sums, "psnr"), number(sums, "ssim"));
    fputs("<h2>Pictures</h2>\n<p>Where there are four: picture, back projection A<sup>T</sup>y, reconstruction, error of the "
          "luminance.</p>\n",
          r->page);
    cJSON_ArrayForEach(item, images)
    {
        const run_validated row = row_of(item);
        IDM_TRY(show_result(r, &row));
    }
    return IDM_OK;
}

static idm_status report_eval(const reporting *r, const char *path)
{
    enum { RESULT_MAX = 1 << 28 };
    uint8_t *text;
    size_t size;
    IDM_TRY(files_read_whole(path, RESULT_MAX, &text, &size));
    cJSON *object = cJSON_Parse((char *)text);
    free(text);
    const idm_status status = report_results(r, object, path);
    cJSON_Delete(object);
    return status;
}

// ---- the page

static idm_status fill(const reporting *r)
{
    char result[PATH_MAX], log[PATH_MAX], title[PATH_MAX + 16];
    IDM_TRY(files_join(result, sizeof result, r->folder, EVAL_RESULT));
    IDM_TRY(files_join(log, sizeof log, r->folder, RUN_LOG));
    const bool evaluated = files_exists(result), trained = files_exists(log);
    if (!evaluated && !trained)
        return status_fail(IDM_BAD_INPUT, "%s: neither a run directory (%s) nor what idm eval --out wrote (%s)", r->folder, RUN_LOG,
                           EVAL_RESULT);
    (void)snprintf(title, sizeof title, "idm %s: %s", trained ? "train" : "eval", r->folder);
    html_begin(r->page, title);
    if (trained) IDM_TRY(report_run(r));
    if (evaluated) IDM_TRY(report_eval(r, result));
    html_end(r->page);
    return IDM_OK;
}

static idm_status report_run_command(const cli_call *call)
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t size = 0;
    const char *folder = call->inputs[0], *out = cli_value(call, "out");
    if (!files_is_folder(folder)) return status_fail(IDM_BAD_INPUT, "%s: no such folder", folder);
    IDM_TRY(files_join(path, sizeof path, out ? "" : folder, out ? out : "report.html"));
    const reporting r = {folder, open_memstream(&text, &size)};
    if (!r.page) return status_fail(IDM_FAILED, "out of memory");
    idm_status status = fill(&r);
    if (fclose(r.page) != 0 && status == IDM_OK) status = status_fail(IDM_FAILED, "%s: out of memory", path);
    if (status == IDM_OK) {
        interrupt_hold();
        status = files_write_whole(path, text, size);
        interrupt_release();
    }
    free(text);
    if (status != IDM_OK) return status;
    if (!call->json) {
        printf("%s\n", path);
        return IDM_OK;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "out", path);
    return cli_print_json(object);
}

static const cli_option report_options[] = {
    {"out", 'o', "FILE", "the page (default: report.html in the folder)"},
    {0},
};

const cli_command report_command = {
    .name = "report",
    .arguments = "DIR [--out FILE.html]",
    .summary = "one page of a training run, or of an evaluation: curves, figures, pictures",
    .description =
        "DIR: a run directory (train.out), also while it trains, or what `idm eval --out DIR` kept (with --panel the page shows\n"
        "panels). The page is one HTML file with everything in it: no network, no script. Needs no device.",
    .least = 1,
    .most = 1,
    .options = report_options,
    .run = report_run_command,
};
