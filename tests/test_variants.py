"""The losses beside cross-entropy itself: focal and robust.

Accuracy is checked against mpmath, options against formulas in float64 NumPy, derivatives against
finite differences; the rest are edge cases, literals, errors and equal bits.
"""

import functools
import itertools
import math
import tracemalloc

import mpmath
import numpy as np
import pytest

import cekernels as ck
from cekernels import _parallel, _runtime, reference

# Against mpmath: of the result, or of the larger terms that it is the sum of. A power r^gamma has
# the error of r gamma times.
BINARY_ULP = 4
BINARY_ULP_PER_GAMMA = 0.7
CLASS_ULP = 5
CLASS_ULP_PER_GAMMA = 3
WITHOUT_FMA = {"baseline": 1.5}
# Against formulas in float64: those lose gamma |x| ulp themselves.
FORMULA_ULP = {np.float32: 40, np.float64: 4000}
DIFFERENCE = 1e-6
INF, NAN = math.inf, math.nan
LONG = 9 * 16384 + 123
BINARY_OUTPUTS = ("grad", "hess", "proba")
CLASS_OUTPUTS = ("grad", "hess", "proba", "lse")
GAMMAS = [0.0, 0.5, 1.0, 2.0, 2.3, 5.0]
OUTER = [
    *(("softmax_focal_loss", {"gamma": gamma}) for gamma in (0.0, 0.5, 1.0, 2.0, 5.0)),
    *(("poly1_loss", {"epsilon": epsilon}) for epsilon in (0.0, 1.0, 3.0, -0.5)),
    *(("generalized_cross_entropy", {"q": q}) for q in (0.1, 0.7, 1.0)),
]
ids = [f"{name}-{value}" for name, options in OUTER for value in options.values()]
every_outer = pytest.mark.parametrize(("name", "parameter"), OUTER, ids=ids)


def phi(name, parameter, log_p, p, r, m=np):
    """Return an outer function of -log(p), with p and r = 1 - p, and its two derivatives."""
    (value,) = parameter.values()
    if name == "poly1_loss":
        return log_p + value * r, 1 + value * p, -value * p
    if name == "generalized_cross_entropy":
        return (
            -m.expm1(-value * log_p) / value,
            m.exp(-value * log_p),
            -value * m.exp(-value * log_p),
        )
    power = r**value
    bent = value * p * r ** (value - 1) * (2 + (value - 1) * p * log_p / r - log_p)
    return power * log_p, power * (1 + value * p * log_p / r), bent


def softmax_parts(x):
    """Return p, 1 - p and -log(p) in float64."""
    log_p = reference.log_softmax(x, axis=-1)
    return reference.softmax(x, axis=-1), -np.expm1(log_p), -log_p


def wanted(outputs):
    return {f"return_{name}": True for name in outputs}


# Accuracy


@functools.cache
def exact_focal(dtype, gamma):
    """Return logits with f(x), f'(x), f''(x) by mpmath, and the size of the terms of the last."""
    rng = np.random.default_rng(3)
    top = 87.0 if dtype is np.float32 else 707.0
    x = np.concatenate([rng.uniform(-top, top, 200), rng.normal(0, 3, 200)]).astype(dtype)
    rows = []
    with mpmath.workdps(50):
        g = mpmath.mpf(gamma)
        for u in map(mpmath.mpf, map(float, x)):
            s, rho, pi = (
                mpmath.log1p(mpmath.exp(-u)),
                1 / (1 + mpmath.exp(u)),
                1 / (1 + mpmath.exp(-u)),
            )
            plus, minus = (2 * g + 1) * rho + g * g * s * pi, g * s * rho
            size = pi * rho**g * (plus + minus)
            bent = pi * rho**g * (plus - minus)
            rows.append([rho**g * s, -(rho**g) * (rho + g * pi * s), bent, size])
        return x, *np.array([[float(v) for v in row] for row in rows]).T


