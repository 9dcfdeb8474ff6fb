// How a picture was held when it was taken, as cameras write it beside the pixels (EXIF 2.32, tag Orientation).
#ifndef IO_EXIF_H
#define IO_EXIF_H

#include <idm/image.h>

// 1 to 8, from the `size` bytes of a JPEG's APP1 segment; 1 (as stored) where they say nothing, or nothing sound.
int exif_orientation(const uint8_t *data, size_t size);

// Turns and mirrors the picture so that it stands upright; one without pixels changes its size alone. IDM_FAILED: no memory.
idm_status exif_turn_upright(idm_image *image, int orientation);

#endif
