"""Errors of arrays, in their own words: types, shapes and axes."""

import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import special

X = np.array([0.5, -1.0, 2.0])
ROWS, LABELS = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]]), np.array([0, 2])
UNARY = ["expit", "log_expit", "softplus"]
SOFTMAX = ["softmax", "log_softmax"]


# The type of arrays


def swapped(array):
    """Return the same numbers with their bytes the other way round."""
    return array.astype(array.dtype.newbyteorder("S"))


def bad_arrays(name):
    """Return arrays of three numbers that are none for us, and what is said about them."""
    real = f"{name} must hold integers, bools or floats of up to 64 bits, got dtype "
    bad = [
        (np.array([0.5, 0.25, 1j]), real + "complex128"),
        (np.array([0.5, 0.25, 1j], np.complex64), real + "complex64"),
        (np.array([0.5, 0.25, None]), real + "object"),
        (np.array(["0.5", "0.25", "1.0"]), real + "<U4"),
        (np.array([b"1", b"0", b"1"]), real + "|S1"),
        (np.array([1, 0, 1], "datetime64[s]"), real + "datetime64[s]"),
        (np.array([1, 0, 1], "timedelta64[ms]"), real + "timedelta64[ms]"),
        (np.array([(1, 0)] * 3, "i4,i4"), real + "[('f0', '<i4'), ('f1', '<i4')]"),
    ]
    for kind in "f4", "f8", "i2", "u8":
        array = swapped(np.array([1, 0, 1], kind))
        native = f"{name} must be in native byte order, got dtype {array.dtype.str!r}"
        bad.append((array, native))
    if np.dtype(np.longdouble).itemsize > 8:
        long_double = np.array([0.5, 0.25, 1.0], np.longdouble)
        bad.append((long_double, f"{real}{long_double.dtype}"))
    return bad


ARGUMENTS = [
    ("logits", "logits"),
    ("logits", "targets"),
    ("logits", "sample_weight"),
    ("logits", "pos_weight"),
    ("probs", "probs"),
    ("probs", "targets"),
    ("probs", "sample_weight"),
    ("labels", "logits"),
    ("labels", "targets"),
    ("labels", "sample_weight"),
    ("labels", "class_weight"),
    ("soft", "targets"),
]


@pytest.mark.parametrize(("loss", "argument"), ARGUMENTS)
def test_dtypes_of_losses(loss_fails, loss, argument):
    name = {"logits": "x", "probs": "x", "targets": "y"}.get(argument, argument)
    for array, message in bad_arrays(argument):
        loss_fails(TypeError, message, loss, **{name: array})


@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX, "logsumexp"])
def test_dtypes_of_special_functions(fails, name):
    for array, message in bad_arrays("a" if name == "logsumexp" else "x"):
        fails(TypeError, message, getattr(special, name), array)
        fails(TypeError, message, getattr(special, name), array, out=np.zeros(3))


def test_dtypes_of_factors_of_logsumexp(fails):
    for array, message in bad_arrays("b"):
        fails(TypeError, message, special.logsumexp, X, b=array)


@pytest.mark.parametrize("name", ["logits", "labels"])
def test_nothing_is_no_array(loss_fails, name):
    loss_fails(
        TypeError,
        "logits must hold integers, bools or floats of up to 64 bits, got dtype object",
        name,
        x=[None],
    )


# Shapes


def labels_shape(want, got):
    return (
        "integer targets are labels and must have the shape of logits without the last axis, "
        f"{want}, got {got}; probabilities must be floats"
    )


def soft_shape(want, got):
    return (
        "floating targets are probabilities and must have the shape of logits, "
        f"{want}, got {got}; labels must be integers"
    )


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        ("logits", {"y": np.zeros(4)}, "targets must have shape (3,), got (4,)"),
        ("logits", {"y": np.zeros((3, 1))}, "targets must have shape (3,), got (3, 1)"),
        ("logits", {"y": np.array(1.0)}, "targets must have shape (3,), got ()"),
        ("logits", {"x": np.zeros((0, 2))}, "targets must have shape (0, 2), got (3,)"),
        ("probs", {"y": np.zeros(4, int)}, "targets must have shape (3,), got (4,)"),
        ("labels", {"y": np.zeros(3, int)}, labels_shape("(2,)", "(3,)")),
        ("labels", {"y": np.zeros((2, 3), np.uint8)}, labels_shape("(2,)", "(2, 3)")),
        ("labels", {"y": np.zeros((2, 3), bool)}, labels_shape("(2,)", "(2, 3)")),
        ("labels", {"x": np.zeros(3)}, labels_shape("()", "(2,)")),
        ("soft", {"y": np.array([0.0, math.nan])}, soft_shape("(2, 3)", "(2,)")),
        ("soft", {"y": np.zeros((3, 2), np.float32)}, soft_shape("(2, 3)", "(3, 2)")),
        ("labels", {"x": np.array(1.0)}, "logits must have an axis of classes, got a scalar"),
        ("labels", {"x": ROWS[:, :0]}, "logits must have at least one class, got shape (2, 0)"),
    ],
)
def test_shapes(loss_fails, loss, arguments, message):
    loss_fails(ValueError, message, loss, **arguments)


