"""Refit the polynomials of ``kernels/vmath.h`` and print them as C initialisers.

A developer's script: ``python src/fit_coefficients.py`` takes half a minute and needs mpmath and
NumPy, not a compiled cekernels. Each block comes with the relative error of the minimax polynomial,
the error left once its coefficients are rounded, and the largest error of the function, measured by
running the operations of the C code, fused multiply-adds included, in NumPy.
"""

import functools
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mpmath import mp, mpf

mp.dps = 50  # decimal digits

FLOAT32, FLOAT64 = np.float32, np.float64
SQRT2_M1 = mp.sqrt(2) - 1
N_NODES = 512

# --- Minimax polynomials -----------------------------------------------------------------------


def chebyshev_nodes(low, high):
    """Return `N_NODES` ascending points of (low, high), none of them 0 when low = -high."""
    angles = [mp.pi * (2 * k + 1) / (2 * N_NODES) for k in range(N_NODES)]
    return np.array([(low + high - (high - low) * mp.cos(angle)) / 2 for angle in angles])


def horner(coefficients, x):
    """Evaluate a polynomial, lowest degree first."""
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


def alternating_extrema(error, count):
    """Return the indices of `count` extrema of alternating sign, the smallest ones left out."""
    sign_changes = np.flatnonzero(np.diff(error > 0)) + 1
    runs = np.split(np.arange(len(error)), sign_changes)
    extrema = [run[np.argmax(abs(error[run]))] for run in runs]
    while len(extrema) > count:
        size = abs(error[extrema])
        k = int(np.argmin(size))
        if len(extrema) == count + 1 or k in (0, len(extrema) - 1):
            del extrema[0 if size[0] < size[-1] else -1]
        else:  # an inner extremum leaves together with a neighbour: the signs still alternate
            first = k - 1 if size[k - 1] < size[k + 1] else k
            del extrema[first : first + 2]
    return np.array(extrema)


def remez(x, target, weight, n_coefficients):
    """Return the polynomial p of least max |weight (target - p)| on the points x."""
    extrema = np.linspace(0, len(x) - 1, n_coefficients + 1).astype(int)
    while True:
        rows = [
            [weight[k] * x[k] ** j for j in range(n_coefficients)] + [(-1) ** i]
            for i, k in enumerate(extrema)
        ]
        goal = weight[extrema] * target[extrema]
        *coefficients, _ = mp.lu_solve(mp.matrix(rows), mp.matrix(list(goal)))
        error = weight * (target - horner(coefficients, x))
        previous, extrema = extrema, alternating_extrema(error, n_coefficients + 1)
        if np.array_equal(previous, extrema):
            return coefficients, max(abs(error))


def rounded(value, dtype):
    """Round an mpmath number once, to nearest."""
    return dtype(float(mpf(value, prec=np.finfo(dtype).nmant + 1)))


def fit(form, interval, n_coefficients, dtype):
    """Fit function(x) by lead(x) + factor(x) p(x), the coefficients of p rounded to `dtype`.

    The lowest free coefficient is rounded; what is left over, divided by x, is fitted again by one
    coefficient less, so each coefficient makes up for the rounding of those before it.

    Returns
    -------
    coefficients : list of dtype
        Lowest degree first.
    minimax, final : float
        log2 of the largest relative error before and after rounding.
    """
    x = chebyshev_nodes(*interval)
    function, lead, factor = (np.array([part(v) for v in x]) for part in form)
    target, weight = (function - lead) / factor, abs(factor / function)
    coefficients, errors = [], []
    for n_free in range(n_coefficients, 0, -1):
        (lowest, *_), error = remez(x, target, weight, n_free)
        errors.append(error)
        coefficients.append(rounded(lowest, dtype))
        target = (target - mpf(float(coefficients[-1]))) / x
        weight = weight * abs(x)
    errors.append(max(weight * abs(target)))
    return coefficients, float(mp.log(errors[0], 2)), float(mp.log(errors[-1], 2))


# --- Arithmetic of the hardware ----------------------------------------------------------------


def two_sum(a, b):
    """Return a + b and its rounding error (Knuth)."""
    total = a + b
    b_rounded = total - a
    return total, (a - (total - b_rounded)) + (b - b_rounded)


