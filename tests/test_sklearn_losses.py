"""Loss objects with scikit-learn's interface: its own losses, its estimators, and what it lacks."""

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn._loss.loss as theirs
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import cekernels as ck
from cekernels import LabelError, sklearn_losses
from cekernels.sklearn_losses import (
    BinaryFocalLoss,
    HalfBinomialLoss,
    HalfMultinomialLoss,
    MultinomialFocalLoss,
    patched,
)

# Of scikit-learn's results in float64.
CLOSE = {
    np.float64: {"rtol": 1e-12, "atol": 1e-14},
    np.float32: {"rtol": 6e-7, "atol": 1e-7},
}
# Of predictions of boosting on float32 gradients.
PREDICTIONS = {"rtol": 0, "atol": 1e-6}

N_CLASSES = 4
BINARY_CALLS = {
    "loss": ("loss_out",),
    "gradient": ("gradient_out",),
    "loss_gradient": ("loss_out", "gradient_out"),
    "gradient_hessian": ("gradient_out", "hessian_out"),
}
CALLS = BINARY_CALLS | {"gradient_proba": ("gradient_out", "proba_out")}


@pytest.fixture(params=[1, N_CLASSES], ids=["binomial", "multinomial"])
def losses(request):
    """Return our loss and theirs."""
    if request.param == 1:
        return HalfBinomialLoss(), theirs.HalfBinomialLoss()
    return HalfMultinomialLoss(n_classes=N_CLASSES), theirs.HalfMultinomialLoss(n_classes=N_CLASSES)


def problem(rng, loss, dtype, order="C", n=50):
    if loss.is_multiclass:
        raw = np.asarray(rng.normal(0, 3, (n, N_CLASSES)), dtype, order)
        return rng.integers(0, N_CLASSES, n).astype(dtype), raw
    return (rng.random(n) < 0.3).astype(dtype), rng.normal(0, 3, n).astype(dtype)


def in_double(*arrays):
    """Return the arrays as float64: scikit-learn rounds to float32 on the way to float32."""
    return (None if array is None else array.astype(np.float64) for array in arrays)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


# Literal values.


def test_literals():
    loss = HalfBinomialLoss()
    arguments = {"y_true": np.array([0.0, 1.0, 0.5]), "raw_prediction": np.zeros(3)}
    np.testing.assert_allclose(loss.loss(**arguments), np.log(2.0), rtol=1e-15)
    gradient, hessian = loss.gradient_hessian(**arguments, sample_weight=np.array([1.0, 2.0, 3.0]))
    assert gradient.tolist() == [0.5, -1.0, 0.0]
    assert hessian.tolist() == [0.25, 0.5, 0.75]
    multinomial = HalfMultinomialLoss(n_classes=2)
    arguments = {"y_true": np.array([1.0]), "raw_prediction": np.zeros((1, 2))}
    gradient, proba = multinomial.gradient_proba(**arguments)
    assert gradient.tolist() == [[0.5, -0.5]]
    assert proba.tolist() == [[0.5, 0.5]]
    assert multinomial(**arguments) == pytest.approx(np.log(2.0), rel=1e-15)


def test_tails():
    raw = np.array([[50.0, 0.0], [40.0, 0.0]])
    value = HalfMultinomialLoss(n_classes=2).loss(np.zeros(2), raw)
    np.testing.assert_allclose(value, np.exp([-50.0, -40.0]), rtol=1e-14)
    assert HalfBinomialLoss().loss(np.ones(1), np.array([np.inf])) == 0.0
    proba = HalfBinomialLoss().predict_proba(np.array([[50.0]]))
    np.testing.assert_allclose(proba, [[np.exp(-50.0), 1.0]], rtol=1e-14)
    raw = np.array([[50.0, 0.0]])
    proba = HalfMultinomialLoss(n_classes=2).predict_proba(raw)
    np.testing.assert_allclose(proba, [[1.0, np.exp(-50.0)]], rtol=1e-14)


