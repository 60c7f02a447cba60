"""Losses of linear models: against their definition, by hand, and in memory."""

import functools
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

import cekernels as ck
from cekernels import reference
from cekernels.linear import _problem, _rows, _sums

sparse = pytest.importorskip("scipy.sparse")
# Of the largest element, or of 1: what tens of products of numbers around 1 lose.
RELATIVE = {np.float32: 5e-6, np.float64: 1e-14}
# A difference quotient of float64 losses, of steps that balance rounding and curvature.
DIFFERENCE_STEP, DIFFERENCE_ERROR = 1e-5, 1e-8
INF, NAN = np.inf, np.nan
MANY = 53  # rows, in blocks of 7


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks of 7 rows, and products of 2 classes."""
    monkeypatch.setattr(_rows, "UNPACKED", 0)
    monkeypatch.setattr(_rows, "CACHE_BYTES", 0)
    monkeypatch.setattr(_rows, "MANY_ROWS", 7)
    monkeypatch.setattr(_rows, "FEW_ROWS", 7)
    monkeypatch.setattr(_sums, "TILE", 10)


def problem(rng, dtype, n=MANY, p=5, outputs=(4,)):
    """Return features, coefficients and intercept."""
    X = rng.standard_normal((n, p)).astype(dtype)
    X[rng.random((n, p)) < 0.3] = 0.0
    return X, rng.standard_normal((*outputs, p)).astype(dtype), rng.standard_normal(outputs)


def strided(X):
    wide = np.zeros((len(X), 2 * X.shape[1]), X.dtype)
    wide[:, ::2] = X
    return wide[:, ::2]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X):
    memory = np.zeros(X.nbytes + 1, np.uint8)
    view = memory[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def csr(X, kind="csr_array", index=np.int32):
    """Return X as CSR, with explicit zeros, and the columns of each row in descending order."""
    stored = np.ones(X.shape, bool)
    stored[::3] = X[::3] != 0.0
    stored[5:9] = False
    keeps = X * stored
    places = [np.flatnonzero(row)[::-1] for row in stored]
    data = np.concatenate([keeps[i, columns] for i, columns in enumerate(places)])
    ends = np.cumsum([0, *map(len, places)])
    made = getattr(sparse, kind)(X.shape, dtype=X.dtype)
    made.data = data.astype(X.dtype)
    made.indices, made.indptr = np.concatenate(places).astype(index), ends.astype(index)
    return made


DENSE = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "columns": strided,
    "rows": lambda X: np.repeat(X, 2, axis=0)[::2],
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "unaligned": unaligned,
}
SPARSE = {
    "csr_array": csr,
    "csr_matrix": functools.partial(csr, kind="csr_matrix"),
    "int64": functools.partial(csr, index=np.int64),
}


def as_dense(X):
    return X.toarray() if sparse.issparse(X) else X


def call(function, *args, **kwargs):
    """Call, and return the result with the warnings that were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return function(*args, **kwargs), [(w.category, str(w.message)[:8]) for w in caught]


def assert_close(got, want, dtype, what):
    if want is None:
        assert got is None, what
        return
    got, want = np.asarray(got), np.asarray(want, np.float64)
    largest = np.max(np.abs(want), initial=1.0, where=np.isfinite(want))
    np.testing.assert_allclose(got, want, rtol=0, atol=RELATIVE[dtype] * largest, err_msg=what)


def check(name, X, coef, targets, **options):
    """Compare loss and gradients with the reference; the loss alone has the same bits."""
    dtype, what = coef.dtype.type, f"{name}({', '.join(options)})"
    wanted = {"return_grad": True, "return_X_grad": not sparse.issparse(X)}
    function, definition = getattr(ck, name), getattr(reference, name)
    (loss, grad), raised = call(function, X, coef, targets, **wanted, **options)
    (want, wants), want_raised = call(definition, as_dense(X), coef, targets, **wanted, **options)
    assert [kind for kind, _ in raised] == [kind for kind, _ in want_raised]
    assert isinstance(grad, ck.LinearGrad)
    assert_close(loss, want, dtype, what)
    for part, expected in zip(grad, wants, strict=True):
        assert part is None or part.dtype == dtype
        assert_close(part, expected, dtype, what)
    alone, _ = call(function, X, coef, targets, **options)
    assert type(alone) is type(loss)
    np.testing.assert_array_equal(alone, loss)
    return loss, grad