@pytest.mark.parametrize("gamma", GAMMAS)
def test_accuracy_of_sigmoid_focal_loss(isa, dtype, assert_ulp, gamma):
    x, value, slope, bent, size = exact_focal(dtype, gamma)
    ulp = (BINARY_ULP + BINARY_ULP_PER_GAMMA * gamma) * WITHOUT_FMA.get(isa, 1)
    outputs = {"reduction": "none", **wanted(BINARY_OUTPUTS)}
    floor = (1 + gamma) ** 2 * 100.0 * np.finfo(dtype).tiny
    for sign, label in ((1, 1), (-1, 0)):
        y = np.full(x.shape, label)
        loss, grad, hess, proba = ck.sigmoid_focal_loss(sign * x, y, gamma=gamma, **outputs)
        for got, want, scale in (
            (loss, value, value),
            (grad, sign * slope, slope),
            (hess, bent, size),
            (proba, reference.expit(sign * x), None),
        ):
            kept = np.abs(want) > floor
            assert_ulp(got[kept], want[kept], ulp, None if scale is None else np.abs(scale[kept]))
            assert np.all(np.abs(got[~kept]) <= 2 * floor)


@pytest.mark.usefixtures("isa")
def test_gamma_0_has_the_bits_of_binary_cross_entropy(rng, dtype, assert_same_bits):
    x, y = rng.normal(0, 8, 1000).astype(dtype), rng.uniform(size=1000).astype(dtype)
    outputs = {"reduction": "none", **wanted(BINARY_OUTPUTS)}
    for options in ({}, {"sample_weight": y, "pos_weight": 2.5, "label_smoothing": 0.1}):
        assert_same_bits(
            ck.sigmoid_focal_loss(x, y, gamma=0.0, **options, **outputs),
            ck.binary_cross_entropy_with_logits(x, y, **options, **outputs),
        )


def exact_rows(name, parameter, y, softmax):
    """Return loss, gradient, Hessian's diagonal and the size of its terms by mpmath."""
    results = []
    with mpmath.workdps(50):
        parameter = {key: mpmath.mpf(value) for key, value in parameter.items()}
        for (p, r, log_p), label in zip(softmax, y, strict=True):
            value, slope, bent = phi(name, parameter, log_p, p[label], r, mpmath)
            distance = [r if c == label else v for c, v in enumerate(p)]
            grad = [slope * (-r if c == label else v) for c, v in enumerate(p)]
            terms = [(bent * d * d, slope * v * (1 - v)) for d, v in zip(distance, p, strict=True)]
            results.append((value, grad, [a + b for a, b in terms], [abs(a) + b for a, b in terms]))
    columns = zip(*results, strict=True)
    return [np.array([np.array(v, dtype=float) for v in column]) for column in columns]


@functools.cache
def exact_softmax(dtype, n_classes):
    """Return logits and labels; and of each row p, 1 - p_y and -log(p_y) by mpmath."""
    rng = np.random.default_rng(4)
    n = 15 if n_classes < 64 else 5
    x = np.concatenate([rng.normal(0, 5, (n, n_classes)), rng.normal(0, 15, (n, n_classes))])
    x, y = x.astype(dtype), rng.integers(0, n_classes, 2 * n)
    y[::2] = x[::2].argmax(axis=1)
    softmax = []
    with mpmath.workdps(50):
        for row, label in zip(x, y, strict=True):
            e = [mpmath.exp(mpmath.mpf(float(v))) for v in row]
            total = mpmath.fsum(e)
            p = [v / total for v in e]
            r = mpmath.fsum(v for c, v in enumerate(e) if c != label) / total
            softmax.append((p, r, -mpmath.log(p[label]) if r > 0.5 else -mpmath.log1p(-r)))
    return x, y, softmax


@functools.cache
def exact_problem(dtype, name, value, n_classes):
    x, y, softmax = exact_softmax(dtype, n_classes)
    parameter = next(p for n, p in OUTER if n == name and value in p.values())
    return x, y, *exact_rows(name, parameter, y, softmax)


@every_outer
@pytest.mark.parametrize("n_classes", [2, 100])
def test_accuracy_of_outer_functions(isa, dtype, assert_ulp, name, parameter, n_classes):
    (value,) = parameter.values()
    x, y, *exact, size = exact_problem(dtype, name, value, n_classes)
    got = getattr(ck, name)(x, y, reduction="none", return_grad=True, return_hess=True, **parameter)
    gamma = parameter.get("gamma", 1.0)
    ulp = (CLASS_ULP + CLASS_ULP_PER_GAMMA * gamma) * WITHOUT_FMA.get(isa, 1)
    # A probability that underflows takes its products with l and gamma with it.
    floor = 1000 * np.finfo(dtype).tiny
    for result, want, scale in zip(got, exact, (exact[0], exact[1], size), strict=True):
        # 1 + epsilon p of epsilon < 0 has terms that are larger than their sum.
        scale = np.abs(scale) if value >= 0 else 2 * np.abs(scale) + x.dtype.type(1e-3)
        kept = np.abs(scale) > floor
        assert_ulp(result[kept], want[kept], ulp, scale[kept])
        assert np.all(np.abs(result[~kept]) <= 2 * floor)


