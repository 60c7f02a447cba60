/* Blocks: how arrays become whole vectors of real and back, and how vectors are summed. */
#ifndef CEK_BLOCK_H
#define CEK_BLOCK_H

#include "array.h"

/* Elements [begin, begin + n) as whole vectors: in place where memory already holds them, else in
 * scratch, padded. */
static INLINE const real *block_load(const struct cek_array *in, size_t begin, size_t n, real pad,
                                     real *scratch)
{
    const real *direct = n % LANES == 0 ? array_direct(in, begin, n) : NULL;
    if (direct)
        return direct;
    array_read(in, begin, n, scratch);
    for (size_t i = n; i < whole_vectors(n); i++)
        scratch[i] = pad;
    return scratch;
}

/* Where a hot loop may write n results: straight into `out`, or into scratch when it is not wanted,
 * holds no whole vectors of real, or is the memory that the loop reads. */
static INLINE real *block_target(const struct cek_array *out, size_t begin, size_t n,
                                 const real *source, real *scratch)
{
    real *direct = out->data && n % LANES == 0 ? array_direct(out, begin, n) : NULL;
    return direct && direct != source ? direct : scratch;
}

/* Writes n results that block_target may have put into scratch. */
static INLINE void block_store(const struct cek_array *out, size_t begin, size_t n,
                               const real *values, const real *scratch)
{
    if (out->data && values == scratch)
        array_write(out, begin, n, values);
}

/* out = factor e; out may be e itself. */
static NOINLINE void block_scale(const real *e, real factor, size_t n, real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++)
        out[i] = factor * e[i];
}

/* Sum of LANES values, which are spent.  Written out, it makes vectors: a loop over the widths costs a
 * hundred logits 3 % (AMD Zen 4, 2026-11). */
static INLINE double lane_sum(double *lanes)
{
    for (size_t j = 0; LANES == 16 && j < 8; j++)
        lanes[j] += lanes[j + 8];
    for (size_t j = 0; j < 4; j++)
        lanes[j] += lanes[j + 4];
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
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
