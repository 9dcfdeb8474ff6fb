#include "core/status.h"
#include "io/exif.h"
#include "io/image_formats.h"

#include <setjmp.h>
#include <stdio.h>

#include <jerror.h>
#include <jpeglib.h>

enum { SCANS_MAX = 500 }; // a few kilobytes of progressive scans can take hours

typedef struct jpeg_reader {
    struct jpeg_error_mgr errors; // first: libjpeg hands back a pointer to it
    struct jpeg_progress_mgr progress;
    const image_file *file;
    idm_status status;
    jmp_buf back;
} jpeg_reader;

static void leave(j_common_ptr jpeg)
{
    jpeg_reader *reader = (jpeg_reader *)(void *)jpeg->err;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    reader->status = status_fail(IDM_BAD_INPUT, "%s: damaged JPEG: %s", reader->file->path, text);
    longjmp(reader->back, 1);
}

// libjpeg fills what is missing of a damaged picture with grey and only warns. Oddities that leave the pixels right pass.
static void judge_message(j_common_ptr jpeg, int level)
{
    if (level >= 0) return;
    const int code = jpeg->err->msg_code;
    if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM) return;
    leave(jpeg);
}

static void watch_scans(j_common_ptr jpeg)
{
    jpeg_reader *reader = (jpeg_reader *)(void *)jpeg->err;
    if (!jpeg->is_decompressor || ((j_decompress_ptr)jpeg)->input_scan_number <= SCANS_MAX) return;
    reader->status = status_fail(IDM_BAD_INPUT, "%s: JPEG with more than %d scans", reader->file->path, SCANS_MAX);
    longjmp(reader->back, 1);
}

static int orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next) {
        const int found = exif_orientation(m->data, m->data_length);
        if (found > 1) return found;
    }
    return 1;
}

static void read_rows(j_decompress_ptr jpeg, idm_image *image)
{
    (void)jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = image->pixels + (size_t)jpeg->output_scanline * (size_t)image->width * (size_t)image->channels;
        (void)jpeg_read_scanlines(jpeg, &row, 1);
    }
    (void)jpeg_finish_decompress(jpeg);
}

static void read_picture(j_decompress_ptr jpeg, const image_file *file, jpeg_reader *reader, idm_image *image)
{
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    (void)jpeg_read_header(jpeg, TRUE);
    const int held = orientation(jpeg), channels = jpeg->jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
    if (jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK || jpeg->jpeg_color_space == JCS_UNKNOWN) {
        reader->status = status_fail(IDM_BAD_INPUT, "%s: JPEG in CMYK or unknown colours; save it as RGB", file->path);
        return;
    }
    jpeg->out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    reader->status = image_allocate(file, jpeg->image_width, jpeg->image_height, channels, image);
    if (reader->status != IDM_OK) return;
    if (!file->size_only) read_rows(jpeg, image);
    reader->status = exif_turn_upright(image, held);
}

idm_status image_jpeg_decode(const image_file *file, idm_image *image)
{
    struct jpeg_decompress_struct jpeg;
    jpeg_reader reader = {.file = file, .status = IDM_OK};
    jpeg.err = jpeg_std_error(&reader.errors);
    reader.errors.error_exit = leave;
    reader.errors.emit_message = judge_message;
    reader.progress.progress_monitor = watch_scans;
    jpeg_create_decompress(&jpeg);
    jpeg.progress = &reader.progress;
    if (setjmp(reader.back) == 0) {
        jpeg_mem_src(&jpeg, file->data, file->size);
        read_picture(&jpeg, file, &reader, image);
    }
    jpeg_destroy_decompress(&jpeg);
    return reader.status;
}
