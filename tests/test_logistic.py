"""LogisticRegression: literal solutions, scikit-learn's minimum, and what only this one does."""

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn")

import scipy.sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression as Peer

from cekernels.estimators import (
    LogisticRegression,
    TemperatureScaling,
    _data,
    _metric,
    _solvers,
)
from cekernels.estimators._problem import check_problem

# Of coefficients, absolute, between two solutions of a tight tolerance.
SAME = 1e-6
TIGHT = {"tol": 1e-9, "max_iter": 2000}
FLOAT32 = 2e-3
LOG_3 = 1.0986122886681098
PEER_CG = Peer(solver="newton-cg", tol=1e-11, max_iter=500)
SOLVERS = ("auto", "lbfgs", "newton-cg", "newton-cholesky")


def data(name, n=None):
    """Return a data set of scikit-learn with standardised features."""
    load = {"iris": load_iris, "cancer": load_breast_cancer, "digits": load_digits}[name]
    X, y = load(return_X_y=True)
    X = X[:, X.std(axis=0) > 0.0]
    return ((X - X.mean(axis=0)) / X.std(axis=0))[:n], y[:n]


def correlated(rng, n, p, n_classes):
    X = rng.standard_normal((n, p)) @ rng.standard_normal((p, p)) + 1.0
    logits = X @ rng.standard_normal((p, n_classes)) / p
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def assert_same(model, peer, atol=SAME):
    np.testing.assert_array_equal(model.classes_, peer.classes_)
    assert model.coef_.shape == peer.coef_.shape
    assert model.intercept_.shape == peer.intercept_.shape
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=0.0, atol=atol)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, rtol=0.0, atol=atol)


def peer(**options):
    return Peer(solver="newton-cholesky", tol=1e-13, max_iter=1000, **options)


# Literal values


@pytest.mark.parametrize("solver", SOLVERS)
def test_two_points(solver):
    # One point of each class at +1 and -1: w = 2 C / (1 + exp(w)), so C = 2 log 3 for w = log 3.
    model = LogisticRegression(C=2.0 * LOG_3, solver=solver, **TIGHT)
    model.fit([[-1.0], [1.0]], [0, 1])
    assert model.coef_[0, 0] == pytest.approx(LOG_3, rel=0, abs=1e-8)
    assert model.intercept_[0] == pytest.approx(0.0, abs=1e-8)
    np.testing.assert_allclose(model.predict_proba([[1.0]]), [[0.25, 0.75]], rtol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
def test_intercept_alone(solver):
    # Features that tell nothing: probabilities are the frequencies.
    X, y = np.zeros((10, 2)), ["a"] * 5 + ["b"] * 3 + ["c"] * 2
    model = LogisticRegression(solver=solver, **TIGHT).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X[:1]), [[0.5, 0.3, 0.2]], rtol=1e-7)
    assert not model.coef_.any()


def test_smoothing_alone():
    # The label smoothed by 1/2 is 3/4 for the right class of two.
    X = [[-1.0], [1.0]] * 100
    model = LogisticRegression(C=np.inf, label_smoothing=0.5, **TIGHT).fit(X, [0, 1] * 100)
    assert model.coef_[0, 0] == pytest.approx(LOG_3, rel=0, abs=1e-7)


# The minimum of scikit-learn


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("name", "C"), [("iris", 1.0), ("iris", 0.01), ("cancer", 3.0)])
def test_solvers(name, C, fit_intercept, solver):
    X, y = data(name)
    options = {"C": C, "fit_intercept": fit_intercept}
    model = LogisticRegression(solver=solver, **options, **TIGHT).fit(X, y)
    assert_same(model, peer(**options).fit(X, y))
    assert model.n_iter_.shape == (1,)
    assert 0 < model.n_iter_[0] < 100


def test_ten_classes():
    X, y = data("digits", 300)
    assert_same(LogisticRegression(**TIGHT).fit(X, y), peer().fit(X, y))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_many_rows(rng, n_classes):
    X, y = correlated(rng, 24_000, 6, n_classes)
    model = LogisticRegression(**TIGHT).fit(X, y)
    assert_same(model, peer().fit(X, y))
    assert model.n_iter_[0] < 20


