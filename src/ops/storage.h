// Tensors stored in 16 bits (DESIGN.md section 8). Operations compute in float32: what they read is widened into scratch first, what they
// write is narrowed at the end, rounding to nearest even. Float32 tensors pass untouched.
#ifndef OPS_STORAGE_H
#define OPS_STORAGE_H

#include "ops/ops.h"

// t itself if it is float32 (or none), else a float32 copy on POOL_ACTIVATIONS: the caller saves and releases around.
tensor storage_widen(ops *o, tensor t);
// Where an operation puts what belongs into t: t itself, or float32 scratch for storage_narrow.
tensor storage_place(ops *o, tensor t);
// Writes what was put into storage_place(t); nothing to do where that is t.
void storage_narrow(ops *o, tensor place, tensor t);

// The operands of an epilogue, widened.
epilogue storage_widen_epilogue(ops *o, const epilogue *e);

// "f32", "f16", "bf16": what cl/storage.clh calls it.
const char *storage_type_name(dtype type);

// y = x, of any two types.
void storage_convert(ops *o, tensor x, tensor y);

#endif