@pytest.mark.parametrize(
    ("loss", "name", "shape", "got"),
    [
        ("logits", "sample_weight", "broadcast to shape (3,)", (4,)),
        ("logits", "pos_weight", "broadcast to shape (3,)", (2, 3)),
        ("probs", "sample_weight", "broadcast to shape (3,)", (3, 1)),
        ("labels", "sample_weight", "broadcast to shape (2,)", (2, 3)),
        ("soft", "sample_weight", "broadcast to shape (2,)", (3,)),
        ("labels", "class_weight", "have shape (3,)", (2,)),
        ("labels", "class_weight", "have shape (3,)", ()),
        ("soft", "class_weight", "have shape (3,)", (1, 3)),
    ],
)
def test_shapes_of_weights(loss_fails, loss, name, shape, got):
    message = f"{name} must {shape}, got {got}"
    loss_fails(ValueError, message, loss, **{name: np.ones(got)})


def test_factors_of_logsumexp_must_broadcast():
    with pytest.raises(ValueError, match=r"^b must "):
        special.logsumexp(ROWS, b=np.ones(2))


# Axes


@pytest.mark.parametrize("name", [*SOFTMAX, "logsumexp"])
@pytest.mark.parametrize(
    ("axis", "error", "message"),
    [
        (2, ValueError, "axis must be in [-2, 2), got 2"),
        (-3, ValueError, "axis must be in [-2, 2), got -3"),
        ((0, 5), ValueError, "axis must be in [-2, 2), got 5"),
        ((0, 0), ValueError, "axis must not repeat, got (0, 0)"),
        ((1, -1), ValueError, "axis must not repeat, got (1, -1)"),
        (1.0, TypeError, "axis must be an integer, a tuple of integers or None, got 1.0"),
        ("0", TypeError, "axis must be an integer, a tuple of integers or None, got '0'"),
        ((0, "1"), TypeError, "axis must be an integer, a tuple of integers or None, got (0, '1')"),
    ],
)
@pytest.mark.parametrize("x", [ROWS, ROWS[:0]], ids=["some", "empty"])
def test_axes(fails, name, axis, error, message, x):
    fails(error, message, getattr(special, name), x, axis=axis)


# Options of classes


@pytest.mark.parametrize("value", [2, -3, 100, -(2**63)])
def test_axis_of_classes(loss_fails, value):
    message = f"axis must be in [-2, 2), got {value}"
    loss_fails(ValueError, message, "labels", axis=value)
    loss_fails(ValueError, message, "soft", axis=value)


@pytest.mark.parametrize("value", [1.0, "0", 1j, [0.5]])
def test_type_of_the_axis_of_classes(value):
    grad = np.full(ROWS.shape, 12345.0)
    with pytest.raises(TypeError, match=r"^axis must be an integer"):
        ck.cross_entropy(ROWS, LABELS, axis=value, grad_out=grad)
    assert np.all(grad == 12345.0)


@pytest.mark.parametrize(
    ("axis", "which", "want", "got"),
    [
        (0, "axis 0", "(3, 4)", (2, 4)),
        (1, "axis 1", "(2, 4)", (2, 3)),
        (-1, "the last axis", "(2, 3)", (3, 2)),
        (-2, "axis 1", "(2, 4)", (2, 4, 1)),
        (2, "the last axis", "(2, 3)", ()),
    ],
)
def test_shape_of_labels_beside_an_axis(fails, loss_fails, axis, which, want, got):
    message = (
        f"integer targets are labels and must have the shape of logits without {which}, "
        f"{want}, got {got}; probabilities must be floats"
    )
    x = np.zeros((2, 3, 4))
    loss_fails(ValueError, message, "labels", x, np.zeros(got, int), axis=axis)
    fails(ValueError, message, ck.cross_entropy, x, np.zeros(got, bool), axis=axis)


def test_dtypes_that_no_mask_has(loss_fails):
    for array, message in bad_arrays("where"):
        loss_fails(TypeError, message, "labels", where=array)


@pytest.mark.parametrize("kind", ["i1", "u1", "i8", "f4", "f8"])
@pytest.mark.parametrize("loss", ["labels", "soft"])
def test_masks_are_bool(loss_fails, loss, kind):
    where = np.ones(ROWS.shape, kind)
    loss_fails(TypeError, f"where must be bool, got dtype {where.dtype}", loss, where=where)


@pytest.mark.parametrize("shape", [(2,), (3, 3), (2, 2), (1, 2, 3), (2, 3, 1), (0,)])
def test_shapes_of_masks(loss_fails, shape):
    message = f"where must broadcast to shape (2, 3), got {shape}"
    loss_fails(ValueError, message, "labels", where=np.ones(shape, bool))


# Complements


def test_dtypes_of_complements(loss_fails):
    for array, message in bad_arrays("complement"):
        loss_fails(TypeError, message, "probs", complement=array)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (1, 3)])
def test_shapes_of_complements(loss_fails, shape):
    message = f"complement must have shape (3,), got {shape}"
    loss_fails(ValueError, message, "probs", complement=np.zeros(shape))
