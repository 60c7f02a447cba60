/* Softmax cross-entropy of a row.  With the softmax of row.h, A = sum_c q_c and R = sum_{c != k} q_c,
 *
 *     loss   = sum_{c != k} q_c (m - v_c) + A log1p(others / top) + z omega lse^2
 *     grad_c = B p_c - q_c,      grad_k = R p_k - q_k (1 - p_k) + (B - A) p_k,   1 - p_k = others / total
 *     hess_c = B p_c (1 - p_c) + 2 z omega p_c^2,      B = A + 2 z omega lse
 *
 * with respect to v.  Every term of the loss is non-negative, and no gradient subtracts numbers near
 * 1, so both keep their relative accuracy where the prediction is confident and right.  An outer
 * function of the loss (outer.h) multiplies A, R and q by its slope, and gives the Hessian a term more.
 */
#ifndef CEK_CROSS_ENTROPY_H
#define CEK_CROSS_ENTROPY_H

#include "batch.h"
#include "row_logits.h"
#include "row_results.h"
#include "row_scale.h"
#include "row_targets.h"

/* Writes the results of row i, from its softmax; e NULL: it has none but the loss and lse. */
static void row_store(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                      const struct softmax_row *row, struct row_targets *t, const real *e)
{
    const double lse = row_lse(row);
    double loss =
        args->outer ? outer_targets(args, t->v_label, row, t) : t->distance + t->all * row->log1p;
    if (args->z_loss != 0) {
        t->square = 2 * args->z_loss * row_weight(args, g, i);
        t->pull = t->square == 0 ? 0 : t->square * lse;
        t->live |= t->square != 0;
        loss += t->square == 0 ? 0 : t->pull * lse / 2;
    }
    const struct row_job job = {args, g, i, row, t, e, e ? e[t->label] / row->total : 0};
    if (args->scale_grad.data)
        row_scale_grad(&job, g->scale_grad + i, g->scale_hess + i);
    if (e)
        row_results(&job);
    g->lse[i] = (real)lse;
    g->loss[i] = t->live ? (real)loss : 0;
    if (!t->live) {
        row_clear(&g->hess, i, args->n_classes);
        row_clear(&g->grad, i, args->n_classes);
    }
}

/* A row of more than BATCH_CLASSES; `next`: bytes to the row after it. */
static void long_row(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                     ptrdiff_t next, real *scratch)
{
    struct softmax_row row;
    real *e = row_memory(args, g, i, scratch);
    const real *v = row_logits_max(args, g, i, scratch, &row);
    struct row_targets t;
    targets_sum(args, g, v, &row, i, &t);
    row_exp(v, logits_ahead(g, i, next), args->n_classes, &row, e);
    row_store(args, g, i, &row, &t, e);
}

/* Labels and weights alone? */
static INLINE int has_labels_alone(const struct cek_cross_entropy_args *args)
{
    return is_one_hot(args) && args->outer == CEK_OUTER_NONE && args->z_loss == 0 &&
           !is_transformed(args) && !args->scale_grad.data;
}

/* Without results but the loss, lse and gradient: all that most calls want. */
static INLINE int is_simple(const struct cek_cross_entropy_args *args)
{
    return has_labels_alone(args) && !args->hess.data && !args->proba.data;
}

/* One number a row each: what it takes to make the results of simple rows of what they get from it. */
struct batch_labels {
    ALIGN real q[LANES];
    ALIGN real v[LANES];
    ALIGN real e[LANES];
    ALIGN real is_top[LANES];
    ALIGN real loss[LANES];
    ALIGN real factor[LANES]; /* of e in the gradient      */
    ALIGN real at_label[LANES];
    ALIGN real at_top[LANES];
};

/* As one_hot_targets, row_store and row_grad, for all rows at once */
static NOINLINE void batch_results(const struct softmax_batch *b, double scale,
                                   struct batch_labels *l)
{
    for (size_t r = 0; r < LANES; r++) {
        const double q = l->q[r], inverse = b->total[r], p_label = l->e[r] / inverse;
        const double gap = (double)b->max[r] - (double)l->v[r];
        const double p = b->top[r] / inverse, others = b->others[r] / inverse;
        const double rest = l->is_top[r] != 0 ? 0 : q, at_argmax = l->is_top[r] != 0 ? q : 0;
        const double distance = rest == 0 ? 0 : rest * gap;
        l->loss[r] = (real)(distance + q * (double)b->log1p[r]);
        l->factor[r] = (real)(scale * q / inverse);
        l->at_label[r] = (real)(scale * (q * (p_label - 1) + 0 * p_label));
        l->at_top[r] = (real)(scale * (rest * p - at_argmax * others + 0 * p));
    }
}

