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

static NOINLINE void bce_probs_core(const struct cek_binary_args *args, const real *restrict p,
                                    const real *restrict a, const real *restrict b, size_t n,
                                    real *restrict loss, real *restrict grad, real *restrict hess,
                                    real *restrict proba)
{
    const real scale = (real)args->grad_scale, log_min = (real)args->log_min;
    const real eps = (real)args->eps, log_low = log_unit(eps), log_high = log1m_unit(eps);
    (void)proba;
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real q = 1 - p[i];
        int low = p[i] < eps, high = q < eps;
        real log_p = log_unit(p[i]), log_q = log1m_unit(p[i]);
        log_p = low ? log_low : high ? log_high : log_p;
        log_q = high ? log_low : low ? log_high : log_q;
        int p_bounded = log_p < log_min, q_bounded = log_q < log_min;
        struct side pos = one_side(a[i], p[i], p_bounded ? log_min : log_p, low | high | p_bounded);
        struct side neg = one_side(b[i], q, q_bounded ? log_min : log_q, low | high | q_bounded);
        loss[i] = pos.loss + neg.loss;
        grad[i] = scale * (pos.grad - neg.grad);
        hess[i] = scale * (pos.hess + neg.hess);
    }
}

static void bce_probs(const struct cek_binary_args *args, size_t begin, size_t end, double *sums)
{
    binary_chunks(args, bce_probs_core, NULL, begin, end, sums);
}

#endif