@pytest.mark.parametrize("copied", [0, 1 << 21])
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, scipy.sparse.csr_array])
def test_some_rows(rng, make, copied, monkeypatch):
    monkeypatch.setattr(_data, "COPIED", copied)
    X, y = correlated(rng, 100, 3, 3)
    weight = rng.uniform(0.5, 2.0, 100)
    data = check_problem(LogisticRegression(), make(X), y, weight).parts[0]
    some = data.every(7)
    assert some.X.shape[0] == 15
    dense = some.X.toarray() if scipy.sparse.issparse(some.X) else some.X
    np.testing.assert_array_equal(dense, X[::7])
    np.testing.assert_array_equal(some.targets, data.targets[::7])
    np.testing.assert_array_equal(some.sample_weight, weight[::7])
    assert some.weight == pytest.approx(0.15 * weight.sum(), rel=1e-14)
    assert make is not np.asarray or np.shares_memory(some.X, data.X) == (copied == 0)


def test_metric_is_not_learnt_by_heart(rng):
    X = rng.standard_normal((5000, 100)) @ (np.eye(100) + 0.3 * rng.standard_normal((100, 100)))
    logits = X @ rng.standard_normal((100, 3)) / 5.0
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert LogisticRegression(tol=1e-6).fit(X, y).n_iter_[0] < 30


@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_penalty(rng, n_classes):
    X, y = correlated(rng, 2000, 4, n_classes)
    for solver in SOLVERS:
        model = LogisticRegression(C=np.inf, solver=solver, **TIGHT).fit(X, y)
        assert_same(model, peer(C=np.inf).fit(X, y))


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_diagonal_scaling(solver, monkeypatch):
    monkeypatch.setattr(_metric, "MAX_COLUMNS", 0)
    for name in ("iris", "cancer"):
        X, y = data(name)
        model = LogisticRegression(solver=solver, **TIGHT).fit(X, y)
        assert_same(model, peer().fit(X, y))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array])
def test_many_iterations_bring_a_matrix(rng, make, n_classes, monkeypatch):
    X = rng.standard_normal((800, 20)) @ rng.standard_normal((20, 120))
    X += 0.3 * rng.standard_normal(X.shape)
    logits = X @ rng.standard_normal((120, n_classes)) / 40.0
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    model = LogisticRegression(solver="lbfgs", **TIGHT).fit(make(X), y)
    assert_same(model, peer().fit(X, y))
    monkeypatch.setattr(_solvers, "_patience", lambda *_: 1e9)
    scaled = LogisticRegression(solver="lbfgs", **TIGHT).fit(make(X), y)
    assert_same(model, scaled)
    assert _solvers.TRIAL < model.n_iter_[0] < scaled.n_iter_[0] / 5


@pytest.mark.parametrize(("n", "p", "solver"), [(300, 60, "newton-cholesky"), (3000, 60, "lbfgs")])
def test_newton_is_for_few_multiplications(rng, n, p, solver):
    X, y = correlated(rng, n, p, 2)
    auto, named = (LogisticRegression(solver=s).fit(X, y) for s in ("auto", solver))
    np.testing.assert_array_equal(auto.coef_, named.coef_)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, scipy.sparse.csr_array])
def test_diagonal_of_curvatures(rng, make, kind, monkeypatch):
    monkeypatch.setattr(_metric, "CHUNK_BYTES", 300)
    X, y = correlated(rng, 100, 5, 3)
    data = check_problem(LogisticRegression(), make(X.astype(kind)), y, None).parts[0]
    curvatures = rng.uniform(0.1, 1.0, (100, 3)).astype(kind)
    want = np.einsum("ic,ij,ij->cj", curvatures.astype(float), X.astype(kind), X.astype(kind))
    want = np.concatenate([want.ravel(), curvatures.sum(axis=0)])
    rtol = 100.0 * float(np.finfo(kind).eps)
    np.testing.assert_allclose(_metric.curvature_diagonal(data, curvatures), want, rtol=rtol)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, scipy.sparse.csr_array])
def test_common_matrix(rng, make, solver, monkeypatch):
    monkeypatch.setattr(_metric, "MAX_ELEMENTS", 0)
    monkeypatch.setattr(_data, "COPIED", 0)
    monkeypatch.setattr(_metric, "CHUNK_BYTES", 1000)
    X, y = correlated(rng, 3000, 4, 5)
    is_kept = (y != 1) | (rng.random(3000) < 0.05)  # a rare class
    X, y = X[is_kept], y[is_kept]
    model = LogisticRegression(solver=solver, **TIGHT).fit(make(X), y)
    assert_same(model, peer().fit(X, y))
    assert model.n_iter_[0] < 30


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_factor_of_a_singular_matrix(rng, kind):
    X = rng.standard_normal((40, 20)).astype(kind)
    X[:, 12] = X[:, 3]
    block = np.asfortranarray(X.T @ X)
    want, eps = block.astype(float), float(np.finfo(kind).eps)
    block[12, 12] -= 20.0 * eps * block.trace()  # rounding may leave it indefinite
    block[np.triu_indices(20, 1)] = 1e30  # which nothing reads
    factor = np.tril(_metric._factor(block))
    assert (factor.diagonal() > 0.0).all()
    atol = 1e5 * eps * want.trace()
    np.testing.assert_allclose(factor.astype(float) @ factor.T, want, rtol=0, atol=atol)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5}])
