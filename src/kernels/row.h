/* The softmax of one row of logits, vectorised along its classes.
 *
 * With m = max_j x_j reached first at k, and a power of two 2^n about e^m,
 *
 *     e_j = exp(x_j) 2^-n,   top = e_k,   others = sum_{j != k} e_j
 *     logsumexp(x) = m + log1p(others / top),   p_j = e_j / (top + others)
 *
 * The largest term stays apart from the rest, so that log1p(others / top) and 1 - p_k =
 * others / (top + others) keep their relative accuracy however small they are.  Scaling by 2^-n
 * instead of subtracting m keeps every p_j within a few ulp: x_j - m would be rounded, and exp turns
 * the rounding error of a number near 80 into 40 ulp.  Where |m| is large, x_j - m is exact for all
 * j that matter, and replaces the scaling.
 */
#ifndef CEK_ROW_H
#define CEK_ROW_H

#include "block.h"
#include "vmath.h"

/* From here on x_j >= m / 2 for every e_j that does not underflow (m > 0), or x_j >= 2 m (m < 0), so
 * that x_j - m is exact (Sterbenz).  Below, exp_scaled takes x_j as it is. */
#if CEK_REAL_BITS == 32
#define LARGE_MAX 176.0f
#else
#define LARGE_MAX 1420.0
#endif

enum { MAX_STEP = 4 * LANES };

/* exp_scaled(x - offset, cut, one) is e_j.  top + top_low belongs to the largest x: in every p_j, so
 * the rounding error of its last operation is kept. */
struct scaling {
    real offset, cut, top, top_low;
    bits one;
};

/* 2^n <= e^m < 2^(n + 1), up to rounding: then e_j underflows only where p_j does.
 * -inf (every class masked): top = 0; +inf: offset = inf leaves e_j = 0 for the finite others. */
static INLINE struct scaling scale_to(real max)
{
    int is_small = abs_(max) < LARGE_MAX, is_masked = max == -(real)INFINITY;
    real anchor = is_small ? max : 0;
    real z = fma_(anchor, LOG2E, REAL(-0.5)) + ROUND;
    bits one = EXP_ONE - (to_bits(z) << MANTISSA_BITS);
    real scale, p;
    exp_parts(anchor, one, &scale, &p);
    real top = fma_(scale, p, scale), top_low = fma_(scale, p, scale - top);
    struct scaling to;
    to.offset = is_small | is_masked ? 0 : max;
    to.cut = (z - ROUND + EXP_MIN) * (LN2_HI + LN2_LO);
    to.top = is_small ? top : is_masked ? 0 : 1;
    to.top_low = is_small ? top_low : 0;
    to.one = one;
    return to;
}

/* The largest of n values, NaN left out; n in steps of MAX_STEP: four vectors hide the latency. */
static NOINLINE real block_max(const real *restrict x, size_t n)
{
    real max[MAX_STEP];
    for (size_t j = 0; j < MAX_STEP; j++)
        max[j] = -(real)INFINITY;
    for (size_t i = 0; i < n / MAX_STEP * MAX_STEP; i += MAX_STEP)
        for (size_t j = 0; j < MAX_STEP; j++)
            max[j] = x[i + j] > max[j] ? x[i + j] : max[j];
    for (size_t width = MAX_STEP / 2; width > 0; width /= 2)
        for (size_t j = 0; j < width; j++)
            max[j] = max[j + width] > max[j] ? max[j + width] : max[j];
    return max[0];
}

/* Index of the first of n values that is equal to `value`, or n; n in whole vectors. */
static NOINLINE size_t block_find(const real *restrict x, real value, size_t n)
{
    const int end = (int)(n / LANES * LANES);
    int first = end;
    for (int i = 0; i < end; i++) {
        int found = x[i] == value ? i : end;
        first = found < first ? found : first;
    }
    return (size_t)first;
}

/* e = exp(x) 2^-n; e may be x itself. */
static NOINLINE void block_exp(const real *x, struct scaling to, size_t n, real *e)
{
    IN_PLACE
    for (size_t i = 0; i < n / LANES * LANES; i++)
        e[i] = exp_scaled(x[i] - to.offset, to.cut, to.one);
}

