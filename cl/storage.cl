// y = x between ways of storing (storage.clh): rows of vectors, X_TYPE and Y_TYPE one of f32, f16, bf16.
#include "common.clh"
#include "rows.clh"
#include "storage.clh"

#ifndef X_TYPE
#define X_TYPE f32
#endif
#ifndef Y_TYPE
#define Y_TYPE f32
#endif

ROWS_KERNEL storage_convert(const int rows, const int vectors, const int block, TENSOR(const ELEMENT(X_TYPE), x),
                            TENSOR(ELEMENT(Y_TYPE), y))
{
    START(x);
    START(y);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            STORE(Y_TYPE, LOAD(X_TYPE, x + i), y + i);
        }
}