@pytest.mark.parametrize("name", ["iris", "cancer"])
def test_weights(rng, name, class_weight):
    X, y = data(name)
    weight = rng.integers(0, 4, len(y)).astype(float)
    for solver in ("lbfgs", "newton-cholesky"):
        model = LogisticRegression(class_weight=class_weight, solver=solver, **TIGHT)
        model.fit(X, y, sample_weight=weight)
        assert_same(model, peer(class_weight=class_weight).fit(X, y, sample_weight=weight))


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_sparse(make):
    X, y = data("iris")
    X[X < 0.0] = 0.0
    for solver in SOLVERS:
        model = LogisticRegression(solver=solver, **TIGHT).fit(make(X), y)
        assert_same(model, peer().fit(X, y))
    np.testing.assert_allclose(model.predict_proba(make(X)), model.predict_proba(X), rtol=1e-12)


def test_wide_sparse(rng):
    X = scipy.sparse.random_array((60, 1500), density=0.05, format="csr", rng=rng)
    y = rng.integers(0, 3, 60)
    assert_same(LogisticRegression(**TIGHT).fit(X, y), PEER_CG.fit(X, y))


@pytest.mark.parametrize("name", ["iris", "cancer"])
def test_float32(name):
    X, y = data(name)
    model = LogisticRegression(tol=1e-6).fit(X.astype(np.float32), y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert_same(model, peer().fit(X, y), FLOAT32)


def test_methods_of_scikit_learn(rng):
    for n_classes in (2, 3):
        X, y = correlated(rng, 200, 3, n_classes)
        model, other = LogisticRegression(**TIGHT).fit(X, y), peer().fit(X, y)
        for method in ("decision_function", "predict_proba", "predict_log_proba", "predict"):
            ours, theirs = getattr(model, method)(X), getattr(other, method)(X)
            np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-5)
        assert model.score(X, y) == other.score(X, y)


def test_log_proba_in_the_tail():
    model = LogisticRegression().fit([[-1.0], [1.0]], [0, 1])
    model.coef_[:] = 1.0
    log_proba = model.predict_log_proba([[-800.0], [50.0]])
    np.testing.assert_allclose(log_proba[0], [0.0, -800.0])
    assert log_proba[1, 1] == pytest.approx(-np.exp(-50.0), rel=1e-12)


# What scikit-learn's does not do


@pytest.mark.parametrize("n_classes", [2, 3])
def test_soft_targets_are_weighted_labels(rng, n_classes):
    X, _ = correlated(rng, 150, 3, n_classes)
    proba = rng.dirichlet(np.ones(n_classes), 150)
    model = LogisticRegression(targets="proba", **TIGHT).fit(X, proba)
    labels = np.repeat(np.arange(n_classes), 150)
    assert_same(
        model, peer().fit(np.tile(X, (n_classes, 1)), labels, sample_weight=proba.T.ravel())
    )
    predicted = model.predict(X)
    assert model.score(X, proba) == pytest.approx(proba[np.arange(150), predicted].mean())


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.5}])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_hot_is_labels(rng, n_classes, class_weight):
    X, y = correlated(rng, 150, 3, n_classes)
    weight = rng.uniform(0.5, 2.0, 150)
    for smoothing in (0.0, 0.2):
        options = {"class_weight": class_weight, "label_smoothing": smoothing, **TIGHT}
        model = LogisticRegression(**options).fit(X, y, sample_weight=weight)
        soft = LogisticRegression(targets="proba", **options)
        assert_same(soft.fit(X, np.eye(n_classes)[y], sample_weight=weight), model)


def test_smoothing_is_soft_targets(rng):
    for n_classes in (2, 4):
        X, y = correlated(rng, 150, 3, n_classes)
        smooth = LogisticRegression(label_smoothing=0.3, **TIGHT).fit(X, y)
        proba = 0.7 * np.eye(n_classes)[y] + 0.3 / n_classes
        assert_same(LogisticRegression(targets="proba", **TIGHT).fit(X, proba), smooth)