def two_product(a, b):
    """Return a * b and its rounding error (Dekker, with Veltkamp's splitting)."""
    a_high, b_high = (v * 134217729.0 - (v * 134217729.0 - v) for v in (a, b))
    a_low, b_low = a - a_high, b - b_high
    product = a * b
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def add_to_odd(a, b):
    """Return a + b rounded to odd: a later rounding to nearest is then the only one."""
    total, error = two_sum(a, b)
    inexact_and_even = (error != 0) & (total.view(np.int64) & 1 == 0)
    return np.where(inexact_and_even, np.nextafter(total, np.copysign(np.inf, error)), total)


def fma(a, b, c):
    """Return a * b + c, rounded once (Boldo and Melquiond, 2008)."""
    dtype = np.result_type(a, b, c)
    a, b, c = (np.asarray(v, dtype=FLOAT64) for v in np.broadcast_arrays(a, b, c))
    if dtype == FLOAT32:
        return add_to_odd(a * b, c).astype(FLOAT32)
    product, product_error = two_product(a, b)
    low, low_error = two_sum(c, product_error)
    high, high_error = two_sum(product, low)
    return high + add_to_odd(low_error, high_error)


def fma_horner(coefficients, x):
    """Evaluate a polynomial, lowest degree first, with one fma a coefficient."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = fma(value, x, coefficient)
    return value


# --- Constants ---------------------------------------------------------------------------------


@functools.cache
def split_ln2(dtype):
    """Return ln 2 as high + low; n * high is exact for |n| <= 2^9 (float32), 2^12 (float64)."""
    bits = {FLOAT32: 15, FLOAT64: 41}[dtype]
    high = mp.nint(mp.ldexp(mp.ln2, bits)) / 2**bits
    return dtype(float(high)), rounded(mp.ln2 - high, dtype)


@functools.cache
def log1p_scale():
    """Return c next to sqrt(1/2) and -log(c), which is a float64 up to 2^-67 and needs no low part.

    c - 1 is exact, so m = fma(e, c, c - 1) is c (1 + e) - 1 rounded once, and
    log1p(e) = log1p(m) - log(c).
    """
    nearest = float(mp.sqrt(0.5))
    candidates = [nearest + k * 2.0**-53 for k in range(-1000, 1001)]
    c = min(candidates, key=lambda c: abs(mp.log(c) - float(mp.log(c))))
    return FLOAT64(c), FLOAT64(-mp.log(c))


# --- The functions of vmath.h ------------------------------------------------------------------


def evaluate_exp(q, x):
    """exp(x) = 2^n (1 + r + r^2 q(r)), r = x - n ln 2."""
    dtype = x.dtype.type
    high, low = split_ln2(dtype)
    shift = dtype(1.5 * 2.0 ** np.finfo(dtype).nmant)
    n = fma(x, rounded(1 / mp.ln2, dtype), shift) - shift
    r = fma(n, -low, fma(n, -high, x))
    t = fma(fma_horner(q, r), r * r, r)
    scale = np.ldexp(dtype(1), n.astype(int))
    return fma(scale, t, scale)


def evaluate_log1p(q, e):
    """log1p(e) = e + e^2 q(e)."""
    return fma(fma_horner(q, e), e * e, e)


def evaluate_log1p_split(q, e):
    """log1p(e) = log1p(f) - log(c), 1 + f = c (1 + e), with c = 1 up to e = sqrt(2) - 1."""
    c, minus_log_c = log1p_scale()
    far = e > FLOAT64(SQRT2_M1)
    f = np.where(far, fma(e, c, c - 1), e)
    return np.where(far, minus_log_c, 0) + evaluate_log1p(q, f)


def evaluate_log(r, x):
    """log(2^k (1 + f)) = k ln 2 + f - (f^2 / 2 - s (f^2 / 2 + z r(z))), s = f / (2 + f), z = s^2."""
    dtype = x.dtype.type
    high, low = split_ln2(dtype)
    mantissa, k = np.frexp(x)
    below = mantissa < dtype(mp.sqrt(0.5))
    f = np.where(below, 2 * mantissa, mantissa) - 1
    k = (k - below).astype(dtype)
    s = f / (2 + f)
    z = s * s
    half = dtype(0.5) * f * f
    correction = fma(s, fma(z, fma_horner(r, z), half), k * low)
    return fma(k, high, f - (half - correction))


def samples(low, high, dtype):
    """Return an even float32 grid (on [0, 1] it holds every float above 1/2) or random float64s."""
    if dtype is FLOAT32:
        return np.linspace(low, high, 2**24 + 1, dtype=FLOAT32)
    return np.random.default_rng(0).uniform(low, high, 100_000)


def ulp_errors(values, exact, x):
    """Return the distance of float values from the function `exact` of x, in ulp."""
    truth = getattr(np, exact)(x.astype(FLOAT64))
    ulp = np.ldexp(1.0, np.frexp(truth)[1] - np.finfo(x.dtype).nmant - 1)
    errors = (values - truth) / ulp
    if x.dtype == FLOAT64:
        digits = map(getattr(mp, exact), x.tolist())
        errors -= [float((d - t) / u) for d, t, u in zip(digits, truth, ulp, strict=True)]
    return abs(errors)


def max_ulp(evaluate, coefficients, exact, x):
    """Return the largest error in ulp over x, and where it is."""
    largest = []
    for block in np.array_split(x, len(x) // 2**15 + 1):
        errors = ulp_errors(evaluate(coefficients, block), exact, block)
        largest.append((errors.max(), block[errors.argmax()]))
    return max(largest)


# --- Report ------------------------------------------------------------------------------------


class Fit(NamedTuple):
    """A polynomial of vmath.h: what it fits, the function that evaluates it, where to measure it."""

    name: str
    dtype: type
    n_coefficients: int
    form: tuple[Callable, Callable, Callable]  # function, lead, factor: see fit
    interval: tuple[mpf, mpf]
    evaluate: Callable
    exact: str
    measured: tuple[float, float]


EXP_FORM = mp.exp, lambda r: 1 + r, lambda r: r**2
LOG1P_FORM = mp.log1p, lambda e: e, lambda e: e**2
LOG_FORM = lambda z: 2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z), lambda _: 2, lambda z: z

HALF_LN2 = mp.ln2 / 2 * (1 + mpf(2) ** -15)  # n is the rounding of a rounded x log2(e)

EXP = EXP_FORM, (-HALF_LN2, HALF_LN2), evaluate_exp, "exp"
LOG1P = LOG1P_FORM, (mpf(0), mpf(1)), evaluate_log1p, "log1p"
LOG1P_SPLIT = LOG1P_FORM, (mpf(0), SQRT2_M1), evaluate_log1p_split, "log1p"
LOG = LOG_FORM, (mpf(0), SQRT2_M1**4 * (1 + mpf(2) ** -20)), evaluate_log, "log"

FITS = [
    Fit("EXP", FLOAT32, 5, *EXP, (-87.3365, 0.0)),
    Fit("EXP", FLOAT64, 10, *EXP, (-708.39, 0.0)),
    Fit("LOG1P", FLOAT32, 9, *LOG1P, (0.0, 1.0)),
    Fit("LOG1P", FLOAT64, 15, *LOG1P_SPLIT, (0.0, 1.0)),
    Fit("LOG", FLOAT32, 3, *LOG, (0.5, 1.5)),
    Fit("LOG", FLOAT64, 7, *LOG, (0.5, 1.5)),
]


def hexadecimal(value):
    """Format a float as a C constant without trailing zeros."""
    mantissa, exponent = float(value).hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.')}p{exponent}"


def print_constants():
    """Print what the reductions of exp and log1p need besides their polynomials."""
    for dtype in FLOAT32, FLOAT64:
        high, low = map(hexadecimal, split_ln2(dtype))
        print(f"/* {dtype.__name__}: ln 2 = {high} + {low} */")
    c, minus_log_c = log1p_scale()
    print(f"/* float64 log1p above {hexadecimal(SQRT2_M1)}: c = {hexadecimal(c)},")
    print(f" * c - 1 = {hexadecimal(c - 1)}, -log(c) = {hexadecimal(minus_log_c)} */\n")


def print_fit(job):
    """Fit one polynomial, measure its function and print both."""
    coefficients, minimax, final = fit(job.form, job.interval, job.n_coefficients, job.dtype)
    x = samples(*job.measured, job.dtype)
    ulp, worst = max_ulp(job.evaluate, coefficients, job.exact, x)
    print(f"/* {job.exact} {job.dtype.__name__}: minimax 2^{minimax:.2f}, rounded 2^{final:.2f};")
    print(f" * {ulp:.3f} ulp at {hexadecimal(worst)} */")
    body = textwrap.fill(", ".join(map(hexadecimal, coefficients)), 90)
    print(f"static const real {job.name}[] = {{\n{textwrap.indent(body, '    ')}}};\n")


if __name__ == "__main__":
    print_constants()
    for job in FITS:
        print_fit(job)
