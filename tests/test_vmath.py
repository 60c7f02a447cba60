"""Accuracy of the functions of vmath.h and unary.h, against mpmath and against wider arithmetic.

`pytest -m slow` runs float32 through every input there is (15 minutes for the seven functions on
three instruction sets, one core of a server in 2026) and float64 through 2^24 a function (1 minute).
"""

import functools
import math

import mpmath
import numpy as np
import pytest

from cekernels import _kernels, _runtime

# Wherever the exact result is a normal number, in ulp of it.  Below the smallest normal number the
# absolute error stays below that number.
EXP_ULP, LOG1P_ULP, SOFTPLUS_ULP, EXPIT_ULP = 1.1, 1.4, 2.0, 3.0
WITHOUT_FMA = 2.0

WIDER = {np.float32: np.float64, np.float64: np.longdouble}
CHUNK = 2**16

needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < np.finfo(np.float64).nmant + 10,
    reason="long double is no wider than double on this machine",
)


# The exact functions, on the numbers of `f`: numpy or mpmath.


def exp(f, x):
    return f.exp(x)


def log1p(f, x):
    return f.log1p(x)


def log(f, x):
    return f.log(x)


def softplus(f, x):
    return f.log1p(f.exp(-abs(x))) + (x + abs(x)) / 2


def log_expit(f, x):
    return -softplus(f, -x)


def expit(f, x):
    return f.exp((x - abs(x)) / 2) / (1 + f.exp(-abs(x)))


# Name, exact function, limit, domain.
FUNCTIONS = {
    "EXP_NONPOS": (exp, EXP_ULP, -math.inf, 0.0),
    "LOG1P_UNIT": (log1p, LOG1P_ULP, 0.0, 1.0),
    "LOG1P_NONNEG": (log1p, LOG1P_ULP, 0.0, 2.0**126),
    "LOG_UNIT": (log, LOG1P_ULP, 0.0, 1.0),
    "SOFTPLUS": (softplus, SOFTPLUS_ULP, -math.inf, math.inf),
    "LOG_EXPIT": (log_expit, SOFTPLUS_ULP, -math.inf, math.inf),
    "EXPIT": (expit, EXPIT_ULP, -math.inf, math.inf),
}


@pytest.fixture(params=FUNCTIONS)
def name(request):
    return request.param


def compute(name, x):
    """Run a kernel on the instruction set in use."""
    out = np.empty_like(x)
    job = _kernels.Unary(getattr(_kernels, name), x, out)
    job.run(n_threads=1)
    return out


@np.errstate(all="ignore")
def exact(name, x):
    """Return the function of these numbers in a wider type."""
    return FUNCTIONS[name][0](np, x.astype(WIDER[x.dtype.type]))


def limit(name, isa):
    return FUNCTIONS[name][1] * (WITHOUT_FMA if isa == "baseline" else 1.0)


# Inputs


def neighbours(values, dtype, reach=40):
    """Return these numbers of both signs, and the next ones on either side."""
    bits = np.abs(np.asarray(values)).astype(dtype).view(f"i{dtype().nbytes}")
    around = np.add.outer(bits, np.arange(-reach, reach + 1)).ravel()
    x = np.maximum(around, 0).astype(bits.dtype).view(dtype)
    return np.concatenate([x, -x])


