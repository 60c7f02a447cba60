/* softmax, log_softmax and logsumexp: the outputs of row.h and tile.h without targets.
 *
 *     softmax_j = e_j / total        log_softmax_j = (x_j - m) - log1p(others / top)
 *
 * log_softmax_k is -log1p(others / top) alone, with its full relative accuracy.
 */
#ifndef CEK_SOFTMAX_H
#define CEK_SOFTMAX_H

#include "cross_entropy.h"
#include "tile.h"

static NOINLINE void block_log_proba(const real *x, real max, real log1p, size_t n, real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++)
        out[i] = (x[i] - max) - log1p;
}

static void row_log_proba(const struct group *g, const real *x, const struct softmax_row *row,
                          size_t i, size_t n_classes)
{
    ALIGN real buffer[SPAN];
    for (size_t begin = 0; begin < n_classes; begin += SPAN) {
        size_t n = min_size(SPAN, n_classes - begin), k = row->argmax - begin;
        real *to = row_target(&g->log_proba, i, begin, buffer);
        block_log_proba(x + begin, row->max, row->log1p, n, to);
        if (k < n)
            to[k] = -row->log1p;
        row_finish(&g->log_proba, i, begin, n, to, buffer);
    }
}

/* Writes the results of row i with logits x from its softmax; e NULL: no probabilities are wanted. */
static void softmax_store(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                          const real *x, const struct softmax_row *row, const real *e)
{
    const struct row_targets none = {0};
    const struct row_job job = {args, g, i, row, &none, e, 0};
    if (e)
        row_results(&job);
    if (g->log_proba.wanted)
        row_log_proba(g, x, row, i, args->n_classes);
    g->lse[i] = row_lse(row);
}

static void softmax_wide(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                         ptrdiff_t next, real *scratch)
{
    struct softmax_row row;
    real *e = row_memory(args, g, i, scratch);
    const real *x = row_logits_max(args, g, i, scratch, &row);
    row_exp(x, logits_ahead(g, i, next), args->n_classes, &row, e);
    softmax_store(args, g, i, x, &row, e);
}

/* Rows [first, first + n) of the group, a batch. */
static void softmax_of_batch(const struct cek_cross_entropy_args *args, struct group *g,
                             size_t first, size_t n, ptrdiff_t next, struct softmax_batch *b)
{
    ALIGN real memory[BATCH_LOGITS];
    const real *x[LANES];
    const size_t n_classes = args->n_classes, size = whole_steps(n_classes);
    batch_load_rows(args, g, first, n, next, memory, x, b);
    for (size_t r = 0; r < n; r++) {
        const struct softmax_row row = batch_row(b, r, x[r], n_classes);
        softmax_store(args, g, first + r, x[r], &row, last_result(args) ? b->e + r * size : NULL);
    }
}

/* Rows [first, end) of a group that begins at row `begin`. */
static void softmax_rows(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                         size_t end, struct group *g, real *scratch)
{
    struct softmax_batch batch;
    if (args->n_classes > BATCH_CLASSES)
        for (size_t i = first; i < end; i++)
            softmax_wide(args, g, i, next_row(args, begin + i, 1), scratch);
    else
        for (size_t i = first, n; i < end; i += n) {
            n = min_size(batch_rows(args->n_classes), end - i);
            softmax_of_batch(args, g, i, n, next_row(args, begin + i, n), &batch);
        }
}

static NOINLINE void tile_log_proba(struct softmax_tile *t, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real distance = t->x[c][r] - t->max[r];
            t->e[c][r] = (t->argmax[r] == (real)c ? 0 : distance) - t->log1p[r];
        }
}

static void softmax_narrow(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                           size_t n_rows, struct softmax_tile *t)
{
    const size_t n_classes = args->n_classes;
    ALIGN real lse[TILE];
    const struct rows *const arrays[] = {&g->logits, &g->proba, &g->log_proba};
    tile_load(&g->logits, first, n_rows, n_classes, t->x);
    tile_ahead(t, arrays, is_large(args) ? 3 : 0, first, n_classes);
    tile_softmax(t, n_classes);
    if (args->lse.data) {
        tile_lse(t, n_rows, n_classes, lse);
        memcpy(g->lse + first, lse, n_rows * sizeof(real));
    }
    if (g->proba.wanted) {
        tile_proba(t, n_classes);
        tile_store(t->e, n_rows, n_classes, &g->proba, first);
    }
    if (g->log_proba.wanted) {
        tile_log_proba(t, n_classes);
        tile_store(t->e, n_rows, n_classes, &g->log_proba, first);
    }
}

#endif