# Literals


@pytest.mark.usefixtures("isa")
def test_two_classes_by_hand():
    X, labels = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([0, 1])
    loss, grad = ck.linear_cross_entropy(
        X, np.zeros((2, 2)), labels, intercept=np.zeros(2), return_X_grad=True
    )
    assert loss == pytest.approx(np.log(2.0), rel=1e-15)
    np.testing.assert_array_equal(grad.coef, [[-0.25, 0.5], [0.25, -0.5]])
    np.testing.assert_array_equal(grad.intercept, [0.0, 0.0])
    np.testing.assert_array_equal(grad.X, np.zeros((2, 2)))


@pytest.mark.usefixtures("isa")
def test_binary_by_hand():
    X, coef = np.array([[1.0, 2.0], [0.0, -1.0]]), np.log(3.0) * np.array([0.0, 1.0])
    loss, grad = ck.linear_binary_cross_entropy(
        X, coef, [0, 1], intercept=-np.log(3.0), reduction="sum", return_X_grad=True
    )
    # Logits are ln 3 and -2 ln 3: probabilities 3/4 and 1/10.
    assert loss == pytest.approx(np.log(4.0) + np.log(10.0), rel=1e-15)
    np.testing.assert_allclose(grad.coef, [0.75, 1.5 + 0.9], rtol=1e-15)
    assert grad.intercept == pytest.approx(0.75 - 0.9, rel=1e-14)
    np.testing.assert_allclose(
        grad.X, np.log(3.0) * np.array([[0.0, 0.75], [0.0, -0.9]]), rtol=1e-15
    )


@pytest.mark.usefixtures("isa")
def test_second_order_by_hand():
    X, labels = np.array([[2.0]]), [0]
    loss, grad, hessian = ck.linear_cross_entropy_hessian(
        X, np.zeros((2, 1)), labels, intercept=np.zeros(2)
    )
    p = np.array([[0.25, -0.25], [-0.25, 0.25]])
    np.testing.assert_array_equal(hessian, np.block([[4 * p, 2 * p], [2 * p, p]]))
    np.testing.assert_array_equal(grad.coef, [[-1.0], [1.0]])
    assert loss == pytest.approx(np.log(2.0), rel=1e-15)
    by_coef, by_intercept = ck.linear_cross_entropy_hvp(
        X, np.zeros((2, 1)), labels, [[1.0], [0.0]], intercept=np.zeros(2), v_intercept=[0.0, 1.0]
    )
    np.testing.assert_array_equal(by_coef, [[0.5], [-0.5]])
    np.testing.assert_array_equal(by_intercept, [0.25, -0.25])
    _, _, hessian = ck.linear_binary_cross_entropy_hessian(X, [0.0], [1], intercept=0.0)
    np.testing.assert_array_equal(hessian, [[1.0, 0.5], [0.5, 0.25]])
    product = ck.linear_binary_cross_entropy_hvp(
        X, [0.0], [1], [1.0], intercept=0.0, v_intercept=2.0
    )
    np.testing.assert_array_equal(product[0], [2.0])
    assert product[1] == 1.0
    assert np.ndim(product[1]) == 0


# Against the reference


def class_options(rng, n, n_classes):
    labels = rng.integers(0, n_classes, n)
    allowed = rng.random((n, n_classes)) < 0.7
    allowed[np.arange(n), labels] = True
    weight = rng.uniform(0.5, 1.5, n) * (rng.random(n) < 0.8)
    soft = rng.dirichlet(np.ones(n_classes), n)
    of_class = rng.uniform(0.5, 1.5, n_classes)
    options = [
        {},
        {"sample_weight": weight},
        {"sample_weight": 0.5, "class_weight": of_class, "ignore_index": 1},
        {"class_weight": "balanced", "label_smoothing": 0.1},
        {"class_weight": {1: 2.0}, "denominator": "count", "ignore_index": 0},
        {"where": allowed, "label_smoothing": 0.2, "denominator": 7.5},
        {"where": np.arange(n_classes) < n_classes - 1, "ignore_index": n_classes - 1},
        {"z_loss": 0.01, "softcap": 3.0, "logit_scale": 0.7, "sample_weight": weight},
        {"reduction": "none", "sample_weight": weight},
        {"reduction": "stats", "sample_weight": weight, "ignore_index": 2},
        {"reduction": "sum", "label_smoothing": 0.1},
    ]
    return [(labels, each) for each in options] + [
        (soft, {"sample_weight": weight, "class_weight": of_class}),
        (soft, {"label_smoothing": 0.1, "reduction": "none"}),
    ]


