// What can be told of a picture without its pixels.
#ifndef IO_IMAGE_PROBE_H
#define IO_IMAGE_PROBE_H

#include <idm/status.h>
#include <stdbool.h>

// The name ends as pictures' names do: png, tif, tiff, bmp, jpg, jpeg.
bool image_has_ending(const char *path);

// Reads as much of the file as its size needs. IDM_BAD_INPUT: no picture that idm_image_load would read; damage behind the header goes
// unnoticed.
idm_status image_probe(const char *path, int *width, int *height);

#endif
