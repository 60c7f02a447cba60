"""Options that are one number: what is none raises with the name of the option, and only that."""

import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import _runtime, metrics, objectives, special

ROWS, LABELS = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]]), np.array([0, 2])
X, Y = np.array([0.5, -1.0]), np.array([1.0, 0.0])

NUMBERS = [
    ("label_smoothing", ck.cross_entropy, (ROWS, LABELS)),
    ("softcap", ck.cross_entropy, (ROWS, LABELS)),
    ("denominator", ck.cross_entropy, (ROWS, LABELS)),
    ("denominator", ck.binary_cross_entropy_with_logits, (X, Y)),
    ("ignore_value", ck.binary_cross_entropy_with_logits, (X, Y)),
    ("eps", ck.binary_cross_entropy, (Y, Y)),
    ("gamma", ck.sigmoid_focal_loss, (X, Y)),
    ("epsilon", ck.poly1_loss, (ROWS, LABELS)),
]
INTEGERS = [
    ("ignore_index", ck.cross_entropy, (ROWS, LABELS)),
    ("ignore_index", metrics.evaluate, (ROWS, LABELS)),
    ("axis", ck.cross_entropy, (ROWS, LABELS)),
    ("axis", special.softmax, (ROWS,)),
    ("n_bins", metrics.evaluate, (ROWS, LABELS)),
    ("n_threads", special.expit, (ROWS,)),
]


@pytest.mark.parametrize(("name", "function", "arrays"), NUMBERS)
@pytest.mark.parametrize(
    "value", [np.array(1j), np.datetime64("2020"), np.array([0.5, 0.5])], ids=repr
)
def test_what_is_no_number(name, function, arrays, value):
    with pytest.raises(TypeError, match=f"^{name} must be a number"):
        function(*arrays, **{name: value})


def test_strings_of_numpy_are_no_numbers():
    # They have a method __float__.
    with pytest.raises(TypeError, match=r"^label_smoothing must be a number"):
        ck.cross_entropy(ROWS, LABELS, label_smoothing=np.str_("0.5"))


@pytest.mark.parametrize(("name", "function", "arrays"), NUMBERS)
def test_a_number_that_no_float_holds(name, function, arrays):
    with pytest.raises(ValueError, match=f"^{name} must be a number that float64 holds"):
        function(*arrays, **{name: 10**400})


@pytest.mark.parametrize(("name", "function", "arrays"), INTEGERS)
@pytest.mark.parametrize("value", [np.array(1.5), 1.5, np.True_], ids=repr)
def test_what_is_no_integer(name, function, arrays, value):
    with pytest.raises(TypeError, match=f"^{name} must be an integer"):
        function(*arrays, **{name: value})


@pytest.mark.parametrize(("name", "function", "arrays"), [INTEGERS[0], INTEGERS[2], INTEGERS[4]])
def test_arrays_of_integers_are_no_integer(name, function, arrays):
    for value in (np.array([1]), np.array([0, 1])):
        with pytest.raises(TypeError, match=f"^{name} must be an integer"):
            function(*arrays, **{name: value})


def test_arrays_without_an_axis_are_an_integer():
    one = np.array(1)
    assert ck.cross_entropy(ROWS, LABELS, axis=one) == ck.cross_entropy(ROWS, LABELS, axis=1)
    assert special.logsumexp(ROWS, axis=one).shape == (2,)
    assert special.logsumexp(ROWS, axis={0, 1}) == special.logsumexp(ROWS)
    stats = ck.cross_entropy(ROWS, LABELS, ignore_index=np.array(2), reduction="stats")
    assert stats.count == 1


def test_an_empty_variable_says_nothing_of_threads(monkeypatch):
    monkeypatch.setenv("CEKERNELS_NUM_THREADS", "")
    assert _runtime._threads_from_environment() == 1


def test_a_denominator_is_one_number():
    loss = ck.cross_entropy(ROWS, LABELS, denominator=np.array(4.0))
    assert loss == pytest.approx(ck.cross_entropy(ROWS, LABELS, reduction="sum") / 4.0, rel=1e-15)
    assert math.isfinite(loss)


@pytest.mark.parametrize("objective", [objectives.Binary, objectives.Softmax])
def test_threads_of_an_objective(objective):
    with pytest.raises(TypeError, match=r"^n_threads must be an integer or None, got '2'$"):
        objective(n_threads="2")
    with pytest.raises(ValueError, match=r"^n_threads must not be 0"):
        objective(n_threads=0)
    assert objective(n_threads=-1).n_threads == -1
