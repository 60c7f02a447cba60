"""Where the results differ from those of Keras 3 on purpose; each test is a row of the page.

`test_parity.py` has the calls that agree, and says how to install the other systems.
"""

import functools
import importlib.util
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import cekernels as ck

if importlib.util.find_spec("keras") is None:
    pytest.skip("keras is not installed", allow_module_level=True)
BACKEND = os.environ.setdefault("KERAS_BACKEND", "jax")
pytest.importorskip(BACKEND)
import keras

losses = keras.losses
pytestmark = pytest.mark.usefixtures("isa")

# Keras computes in float32.
RELATIVE = 1e-6
LARGEST, LARGEST_OF_1 = -math.log(1e-7), -math.log(2.0**-23)  # 1 - 1e-7 is 1 - 2**-23 in float32


def near(value, relative=RELATIVE):
    return pytest.approx(value, rel=relative, abs=0.0)


def there(loss, targets, values, **options):
    """Return the loss of Keras for arrays in float32."""
    arrays = [np.asarray(array, np.float32) for array in (targets, values)]
    with np.errstate(all="ignore"):  # of the NumPy backend
        return float(loss(*arrays, **options))


def test_two_versions():
    p, b = np.array([[0.0], [0.0], [1.0]]), np.array([[1.0], [0.0], [1.0]])
    clipped = np.clip(p, 1e-7, 1 - 1e-7)
    old = np.mean(-b * np.log(clipped + 1e-7) - (1 - b) * np.log(1 - clipped + 1e-7))
    assert round(old, 5) == 5.14165
    assert ck.binary_cross_entropy(p, b, eps=2e-7) == near(old)
    new = there(losses.BinaryCrossentropy(), b, p)
    assert round(new, 4) == 5.3727
    assert ck.binary_cross_entropy(p, b, eps=1e-7) == near(new)
    assert ck.binary_cross_entropy(p, b) == math.inf


def test_weights_of_a_vector():
    """weights for vectors of binary targets"""
    z, b, s = np.array([1.0, -2.0]), np.array([1.0, 1.0]), np.array([3.0, 1.0])
    each = np.logaddexp(0, -z)
    loss = losses.BinaryCrossentropy(from_logits=True)
    assert there(loss, b, z, sample_weight=s.astype(np.float32)) == near(each.mean() * s.mean())
    value = ck.binary_cross_entropy_with_logits(z, b, sample_weight=s, denominator="count")
    assert value == near(np.mean(each * s), 1e-14)


def test_both_ends():
    """p = 1 in float32, y = 0"""
    loss = losses.BinaryCrossentropy()
    p = np.array([[1.0], [0.0]], np.float32)
    assert there(loss, [[0.0]], p[:1]) == near(LARGEST_OF_1)
    assert there(loss, [[1.0]], p[1:]) == near(LARGEST)
    value = ck.binary_cross_entropy(p, [[0], [1]], eps=1e-7, reduction="none")
    np.testing.assert_allclose(value, LARGEST, rtol=RELATIVE)


@functools.cache
def sure_logits_in_numpy():
    """Return what a process with the NumPy backend computes."""
    code = (
        "import keras; loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None);"
        "print(*loss([[0.0], [1.0]], [[800.0], [-800.0]]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(word) for word in run.stdout.split()]


def test_sure_logits():
    """sure logits, NumPy backend"""
    z, b = np.array([800.0, -800.0]), np.array([0, 1])
    np.testing.assert_allclose(sure_logits_in_numpy(), [LARGEST_OF_1, LARGEST], rtol=RELATIVE)
    value = ck.binary_cross_entropy_with_logits(z, b, reduction="none")
    np.testing.assert_array_equal(value, 800.0)


def test_sure_focal():
    """focal loss of logits"""
    loss = losses.BinaryFocalCrossentropy(from_logits=True)
    assert there(loss, [[1.0]], [[-100.0]]) == near(LARGEST)
    assert ck.sigmoid_focal_loss([-100.0], [1]) == near(100.0, 1e-14)


def test_probability_0():
    """probability 0 of the class, softmax losses"""
    p = np.array([[0.0, 0.25, 0.75]])
    assert there(losses.SparseCategoricalCrossentropy(), [0], p) == near(LARGEST)
    assert there(losses.CategoricalCrossentropy(), [[1.0, 0.0, 0.0]], p) == near(LARGEST)
    with np.errstate(divide="ignore"):
        assert ck.cross_entropy(np.log(p), [0]) == math.inf
    assert ck.cross_entropy(np.log(np.maximum(p, 1e-7)), [0]) == near(LARGEST)


def test_soft_focal():
    """focal loss of targets between 0 and 1"""
    z, p = 1.5, 1 / (1 + math.exp(-1.5))
    product = 0.5**2 * -math.log(p * (1 - p)) / 2
    average = ((1 - p) ** 2 * -math.log(p) + p**2 * -math.log(1 - p)) / 2
    assert there(losses.BinaryFocalCrossentropy(from_logits=True), [[0.5]], [[z]]) == near(product)
    assert ck.sigmoid_focal_loss([z], [0.5], gamma=2.0) == near(average, 1e-14)


def test_outside_the_range():
    """probabilities outside [0, 1]"""
    assert there(losses.BinaryCrossentropy(), [[1.0]], [[-0.5]]) == near(LARGEST)
    with pytest.raises(ValueError, match="probs"):
        ck.binary_cross_entropy([-0.5], [1])


def test_labels_of_low_precision():
    """labels"""
    x = np.zeros((1, 300), np.float32)
    x[0, 257] = 20.0
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, dtype="bfloat16")
    assert float(loss(np.array([257]), x)) == 20.0  # of class 256
    value = ck.cross_entropy(x.astype(np.float16), np.array([257]))
    assert value == near(math.log1p(299 * math.exp(-20)))


def test_nothing():
    """everything ignored, or an empty batch, mean"""
    x = np.zeros((2, 3))
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    assert there(loss, [2, 2], x) == 0.0
    for y, ignored in (([2, 2], 2), ([], None)):
        with pytest.warns(RuntimeWarning, match="mean"):
            value, grad = ck.cross_entropy(
                x[: len(y)], np.array(y, int), ignore_index=ignored, return_grad=True
            )
        assert math.isnan(value)
        np.testing.assert_array_equal(grad, 0.0)


@pytest.mark.skipif(BACKEND != "jax", reason="the result is that of the JAX backend")
def test_label_out_of_range():
    """label out of range"""
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    assert there(loss, [3], [[0.0, 1.0, 2.0]]) == 0.0
    with pytest.raises(ck.LabelError):
        ck.cross_entropy([[0.0, 1.0, 2.0]], [3])


def test_nan_ignored_agrees():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    x, y = np.array([[1.0, 0.0, 0.5], [math.nan, 0.0, 0.0]]), np.array([0, 2])
    assert ck.cross_entropy(x, y, ignore_index=2) == near(there(loss, y, x))
