/* Chunks of rows: the operations on many classes, by row or by tile. */
#ifndef CEK_CLASSES_H
#define CEK_CLASSES_H

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

static void columns_load(const struct rows *rows, size_t first, size_t n, size_t n_classes,
                         real *restrict to)
{
    const ptrdiff_t step = rows->stride / (ptrdiff_t)sizeof(real);
    const real *restrict from = (const real *)(const void *)rows->at[first];
    for (size_t c = 0; c < n_classes; c++, from += step)
        for (size_t r = 0; r < n; r++)
            to[r * n_classes + c] = from[r];
}

static void columns_store(const real *restrict from, size_t n, size_t n_classes,
                          const struct rows *rows, size_t first)
{
    const ptrdiff_t step = rows->stride / (ptrdiff_t)sizeof(real);
    real *restrict to = (real *)(void *)rows->at[first];
    for (size_t c = 0; c < n_classes; c++, to += step)
        for (size_t r = 0; r < n; r++)
            to[r] = from[r * n_classes + c];
}

/* Makes `rows` those of `memory`, [n, n_classes]; returns what they were. */
static struct rows rows_move(struct rows *rows, size_t first, size_t n, size_t n_classes,
                             real *memory)
{
    const struct rows old = *rows;
    rows->type = REAL_TYPE;
    rows->stride = sizeof(real);
    for (size_t r = 0; r < n; r++)
        rows->at[first + r] = (char *)(memory + r * n_classes);
    return old;
}

/* Is row i next to the row before it? */
static int follows(const struct rows *rows, size_t i)
{
    return rows->at[i] - rows->at[i - 1] == sizeof(real);
}

/* A group of rows that are columns of memory: transposed, computed in place, and transposed back.  With
 * 1000 classes that takes 3.3 times as long as adjacent rows (2.2 in double); row by row where they are,
 * 7 times (6 in double; AMD Zen 4, 2026-11). */
static void cross_entropy_columns(const struct cek_cross_entropy_args *args, size_t n,
                                  struct group *g, real *scratch)
{
    const size_t step = columns_step(args), n_classes = args->n_classes;
    const int in_place = is_columns(&args->grad) && !reads_twice(args);
    real *row_scratch = scratch + step * n_classes;
    for (size_t first = 0, size; first < n; first += size) {
        for (size = 1; size < min_size(step, n - first); size++)
            if (!follows(&g->logits, first + size) ||
                (in_place && !follows(&g->grad, first + size)))
                break;
        columns_load(&g->logits, first, size, n_classes, scratch);
        const struct rows logits = rows_move(&g->logits, first, size, n_classes, scratch);
        const struct rows grad = g->grad;
        if (in_place)
            rows_move(&g->grad, first, size, n_classes, scratch);
        cross_entropy_rows(args, args->n_rows, first, first + size, g, row_scratch);
        g->logits = logits;
        g->grad = grad;
        if (in_place)
            columns_store(scratch, size, n_classes, &grad, first);
    }
}

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

static void class_chunks(const struct cek_cross_entropy_args *args, class_group *group,
                         size_t begin, size_t end, double *sums, void *scratch)
{
    const size_t rows = chunk_rows(args->n_classes);
    double group_sums[CEK_CHUNK / BLOCK];
    struct group g;
    for (size_t chunk = begin; chunk < end; chunk++) {
        size_t n_groups = 0, stop = min_size((chunk + 1) * rows, args->n_rows);
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
        sums[chunk] = cek_tree_sum(group_sums, n_groups);
    }
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
    g->allowed.wanted = 0;
    if (args->n_classes > NARROW) {
        for (size_t i = 0; i < n; i++)
            softmax_wide(args, g, i, next_row(args, begin + i, 1), scratch);
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