@pytest.mark.usefixtures("isa", "small_blocks")
def test_options_of_classes(rng, dtype):
    X, coef, intercept = problem(rng, dtype)
    for targets, options in class_options(rng, MANY, 4):
        check("linear_cross_entropy", X, coef, targets, intercept=intercept, **options)
    check("linear_cross_entropy", X, coef, targets)


def binary_options(rng, shape):
    labels = rng.integers(0, 2, shape)
    weight = rng.uniform(0.5, 1.5, shape) * (rng.random(shape) < 0.8)
    soft = rng.random(shape)
    missing = np.where(rng.random(shape) < 0.2, NAN, soft)
    marked = np.where(rng.random(shape) < 0.2, -1, labels)
    return [
        (labels, {}),
        (labels.astype(bool), {"sample_weight": weight, "pos_weight": 2.0}),
        (soft, {"label_smoothing": 0.1, "pos_weight": weight[..., :1] + 0.5}),
        (missing, {"ignore_value": NAN, "denominator": "count"}),
        (marked, {"ignore_value": -1, "denominator": 3.0, "sample_weight": 0.5}),
        (soft, {"reduction": "sum"}),
        (soft, {"reduction": "none", "sample_weight": weight}),
        (labels, {"reduction": "stats", "sample_weight": weight}),
    ]


@pytest.mark.usefixtures("isa", "small_blocks")
@pytest.mark.parametrize("outputs", [(), (3,)])
def test_options_of_binary_targets(rng, dtype, outputs):
    X, coef, intercept = problem(rng, dtype, outputs=outputs)
    for targets, options in binary_options(rng, (MANY, *outputs)):
        check("linear_binary_cross_entropy", X, coef, targets, intercept=intercept, **options)
    check("linear_binary_cross_entropy", X, coef, targets)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("layout", [*DENSE, *SPARSE])
def test_layouts(rng, dtype, layout):
    X, coef, intercept = problem(rng, dtype)
    made = (DENSE | SPARSE)[layout](X)
    labels, weight = rng.integers(0, 4, MANY), rng.random(MANY)
    options = {"intercept": intercept, "sample_weight": weight}
    check("linear_cross_entropy", made, coef, labels, **options)
    check("linear_binary_cross_entropy", made, coef[0], labels > 1, intercept=0.5)
    check_second_order("", made, coef, labels, **options)
    check_second_order("binary_", made, coef[0], labels > 1)


def check_second_order(kind, X, coef, targets, **options):
    """Compare Hessian and product with the reference, and one with the other."""
    dtype, dense = coef.dtype.type, as_dense(X)
    v = np.cos(np.arange(coef.size)).reshape(coef.shape).astype(dtype)
    shift = {}
    if options.get("intercept") is not None:
        shift["v_intercept"] = np.sin(np.arange(1.0, 1.0 + np.size(options["intercept"])))
        shift["v_intercept"] = shift["v_intercept"].reshape(np.shape(options["intercept"]))
    name = f"linear_{kind}cross_entropy_hvp"
    got, raised = call(getattr(ck, name), X, coef, targets, v, **shift, **options)
    want, want_raised = call(getattr(reference, name), dense, coef, targets, v, **shift, **options)
    assert raised == []
    assert len(want_raised) <= 1
    for part, expected in zip(got, want, strict=True):
        assert_close(part, expected, dtype, name)
    name = f"linear_{kind}cross_entropy_hessian"
    (loss, grad, hessian), raised = call(getattr(ck, name), X, coef, targets, **options)
    wants, want_raised = call(getattr(reference, name), dense, coef, targets, **options)
    assert len(raised) == min(1, len(want_raised))
    assert_close(loss, wants[0], dtype, name)
    for part, expected in zip(grad, wants[1], strict=True):
        assert_close(part, expected, dtype, name)
    assert hessian.dtype == np.float64
    assert_close(hessian, wants[2], dtype, name)
    np.testing.assert_array_equal(hessian, hessian.T)
    whole = [np.ravel(part) for part in got if part is not None]
    direction = [v.ravel(), *map(np.ravel, shift.values())]
    assert_close(hessian @ np.concatenate(direction), np.concatenate(whole), dtype, name)