# Options


def binary_formula(x, y, gamma, alpha=None, **options):
    smoothing = options.get("label_smoothing", 0.0)
    weight = np.where(y == options["ignore_value"], 0.0, options.get("sample_weight", 1.0))
    x, y = x.astype(np.float64), y * (1 - smoothing) + smoothing / 2
    a, b = weight * options.get("pos_weight", 1.0) * y, weight * (1 - y)
    if alpha is not None:
        a, b = alpha * a, (1 - alpha) * b

    def f(u):
        return np.exp(-gamma * reference.softplus(u)) * reference.softplus(-u)

    return a * f(x) + b * f(-x), np.sum(weight)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n", [0, 1, 15, 257, 16385])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.25, 1.0])
def test_sigmoid_focal_loss_with_options(dtype, rng, assert_ulp, n, alpha):
    x, y = rng.normal(0, 3, n).astype(dtype), rng.uniform(size=n).astype(dtype)
    y[::5] = -1.0
    weight = rng.uniform(0.25, 2, n).astype(dtype)
    weight[::7] = 0.0
    for options in (
        {"ignore_value": -1.0},
        {"ignore_value": -1.0, "sample_weight": weight, "pos_weight": weight},
        {"ignore_value": -1.0, "sample_weight": weight, "label_smoothing": 0.2},
    ):
        want, total = binary_formula(x, y, 2.0, alpha, **options)
        got = ck.sigmoid_focal_loss(x, y, alpha=alpha, reduction="none", **options)
        assert_ulp(got, want, FORMULA_ULP[dtype])
        if total:
            mean = ck.sigmoid_focal_loss(x, y, alpha=alpha, **options)
            assert mean == pytest.approx(np.sum(want) / total, rel=1e-6)
        stats = ck.sigmoid_focal_loss(x, y, alpha=alpha, reduction="stats", **options)
        assert stats.count == np.count_nonzero(y != -1.0)
        assert stats.weight == pytest.approx(total, rel=1e-6)


