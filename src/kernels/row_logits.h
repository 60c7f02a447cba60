/* Where the logits of a row, its exponentials and its results are in memory. */
#ifndef CEK_ROW_LOGITS_H
#define CEK_ROW_LOGITS_H

#include "logits.h"
#include "row.h"
#include "targets.h"

/* v of classes [begin, begin + n) of row i. */
static void logits_load(const struct cek_cross_entropy_args *args, const struct group *g, size_t i,
                        size_t begin, size_t n, real *to)
{
    ALIGN real allowed[SPAN];
    row_read(&g->logits, i, begin, n, to);
    if (g->allowed.wanted)
        row_read(&g->allowed, i, begin, n, allowed);
    logits_transform(args, g->allowed.wanted ? allowed : NULL, n, to);
}

/* Row i of v where it lies in memory; else NULL. */
static const real *logits_direct(const struct cek_cross_entropy_args *args, const struct group *g,
                                 size_t i)
{
    return is_transformed(args) ? NULL : row_direct(&g->logits, i);
}

/* v of row i: where it lies in memory, or computed in `to`. */
static const real *row_logits(const struct cek_cross_entropy_args *args, const struct group *g,
                              size_t i, real *to)
{
    const real *direct = logits_direct(args, g, i);
    for (size_t begin = 0; !direct && begin < args->n_classes; begin += SPAN)
        logits_load(args, g, i, begin, min_size(SPAN, args->n_classes - begin), to + begin);
    return direct ? direct : to;
}

/* The same, with the largest taken of each span while it is in L1, for rows of a step or more.  Every
 * second of 1500 to 16,000 logits takes 1.15 to 1.3 times as long as adjacent ones (AMD Zen 4, 2026-11). */
static const real *row_logits_max(const struct cek_cross_entropy_args *args, const struct group *g,
                                  size_t i, real *to, struct softmax_row *row)
{
    const size_t n_classes = args->n_classes, whole = n_classes / STEP * STEP;
    struct row_peak peak = {-(real)INFINITY, 0};
    const real *direct = logits_direct(args, g, i);
    if (direct) {
        row_max(direct, n_classes, row);
        return direct;
    }
    for (size_t begin = 0; begin < n_classes; begin += SPAN) {
        logits_load(args, g, i, begin, min_size(SPAN, n_classes - begin), to + begin);
        if (begin < whole)
            peak_add(to, begin, min_size(SPAN, whole - begin), &peak);
    }
    peak_locate(to, n_classes, peak, row);
    return to;
}

/* The array that is made last, whose memory may hold e until then; NULL: none is wanted. */
static const struct cek_array *last_result(const struct cek_cross_entropy_args *args)
{
    return args->grad.data    ? &args->grad
           : args->proba.data ? &args->proba
           : args->hess.data  ? &args->hess
                              : NULL;
}

/* Bytes from a row of logits to the n-th after it, where that is real too; 0: there is none. */
static ptrdiff_t next_row(const struct cek_cross_entropy_args *args, size_t row, size_t n)
{
    const struct cek_array *logits = &args->logits;
    const int has_next = row + n < args->n_rows && logits->ndim > 1 && logits->type == REAL_TYPE;
    return has_next ? (ptrdiff_t)n * logits->strides[logits->ndim - 2] : 0;
}

/* Logits so many bytes after those of row i; NULL: none. */
static const real *logits_ahead(const struct group *g, size_t i, ptrdiff_t next)
{
    return next ? (const real *)(const void *)(row_at(&g->logits, i) + next) : NULL;
}

/* Where row i of that array lies, if it can hold e; else NULL. */
static real *row_result(const struct cek_cross_entropy_args *args, const struct group *g, size_t i)
{
    const struct cek_array *last = last_result(args);
    return row_direct(last == &args->grad    ? &g->grad
                      : last == &args->proba ? &g->proba
                                             : &g->hess,
                      i);
}

/* Memory for e of row i, which is not wanted where NULL. */
static real *row_memory(const struct cek_cross_entropy_args *args, const struct group *g, size_t i,
                        real *scratch)
{
    if (reads_twice(args))
        return scratch;
    if (!last_result(args))
        return NULL;
    real *direct = row_result(args, g, i);
    return direct ? direct : scratch;
}

#endif
