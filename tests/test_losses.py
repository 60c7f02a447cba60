"""Every loss, instruction set and dtype against the reference over a table of options and sizes.

The tolerances of the losses are those of `check_loss` in conftest.py.
"""

import functools
import itertools
import math

import mpmath
import numpy as np
import pytest

import cekernels as ck
from cekernels import reference, special

# Accuracy of the plain functions against mpmath, twice that without fused multiply-add.
SOFTPLUS_ULP = 2
SIGMOID_ULP = 3
# Accuracy of the special functions against the reference, as for the losses.
ELEMENT_ULP = {np.float32: 4, np.float64: 8}
SUM_RELATIVE = {np.float32: 2e-7, np.float64: 1e-15}

# Around a vector, a block and a chunk.
SMALL_SIZES = [0, 1, 16, 17, 256, 257]
LARGE_SIZES = [16383, 16384, 16385, 40000]
CLASSES = [1, 3, 10, 64, 65, 96, 97, 256, 1000]  # narrow up to 96 (float32) and 64 (float64)
ALL_OUTPUTS = {"return_grad": True, "return_hess": True}

BINARY_OPTIONS = {
    "plain": {},
    "smoothing": {"label_smoothing": 0.1},
    "weight": {"sample_weight": "array"},
    "zero_weight": {"sample_weight": "zeros"},
    "ignore": {"ignore_value": -1.0},
    "count": {"sample_weight": "array", "ignore_value": -1.0, "denominator": "count"},
    "all": {
        "sample_weight": "zeros",
        "ignore_value": -1.0,
        "label_smoothing": 0.3,
        "denominator": 12.5,
    },
}
CLASS_OPTIONS = {
    "plain": {},
    "smoothing": {"label_smoothing": 0.1},
    "weight": {"sample_weight": "array"},
    "class_weight": {"class_weight": "array"},
    "zero_class": {"class_weight": "zeros"},
    "count": {"class_weight": "array", "sample_weight": "zeros", "denominator": "count"},
    "all": {
        "class_weight": "zeros",
        "sample_weight": "zeros",
        "label_smoothing": 0.3,
        "denominator": 12.5,
    },
}


def sizes_and_options(names):
    """Return every small size with every option set, and every large one with a few."""
    few = [name for name in names if name in ("plain", "zero_weight", "all")]
    return [*itertools.product(SMALL_SIZES, names), *itertools.product(LARGE_SIZES, few)]


def fill_in(options, rng, dtype, **shapes):
    """Replace the words of an option set by arrays."""

    def array(shape, word):
        weight = rng.uniform(0.25, 2.0, shape)
        if word == "zeros":
            weight[rng.uniform(size=shape) < 0.3] = 0.0
        return weight.astype(dtype)

    filled = dict(options)
    for name in shapes.keys() & options.keys():
        filled[name] = array(shapes[name], options[name])
    return filled


def binary_targets(rng, n, dtype, options, *, hard):
    y = rng.integers(0, 2, n).astype(dtype) if hard else rng.uniform(size=n).astype(dtype)
    if "ignore_value" in options:
        y[rng.uniform(size=n) < 0.2] = options["ignore_value"]
    return y


@pytest.fixture
def check_reductions(check_loss):
    """Check the entries, their mean and their sums."""

    def check(name, x, targets, options, **outputs):
        check_loss(name, x, targets, reduction="none", **options, **outputs)
        check_loss(name, x, targets, reduction="mean", **options, **outputs)
        check_loss(name, x, targets, reduction="stats", **options)

    return check


# Binary


@pytest.mark.parametrize(("n", "name"), sizes_and_options([*BINARY_OPTIONS, "pos_weight"]))
def test_binary_from_logits(check_reductions, rng, dtype, n, name):
    options = BINARY_OPTIONS.get(name, {"pos_weight": "array", "sample_weight": "array"})
    options = fill_in(options, rng, dtype, sample_weight=n, pos_weight=n)
    x = rng.normal(0, 8, n).astype(dtype)
    outputs = {**ALL_OUTPUTS, "return_proba": True}
    for hard in (True, False):
        y = binary_targets(rng, n, dtype, options, hard=hard)
        check_reductions("binary_cross_entropy_with_logits", x, y, options, **outputs)