# Differential.


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("order", "weighted"), [("C", False), ("F", True)])
def test_agrees(rng, losses, dtype, name, order, weighted):
    ours, reference = losses
    if name == "gradient_proba" and not ours.is_multiclass:
        pytest.skip("for several classes alone")
    y, raw = problem(rng, ours, dtype, order)
    weight = rng.random(len(y)).astype(dtype) if weighted else None
    got, same = (as_tuple(getattr(loss, name)(y, raw, weight)) for loss in losses)
    want = as_tuple(getattr(reference, name)(*in_double(y, raw, weight)))
    for one, other, exact in zip(got, same, want, strict=True):
        assert (one.dtype, one.shape, one.strides) == (other.dtype, other.shape, other.strides)
        np.testing.assert_allclose(one, exact, **CLOSE[dtype])
    assert type(ours(y, raw, weight)) is type(reference(y, raw, weight))
    assert ours(y, raw, weight) == pytest.approx(reference(y, raw, weight), rel=1e-6)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("out_dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_outputs(rng, losses, dtype, name, out_dtype, order):
    ours, reference = losses
    if name == "gradient_proba" and not ours.is_multiclass:
        pytest.skip("for several classes alone")
    y, raw = problem(rng, ours, dtype, order)
    weight = rng.random(len(y)).astype(dtype)
    outputs = {
        argument: np.full(len(y) if argument == "loss_out" else raw.shape, 7.0, out_dtype, "F")
        for argument in CALLS[name]
    }
    got = as_tuple(getattr(ours, name)(y, raw, weight, **outputs, n_threads=2))
    assert all(one is out for one, out in zip(got, outputs.values(), strict=True))
    want = as_tuple(getattr(reference, name)(*in_double(y, raw, weight)))
    single = dtype == out_dtype == np.float32
    for one, exact in zip(got, want, strict=True):
        exact = exact.astype(out_dtype)
        np.testing.assert_allclose(one, exact, **CLOSE[np.float32 if single else np.float64])


def test_columns_of_one(rng):
    y, raw = problem(rng, HalfBinomialLoss(), np.float64)
    want = HalfBinomialLoss().gradient_hessian(y, raw)
    outputs = np.empty((len(y), 1)), np.empty((len(y), 1))
    got = HalfBinomialLoss().gradient_hessian(y, raw[:, None], None, *outputs)
    np.testing.assert_array_equal(np.ravel(got), np.ravel(want))


def test_the_rest_of_the_interface(rng, losses):
    ours, reference = losses
    y, raw = problem(rng, ours, np.float64)
    weight = rng.random(len(y))
    assert isinstance(ours, type(reference))
    for name in ("is_multiclass", "n_classes", "constant_hessian", "differentiable"):
        assert getattr(ours, name) == getattr(reference, name)
    assert type(ours.link) is type(reference.link)
    for arguments in ((y,), (y, weight)):
        np.testing.assert_array_equal(
            ours.fit_intercept_only(*arguments), reference.fit_intercept_only(*arguments)
        )
        np.testing.assert_array_equal(
            ours.constant_to_optimal_zero(*arguments),
            reference.constant_to_optimal_zero(*arguments),
        )
    np.testing.assert_allclose(ours.predict_proba(raw), reference.predict_proba(raw), atol=1e-15)
    gradient, hessian = ours.init_gradient_and_hessian(9, np.float32)
    shape = (9, N_CLASSES) if ours.is_multiclass else (9,)
    assert gradient.shape == hessian.shape == shape


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal(rng, gamma):
    options = {"gamma": gamma, "alpha": 0.3}
    focal = BinaryFocalLoss(**options)
    y, raw = problem(rng, focal, np.float64)
    check_focal(focal, ck.sigmoid_focal_loss, y, raw, y, options)
    multinomial = MultinomialFocalLoss(n_classes=N_CLASSES, gamma=gamma)
    y, raw = problem(rng, multinomial, np.float64)
    one_hot = np.eye(N_CLASSES)[y.astype(int)]
    check_focal(multinomial, ck.softmax_focal_loss, y, raw, one_hot, {"gamma": gamma})


def check_focal(loss, function, y, raw, targets, options):
    options = {**options, "reduction": "none", "return_grad": True, "return_proba": True}
    value, grad, proba = function(raw, y.astype(int), **options)
    for got, want in zip(loss.loss_gradient(y, raw), (value, grad), strict=True):
        np.testing.assert_array_equal(got, want)
    gradient, hessian = loss.gradient_hessian(y, raw)
    np.testing.assert_array_equal(gradient, grad)
    want = np.abs(grad) * (1.0 - np.abs(proba - targets))
    np.testing.assert_allclose(hessian, want, rtol=1e-12, atol=1e-15)
    single = np.empty(raw.shape, np.float32), np.empty(raw.shape, np.float32)
    loss.gradient_hessian(y, raw, None, *single)
    for got, exact in zip(single, (gradient, hessian), strict=True):
        np.testing.assert_array_equal(got, exact.astype(np.float32))


# Estimators.


def histogram_boosting(loss, **options):
    options = {"max_iter": 5, "max_leaf_nodes": 8, "early_stopping": False, **options}
    return HistGradientBoostingClassifier(loss=loss, **options)


@pytest.mark.parametrize("weighted", [False, True])
def test_histogram_boosting(rng, weighted):
    for load, loss in (
        (load_breast_cancer, HalfBinomialLoss()),
        (load_wine, HalfMultinomialLoss(n_classes=3)),
    ):
        X, y = load(return_X_y=True)
        if weighted:  # scikit-learn draws 200,000 rows to bin those of other weights
            X = X[:, :1]
        weight = rng.random(len(y)) + 0.5 if weighted else None
        ours, reference = (
            histogram_boosting(each).fit(X, y, sample_weight=weight) for each in (loss, "log_loss")
        )
        np.testing.assert_allclose(ours.predict_proba(X), reference.predict_proba(X), **PREDICTIONS)
        again = pickle.loads(pickle.dumps(ours))
        np.testing.assert_array_equal(again.predict_proba(X), ours.predict_proba(X))


def test_early_stopping_and_clone():
    X, y = load_wine(return_X_y=True)
    options = {"early_stopping": True, "random_state": 0}
    models = [
        clone(histogram_boosting(loss, **options)).fit(X, y)
        for loss in (HalfMultinomialLoss(n_classes=3), "log_loss")
    ]
    scores, want = (model.validation_score_ for model in models)
    np.testing.assert_allclose(scores, want, rtol=1e-6)


def test_focal_boosting():
    X, y = load_wine(return_X_y=True)
    model = histogram_boosting(MultinomialFocalLoss(n_classes=3), max_iter=20).fit(X, y)
    assert model.score(X, y) > 0.95
    model = histogram_boosting(BinaryFocalLoss(), max_iter=20).fit(X, y == 1)
    assert model.score(X, y == 1) > 0.95


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_patched_logistic_regression(solver, n_classes, kind):
    X, y = load_wine(return_X_y=True)
    X, y = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(kind), np.minimum(y, n_classes - 1)
    tol = 1e-9 if kind == np.float64 else 1e-3
    model = LogisticRegression(solver=solver, tol=tol, max_iter=1000)
    reference = clone(model).fit(X, y)
    with patched():
        model.fit(X, y)
    atol = 1e-6 if kind == np.float64 else 1e-2
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=0, atol=atol)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: GradientBoostingClassifier(n_estimators=3, min_samples_leaf=20, random_state=0),
        lambda: histogram_boosting("log_loss"),
    ],
    ids=["GradientBoosting", "HistGradientBoosting"],
)
def test_patched_boosting(rng, make, n_classes):
    # No leaf so small that splits have equal gains, between which rounding would decide.
    X = rng.normal(size=(300, 6))
    y = (X[:, :n_classes] + 0.5 * rng.normal(size=(300, n_classes))).argmax(axis=1)
    reference = make().fit(X, y)
    with patched():
        model = make().fit(X, y)
    assert isinstance(model._loss.closs, sklearn_losses.Kernels)
    assert not isinstance(reference._loss.closs, sklearn_losses.Kernels)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X), **PREDICTIONS)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def originals():
    return theirs.CyHalfBinomialLoss, theirs.CyHalfMultinomialLoss


