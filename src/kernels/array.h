/* Arrays of any element type and strides, read and written as vectors.
 *
 * The elements of an array, in C order, fall into runs at one stride: the whole of an array with one
 * axis, the last axis of any other.  A run is converted by one loop.
 */
#ifndef CEK_ARRAY_H
#define CEK_ARRAY_H

#include "../cek.h"
#include "half.h"
#include "real.h"

/* Defines read_NAME, which converts n elements of `type`, `stride` bytes apart, to `to`.  A constant
 * stride makes a loop of vectors, so adjacent, every second and reversed elements have their own:
 * without, a stride of two costs 0.28 to 0.42 instead of 0.05 to 0.07 ns a float (AMD Zen 4, 2026-11). */
#define DEFINE_READ(name, type, convert, to)                                                       \
    static INLINE void loop_##name(const char *from, ptrdiff_t stride, size_t n, to *restrict out) \
    {                                                                                              \
        for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) {                                             \
            type v;                                                                                \
            memcpy(&v, from + i * stride, sizeof v);                                               \
            out[i] = (to)convert(v);                                                               \
        }                                                                                          \
    }                                                                                              \
    static void read_##name(const char *from, ptrdiff_t stride, size_t n, to *restrict out)        \
    {                                                                                              \
        const ptrdiff_t size = sizeof(type);                                                       \
        if (stride == size)                                                                        \
            loop_##name(from, sizeof(type), n, out);                                               \
        else if (stride == 2 * size)                                                               \
            loop_##name(from, 2 * sizeof(type), n, out);                                           \
        else if (stride == -size)                                                                  \
            loop_##name(from, -(ptrdiff_t)sizeof(type), n, out);                                   \
        else                                                                                       \
            loop_##name(from, stride, n, out);                                                     \
    }

#define UNCHANGED(v) v

DEFINE_READ(int8, int8_t, UNCHANGED, real)
DEFINE_READ(int16, int16_t, UNCHANGED, real)
DEFINE_READ(int32, int32_t, UNCHANGED, real)
DEFINE_READ(int64, int64_t, UNCHANGED, real)
DEFINE_READ(uint8, uint8_t, UNCHANGED, real)
DEFINE_READ(uint16, uint16_t, UNCHANGED, real)
DEFINE_READ(uint32, uint32_t, UNCHANGED, real)
DEFINE_READ(uint64, uint64_t, UNCHANGED, real)
DEFINE_READ(float16, uint16_t, from_float16, real)
DEFINE_READ(bfloat16, uint16_t, from_bfloat16, real)
DEFINE_READ(float32, float, UNCHANGED, real)
DEFINE_READ(float64, double, UNCHANGED, real)

typedef void run_reader(const char *from, ptrdiff_t stride, size_t n, real *restrict out);

static run_reader *const run_readers[] = {
    [CEK_BOOL] = read_uint8,      [CEK_INT8] = read_int8,         [CEK_INT16] = read_int16,
    [CEK_INT32] = read_int32,     [CEK_INT64] = read_int64,       [CEK_UINT8] = read_uint8,
    [CEK_UINT16] = read_uint16,   [CEK_UINT32] = read_uint32,     [CEK_UINT64] = read_uint64,
    [CEK_FLOAT16] = read_float16, [CEK_BFLOAT16] = read_bfloat16, [CEK_FLOAT32] = read_float32,
    [CEK_FLOAT64] = read_float64,
};

static const ptrdiff_t type_sizes[] = {
    [CEK_BOOL] = 1,     [CEK_INT8] = 1,    [CEK_INT16] = 2,   [CEK_INT32] = 4,  [CEK_INT64] = 8,
    [CEK_UINT8] = 1,    [CEK_UINT16] = 2,  [CEK_UINT32] = 4,  [CEK_UINT64] = 8, [CEK_FLOAT16] = 2,
    [CEK_BFLOAT16] = 2, [CEK_FLOAT32] = 4, [CEK_FLOAT64] = 8,
};

static INLINE void run_read(enum cek_type type, const char *from, ptrdiff_t stride, size_t n,
                            real *restrict out)
{
    run_readers[type](from, stride, n, out);
}

/* Defines write_NAME, which converts n values to elements of `type`, `stride` bytes apart. */
#define DEFINE_WRITE(name, type, convert)                                                          \
    static void write_##name(const real *restrict values, size_t n, ptrdiff_t stride, char *to)    \
    {                                                                                              \
        if (stride == (ptrdiff_t)sizeof(type))                                                     \
            for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) {                                         \
                type v = convert(values[i]);                                                       \
                memcpy(to + i * (ptrdiff_t)sizeof v, &v, sizeof v);                                \
            }                                                                                      \
        else                                                                                       \
            for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) {                                         \
                type v = convert(values[i]);                                                       \
                memcpy(to + i * stride, &v, sizeof v);                                             \
            }                                                                                      \
    }

