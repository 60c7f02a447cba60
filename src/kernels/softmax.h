/* softmax, log_softmax and logsumexp: the outputs of row.h and tile.h without targets.
 *
 *     softmax_j = e_j / total        log_softmax_j = (x_j - m) - log1p(others / top)
 *
 * log_softmax_k is -log1p(others / top) alone, with its full relative accuracy.
 */
#ifndef CEK_SOFTMAX_H
#define CEK_SOFTMAX_H

#include "row.h"
#include "tile.h"

static NOINLINE void block_log_proba(const real *restrict x, real max, real log1p, size_t n,
                                     real *restrict out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (x[i] - max) - log1p;
}

static void softmax_wide(const struct cek_cross_entropy_args *args, size_t i)
{
    const size_t n_classes = args->n_classes;
    const real *x = (const real *)args->logits + i * n_classes;
    real *proba = args->proba ? (real *)args->proba + i * n_classes : NULL;
    struct softmax_row row;
    row_max(x, n_classes, &row);
    row_exp(x, i + 1 < args->n_rows, n_classes, &row, proba);
    if (proba) {
        block_scale(proba, (real)(1 / row.total), n_classes, proba);
        if (row.argmax < n_classes)
            proba[row.argmax] = (real)(row.top / row.total);
    }
    if (args->log_proba) {
        real *log_proba = (real *)args->log_proba + i * n_classes;
        block_log_proba(x, row.max, row.log1p, n_classes, log_proba);
        if (row.argmax < n_classes)
            log_proba[row.argmax] = -row.log1p;
    }
    if (args->lse)
        ((real *)args->lse)[i] = row_lse(&row);
}

static NOINLINE void tile_log_proba(struct softmax_tile *t, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real distance = t->x[c][r] - t->max[r];
            t->e[c][r] = (t->argmax[r] == (real)c ? 0 : distance) - t->log1p[r];
        }
}

static void softmax_narrow(const struct cek_cross_entropy_args *args, size_t begin, size_t n_rows,
                           struct softmax_tile *t)
{
    const size_t n_classes = args->n_classes, at = begin * n_classes;
    tile_load((const real *)args->logits + at, n_rows, n_classes, t->x);
    tile_softmax(t, n_classes);
    if (args->lse)
        tile_lse(t, n_rows, n_classes, (real *)args->lse + begin);
    if (args->proba) {
        tile_proba(t, n_classes);
        tile_store(t->e, n_rows, n_classes, (real *)args->proba + at);
    }
    if (args->log_proba) {
        tile_log_proba(t, n_classes);
        tile_store(t->e, n_rows, n_classes, (real *)args->log_proba + at);
    }
}

#endif
