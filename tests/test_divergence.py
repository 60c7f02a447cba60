"""Divergences of softmax and probabilities, and the negative log likelihood of log-probabilities."""

import functools
import itertools
import math

import mpmath
import numpy as np
import pytest

import cekernels as ck
from cekernels import _parallel, _runtime, reference

pytestmark = pytest.mark.usefixtures("isa")

# Of p, and of the sum of the terms that are never negative.
PROBA_ULP = 2
TERM_ULP = 4
# Of the larger of p and t.
GRAD_ULP = 6
NLL_ULP = 4
WITHOUT_FMA = {"baseline": 2}

INF, NAN = math.inf, math.nan
LONG = 9 * 16384 + 123
CLASSES = [2, 3, 10, 64, 65, 96, 97, 256, 257, 300]
CLASS_OUTPUTS = ("grad", "hess", "proba", "lse")
DIVERGENCES = ["kl_divergence", "js_divergence"]


def wanted(outputs):
    return {f"return_{name}": True for name in outputs}


def target_rows(rng, shape, dtype):
    """Return sparse probabilities: about a tenth of them is 0."""
    target = rng.gamma(0.3, 1.0, shape) + 1e-9
    target[rng.uniform(size=shape) < 0.1] = 0.0
    target[..., 0] += 1e-3
    return (target / target.sum(axis=-1, keepdims=True)).astype(dtype)


def exact_divergences(x, t):
    """Return both divergences, both gradients, and p, by mpmath."""
    results = []
    with mpmath.workdps(50):
        for row, target in zip(x, t, strict=True):
            e = [mpmath.exp(mpmath.mpf(float(v))) for v in row]
            p, target = [v / mpmath.fsum(e) for v in e], [mpmath.mpf(float(v)) for v in target]
            pairs = list(zip(p, target, strict=True))
            total = mpmath.fsum(target)
            log_p = [mpmath.log(2 * v / (v + u)) for v, u in pairs]
            log_t = [mpmath.log(2 * u / (v + u)) if u else 0 for v, u in pairs]
            from_p = mpmath.fsum(v * q for v, q in zip(p, log_p, strict=True))
            from_t = mpmath.fsum(u * q for u, q in zip(target, log_t, strict=True))
            results.append(
                (
                    mpmath.fsum(u * mpmath.log(u / v) for v, u in pairs if u),
                    [total * v - u for v, u in pairs],
                    (from_p + from_t) / 2,
                    [v * (q - from_p) / 2 for v, q in zip(p, log_p, strict=True)],
                    p,
                )
            )
    columns = zip(*results, strict=True)
    return [np.array([np.array(v, dtype=float) for v in column]) for column in columns]


@functools.cache
def exact_problem(dtype, n_classes, share):
    rng = np.random.default_rng(6)
    x = rng.normal(0, 4, (12, n_classes)).astype(dtype)
    t = target_rows(rng, x.shape, dtype)
    if share is not None:
        t = reference.softmax(x, axis=-1) * (1 + share * rng.choice([-1, 1], x.shape))
        t = (t / t.sum(axis=-1, keepdims=True)).astype(dtype)
    return x, t, *exact_divergences(x, t)


@pytest.mark.parametrize("share", [None, 0.3, 1e-2, 1e-3])
@pytest.mark.parametrize(
    "n_classes", [2, 10, 65, *(pytest.param(n, marks=pytest.mark.slow) for n in (64, 300))]
)
def test_accuracy(isa, dtype, assert_ulp, n_classes, share):
    x, t, kl, kl_grad, js, js_grad, p = exact_problem(dtype, n_classes, share)
    factor = WITHOUT_FMA.get(isa, 1)
    outputs = {"reduction": "none", "return_grad": True}
    got_kl, got_kl_grad = ck.kl_divergence(x, t, **outputs)
    got_js, got_js_grad = ck.js_divergence(x, t, **outputs)
    # What a relative error of p makes of a divergence; and roundings of the terms themselves.
    unit, shift = factor * np.finfo(dtype).eps, np.abs(np.sum(t, axis=-1, dtype=float) - 1)
    inherited = PROBA_ULP * (np.sum(np.abs(p - t), axis=-1) + PROBA_ULP * unit)
    for got, want in ((got_kl, kl), (got_js, js)):
        assert np.all(np.abs(got - want) <= unit * (inherited + TERM_ULP * (want + 2 * shift)))
    assert_ulp(got_kl_grad, kl_grad, factor * GRAD_ULP, np.maximum(p, t))
    assert_ulp(got_js_grad, js_grad, factor * GRAD_ULP, np.maximum(p, t))


