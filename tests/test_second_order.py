"""Hessians of losses and their products with vectors."""

import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import _parallel, reference

# Products of two probabilities; those in float64 have as much of an error themselves.
SECOND_ORDER_ULP = {np.float32: 10, np.float64: 16}
WITHOUT_FMA = {"baseline": 1.5}
DIFFERENCE = 1e-6
INF, NAN = math.inf, math.nan
LONG = 9 * 16384 + 123


def softmax_parts(x):
    """Return p, 1 - p and -log(p) in float64."""
    log_p = reference.log_softmax(x, axis=-1)
    return reference.softmax(x, axis=-1), -np.expm1(log_p), -log_p


def hessian_problem(rng, dtype, n_classes, soft):
    n = 40 if n_classes <= 64 else 10  # beyond, rows are computed one by one
    x = np.concatenate([rng.normal(0, 2, (n, n_classes)), rng.normal(0, 12, (n, n_classes))])
    x, v = x.astype(dtype), rng.normal(size=(2 * n, n_classes)).astype(dtype)
    weight = rng.uniform(0.25, 2, 2 * n).astype(dtype)
    weight[::7] = 0.0
    options = {"sample_weight": weight, "label_smoothing": 0.1 * soft}
    y = rng.integers(0, n_classes, 2 * n)
    if soft:
        return x, reference.softmax(v * 2, axis=-1).astype(dtype), v, options
    options["class_weight"] = rng.uniform(0.5, 1.5, n_classes).astype(dtype)
    y[::5] = -1
    return x, y, v, {**options, "ignore_index": -1}


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    "n_classes", [1, 2, 10, 64, 65, 100, pytest.param(257, marks=pytest.mark.slow)]
)
def test_hessian_of_cross_entropy(every_isa, dtype, rng, assert_ulp, n_classes, soft):
    x, y, v, options = hessian_problem(rng, dtype, n_classes, soft)
    weight = options["sample_weight"].astype(float)[:, np.newaxis]
    q = y * 0.9 + 0.1 / n_classes if soft else np.eye(n_classes)[y] * options["class_weight"]
    q = weight * q if soft else weight * np.where(y[:, np.newaxis] < 0, 0.0, q)
    divisor = np.sum(weight * y) if soft else np.sum(q)
    p, rest, _ = softmax_parts(x)
    total = np.sum(q, axis=-1)[:, np.newaxis, np.newaxis]
    blocks = -total * p[:, :, np.newaxis] * p[:, np.newaxis, :]
    diagonal = np.arange(n_classes)
    blocks[:, diagonal, diagonal] = total[..., 0] * p * rest
    differences = v[:, :, np.newaxis].astype(float) - v[:, np.newaxis, :]
    product = -np.sum(blocks * differences, axis=-1, where=~np.eye(n_classes, dtype=bool))
    size = -np.sum(np.minimum(blocks, 0) * np.abs(differences), axis=-1)
    for isa in every_isa():
        ulp = SECOND_ORDER_ULP[dtype] * WITHOUT_FMA.get(isa, 1)
        got = ck.cross_entropy_hessian(x, y, reduction="sum", **options)
        assert_ulp(got, blocks, ulp)
        assert_ulp(ck.cross_entropy_hessian(x, y, **options), blocks / divisor, ulp + 1)
        got = ck.cross_entropy_hvp(x, y, v, reduction="sum", **options)
        assert_ulp(got, product, ulp, size)
        got = ck.cross_entropy_hvp(x, y, v, denominator=7.0, **options)
        assert_ulp(got, product / 7.0, ulp + 1, size / 7.0)


@pytest.mark.usefixtures("isa")
def test_hvp_is_the_derivative_of_the_gradient():
    rng = np.random.default_rng(5)
    for n_classes in (4, 80):
        x, v = rng.normal(size=(2, 6, n_classes))
        y = rng.integers(0, n_classes, 6)
        up, down = (
            ck.cross_entropy(x + s * v, y, label_smoothing=0.2, return_grad=True)[1]
            for s in (DIFFERENCE, -DIFFERENCE)
        )
        got = ck.cross_entropy_hvp(x, y, v, label_smoothing=0.2)
        np.testing.assert_allclose(got, (up - down) / (2 * DIFFERENCE), rtol=1e-6, atol=1e-10)


@pytest.mark.usefixtures("isa")
def test_hvp_of_binary_cross_entropy(dtype, rng, assert_ulp, assert_same_bits):
    n = 3000
    x, v = rng.normal(0, 8, (2, n)).astype(dtype)
    y, weight = rng.uniform(size=(2, n)).astype(dtype)
    y[::5], weight[::7], x[7], v[7] = -1, 0, NAN, INF
    options = {"sample_weight": weight, "pos_weight": 2.5, "ignore_value": -1}
    for more in ({"reduction": "sum"}, {"label_smoothing": 0.1}, {"denominator": "count"}):
        kinds = {"reduction": more.get("reduction", "mean")}
        result = ck.binary_cross_entropy_with_logits(
            x, y, return_hess=True, **options, **{**more, **kinds}
        )
        got = ck.binary_cross_entropy_hvp(x, y, v, **options, **more)
        with np.errstate(invalid="ignore"):
            want = np.where(result[1] == 0, 0, result[1].astype(float) * v)
        assert got[7] == 0
        assert_ulp(got, want, 2)
    out = np.empty_like(x)
    assert ck.binary_cross_entropy_hvp(x, y, v, out=out, **options) is out
    assert_same_bits(out, ck.binary_cross_entropy_hvp(x, y, v, **options))


@pytest.mark.usefixtures("isa")
def test_hessian_where_a_probability_is_next_to_1(dtype):
    x, tail = np.array([[60.0, 0.0]], dtype), math.exp(-60.0)
    blocks = ck.cross_entropy_hessian(x, [0])
    np.testing.assert_allclose(blocks[0], [[tail, -tail], [-tail, tail]], rtol=1e-6)
    product = ck.cross_entropy_hvp(x, [0], np.array([[1e4 + 3, 1e4]], dtype))
    np.testing.assert_allclose(product[0], [3 * tail, -3 * tail], rtol=1e-6)


@pytest.mark.usefixtures("isa")
def test_hessians_of_nothing(dtype):
    for n_classes in (3, 70):
        x, y = np.full((4, n_classes), NAN, dtype), np.zeros(4, int)
        options = {"ignore_index": 0}
        assert not ck.cross_entropy_hvp(x, y, x, **options).any()
        assert not ck.cross_entropy_hessian(x, y, **options).any()
        assert ck.cross_entropy_hvp(x[:0], y[:0], x[:0]).shape == (0, n_classes)
        assert ck.cross_entropy_hessian(x[:0], y[:0]).shape == (0, n_classes, n_classes)
    empty = np.zeros(0, dtype)
    assert ck.binary_cross_entropy_hvp(empty, empty, empty).shape == (0,)


# Equal bits


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [3, 100])
def test_same_bits_of_hessians(rng, dtype, assert_same_bits, monkeypatch, n_classes):
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)
    n = LONG // n_classes // 8
    x, v = rng.normal(0, 3, (2, n, n_classes)).astype(dtype)
    y = rng.integers(0, n_classes, n)
    for function, arrays in ((ck.cross_entropy_hvp, (x, y, v)), (ck.cross_entropy_hessian, (x, y))):
        want = function(*arrays, n_threads=1)
        assert_same_bits(function(*arrays, n_threads=3), want)
        out = np.empty_like(want)
        assert function(*arrays, out=out) is out
        assert_same_bits(out, want)
        assert_same_bits(function(*map(np.asfortranarray, arrays)), want)
