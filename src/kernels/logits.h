/* What the softmax is taken of: scaled, capped and masked logits.
 *
 *     v = a x,   or   v = c tanh(a x / c),   and -inf for a class that is not allowed
 *
 * with logit_scale a and softcap c.
 */
#ifndef CEK_LOGITS_H
#define CEK_LOGITS_H

#include "row.h"
#include "rows.h"

static INLINE int is_transformed(const struct cek_cross_entropy_args *args)
{
    return args->logit_scale != 1 || args->softcap != 0 || args->allowed.data;
}

/* Are the logits themselves wanted after v? */
static INLINE int reads_twice(const struct cek_cross_entropy_args *args)
{
    return args->softcap != 0 || args->scale_grad.data;
}

/* Factors of the derivatives in v: what the chain rule makes of a scale without a cap, and grad_scale. */
static INLINE double grad_scale_of(const struct cek_cross_entropy_args *args)
{
    return args->grad_scale * (args->softcap != 0 ? 1 : args->logit_scale);
}

static INLINE double hess_scale_of(const struct cek_cross_entropy_args *args)
{
    const double a = args->softcap != 0 ? 1 : args->logit_scale;
    return args->grad_scale * args->hess_factor * a * a;
}

/* v = c tanh(a x / c) and its derivatives in x, a (1 - tanh^2) and -2 a^2 tanh (1 - tanh^2) / c. */
static INLINE real capped(real x, real scale, real cap, real *slope, real *bend)
{
    real z = scale * x / cap, e, t = tanh_parts(abs_(z), &e);
    real sign = z < 0 ? -1 : 1, rest = 4 * e / ((1 + e) * (1 + e)); /* 1 - t^2 */
    *slope = scale * rest;
    *bend = -2 * sign * t * scale * *slope / cap;
    return sign * t * cap;
}

static NOINLINE void block_capped(const real *x, real scale, real cap, size_t n, real *v)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++) {
        real slope, bend;
        v[i] = capped(x[i], scale, cap, &slope, &bend);
    }
}

static NOINLINE void block_slopes(const real *restrict x, real scale, real cap, size_t n,
                                  real *restrict slope, real *restrict bend)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        capped(x[i], scale, cap, slope + i, bend + i);
}

static NOINLINE void block_masked(const real *restrict allowed, real masked, size_t n,
                                  real *restrict v)
{
    for (size_t i = 0; i < n; i++) {
        real value = v[i];
        v[i] = allowed[i] != 0 ? value : masked;
    }
}

/* v of n logits in place; allowed may be NULL. */
static void logits_transform(const struct cek_cross_entropy_args *args, const real *allowed,
                             size_t n, real *x)
{
    if (args->softcap != 0)
        block_capped(x, (real)args->logit_scale, (real)args->softcap, n, x);
    else if (args->logit_scale != 1)
        block_scale(x, (real)args->logit_scale, n, x);
    if (allowed)
        block_masked(allowed, -(real)INFINITY, n, x);
}

#endif