@pytest.mark.parametrize(("n", "name"), sizes_and_options([*BINARY_OPTIONS, "eps", "log_min"]))
def test_binary_from_probabilities(check_reductions, rng, dtype, n, name):
    special_options = {"eps": {"eps": 0.01}, "log_min": {"log_min": -4.0}}
    options = BINARY_OPTIONS.get(name) or special_options.get(name, {})
    options = fill_in(options, rng, dtype, sample_weight=n)
    p = reference.expit(rng.normal(0, 4, n)).astype(dtype)
    if name == "log_min":
        # Within rounding of the bound either side, and its gradient, is right.
        p[np.abs(np.log(p * (1 - p)) + 4.0) < 0.1] = 0.5
    for hard in (True, False):
        y = binary_targets(rng, n, dtype, options, hard=hard)
        check_reductions("binary_cross_entropy", p, y, options, **ALL_OUTPUTS)


@pytest.mark.parametrize("name", BINARY_OPTIONS)
def test_binary_multilabel(check_reductions, rng, dtype, name):
    options = fill_in(BINARY_OPTIONS[name], rng, dtype, sample_weight=(300, 7))
    x = rng.normal(0, 8, (300, 7)).astype(dtype)
    y = binary_targets(rng, (300, 7), dtype, options, hard=True)
    for pos_weight in (None, 2.5, np.linspace(0, 3, 7, dtype=dtype)):
        check_reductions(
            "binary_cross_entropy_with_logits",
            x,
            y,
            {**options, "pos_weight": pos_weight},
            **ALL_OUTPUTS,
        )


@pytest.mark.parametrize("shape", [(), (1,), (300, 1), (1, 7), (7,)])
def test_binary_weights_broadcast(check_loss, rng, dtype, shape):
    x, y = rng.normal(0, 8, (300, 7)).astype(dtype), rng.integers(0, 2, (300, 7))
    weight = rng.uniform(0.25, 2.0, shape).astype(dtype)
    for name, z in (
        ("binary_cross_entropy_with_logits", x),
        ("binary_cross_entropy", special.expit(x)),
    ):
        check_loss(name, z, y, sample_weight=weight, **ALL_OUTPUTS)
        check_loss(name, z, y, sample_weight=weight, reduction="stats", **ALL_OUTPUTS)


# Softmax


def class_problem(rng, shape, dtype, *, labels):
    x = rng.normal(0, 6, shape).astype(dtype)
    if labels:
        return x, rng.integers(0, shape[-1], shape[:-1])
    target = rng.gamma(0.5, 1.0, shape) + 1e-3
    return x, (target / target.sum(axis=-1, keepdims=True)).astype(dtype)


@pytest.mark.parametrize("name", [*CLASS_OPTIONS, "ignore"])
@pytest.mark.parametrize("n_classes", CLASSES)
def test_classes(check_reductions, rng, dtype, n_classes, name):
    n = 37 if n_classes <= 100 else 11
    options = CLASS_OPTIONS.get(name, {"sample_weight": "array"})
    options = fill_in(options, rng, dtype, sample_weight=n, class_weight=n_classes)
    outputs = {**ALL_OUTPUTS, "return_proba": True, "return_lse": True}
    x, target = class_problem(rng, (n, n_classes), dtype, labels=False)
    check_reductions("cross_entropy", x, target, options, **outputs)
    x, target = class_problem(rng, (n, n_classes), dtype, labels=True)
    if name == "ignore":
        options["ignore_index"] = -100
        target[rng.uniform(size=n) < 0.3] = -100
    check_reductions("cross_entropy", x, target, options, **outputs)


