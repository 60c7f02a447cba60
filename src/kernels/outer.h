/* Outer functions of the loss of a label: with l = -log p_y, p = p_y = e^-l and r = 1 - p,
 *
 *     focal    phi = r^gamma l             phi' = r^gamma (1 + gamma p l / r)
 *              phi'' = gamma p r^(gamma - 1) [2 + (gamma - 1) p l / r - l]
 *     poly1    phi = l + epsilon r         phi' = 1 + epsilon p         phi'' = -epsilon p
 *     power    phi = (1 - p^q) / q         phi' = p^q                   phi'' = -q p^q
 *
 * so that a loss omega phi(l) of logits has
 *
 *     grad_c = omega phi' (p_c - 1_y)      hess_c = omega [phi'' (p_c - 1_y)^2 + phi' p_c (1 - p_c)]
 *
 * l comes with its rounding error, which e^-l would otherwise make a relative one.  r = 1 - e^-l keeps
 * its relative accuracy, and so do phi and phi', however small l is.
 */
#ifndef CEK_OUTER_H
#define CEK_OUTER_H

#include "../cek.h"
#include "power.h"

/* p = 0 from here on, and with it every product of p and l. */
#define L_MAX REAL(1024.0)

static NOINLINE void outer_focal(const real *restrict l, const real *restrict l_low,
                                 double parameter, size_t n, real *restrict value,
                                 real *restrict slope, real *restrict curvature)
{
    const real gamma = (real)parameter, at_0 = parameter == 0 ? 1 : 0;
    const struct factor exponent = split_factor(parameter);
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real near_1 = exp_nonpos(-l[i]), p = fma_(-l_low[i], near_1, near_1);
        real r = fma_(l_low[i], near_1, one_minus_exp(l[i])), finite = l[i] < L_MAX ? l[i] : L_MAX;
        real k, s_low, rest = log_parts(r, r - r, &k);
        real s = two_sum(-k * LN2_HI, -rest, &s_low); /* -log r */
        real power = exp_minus(exponent, s, s_low), inverse = 1 / r;
        int none = r == 0;
        power = none ? at_0 : power;
        inverse = none ? 0 : inverse;
        real ratio = p * (none ? 1 : finite * inverse); /* p l / r */
        value[i] = power * l[i];
        slope[i] = power * fma_(gamma, ratio, 1);
        curvature[i] = gamma * p * (power * inverse) * (fma_(gamma - 1, ratio, 2) - finite);
    }
}

static NOINLINE void outer_poly1(const real *restrict l, const real *restrict l_low,
                                 double parameter, size_t n, real *restrict value,
                                 real *restrict slope, real *restrict curvature)
{
    const real epsilon = (real)parameter, at_0 = (real)(1 + parameter);
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real near_1 = exp_nonpos(-l[i]), p = fma_(-l_low[i], near_1, near_1);
        real r = fma_(l_low[i], near_1, one_minus_exp(l[i]));
        real of_r = fma_(-epsilon, r, at_0), of_p = fma_(epsilon, p, 1);
        value[i] = fma_(epsilon, r, l[i]);
        slope[i] = r < p ? of_r : of_p; /* of epsilon = -1, r itself */
        curvature[i] = -epsilon * p;
    }
}

static NOINLINE void outer_power(const real *restrict l, const real *restrict l_low,
                                 double parameter, size_t n, real *restrict value,
                                 real *restrict slope, real *restrict curvature)
{
    const real q = (real)parameter, inverse = (real)(1 / parameter);
    const real limit = 2 * -EXP_CUT * inverse; /* p^q = 0 */
    const struct factor exponent = split_factor(parameter);
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real error, product = times_factor(exponent, l[i] > limit ? limit : l[i], l_low[i], &error);
        real near_1 = exp_nonpos(-product), power = fma_(-error, near_1, near_1);
        value[i] = inverse * fma_(error, near_1, one_minus_exp(product));
        slope[i] = power;
        curvature[i] = -q * power;
    }
}

/* phi, phi' and phi'' of n values in whole vectors */
static void outer_apply(enum cek_outer outer, const real *l, const real *l_low, double parameter,
                        size_t n, real *value, real *slope, real *curvature)
{
    if (outer == CEK_OUTER_FOCAL)
        outer_focal(l, l_low, parameter, n, value, slope, curvature);
    else if (outer == CEK_OUTER_POLY1)
        outer_poly1(l, l_low, parameter, n, value, slope, curvature);
    else
        outer_power(l, l_low, parameter, n, value, slope, curvature);
}

/* (max - x) + log1p = -log p of a logit x, and its rounding error; 0 in place of max - x for the
 * largest itself, also where both are inf. */
static INLINE real nll_of(real max, real x, int is_largest, real log1p, real *error)
{
    real gap_low, sum_low, gap = two_sum(max, -x, &gap_low);
    gap = is_largest ? 0 : gap;
    real l = two_sum(gap, log1p, &sum_low);
    real low = sum_low + (is_largest ? 0 : gap_low);
    *error = low - low == 0 ? low : 0; /* of inf: none */
    return l;
}

#endif
