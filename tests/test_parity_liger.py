"""Where the results differ from those of Liger on purpose; each test is a row of the page.

Liger needs a GPU: what its kernel computes is written as NumPy here.
`test_parity.py` has the calls that agree.
"""

import math

import numpy as np
import pytest

import cekernels as ck

pytestmark = pytest.mark.usefixtures("isa")

X = np.array([[1.0, -0.5, 0.25], [0.0, 2.0, -1.0], [0.5, 0.5, 3.0]])
Y = np.array([0, 2, -100])
W = np.array([1.0, 2.0, 0.5])


def cross_entropy(x, y, weight, lse_square_scale=0.0):
    """Return the loss of the kernel."""
    kept = y != -100
    x, y = x[kept], y[kept]
    if len(y) == 0:
        return 0.0
    lse = np.log(np.sum(np.exp(x), axis=1))
    losses = weight[y] * (lse - x[np.arange(len(y)), y])
    return np.sum(losses) / np.sum(weight[y]) + np.sum(lse_square_scale * lse**2) / len(y)


def test_weighted_z_loss():
    """z-loss with class weights"""
    options = {"class_weight": W, "ignore_index": -100}
    plain = cross_entropy(X, Y, W)
    assert ck.cross_entropy(X, Y, **options) == pytest.approx(plain, rel=1e-14)
    squares = ck.special.logsumexp(X[:2], axis=1) ** 2
    theirs = cross_entropy(X, Y, W, lse_square_scale=0.1)
    assert theirs == pytest.approx(plain + 0.1 * np.mean(squares), rel=1e-14)
    ours = ck.cross_entropy(X, Y, z_loss=0.1, **options)
    assert ours == pytest.approx(plain + 0.1 * np.average(squares, weights=W[Y[:2]]), rel=1e-14)


def test_nothing():
    """everything ignored, mean"""
    y = np.full(3, -100)
    assert cross_entropy(X, y, W) == 0.0
    with pytest.warns(RuntimeWarning, match="mean"):
        loss, grad = ck.cross_entropy(X, y, ignore_index=-100, return_grad=True)
    assert math.isnan(loss)
    np.testing.assert_array_equal(grad, 0.0)


def test_overwritten_logits():
    """logits"""
    x = X.copy()
    loss, grad = ck.cross_entropy(x, Y, ignore_index=-100, return_grad=True)
    np.testing.assert_array_equal(x, X)
    value, written = ck.cross_entropy(x, Y, ignore_index=-100, grad_out=x)
    assert written is x
    assert value == loss
    np.testing.assert_array_equal(x, grad)


def test_label_out_of_range():
    """label out of range"""
    # The assertion of the kernel ends the process of a GPU, and cannot be run here.
    with pytest.raises(ck.LabelError, match="3") as caught:
        ck.cross_entropy(X, [0, 3, 0])
    assert "1" in str(caught.value)