def is_patched():
    return [
        isinstance(loss().closs, sklearn_losses.Kernels)
        for loss in (theirs.HalfBinomialLoss, theirs.HalfMultinomialLoss)
    ]


def test_patches_are_taken_back():
    before = originals()
    with patched():
        assert is_patched() == [True, True]
        with patched():
            assert is_patched() == [True, True]
        assert is_patched() == [True, True]
    assert is_patched() == [False, False]
    with pytest.raises(KeyError), patched():
        raise KeyError
    assert originals() == before


def test_patches_of_several_threads():
    before = originals()
    entered, leave = threading.Event(), threading.Event()

    def work():
        with patched():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    with patched():
        thread.start()
        assert entered.wait(10)
    assert originals() != before
    leave.set()
    thread.join()
    assert originals() == before


# Safety.


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_and_pickles(rng, copied):
    for loss in (
        HalfBinomialLoss(),
        BinaryFocalLoss(gamma=1.0, alpha=0.2),
        HalfMultinomialLoss(n_classes=N_CLASSES),
        MultinomialFocalLoss(n_classes=N_CLASSES, gamma=1.0),
    ):
        y, raw = problem(rng, loss, np.float64)
        np.testing.assert_array_equal(copied(loss).gradient(y, raw), loss.gradient(y, raw))


