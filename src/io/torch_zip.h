// What torch.save writes since torch 1.6: a zip archive NAME/data.pkl (a pickled dict of tensors), NAME/data/KEY (one storage each),
// NAME/version, NAME/byteorder.
#ifndef IO_TORCH_ZIP_H
#define IO_TORCH_ZIP_H

#include "io/tensor_file.h"
#include "io/tensor_reader.h"

// Lists the tensors of a state dict, or of the dict under the key "state_dict" (.ckpt of Stable Diffusion); what else the dict holds is
// ignored. Nothing of the pickle is executed, nothing extracted to disk. Storages are read, inflated and checked (CRC) when a tensor's
// values are asked for, one at a time. IDM_BAD_INPUT: damaged archive or pickle, unknown opcodes or globals (named), a storage whose zip
// entry has another size, a tensor that reaches outside its storage.
idm_status torch_zip_open(const char *path, tensor_list *list, tensor_reader *reader);

typedef struct torch_zip_tensor {
    const char *name;
    int rank;
    int64_t shape[TENSOR_FILE_RANK_MAX];
    const float *data; // row-major; tensors with the same pointer are aliases: they share a storage in the file
} torch_zip_tensor;

// Writes an OrderedDict of float32 CPU tensors that torch.load reads (weights_only too), beside the target, synced, renamed. IDM_FAILED:
// cannot write, or more than 4 GiB in all (the archive has no zip64).
idm_status torch_zip_write(const char *path, const torch_zip_tensor *tensors, size_t count);

#endif