def inputs(name, dtype, n, seed=7):
    """Return finite numbers of the domain: all scales, all sizes, and around what is special."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    _, _, low, high = FUNCTIONS[name]
    underflow = -math.log(float(info.tiny))
    widest = 1.1 * underflow
    patterns = rng.integers(0, info.max.view(f"i{info.bits // 8}"), n).astype(f"i{info.bits // 8}")
    patterns = patterns.view(dtype)
    parts = [
        rng.uniform(max(low, -widest), min(high, widest), n),
        rng.normal(0, 1, n),
        patterns,
        -patterns,
        neighbours([0.0, info.smallest_subnormal, info.tiny, info.max], dtype),
        neighbours([underflow, -math.log(float(info.eps)), info.eps, 0.5, 1.0], dtype),
        neighbours([math.sqrt(0.5), math.sqrt(2.0) - 1.0, 1 - info.eps, 2.0], dtype),
        neighbours(np.arange(1, 40) * (math.log(2.0) / 2), dtype, reach=3),
    ]
    x = np.concatenate([part.astype(dtype) for part in parts])
    x = x[np.isfinite(x) & (low <= x) & (x <= high)]
    return x[x != 0] if name == "LOG_UNIT" else x


# Errors


@np.errstate(all="ignore")
def error_in_ulp(got, want, low=0.0):
    """Return the error against want + low, in ulp of it, and whether that is no normal number.

    The error of what is too small to be normal is given in units of the smallest normal number.
    """
    info = np.finfo(got.dtype)
    size = np.abs(want)
    small = size < info.tiny
    _, exponent = np.frexp(size)
    unit = np.where(small, info.tiny, np.ldexp(want.dtype.type(1.0), exponent - 1 - info.nmant))
    return np.abs(got - want - low) / unit, small


def check(name, isa, x, got, want, low=0.0):
    """Raise for the worst result, where it is worse than allowed; every exact result is finite."""
    error, small = error_in_ulp(got, want, low)
    bound = np.where(small, 1.0, limit(name, isa))
    wrong = ~((error <= bound) & (error < np.where(small, 1.0, np.inf)))
    if wrong.any():
        worst = np.argmax(np.where(wrong, np.nan_to_num(error / bound, nan=np.inf), 0.0))
        unit = "times the smallest normal number" if small[worst] else "ulp"
        pytest.fail(
            f"{name} on {isa}, {got.dtype}: {x[worst]!r} ({float(x[worst]).hex()}) gives "
            f"{got[worst]!r} instead of {want[worst]!r}: off by {error[worst]:.4g} {unit}, "
            f"{bound[worst]:.4g} allowed; {np.count_nonzero(wrong)} of {x.size} results are wrong"
        )


@functools.cache
def sample(name, dtype):
    """Return inputs and exact results, computed in a wider type."""
    x = inputs(name, dtype, 50_000)
    return x, exact(name, x)


@functools.cache
def exact_sample(name):
    """Return float64 inputs and exact results by mpmath, as sums of two numbers."""
    x = inputs(name, np.float64, 1_500)
    high, low = np.empty_like(x), np.empty_like(x)
    with mpmath.workprec(200):
        for i, value in enumerate(map(mpmath.mpf, x.tolist())):
            result = FUNCTIONS[name][0](mpmath, value)
            high[i] = float(result)
            low[i] = float(result - high[i])
    return x, high, low


def test_float32(isa, name):
    x, want = sample(name, np.float32)
    check(name, isa, x, compute(name, x), want)


def test_float64(isa, name):
    x, high, low = exact_sample(name)
    check(name, isa, x, compute(name, x), high, low)


@needs_long_double
def test_float64_against_long_double(isa, name):
    x, want = sample(name, np.float64)
    check(name, isa, x, compute(name, x), want)


# No number is too special


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("EXP_NONPOS", [0.0, -0.0, -1e4, -math.inf, math.nan], [1, 1, 0, 0, math.nan]),
        ("LOG1P_UNIT", [0.0, 1e-45, 5e-324, math.nan], [0, 1e-45, 5e-324, math.nan]),
        ("LOG1P_NONNEG", [0.0, 1e-45, 5e-324, math.nan], [0, 1e-45, 5e-324, math.nan]),
        ("LOG_UNIT", [1.0, 0.0, math.nan], [0, -math.inf, math.nan]),
        ("SOFTPLUS", [-1e4, 1e4, -math.inf, math.inf, math.nan], [0, 1e4, 0, math.inf, math.nan]),
        (
            "LOG_EXPIT",
            [-1e4, 1e4, -math.inf, math.inf, math.nan],
            [-1e4, 0, -math.inf, 0, math.nan],
        ),
        (
            "EXPIT",
            [0.0, -0.0, 1e-45, -1e4, 1e4, -math.inf, math.inf, math.nan],
            [0.5, 0.5, 0.5, 0, 1, 0, 1, math.nan],
        ),
    ],
)
@pytest.mark.parametrize("padding", [0, 1, 15, 16, 17, 1000])
def test_special_numbers(dtype, name, x, expected, padding):
    """At the start and at the end of whole vectors, and in what is left of one."""
    for last, result in zip(x, expected, strict=True):
        numbers = np.concatenate([np.full(padding, 0.5), [last]]).astype(dtype)
        np.testing.assert_array_equal(compute(name, numbers)[-1], dtype(result))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("name", "x"), [("SOFTPLUS", 0.0), ("LOG_EXPIT", 0.0), ("LOG1P_UNIT", 1.0)]
)
def test_log_2(dtype, name, x):
    sign = -1 if name == "LOG_EXPIT" else 1
    assert compute(name, np.array([x, x], dtype)) == pytest.approx(
        sign * 0.6931471805599453, rel=2 * float(np.finfo(dtype).eps), abs=0.0
    )


# Every number


def ranges(name):
    """Return the first and last bits of the finite float32 numbers of the domain, sign by sign."""
    _, _, low, high = FUNCTIONS[name]
    ends = np.minimum(np.abs(np.array([high, low], np.float32)), np.finfo(np.float32).max)
    last = ends.view(np.uint32).tolist()
    signs = [(int(name == "LOG_UNIT"), last[0]), (0x80000000, 0x80000000 + last[1])]
    return [(first, end) for first, end in signs if end > first]


def from_bits(first, last):
    """Return the float32 numbers with these bits, in handy parts."""
    for start in range(first, last + 1, CHUNK):
        bits = np.arange(start, min(start + CHUNK, last + 1), dtype=np.int64)
        yield bits.astype(np.uint32).view(np.float32)


@np.errstate(all="ignore")
def suspects(name, isa, got, want):
    """Return where an error may be too large: an ulp is at least epsneg times the number."""
    return ~(np.abs(got - want) <= np.abs(want) * (limit(name, isa) * np.finfo(got.dtype).epsneg))


@pytest.mark.slow
def test_every_float32(name):
    """One exact result serves every instruction set."""
    for first, last in ranges(name):
        for x in from_bits(first, last):
            want = exact(name, x)
            for isa in _runtime.available_isas():
                with _runtime.use_isa(isa):
                    got = compute(name, x)
                some = suspects(name, isa, got, want)
                check(name, isa, x[some], got[some], want[some])


@pytest.mark.slow
@pytest.mark.usefixtures("isa")
def test_every_nan(name):
    for first in (0x7F800001, 0xFF800001):
        for x in from_bits(first, first + 0x7FFFFE):
            assert np.isnan(compute(name, x)).all()


@pytest.mark.slow
@needs_long_double
def test_many_float64(isa, name):
    for seed in range(64):
        x = inputs(name, np.float64, CHUNK, seed)
        check(name, isa, x, compute(name, x), exact(name, x))
