/* Binary cross-entropy from probabilities.
 *
 *     loss = -a log(p) - b log(1 - p)
 *     grad = b / (1 - p) - a / p
 *     hess = b / (1 - p)^2 + a / p^2
 *
 * with 0 inf = 0.  Clipping p and 1 - p to [eps, 1 - eps], or both logarithms from below by log_min,
 * makes a side constant: its derivatives are 0 there.
 */
#ifndef CEK_BCE_PROBS_H
#define CEK_BCE_PROBS_H

#include "binary.h"
#include "vmath.h"

struct side {
    real loss, grad, hess;
};

/* weight (-log v) with its derivatives in v; `constant`: clipped or bounded */
static INLINE struct side one_side(real weight, real v, real log_v, int constant)
{
    int none = weight == 0, flat = none | constant;
    real loss = -weight * log_v, slope = weight / v, curvature = slope / v;
    return (struct side){none ? 0 : loss, flat ? 0 : -slope, flat ? 0 : curvature};
}

/* The sum of both sides for p, q = 1 - p and their logarithms */
static INLINE struct side both_sides(real p, real q, real log_p, real log_q, real a, real b,
                                     real eps, real log_eps, real log1m_eps, real log_min)
{
    int low = p < eps, high = q < eps;
    log_p = low ? log_eps : high ? log1m_eps : log_p;
    log_q = high ? log_eps : low ? log1m_eps : log_q;
    int p_bounded = log_p < log_min, q_bounded = log_q < log_min;
    struct side pos = one_side(a, p, p_bounded ? log_min : log_p, low | high | p_bounded);
    struct side neg = one_side(b, q, q_bounded ? log_min : log_q, low | high | q_bounded);
    return (struct side){pos.loss + neg.loss, pos.grad - neg.grad, pos.hess + neg.hess};
}

static NOINLINE void probs_core(const struct cek_binary_args *args, const real *restrict p,
                                const real *restrict a, const real *restrict b, size_t n,
                                real *restrict loss, real *restrict grad, real *restrict hess)
{
    const real scale = (real)args->grad_scale, log_min = (real)args->log_min;
    const real eps = (real)args->eps, log_eps = log_unit(eps), log1m_eps = log1m_unit(eps);
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        struct side both = both_sides(p[i], 1 - p[i], log_unit(p[i]), log1m_unit(p[i]), a[i], b[i],
                                      eps, log_eps, log1m_eps, log_min);
        loss[i] = both.loss;
        grad[i] = scale * both.grad;
        hess[i] = scale * both.hess;
    }
}

/* The same with the complement given: the smaller of p and q knows both logarithms. */
static NOINLINE void pairs_core(const struct cek_binary_args *args, const real *restrict p,
                                const real *restrict q, const real *restrict a,
                                const real *restrict b, size_t n, real *restrict loss,
                                real *restrict grad, real *restrict hess)
{
    const real scale = (real)args->grad_scale, log_min = (real)args->log_min;
    const real eps = (real)args->eps, log_eps = log_unit(eps), log1m_eps = log1m_unit(eps);
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real p_i = p[i], q_i = q[i], smaller = p_i < q_i ? p_i : q_i;
        real log_smaller = log_unit(smaller), log_larger = log1m_unit(smaller);
        real log_p = p_i < q_i ? log_smaller : log_larger;
        real log_q = p_i < q_i ? log_larger : log_smaller;
        struct side both =
            both_sides(p_i, q_i, log_p, log_q, a[i], b[i], eps, log_eps, log1m_eps, log_min);
        loss[i] = both.loss;
        grad[i] = scale * both.grad;
        hess[i] = scale * both.hess;
    }
}

static void bce_probs_core(const struct cek_binary_args *args, const real *restrict p,
                           const real *restrict q, const real *restrict a, const real *restrict b,
                           size_t n, real *restrict loss, real *restrict grad, real *restrict hess,
                           real *restrict proba)
{
    (void)proba;
    if (q)
        pairs_core(args, p, q, a, b, n, loss, grad, hess);
    else
        probs_core(args, p, a, b, n, loss, grad, hess);
}

static void bce_probs(const struct cek_binary_args *args, size_t begin, size_t end, double *sums)
{
    binary_chunks(args, bce_probs_core, NULL, begin, end, sums);
}

#endif
