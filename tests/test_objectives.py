"""Objectives for boosting libraries: literal values, the reference, the libraries' own objectives."""

import copy
import pickle
import threading

import numpy as np
import pytest

import cekernels as ck
from cekernels import LabelError, objectives
from cekernels.objectives import Binary, Softmax

# float32 results of a computation in float64, and of one in float32.
ROUNDED = {"rtol": 6e-8, "atol": 1e-45}
SINGLE = {"rtol": 6e-7, "atol": 1e-38}
# Of predictions, after some rounds, to those of a library's own objective.
PREDICTIONS = {"rtol": 0, "atol": 1e-6}

LIBRARIES = ("xgboost", "lightgbm")
MANY = 100_000  # logits of several chunks


class DataSet:
    """What both libraries' data sets have in common; empty weights as in XGBoost."""

    def __init__(self, labels, weights=None):
        self.labels, self.weights = labels, weights

    def get_label(self):
        return self.labels

    def get_weight(self):
        return np.empty(0, np.float32) if self.weights is None else self.weights


def objective_for(loss, library, **options):
    return getattr(loss, f"for_{library}")(**options)


def metric_for(loss, library, **options):
    return getattr(loss, f"metric_for_{library}")(**options)


# Literal values: p = 1 / 2 for two classes, p = 1 / 3 for three.


def test_binary_gradients_by_hand():
    grad, hess = Binary().for_xgboost()(np.array([0.0, 1.0, 0.25]), np.zeros(3))
    assert grad.tolist() == [0.5, -0.5, 0.25]
    assert hess.tolist() == [0.25, 0.25, 0.25]


def test_weights_by_hand():
    labels, weights = np.array([0.0, 1.0]), np.array([2.0, 3.0])
    grad, hess = Binary(pos_weight=4.0).for_lightgbm()(labels, np.zeros(2), weights)
    assert grad.tolist() == [1.0, -6.0]
    assert hess.tolist() == [0.5, 3.0]


@pytest.mark.parametrize(("library", "hessian"), [("xgboost", 4 / 9), ("lightgbm", 1 / 3)])
def test_softmax_factors_by_hand(library, hessian):
    grad, hess = objective_for(Softmax(), library)(np.array([2.0]), np.zeros((1, 3)))
    np.testing.assert_allclose(grad, [[1 / 3, 1 / 3, -2 / 3]], **SINGLE)
    np.testing.assert_allclose(hess, np.full((1, 3), hessian), **SINGLE)


def test_smoothing_and_class_weight_by_hand():
    loss = Softmax(label_smoothing=0.3, class_weight=[1.0, 1.0, 2.0])
    grad, _ = loss.for_lightgbm()(np.array([2]), np.zeros((1, 3)))
    # q = class_weight (0.1, 0.1, 0.8) = (0.1, 0.1, 1.6), their sum times 1/3 less q.
    np.testing.assert_allclose(grad, [[0.5, 0.5, -1.0]], **SINGLE)


def test_focal_by_hand():
    # ((1 - p) p^2 (-log p))' at p = 1/2, gamma = 2: -rho^2 (rho + 2 pi S), S = log 2.
    slope = -0.25 * (0.5 + np.log(2.0))
    grad, hess = Binary(gamma=2.0).for_lightgbm()(np.array([1.0]), np.zeros(1))
    np.testing.assert_allclose(grad, [slope], **ROUNDED)
    # The gradient is phi' (p - y), the Hessian that is wanted phi' p (1 - p).
    np.testing.assert_allclose(hess, [-0.5 * slope], **ROUNDED)


def test_catboost_by_hand():
    ders = Binary().for_catboost().calc_ders_range(np.zeros(2), np.array([0.0, 1.0]), None)
    assert ders.tolist() == [[-0.5, -0.25], [0.5, -0.25]]
    assert ders.dtype == np.float64
    gradient, hessian = Softmax().for_catboost().calc_ders_multi(np.zeros(2), 1.0, 2.0)
    assert gradient.tolist() == [-1.0, 1.0]
    assert hessian.tolist() == [[-0.5, 0.5], [0.5, -0.5]]


