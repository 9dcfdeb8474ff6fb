// Operations that only move bytes or work element by element. NHWC; rows = pixels of all samples, vectors = channels / VEC (VEC divides
// the channels).
#include "common.clh"
#include "epilogue.clh"
#include "math.clh"
#include "rows.clh"

ROWS_KERNEL silu_forward(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(float, y))
{
    START(x);
    START(y);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            VSTORE(silu(VLOAD(x + i)), y + i);
        }
}

// x: rows of 2 vectors (value, gate); y: rows of `vectors`.
ROWS_KERNEL geglu_forward(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(float, y))
{
    START(x);
    START(y);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            __global const float *value = x + (2 * row * vectors + v) * VEC;
            VSTORE(VLOAD(value) * gelu(VLOAD(value + vectors * VEC)), y + (row * vectors + v) * VEC);
        }
}

// x, dx: rows of 2 vectors (value, gate); dy: rows of `vectors`. dx may be x.
ROWS_KERNEL geglu_backward(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(const float, dy),
                           TENSOR(float, dx))
{
    START(x);
    START(dy);
    START(dx);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int value = (2 * row * vectors + v) * VEC, gate = value + vectors * VEC;
            const vfloat d = VLOAD(dy + (row * vectors + v) * VEC), d_gate = d * VLOAD(x + value);
            vfloat slope;
            const vfloat d_value = d * gelu_with_slope(VLOAD(x + gate), &slope);
            VSTORE(d_value, dx + value);
            VSTORE(d_gate * slope, dx + gate);
        }
}

// y: rows of y_channels; writes channels from `first` on.
ROWS_KERNEL channels_copy(const int rows, const int vectors, const int block, const int y_channels, const int first, TENSOR(const float, x),
                          TENSOR(float, y))
{
    START(x);
    START(y);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) VSTORE(VLOAD(x + (row * vectors + v) * VEC), y + row * y_channels + first + v * VEC);
}

// x: rows of x_channels, read from channel `first` on. ADD: 1 adds to what is in y.
ROWS_KERNEL channels_slice(const int rows, const int vectors, const int block, const int x_channels, const int first,
                           TENSOR(const float, x), TENSOR(float, y))
{
    START(x);
    START(y);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            const vfloat value = VLOAD(x + row * x_channels + first + v * VEC);
#if ADD
            VSTORE(VLOAD(y + i) + value, y + i);
#else
            VSTORE(value, y + i);
#endif
        }
}

// rows, width: of y. Heights are even, so halving (sample, line) together halves the line.
ROWS_KERNEL upsample_nearest(const int rows, const int vectors, const int block, const int width, TENSOR(const float, x), TENSOR(float, y))
{
    START(x);
    START(y);
    FOR_EACH_ROW (row, rows, block) {
        const int source = (row / width / 2) * (width / 2) + row % width / 2;
        FOR_EACH_VECTOR (v, vectors) VSTORE(VLOAD(x + (source * vectors + v) * VEC), y + (row * vectors + v) * VEC);
    }
}

// rows, width: of dx; dy is twice as wide.
ROWS_KERNEL upsample_nearest_backward(const int rows, const int vectors, const int block, const int width, TENSOR(const float, dy),
                                      EPILOGUE_ARGUMENTS, TENSOR(float, dx))
{
    START(dy);
    START(dx);
    EPILOGUE_START;
    const int pixel = vectors * VEC, line = 2 * width * pixel;
    FOR_EACH_ROW (row, rows, block) {
        const int corner = row / width * 2 * line + row % width * 2 * pixel;
        FOR_EACH_VECTOR (v, vectors) {
            __global const float *from = dy + corner + v * VEC;
            const int i = row * pixel + v * VEC;
            vfloat r = (VLOAD(from) + VLOAD(from + pixel)) + (VLOAD(from + line) + VLOAD(from + line + pixel));
            EPILOGUE(vfloat, VLOAD, r, i, v * VEC);
            VSTORE(r, dx + i);
        }
    }
}

ROWS_KERNEL scale(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(const float, a), TENSOR(float, y))
{
    START(x);
    START(a);
    START(y);
    const float factor = *a;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            VSTORE(VLOAD(x + i) * factor, y + i);
        }
}

// y may be x or z.
ROWS_KERNEL add(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(const float, z), TENSOR(float, y))
{
    START(x);
    START(z);
    START(y);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            VSTORE(VLOAD(x + i) + VLOAD(z + i), y + i);
        }
}

ROWS_KERNEL add_scaled(const int rows, const int vectors, const int block, TENSOR(const float, x), TENSOR(const float, z),
                       TENSOR(const float, a), TENSOR(float, y))
{
    START(x);
    START(z);
    START(a);
    START(y);
    const float factor = *a;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            VSTORE(fma((vfloat)factor, VLOAD(z + i), VLOAD(x + i)), y + i);
        }
}

// mix or residual may be y.
ROWS_KERNEL epilogue_forward(const int rows, const int vectors, const int block, TENSOR(const float, x), EPILOGUE_ARGUMENTS,
                             TENSOR(float, y))
{
    START(x);
    START(y);
    EPILOGUE_START;
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int i = (row * vectors + v) * VEC;
            vfloat r = VLOAD(x + i);
            EPILOGUE(vfloat, VLOAD, r, i, v * VEC);
            VSTORE(r, y + i);
        }
}

// Feature (n, h, w, planes r^2), channel k r^2 + i r + j  <->  plane (n, h r, w r, planes), pixel (y r + i, x r + j), channel k.
// rows = n h w, vectors = planes r^2, VEC = 1. TO_FEATURE: 1 writes the feature, 0 the plane.
ROWS_KERNEL pixel_shuffle(const int rows, const int vectors, const int block, const int width, const int r, TENSOR(const float, x),
                          TENSOR(float, y))
{
    START(x);
    START(y);
    const int planes = vectors / (r * r);
    FOR_EACH_ROW (row, rows, block)
        FOR_EACH_VECTOR (v, vectors) {
            const int k = v / (r * r), i = v / r % r, j = v % r;
            const int feature = row * vectors + v, pixel = ((row / width * r + i) * width + row % width) * r + j;
#if TO_FEATURE
            y[feature] = x[pixel * planes + k];
#else
            y[pixel * planes + k] = x[feature];
#endif
        }
}
