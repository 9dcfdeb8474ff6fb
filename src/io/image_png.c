#include "core/files.h"
#include "core/status.h"
#include "io/image_formats.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_MAX = 65535, CHUNK_MAX = 64 << 20 };

typedef struct png_reader {
    const image_file *file;
    size_t position;
    png_bytep *rows;
    idm_status status;
} png_reader;

static void leave(png_structp png, png_const_charp text)
{
    png_reader *reader = png_get_error_ptr(png);
    if (reader->status == IDM_OK) reader->status = status_fail(IDM_BAD_INPUT, "%s: damaged PNG: %s", reader->file->path, text);
    png_longjmp(png, 1);
}

static void drop_warning(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static void read_memory(png_structp png, png_bytep out, size_t size)
{
    png_reader *reader = png_get_io_ptr(png);
    if (size > reader->file->size - reader->position) png_error(png, "it ends too early");
    memcpy(out, reader->file->data + reader->position, size);
    reader->position += size;
}

static void read_rows(png_structp png, png_infop info, png_reader *reader, idm_image *image)
{
    png_set_user_limits(png, SIDE_MAX, SIDE_MAX);
    png_set_chunk_malloc_max(png, CHUNK_MAX);
    png_read_info(png, info);
    png_set_expand(png); // palettes to RGB, 1, 2 and 4 bits to 8
    png_set_strip_16(png);
    png_set_strip_alpha(png);
    (void)png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const int channels = png_get_channels(png, info);
    reader->status = image_allocate(reader->file, png_get_image_width(png, info), png_get_image_height(png, info), channels, image);
    if (reader->status != IDM_OK || reader->file->size_only) return;
    const size_t stride = (size_t)image->width * (size_t)channels;
    if ((channels != 1 && channels != 3) || png_get_rowbytes(png, info) != stride) png_error(png, "unexpected pixel layout");
    reader->rows = malloc((size_t)image->height * sizeof *reader->rows);
    if (!reader->rows) png_error(png, "not enough memory");
    for (int y = 0; y < image->height; y++) reader->rows[y] = image->pixels + (size_t)y * stride;
    png_read_image(png, reader->rows);
    png_read_end(png, NULL);
}

idm_status image_png_decode(const image_file *file, idm_image *image)
{
    png_reader reader = {.file = file, .status = IDM_OK};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, leave, drop_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        return status_fail(IDM_FAILED, "%s: not enough memory", file->path);
    }
    if (setjmp(png_jmpbuf(png)) == 0) {
        png_set_read_fn(png, &reader, read_memory);
        read_rows(png, info, &reader, image);
    }
    png_destroy_read_struct(&png, &info, NULL);
    free(reader.rows);
    return reader.status;
}

typedef struct png_sink {
    files_writer *writer;
    const char *path;
    idm_status status;
} png_sink;

static void leave_writing(png_structp png, png_const_charp text)
{
    png_sink *sink = png_get_error_ptr(png);
    if (sink->status == IDM_OK) sink->status = status_fail(IDM_FAILED, "%s: cannot write PNG: %s", sink->path, text);
    png_longjmp(png, 1);
}

static void write_file(png_structp png, png_bytep data, size_t size)
{
    png_sink *sink = png_get_io_ptr(png);
    sink->status = files_write(sink->writer, data, size);
    if (sink->status != IDM_OK) png_error(png, "write failed");
}

static void flush_nothing(png_structp png)
{
    (void)png;
}

static void write_rows(png_structp png, png_infop info, const idm_image *image)
{
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    const size_t stride = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++) png_write_row(png, image->pixels + (size_t)y * stride);
    png_write_end(png, info);
}

static idm_status encode(png_sink *sink, const idm_image *image)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, sink, leave_writing, drop_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return status_fail(IDM_FAILED, "%s: not enough memory", sink->path);
    }
    if (setjmp(png_jmpbuf(png)) == 0) {
        png_set_write_fn(png, sink, write_file, flush_nothing);
        write_rows(png, info, image);
    }
    png_destroy_write_struct(&png, &info);
    return sink->status;
}

idm_status idm_image_save_png(const char *path, const idm_image *image)
{
    png_sink sink = {.path = path, .status = IDM_OK};
    IDM_TRY(files_write_begin(path, &sink.writer));
    const idm_status status = encode(&sink, image);
    if (status == IDM_OK) return files_write_commit(sink.writer);
    files_write_abort(sink.writer);
    return status;
}