def test_floor_of_the_hessian():
    margins = np.array([100.0])
    assert Binary().for_xgboost()(np.ones(1), margins)[1] == np.float32(1e-16)
    assert 0.0 < Binary().for_lightgbm()(np.ones(1), margins)[1] < 1e-40
    assert Binary().for_lightgbm(hess_min=0.5)(np.ones(1), margins)[1] == 0.5
    rows = np.array([[100.0, 0.0, 0.0]])
    assert (Softmax().for_xgboost()(np.zeros(1), rows)[1] == np.float32(1e-16)).all()
    hess = Softmax().for_xgboost(hess_min=0.3, hess_factor=5.0)(np.zeros(1), np.zeros((1, 10)))[1]
    np.testing.assert_allclose(hess, np.full((1, 10), 0.45), **SINGLE)


def test_initial_scores_by_hand():
    assert Binary().init_score([0, 0, 0, 1]) == pytest.approx(-np.log(3.0), rel=1e-15)
    assert Binary().init_score([0, 1], [3.0, 1.0]) == pytest.approx(-np.log(3.0), rel=1e-15)
    assert Binary(pos_weight=3.0).init_score([0, 0, 0, 1]) == pytest.approx(0.0, abs=1e-15)
    assert Binary(alpha=0.25).init_score([0, 1]) == pytest.approx(-np.log(3.0), rel=1e-15)
    assert Binary(label_smoothing=0.5).init_score([0, 0]) == pytest.approx(-np.log(3.0), rel=1e-15)
    assert Binary().init_score([0, 0]) == pytest.approx(np.log(1e-15), rel=1e-12)
    scores = Softmax().init_score([0, 0, 1, 2], 3, [1.0, 1.0, 1.0, 5.0])
    np.testing.assert_allclose(np.exp(scores), [0.25, 0.125, 0.625], rtol=1e-15)
    balanced = Softmax(class_weight="balanced").init_score([0, 0, 0, 1], 2)
    np.testing.assert_allclose(np.exp(balanced), [0.5, 0.5], rtol=1e-15)
    smoothed = Softmax(label_smoothing=0.4).init_score([0, 0], 2)
    np.testing.assert_allclose(np.exp(smoothed), [0.8, 0.2], rtol=1e-15)


def test_initial_scores_are_stationary(rng):
    labels, weights = rng.integers(0, 3, 50), rng.random(50)
    softmax = Softmax(label_smoothing=0.2, class_weight=[1.0, 3.0, 0.5])
    margins = np.tile(softmax.init_score(labels, 3, weights), (50, 1))
    grad, _ = softmax.for_lightgbm()(labels, margins, weights)
    np.testing.assert_allclose(grad.sum(axis=0, dtype=float), 0.0, atol=1e-5)
    binary = Binary(label_smoothing=0.2, pos_weight=3.0, alpha=0.3)
    start = binary.init_score(labels > 0, weights)
    grad, _ = binary.for_lightgbm()(labels > 0, np.full(50, start), weights)
    assert abs(grad.sum(dtype=float)) < 1e-5


def test_probabilities():
    assert Binary().predict_proba([0.0]).tolist() == [0.5]
    np.testing.assert_allclose(Softmax().predict_proba([[0.0, np.log(3.0)]]), [[0.25, 0.75]])


# Differential: the losses of this package, in float64.

OUTPUTS = {"return_grad": True, "return_hess": True, "return_proba": True}

BINARY = [
    {},
    {"label_smoothing": 0.1},
    {"pos_weight": 7.0},
    {"gamma": 2.0},
    {"gamma": 1.5, "alpha": 0.25, "pos_weight": 3.0},
    {"alpha": 0.7, "label_smoothing": 0.2},
]
SOFTMAX = [
    {},
    {"label_smoothing": 0.1},
    {"class_weight": [0.5, 1.0, 2.0, 4.0, 1.0]},
    {"class_weight": {1: 3.0}},
    {"class_weight": "balanced"},
    {"gamma": 2.0},
    {"gamma": 0.5, "class_weight": [0.5, 1.0, 2.0, 4.0, 1.0]},
]


