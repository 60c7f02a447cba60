/* Powers in log space: exp(-f s) for a constant factor f >= 0 and s >= 0 in two parts.
 *
 * exp turns the absolute error of its argument into a relative one, so the product f s is formed with
 * its rounding error: f and s are split into halves whose product is exact, with FMA or without.
 */
#ifndef CEK_POWER_H
#define CEK_POWER_H

#include "vmath.h"

/* The leading half of the bits of x */
static INLINE real leading(real x)
{
    return from_bits(to_bits(x) >> (MANTISSA_BITS / 2 + 1) << (MANTISSA_BITS / 2 + 1));
}

/* f = high + low, high of half the bits */
struct factor {
    real high, low;
};

static INLINE struct factor split_factor(double f)
{
    const real high = leading((real)f);
    return (struct factor){high, (real)(f - (double)high)};
}

/* f (s + s_low) and its rounding error, for finite s */
static INLINE real times_factor(struct factor f, real s, real s_low, real *error)
{
    real s_high = leading(s), rest = (s - s_high) + s_low;
    return two_sum(f.high * s_high, fma_(f.high, rest, f.low * s), error);
}

/* exp(-f (s + s_low)) for finite s, within 1.5 ulp of that of the given s; 0 where it underflows */
static INLINE real exp_minus(struct factor f, real s, real s_low)
{
    real error, product = times_factor(f, s, s_low, &error);
    real e = exp_nonpos(-product);
    return fma_(-error, e, e);
}

/* 1 - exp(-x) for x >= 0, within 1.5 ulp however small x is */
static INLINE real one_minus_exp(real x)
{
    real scale, p;
    exp_parts(-x, EXP_ONE, &scale, &p);
    real rest = fma_(-scale, p, 1 - scale);
    return -x < EXP_CUT ? 1 : rest;
}

#endif
