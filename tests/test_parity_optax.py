"""Where the results differ from those of optax on purpose; each test is a row of the page.

`test_parity.py` has the calls that agree, and says how to install the other systems.
"""

import math

import numpy as np
import pytest

import cekernels as ck

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
pytestmark = pytest.mark.usefixtures("isa")

INF = math.inf
X = np.array([[1.0, -0.5, 0.25]])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def there(function, *args, **options):
    return np.asarray(function(*map(jax.numpy.asarray, args), **options))


def test_label_out_of_range():
    """label C or more"""
    labels = np.array([3])
    assert np.isnan(there(optax.softmax_cross_entropy_with_integer_labels, X, labels)).all()
    with pytest.raises(ck.LabelError):
        ck.cross_entropy(X, labels)


def test_negative_label():
    """label -1"""
    last = ck.cross_entropy(X, [2], reduction="none")
    loss = there(optax.softmax_cross_entropy_with_integer_labels, X, np.array([-1]))
    np.testing.assert_allclose(loss, last, rtol=1e-14)
    with pytest.raises(ck.LabelError, match="-1"):
        ck.cross_entropy(X, [-1])


def test_offset():
    """float32 logits with an offset of 1e8"""
    x = np.array([[1e8 + 8, 1e8]], np.float32)
    assert there(optax.softmax_cross_entropy_with_integer_labels, x, np.array([0])) == 0.0
    assert ck.cross_entropy(x, [0]) == pytest.approx(math.log1p(math.exp(-8)), rel=4e-7)


def test_infinite_binary_logits():
    """binary logit +inf with target 1, -inf with target 0"""
    z, b = np.array([INF, -INF]), np.array([1.0, 0.0])
    assert np.isnan(there(optax.sigmoid_binary_cross_entropy, z, b)).all()
    value = ck.binary_cross_entropy_with_logits(z, b, reduction="none")
    np.testing.assert_array_equal(value, 0.0)
    # On the wrong side, both are inf.
    assert np.all(there(optax.sigmoid_binary_cross_entropy, z, 1 - b) == INF)
    value = ck.binary_cross_entropy_with_logits(z, 1 - b, reduction="none")
    np.testing.assert_array_equal(value, INF)


def test_masked_probability():
    """logit -inf, target probability 0"""
    x, t = np.array([[1.0, -INF, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    assert np.isnan(there(optax.softmax_cross_entropy, x, t)).all()
    value = ck.cross_entropy(x, t, reduction="none")
    np.testing.assert_allclose(value, there(optax.safe_softmax_cross_entropy, x, t), rtol=1e-14)


def test_soft_focal():
    """focal loss of targets between 0 and 1"""
    z, p = np.array([1.5]), 1 / (1 + math.exp(-1.5))
    product = 0.5**2 * -math.log(p * (1 - p)) / 2
    average = ((1 - p) ** 2 * -math.log(p) + p**2 * -math.log(1 - p)) / 2
    loss = there(optax.sigmoid_focal_loss, z, np.array([0.5]), gamma=2.0)
    np.testing.assert_allclose(loss, product, rtol=1e-14)
    np.testing.assert_allclose(ck.sigmoid_focal_loss(z, [0.5], gamma=2.0), average, rtol=1e-14)


def test_target_left_out():
    """probability above 0 of a class that `where` leaves out"""
    t, mask = np.array([[0.5, 0.25, 0.25]]), np.array([[True, True, False]])
    loss = there(optax.softmax_cross_entropy, X, t, where=jax.numpy.asarray(mask))
    kept = np.where(mask, t, 0)
    value = ck.cross_entropy(X, kept, where=mask, reduction="none")
    np.testing.assert_allclose(value, loss, rtol=1e-14)
    assert ck.cross_entropy(X, t, where=mask) == INF


def test_broadcast():
    """binary logits (3, 1) with targets (3,)"""
    z, b = np.zeros((3, 1)), np.zeros(3)
    assert there(optax.sigmoid_binary_cross_entropy, z, b).shape == (3, 3)
    with pytest.raises(ValueError, match="shape"):
        ck.binary_cross_entropy_with_logits(z, b)


def test_where_of_smoothing_agrees():
    mask = np.array([[True, True, False]])
    labels = optax.smooth_labels(jax.numpy.eye(3)[:1], 0.1, where=jax.numpy.asarray(mask))
    loss = there(optax.softmax_cross_entropy, X, labels, where=jax.numpy.asarray(mask))
    value = ck.cross_entropy(X, [0], where=mask, label_smoothing=0.1, reduction="none")
    np.testing.assert_allclose(value, loss, rtol=1e-14)
