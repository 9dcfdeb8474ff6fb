// Event files that TensorBoard shows: a sequence of TFRecords
//   uint64 size, uint32 masked CRC-32C of the 8 bytes before, `size` bytes, uint32 masked CRC-32C of them   (little-endian)
// each an Event of tensorflow/core/util/event.proto; masked: rotated right by 15 bits, plus 0xA282EAD8.
#ifndef TRAIN_TENSORBOARD_H
#define TRAIN_TENSORBOARD_H

#include <idm/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tensorboard tensorboard;

// Begins a new file events.out.tfevents.SECONDS.HOST.PROCESS.NUMBER in the folder. `step`: where training stands; TensorBoard forgets what
// older files of the folder hold of later steps. On failure *board is NULL; all failures are IDM_FAILED, and leave the file whole.
idm_status tensorboard_open(const char *folder, uint64_t step, tensorboard **board);

idm_status tensorboard_scalar(tensorboard *board, uint64_t step, const char *tag, double value);

// png: a whole PNG file. IDM_BAD_INPUT: it is none.
idm_status tensorboard_image(tensorboard *board, uint64_t step, const char *tag, const uint8_t *png, size_t size);

idm_status tensorboard_sync(tensorboard *board);
void tensorboard_close(tensorboard *board); // NULL is fine

#endif