#define NARROWED_FLOAT16(v) to_float16((float)(v))
#define NARROWED_BFLOAT16(v) to_bfloat16((float)(v))

DEFINE_WRITE(float16, uint16_t, NARROWED_FLOAT16)
DEFINE_WRITE(bfloat16, uint16_t, NARROWED_BFLOAT16)
DEFINE_WRITE(float32, float, (float))
DEFINE_WRITE(float64, double, UNCHANGED)

/* n values to elements of a float type, `stride` bytes apart.  Doubles are rounded twice on their way to
 * half precision: nobody asks for that. */
static INLINE void run_write(enum cek_type type, const real *values, size_t n, ptrdiff_t stride,
                             char *to)
{
    if (type == CEK_FLOAT16)
        write_float16(values, n, stride, to);
    else if (type == CEK_BFLOAT16)
        write_bfloat16(values, n, stride, to);
    else if (type == CEK_FLOAT32)
        write_float32(values, n, stride, to);
    else
        write_float64(values, n, stride, to);
}

/* A place in an array, and its way through the runs. */
struct runs {
    const struct cek_array *array;
    char *at;       /* the next element                        */
    size_t left;    /* elements from there to the end of a run */
    size_t outer;   /* number of the run                       */
};

static INLINE ptrdiff_t run_stride(const struct cek_array *array)
{
    return array->ndim ? array->strides[array->ndim - 1] : 0;
}

/* Byte offset of the run of this number: an index into all axes but the last. */
static ptrdiff_t run_offset(const struct cek_array *array, size_t outer)
{
    ptrdiff_t offset = 0;
    for (int axis = array->ndim - 2; axis >= 0 && outer; axis--) {
        size_t length = (size_t)array->shape[axis];
        offset += (ptrdiff_t)(axis ? outer % length : outer) * array->strides[axis];
        outer = axis ? outer / length : 0;
    }
    return offset;
}

static INLINE struct runs runs_from(const struct cek_array *array, size_t element)
{
    if (array->ndim < 2)
        return (struct runs){array, (char *)array->data + (ptrdiff_t)element * run_stride(array),
                             SIZE_MAX, 0};
    const size_t length = (size_t)array->shape[array->ndim - 1], inner = element % length;
    struct runs runs = {array, array->data, length - inner, element / length};
    runs.at += run_offset(array, runs.outer) + (ptrdiff_t)inner * run_stride(array);
    return runs;
}

/* Takes up to n elements of the run; *from is the first.  Returns their number. */
static INLINE size_t runs_take(struct runs *runs, size_t n, char **from)
{
    const struct cek_array *array = runs->array;
    n = min_size(n, runs->left);
    *from = runs->at;
    runs->at += (ptrdiff_t)n * run_stride(array);
    runs->left -= n;
    if (runs->left == 0) {
        runs->at = (char *)array->data + run_offset(array, ++runs->outer);
        runs->left = (size_t)array->shape[array->ndim - 1];
    }
    return n;
}

/* Elements [begin, begin + n) as real. */
static void array_read(const struct cek_array *array, size_t begin, size_t n, real *restrict out)
{
    struct runs runs = runs_from(array, begin);
    for (size_t i = 0; i < n;) {
        char *from;
        size_t size = runs_take(&runs, n - i, &from);
        run_read(array->type, from, run_stride(array), size, out + i);
        i += size;
    }
}

static void array_write(const struct cek_array *array, size_t begin, size_t n, const real *values)
{
    struct runs runs = runs_from(array, begin);
    for (size_t i = 0; i < n;) {
        char *to;
        size_t size = runs_take(&runs, n - i, &to);
        run_write(array->type, values + i, size, run_stride(array), to);
        i += size;
    }
}

/* Elements [begin, begin + n) where they are real, adjacent and aligned in memory; else NULL. */
static INLINE real *array_direct(const struct cek_array *array, size_t begin, size_t n)
{
    if (array->type != REAL_TYPE || array->ndim == 0 || run_stride(array) != sizeof(real))
        return NULL;
    struct runs runs = runs_from(array, begin);
    return runs.left >= n && (uintptr_t)runs.at % sizeof(real) == 0 ? (real *)(void *)runs.at
                                                                    : NULL;
}

/* Are rows next to each other in memory, so that a class is a run? */
static int is_columns(const struct cek_array *array)
{
    return array->type == REAL_TYPE && array->ndim > 1 &&
           array->strides[array->ndim - 2] == sizeof(real) && run_stride(array) != sizeof(real) &&
           ((uintptr_t)array->data | (uintptr_t)run_stride(array)) % sizeof(real) == 0;
}

#endif