def test_inputs_may_be_read_only(rng, losses):
    ours, _ = losses
    arrays = *problem(rng, ours, np.float64), rng.random(50)
    for array in arrays:
        array.flags.writeable = False
    ours.gradient_hessian(*arrays)


BAD_LABELS = [
    (HalfBinomialLoss(), [0.0, 2.0], ValueError, r"y_true must be in \[0, 1\], got 2.0 at \[1\]"),
    (BinaryFocalLoss(), [0.0, 0.5], LabelError, r"y_true\[1\] is 0.5"),
    (HalfMultinomialLoss(), [0.0, 3.0], LabelError, r"y_true\[1\] is 3.0"),
    (HalfMultinomialLoss(), [-1.0, 0.0], LabelError, r"y_true\[0\] is -1.0"),
    (HalfMultinomialLoss(), [0.0, 1.5], LabelError, r"y_true\[1\] is 1.5"),
    (HalfMultinomialLoss(), [0.0, np.nan], LabelError, r"y_true\[1\] is nan"),
]


@pytest.mark.parametrize("name", BINARY_CALLS)
@pytest.mark.parametrize("case", range(len(BAD_LABELS)))
@pytest.mark.parametrize("out_dtype", [np.float32, np.float64])
def test_bad_labels_write_nothing(name, case, out_dtype):
    loss, y, error, message = BAD_LABELS[case]
    shape = (2, 3) if loss.is_multiclass else (2,)
    outputs = {
        argument: np.full(2 if argument == "loss_out" else shape, 7.0, out_dtype)
        for argument in CALLS[name]
    }
    with pytest.raises(error, match=message):
        getattr(loss, name)(np.array(y), np.zeros(shape), **outputs)
    assert all((out == 7.0).all() for out in outputs.values())