@pytest.mark.parametrize("n_classes", CLASSES)
def test_kl_divergence_has_the_derivatives_of_cross_entropy(
    dtype, rng, assert_same_bits, n_classes
):
    x = rng.normal(0, 4, (300, n_classes)).astype(dtype)
    t = target_rows(rng, x.shape, dtype)
    for reduction in ("none", "mean"):
        outputs = {"reduction": reduction, **wanted(CLASS_OUTPUTS)}
        got, want = ck.kl_divergence(x, t, **outputs), ck.cross_entropy(x, t, **outputs)
        assert_same_bits(got[1:], want[1:])
        entropy = -np.sum(t * np.log(np.where(t == 0, 1, t).astype(float)), axis=-1)
        entropy = entropy if reduction == "none" else np.sum(entropy) / np.sum(t, dtype=float)
        np.testing.assert_allclose(got[0], want[0] - entropy, rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("n_classes", [3, 70])
def test_weights(dtype, rng, assert_ulp, name, n_classes):
    x = rng.normal(0, 4, (300, n_classes)).astype(dtype)
    t, weight = target_rows(rng, x.shape, dtype), rng.uniform(0.25, 2, 300).astype(dtype)
    weight[::7] = 0.0
    x[0] = NAN
    function = functools.partial(getattr(ck, name), x, t, return_grad=True)
    loss, grad = function(reduction="none")
    got = function(reduction="none", sample_weight=weight)
    kept = weight > 0
    assert not got[0][~kept].any()
    assert not got[1][~kept].any()
    assert_ulp(got[0][kept], loss[kept] * weight[kept].astype(float), 3)
    size = np.abs(weight[kept, None].astype(float))
    assert_ulp(got[1][kept], grad[kept] * size, 4, size)
    mean, mean_grad = function(sample_weight=weight)
    total = np.sum(weight * np.sum(t, axis=-1, dtype=float))
    assert mean == pytest.approx(np.sum(got[0], dtype=float) / total, rel=1e-6)
    np.testing.assert_allclose(mean_grad, got[1] / total, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("n_classes", [4, 67])
def test_gradients_against_differences(rng, name, n_classes):
    x = rng.normal(0, 1, (2, n_classes))
    t = target_rows(rng, x.shape, np.float64)
    function = getattr(ck, name)
    _, grad = function(x, t, return_grad=True)
    for i in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[i] = 1e-5
        difference = (function(x + step, t) - function(x - step, t)) / 2e-5
        assert difference == pytest.approx(grad[i], rel=1e-6, abs=1e-9)


def test_literals(dtype):
    near = functools.partial(pytest.approx, rel=1e-6)
    x = np.zeros((1, 2), dtype)
    # log 2 less the entropy of (3/4, 1/4), 2 log 2 - (3/4) log 3.
    assert ck.kl_divergence(x, np.array([[0.75, 0.25]])) == near(0.75 * math.log(3) - math.log(2))
    assert ck.kl_divergence(x, np.array([[1.0, 0.0]])) == near(math.log(2))
    # m = (3/4, 1/4): [log(4/3) + log(2/3) / 2 + log(2) / 2] / 2.
    loss, grad = ck.js_divergence(x, np.array([[1.0, 0.0]]), return_grad=True)
    assert loss == near(0.75 * math.log(4 / 3))
    assert grad[0] == near([-math.log(3) / 8, math.log(3) / 8])
    assert ck.kl_divergence(x, np.array([[0.5, 0.5]])) == 0.0
    assert ck.js_divergence(x, np.array([[0.5, 0.5]])) == 0.0


@pytest.mark.parametrize("n_classes", [3, 10, 65, 97, 300])
def test_special_values(dtype, n_classes):
    x, t = np.zeros((8, n_classes), dtype), np.zeros((8, n_classes), dtype)
    t[:, 0] = t[:, 1] = 0.5
    x[0, 0] = -INF  # masked, with a target
    x[1, 2] = -INF  # masked, without
    x[2, 0] = NAN
    x[3] = -INF
    x[4, 0], t[4] = INF, np.eye(n_classes)[0]  # certain and right
    x[5, 2] = INF  # certain and wrong
    t[6, 1] = -0.5
    x[7, 0], t[7, 2] = 300.0, 1e-40  # p underflows, its logarithm does not
    outputs = {"reduction": "none", "return_grad": True}
    kl, kl_grad = ck.kl_divergence(x, t, **outputs)
    js, js_grad = ck.js_divergence(x, t, **outputs)
    assert kl[[0, 5]].tolist() == [INF, INF]
    assert np.isfinite(kl[[1, 7]]).all()
    assert kl[7] == pytest.approx(150 - math.log(2), rel=1e-5)
    assert np.isnan(kl[[2, 3, 6]]).all()
    assert np.isnan(js[[2, 3, 6]]).all()
    assert np.isnan(js_grad[[2, 3]]).all()
    assert np.isnan(js_grad[6]).any()
    assert kl[4] == js[4] == 0
    assert np.isfinite(js[[0, 1, 5, 7]]).all()
    assert js[5] == pytest.approx(math.log(2), rel=1e-6)
    assert np.isfinite(js_grad[[0, 1, 4, 5, 7]]).all()
    assert np.isfinite(kl_grad[[0, 1, 4, 5, 7]]).all()
    assert kl_grad[1, 2] == js_grad[1, 2] == 0


# Negative log likelihood


def test_nll_loss_with_options(isa, dtype, rng, assert_ulp):
    for n_classes, soft in itertools.product(CLASSES, (False, True)):
        x = reference.log_softmax(rng.normal(0, 4, (60, n_classes)), axis=-1).astype(dtype)
        y = rng.integers(0, n_classes, 60)
        y[::5] = -1
        target = target_rows(rng, x.shape, dtype) if soft else y
        weight = rng.uniform(0.25, 2, 60).astype(dtype)
        weight[::7] = 0.0
        class_weight = rng.uniform(0.5, 1.5, n_classes).astype(dtype)
        for smoothing in (0.0, 0.2):
            options = {"sample_weight": weight, "class_weight": class_weight}
            options |= {"label_smoothing": smoothing, "ignore_index": None if soft else -1}
            hard = target if soft else np.where(y[:, np.newaxis] < 0, 0, np.eye(n_classes)[y])
            hard = hard.astype(np.longdouble)  # for the rounding errors not to be the reference's
            rows = weight.astype(np.longdouble) * (1 if soft else y >= 0)
            total = rows * np.sum(hard * class_weight, axis=-1)
            smoothed = hard * (1 - smoothing) + smoothing / n_classes
            q = rows[:, np.newaxis] * class_weight * smoothed
            ulp = NLL_ULP * WITHOUT_FMA.get(isa, 1)
            loss, grad = ck.nll_loss(x, target, reduction="none", return_grad=True, **options)
            assert_ulp(loss, -np.sum(q * x, axis=-1), ulp)
            assert_ulp(grad, -q, ulp)
            mean, grad = ck.nll_loss(x, target, return_grad=True, **options)
            assert mean == pytest.approx(-np.sum(q * x) / np.sum(total), rel=1e-6)
            assert_ulp(grad, -q / np.sum(total), ulp + 1)


def test_nll_loss_is_the_end_of_cross_entropy(dtype, rng):
    x, y = rng.normal(0, 4, (50, 7)).astype(dtype), rng.integers(0, 7, 50)
    log_p = reference.log_softmax(x, axis=-1).astype(dtype)
    assert ck.nll_loss(log_p, y) == pytest.approx(ck.cross_entropy(x, y), rel=1e-6)


@pytest.mark.parametrize("n_classes", [2, 300])
def test_nll_loss_of_special_values(dtype, n_classes):
    x = np.full((4, n_classes), -1.0, dtype)
    x[0, 1], x[1, 0], x[2] = -INF, NAN, NAN
    loss, grad = ck.nll_loss(x, [1, 1, -1, 1], ignore_index=-1, reduction="none", return_grad=True)
    assert loss.tolist() == [INF, 1, 0, 1]
    assert grad[:, 1].tolist() == [-1, -1, 0, -1]
    assert not grad[:, 0].any()
    proba = np.zeros_like(x)
    proba[:, 1] = 1.0
    got = ck.nll_loss(x, proba, sample_weight=[1, 1, 0, 1], reduction="none")
    assert got.tolist() == [INF, 1, 0, 1]
    got = ck.nll_loss(x, np.ones(4, int), reduction="none", label_smoothing=0.5)
    assert got[0] == INF
    assert np.isnan(got[1:3]).all()


def test_literal_nll_loss(dtype):
    x = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])).astype(dtype)
    loss, grad = ck.nll_loss(x, [0, 2], class_weight=[1, 1, 3], return_grad=True)
    want = (math.log(2) + 3 * math.log(1.25)) / 4
    assert loss == pytest.approx(want, rel=3e-7)
    assert grad.tolist() == [[-0.25, 0, 0], [0, 0, -0.75]]


