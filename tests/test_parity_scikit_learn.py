"""Where the results differ from those of scikit-learn on purpose; each test is a row of the page.

`test_parity.py` has the calls that agree; `test_log_loss_scikit_learn.py`
compares `log_loss` in every option.
"""

import math

import numpy as np
import pytest

import cekernels as ck

metrics = pytest.importorskip("sklearn.metrics")
half = pytest.importorskip("sklearn._loss")
pytestmark = pytest.mark.usefixtures("isa")

INF = math.inf


def test_float32_probabilities():
    """`log_loss` of float32 probabilities"""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 1000).astype(np.float32)
    y = rng.integers(0, 3, 1000)
    theirs, ours = metrics.log_loss(y, p), ck.log_loss(y, p)
    clipped = np.clip(p[np.arange(1000), y].astype(float), 2.0**-23, 1 - 2.0**-23)
    assert ours == pytest.approx(-np.mean(np.log(clipped)), rel=1e-14)
    assert theirs == pytest.approx(ours, rel=1e-6)
    assert theirs != ours


def test_wrong_type():
    """an argument of a wrong type"""
    with pytest.raises(ValueError, match="normalize") as caught:
        metrics.log_loss([0, 1], [0.1, 0.9], normalize="yes")
    assert type(caught.value).__name__ == "InvalidParameterError"
    with pytest.raises(TypeError, match="normalize"):
        ck.log_loss([0, 1], [0.1, 0.9], normalize="yes")


def test_label_out_of_range():
    """label out of range in a half loss"""
    # Its loss() reads past the end of the row, which must not be tried.
    x = np.array([[0.0, 1.0, 2.0]])
    loss, gradient = half.HalfMultinomialLoss(n_classes=3).loss_gradient(np.array([5.0]), x)
    np.testing.assert_allclose(loss, ck.special.logsumexp(x, axis=1), rtol=1e-14)
    np.testing.assert_allclose(gradient, ck.special.softmax(x, axis=1), rtol=1e-14)
    with pytest.raises(ck.LabelError):
        ck.cross_entropy(x, [5])


def test_infinite_predictions():
    """infinite raw predictions in a half loss"""
    loss = half.HalfBinomialLoss()
    z, b = np.array([INF, INF, -INF, -INF]), np.array([0.0, 1.0, 0.0, 1.0])
    np.testing.assert_array_equal(loss.loss(b, z), [np.nan, np.nan, np.nan, INF])
    np.testing.assert_array_equal(loss.loss_gradient(b, z)[0], [INF, np.nan, np.nan, INF])
    alone = ck.binary_cross_entropy_with_logits(z, b, reduction="none")
    value, grad = ck.binary_cross_entropy_with_logits(z, b, reduction="none", return_grad=True)
    np.testing.assert_array_equal(alone, [INF, 0.0, 0.0, INF])
    np.testing.assert_array_equal(value, alone)
    np.testing.assert_array_equal(grad, [1.0, 0.0, 0.0, -1.0])
    x = np.array([[INF, 0.0, 0.0]])
    assert np.isnan(half.HalfMultinomialLoss(n_classes=3).loss(np.array([0.0]), x)).all()
    assert ck.cross_entropy(x, [0]) == 0.0


def test_labels():
    """labels of a half loss"""
    x = np.array([[0.0, 1.0, 2.0]])
    with pytest.raises((TypeError, ValueError)):
        half.HalfMultinomialLoss(n_classes=3).loss(np.array([1]), x)
    assert ck.cross_entropy(x, np.array([1], np.int8)) == ck.cross_entropy(x, [1])
    with pytest.raises(ValueError, match="shape"):
        ck.cross_entropy(x, np.array([1.0]))
