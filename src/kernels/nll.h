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

/* One row of a label: only the logit of the label is read. */
static real nll_one_hot(const struct cek_cross_entropy_args *args, const struct group *g, size_t i,
                        size_t label)
{
    const real q = g->weight[i] * class_weight(args, label);
    const real grad = q == 0 ? 0 : (real)(-args->grad_scale * q);
    real x;
    row_read(&g->logits, i, label, 1, &x);
    row_clear(&g->grad, i, args->n_classes);
    if (g->grad.wanted)
        row_write(&g->grad, i, label, 1, &grad);
    return q == 0 ? 0 : 0 - q * x;
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

static void nll_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                      struct group *g, real *scratch)
{
    (void)begin, (void)scratch;
    for (size_t i = 0; i < n; i++) {
        if (g->weight[i] == 0) {
            row_clear(&g->grad, i, args->n_classes);
            g->loss[i] = 0;
        } else {
            g->loss[i] = is_one_hot(args) ? nll_one_hot(args, g, i, (size_t)g->label[i])
                                          : nll_mixed(args, g, i);
        }
    }
}

static void nll(const struct cek_cross_entropy_args *args, size_t begin, size_t end, double *sums,
                void *scratch)
{
    class_chunks(args, nll_group, begin, end, sums, scratch);
}

#endif