@pytest.mark.usefixtures("isa")
@every_outer
@pytest.mark.parametrize("n_classes", [1, 3, 64, 65])
def test_outer_functions_with_options(dtype, rng, assert_ulp, name, parameter, n_classes):
    n = 300 if n_classes < 64 else 100
    x, y = rng.normal(0, 3, (n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    sample_weight = rng.uniform(0.25, 2, n).astype(dtype)
    sample_weight[::7] = 0.0
    class_weight = rng.uniform(0.25, 2, n_classes).astype(dtype)
    y[::5] = -100
    got = getattr(ck, name)(
        x,
        y,
        sample_weight=sample_weight,
        class_weight=class_weight,
        ignore_index=-100,
        reduction="none",
        **wanted(CLASS_OUTPUTS),
        **parameter,
    )
    omega = np.where(y < 0, 0.0, sample_weight.astype(float) * class_weight[y % n_classes])
    p, rest, nll = softmax_parts(x)
    label = np.where(y < 0, 0, y)[:, np.newaxis]
    log_p, p_y, r = (np.take_along_axis(v, label, 1) for v in (nll, p, rest))
    with np.errstate(all="ignore"):
        value, slope, bent = phi(name, parameter, log_p, p_y, r)
    slope, bent = (np.where(r == 0, 0.0, v) if n_classes == 1 else v for v in (slope, bent))
    distance = np.where(np.arange(n_classes) == label, -rest, p)
    omega = omega[:, np.newaxis]
    ulp = FORMULA_ULP[dtype]
    kept = omega[:, 0] > 0
    assert_ulp(got[0], np.where(kept, (omega * value)[:, 0], 0.0), ulp, got[0].astype(float) + 1e-3)
    assert_ulp(got[1], np.where(kept[:, None], omega * slope * distance, 0.0), ulp)
    hess = omega * (bent * distance**2 + slope * p * rest)
    size = omega * (np.abs(bent) * distance**2 + slope * p * rest)
    assert_ulp(got[2], np.where(kept[:, None], hess, 0.0), ulp, size)
    assert_ulp(got[3], p, ulp)
    assert_ulp(got[4], reference.logsumexp(x, axis=-1), ulp, np.maximum(np.abs(x).max(axis=1), 1))
    mean = getattr(ck, name)(
        x, y, sample_weight=sample_weight, class_weight=class_weight, ignore_index=-100, **parameter
    )
    assert mean == pytest.approx(np.sum(got[0], dtype=float) / np.sum(omega), rel=1e-6)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_axis(dtype, rng, assert_same_bits, axis):
    x = rng.normal(size=(4, 5, 6)).astype(dtype)
    moved = np.moveaxis(x, axis, -1).copy()
    y = rng.integers(0, 4, moved.shape[:-1])
    outputs = {"reduction": "none", **wanted(CLASS_OUTPUTS)}
    want = ck.softmax_focal_loss(moved, y, **outputs)
    loss, *arrays, lse = ck.softmax_focal_loss(x, y, axis=axis, **outputs)
    assert_same_bits((loss, lse), (want[0], want[-1]))
    back = np.empty_like(x)
    given = ck.softmax_focal_loss(x, y, axis=axis, grad_out=back)
    assert given[1] is back
    for got, expected in zip(arrays, want[1:-1], strict=True):
        assert_same_bits(np.moveaxis(got, axis, -1).copy(), expected)
    v = rng.normal(size=x.shape).astype(dtype)
    got = ck.cross_entropy_hvp(x, y, v, axis=axis)
    want = ck.cross_entropy_hvp(moved, y, np.moveaxis(v, axis, -1))
    assert_same_bits(np.moveaxis(got, axis, -1).copy(), want)
    want = ck.cross_entropy_hessian(moved, y)
    assert_same_bits(ck.cross_entropy_hessian(x, y, axis=axis), want)


# Derivatives


def check_derivatives(function, x):
    """Compare gradient and Hessian's diagonal with central differences; each entry by itself."""
    _, grad, hess = function(x, return_grad=True, return_hess=True)
    for i in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[i] = DIFFERENCE
        up, down = (function(x + s, return_grad=True) for s in (step, -step))
        assert (up[0] - down[0]) / (2 * DIFFERENCE) == pytest.approx(grad[i], rel=1e-6, abs=1e-8)
        bent = (up[1][i] - down[1][i]) / (2 * DIFFERENCE)
        assert bent == pytest.approx(hess[i], rel=1e-6, abs=1e-8)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("gamma", GAMMAS)
def test_derivatives_of_sigmoid_focal_loss(gamma):
    x, y = np.array([-4.0, -1.0, 0.5, 3.0]), np.array([0.0, 1.0, 0.3, 1.0])
    check_derivatives(
        functools.partial(ck.sigmoid_focal_loss, targets=y, gamma=gamma, alpha=0.3), x
    )


@pytest.mark.usefixtures("isa")
@every_outer
@pytest.mark.parametrize("n_classes", [3, 65])
def test_derivatives_of_outer_functions(name, parameter, n_classes):
    x = np.linspace(-2, 2, 2 * n_classes).reshape(2, -1)[:, ::-1] ** 2
    y = np.array([1, n_classes - 1])
    check_derivatives(functools.partial(getattr(ck, name), labels=y, **parameter), x)


# Literals


@pytest.mark.usefixtures("isa")
def test_sigmoid_focal_loss_at_0(dtype):
    x, y = np.zeros(2, dtype), np.array([1, 0])
    loss, grad = ck.sigmoid_focal_loss(x, y, alpha=0.25, reduction="none", return_grad=True)
    # f(0) = log(2) / 4, f'(0) = -(1 / 4) (1 / 2 + log(2)).
    np.testing.assert_allclose(loss, np.array([0.25, 0.75]) * math.log(2) / 4, rtol=3e-7)
    slope = (0.5 + math.log(2)) / 4
    np.testing.assert_allclose(grad, [-0.25 * slope, 0.75 * slope], rtol=3e-7)


@pytest.mark.usefixtures("isa")
def test_odds_of_three(dtype):
    # p_y = 3 / 4 of two classes.
    x, y = np.array([[math.log(3), 0.0]], dtype), [0]
    nll = math.log(4 / 3)
    near = functools.partial(pytest.approx, rel=5e-7)
    assert ck.softmax_focal_loss(x, y, gamma=2) == near(nll / 16)
    assert ck.sigmoid_focal_loss(x[:, 0], [1], gamma=2) == near(nll / 16)
    assert ck.poly1_loss(x, y, epsilon=2) == near(nll + 0.5)
    assert ck.generalized_cross_entropy(x, y, q=1) == near(0.25)
    assert ck.generalized_cross_entropy(x, y, q=0.5) == near(2 * (1 - math.sqrt(0.75)))
    _, grad, hess = ck.poly1_loss(x, y, epsilon=2, return_grad=True, return_hess=True)
    assert grad[0] == near([-0.625, 0.625])
    assert hess[0] == near([2.5 * 3 / 16 - 1.5 / 16] * 2)


# Edge cases


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 1000.0])
def test_infinite_logits_of_sigmoid_focal_loss(dtype, gamma):
    x, y = (
        np.array(v, dtype) for v in zip(*itertools.product([INF, -INF], [1, 0, 0.5]), strict=True)
    )
    loss, grad, hess, proba = ck.sigmoid_focal_loss(
        x, y, gamma=gamma, reduction="none", **wanted(BINARY_OUTPUTS)
    )
    assert loss.tolist() == [0, INF, INF, INF, 0, INF]
    assert grad.tolist() == [0, 1, 0.5, -1, 0, -0.5]
    assert hess.tolist() == [0] * 6
    assert proba.tolist() == [1] * 3 + [0] * 3
    results = ck.sigmoid_focal_loss(
        np.array([NAN], dtype), [1], gamma=gamma, reduction="none", **wanted(BINARY_OUTPUTS)
    )
    assert all(np.isnan(result[0]) for result in results)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [2, 10, 64, 65, 97, 300])
