"""Special values, nothing at all, nothing left, and the floating-point warnings of NumPy."""

import itertools
import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import reference, special

INF, NAN = math.inf, math.nan
CLASS_OUTPUTS = ("grad", "hess", "proba", "lse")

LOGITS = [0.0, -0.0, 1e-40, 5e-324, 1e-30, 3.0, -3.0, 88.0, -88.0, 104.0, -104.0, 745.0, -745.0]
LOGITS += [1e4, -1e4, 3e38, -3e38, INF, -INF, NAN]
WEIGHTS = [1.0, 0.0, 2.5]


def test_binary_special_values(check_loss, dtype):
    x, y, weight = (
        np.array(values).astype(dtype)
        for values in zip(
            *itertools.product(LOGITS, [0.0, 1.0, 0.5, 0.25, 1e-30], WEIGHTS), strict=True
        )
    )
    for options in ({}, {"label_smoothing": 0.2}, {"ignore_value": 0.25}):
        for reduction in ("none", "stats"):
            check_loss(
                "binary_cross_entropy_with_logits",
                x,
                y,
                sample_weight=weight,
                reduction=reduction,
                return_grad=True,
                return_hess=True,
                return_proba=True,
                **options,
            )


def test_special_probabilities(check_loss, dtype):
    near_1 = float(np.nextafter(dtype(1), dtype(0)))
    p, y, weight = (
        np.array(values).astype(dtype)
        for values in zip(
            *itertools.product(
                [0.0, -0.0, 1e-30, 1e-7, 0.5, near_1, 1.0, NAN], [0.0, 1.0, 0.5, 1e-3], WEIGHTS
            ),
            strict=True,
        )
    )
    for options in ({}, {"eps": 1e-3}, {"log_min": -100.0}, {"eps": 1e-3, "log_min": -5.0}):
        for smoothing in (0.0, 0.2):
            check_loss(
                "binary_cross_entropy",
                p,
                y,
                sample_weight=weight,
                label_smoothing=smoothing,
                reduction="none",
                return_grad=True,
                return_hess=True,
                **options,
            )


@pytest.mark.usefixtures("isa")
def test_nan_targets(dtype):
    x, y = np.array([0.5, 0.5, NAN], dtype), np.array([1, NAN, NAN], dtype)
    for function in (ck.binary_cross_entropy_with_logits, ck.binary_cross_entropy):
        loss, grad = function(x, y, reduction="none", return_grad=True)
        np.testing.assert_array_equal(np.isnan(loss), [False, True, True])
        np.testing.assert_array_equal(np.isnan(grad), [False, True, True])
        loss, grad, hess = function(
            x, y, ignore_value=NAN, reduction="none", return_grad=True, return_hess=True
        )
        assert loss[1:].tolist() == grad[1:].tolist() == hess[1:].tolist() == [0, 0]
        assert function(x, y, ignore_value=NAN, reduction="stats").count == 1