SECOND_ORDER = {
    "class_weight",
    "sample_weight",
    "ignore_index",
    "label_smoothing",
    "reduction",
    "denominator",
    "pos_weight",
    "ignore_value",
}


@pytest.mark.usefixtures("isa", "small_blocks")
def test_options_of_second_derivatives(rng, dtype):
    X, coef, intercept = problem(rng, dtype)
    for targets, options in class_options(rng, MANY, 4):
        if options.keys() <= SECOND_ORDER and options.get("reduction") not in ("none", "stats"):
            check_second_order("", X, coef, targets, intercept=intercept, **options)
    for outputs in ((), (4,)):
        w, b = coef[: len(outputs) * 4 or 1].reshape(*outputs, -1), intercept[:4].reshape(-1)
        shift = b if outputs else b[0]
        for targets, options in binary_options(rng, (MANY, *outputs)):
            if options.keys() <= SECOND_ORDER and options.get("reduction") not in ("none", "stats"):
                check_second_order("binary_", X, w, targets, intercept=shift, **options)


@pytest.mark.usefixtures("small_blocks")
def test_finite_differences(rng):
    X, coef, intercept = problem(rng, np.float64)
    labels, weight = rng.integers(0, 4, MANY), rng.random(MANY)
    options = {"z_loss": 0.01, "softcap": 5.0, "label_smoothing": 0.1, "sample_weight": weight}

    def loss(X, coef, intercept):
        return ck.linear_cross_entropy(X, coef, labels, intercept=intercept, **options)

    _, grad = ck.linear_cross_entropy(
        X, coef, labels, intercept=intercept, return_X_grad=True, **options
    )
    at = {"coef": coef, "intercept": intercept, "X": X}
    for name, array in at.items():
        direction = rng.standard_normal(array.shape)
        up, down = (
            loss(**at | {name: array + sign * DIFFERENCE_STEP * direction}) for sign in (1, -1)
        )
        slope = (up - down) / (2 * DIFFERENCE_STEP)
        assert np.sum(getattr(grad, name) * direction) == pytest.approx(slope, abs=DIFFERENCE_ERROR)


@pytest.mark.usefixtures("isa", "small_blocks")
@pytest.mark.parametrize("n_classes", [4, 40])
def test_second_derivatives_of_allowed_classes(rng, dtype, n_classes):
    X, coef, intercept = problem(rng, dtype, outputs=(n_classes,))
    labels, allowed = rng.integers(0, n_classes, MANY), rng.random((MANY, n_classes)) < 0.7
    allowed[np.arange(MANY), labels] = True
    v, shift = rng.standard_normal(coef.shape), rng.standard_normal(intercept.shape)
    masked = _problem.class_linear_problem(
        _rows.as_rows(X), n_classes, labels, where=allowed, label_smoothing=0.1
    )
    logits = np.where(allowed, X @ coef.T.astype(np.float64) + intercept, -INF)
    products = reference.cross_entropy_hvp(logits, labels, X @ v.T + shift)
    by_coef, by_intercept = masked.hvp(coef, intercept, v, shift)
    assert_close(by_coef, products.T @ X, dtype, "hvp")
    assert_close(by_intercept, products.sum(axis=0), dtype, "hvp")
    _, _, hessian = masked.hessian(coef, intercept)
    got = hessian @ np.concatenate([v.ravel(), shift])
    assert_close(got, np.append(products.T @ X, products.sum(axis=0)), dtype, "hessian")


