/* Whatever needs the softmax of rows besides its results: each row's is handed on with its exponentials. */
#ifndef CEK_EACH_ROW_H
#define CEK_EACH_ROW_H

#include "cross_entropy.h"

/* Takes row i of a group, v, with its softmax and e, 0 in place of the largest.  e is free to be
 * overwritten, and so is `spare`, as long as a row, where v may be. */
typedef void row_function(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                          const real *v, const struct softmax_row *row, real *e, real *spare,
                          void *context);

/* Elements of scratch that each_row needs. */
static size_t each_row_size(const struct cek_cross_entropy_args *args)
{
    return args->n_classes > BATCH_CLASSES ? 2 * args->n_classes : 0;
}

static void each_of_batch(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                          size_t n, ptrdiff_t next, row_function *take, void *context,
                          struct softmax_batch *b)
{
    ALIGN real memory[BATCH_LOGITS];
    const real *v[LANES];
    const size_t n_classes = args->n_classes, size = whole_steps(n_classes);
    batch_load_rows(args, g, first, n, next, memory, v, b);
    for (size_t r = 0; r < n; r++) {
        const struct softmax_row row = batch_row(b, r, v[r], n_classes);
        take(args, g, first + r, v[r], &row, b->e + r * size, memory + r * n_classes, context);
    }
}

/* Rows [first, end) of a group that begins at row `begin`. */
static void each_row(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                     size_t end, struct group *g, row_function *take, void *context, real *scratch)
{
    const size_t n_classes = args->n_classes;
    struct softmax_batch batch;
    struct softmax_row row;
    for (size_t i = first; n_classes > BATCH_CLASSES && i < end; i++) {
        real *e = scratch, *spare = scratch + n_classes;
        const real *v = row_logits_max(args, g, i, spare, &row);
        row_exp(v, logits_ahead(g, i, next_row(args, begin + i, 1)), n_classes, &row, e);
        take(args, g, i, v, &row, e, spare, context);
    }
    for (size_t i = first, n; n_classes <= BATCH_CLASSES && i < end; i += n) {
        n = min_size(batch_rows(n_classes), end - i);
        each_of_batch(args, g, i, n, next_row(args, begin + i, n), take, context, &batch);
    }
}

#endif
