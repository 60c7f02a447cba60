/* Chunks of rows: the operations on many classes, by row or by tile. */
#ifndef CEK_CLASSES_H
#define CEK_CLASSES_H

#include "columns.h"
#include "cross_entropy.h"
#include "cross_entropy_narrow.h"
#include "softmax.h"

/* Rows a chunk: about CEK_CHUNK logits, in groups of at most BLOCK rows; whole groups where narrow. */
static size_t chunk_rows(size_t n_classes)
{
    size_t rows = CEK_CHUNK / (n_classes ? n_classes : 1);
    if (rows >= BLOCK)
        return n_classes > NARROW ? BLOCK : rows / BLOCK * BLOCK;
    return rows ? rows : 1;
}

/* Chunks of columns that are run together, in a group, so that few places of their tiles stay free. */
static size_t chunks_together(const struct cek_cross_entropy_args *args)
{
    const size_t rows = chunk_rows(args->n_classes), step = columns_step(args);
    size_t n = 1;
    if (args->n_classes <= NARROW || !is_columns(&args->logits))
        return 1;
    while ((n + 1) * rows <= BLOCK && 16 * (round_up(n * rows, step) - n * rows) > n * rows)
        n++;
    return n;
}

/* Finds rows [begin, begin + n) and their results' places. */
static void group_locate(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                         struct group *g)
{
    rows_locate(&args->logits, begin, n, &g->logits);
    rows_locate(&args->grad, begin, n, &g->grad);
    rows_locate(&args->hess, begin, n, &g->hess);
    rows_locate(&args->proba, begin, n, &g->proba);
    rows_locate(&args->log_proba, begin, n, &g->log_proba);
}

/* Writes what has one value a row. */
static void group_store(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                        const struct group *g)
{
    if (args->loss.data)
        array_write(&args->loss, begin, n, g->loss);
    if (args->lse.data)
        array_write(&args->lse, begin, n, g->lse);
    if (args->scale_grad.data)
        array_write(&args->scale_grad, begin, n, g->scale_grad);
    if (args->scale_hess.data)
        array_write(&args->scale_hess, begin, n, g->scale_hess);
}

/* Losses and results of n rows, which are located, with their targets. */
typedef void class_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                         struct group *g, real *scratch);

static void cross_entropy_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                                struct group *g, real *scratch)
{
    if (args->n_classes > NARROW) {
        if (is_columns(&args->logits)) {
            cross_entropy_columns(args, n, g, scratch);
            return;
        }
        cross_entropy_rows(args, begin, 0, n, g, scratch);
    } else {
        struct narrow tile;
        for (size_t i = 0; i < n; i += TILE) {
            narrow_load(args, g, i, min_size(TILE, n - i), &tile);
            narrow_store(args, g, i, min_size(TILE, n - i), &tile);
        }
    }
}

/* Chunks of columns, each with its own sum, in one group. */
static void chunks_of_columns(const struct cek_cross_entropy_args *args, class_group *group,
                              size_t begin, size_t end, double *sums, real *scratch)
{
    const size_t rows = chunk_rows(args->n_classes), first = begin * rows;
    const size_t n = min_size(end * rows, args->n_rows) - first;
    struct group g;
    group_locate(args, first, n, &g);
    targets_load(args, first, n, &g);
    group(args, first, n, &g, scratch);
    group_store(args, first, n, &g);
    for (size_t i = 0; i < n; i += rows, begin++) {
        ALIGN real loss[BLOCK] = {0};
        const size_t size = min_size(rows, n - i);
        memcpy(loss, g.loss + i, size * sizeof(real));
        sums[begin] = block_sum(loss, whole_vectors(size));
    }
}

static void chunk_of_rows(const struct cek_cross_entropy_args *args, class_group *group,
                          size_t chunk, double *sum, real *scratch)
{
    const size_t rows = chunk_rows(args->n_classes);
    const size_t stop = min_size((chunk + 1) * rows, args->n_rows);
    double group_sums[CEK_CHUNK / BLOCK];
    struct group g;
    size_t n_groups = 0;
    for (size_t i = chunk * rows; i < stop; i += BLOCK) {
        size_t n = min_size(BLOCK, stop - i);
        group_locate(args, i, n, &g);
        targets_load(args, i, n, &g);
        group(args, i, n, &g, scratch);
        group_store(args, i, n, &g);
        for (size_t j = n; j < whole_vectors(n); j++)
            g.loss[j] = 0;
        group_sums[n_groups++] = block_sum(g.loss, whole_vectors(n));
    }
    *sum = cek_tree_sum(group_sums, n_groups);
}

static void class_chunks(const struct cek_cross_entropy_args *args, class_group *group,
                         size_t begin, size_t end, double *sums, void *scratch)
{
    const size_t together = chunks_together(args);
    for (size_t i = begin; i < end; i += together)
        if (together == 1)
            chunk_of_rows(args, group, i, sums + i, scratch);
        else
            chunks_of_columns(args, group, i, min_size(end, i + together), sums, scratch);
}

static void cross_entropy(const struct cek_cross_entropy_args *args, size_t begin, size_t end,
                          double *sums, void *scratch)
{
    class_chunks(args, cross_entropy_group, begin, end, sums, scratch);
}

static void softmax_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                          struct group *g, real *scratch)
{
    group_locate(args, begin, n, g);
    g->allowed.wanted = g->target_proba.wanted = 0;
    if (args->n_classes > NARROW) {
        group_by_row(args, begin, n, g, softmax_rows, scratch);
    } else {
        struct softmax_tile tile;
        for (size_t i = 0; i < n; i += TILE)
            softmax_narrow(args, g, i, min_size(TILE, n - i), &tile);
    }
    if (args->lse.data)
        array_write(&args->lse, begin, n, g->lse);
}

static void softmax(const struct cek_cross_entropy_args *args, size_t begin, size_t end,
                    void *scratch)
{
    const size_t rows = chunk_rows(args->n_classes);
    const size_t stop = min_size(end * rows, args->n_rows);
    struct group g;
    for (size_t i = begin * rows; i < stop; i += BLOCK)
        softmax_group(args, i, min_size(BLOCK, stop - i), &g, scratch);
}

#endif