def test_many_shapes(rng, dtype):
    for n, p, n_classes in [(0, 3, 2), (1, 3, 2), (1, 1, 1), (9, 0, 3), (300, 2, 70), (40, 70, 2)]:
        X, coef, intercept = problem(rng, dtype, n, p, (n_classes,))
        labels = rng.integers(0, n_classes, n)
        for make in (np.copy, sparse.csr_array):
            for options in ({"reduction": "sum"}, {}, {"intercept": intercept}):
                check("linear_cross_entropy", make(X), coef, labels, **options)
                check("linear_binary_cross_entropy", make(X), coef[0], labels > 0)


@pytest.mark.usefixtures("small_blocks")
def test_converted_features(rng):
    X, coef, intercept = problem(rng, np.float32)
    labels = rng.integers(0, 4, MANY)
    for kind, converted in ((np.float16, np.float32), (np.int8, np.float64), (bool, np.float64)):
        features = X.astype(kind)
        same = features.astype(converted)
        got = ck.linear_cross_entropy(features, coef, labels, intercept=intercept, return_grad=True)
        want = ck.linear_cross_entropy(same, coef, labels, intercept=intercept, return_grad=True)
        assert got[0] == want[0]
        assert got[1].coef.dtype == converted
        np.testing.assert_array_equal(got[1].coef, want[1].coef)
    whole = sparse.csr_array(X.astype(np.int64))
    want = ck.linear_cross_entropy(whole.toarray().astype(float), coef, labels)
    assert ck.linear_cross_entropy(whole, coef, labels) == pytest.approx(want, rel=1e-14)


# Edge cases


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("make", [np.copy, csr], ids=["dense", "csr"])
def test_samples_that_count_for_nothing(rng, dtype, make):
    """Their features may be inf or nan, their labels too for all that the loss knows."""
    X, coef, intercept = problem(rng, dtype)
    labels, weight = rng.integers(0, 4, MANY), rng.random(MANY)
    dead = rng.random(MANY) < 0.2
    bad = X.copy()
    bad[dead] = rng.choice([NAN, INF, -INF, 0.0], (np.count_nonzero(dead), X.shape[1]))
    bad[np.flatnonzero(dead)[0], 0] = NAN
    weight[dead] = 0.0
    clean = np.where(dead[:, np.newaxis], 0.0, bad).astype(dtype)
    options = {"sample_weight": weight, "intercept": intercept}
    got = check("linear_cross_entropy", make(bad), coef, labels, **options)
    want = check("linear_cross_entropy", make(clean), coef, labels, **options)
    assert np.isfinite(got[1].coef).all()
    assert_close(got[1].coef, want[1].coef, dtype, "coef")
    check_second_order("", make(bad), coef, labels, **options)
    check_second_order(
        "binary_", make(bad), coef[0], labels > 1, sample_weight=weight, intercept=0.5
    )
    ignored = np.where(dead, -1, labels)
    check("linear_cross_entropy", make(bad), coef, ignored, ignore_index=-1)


@pytest.mark.usefixtures("isa")
def test_mean_of_nothing(dtype):
    X = np.ones((3, 2), dtype)
    for weight in (0.0, np.zeros(3), [1.0, -1.0, 0.0]):
        kwargs = {"sample_weight": weight}
        with pytest.warns(RuntimeWarning, match="the mean of no weight is nan") as caught:
            loss, grad = ck.linear_cross_entropy(
                X, [[1, 2], [2, 1]], [0, 1, 0], intercept=[0, 0], return_X_grad=True, **kwargs
            )
        assert caught[0].filename == __file__
        assert np.isnan(loss)
        assert not any(np.any(part) for part in grad)
        with pytest.warns(RuntimeWarning, match="the mean of no weight is nan") as caught:
            loss, grad, hessian = ck.linear_binary_cross_entropy_hessian(
                X, [1, 2], [0, 1, 0], **kwargs
            )
        assert caught[0].filename == __file__
        assert np.isnan(loss)
        assert not np.any(grad.coef)
        assert not np.any(hessian)