@every_outer
def test_infinite_logits_of_outer_functions(dtype, name, parameter, n_classes):
    x = np.zeros((6, n_classes), dtype)
    x[0, 1] = -INF  # a masked label
    x[1, 1] = INF  # certain and right
    x[2, 0] = INF  # certain and wrong
    x[3] = -INF
    x[4, 1] = NAN
    x[5, 0] = -INF  # a masked class
    loss, grad, hess = getattr(ck, name)(
        x, np.ones(6, int), reduction="none", return_grad=True, return_hess=True, **parameter
    )
    worst = 1 / parameter["q"] if "q" in parameter else INF
    slope = 0.0 if "q" in parameter else 1.0
    np.testing.assert_allclose(loss[[0, 2]], worst, rtol=1e-6)
    assert loss[1] == 0
    assert np.isnan(loss[3:5]).all()
    assert np.isfinite(loss[5])
    share = slope / (n_classes - 1)
    np.testing.assert_allclose(grad[0], [share, -slope, *[share] * (n_classes - 2)], rtol=1e-6)
    assert not grad[1].any()
    assert not hess[1].any()
    assert grad[2].tolist() == [slope, -slope, *[0] * (n_classes - 2)]
    assert np.isnan(grad[3:5]).all()
    assert grad[5, 0] == hess[5, 0] == 0
    assert np.isfinite(hess[[0, 1, 2, 5]]).all()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [3, 70])
@pytest.mark.parametrize("value", [NAN, INF])
@every_outer
def test_ignored_rows_are_not_read(dtype, name, parameter, n_classes, value):
    x = np.zeros((3, n_classes), dtype)
    x[1] = value
    function = functools.partial(
        getattr(ck, name), reduction="none", return_grad=True, return_hess=True, **parameter
    )
    weights = np.ones(n_classes)
    weights[2] = 0.0
    for results in (
        function(x, [0, -1, 1], ignore_index=-1),
        function(x, [0, 0, 1], sample_weight=[1, 0, 1]),
        function(x, [0, 2, 1], class_weight=weights),
    ):
        assert all(np.all(result[1] == 0) and np.isfinite(result).all() for result in results)