@pytest.mark.parametrize("integer", ["int8", "int16", "int32", "uint8", "uint32", "uint64", "bool"])
def test_integer_labels_of_every_width(rng, dtype, assert_same_bits, integer):
    x, y = rng.normal(0, 6, (99, 2)).astype(dtype), rng.integers(0, 2, 99)
    function = functools.partial(ck.nll_loss, return_grad=True)
    assert_same_bits(function(x, y.astype(integer)), function(x, y))


# All of them


def call(name, x, t, **options):
    return getattr(ck, name)(x, t, **options)


ALL = [*DIVERGENCES, "nll_loss"]


@pytest.mark.parametrize("name", ALL)
def test_nothing_left_to_average(dtype, name):
    x = np.full((3, 4), 0.25, dtype)
    for rows, weight in ((x[:0], None), (x, 0.0)):
        with pytest.warns(RuntimeWarning):
            loss, grad = call(name, rows, rows, sample_weight=weight, return_grad=True)
        assert math.isnan(loss)
        assert not grad.any()
        assert call(name, rows, rows, sample_weight=weight, reduction="sum") == 0.0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("n_classes", [3, 100, 300])
def test_same_bits(rng, dtype, assert_same_bits, monkeypatch, name, n_classes):
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)
    n = LONG // n_classes // 4
    x = rng.normal(0, 4, (n, n_classes)).astype(dtype)
    t, weight = target_rows(rng, x.shape, dtype), rng.uniform(size=n).astype(dtype)
    outputs = CLASS_OUTPUTS if name == "kl_divergence" else ("grad",)
    for reduction in ("none", "mean"):
        function = functools.partial(call, name, reduction=reduction, sample_weight=weight)
        want = function(x, t, **wanted(outputs), n_threads=1)
        assert_same_bits(function(x, t, **wanted(outputs), n_threads=3), want)
        for size in range(len(outputs)):
            for names in itertools.combinations(outputs, size):
                chosen = (want[0], *(want[1 + outputs.index(name)] for name in names))
                got = function(x, t, **wanted(names))
                assert_same_bits(got, chosen if names else want[0])
        for layout in (np.asfortranarray, lambda a: np.repeat(a, 3, axis=0)[1::3]):
            assert_same_bits(function(layout(x), layout(t), **wanted(outputs)), want)
        moved = function(x.T, t.T, axis=0, return_grad=True)
        assert_same_bits((moved[0], moved[1].T.copy()), want[:2])
        in_place = x.copy()
        got = function(in_place, t, grad_out=in_place)
        assert got[1] is in_place
        assert_same_bits(got, want[:2])


