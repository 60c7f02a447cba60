/* Binary cross-entropy from logits, and the three functions of one logit that it is made of.
 *
 *     loss = a softplus(-x) + b softplus(x)      a = weight pos_weight y',  b = weight (1 - y')
 *     grad = b sigma(x) - a sigma(-x)
 *     hess = (a + b) sigma(x) sigma(-x)
 *
 * With e = exp(-|x|) in [0, 1] every piece is a sum or product of non-negative terms, so that tiny
 * losses and gradients keep their full relative accuracy:
 *
 *     softplus(|x|) = |x| + log1p(e)     softplus(-|x|) = log1p(e)
 *     sigma(|x|)    = 1 / (1 + e)        sigma(-|x|)    = e / (1 + e)
 *
 * Every option is in (a, b); the hot loop knows none.
 */
#ifndef CEK_BCE_H
#define CEK_BCE_H

#include "binary.h"
#include "vmath.h"

static NOINLINE void bce_core(const struct cek_binary_args *args, const real *restrict x,
                              const real *restrict a, const real *restrict b, size_t n,
                              real *restrict loss, real *restrict grad, real *restrict hess,
                              real *restrict proba)
{
    const real scale = (real)args->grad_scale;
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real size = abs_(x[i]), e = exp_nonpos(-size);
        real far = 1 / (1 + e), near = e * far; /* sigma(|x|), sigma(-|x|) */
        int positive = x[i] > 0;
        real sigma = positive ? far : near, sigma_neg = positive ? near : far;
        real wrong = positive ? b[i] : a[i], weight = a[i] + b[i];
        real linear = wrong == 0 ? 0 : wrong * size; /* 0 even where |x| is inf */
        loss[i] = fma_(weight, log1p_unit(e), linear);
        grad[i] = scale * (b[i] * sigma - a[i] * sigma_neg);
        hess[i] = scale * (weight * fma_(-near, near, near)); /* near (1 - near) */
        proba[i] = sigma;
    }
}

static void bce_logits(const struct cek_binary_args *args, size_t begin, size_t end, double *sums)
{
    binary_chunks(args, bce_core, begin, end, sums);
}

#endif