def test_multilabel_is_independent(rng):
    X, _ = correlated(rng, 120, 3, 2)
    Y = (X @ rng.standard_normal((3, 4)) + rng.logistic(size=(120, 4)) > 1.0).astype(int)
    model = LogisticRegression(targets="multilabel", **TIGHT).fit(X, Y)
    parts = [peer().fit(X, y) for y in Y.T]
    expected = np.concatenate([part.coef_ for part in parts])
    np.testing.assert_allclose(model.coef_, expected, rtol=0.0, atol=SAME)
    np.testing.assert_array_equal(model.classes_, range(4))
    assert model.n_iter_.shape == (4,)
    proba = np.stack([part.predict_proba(X)[:, 1] for part in parts], axis=1)
    np.testing.assert_allclose(model.predict_proba(X), proba, rtol=1e-5)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), proba, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(X), proba > 0.5)
    assert model.score(X, Y) == np.mean((model.predict(X) == Y).all(axis=1))
    assert LogisticRegression(targets="multilabel").fit(X, Y[:, :1]).predict(X).shape == (120, 1)


def test_warm_start(rng):
    for n_classes in (2, 3):
        X, y = correlated(rng, 2000, 4, n_classes)
        for solver in ("lbfgs", "newton-cholesky"):
            model = LogisticRegression(warm_start=True, solver=solver, **TIGHT).fit(X, y)
            model.coef_ += 0.5  # of all classes alike, which only the penalty sees
            assert_same(model.fit(X, y), peer().fit(X, y))
            model.fit(X, y)
            assert model.n_iter_[0] <= 2
    with pytest.raises(ValueError, match="warm_start from coef_ of shape"):
        model.fit(X[:, :2], y)


def test_threads_give_the_same_bits(rng):
    X, y = correlated(rng, 30_000, 5, 3)
    one, two = (LogisticRegression(n_threads=n).fit(X, y) for n in (1, 2))
    np.testing.assert_array_equal(one.coef_, two.coef_)


def test_a_large_matrix_is_in_memory_once(rng):
    X = rng.standard_normal((3000, 500))
    y = (X[:, 0] > 0.0).astype(int)
    matrix = 501 * 501 * 8
    assert matrix < peak_of(LogisticRegression(solver="newton-cg"), X, y) < 1.9 * matrix


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_iterations_need_no_matrix(rng, n_classes):
    X = rng.standard_normal((6000, 600))
    logits = X @ rng.standard_normal((600, n_classes)) / 25.0
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert peak_of(LogisticRegression(), X, y) < 601 * 601 * 8


def peak_of(model, X, y):
    model.fit(X, y)
    tracemalloc.start()
    model.fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_X_is_not_copied(rng):
    X = rng.standard_normal((50_000, 20))
    y = (X[:, 0] > 0.0).astype(int)
    assert peak_of(LogisticRegression(), X, y) < X.nbytes / 2


# Bad arguments


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({}, [0, 0, 0], "at least 2 classes in the data, but the data contains only one class"),
        ({}, [0.1, 0.2, 0.3], "Unknown label type"),
        ({"C": 0.0}, [0, 1, 1], "The 'C' parameter of LogisticRegression"),
        ({"solver": "saga"}, [0, 1, 1], "The 'solver' parameter of LogisticRegression"),
        ({"label_smoothing": 2.0}, [0, 1, 1], "The 'label_smoothing' parameter"),
        ({"targets": "proba"}, [0, 1, 1], "two axes"),
        ({"targets": "proba"}, [[1.0], [1.0], [1.0]], "a column for each class"),
        ({"targets": "proba"}, [[0.5, 0.4], [1, 0], [0, 1]], "sum to 1, got 0.9.* in row 0"),
        ({"targets": "multilabel"}, [[0, 2], [1, 0], [0, 1]], r"in \[0, 1\] .*got 2.0 in row 0"),
        ({"targets": "multilabel", "class_weight": "balanced"}, [[0], [1], [1]], "class_weight"),
    ],
)
def test_bad_arguments(options, y, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegression(**options).fit([[0.0], [1.0], [2.0]], y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value):
    with pytest.raises(ValueError, match="Input X contains"):
        LogisticRegression().fit([[0.0], [value]], [0, 1])


def test_not_fitted():
    for model in (LogisticRegression(), TemperatureScaling()):
        with pytest.raises(NotFittedError):
            model.predict([[0.0]])


@pytest.mark.parametrize("solver", SOLVERS)
def test_too_few_iterations(solver):
    X, y = data("iris")
    with pytest.warns(ConvergenceWarning, match="1 iterations left a gradient"):
        LogisticRegression(max_iter=1, solver=solver).fit(X, y)


def test_separable_without_penalty():
    with pytest.warns(ConvergenceWarning):
        LogisticRegression(C=np.inf, tol=0.0, max_iter=5).fit([[-1.0], [1.0]], [0, 1])
