"""log_loss: literal values, and what only this function has."""

import math
import re
import warnings

import numpy as np
import pytest

import cekernels
from cekernels import log_loss

LOG_2 = 0.6931471805599453
INF, NAN = math.inf, math.nan
Y = [0, 1, 1, 0]
P = [0.1, 0.9, 0.8, 0.3]
PAIRS = [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]]
INDICATOR = [[0, 1], [1, 0], [1, 1], [0, 0]]


# Literal values


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("y_true", "y_proba", "options", "expected"),
    [
        ([0, 1], [0.5, 0.5], {}, LOG_2),
        ([1, 0], [0.25, 0.5], {}, 1.0397207708399179),
        ([1, 0], [0.25, 0.5], {"normalize": False}, 2.0794415416798357),
        ([1, 0], [0.25, 0.5], {"sample_weight": [3, 1]}, 1.2130075659799043),
        ([1, 0], [0.25, 0.5], {"sample_weight": [3, 1], "normalize": False}, 4.852030263919617),
        ([1, 0], [0.25, 0.5], {"sample_weight": [-1, 2]}, 0.0),
        ([1, 0], [[0.75, 0.25], [0.5, 0.5]], {}, 1.0397207708399179),
        ([1, 0], [[0.25], [0.5]], {}, 1.0397207708399179),
        ([0, 2, 1], [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], {}, 0.9241962407466),
        ([1], [[0.25, 0.5, 0.25]], {"labels": [0, 1, 2]}, LOG_2),
        (["spam", "ham"], [0.25, 0.5], {}, 1.0397207708399179),
        ([True, False], [0.25, 0.5], {}, 1.0397207708399179),
        ([7.0, -3.0], [0.25, 0.5], {}, 1.0397207708399179),
        ([[0, 1], [1, 1]], [[0.5, 0.5], [0.75, 0.25]], {}, 1.1835618070658084),
        ([1, 0], [0.25, 0.5], {"eps": 0.3}, 0.9485599924429406),
        ([0, 1], [0.0, 1.0], {}, 2.220446049250313e-16),
        ([1, 0], [0.0, 1.0], {}, 36.04365338911715),
        ([1, 0], np.array([0.0, 1.0], np.float32), {}, 15.942385152878742),
        ([1, 0], np.array([0.0, 1.0], np.float16), {}, 6.931471805599453),
        ([0, 1], np.array([0.0, 1.0], np.float32), {}, 1.1920929665620834e-07),
    ],
)
def test_literals(y_true, y_proba, options, expected):
    got = log_loss(y_true, y_proba, **options)
    assert type(got) is float
    assert got == pytest.approx(expected, rel=1e-13, abs=1e-16)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("y_true", "y_proba", "options", "expected"),
    [
        ([0, 1], [0.0, 1.0], {}, 0.0),
        ([1, 0], [0.0, 0.5], {}, INF),
        ([1, 0], [[1.0, 0.0], [0.5, 0.5]], {}, INF),
        ([1, 0], [0.0, 0.5], {"sample_weight": [0.0, 2.0]}, LOG_2),
        ([0], [1e-20], {"labels": [0, 1]}, 1e-20),
        ([1, 0], np.array([0.25, 0.5], np.float32), {}, 1.0397207708399179),
        ([1, 0], np.array([0.25, 0.5], np.float16), {}, 1.0397207708399179),
        ([[0, 1], [1, 1]], [[0.5, 0.5], [0.75, 0.25]], {}, 1.1835618070658084),
    ],
)
def test_exact_probabilities(y_true, y_proba, options, expected):
    assert log_loss(y_true, y_proba, eps=None, **options) == pytest.approx(
        expected, rel=1e-7 if getattr(y_proba, "dtype", None) == np.float32 else 1e-15, abs=0.0
    )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("y_true", "logits", "options", "expected"),
    [
        ([0, 1], [800.0, 800.0], {"normalize": False}, 800.0),
        ([1, 0], [-800.0, 0.0], {}, 400.34657359027996),
        ([1, 0], [[-800.0], [0.0]], {}, 400.34657359027996),
        ([1, 0], [[800.0, 0.0], [0.0, 0.0]], {}, 400.34657359027996),
        ([0, 2], [[0.0, 0.0, 800.0], [0.0, 0.0, 800.0]], {"labels": [0, 1, 2]}, 400.0),
        (["b", "a"], [-800.0, 0.0], {"sample_weight": [3, 1]}, 600.1732867951399),
        ([[0, 1], [1, 1]], [[800.0, 0.0], [0.0, 0.0]], {}, 400.6931471805599),
        ([[0, 1], [1, 1]], [-800.0, 0.0], {}, 400.6931471805599),
        ([[0, 0], [0, 0]], [[800.0, 0.0], [0.0, 0.0]], {}, 0.0),
        ([1, 0], [INF, -INF], {}, 0.0),
        ([1, 0], [-INF, 0.0], {}, INF),
        ([1, 0], [NAN, 0.0], {"sample_weight": [0, 1]}, LOG_2),
        ([0, 1], [[0.0, -INF], [0.0, 0.0]], {}, 0.34657359027997264),
    ],
)
def test_logits(y_true, logits, options, expected, dtype):
    logits = np.array(logits, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = log_loss(y_true, logits, from_logits=True, **options)
    assert type(got) is float
    assert got == pytest.approx(expected, rel=2e-7, abs=0.0)


@pytest.mark.usefixtures("isa")
def test_logits_agree_with_probabilities(rng):
    logits = rng.normal(0.0, 3.0, (1000, 4))
    y = rng.integers(0, 4, 1000)
    e = np.exp(logits)
    proba = e / e.sum(axis=1, keepdims=True)
    assert log_loss(y, logits, from_logits=True) == pytest.approx(log_loss(y, proba), rel=1e-13)
    margin, binary = logits[:, 0], y % 2
    assert log_loss(binary, margin, from_logits=True, eps=None) == pytest.approx(
        log_loss(binary, 1.0 / (1.0 + np.exp(-margin))), rel=1e-13
    )


def test_indicator_of_one_label_a_row_is_the_label(rng):
    y = rng.integers(0, 3, 50)
    proba, weight = rng.dirichlet(np.ones(3), 50), rng.random(50)
    indicator = np.eye(3, dtype=int)[y]
    for options in ({}, {"sample_weight": weight}, {"from_logits": True}):
        assert log_loss(indicator, proba, **options) == pytest.approx(
            log_loss(y, proba, **options), rel=1e-13
        )


@pytest.mark.usefixtures("isa")
def test_blocks_add_up(rng):
    n = 20_001
    y, proba, weight = rng.integers(0, 3, n), rng.dirichlet(np.ones(3), n), rng.random(n)
    expected = -np.log(proba[np.arange(n), y])
    for layout in (proba, np.asfortranarray(proba), np.repeat(proba, 2, axis=0)[::2]):
        assert log_loss(y, layout, normalize=False) == pytest.approx(math.fsum(expected), rel=1e-13)
        assert log_loss(y, layout, sample_weight=weight, normalize=False) == pytest.approx(
            math.fsum(expected * weight), rel=1e-13
        )


def test_threads_do_not_change_the_result(rng):
    n = 200_001
    for y, proba in (
        (rng.integers(0, 3, n), rng.dirichlet(np.ones(3), n)),
        (rng.random(n) < 0.5, rng.random(n)),
    ):
        expected = log_loss(y, proba)
        for n_threads in (2, 3, 8):
            with cekernels.threads(n_threads):
                assert log_loss(y, proba) == expected


def test_inputs_are_not_written_to(rng):
    y, weight = rng.integers(0, 3, 100), rng.random(100)
    for proba in (rng.dirichlet(np.ones(3), 100), rng.random(100)):
        arrays = (y if proba.ndim == 2 else y > 0, proba, weight)
        copies = [values.copy() for values in arrays]
        for values in arrays:
            values.flags.writeable = False
        for options in ({}, {"eps": None}, {"from_logits": True}):
            log_loss(arrays[0], arrays[1], sample_weight=weight, **options)
        for values, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(values, copy)


# What only this function has, or says in other words


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ((Y, P), {"eps": 0.5}, ValueError, "eps must be in [0, 0.5), got 0.5"),
        ((Y, P), {"eps": NAN}, ValueError, "eps must be in [0, 0.5), got nan"),
        ((Y, P), {"eps": "none"}, TypeError, "'auto', a float or None. Got 'none' instead"),
        ((Y, P), {"eps": True}, TypeError, "'auto', a float or None. Got True instead"),
        ((Y, P), {"eps": 1e-7, "from_logits": True}, ValueError, "eps does not apply to logits"),
        ((Y, P), {"from_logits": 1}, TypeError, "The 'from_logits' parameter of log_loss"),
        ((Y, [NAN, 0, 0, 0]), {"from_logits": True}, ValueError, "Input contains NaN."),
        ((Y, None), {}, TypeError, "The 'y_proba' parameter of log_loss must be an array-like"),
        ((Y, P), {"labels": [0, 1, 1]}, ValueError, "must not contain a label twice"),
        ((Y, P), {"labels": [[0, 1], [1, 0]]}, ValueError, "Multioutput target data"),
        ((Y, P), {"labels": np.array(1)}, TypeError, "at least 1 dimension, got scalar array(1)"),
        ((INDICATOR, PAIRS), {"labels": [0, 1]}, ValueError, "does not go with one-dimensional"),
        (([[0, 1], [1], [0], [1]], P), {}, ValueError, "binary indicator array"),
        ((np.array(1), P), {}, TypeError, "at least 1 dimension, got scalar array(1)"),
        ((Y, np.array(0.5)), {}, TypeError, "at least 1 dimension, got scalar array(0.5)"),
        ((np.ma.array(Y, mask=[0, 0, 0, 1]), P), {}, TypeError, "Masked labels"),
        ((Y, P), {"sample_weight": list("abcd")}, TypeError, "Sample weights must be numeric"),
        ((Y, P), {"sample_weight": [1, None, 1, 1]}, ValueError, "sample_weight contains NaN"),
        ((Y, P), {"sample_weight": np.array(1.0)}, TypeError, "at least 1 dimension"),
    ],
)
def test_errors(args, options, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        log_loss(*args, **options)
    assert raised.type is error


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("argument", ["y_true", "y_proba", "sample_weight", "labels"])
def test_matrices_are_refused(argument):
    arguments = {"y_true": Y, "y_proba": P, argument: np.matrix(Y).T}
    with pytest.raises(TypeError, match=r"np\.matrix is not supported"):
        log_loss(**arguments)


def test_warnings_point_at_the_caller():
    with pytest.warns(UserWarning, match="do not sum to one") as caught:
        log_loss(Y, np.array(PAIRS) * 0.9)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="do not sum to one") as caught:
        log_loss(INDICATOR, np.array(PAIRS) * 0.9)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="ordered lexicographically") as caught:
        log_loss(Y, P, labels=[1, 0])
    assert caught[0].filename == __file__


def test_logits_are_not_judged_as_probabilities():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_loss(Y, np.array(PAIRS) * 9.0 - 4.0, from_logits=True)


def test_runs_without_floating_point_errors():
    with np.errstate(all="raise"):
        log_loss([1, 0], [0.0, 1.0])
        log_loss([1, 0], [0.0, 1.0], eps=None)
        log_loss(np.array([3.0, 4.0]), [[0.0, 1.0], [0.5, 0.5]])
