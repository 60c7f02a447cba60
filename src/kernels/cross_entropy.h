/* Softmax cross-entropy.  With the softmax of row.h, A = sum_c q_c and R = sum_{c != k} q_c,
 *
 *     loss   = sum_{c != k} q_c (m - x_c) + A log1p(others / top)
 *     grad_c = A p_c - q_c,      grad_k = R p_k - q_k (1 - p_k),   1 - p_k = others / total
 *     hess_c = A p_c (1 - p_c)
 *
 * Every term of the loss is non-negative, and no gradient subtracts numbers near 1, so both keep
 * their relative accuracy where the prediction is confident and right.
 */
#ifndef CEK_CROSS_ENTROPY_H
#define CEK_CROSS_ENTROPY_H

#include "row.h"
#include "targets.h"
#include "tile.h"

/* q_c (m - x_c), 0 where q_c = 0 even if x_c = -inf */
static NOINLINE void block_distance(const real *restrict x, const real *restrict q, real max,
                                    size_t n, real *restrict d)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real product = q[i] * (max - x[i]);
        d[i] = q[i] == 0 ? 0 : product;
    }
}

static NOINLINE void block_grad(const real *e, const real *restrict q, real factor, real scale,
                                size_t n, real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++)
        out[i] = fma_(factor, e[i], -(scale * q[i]));
}

static NOINLINE void block_hess(const real *e, real inverse, real factor, size_t n, real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++) {
        real p = inverse * e[i];
        out[i] = factor * fma_(-p, p, p);
    }
}

/* Does any of n q_c differ from 0? */
static NOINLINE int block_any(const real *restrict q, size_t n)
{
    real any = 0;
    for (size_t i = 0; i < n / LANES * LANES; i++)
        any = q[i] == 0 ? any : 1;
    return any != 0;
}

/* What a row's q adds up to: A, R, q_k and sum_{c != k} q_c (m - x_c); live: is any q_c not 0? */
struct row_targets {
    double all, rest, at_argmax, distance;
    int live;
};

static struct row_targets one_hot_targets(const struct cek_cross_entropy_args *args, const real *x,
                                          const struct softmax_row *row, real weight, size_t label)
{
    const real q = weight * class_weight(args, label);
    if (label == row->argmax)
        return (struct row_targets){q, 0, q, 0, q != 0};
    double distance = q == 0 ? 0 : (double)q * ((double)row->max - (double)x[label]);
    return (struct row_targets){q, q, 0, distance, q != 0};
}

static struct row_targets mixed_targets(const struct cek_cross_entropy_args *args, const real *x,
                                        const struct softmax_row *row, size_t i, real weight,
                                        size_t label)
{
    ALIGN real in[BLOCK], q[BLOCK], d[BLOCK];
    struct row_targets t = {0, 0, 0, 0, 0};
    struct sum rest = {0, 0}, distance = {0, 0};
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin), whole = whole_vectors(n);
        row_coefficients(args, i, weight, label, begin, n, q);
        t.live |= block_any(q, whole);
        if (row->argmax - begin < n) {
            t.at_argmax = q[row->argmax - begin];
            q[row->argmax - begin] = 0;
        }
        block_distance(row_load(x + begin, n, in), q, row->max, whole, d);
        sum_add(&rest, block_sum(q, whole));
        sum_add(&distance, block_sum(d, whole));
    }
    t.rest = sum_value(rest);
    t.distance = sum_value(distance);
    t.all = t.rest + t.at_argmax;
    return t;
}

/* scale (A p_c - q_c) in place of e, for q that is one-hot. */
static void one_hot_grad(const struct row_targets *t, const struct softmax_row *row, double scale,
                         size_t label, size_t n_classes, real *grad)
{
    const double p_label = grad[label] / row->total;
    block_scale(grad, (real)(scale * t->all / row->total), n_classes, grad);
    grad[label] = (real)(scale * t->all * (p_label - 1));
}

/* The same for any q. */
static void mixed_grad(const struct cek_cross_entropy_args *args, const struct row_targets *t,
                       const struct softmax_row *row, size_t i, real weight, size_t label,
                       real *grad)
{
    ALIGN real q[BLOCK];
    const real factor = (real)(args->grad_scale * t->all / row->total);
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin);
        row_coefficients(args, i, weight, label, begin, n, q);
        block_grad(grad + begin, q, factor, (real)args->grad_scale, n, grad + begin);
    }
}

static INLINE real *row_of(void *array, size_t i, size_t n_classes)
{
    return array ? (real *)array + i * n_classes : NULL;
}

static void clear_row(real *values, size_t n_classes)
{
    if (values)
        memset(values, 0, n_classes * sizeof(real));
}

/* One row: writes what is wanted, returns its loss. */
static real cross_entropy_row(const struct cek_cross_entropy_args *args, size_t i, real weight,
                              size_t label)
{
    const size_t n_classes = args->n_classes;
    const real *x = (const real *)args->logits + i * n_classes;
    real *hess = row_of(args->hess, i, n_classes), *proba = row_of(args->proba, i, n_classes);
    real *grad = row_of(args->grad, i, n_classes);
    /* hess, proba and grad are made from e in this order, and the last of them in its place. */
    real *e = grad ? grad : proba ? proba : hess;
    struct softmax_row row;
    row_max(x, n_classes, &row);
    struct row_targets t = is_one_hot(args) ? one_hot_targets(args, x, &row, weight, label)
                                            : mixed_targets(args, x, &row, i, weight, label);
    row_exp(x, i + 1 < args->n_rows, n_classes, &row, e);

    const size_t k = row.argmax;
    const double scale = args->grad_scale, p_k = row.top / row.total;
    const double rest_k = row.others / row.total; /* 1 - p_k */
    const real inverse = (real)(1 / row.total);
    if (hess) {
        block_hess(e, inverse, (real)(scale * t.all), n_classes, hess);
        if (k < n_classes)
            hess[k] = (real)(scale * t.all * p_k * rest_k);
    }
    if (proba) {
        block_scale(e, inverse, n_classes, proba);
        if (k < n_classes)
            proba[k] = (real)p_k;
    }
    if (grad) {
        if (is_one_hot(args))
            one_hot_grad(&t, &row, scale, label, n_classes, grad);
        else
            mixed_grad(args, &t, &row, i, weight, label, grad);
        if (k < n_classes)
            grad[k] = (real)(scale * (t.rest * p_k - t.at_argmax * rest_k));
    }
    if (args->lse)
        ((real *)args->lse)[i] = row_lse(&row);
    if (t.live)
        return (real)(t.distance + t.all * row.log1p);
    clear_row(hess, n_classes);
    clear_row(grad, n_classes);
    return 0;
}

#endif
