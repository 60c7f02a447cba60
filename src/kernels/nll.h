/* Negative log likelihood of log-probabilities: loss = -sum_c q_c x_c, grad_c = -q_c, with the q of
 * targets.h; a class with q_c = 0 counts for nothing, whatever x_c is. */
#ifndef CEK_NLL_H
#define CEK_NLL_H

#include "classes.h"

static NOINLINE void block_nll(const real *restrict x, const real *restrict q, size_t n,
                               real *restrict loss)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real product = 0 - q[i] * x[i];
        loss[i] = q[i] == 0 ? 0 : product;
    }
}

static real label_weight(const struct cek_cross_entropy_args *args, const struct group *g, size_t i)
{
    return g->weight[i] == 0 ? 0 : g->weight[i] * class_weight(args, (size_t)g->label[i]);
}

/* Labels: of the logits, which the gradient may overwrite, one a row is read. */
static void nll_labels(const struct cek_cross_entropy_args *args, size_t n, struct group *g)
{
    for (size_t i = 0; i < n; i++) {
        const real q = label_weight(args, g, i);
        real x;
        g->loss[i] = 0;
        if (q == 0)
            continue;
        row_read(&g->logits, i, (size_t)g->label[i], 1, &x);
        g->loss[i] = 0 - q * x;
    }
    if (!g->grad.wanted)
        return;
    rows_clear(&g->grad, n, args->n_classes);
    for (size_t i = 0; i < n; i++) {
        const real q = label_weight(args, g, i), grad = (real)(-args->grad_scale * q);
        if (q != 0)
            row_write(&g->grad, i, (size_t)g->label[i], 1, &grad);
    }
}

static real nll_mixed(const struct cek_cross_entropy_args *args, const struct group *g, size_t i)
{
    ALIGN real x[BLOCK] = {0}, q[BLOCK], loss[BLOCK], buffer[BLOCK];
    const size_t label = g->label[i] < 0 ? 0 : (size_t)g->label[i];
    const real share = smoothing_share(args, g, i);
    struct sum sum = {0, 0};
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin), whole = whole_vectors(n);
        row_coefficients(args, g, i, label, share, begin, n, q);
        row_read(&g->logits, i, begin, n, x);
        block_nll(x, q, whole, loss);
        sum_add(&sum, block_sum(loss, whole));
        if (g->grad.wanted) {
            block_scale(q, (real)-args->grad_scale, n, buffer);
            row_write(&g->grad, i, begin, n, buffer);
        }
    }
    return (real)sum_value(sum);
}

static void nll_rows(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                     size_t end, struct group *g, real *scratch)
{
    (void)begin, (void)scratch;
    for (size_t i = first; i < end; i++) {
        g->loss[i] = g->weight[i] == 0 ? 0 : nll_mixed(args, g, i);
        if (g->weight[i] == 0)
            row_clear(&g->grad, i, args->n_classes);
    }
}

static void nll_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                      struct group *g, real *scratch)
{
    if (is_one_hot(args))
        nll_labels(args, n, g);
    else if (args->n_classes <= NARROW)
        nll_rows(args, begin, 0, n, g, scratch);
    else
        group_by_row(args, begin, n, g, nll_rows, scratch);
}

static size_t nll_scratch_size(const struct cek_cross_entropy_args *args)
{
    return is_one_hot(args) ? 0 : turned_size(args) * sizeof(real);
}

static void nll(const struct cek_cross_entropy_args *args, size_t begin, size_t end, double *sums,
                void *scratch)
{
    class_chunks(args, nll_group, begin, end, sums, scratch);
}

#endif