BAD_ARRAYS = [
    ({"y_true": np.zeros(3)}, r"y_true must have shape \(2,\), got \(3,\)"),
    ({"sample_weight": np.ones(3)}, r"sample_weight must broadcast to shape \(2,\)"),
    ({"raw_prediction": np.zeros((2, 3))}, r"raw_prediction must have shape \(n,\)"),
    ({"gradient_out": np.zeros(3)}, r"gradient_out must have shape \(2,\), got \(3,\)"),
    ({"hessian_out": np.zeros(1)}, r"hessian_out must have shape \(2,\), got \(1,\)"),
    ({"gradient_out": np.broadcast_to(np.zeros(1), 2)}, "gradient_out is read-only"),
]


@pytest.mark.parametrize("case", range(len(BAD_ARRAYS)))
def test_bad_arrays(case):
    changed, message = BAD_ARRAYS[case]
    arguments = {
        "y_true": np.zeros(2),
        "raw_prediction": np.zeros(2),
        "sample_weight": None,
        "gradient_out": np.zeros(2),
        "hessian_out": np.zeros(2),
    }
    with pytest.raises(ValueError, match=message):
        HalfBinomialLoss().gradient_hessian(**arguments | changed)


@pytest.mark.parametrize("dtype", [np.int32, np.float16, ">f8"])
def test_outputs_of_other_dtypes(dtype):
    y, raw, out = np.zeros(2), np.zeros(2), np.zeros(2, dtype)
    with pytest.raises(TypeError, match="hessian_out must have dtype float32 or float64, got"):
        HalfBinomialLoss().gradient_hessian(y, raw, None, np.zeros(2), out)
    assert not out.any()


def test_outputs_that_share_memory():
    y, raw, gradient = np.zeros(2), np.zeros(2), np.zeros(2)
    bad = [
        ({"hessian_out": raw}, "hessian_out shares memory with raw_prediction"),
        ({"gradient_out": y}, "gradient_out shares memory with y_true"),
        ({"hessian_out": gradient}, "hessian_out shares memory with gradient_out"),
    ]
    for changed, message in bad:
        arguments = {"gradient_out": gradient, "hessian_out": np.zeros(2)} | changed
        with pytest.raises(ValueError, match=message):
            HalfBinomialLoss().gradient_hessian(y, raw, **arguments)
    want = HalfBinomialLoss().gradient(y, raw)
    assert HalfBinomialLoss().gradient(y, raw, gradient_out=raw) is raw
    np.testing.assert_array_equal(raw, want)


def test_bad_shapes_of_classes():
    loss = HalfMultinomialLoss(n_classes=3)
    with pytest.raises(ValueError, match=r"raw_prediction must have shape \(n, C\)"):
        loss.gradient(np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match=r"raw_prediction must have shape \(n, C\)"):
        loss.gradient(np.zeros(2), np.zeros((2, 0)))
    with pytest.raises(ValueError, match="gradient_out must have shape"):
        loss.gradient(np.zeros(2), np.zeros((2, 3)), gradient_out=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="gamma"):
        MultinomialFocalLoss(gamma=-1.0)


def test_versions():
    for version in ("1.6.0", "1.9.1", "1.9.dev0"):
        sklearn_losses.check_version(version)
    with pytest.raises(ImportError, match=r"knows scikit-learn 1\.6 to 1\.9, not 1\.5\.2"):
        sklearn_losses.check_version("1.5.2")
    with pytest.warns(RuntimeWarning, match=r"2\.0\.1 may differ"):
        sklearn_losses.check_version("2.0.1")


def test_what_cannot_be_patched(monkeypatch):
    monkeypatch.delattr(theirs, "CyHalfBinomialLoss")
    with pytest.raises(RuntimeError, match="has no CyHalfBinomialLoss to replace"), patched():
        pass


def test_without_scikit_learn():
    code = """
import sys
sys.modules["sklearn"] = None
import cekernels
try:
    import cekernels.sklearn_losses
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "cekernels[sklearn]"' in done.stdout
