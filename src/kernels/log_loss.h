/* Log loss of the probabilities that rows give to their labels: one logarithm a row, whatever the
 * number of classes, in the pass that checks them.
 *
 *     loss = -weight log(min(max(p, eps), 1 - eps))
 */
#ifndef CEK_LOG_LOSS_H
#define CEK_LOG_LOSS_H

#include "binary.h"

/* From this many columns on, adjacent elements of a row are summed as vectors. */
enum { WIDE = 32 };

struct label_proba {
    ALIGN real p[BLOCK]; /* what each row gives to its label, 0 where that is no class */
    ALIGN real column[BLOCK];
    ALIGN real sum[BLOCK];
};

/* Are all of n values in [low, high]?  NaN is not. */
static NOINLINE int all_between(const real *restrict v, real low, real high, size_t n)
{
    real outside = 0;
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        outside = v[i] >= low ? outside : 1;
        outside = v[i] <= high ? outside : 1;
    }
    return outside == 0;
}

/* The only column is the probability of label 1. */
static NOINLINE void choose_side(const real *restrict v, const real *restrict label, size_t n,
                                 real *restrict p)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        p[i] = label[i] != 0 ? v[i] : 1 - v[i];
}

static NOINLINE void add_column(const real *restrict v, const real *restrict label, real c,
                                size_t n, real *restrict p, real *restrict sum)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        sum[i] += v[i];
        p[i] = label[i] == c ? v[i] : p[i];
    }
}

/* Rows [begin, begin + n), column by column; returns whether all values are in [0, 1]. */
static int load_columns(const struct cek_log_loss_args *args, size_t begin, size_t n,
                        const real *label, struct label_proba *to)
{
    const size_t whole = whole_vectors(n);
    struct cek_array column = args->proba;
    int inside = 1;
    memset(to->sum, 0, sizeof to->sum);
    memset(to->p, 0, sizeof to->p);
    for (size_t c = 0; c < args->n_columns; c++) {
        const real *v = block_load(&column, begin, n, 0, to->column);
        inside &= all_between(v, 0, 1, whole);
        add_column(v, label, (real)c, whole, to->p, to->sum);
        column.data = (char *)column.data + args->class_stride;
    }
    return inside;
}

/* The same row by row, for long rows of adjacent elements. */
static int load_rows(const struct cek_log_loss_args *args, size_t begin, size_t n,
                     const real *label, struct label_proba *to)
{
    struct cek_array row = args->proba;
    int inside = 1;
    memset(to->p, 0, sizeof to->p);
    row.strides = &args->class_stride;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        row.data = (char *)args->proba.data + (ptrdiff_t)(begin + i) * run_stride(&args->proba);
        for (size_t c = 0; c < args->n_columns; c += BLOCK) {
            size_t size = min_size(BLOCK, args->n_columns - c), whole = whole_vectors(size);
            const real *v = block_load(&row, c, size, 0, to->column);
            inside &= all_between(v, 0, 1, whole);
            sum += block_sum(v, whole);
        }
        to->sum[i] = (real)sum;
        if (label[i] >= 0 && label[i] < (real)args->n_columns)
            array_read(&row, (size_t)label[i], 1, to->p + i);
    }
    return inside;
}

/* Fills to->p for n rows; returns whether labels, values and sums are what they should be. */
static int load_label_proba(const struct cek_log_loss_args *args, size_t begin, size_t n,
                            const real *label, struct label_proba *to)
{
    const int adjacent = args->class_stride > 0 && args->class_stride <= (ptrdiff_t)sizeof(double);
    const size_t whole = whole_vectors(n), n_columns = args->n_columns;
    const real last = n_columns == 1 ? 1 : (real)(n_columns - 1);
    const real tolerance = (real)args->tolerance;
    int good = all_between(label, 0, last, whole);
    if (n_columns == 1) {
        const real *v = block_load(&args->proba, begin, n, 0, to->column);
        choose_side(v, label, whole, to->p);
        return good & all_between(v, 0, 1, whole);
    }
    good &= n_columns >= WIDE && adjacent ? load_rows(args, begin, n, label, to)
                                          : load_columns(args, begin, n, label, to);
    for (size_t i = n; i < whole; i++)
        to->sum[i] = 1;
    return good & all_between(to->sum, 1 - tolerance, 1 + tolerance, whole);
}

static NOINLINE void log_loss_core(const real *restrict p, const real *restrict weight, real eps,
                                   size_t n, real *restrict loss)
{
    const real high = 1 - eps;
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real clipped = p[i] < eps ? eps : p[i] > high ? high : p[i];
        real nll = -log_unit(clipped);
        loss[i] = weight[i] == 0 ? 0 : weight[i] * nll;
    }
}

/* One block: returns the sum of its losses, NaN where something is wrong. */
static double log_loss_block(const struct cek_log_loss_args *args, size_t begin, size_t n)
{
    struct label_proba proba;
    ALIGN real y[BLOCK], w[BLOCK], loss[BLOCK];
    const size_t whole = whole_vectors(n);
    const real *label = block_load(&args->labels, begin, n, 0, y);
    const real *weight = block_load_or_one(&args->sample_weight, begin, n, w);
    if (!load_label_proba(args, begin, n, label, &proba))
        return NAN;
    log_loss_core(proba.p, weight, (real)args->eps, whole, loss);
    for (size_t i = n; i < whole; i++)
        loss[i] = 0;
    return block_sum(loss, whole);
}

static void log_loss(const struct cek_log_loss_args *args, size_t begin, size_t end, double *sums)
{
    double block_sums[CEK_CHUNK / BLOCK];
    for (size_t chunk = begin; chunk < end; chunk++) {
        size_t n_blocks = 0, stop = min_size((chunk + 1) * CEK_CHUNK, args->n_rows);
        for (size_t i = chunk * CEK_CHUNK; i < stop; i += BLOCK)
            block_sums[n_blocks++] = log_loss_block(args, i, min_size(BLOCK, stop - i));
        sums[chunk] = cek_tree_sum(block_sums, n_blocks);
    }
}

#endif