@pytest.mark.usefixtures("isa")
def test_nothing_left_to_average(dtype):
    x, y = np.ones((4, 3), dtype), np.ones(4, int)
    calls = [(getattr(ck, name), parameter) for name, parameter in OUTER]
    for function, parameter in calls:
        with pytest.warns(RuntimeWarning):
            loss, grad = function(x, y, ignore_index=1, return_grad=True, **parameter)
        assert math.isnan(loss)
        assert not grad.any()
        assert function(x[:0], y[:0], reduction="sum", **parameter) == 0.0
        assert function(x[:0], y[:0], reduction="none", **parameter).shape == (0,)
    with pytest.warns(RuntimeWarning):
        assert math.isnan(ck.sigmoid_focal_loss(x[:0], x[:0]))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("integer", ["int8", "int16", "int32", "uint8", "uint32", "uint64", "bool"])
def test_integer_labels_of_every_width(rng, dtype, assert_same_bits, integer):
    x, y = rng.normal(0, 6, (99, 2)).astype(dtype), rng.integers(0, 2, 99)
    for name, parameter in OUTER:
        function = functools.partial(getattr(ck, name), return_grad=True, **parameter)
        assert_same_bits(function(x, y.astype(integer)), function(x, y))
    assert_same_bits(ck.cross_entropy_hvp(x, y.astype(integer), x), ck.cross_entropy_hvp(x, y, x))
    column = x[:, 0].copy()
    assert_same_bits(
        ck.sigmoid_focal_loss(column, y.astype(integer)), ck.sigmoid_focal_loss(column, y)
    )


# Errors


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("softmax_focal_loss", {"gamma": -1}, r"gamma must be in \[0, 1000\], got -1"),
        ("softmax_focal_loss", {"gamma": NAN}, r"gamma must be in \[0, 1000\], got nan"),
        ("poly1_loss", {"epsilon": INF}, "epsilon must be finite, got inf"),
        ("generalized_cross_entropy", {"q": 0}, r"q must be in \[1e-6, 1\], got 0"),
        ("generalized_cross_entropy", {"q": 1.5}, r"q must be in \[1e-6, 1\], got 1.5"),
        ("poly1_loss", {"axis": 2}, r"axis must be in \[-2, 2\), got 2"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(ck, name)(np.zeros((2, 3)), [0, 1], **options)


@pytest.mark.usefixtures("isa")
def test_errors():
    x, grad = np.zeros((2, 3)), np.full((2, 3), 7.0)
    with pytest.raises(ck.LabelError, match=r"labels\[1\] is 3, but labels must be in \[0, 3\)"):
        ck.poly1_loss(x, [0, 3], grad_out=grad)
    assert np.all(grad == 7.0)
    with pytest.raises(TypeError, match="labels must be integers, got dtype float64"):
        ck.poly1_loss(x, [0.0, 1.0])
    with pytest.raises(
        ValueError, match=r"labels must have the shape of logits without the last axis"
    ):
        ck.softmax_focal_loss(x, [0])
    with pytest.raises(ValueError, match="grad_out shares memory with sample_weight"):
        ck.softmax_focal_loss(x, [0, 1], sample_weight=grad[:, 0], grad_out=grad)
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 2"):
        ck.sigmoid_focal_loss(x, x, alpha=2)
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\], got 2.0 at \[0, 0\]"):
        ck.sigmoid_focal_loss(x, x + 2)
    with pytest.raises(ValueError, match=r"v must have shape \(2, 3\), got \(3,\)"):
        ck.cross_entropy_hvp(x, [0, 1], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum', got 'none'"):
        ck.cross_entropy_hvp(x, [0, 1], x, reduction="none")
    with pytest.raises(ValueError, match="out shares memory with logits"):
        ck.cross_entropy_hvp(x, [0, 1], grad, out=x)
    with pytest.raises(ValueError, match=r"out must have shape \(2, 3, 3\), got \(2, 3\)"):
        ck.cross_entropy_hessian(x, [0, 1], out=grad)
    with pytest.raises(ValueError, match="out shares memory with v"):
        ck.binary_cross_entropy_hvp(x, x, grad, out=grad)


# Equal bits


def bits_problem(name, rng, dtype, n, n_classes=None):
    """Return a function of the options of a call, and its outputs."""
    weight = rng.uniform(0.25, 2, n).astype(dtype)
    if n_classes is None:
        x, y = rng.normal(0, 6, n).astype(dtype), rng.uniform(size=n).astype(dtype)
        function, outputs = functools.partial(ck.sigmoid_focal_loss, alpha=0.3), BINARY_OUTPUTS
    else:
        x, y = rng.normal(0, 6, (n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
        function, outputs = getattr(ck, name), CLASS_OUTPUTS
    return x, functools.partial(function, sample_weight=weight), y, outputs


BITS = [
    ("sigmoid_focal_loss", None),
    *itertools.product(("softmax_focal_loss", "poly1_loss", "generalized_cross_entropy"), (3, 100)),
]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("name", "n_classes"), BITS)
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_same_bits_of_any_call(rng, dtype, assert_same_bits, name, n_classes, reduction):
    x, function, y, outputs = bits_problem(name, rng, dtype, 300, n_classes)
    loss, *arrays = function(x, y, reduction=reduction, **wanted(outputs))
    everything = dict(zip(outputs, arrays, strict=True))
    for size in range(len(outputs)):
        for names in itertools.combinations(outputs, size):
            want = (loss, *(everything[n] for n in names)) if names else loss
            assert_same_bits(function(x, y, reduction=reduction, **wanted(names)), want)
    for layout in (np.asfortranarray, lambda a: np.repeat(a, 3, axis=0)[1::3]):
        got = function(layout(x), layout(y), reduction=reduction, **wanted(outputs))
        assert_same_bits(got, (loss, *arrays))
    in_place = x.copy()
    got = function(in_place, y, reduction=reduction, grad_out=in_place)
    assert got[1] is in_place
    assert_same_bits(got, (loss, everything["grad"]))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("name", "n_classes"), BITS)
def test_same_bits_of_any_number_of_threads(
    rng, dtype, assert_same_bits, monkeypatch, name, n_classes
):
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)
    n = LONG // (n_classes or 1)
    x, function, y, _ = bits_problem(name, rng, dtype, n, n_classes)
    want = function(x, y, return_grad=True, n_threads=1)
    for n_threads in (2, 3):
        assert_same_bits(function(x, y, return_grad=True, n_threads=n_threads), want)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [1, 3, 31, 64, 65, 96, 97, 129, 300])
