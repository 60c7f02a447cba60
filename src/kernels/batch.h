/* The softmax of rows of at most BATCH_CLASSES, a batch at a time.
 *
 * What row.h does once a row (a horizontal maximum, a scaling, a logarithm, a horizontal sum) is a
 * chain of dependent operations that takes as long as a hundred logits.  Here every step is done for
 * all rows of a batch before the next, so that their chains overlap; the bits are those of row.h.
 */
#ifndef CEK_BATCH_H
#define CEK_BATCH_H

#include "row.h"

/* Classes of a batch, and its logits, at most: their exponentials stay in L1.  A batch takes 0.4 of the
 * time of row.h with 100 classes and 0.75 (0.95 in double) with 500.  With 1000 there is no gain in cache
 * and a loss of a tenth out of it, where a row at a time reads and writes more evenly (AMD Zen 4, 2026-11).
 */
enum { BATCH_CLASSES = 512, BATCH_LOGITS = 4096 };

struct softmax_batch {
    ALIGN real e[BATCH_LOGITS];    /* [rows][whole steps], 0 in place of the largest of a row   */
    ALIGN real max[LANES * LANES]; /* of each row and lane, folded to one of each row           */
    ALIGN real high[LANES * LANES]; /* the sums of e, likewise                                  */
    ALIGN real low[LANES * LANES];
    ALIGN real offset[LANES];
    ALIGN real cut[LANES];
    ALIGN real top_high[LANES];
    ALIGN real top_low[LANES];
    ALIGN bits one[LANES];
    ALIGN real log1p[LANES];
    ALIGN double top[LANES]; /* these and argmax as in struct softmax_row */
    ALIGN double others[LANES];
    ALIGN double total[LANES];
    size_t argmax[LANES];
};

static INLINE size_t whole_steps(size_t n)
{
    return (n + STEP - 1) / STEP * STEP;
}

static INLINE size_t batch_rows(size_t n_classes)
{
    return min_size(LANES, BATCH_LOGITS / whole_steps(n_classes));
}

/* The larger of value and max; max where value is NaN. */
static INLINE real larger(real value, real max)
{
    return value > max ? value : max;
}

/* Copies n >= STEP values; lane_max[LANES] takes the largest, NaN left out, shared among the lanes. */
static NOINLINE void block_copy_max(const real *restrict x, size_t n, real *restrict out,
                                    real *restrict lane_max)
{
    const real least = -(real)INFINITY;
    real max[LANES];
    for (size_t j = 0; j < LANES; j++)
        max[j] = least;
    for (size_t i = 0; i < n; i += STEP) {
        const size_t first = min_size(i, n - STEP);
        for (size_t j = first; j < first + LANES; j++) {
            real a = x[j], b = x[j + LANES], c = x[j + 2 * LANES], d = x[j + 3 * LANES];
            real ab = larger(b, larger(a, least)), cd = larger(d, larger(c, least));
            max[j - first] = larger(ab, larger(cd, max[j - first]));
            out[j] = a, out[j + LANES] = b, out[j + 2 * LANES] = c, out[j + 3 * LANES] = d;
        }
    }
    for (size_t j = 0; j < LANES; j++)
        lane_max[j] = max[j];
}

/* A row as whole steps, padded with -inf. */
static INLINE void batch_load(const real *v, size_t n, real *e, real *max)
{
    real *last = e + whole_steps(n) - STEP;
    for (size_t j = 0; j < STEP; j++)
        last[j] = -(real)INFINITY;
    block_copy_max(v, n, e, max);
}

/* n values: the larger of neighbours, which are read before they are overwritten */
static NOINLINE void fold_max(real *v, size_t n)
{
    IN_PLACE
    for (size_t i = 0; i < n / LANES * LANES; i++)
        v[i] = v[2 * i] > v[2 * i + 1] ? v[2 * i] : v[2 * i + 1];
}

/* n sums of neighbours, as in lanes_value */
static NOINLINE void fold_sum(real *high, real *low, size_t n)
{
    IN_PLACE
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real error, lows = low[2 * i] + low[2 * i + 1];
        high[i] = two_sum(high[2 * i], high[2 * i + 1], &error);
        low[i] = lows + error;
    }
}

static NOINLINE void batch_scale(struct softmax_batch *b)
{
    for (size_t r = 0; r < LANES; r++) {
        struct scaling to = scale_to(b->max[r]);
        b->offset[r] = to.offset;
        b->cut[r] = to.cut;
        b->top_high[r] = to.top;
        b->top_low[r] = to.top_low;
        b->one[r] = to.one;
    }
}

static NOINLINE void batch_total(struct softmax_batch *b)
{
    ALIGN real ratio[LANES];
    for (size_t r = 0; r < LANES; r++) {
        b->top[r] = (double)b->top_high[r] + (double)b->top_low[r];
        b->others[r] = (double)b->high[r] + (double)b->low[r];
        b->total[r] = b->top[r] + b->others[r];
        ratio[r] = (real)(b->others[r] / b->top[r]);
    }
    for (size_t r = 0; r < LANES; r++)
        b->log1p[r] = log1p_nonneg(ratio[r]);
}

static struct softmax_row batch_row(const struct softmax_batch *b, size_t r, const real *v,
                                    size_t n_classes)
{
    struct softmax_row row = {.max = b->max[r], .argmax = b->argmax[r]};
    row.has_nan = row.max == (real)INFINITY && has_nan(v, n_classes);
    row.top = b->top[r];
    row.others = b->others[r];
    row.total = b->total[r];
    row.log1p = b->log1p[r];
    return row;
}

/* The softmax of n rows v.  While it computes, the memory of the rows `ahead` and of `results` is
 * asked for; they are as many, and may be v. */
static void batch_softmax(const real *const *v, const real *const *ahead,
                          const real *const *results, size_t n, size_t n_classes,
                          struct softmax_batch *b)
{
    const size_t size = whole_steps(n_classes);
    if (n < LANES) {
        memset(b->max, 0, sizeof b->max);
        memset(b->high, 0, sizeof b->high), memset(b->low, 0, sizeof b->low);
    }
    for (size_t r = 0; r < n; r++)
        batch_load(v[r], n_classes, b->e + r * size, b->max + r * LANES);
    for (size_t left = LANES * LANES / 2; left >= LANES; left /= 2)
        fold_max(b->max, left);
    batch_scale(b);
    for (size_t r = 0; r < n; r++) {
        real *e = b->e + r * size;
        b->argmax[r] = block_find(e, b->max[r], size);
        if (b->argmax[r] < n_classes)
            e[b->argmax[r]] = -(real)INFINITY;
    }
    for (size_t r = 0; r < n; r++) {
        const struct scaling to = {b->offset[r], b->cut[r], 0, 0, b->one[r]};
        struct lane_totals others = {{0}, {0}};
        real *e = b->e + r * size;
        block_exp(e, to, size, ahead[r], results[r], e, &others);
        memcpy(b->high + r * LANES, others.high, sizeof others.high);
        memcpy(b->low + r * LANES, others.low, sizeof others.low);
    }
    for (size_t left = LANES * LANES / 2; left >= LANES; left /= 2)
        fold_sum(b->high, b->low, left);
    batch_total(b);
}

#endif
