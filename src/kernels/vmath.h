/* exp and log1p on the domains that cross-entropy needs, and nothing more.
 *
 * No branch, no table, no integer conversion: each function is one straight line of real arithmetic
 * that the compiler turns into vectors.  Coefficients are minimax fits of ../fit_coefficients.py.
 */
#ifndef CEK_VMATH_H
#define CEK_VMATH_H

#include "real.h"

#define LOG2E REAL(0x1.71547652b82fep+0)

#if CEK_REAL_BITS == 32
#define ROUND 0x1.8p23f       /* x + ROUND holds the integer nearest to x in its low bits */
#define LN2_HI 0x1.62e4p-1f   /* n LN2_HI is exact for |n| < 2^9                          */
#define LN2_LO 0x1.7f7d1cp-20f
#else
#define ROUND 0x1.8p52
#define LN2_HI 0x1.62e42fefa4p-1 /* n LN2_HI is exact for |n| < 2^12 */
#define LN2_LO -0x1.8432a1b0e2634p-43
#endif

/* exp(x) underflows below EXP_CUT: 2^(1 - EXPONENT_BIAS) is the smallest normal number. */
#define EXP_MIN (1 - EXPONENT_BIAS)
#define EXP_CUT ((real)EXP_MIN * (LN2_HI + LN2_LO))
#define EXP_ONE ((bits)EXPONENT_BIAS << MANTISSA_BITS)

/* exp(x) 2^-k = scale + scale p for |x| < 512 ln 2 (float) or 4096 ln 2 (double), where `one` holds
 * the bits of 2^-k.  Cody-Waite reduction to |r| <= ln 2 / 2, exp(r) = 1 + p = 1 + r + r^2 q.
 */
static INLINE void exp_parts(real x, bits one, real *scale, real *p)
{
    real z = fma_(x, LOG2E, ROUND);
    real n = z - ROUND;
    real r = fma_(n, -LN2_LO, fma_(n, -LN2_HI, x));
#if CEK_REAL_BITS == 32
    real q = 0x1.6a3d12p-10f;
    q = fma_(q, r, 0x1.123856p-7f);
    q = fma_(q, r, 0x1.5558bep-5f);
    q = fma_(q, r, 0x1.555494p-3f);
    q = fma_(q, r, 0x1.fffffcp-2f);
#else
    real q = 0x1.ad9ef482d19aap-26;
    q = fma_(q, r, 0x1.28ad4dca4238bp-22);
    q = fma_(q, r, 0x1.71df0cc28211dp-19);
    q = fma_(q, r, 0x1.a0199a203bf72p-16);
    q = fma_(q, r, 0x1.a01a01384edd1p-13);
    q = fma_(q, r, 0x1.6c16c1843206bp-10);
    q = fma_(q, r, 0x1.1111111124544p-7);
    q = fma_(q, r, 0x1.55555555507b9p-5);
    q = fma_(q, r, 0x1.555555555550dp-3);
    q = fma_(q, r, 0x1.000000000000ap-1);
#endif
    *p = fma_(q, r * r, r);
    *scale = from_bits((to_bits(z) << MANTISSA_BITS) + one);
}

/* exp(x) 2^-k for x <= (k + 1) ln 2, and 0 below cut = (k + EXP_MIN) ln 2, where the result would be
 * subnormal and exp_parts means nothing.  NaN stays NaN.
 */
static INLINE real exp_scaled(real x, real cut, bits one)
{
    real scale, p;
    exp_parts(x, one, &scale, &p);
    return zero_if(x < cut, fma_(scale, p, scale));
}

/* exp(x) for x <= 0 */
static INLINE real exp_nonpos(real x)
{
    return exp_scaled(x, EXP_CUT, EXP_ONE);
}

/* tanh(x) and e = exp(-2 x) for x >= 0: (1 - e) / (1 + e), where 1 - e is never formed, since exp_parts
 * tells exp(-2 x) - 1 = (scale - 1) + scale p with full relative accuracy. */
static INLINE real tanh_parts(real x, real *e)
{
    real scale, p, z = -2 * x;
    exp_parts(z, EXP_ONE, &scale, &p);
    int gone = z < EXP_CUT;
    real difference = fma_(scale, p, scale - 1);
    *e = gone ? 0 : fma_(scale, p, scale);
    difference = gone ? -1 : difference;
    return -difference / (2 + difference);
}

/* log(1 + e) for 0 <= e <= 1.  Double, above sqrt(2) - 1: log(1 + e) = log1p(f) - log(c) with
 * 1 + f = c (1 + e), where c is the double next to sqrt(1/2) whose logarithm is a double too (within
 * 1e-4 ulp); so f stays in [0, sqrt(2) - 1], and a polynomial does without a division.
 */