FMA_ISAS = [name for name in _runtime.available_isas() if name != "baseline"]


@pytest.mark.skipif(len(FMA_ISAS) < 2, reason="this processor runs one ISA with FMA")
@pytest.mark.parametrize("name", ALL)
def test_isas_with_fma_have_the_same_bits(rng, dtype, assert_same_bits, name):
    results = []
    problems = [
        (rng.normal(0, 4, shape).astype(dtype), target_rows(rng, shape, dtype))
        for shape in ((300, 3), (100, 103))
    ]
    for isa in FMA_ISAS:
        with _runtime.use_isa(isa):
            calls = [call(name, x, t, reduction="none", return_grad=True) for x, t in problems]
            results.append(tuple(calls))
    assert_same_bits(results[0], results[1])


def test_errors():
    x, t = np.zeros((2, 2, 3))
    for name in DIVERGENCES:
        with pytest.raises(TypeError, match="targets must be probabilities, of a float dtype"):
            getattr(ck, name)(x, [0, 1])
        with pytest.raises(ValueError, match=r"targets must have the shape of logits, \(2, 3\)"):
            getattr(ck, name)(x, np.zeros((3, 2)))
        with pytest.raises(ValueError, match="grad_out shares memory with targets"):
            getattr(ck, name)(x, t, grad_out=t)
    with pytest.raises(ck.LabelError, match=r"targets\[1\] is 3"):
        ck.nll_loss(x, [0, 3])
    with pytest.raises(ValueError, match="log_probs must have an axis of classes, got a scalar"):
        ck.nll_loss(0.0, 0)