def test_nothing_is_written_beside_the_results(rng, dtype, n_classes):
    x, v = rng.normal(0, 3, (2, 5, n_classes)).astype(dtype)
    x[2] = NAN
    y = rng.integers(0, n_classes, 5)
    for function, arrays, shape in (
        (ck.cross_entropy_hvp, (x, y, v), x.shape),
        (ck.cross_entropy_hessian, (x, y), (5, n_classes, n_classes)),
        (ck.binary_cross_entropy_hvp, (x, np.abs(v) % 1, v), x.shape),
    ):
        size = math.prod(shape)
        whole = np.full(size + 34, 12345.0, dtype)
        out = whole[17 : 17 + size].reshape(shape)
        function(*arrays, out=out)
        assert np.isnan(out[2]).all()
        assert np.isfinite(out[[0, 1, 3, 4]]).all()
        assert np.all(whole[:17] == 12345.0)
        assert np.all(whole[-17:] == 12345.0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("name", "n_classes"), BITS)
def test_no_temporary_of_the_size_of_the_logits(rng, dtype, name, n_classes):
    n = LONG // (n_classes or 1)
    x, function, y, outputs = bits_problem(name, rng, dtype, n, n_classes)
    outs = {f"{output}_out": np.empty_like(x) for output in outputs if output != "lse"}
    tracemalloc.start()
    function(x, y, **outs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LONG // 4


FMA_ISAS = [name for name in _runtime.available_isas() if name != "baseline"]


@pytest.mark.usefixtures("isa")
@pytest.mark.skipif(len(FMA_ISAS) < 2, reason="this processor runs one ISA with FMA")
def test_isas_with_fma_have_the_same_bits(rng, dtype, assert_same_bits):
    problems = [bits_problem(name, rng, dtype, 500, n_classes) for name, n_classes in BITS]
    results = []
    for isa in FMA_ISAS:
        with _runtime.use_isa(isa):
            losses = [f(x, y, reduction="none", **wanted(o)) for x, f, y, o in problems]
            x, _, y, _ = problems[-1]
            blocks = ck.cross_entropy_hvp(x, y, x), ck.cross_entropy_hessian(x[:20], y[:20])
            results.append((*losses, *blocks))
    assert_same_bits(results[0], results[1])
