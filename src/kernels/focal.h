/* Focal loss of one logit: cross-entropy whose sides fade out where the prediction is right.
 *
 *     loss = a f(x) + b f(-x)      f(u) = sigma(-u)^gamma softplus(-u)
 *
 * with the pieces of bce.h: e = exp(-|x|), l = log1p(e), so that softplus(-|x|) = l and softplus(|x|) =
 * |x| + l = s, far = sigma(|x|), near = sigma(-|x|) = e far.  In log space
 *
 *     near^gamma = exp(-gamma s)       far^gamma = exp(-gamma l)
 *
 * and with W = wrong far^gamma, V = right near^gamma, where `wrong` is the coefficient of the side
 * that x speaks against (b for x > 0) and `right` the other one,
 *
 *     loss = W |x| + (W + V) l
 *     grad = far [W (1 + gamma e s) - V (e + gamma l)]                            times the sign of x
 *     hess = near far [W (2 gamma + 1 + gamma s (gamma e - 1)) + V (2 gamma + 1 - gamma l)]
 *            + V gamma^2 far^2 l
 *
 * With phi(l) = (1 - e^-l)^gamma l of either side, hess is phi' p (1 - p) + phi'' (p - y)^2.  The first
 * part, of Gauss and Newton, is never negative:
 *
 *     far^2 [W e (1 + gamma e s) + V (e + gamma l)]
 *
 * gamma = 0 gives the bits of the plain loss.  The errors, in ulp: loss and grad (of its terms)
 * 3 + gamma, hess (of its terms) 5 + gamma; the factor far^gamma inherits gamma times the error of l.
 */
#ifndef CEK_FOCAL_H
#define CEK_FOCAL_H

#include "binary.h"
#include "power.h"

/* e = 0 from here on, and with it every term that s is a factor of but |x| itself. */
#define S_MAX REAL(1024.0)

static INLINE void focal_of(const struct cek_binary_args *args, int gauss_newton,
                            const real *restrict x, const real *restrict a, const real *restrict b,
                            size_t n, real *restrict loss, real *restrict grad, real *restrict hess,
                            real *restrict proba)
{
    const real scale = (real)args->grad_scale, gamma = (real)args->gamma;
    const real slope = 2 * gamma + 1, square = gamma * gamma;
    const struct factor exponent = split_factor(args->gamma);
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real size = abs_(x[i]), e = exp_nonpos(-size), l = log1p_unit(e), s_low;
        real s = two_sum(size < S_MAX ? size : S_MAX, l, &s_low);
        real far = 1 / (1 + e), near = e * far;
        int positive = x[i] > 0;
        real wrong = positive ? b[i] : a[i], right = positive ? a[i] : b[i];
        real w = wrong * exp_minus(exponent, l, 0), v = right * exp_minus(exponent, s, s_low);
        real linear = wrong == 0 ? 0 : w * size; /* 0 even where |x| is inf */
        real up = w * fma_(gamma * e, s, 1), down = fma_(gamma, l, e);
        real above = fma_(-v, down, up), below = fma_(v, down, -up);
        real bent_w = fma_(gamma * s, fma_(gamma, e, -1), slope), bent_v = fma_(-gamma, l, slope);
        real bent = fma_(-near, near, near) * fma_(w, bent_w, v * bent_v);
        loss[i] = fma_(w + v, l, linear);
        grad[i] = scale * far * (positive ? above : below);
        hess[i] = scale * (gauss_newton ? far * far * fma_(e, up, v * down)
                                        : fma_(v * square, far * far * l, bent));
        proba[i] = positive ? far : near;
    }
}

static NOINLINE void focal_core(const struct cek_binary_args *args, const real *restrict x,
                                const real *restrict q, const real *restrict a,
                                const real *restrict b, size_t n, real *restrict loss,
                                real *restrict grad, real *restrict hess, real *restrict proba)
{
    (void)q;
    if (args->gauss_newton)
        focal_of(args, 1, x, a, b, n, loss, grad, hess, proba);
    else
        focal_of(args, 0, x, a, b, n, loss, grad, hess, proba);
}

static void focal(const struct cek_binary_args *args, size_t begin, size_t end, double *sums)
{
    binary_chunks(args, focal_core, NULL, begin, end, sums);
}

#endif
