/* Blocks: how operands of any type and stride become vectors of real, and how vectors are summed. */
#ifndef CEK_BLOCK_H
#define CEK_BLOCK_H

#include "../cek.h"
#include "real.h"

/* Elements [begin, begin + n) of `in` as real. */
static void block_read(const struct cek_in *in, size_t begin, size_t n, real *restrict out)
{
    const char *from = (const char *)in->data + (ptrdiff_t)begin * in->stride;
    const ptrdiff_t stride = in->stride;
#define READ(ctype)                                                                                \
    for (size_t i = 0; i < n; i++) {                                                               \
        ctype v;                                                                                   \
        memcpy(&v, from + (ptrdiff_t)i * stride, sizeof v);                                        \
        out[i] = (real)v;                                                                          \
    }                                                                                              \
    break
    switch (in->type) {
    case CEK_BOOL:
    case CEK_UINT8:
        READ(uint8_t);
    case CEK_INT8:
        READ(int8_t);
    case CEK_INT16:
        READ(int16_t);
    case CEK_INT32:
        READ(int32_t);
    case CEK_INT64:
        READ(int64_t);
    case CEK_UINT16:
        READ(uint16_t);
    case CEK_UINT32:
        READ(uint32_t);
    case CEK_UINT64:
        READ(uint64_t);
    case CEK_FLOAT32:
        READ(float);
    case CEK_FLOAT64:
        READ(double);
    }
#undef READ
}

/* The same as whole vectors: in place where memory already holds them, else in scratch, padded. */
static INLINE const real *block_load(const struct cek_in *in, size_t begin, size_t n, real pad,
                                     real *scratch)
{
    const char *at = (const char *)in->data + (ptrdiff_t)begin * in->stride;
    if (in->type == REAL_TYPE && in->stride == sizeof(real) && n % LANES == 0 &&
        (uintptr_t)at % sizeof(real) == 0)
        return (const real *)at;
    block_read(in, begin, n, scratch);
    for (size_t i = n; i < whole_vectors(n); i++)
        scratch[i] = pad;
    return scratch;
}

/* Where a hot loop may write n results: straight into `array`, or into scratch when the array is not
 * wanted, does not hold whole vectors, or is the memory that the loop reads. */
static INLINE real *block_target(void *array, size_t begin, size_t n, const real *source,
                                 real *scratch)
{
    if (!array || n % LANES != 0 || (real *)array + begin == source)
        return scratch;
    return (real *)array + begin;
}

static INLINE void block_store(void *array, size_t begin, size_t n, const real *values)
{
    if (array && (real *)array + begin != values)
        memcpy((real *)array + begin, values, n * sizeof(real));
}

/* Sum of LANES values, which are spent. */
static INLINE double lane_sum(double *lanes)
{
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t j = 0; j < width; j++)
            lanes[j] += lanes[j + width];
    return lanes[0];
}

/* Sum of n <= BLOCK values in whole vectors.  Four vectors are added as a tree in real, which is
 * exact for equal values, then everything in double: the error stays below that of the values. */
static NOINLINE double block_sum(const real *restrict v, size_t n)
{
    double acc[LANES] = {0};
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (size_t j = 0; j < LANES; j++)
            acc[j] += (v[i + j] + v[i + LANES + j]) + (v[i + 2 * LANES + j] + v[i + 3 * LANES + j]);
    for (; i < n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            acc[j] += v[i + j];
    return lane_sum(acc);
}

/* A running sum in double with its rounding error (Knuth's TwoSum), for sums over any number of
 * blocks.  An infinite sum has no meaningful error. */
struct sum {
    double high, low;
};

static INLINE void sum_add(struct sum *sum, double value)
{
    double high = sum->high + value, back = high - sum->high;
    sum->low += (sum->high - (high - back)) + (value - back);
    sum->high = high;
}

static INLINE double sum_value(struct sum sum)
{
    return isfinite(sum.low) ? sum.high + sum.low : sum.high;
}

#endif