def binary_reference(margins, labels, weights, options):
    if {"gamma", "alpha"} & options.keys():
        function, options = ck.sigmoid_focal_loss, {"gamma": 0.0, **options}
    else:
        function = ck.binary_cross_entropy_with_logits
    options = {**options, "sample_weight": weights, "reduction": "sum"}
    _, grad, hess, proba = function(margins, labels, **OUTPUTS, **options)
    return grad, (np.abs(grad) * (1.0 - np.abs(proba - labels)) if options.get("gamma") else hess)


def softmax_reference(margins, labels, weights, options):
    function = ck.softmax_focal_loss if "gamma" in options else ck.cross_entropy
    options = {**options, "sample_weight": weights, "reduction": "sum"}
    _, grad, hess, proba = function(margins, labels, **OUTPUTS, **options)
    one_hot = np.eye(margins.shape[1])[labels]
    return grad, (np.abs(grad) * (1.0 - np.abs(proba - one_hot)) if "gamma" in options else hess)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("options", BINARY, ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_agrees(rng, dtype, options, library, weighted):
    n = 1000
    margins, labels = rng.normal(0, 3, n).astype(dtype), (rng.random(n) < 0.3).astype(np.float32)
    weights = rng.random(n).astype(np.float32) if weighted else None
    grad, hess = objective_for(Binary(**options), library)(margins, DataSet(labels, weights))
    want_grad, want_hess = binary_reference(margins.astype(float), labels, weights, options)
    tolerance = {"rtol": 3e-6, "atol": 1e-7} if dtype == np.float32 else ROUNDED
    np.testing.assert_allclose(grad, want_grad.astype(np.float32), **tolerance)
    np.testing.assert_allclose(hess, want_hess.astype(np.float32), **tolerance)
    assert grad.dtype == hess.dtype == np.float32


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("options", SOFTMAX, ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_softmax_agrees(rng, dtype, options, library, order):
    n, n_classes = 300, 5
    margins = np.asarray(rng.normal(0, 3, (n, n_classes)), dtype, order)
    labels = rng.integers(0, n_classes, n)
    weights = rng.random(n)
    objective = objective_for(Softmax(**options), library)
    grad, hess = objective(labels.astype(np.float32), margins, weights)
    want_grad, want_hess = softmax_reference(margins.astype(float), labels, weights, options)
    factor = 2.0 if library == "xgboost" else n_classes / (n_classes - 1)
    tolerance = {"rtol": 3e-6, "atol": 1e-7} if dtype == np.float32 else ROUNDED
    np.testing.assert_allclose(grad, want_grad.astype(np.float32), **tolerance)
    if "gamma" in options and dtype == np.float32:
        tolerance |= {"atol": 2e-6}  # 1 - p has the rounding error of p
    want_hess = (factor * want_hess).astype(np.float32)
    np.testing.assert_allclose(hess, want_hess, **tolerance)
    assert grad.dtype == hess.dtype == np.float32
    assert grad.flags[f"{order}_CONTIGUOUS"]
    assert hess.flags[f"{order}_CONTIGUOUS"]


def test_soft_targets(rng):
    targets, margins = rng.dirichlet(np.ones(4), 20), rng.normal(size=(20, 4))
    objective = Softmax(soft_targets=targets, label_smoothing=0.1).for_lightgbm()
    grad, _ = objective(margins, DataSet(np.full(20, np.nan)))
    _, want = ck.cross_entropy(
        margins, targets, label_smoothing=0.1, reduction="sum", return_grad=True
    )
    np.testing.assert_allclose(grad, want.astype(np.float32), **ROUNDED)


@pytest.mark.parametrize("kind", ["?", "b", "B", "H", "i", "Q", "e", "f", "d"])
def test_labels_of_any_dtype(rng, kind):
    margins, labels = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    typed = np.repeat(labels, 2).astype(kind)[::2]
    for loss, values in (
        (Softmax(), margins),
        (Binary(), margins[:, 0]),
        (Binary(gamma=1.0), margins[:, 1]),
    ):
        want = loss.for_xgboost()(labels, values)
        np.testing.assert_array_equal(loss.for_xgboost()(typed, values), want)


@pytest.mark.parametrize("n_classes", [256, 257])
def test_labels_of_many_classes(rng, n_classes):
    margins, labels = rng.normal(size=(2, n_classes)), np.array([n_classes - 1, 1])
    want = Softmax().for_xgboost()(labels, margins)
    np.testing.assert_array_equal(Softmax().for_xgboost()(labels.astype(float), margins), want)


@pytest.mark.parametrize("library", LIBRARIES)
def test_margins_and_weights_of_any_strides(rng, dtype, library):
    margins, labels, weights = rng.normal(size=(40, 4)), rng.integers(0, 4, 40), rng.random(40)
    margins = margins.astype(dtype)
    wide, twice = np.repeat(margins, 2, axis=1)[:, ::2], np.repeat(weights, 2)[::2]
    for loss in (Softmax(), Softmax(gamma=2.0)):
        want = objective_for(loss, library)(labels, margins, weights)
        got = objective_for(loss, library)(labels, wide, twice)
        np.testing.assert_array_equal(got, want)
    for loss in (Binary(), Binary(gamma=2.0, alpha=0.3, pos_weight=2.0)):
        want = objective_for(loss, library)(labels > 1, margins[:, 0].copy(), weights)
        got = objective_for(loss, library)(labels > 1, margins[:, 0], twice)
        np.testing.assert_array_equal(got, want)


def test_no_rows(dtype):
    for loss, shape in ((Binary(), 0), (Softmax(), (0, 3))):
        for library in LIBRARIES:
            grad, hess = objective_for(loss, library)(np.empty(0), np.empty(shape, dtype))
            assert grad.shape == hess.shape == np.empty(shape).shape


def test_chunks_make_no_difference(rng, dtype):
    n = MANY // 3
    margins, labels = rng.normal(size=(n, 3)).astype(dtype), rng.integers(0, 3, n)
    weights = rng.random(n)
    objective = Softmax(class_weight="balanced").for_lightgbm()
    class_weight = n / (3 * np.bincount(labels))
    grad, hess = objective(labels, margins, weights)
    last = slice(n - 10, n)
    some = Softmax(class_weight=class_weight).for_lightgbm()
    few = some(labels[last], margins[last], weights[last])
    np.testing.assert_array_equal(grad[last], few[0])
    np.testing.assert_array_equal(hess[last], few[1])


@pytest.mark.parametrize("n_threads", [2, -1])
def test_threads_make_no_difference(rng, n_threads):
    margins, labels = rng.normal(size=(150_000, 3)), rng.integers(0, 3, 150_000)
    one = Softmax().for_lightgbm()(labels, margins)
    several = Softmax(n_threads=n_threads).for_lightgbm()(labels, margins)
    np.testing.assert_array_equal(one[0], several[0])
    np.testing.assert_array_equal(one[1], several[1])


def test_catboost_agrees(rng):
    margins, labels, weights = rng.normal(size=40), rng.integers(0, 2, 40), rng.random(40)
    for options in BINARY:
        ders = Binary(**options).for_catboost().calc_ders_range(margins, labels, weights)
        grad, hess = binary_reference(margins, labels, weights, options)
        np.testing.assert_array_equal(ders[:, 0], -grad)
        np.testing.assert_allclose(ders[:, 1], -hess, rtol=1e-13)


@pytest.mark.parametrize("options", [*SOFTMAX[:4], *SOFTMAX[5:]], ids=str)
def test_catboost_matrices_agree(rng, options):
    objective = Softmax(**options).for_catboost()
    for label in range(5):
        row = rng.normal(size=5)
        gradient, hessian = objective.calc_ders_multi(row, float(label), 1.5)
        want, curvature = softmax_reference(row[None], [label], 1.5, options)
        np.testing.assert_array_equal(gradient, -want[0])
        np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)
        np.testing.assert_allclose(hessian.sum(axis=0), 0.0, atol=1e-14)
        assert (np.linalg.eigvalsh(hessian) < 1e-14).all()
        np.testing.assert_allclose(-np.diag(hessian), curvature[0], rtol=1e-12)
        if "gamma" not in options:
            plain = {**options, "reduction": "sum", "sample_weight": 1.5}
            blocks = ck.cross_entropy_hessian(row[None], [label], **plain)
            np.testing.assert_array_equal(hessian, -blocks[0])


def test_catboost_of_a_sure_sample():
    gradient, hessian = Softmax(gamma=2.0).for_catboost().calc_ders_multi([900.0, 0.0], 0.0, 1.0)
    assert not gradient.any()
    assert not hessian.any()


def test_metrics(rng):
    margins, labels, weights = rng.normal(size=(9, 3)), rng.integers(0, 3, 9), rng.random(9)
    want = ck.cross_entropy(margins, labels, sample_weight=weights)
    loss, data = Softmax(), DataSet(labels.astype(np.float32), weights)
    xgboost, lightgbm = (metric_for(loss, library, name="ce") for library in LIBRARIES)
    assert xgboost.__name__ == "ce"
    assert xgboost(margins, data) == ("ce", want)
    assert xgboost(labels, margins, sample_weight=weights) == want
    assert lightgbm(margins, data) == lightgbm(labels, margins, weights) == ("ce", want, False)
    catboost = loss.metric_for_catboost()
    assert not catboost.is_max_optimal()
    error, weight = catboost.evaluate(list(margins.T), labels, weights)
    assert catboost.get_final_error(error, weight) == pytest.approx(want, rel=1e-14)
    assert np.isnan(catboost.get_final_error(0.0, 0.0))
    binary = Binary(gamma=2.0).metric_for_catboost()
    error, weight = binary.evaluate([margins[:, 0]], labels > 0, None)
    want = ck.sigmoid_focal_loss(margins[:, 0], labels > 0)
    assert binary.get_final_error(error, weight) == pytest.approx(want, rel=1e-14)


# Safety.


def test_buffers_are_used_again():
    objective = Softmax().for_xgboost()
    margins, labels = np.zeros((10, 3), np.float32), np.zeros(10)
    places = {tuple(a.ctypes.data for a in objective(labels, margins)) for _ in range(5)}
    assert len(places) == 1


@pytest.mark.parametrize(
    "hold",
    [lambda a: a, lambda a: a[1:, ::2], lambda a: a.T[0], memoryview],
    ids=["array", "slice", "view of a view", "memoryview"],
)
def test_what_is_held_is_not_overwritten(hold):
    objective = Softmax().for_xgboost()
    labels = np.zeros(10)
    held = [hold(array) for array in objective(labels, np.zeros((10, 3), np.float32))]
    before = [np.array(array) for array in held]
    for _ in range(3):
        grad, hess = objective(labels, np.ones((10, 3), np.float32) * [0, 1, 2])
        assert not np.shares_memory(grad, hess)
    for array, values in zip(held, before, strict=True):
        np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("loss", [Binary(), Binary(gamma=1.0)], ids=str)
def test_buffers_of_catboost(rng, loss):
    objective, labels = loss.for_catboost(), np.zeros(10)
    held = objective.calc_ders_range(rng.normal(size=10), labels, None)
    before = held.copy()
    again = objective.calc_ders_range(rng.normal(size=10), labels, None)
    place = again.ctypes.data
    np.testing.assert_array_equal(held, before)
    assert (again[:, 1] < 0.0).all()
    del again
    assert objective.calc_ders_range(rng.normal(size=10), labels, None).ctypes.data == place


def test_buffers_are_limited():
    objective = Binary().for_xgboost()
    held = [objective(np.zeros(3), np.zeros(3)) for _ in range(50)]
    assert len({grad.ctypes.data for grad, _ in held}) == 50
    assert len(objective._buffers._arrays) <= 8
    del held
    objective(np.zeros(5), np.zeros(5))
    assert len(objective._buffers._arrays) <= 2


@pytest.mark.parametrize("n_classes", [1, 3])
def test_inputs_are_not_written(rng, n_classes):
    loss = Binary(gamma=1.0) if n_classes == 1 else Softmax(gamma=1.0)
    margins = rng.normal(size=(20, n_classes)) if n_classes > 1 else rng.normal(size=20)
    arrays = margins, rng.integers(0, 2, 20).astype(np.float32), rng.random(20)
    for array in arrays:
        array.flags.writeable = False
    for library in LIBRARIES:
        for result in objective_for(loss, library)(arrays[1], arrays[0], arrays[2]):
            assert not any(np.shares_memory(result, array) for array in arrays)


def test_several_threads_share_an_objective():
    objective = Softmax().for_lightgbm()
    labels = np.zeros(2000)
    failures = []

    def work(shift):
        margins = np.full((2000, 3), 0.0)
        margins[:, 0] = shift
        want = Softmax().for_lightgbm()(labels, margins)[0]
        for _ in range(20):
            grad, _ = objective(labels, margins)
            if not np.array_equal(grad, want):
                failures.append(shift)

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_and_pickles(copied):
    margins, labels = np.arange(6.0).reshape(2, 3), np.array([0.0, 2.0])
    loss = Softmax(class_weight={1: 2.0}, gamma=1.0)
    objective = loss.for_xgboost(hess_min=0.1)
    want = objective(labels, margins)
    again = copied(objective)
    np.testing.assert_array_equal(again(labels, margins), want)
    assert again._buffers is not objective._buffers
    for each in (loss.metric_for_lightgbm("m"), loss.for_catboost(), loss.metric_for_catboost()):
        assert repr(copied(each)) == repr(each)
    assert copied(loss.metric_for_xgboost("m")).__name__ == "m"


def test_no_flags_and_no_warnings():
    with np.errstate(all="raise"):
        Binary().for_lightgbm()(np.ones(2), np.array([700.0, -1e300]))
        Softmax().for_lightgbm()(np.ones(1), np.array([[700.0, -1e300]]))


BAD_CALLS = [
    (
        Binary(),
        [0.0, 2.0],
        np.zeros(2),
        None,
        ValueError,
        r"labels must be in \[0, 1\], got 2.0 at",
    ),
    (Binary(), [0.0, 1.0, 1.0], np.zeros(2), None, ValueError, r"labels must have shape \(2,\)"),
    (Binary(), [0.0], np.zeros((1, 3)), None, ValueError, "objectives.Softmax takes"),
    (Binary(), [0.0], np.zeros((1, 1, 1)), None, ValueError, "one axis or two"),
    (Binary(), [0.0, 1.0], np.array([0.0, np.nan]), None, ValueError, r"must not be NaN.*\[1\]"),
    (Binary(), [0.0, np.nan], np.zeros(2), None, ValueError, "a label or a weight is NaN"),
    (Binary(), [0.0, 1.0], np.zeros(2), [1.0], ValueError, r"sample_weight must have shape"),
    (Binary(), ["a", "b"], np.zeros(2), None, TypeError, "labels must hold"),
    (Binary(gamma=1.0), [0.0, 0.5], np.zeros(2), None, LabelError, r"labels\[1\] is 0.5"),
    (Softmax(), [0.0, 3.0], np.zeros((2, 3)), None, LabelError, r"labels\[1\] is 3.0"),
    (Softmax(), [-1, 0], np.zeros((2, 3)), None, LabelError, r"labels\[0\] is -1"),
    (Softmax(), [0.0, 1.5], np.zeros((2, 3)), None, LabelError, r"labels\[1\] is 1.5"),
    (Softmax(), [0.0, np.nan], np.zeros((2, 3)), None, LabelError, r"labels\[1\] is nan"),
    (Softmax(), [0.0, 1e20], np.zeros((2, 3)), None, LabelError, r"labels\[1\] is 1e\+20"),
    (Softmax(), [True, False], np.zeros((2, 1)), None, LabelError, r"labels\[0\] is True"),
    (Softmax(), [0.0], np.zeros((2, 3)), None, ValueError, r"labels must have shape \(2,\)"),
    (Softmax(), [0.0], np.zeros(1), None, ValueError, "objectives.Binary"),
    (Softmax(), [], np.zeros((0, 0)), None, ValueError, r"margins must have shape \(n, C\)"),
    (Softmax(), np.uint64([0, 2**63]), np.zeros((2, 3)), None, LabelError, r"labels\[1\] is 9"),
    (Softmax(), [0.0, 256.0], np.zeros((2, 3)), None, LabelError, r"labels\[1\] is 256.0"),
    (Softmax(), [0.0, 300.5], np.zeros((2, 400)), None, LabelError, r"labels\[1\] is 300.5"),
    (Softmax(), [0.0, -np.inf], np.zeros((2, 3)), None, LabelError, r"labels\[1\] is -inf"),
    (Softmax(), [0.0, -0.5], np.zeros((2, 3)), None, LabelError, r"labels\[1\] is -0.5"),
    (Softmax(), [0], np.array([[np.nan, 0]]), None, ValueError, r"must not be NaN.*\[0, 0\]"),
    (Softmax(), [0], np.array([[np.inf, np.inf]]), None, ValueError, "two infinities"),
    (Softmax(class_weight=[1, 2]), [0], np.zeros((1, 3)), None, ValueError, "class_weight"),
    (
        Softmax(soft_targets=np.ones((3, 2)) / 2),
        [0],
        np.zeros((1, 2)),
        None,
        ValueError,
        r"soft_targets must have the shape of margins, \(1, 2\), got \(3, 2\)",
    ),
]


@pytest.mark.parametrize(
    ("loss", "labels", "margins", "weights", "error", "message"),
    BAD_CALLS,
    ids=range(len(BAD_CALLS)),
)
@pytest.mark.parametrize("library", LIBRARIES)
def test_bad_calls(loss, labels, margins, weights, error, message, library):
    with pytest.raises(error, match=message):
        objective_for(loss, library)(np.asarray(labels), margins, weights)


def test_bad_labels_of_a_later_chunk():
    n = MANY + 10
    labels = np.zeros(n)
    labels[-1] = 2.0
    with pytest.raises(ValueError, match=rf"got 2.0 at \[{n - 1}\]"):
        Binary().for_lightgbm()(labels, np.zeros(n))
    labels[-1] = 0.0
    margins = np.zeros(n)
    margins[-2] = np.nan
    with pytest.raises(ValueError, match=rf"\[{n - 2}\]"):
        Binary().for_lightgbm()(labels, margins)


def test_bad_metrics_and_matrices():
    with pytest.raises(LabelError):
        Softmax().metric_for_xgboost()(np.array([3]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"labels must be in \[0, 1\]"):
        Binary().metric_for_xgboost()(np.array([3]), np.zeros(1))
    with pytest.raises(ValueError, match=r"objectives\.Softmax"):
        Binary().for_catboost().calc_ders_multi(np.zeros(3), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"balanced.* needs all rows"):
        Softmax(class_weight="balanced").for_catboost()
    with pytest.raises(ValueError, match="soft_targets needs all rows"):
        Softmax(soft_targets=np.ones((1, 1))).for_catboost()
    with pytest.raises(ValueError, match="n > 0"):
        Binary().init_score([])
    with pytest.raises(LabelError):
        Softmax().init_score([3], 3)


BAD_OPTIONS = [
    (Binary, {"label_smoothing": 2.0}, "label_smoothing"),
    (Binary, {"gamma": -1.0}, "gamma"),
    (Binary, {"alpha": 2.0}, "alpha"),
    (Binary, {"pos_weight": -1.0}, "pos_weight"),
    (Binary, {"gamma": 1.0, "label_smoothing": 0.1}, "hard labels"),
    (Softmax, {"label_smoothing": -0.1}, "label_smoothing"),
    (Softmax, {"gamma": 1.0, "label_smoothing": 0.1}, "hard labels"),
    (Softmax, {"gamma": 1.0, "soft_targets": [[1.0]]}, "hard labels"),
    (Softmax, {"soft_targets": [1.0]}, r"soft_targets must have shape \(n, C\)"),
    (Binary().for_xgboost, {"hess_factor": 0.0}, "hess_factor"),
    (Binary().for_lightgbm, {"hess_min": -1.0}, "hess_min"),
]


@pytest.mark.parametrize(("make", "options", "message"), BAD_OPTIONS, ids=range(len(BAD_OPTIONS)))
def test_bad_options(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_nothing_is_imported():
    import subprocess
    import sys

    code = (
        "import sys, cekernels.objectives; "
        "print(*{'xgboost', 'lightgbm', 'catboost', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert objectives.__all__ == sorted(objectives.__all__)
