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

/* Losses of a group of n rows. */
static void cross_entropy_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                                real *loss)
{
    struct targets t;
    targets_load(args, begin, n, &t);
    if (args->n_classes > NARROW) {
        for (size_t i = 0; i < n; i++)
            loss[i] = cross_entropy_row(args, begin + i, t.weight[i],
                                        t.label[i] < 0 ? 0 : (size_t)t.label[i]);
        return;
    }
    struct narrow tile;
    for (size_t i = 0; i < n; i += TILE) {
        size_t n_rows = min_size(TILE, n - i);
        cross_entropy_tile(args, begin + i, n_rows, t.label + i, t.weight + i, &tile);
        memcpy(loss + i, tile.loss, n_rows * sizeof(real));
    }
}

static void cross_entropy(const struct cek_cross_entropy_args *args, size_t begin, size_t end,
                          double *sums)
{
    const size_t rows = chunk_rows(args->n_classes);
    double group_sums[CEK_CHUNK / BLOCK];
    ALIGN real loss[BLOCK];
    for (size_t chunk = begin; chunk < end; chunk++) {
        size_t n_groups = 0, stop = min_size((chunk + 1) * rows, args->n_rows);
        for (size_t i = chunk * rows; i < stop; i += BLOCK) {
            size_t n = min_size(BLOCK, stop - i);
            cross_entropy_group(args, i, n, loss);
            block_store(args->loss, i, n, loss);
            for (size_t j = n; j < whole_vectors(n); j++)
                loss[j] = 0;
            group_sums[n_groups++] = block_sum(loss, whole_vectors(n));
        }
        sums[chunk] = cek_tree_sum(group_sums, n_groups);
    }
}

static void softmax(const struct cek_cross_entropy_args *args, size_t begin, size_t end)
{
    const size_t rows = chunk_rows(args->n_classes);
    const size_t stop = min_size(end * rows, args->n_rows);
    if (args->n_classes > NARROW) {
        for (size_t i = begin * rows; i < stop; i++)
            softmax_wide(args, i);
        return;
    }
    struct softmax_tile tile;
    for (size_t i = begin * rows; i < stop; i += TILE)
        softmax_narrow(args, i, min_size(TILE, stop - i), &tile);
}

#endif