@pytest.mark.usefixtures("isa")
def test_not_a_number_and_infinity(dtype):
    X, coef = np.array([[1.0], [NAN], [INF]], dtype), np.array([[1.0], [2.0]], dtype)
    losses = ck.linear_cross_entropy(X, coef, [0, 1, 1], reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), [False, True, True])  # two logits of inf
    _, grad = ck.linear_cross_entropy(X, coef, [0, 1, 1], return_grad=True)
    assert np.isnan(grad.coef).all()
    losses = ck.linear_binary_cross_entropy(X[::2], [1.0], [1, 0], reduction="none")
    np.testing.assert_array_equal(losses[1], INF)
    with np.errstate(all="raise"):
        ck.linear_cross_entropy(X, coef, [0, 1, 1], return_grad=True)
        ck.linear_cross_entropy_hvp(X, coef, [0, 1, 1], coef)


# Bits and memory


@pytest.mark.usefixtures("isa")
def test_same_bits_on_any_number_of_threads(rng, dtype, assert_same_bits):
    X, coef, intercept = problem(rng, dtype, 5000, 3, (60,))
    labels = rng.integers(0, 60, 5000)

    def results(n):
        options = {"intercept": intercept, "n_threads": n}
        loss, grad = ck.linear_cross_entropy(X, coef, labels, return_X_grad=True, **options)
        product = ck.linear_cross_entropy_hvp(X, coef, labels, coef, **options)
        binary = ck.linear_binary_cross_entropy(X, coef, rng_labels, return_grad=True, **options)
        return loss, tuple(grad), product, binary[0], tuple(binary[1][:2])

    rng_labels = rng.integers(0, 2, (5000, 60))
    first = results(1)
    for n in (2, 3, 8):
        assert_same_bits(results(n), first)


def peak(function, *args, **kwargs):
    """Return what a call takes at most, beside its results, in bytes."""
    function(*args, **kwargs)
    tracemalloc.start()
    try:
        results = function(*args, **kwargs)
        kept, most = tracemalloc.get_traced_memory()
        del results
        return most - kept
    finally:
        tracemalloc.stop()


def test_memory_of_dense_features(dtype):
    n, p, n_classes = 40_000, 20, 25  # logits of 4 or 8 MB
    X, coef = np.ones((n, p), dtype), np.ones((n_classes, p), dtype)
    labels = np.zeros(n, int)
    options = {"intercept": np.ones(n_classes, dtype), "return_grad": True}
    for features in (X, np.asfortranarray(X), strided(X)):
        assert peak(ck.linear_cross_entropy, features, coef, labels, **options) < 1 << 20
        assert peak(ck.linear_binary_cross_entropy, features, coef[0], labels) < 5 << 19


def test_memory_of_sparse_features():
    n, p = 2000, 50_000  # 800 MB as a dense array
    X = sparse.random_array((n, p), density=1e-3, format="csr", rng=0)
    coef, labels = np.ones((3, p)), np.zeros(n, int)
    assert peak(ck.linear_cross_entropy, X, coef, labels, return_grad=True) < 4 * coef.nbytes
    assert peak(ck.linear_cross_entropy_hvp, X, coef, labels, coef) < 5 * coef.nbytes


@pytest.mark.slow
def test_memory_of_a_large_vocabulary():
    n, p, n_classes = 4096, 1024, 32_000
    X = np.ones((n, p), np.float32)
    coef = np.zeros((n_classes, p), np.float32)
    labels = np.arange(n)
    tracemalloc.start()
    try:
        loss, grad = ck.linear_cross_entropy(X, coef, labels, return_grad=True)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - grad.coef.nbytes < 80e6
    assert loss == pytest.approx(np.log(n_classes), rel=1e-6)
    np.testing.assert_allclose(grad.coef[n:], 1.0 / n_classes, rtol=1e-5)


@pytest.mark.slow
def test_accuracy_over_a_million_rows(rng, dtype):
    n = 1_000_000
    X, coef, intercept = problem(rng, dtype, n, 20, ())
    targets = rng.random(n)
    check("linear_binary_cross_entropy", X, coef, targets, intercept=intercept)


def test_scipy_is_not_imported():
    program = "import sys, cekernels, numpy as np\n"
    program += "cekernels.linear_cross_entropy(np.ones((2, 2)), np.ones((2, 2)), [0, 1])\n"
    program += "assert not any(name.startswith('scipy') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
