"""Where the results differ from those of Chainer on purpose; each test is a row of the page.

Chainer needs a Python and a NumPy of its time: what it does is written as NumPy here.
`test_parity.py` has the calls that agree.
"""

import math

import numpy as np
import pytest

import cekernels as ck

pytestmark = pytest.mark.usefixtures("isa")

X = np.array([[1.0, -0.5, 0.25], [0.0, 2.0, -1.0]])


def softmax_cross_entropy(x, y):
    """Return the loss of Chainer, outside its debug mode."""
    log_p = x - np.log(np.sum(np.exp(x), axis=1, keepdims=True))
    kept = y != -1
    return -np.sum(log_p[np.arange(len(y)), y * kept] * kept) / max(np.count_nonzero(kept), 1)


def test_nothing():
    """everything ignored, mean"""
    y = np.array([-1, -1])
    assert softmax_cross_entropy(X, y) == 0.0
    with pytest.warns(RuntimeWarning, match="mean"):
        loss, grad = ck.cross_entropy(X, y, axis=1, ignore_index=-1, return_grad=True)
    assert math.isnan(loss)
    np.testing.assert_array_equal(grad, 0.0)


def test_label_out_of_range():
    """label out of range"""
    assert softmax_cross_entropy(X, np.array([-2, 0])) == softmax_cross_entropy(X, np.array([1, 0]))
    with pytest.raises(IndexError):
        softmax_cross_entropy(X, np.array([3, 0]))
    for label in (-2, 3):
        with pytest.raises(ck.LabelError, match=str(label)):
            ck.cross_entropy(X, [label, 0], axis=1, ignore_index=-1)