/* The results of simple rows, [first, first + n) of the group. */
static void batch_store(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                        size_t n, const real *const *v, const struct softmax_batch *b)
{
    ALIGN real buffer[BATCH_CLASSES];
    struct batch_labels l = {.q = {0}};
    const size_t n_classes = args->n_classes, size = whole_steps(n_classes);
    size_t label[LANES];
    for (size_t r = 0; r < n; r++) {
        const size_t i = first + r;
        label[r] = g->label[i] < 0 ? 0 : (size_t)g->label[i];
        l.q[r] = g->weight[i] * class_weight(args, label[r]);
        l.v[r] = v[r][label[r]];
        l.e[r] = b->e[r * size + label[r]];
        l.is_top[r] = label[r] == b->argmax[r];
    }
    batch_results(b, args->grad_scale, &l);
    for (size_t r = 0; r < n; r++) {
        const size_t i = first + r;
        g->loss[i] = l.q[r] == 0 ? 0 : l.loss[r];
        if (args->lse.data) {
            const struct softmax_row row = batch_row(b, r, v[r], n_classes);
            g->lse[i] = row_lse(&row);
        }
        if (!g->grad.wanted)
            continue;
        if (l.q[r] == 0) {
            row_clear(&g->grad, i, n_classes);
            continue;
        }
        real *grad = row_target(&g->grad, i, 0, buffer);
        block_scale(b->e + r * size, l.factor[r], n_classes, grad);
        grad[label[r]] = l.at_label[r];
        if (b->argmax[r] < n_classes)
            grad[b->argmax[r]] = l.at_top[r];
        row_finish(&g->grad, i, 0, n_classes, grad, buffer);
    }
}

/* v and the softmax of rows [first, first + n) of the group, a batch of at most BATCH_CLASSES; `next`:
 * bytes to the batch after it. */
static void batch_load_rows(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t first, size_t n, ptrdiff_t next, real *memory, const real **v,
                            struct softmax_batch *b)
{
    const real *ahead[LANES], *results[LANES];
    for (size_t r = 0; r < n; r++) {
        const real *result = last_result(args) ? row_result(args, g, first + r) : NULL;
        v[r] = row_logits(args, g, first + r, memory + r * args->n_classes);
        ahead[r] = next ? logits_ahead(g, first + r, next) : v[r];
        results[r] = result ? result : v[r];
    }
    batch_softmax(v, ahead, results, n, args->n_classes, b);
}

/* The results of a batch of rows. */
static void row_batch(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                      size_t n, ptrdiff_t next, struct softmax_batch *b)
{
    ALIGN real memory[BATCH_LOGITS];
    const real *v[LANES];
    const size_t n_classes = args->n_classes;
    const int has_results = last_result(args) || args->scale_grad.data;
    batch_load_rows(args, g, first, n, next, memory, v, b);
    if (is_simple(args)) {
        batch_store(args, g, first, n, v, b);
        return;
    }
    for (size_t r = 0; r < n; r++) {
        const struct softmax_row row = batch_row(b, r, v[r], n_classes);
        struct row_targets t;
        targets_sum(args, g, v[r], &row, first + r, &t);
        row_store(args, g, first + r, &row, &t,
                  has_results ? b->e + r * whole_steps(n_classes) : NULL);
    }
}

/* Rows [first, end) of a group that begins at row `begin`. */
static void cross_entropy_rows(const struct cek_cross_entropy_args *args, size_t begin,
                               size_t first, size_t end, struct group *g, real *scratch)
{
    struct softmax_batch batch;
    if (args->n_classes > BATCH_CLASSES)
        for (size_t i = first; i < end; i++)
            long_row(args, g, i, next_row(args, begin + i, 1), scratch);
    else
        for (size_t i = first, n; i < end; i += n) {
            n = min_size(batch_rows(args->n_classes), end - i);
            row_batch(args, g, i, n, next_row(args, begin + i, n), &batch);
        }
}

#endif
