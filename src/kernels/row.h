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

/* Elements a call of them: where the largest of a row is found again, and what no caller keeps.
 * After so many, the errors of a sum are added to it: left alone, they would be lost in their turn. */
enum { SPAN = 1024, RENEWAL = 1 << 17 };

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

/* The largest of n values, NaN left out; n in steps. */
static NOINLINE real block_max(const real *restrict x, size_t n)
{
    real max[STEP];
    for (size_t j = 0; j < STEP; j++)
        max[j] = -(real)INFINITY;
    for (size_t i = 0; i < n / STEP * STEP; i += STEP)
        for (size_t j = 0; j < STEP; j++)
            max[j] = x[i + j] > max[j] ? x[i + j] : max[j];
    for (size_t width = STEP / 2; width > 0; width /= 2)
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

/* A sum in every lane, with its rounding error. */
struct lane_totals {
    real high[LANES], low[LANES];
};

/* e = exp(x) 2^-n of n values in steps, added to `sums`: the four vectors of a step as a tree, and
 * that by TwoSum, so that a row's sum is as good at any length.  e may be x itself.  n elements of
 * memory to be read and to be written soon are asked for. */
static NOINLINE void block_exp(const real *x, struct scaling to, size_t n, const real *next_x,
                               const real *next_e, real *e, struct lane_totals *restrict sums)
{
    struct lane_totals s = *sums;
    for (size_t i = 0; i < n / STEP * STEP; i += STEP) {
        for (size_t j = i; j < i + STEP; j += LANES) {
            PREFETCH(next_x + j);
            PREFETCH(next_e + j);
        }
        IN_PLACE
        for (size_t j = 0; j < LANES; j++) {
            const size_t second = i + LANES + j, third = second + LANES, fourth = third + LANES;
            real e1 = exp_scaled(x[i + j] - to.offset, to.cut, to.one);
            real e2 = exp_scaled(x[second] - to.offset, to.cut, to.one);
            real e3 = exp_scaled(x[third] - to.offset, to.cut, to.one);
            real e4 = exp_scaled(x[fourth] - to.offset, to.cut, to.one);
            real error;
            s.high[j] = two_sum(s.high[j], (e1 + e2) + (e3 + e4), &error);
            s.low[j] += error;
            e[i + j] = e1, e[second] = e2, e[third] = e3, e[fourth] = e4;
        }
    }
    *sums = s;
}

/* block_exp for n elements, at most a step; e is 0 in place of element `skip`, and may be NULL. */
static void step_exp(const real *x, size_t n, size_t skip, struct scaling to, real *e,
                     struct lane_totals *sums)
{
    ALIGN real step[STEP];
    memcpy(step, x, n * sizeof(real));
    for (size_t j = n; j < STEP; j++)
        step[j] = -(real)INFINITY;
    if (skip < n)
        step[skip] = -(real)INFINITY;
    block_exp(step, to, STEP, step, step, step, sums);
    if (e)
        memcpy(e, step, n * sizeof(real));
}

/* Adds the errors of the lanes to their sums, as far as these hold them. */
static NOINLINE void lanes_renew(struct lane_totals *sums)
{
    for (size_t j = 0; j < LANES; j++)
        sums->high[j] = two_sum(sums->high[j], sums->low[j], &sums->low[j]);
}

/* The sum of all lanes, which are spent: neighbours, neighbours of those, and so on. */
static double lanes_value(struct lane_totals *sums)
{
    for (size_t n = LANES / 2; n > 0; n /= 2)
        for (size_t j = 0; j < n; j++) {
            real error, low = sums->low[2 * j] + sums->low[2 * j + 1];
            sums->high[j] = two_sum(sums->high[2 * j], sums->high[2 * j + 1], &error);
            sums->low[j] = low + error;
        }
    return (double)sums->high[0] + (double)sums->low[0];
}

/* Memory is asked for while exp keeps the arithmetic busy: the next row's logits one row and a bit
 * ahead, in rows up to PREFETCH_READ bytes; the results 4.5 KiB ahead, in rows from PREFETCH_WRITE
 * bytes on.  Float, ns a logit on an AMD EPYC (Zen 4, 1 MiB of L2, 2026-11):
 *
 *     rows                8192 x 1000   2048 x 4000   512 x 32,000   128 x 128,256
 *     nothing                    0.56          0.63           0.64            0.68
 *     logits                     0.53          0.49           0.46            0.47
 *     logits and results         0.68          0.44           0.38            0.42
 */
enum { PREFETCH_READ = 1 << 20, PREFETCH_WRITE = 1 << 12 };

/* n values as whole vectors, padded in scratch where they are none. */
static INLINE const real *padded(const real *values, size_t n, real pad, real *scratch)
{
    if (n % LANES == 0)
        return values;
    memcpy(scratch, values, n * sizeof(real));
    for (size_t i = n; i < whole_vectors(n); i++)
        scratch[i] = pad;
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

/* Index of the first of more than LANES values that is equal to `value`, or n; there is none before
 * `begin`. */
static size_t row_find(const real *x, real value, size_t begin, size_t n)
{
    const size_t size = min_size(BLOCK, n / LANES * LANES);
    for (size_t i = begin; i < n; i += size) {
        size_t from = min_size(i, n - size), at = block_find(x + from, value, size);
        if (at < size)
            return from + at;
    }
    return n;
}

static int has_nan(const real *x, size_t n)
{
    int any = 0;
    for (size_t i = 0; i < n; i++)
        any |= x[i] != x[i];
    return any;
}

/* The largest of a row as it is read, and the span in which it comes first. */
struct row_peak {
    real max;
    size_t span;
};

static void peak_add(const real *x, size_t begin, size_t n, struct row_peak *peak)
{
    real max = block_max(x + begin, n);
    if (max > peak->max)
        peak->max = max, peak->span = begin;
}

/* Fills `row` after all whole steps were added. */
static void peak_locate(const real *x, size_t n_classes, struct row_peak peak,
                        struct softmax_row *row)
{
    peak_add(x, n_classes - STEP, STEP, &peak);
    row->max = peak.max;
    row->argmax = row_find(x, row->max, peak.span, n_classes);
    row->has_nan = row->max == (real)INFINITY && has_nan(x, n_classes);
}

static void row_max(const real *x, size_t n_classes, struct softmax_row *row)
{
    struct row_peak peak = {-(real)INFINITY, 0};
    const size_t whole = n_classes / STEP * STEP;
    for (size_t i = 0; i < whole; i += SPAN)
        peak_add(x, i, min_size(SPAN, whole - i), &peak);
    peak_locate(x, n_classes, peak, row);
}

/* Fills `row`, and e_j, with 0 in place of e_k, in e; e may be x itself, or NULL: not wanted.  The
 * logits to be read next are at `next`; NULL: there are none. */
static void row_exp(const real *x, const real *next, size_t n_classes, struct softmax_row *row,
                    real *e)
{
    ALIGN real unwanted[SPAN];
    const size_t bytes = n_classes * sizeof(real), peak = row->argmax / STEP * STEP;
    const int reads = next && bytes <= PREFETCH_READ, writes = next && bytes >= PREFETCH_WRITE;
    const real *const ahead = reads ? next + 512 / sizeof(real) : x;
    const ptrdiff_t e_ahead = e && writes ? 4608 / (ptrdiff_t)sizeof(real) : 0;
    struct lane_totals others = {{0}, {0}};
    row->scaling = scale_to(row->max);
    for (size_t i = 0, n; i < n_classes; i += n) {
        n = min_size(SPAN, (i < peak && peak < n_classes ? peak : n_classes) - i);
        if (i == peak || n < STEP) {
            n = min_size(n, STEP);
            step_exp(x + i, n, row->argmax - i, row->scaling, e ? e + i : NULL, &others);
        } else {
            n = n / STEP * STEP;
            real *to = e ? e + i : unwanted;
            block_exp(x + i, row->scaling, n, ahead + i, to + e_ahead, to, &others);
        }
        if (i / RENEWAL != (i + n) / RENEWAL)
            lanes_renew(&others);
    }
    row->top = (double)row->scaling.top + (double)row->scaling.top_low;
    row->others = lanes_value(&others);
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

#endif