def special_rows(n_classes, dtype):
    """Each row is special in its own way; the values sit first, last and in the middle."""
    rows = []
    for place in {0, n_classes // 2, n_classes - 1}:
        for value in (INF, -INF, NAN, 1e30, -1e30, 1e4, -1e4, 1e-40):
            row = np.linspace(-1, 1, n_classes)
            row[place] = value
            rows.append(row)
    for values in ((INF, INF), (-INF, -INF), (INF, -INF), (INF, NAN), (-INF, NAN), (1e30, 1e30)):
        row = np.linspace(-1, 1, n_classes)
        row[0], row[-1] = values
        rows.append(row)
    rows += [np.full(n_classes, value) for value in (INF, -INF, NAN, 0.0, -0.0, 1e30, 1e-40)]
    for value in (-INF, -1e4, -120.0):
        rows.append(np.full(n_classes, value))
        rows[-1][n_classes // 3] = 2.0
    return np.array(rows).astype(dtype)


@pytest.mark.parametrize("n_classes", [1, 2, 3, 10, 31, 32, 33, 64, 65, 96, 97, 100, 257, 1000])
def test_special_rows(check_loss, dtype, n_classes):
    x = special_rows(n_classes, dtype)
    outputs = {f"return_{name}": True for name in CLASS_OUTPUTS}
    for label in {0, n_classes // 3, n_classes - 1}:
        y = np.full(len(x), label)
        one_hot = np.zeros(x.shape, dtype)
        one_hot[:, label] = 1.0
        for options in ({}, {"sample_weight": np.resize([1, 0, 2], len(x))}):
            for target in (y, one_hot):
                check_loss("cross_entropy", x, target, reduction="none", **options, **outputs)
        check_loss("cross_entropy", x, y, reduction="none", label_smoothing=0.2, **outputs)


@pytest.mark.usefixtures("isa")
def test_special_rows_leave_their_neighbours_alone(dtype, rng, assert_same_bits):
    for n_classes in (3, 10, 40, 100):
        calm = rng.normal(0, 3, (60, n_classes)).astype(dtype)
        x = calm.copy()
        x[::2] = np.resize(special_rows(n_classes, dtype), x[::2].shape)
        y = rng.integers(0, n_classes, 60)
        outputs = {f"return_{name}": True for name in CLASS_OUTPUTS}
        got = ck.cross_entropy(x, y, reduction="none", **outputs)
        want = ck.cross_entropy(calm, y, reduction="none", **outputs)
        assert_same_bits(tuple(a[1::2].copy() for a in got), tuple(a[1::2].copy() for a in want))


def test_special_functions(isa, dtype, assert_ulp):
    x = np.array(LOGITS).astype(dtype)
    factor = 2 if isa == "baseline" else 1
    for name in ("expit", "log_expit", "softplus"):
        assert_ulp(getattr(special, name)(x), getattr(reference, name)(x), factor * 4)
    for n_classes in (1, 2, 3, 33, 100):
        rows = special_rows(n_classes, dtype)
        for name in ("softmax", "log_softmax"):
            got, want = (getattr(m, name)(rows, axis=1) for m in (special, reference))
            assert_ulp(got, want, factor * 4)
        got, want = special.logsumexp(rows, axis=1), reference.logsumexp(rows, axis=1)
        assert_ulp(got, want, factor * 4, np.maximum(np.abs(want), 1.0))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_ignored_entries_are_not_read(dtype, value):
    x, y = np.array([1, value, 2], dtype), np.array([1, -1, 0], dtype)
    options = {"reduction": "none", "return_grad": True, "return_hess": True}
    ignored = ck.binary_cross_entropy_with_logits(x, y, ignore_value=-1, **options)
    weightless = ck.binary_cross_entropy_with_logits(
        x, np.abs(y), sample_weight=np.array([1, 0, 1], dtype), **options
    )
    for outputs in (ignored, weightless):
        assert [output[1] for output in outputs] == [0, 0, 0]
    for n_classes in (2, 10, 40, 100):
        x = np.zeros((3, n_classes), dtype)
        x[1] = value
        y = np.array([0, -100, 1])
        ignored = ck.cross_entropy(x, y, ignore_index=-100, **options)
        weightless = ck.cross_entropy(x, np.abs(y) % 2, sample_weight=[1, 0, 1], **options)
        class_weight = np.ones(n_classes)
        class_weight[1] = 0.0
        classless = ck.cross_entropy(x, np.array([0, 1, 0]), class_weight=class_weight, **options)
        for outputs in (ignored, weightless, classless):
            assert all(np.all(output[1] == 0) for output in outputs)
            assert all(np.all(np.isfinite(output)) for output in outputs)


@pytest.mark.usefixtures("isa")
def test_one_class_is_certain(dtype):
    x = np.array([[3], [-1e30], [0], [INF]], dtype)
    outputs = {f"return_{name}": True for name in CLASS_OUTPUTS}
    loss, grad, hess, proba, lse = ck.cross_entropy(
        x, np.zeros(4, int), reduction="none", **outputs
    )
    assert loss.tolist() == [0] * 4
    assert grad.tolist() == hess.tolist() == [[0]] * 4
    assert proba.tolist() == [[1]] * 4
    assert lse.tolist() == x[:, 0].tolist()


@pytest.mark.usefixtures("isa")
def test_nothing_at_all(dtype):
    empty, no_rows = np.zeros(0, dtype), np.zeros((0, 5), dtype)
    calls = [
        (ck.binary_cross_entropy_with_logits, empty, empty),
        (ck.binary_cross_entropy, empty, empty),
        (ck.binary_cross_entropy_with_logits, no_rows, no_rows),
        (ck.cross_entropy, no_rows, np.zeros(0, int)),
        (ck.cross_entropy, no_rows, no_rows),
    ]
    for function, x, y in calls:
        with pytest.warns(RuntimeWarning):
            loss, grad = function(x, y, return_grad=True)
        assert math.isnan(loss)
        assert grad.shape == x.shape
        assert function(x, y, reduction="sum") == 0.0
        assert function(x, y, denominator=3.0) == 0.0
        assert function(x, y, reduction="stats") == (0.0, 0.0, 0)
        loss = function(x, y, reduction="none")
        assert loss.size == 0
        assert loss.dtype == dtype
    assert special.expit(empty).shape == (0,)
    assert special.softmax(no_rows, axis=1).shape == (0, 5)
    assert special.logsumexp(no_rows, axis=1).shape == (0,)


@pytest.mark.usefixtures("isa")
def test_no_weight_at_all(dtype):
    x, y = np.ones(20, dtype), np.ones(20, dtype)
    rows, labels = np.ones((20, 3), dtype), np.ones(20, int)
    calls = [
        (ck.binary_cross_entropy_with_logits, (x, y), {"sample_weight": np.zeros(20)}),
        (ck.binary_cross_entropy_with_logits, (x, y), {"ignore_value": 1.0}),
        (ck.binary_cross_entropy, (x / 2, y), {"ignore_value": 1.0, "denominator": "count"}),
        (ck.cross_entropy, (rows, labels), {"ignore_index": 1}),
        (ck.cross_entropy, (rows, labels), {"class_weight": [1, 0, 1]}),
        (ck.cross_entropy, (rows, labels), {"class_weight": [1, 0, 1], "label_smoothing": 0.5}),
    ]
    for function, arrays, options in calls:
        with pytest.warns(RuntimeWarning):
            loss, grad, hess = function(*arrays, return_grad=True, return_hess=True, **options)
        assert math.isnan(loss)
        assert not grad.any()
        assert not hess.any()


@np.errstate(all="raise")
def call_everything(x, p, rows_of_classes):
    options = {"return_grad": True, "return_hess": True}
    for reduction, label in itertools.product(("none", "sum", "mean", "stats"), (0.0, 0.25, 1.0)):
        options["reduction"] = reduction
        y = np.full(x.shape, label, x.dtype)
        ck.binary_cross_entropy_with_logits(x, y, label_smoothing=0.1, **options)
        ck.binary_cross_entropy(p, y[: p.size], **options)
        ck.binary_cross_entropy(p, y[: p.size], eps=1e-7, log_min=-100.0, **options)
    for reduction, rows in itertools.product(("none", "sum", "mean", "stats"), rows_of_classes):
        options["reduction"] = reduction
        labels = np.zeros(len(rows), int)
        ck.cross_entropy(rows, labels, label_smoothing=0.1, **options)
        ck.cross_entropy(rows, labels, return_proba=True, return_lse=True, **options)
    for name in ("expit", "log_expit", "softplus"):
        getattr(special, name)(x)
    for name, rows in itertools.product(("softmax", "log_softmax", "logsumexp"), rows_of_classes):
        getattr(special, name)(rows, axis=1)
    for rows in rows_of_classes:
        special.logsumexp(rows, axis=1, b=np.arange(rows.shape[1]))


@pytest.mark.usefixtures("isa")
def test_no_numpy_warning_when_all_are_errors(dtype):
    x = np.array([v for v in LOGITS if math.isfinite(v)]).astype(dtype)
    p = np.array([0.0, 1e-40, 1e-30, 0.5, 1.0]).astype(dtype)
    rows = (special_rows(n_classes, dtype) for n_classes in (2, 10, 40, 100))
    call_everything(x, p, [r[np.isfinite(r).all(axis=1)] for r in rows])