@pytest.mark.parametrize(
    ("n", "n_classes"),
    [
        *itertools.product(SMALL_SIZES, [2, 10, 100]),
        *((16384 // c + step, c) for c in (3, 33, 100) for step in (-1, 0, 1)),
        (40000, 2),
    ],
)
def test_rows(check_reductions, rng, dtype, n, n_classes):
    for labels in (True, False):
        x, target = class_problem(rng, (n, n_classes), dtype, labels=labels)
        check_reductions("cross_entropy", x, target, {}, **ALL_OUTPUTS)


@pytest.mark.parametrize("labels", [True, False], ids=["labels", "targets"])
@pytest.mark.parametrize(
    "shape", [(1, 16383), (2, 16384), (2, 16385), (1, 40000), (2, 3, 4, 5), (6,)]
)
def test_shapes(check_reductions, rng, dtype, shape, labels):
    options = fill_in({"class_weight": "array"}, rng, dtype, class_weight=shape[-1])
    x, target = class_problem(rng, shape, dtype, labels=labels)
    check_reductions("cross_entropy", x, target, options, **ALL_OUTPUTS)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    "integer", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
)
def test_integer_targets_of_every_width(rng, dtype, assert_same_bits, integer):
    x, y = rng.normal(0, 6, (99, 2)).astype(dtype), rng.integers(0, 2, 99)
    outputs = {**ALL_OUTPUTS, "reduction": "none"}
    assert_same_bits(
        ck.cross_entropy(x, y.astype(integer), **outputs), ck.cross_entropy(x, y, **outputs)
    )
    x = x[:, 0].copy()
    assert_same_bits(
        ck.binary_cross_entropy_with_logits(x, y.astype(integer), **outputs),
        ck.binary_cross_entropy_with_logits(x, y.astype(dtype), **outputs),
    )
    assert_same_bits(
        ck.binary_cross_entropy(special.expit(x), y.astype(integer), **outputs),
        ck.binary_cross_entropy(special.expit(x), y.astype(dtype), **outputs),
    )


@pytest.mark.usefixtures("isa")
def test_other_logits_become_float64(assert_same_bits):
    x, y = [[1, 2, 3], [3, 1, 0]], [0, 2]
    want = ck.cross_entropy(np.array(x, np.float64), np.array(y), return_grad=True)
    for logits in (x, np.array(x), np.array(x, np.uint8)):
        assert_same_bits(ck.cross_entropy(logits, y, return_grad=True), want)


# Special functions


@pytest.mark.parametrize("name", ["expit", "log_expit", "softplus"])
@pytest.mark.parametrize("n", SMALL_SIZES + LARGE_SIZES)
def test_unary(isa, rng, dtype, assert_ulp, name, n):
    x = rng.normal(0, 8, n).astype(dtype)
    got = getattr(special, name)(x)
    assert got.dtype == dtype
    ulp = ELEMENT_ULP[dtype] * (2 if isa == "baseline" else 1)
    assert_ulp(got, getattr(reference, name)(x), ulp)


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
@pytest.mark.parametrize("n_classes", CLASSES)
def test_softmax_functions(isa, rng, dtype, assert_ulp, name, n_classes):
    x = rng.normal(0, 6, (37, n_classes)).astype(dtype)
    ulp = ELEMENT_ULP[dtype] * (2 if isa == "baseline" else 1)
    for axis in (-1, 0, None, (0, 1)):
        got, want = (getattr(module, name)(x, axis=axis) for module in (special, reference))
        assert_ulp(got, want, ulp, np.maximum(np.abs(want), 1.0) if name == "logsumexp" else None)


@pytest.mark.usefixtures("isa")
def test_logsumexp_with_factors(rng, dtype, assert_ulp):
    a, b = rng.normal(0, 6, (20, 33)).astype(dtype), rng.uniform(0, 2, (20, 33)).astype(dtype)
    b[rng.uniform(size=b.shape) < 0.2] = 0.0
    for keepdims in (False, True):
        got = special.logsumexp(a, axis=1, b=b, keepdims=keepdims)
        want = reference.logsumexp(a, axis=1, b=b, keepdims=keepdims)
        assert_ulp(got, want, 8)


@functools.cache
def exact_values(dtype):
    """Return logits over the whole range with softplus(x), sigma(x) and p(1 - p) by mpmath."""
    rng = np.random.default_rng(2)
    top = 87.0 if dtype is np.float32 else 707.0
    parts = [rng.uniform(-top, top, 400), rng.normal(0, 2, 400), 10.0 ** rng.uniform(-30, 0, 100)]
    x = np.concatenate(parts).astype(dtype)
    softplus, expit, hess = [], [], []
    with mpmath.workdps(40):
        for value in map(float, x):
            e = mpmath.exp(-abs(mpmath.mpf(value)))
            softplus.append(float(max(value, 0) + mpmath.log1p(e)))
            expit.append(float((1 if value > 0 else e) / (1 + e)))
            hess.append(float(e / (1 + e) ** 2))
    return x, *map(np.array, (softplus, expit, hess))


def test_accuracy_of_the_plain_loss(isa, dtype, assert_ulp):
    x, softplus, expit, hess = exact_values(dtype)
    factor = 2 if isa == "baseline" else 1
    outputs = {**ALL_OUTPUTS, "return_proba": True, "reduction": "none"}
    got = ck.binary_cross_entropy_with_logits(x, np.zeros_like(x), **outputs)
    mirrored = ck.binary_cross_entropy_with_logits(-x, np.ones_like(x), **outputs)
    for loss, grad in ((got[0], got[1]), (mirrored[0], -mirrored[1])):
        assert_ulp(loss, softplus, factor * SOFTPLUS_ULP)
        assert_ulp(grad, expit, factor * SIGMOID_ULP)
    assert_ulp(got[2], hess, factor * 2 * SIGMOID_ULP)
    assert_ulp(got[3], expit, factor * SIGMOID_ULP)
    assert_ulp(special.softplus(x), softplus, factor * SOFTPLUS_ULP)
    assert_ulp(special.expit(x), expit, factor * SIGMOID_ULP)
    assert_ulp(special.log_expit(-x), -softplus, factor * SOFTPLUS_ULP)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n", [16383, 100000])
def test_sums_do_not_drift(dtype, n):
    x, y = np.full(n, 0.1, dtype), np.zeros(n, dtype)
    one = float(reference.softplus(x[0]))
    relative = SUM_RELATIVE[dtype]
    total = ck.binary_cross_entropy_with_logits(x, y, reduction="sum")
    assert total == pytest.approx(n * one, rel=relative, abs=0.0)
    logits = np.stack([x, np.zeros_like(x)], axis=1)
    total = ck.cross_entropy(logits, np.ones(n, int), reduction="sum")
    assert total == pytest.approx(n * one, rel=relative, abs=0.0)


def test_weights_do_not_drift(every_isa, dtype, rng):
    n = 1_000_000
    weight = rng.uniform(0.25, 2.0, n).astype(dtype)
    total = pytest.approx(math.fsum(weight), rel=SUM_RELATIVE[dtype], abs=0.0)
    x, labels = np.zeros(n, dtype), np.zeros(n, np.uint8)
    options = {"sample_weight": weight, "reduction": "stats"}
    for isa in every_isa():
        for function in (ck.binary_cross_entropy_with_logits, ck.binary_cross_entropy):
            assert function(x, x, **options).weight == total, isa
        assert ck.cross_entropy(x[:, np.newaxis], labels, **options).weight == total, isa


@pytest.mark.parametrize("n_classes", [10, 64, 1000, 40_000, 1_000_000])
def test_probabilities_add_up_to_one(every_isa, dtype, rng, n_classes):
    """Errors of single probabilities cancel out, those of the sum over the classes do not."""
    x = rng.normal(0, 3, (1, n_classes)).astype(dtype)
    one = pytest.approx(1.0, rel=2 * float(np.finfo(dtype).eps), abs=0.0)
    seen = set()
    for isa in every_isa():
        _, proba = ck.cross_entropy(x, [0], return_proba=True)
        for result in (special.softmax(x, axis=1), proba):
            if (bits := result.tobytes()) not in seen:
                seen.add(bits)
                assert math.fsum(result[0].tolist()) == one, isa