static INLINE real log1p_unit(real e)
{
#if CEK_REAL_BITS == 32
    real q = -0x1.af49cep-9f;
    q = fma_(q, e, 0x1.4917cep-6f);
    q = fma_(q, e, -0x1.d6b08cp-5f);
    q = fma_(q, e, 0x1.b4ae08p-4f);
    q = fma_(q, e, -0x1.3a435ep-3f);
    q = fma_(q, e, 0x1.934b54p-3f);
    q = fma_(q, e, -0x1.ff23e6p-3f);
    q = fma_(q, e, 0x1.554ddp-2f);
    q = fma_(q, e, -0x1.ffffd2p-2f);
    return fma_(q, e * e, e);
#else
    int large = e > 0x1.a827999fcef32p-2;
    real f = large ? fma_(e, 0x1.6a09e667f3a18p-1, -0x1.2bec333018bd0p-2) : e;
    real base = large ? 0x1.62e42fefa3ec2p-2 : 0;
    real q = -0x1.0d6a97869f70dp-8;
    q = fma_(q, f, 0x1.273cb5cb4217bp-6);
    q = fma_(q, f, -0x1.4607db79dd0aap-5);
    q = fma_(q, f, 0x1.f64ee488c8ffp-5);
    q = fma_(q, f, -0x1.3d903e6267f0dp-4);
    q = fma_(q, f, 0x1.6db63cb9acc2cp-4);
    q = fma_(q, f, -0x1.9834136165cc8p-4);
    q = fma_(q, f, 0x1.c6e48f5cbbf5dp-4);
    q = fma_(q, f, -0x1.fff9970717dd6p-4);
    q = fma_(q, f, 0x1.249205aefc228p-3);
    q = fma_(q, f, -0x1.5555517fba1a7p-3);
    q = fma_(q, f, 0x1.999999751fa5dp-3);
    q = fma_(q, f, -0x1.ffffffff30b6cp-3);
    q = fma_(q, f, 0x1.55555555542ap-2);
    q = fma_(q, f, -0x1.fffffffffffedp-2);
    return base + fma_(q, f * f, f);
#endif
}

/* t in log((1 + s) / (1 - s)) = 2 s + s^3 t, of z = s^2 for 1 + s over 1 - s in [sqrt(1/2), sqrt(2)] */
static INLINE real log_series(real z)
{
#if CEK_REAL_BITS == 32
    real t = 0x1.31e03cp-2f;
    t = fma_(t, z, 0x1.995ed8p-2f);
    t = fma_(t, z, 0x1.55557ap-1f);
#else
    real t = 0x1.2f0250bfd912ep-3;
    t = fma_(t, z, 0x1.39a20bb57fb3ep-3);
    t = fma_(t, z, 0x1.74663ba2c22e4p-3);
    t = fma_(t, z, 0x1.c71c521a1b556p-3);
    t = fma_(t, z, 0x1.24924941db47ap-2);
    t = fma_(t, z, 0x1.999999997ff63p-2);
    t = fma_(t, z, 0x1.5555555555592p-1);
#endif
    return t;
}

/* u = 2^k m for a normal u > 0, m in [sqrt(1/2), sqrt(2)); returns m, sets k and 2^-k. */
static INLINE real log_split(real u, real *k, real *inverse)
{
    const bits sqrt_half = to_bits(REAL(0.70710678118654752));
    bits shifted = to_bits(u) + (EXP_ONE - sqrt_half);
    bits exponent = shifted >> MANTISSA_BITS; /* k + EXPONENT_BIAS */
    *inverse = from_bits(((bits)(2 * EXPONENT_BIAS) - exponent) << MANTISSA_BITS);
    *k = from_bits(to_bits(ROUND) + exponent) - (ROUND + EXPONENT_BIAS);
    return from_bits(to_bits(u) - (exponent << MANTISSA_BITS) + EXP_ONE);
}

/* log(u + c) = k ln 2 + log(m + c / 2^k) for a normal u > 0 and the rounding error c of u, |c| <=
 * ulp(u), with u = 2^k m as in log_split, and log(m) = log1p(f) through s = f / (2 + f).  Sets
 * k, and returns the rest less k LN2_HI, which is exact; NaN in c stays NaN.
 */
static INLINE real log_parts(real u, real c, real *exponent_of_2)
{
    real k, inverse, f = log_split(u, &k, &inverse) - 1, d = c * inverse;
    real s = f / (2 + f), z = s * s, half = REAL(0.5) * f * f;
    real t = log_series(z);
    real correction = fma_(2 * d, z - s, d); /* d / (1 + f) */
    real low = fma_(s, fma_(z, t, half), fma_(k, LN2_LO, correction));
    *exponent_of_2 = k;
    return f - (half - low);
}

static INLINE real log_sum(real u, real c)
{
    real k, rest = log_parts(u, c, &k);
    return fma_(k, LN2_HI, rest);
}

/* log(1 + s) for 0 <= s < 2^126 */
static INLINE real log1p_nonneg(real s)
{
    real u = 1 + s;
    real c = s < 1 ? s - (u - 1) : 1 - (u - s);
    return log_sum(u, c);
}

/* log(p) for 0 <= p <= 1, subnormal p included */
static INLINE real log_unit(real p)
{
    const real tiny = from_bits((bits)1 << MANTISSA_BITS); /* the smallest normal number */
    const real up = from_bits(EXP_ONE + ((bits)MANTISSA_BITS << MANTISSA_BITS));
    int subnormal = p < tiny;
    real u = subnormal ? p * up : p;
    real shift = subnormal ? MANTISSA_BITS * (LN2_HI + LN2_LO) : 0;
    real log_u = log_sum(u, u - u) - shift;
    return p == 0 ? -(real)INFINITY : log_u;
}

/* log(1 - p) for 0 <= p <= 1 */
static INLINE real log1m_unit(real p)
{
    real u = 1 - p;
    real c = (1 - u) - p;
    real log_u = log_sum(u, c);
    return p == 1 ? -(real)INFINITY : log_u;
}

#endif