/* out = factor e; out may be e itself. */
static NOINLINE void block_scale(const real *e, real factor, size_t n, real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++)
        out[i] = factor * e[i];
}

/* Rows up to this many bytes are asked for while the row before them is computed, and so is the
 * memory of their results.  On a server with 2 MiB of L2 (2026-11), float, 8192 x 1000: 0.65 ns a
 * logit with x alone, 0.55 with both, 1.0 with none; longer rows would push out what is in use. */
enum { PREFETCH_READ = 1 << 18, PREFETCH_WRITE = 1 << 16 };

/* Asks for n values to be in the L2 cache soon. */
static INLINE void prefetch(const real *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        PREFETCH(x + i);
}

/* n values as a multiple of `step`, padded with -inf in scratch where they are none. */
static INLINE const real *row_load(const real *row, size_t n, size_t step, real *scratch)
{
    if (n % step == 0)
        return row;
    memcpy(scratch, row, n * sizeof(real));
    for (size_t i = n; i < round_up(n, step); i++)
        scratch[i] = -(real)INFINITY;
    return scratch;
}

struct softmax_row {
    real max;
    size_t argmax; /* n_classes or more where every logit is NaN */
    int has_nan;   /* known where max is inf                      */
    struct scaling scaling;
    double top, others, total; /* total = top + others */
    real log1p;                /* logsumexp - max      */
};

static void row_max(const real *x, size_t n_classes, struct softmax_row *row)
{
    ALIGN real scratch[BLOCK];
    size_t best = 0;
    row->max = -(real)INFINITY;
    for (size_t i = 0; i < n_classes; i += BLOCK) {
        size_t n = min_size(BLOCK, n_classes - i);
        real max = block_max(row_load(x + i, n, MAX_STEP, scratch), round_up(n, MAX_STEP));
        if (max > row->max)
            row->max = max, best = i;
    }
    size_t n = min_size(BLOCK, n_classes - best);
    row->argmax =
        best + block_find(row_load(x + best, n, LANES, scratch), row->max, whole_vectors(n));
    row->has_nan = 0;
    if (row->max == (real)INFINITY)
        for (size_t i = 0; i < n_classes; i++)
            row->has_nan |= x[i] != x[i];
}

/* Fills `row`, and e_j, with 0 in place of e_k, in e; e may be x itself, or NULL: not wanted. */
static void row_exp(const real *x, const real *next, size_t n_classes, struct softmax_row *row,
                    real *e)
{
    ALIGN real in[BLOCK], out[BLOCK];
    const size_t bytes = n_classes * sizeof(real);
    row->scaling = scale_to(row->max);
    struct sum others = {0, 0};
    for (size_t i = 0; i < n_classes; i += BLOCK) {
        size_t n = min_size(BLOCK, n_classes - i), whole = whole_vectors(n);
        real *to = e && whole == n ? e + i : out;
        if (next && bytes <= PREFETCH_READ)
            prefetch(next + i, n);
        if (next && e && bytes <= PREFETCH_WRITE)
            prefetch(e + n_classes + i, n);
        block_exp(row_load(x + i, n, LANES, in), row->scaling, whole, to);
        if (row->argmax - i < n)
            to[row->argmax - i] = 0;
        sum_add(&others, block_sum(to, whole));
        if (e && to == out)
            memcpy(e + i, out, n * sizeof(real));
    }
    row->top = (double)row->scaling.top + (double)row->scaling.top_low;
    row->others = sum_value(others);
    row->total = row->top + row->others;
    row->log1p = log1p_nonneg((real)(row->others / row->top));
}

/* logsumexp: -inf where every class is masked, inf where any logit is, as in SciPy. */
static real row_lse(const struct softmax_row *row)
{
    if (row->total == 0 || (row->max == (real)INFINITY && !row->has_nan))
        return row->max;
    return row->max + row->log1p;
}

/* The logits of the row after row i, or NULL. */
static INLINE const real *next_row(const struct cek_cross_entropy_args *args, size_t i)
{
    return i + 1 < args->n_rows ? (const real *)args->logits + (i + 1) * args->n_classes : NULL;
}

#endif
