/* The arithmetic of LANES rows side by side: arrays [class][row], every step a loop over the rows.  What
 * lane l of a row adds up in row.h, row l of an array [lane][row] adds up here, in the same order: the
 * bits are the same. */
#ifndef CEK_COLUMN_TILE_H
#define CEK_COLUMN_TILE_H

#include "batch.h"

/* Loops over the rows of one class are so short that a compiler unrolls them before it makes vectors;
 * loops over those of four classes are not.
 *
 * Copies LANES rows whose classes are `step` apart to [class][row], where they may be, and finds the
 * largest logit of each row, NaN left out, and the four of classes in which it comes first; 0 where
 * that is -inf.  The last four may be taken twice. */
static NOINLINE void columns_copy_max(const real *x, ptrdiff_t step, size_t n_classes, real *tile,
                                      real *restrict max, bits *restrict at)
{
    const real least = -(real)INFINITY;
    real best[LANES], largest[LANES];
    bits four[LANES];
    for (size_t r = 0; r < LANES; r++)
        largest[r] = least, four[r] = 0;
    for (size_t i = 0; i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4);
        const real *in = x + (ptrdiff_t)c * step;
        real *out = tile + c * LANES;
        LANES_IN_PLACE
        for (ptrdiff_t r = 0; r < LANES; r++) {
            real v0 = in[r], v1 = in[r + step], v2 = in[r + 2 * step], v3 = in[r + 3 * step];
            real low = larger(v1, larger(v0, least)), high = larger(v3, larger(v2, least));
            bits before = four[r];
            best[r] = larger(high, low);
            four[r] = best[r] > largest[r] ? (bits)c : before;
            out[r] = v0, out[r + LANES] = v1, out[r + 2 * LANES] = v2, out[r + 3 * LANES] = v3;
        }
        LANES_IN_PLACE
        for (size_t r = 0; r < LANES; r++)
            largest[r] = larger(best[r], largest[r]);
    }
    for (size_t r = 0; r < LANES; r++)
        max[r] = largest[r], at[r] = four[r];
}

static NOINLINE void columns_exp(const real *restrict offset, const real *restrict cut,
                                 const bits *restrict one, size_t n_classes, real *restrict e)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < LANES; r++)
            e[c * LANES + r] = exp_scaled(e[c * LANES + r] - offset[r], cut[r], one[r]);
}

/* Adds the classes of a step to the sums of [lane][row], as block_exp. */
static NOINLINE void columns_add(const real *restrict e, real *restrict high, real *restrict low)
{
    const size_t size = LANES * LANES;
    for (size_t i = 0; i < size; i++) {
        real error, sum = (e[i] + e[i + size]) + (e[i + 2 * size] + e[i + 3 * size]);
        high[i] = two_sum(high[i], sum, &error);
        low[i] += error;
    }
}

/* The sums of two neighbouring lanes, as in lanes_value. */
static NOINLINE void columns_fold(const real *high, const real *low, real *sum, real *sum_low)
{
    IN_PLACE
    for (size_t r = 0; r < LANES; r++) {
        real error, lows = low[r] + low[LANES + r];
        sum[r] = two_sum(high[r], high[LANES + r], &error);
        sum_low[r] = lows + error;
    }
}

/* What a result of LANES rows is made of: factor e, or spread p (1 - p) with p = factor e; all bits of
 * keep are 0 where the result is.  at_label is NULL where the class of the label is like the others. */
struct column_factors {
    ALIGN real factor[LANES];
    ALIGN real spread[LANES];
    ALIGN bits keep[LANES];
    ALIGN real at_top[LANES];
    const real *at_label;
};

/* The result of n_classes of [class][row], the classes `step` apart. */
typedef void column_result(const real *restrict e, const struct column_factors *restrict f,
                           size_t n_classes, real *restrict out, ptrdiff_t step);

static INLINE real kept(real value, bits keep)
{
    return from_bits(to_bits(value) & keep);
}

static NOINLINE void columns_scale(const real *restrict e, const struct column_factors *restrict f,
                                   size_t n_classes, real *restrict out, ptrdiff_t step)
{
    for (size_t i = 0; i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4);
        const real *in = e + c * LANES;
        real *to = out + (ptrdiff_t)c * step;
        LANES_IN_PLACE
        for (ptrdiff_t r = 0; r < LANES; r++) {
            const real factor = f->factor[r];
            const bits keep = f->keep[r];
            real v0 = factor * in[r], v1 = factor * in[r + LANES];
            real v2 = factor * in[r + 2 * LANES], v3 = factor * in[r + 3 * LANES];
            to[r] = kept(v0, keep), to[r + step] = kept(v1, keep);
            to[r + 2 * step] = kept(v2, keep), to[r + 3 * step] = kept(v3, keep);
        }
    }
}

/* As block_hess without a square */
static INLINE real spread_of(real p, real spread)
{
    return fma_(spread, fma_(-p, p, p), 0);
}

static NOINLINE void columns_hess(const real *restrict e, const struct column_factors *restrict f,
                                  size_t n_classes, real *restrict out, ptrdiff_t step)
{
    for (size_t i = 0; i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4);
        const real *in = e + c * LANES;
        real *to = out + (ptrdiff_t)c * step;
        LANES_IN_PLACE
        for (ptrdiff_t r = 0; r < LANES; r++) {
            const real factor = f->factor[r], spread = f->spread[r];
            const bits keep = f->keep[r];
            real v0 = spread_of(factor * in[r], spread);
            real v1 = spread_of(factor * in[r + LANES], spread);
            real v2 = spread_of(factor * in[r + 2 * LANES], spread);
            real v3 = spread_of(factor * in[r + 3 * LANES], spread);
            to[r] = kept(v0, keep), to[r + step] = kept(v1, keep);
            to[r + 2 * step] = kept(v2, keep), to[r + 3 * step] = kept(v3, keep);
        }
    }
}

/* The factors of the Hessian and of the probabilities, but for keep: as row_hess and row_proba. */
static NOINLINE void columns_factors(const struct softmax_batch *b, const real *restrict q,
                                     double scale, struct column_factors *restrict hess,
                                     struct column_factors *restrict proba)
{
    for (size_t r = 0; r < LANES; r++) {
        const double p = b->top[r] / b->total[r], others = b->others[r] / b->total[r];
        const double all = scale * (double)q[r];
        hess->factor[r] = proba->factor[r] = (real)(1 / b->total[r]);
        hess->spread[r] = (real)all;
        hess->at_top[r] = (real)(all * p * others + 0 * p * p);
        proba->at_top[r] = (real)p;
    }
}

#endif
