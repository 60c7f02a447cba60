"""Errors of options, in their own words: numbers, words and weights of classes."""

import math

import numpy as np
import pytest

from cekernels import special

X = np.array([0.5, -1.0, 2.0])
UNARY = ["expit", "log_expit", "softplus"]
SOFTMAX = ["softmax", "log_softmax"]


# Numbers and words

EVERY_LOSS = ["logits", "probs", "labels", "soft"]
BINARY_LOSSES = ["logits", "probs"]


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf, np.float32(2.0), -1])
def test_label_smoothing_range(loss_fails, loss, value):
    message = f"label_smoothing must be in [0, 1], got {value!r}"
    loss_fails(ValueError, message, loss, label_smoothing=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", ["0.1", b"1", [0.1], (), None, "", 1j, np.array([0.1, 0.2])])
def test_label_smoothing_type(loss_fails, loss, value):
    message = f"label_smoothing must be a number, got {value!r}"
    loss_fails(TypeError, message, loss, label_smoothing=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", ["avg", "", "Mean", None, 0])
def test_reduction(loss_fails, loss, value):
    message = f"reduction must be one of 'none', 'sum', 'mean', 'stats', got {value!r}"
    loss_fails(ValueError, message, loss, reduction=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", ["rows", "", "Weight"])
def test_denominator_word(loss_fails, loss, value):
    message = f"denominator must be 'weight', 'count' or a positive number, got {value!r}"
    loss_fails(ValueError, message, loss, denominator=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [0, 0.0, -1.5, math.inf, math.nan, np.float64(-2.0)])
def test_denominator_range(loss_fails, loss, value):
    message = f"denominator must be positive and finite, got {value!r}"
    loss_fails(ValueError, message, loss, denominator=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [None, [1.0], 2j, b"count"])
def test_denominator_type(loss_fails, loss, value):
    message = f"denominator must be a number, got {value!r}"
    loss_fails(TypeError, message, loss, denominator=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [True, 1.0, "2", [1], np.array([1, 2])])
def test_n_threads_type(loss_fails, loss, value):
    message = f"n_threads must be an integer or None, got {value!r}"
    loss_fails(TypeError, message, loss, n_threads=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_n_threads_range(loss_fails, loss):
    message = "n_threads must not be 0: give a positive number, or -1 for all CPUs"
    loss_fails(ValueError, message, loss, n_threads=0)


@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX, "logsumexp"])
@pytest.mark.parametrize("x", [X, X[:0]], ids=["some", "empty"])
def test_n_threads_of_special_functions(fails, name, x):
    function = getattr(special, name)
    out = np.zeros(() if name == "logsumexp" else x.shape)
    message = "n_threads must be an integer or None, got True"
    fails(TypeError, message, function, x, out=out, n_threads=True)
    message = "n_threads must not be 0: give a positive number, or -1 for all CPUs"
    fails(ValueError, message, function, x, out=out, n_threads=0)


@pytest.mark.parametrize("value", [-1e-9, 0.5, 1, math.nan, -math.inf])
def test_eps_range(loss_fails, value):
    message = f"eps must be in [0, 0.5) or None, got {value!r}"
    loss_fails(ValueError, message, "probs", eps=value)


@pytest.mark.parametrize("value", [1e-9, 100, math.inf, math.nan])
def test_log_min_range(loss_fails, value):
    message = f"log_min must be at most 0 or None, got {value!r}"
    loss_fails(ValueError, message, "probs", log_min=value)


@pytest.mark.parametrize("name", ["eps", "log_min"])
@pytest.mark.parametrize("value", ["auto", [0.1], 1j])
def test_eps_and_log_min_type(loss_fails, name, value):
    message = f"{name} must be a number, got {value!r}"
    loss_fails(TypeError, message, "probs", **{name: value})


@pytest.mark.parametrize("loss", BINARY_LOSSES)
@pytest.mark.parametrize("value", ["nan", [1.0], 1j])
def test_ignore_value_type(loss_fails, loss, value):
    message = f"ignore_value must be a number, got {value!r}"
    loss_fails(TypeError, message, loss, ignore_value=value)


@pytest.mark.parametrize("value", [True, False, 1.0, "1", math.nan, [1]])
@pytest.mark.parametrize("loss", ["labels", "soft"])
def test_ignore_index_type(loss_fails, loss, value):
    message = f"ignore_index must be an integer or None, got {value!r}"
    loss_fails(TypeError, message, loss, ignore_index=value)


def test_ignore_index_needs_labels(loss_fails):
    message = "ignore_index needs labels, but the targets are probabilities"
    loss_fails(ValueError, message, "soft", ignore_index=1)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_options_are_keywords(losses, loss):
    function, x, y = losses[loss]
    with pytest.raises(TypeError, match="positional argument"):
        function(x, y, None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):
        function(x, y, weights=0)


# Options of classes


@pytest.mark.parametrize("name", ["softcap", "logit_scale"])
@pytest.mark.parametrize("value", [0, 0.0, -0.0, -1.5, math.nan, math.inf, np.float32(-2.0), False])
def test_positive_options(loss_fails, name, value):
    message = f"{name} must be positive and finite, got {value!r}"
    loss_fails(ValueError, message, "labels", **{name: value})
    loss_fails(ValueError, message, "soft", **{name: value}, reduction="sum")


@pytest.mark.parametrize("value", [-1, -1e-300, math.nan, math.inf, -math.inf, np.float32(-2.0)])
def test_z_loss_range(loss_fails, value):
    message = f"z_loss must be finite and not negative, got {value!r}"
    loss_fails(ValueError, message, "labels", z_loss=value)
    loss_fails(ValueError, message, "soft", z_loss=value, reduction="sum")


@pytest.mark.parametrize("name", ["softcap", "logit_scale", "z_loss"])
@pytest.mark.parametrize("value", ["1", b"2", [1.0], (), 1j, np.array([1.0, 2.0]), {}])
def test_types_of_numbers(loss_fails, name, value):
    loss_fails(TypeError, f"{name} must be a number, got {value!r}", "labels", **{name: value})


@pytest.mark.parametrize("name", ["logit_scale", "z_loss"])
def test_numbers_that_none_is_not(loss_fails, name):
    loss_fails(TypeError, f"{name} must be a number, got None", "labels", **{name: None})


@pytest.mark.parametrize("key", [3, -1, 2**64, -(2**63), np.int8(-5), np.uint8(200)])
@pytest.mark.parametrize("loss", ["labels", "soft"])
def test_keys_that_are_no_class(loss_fails, loss, key):
    message = f"class_weight must have keys in [0, 3), got {key}"
    loss_fails(ValueError, message, loss, class_weight={0: 1.0, key: 2.0})


@pytest.mark.parametrize("key", [True, 1.0, "1", None, (0,), np.float64(2), math.nan])
def test_keys_that_are_no_integer(loss_fails, key):
    message = f"class_weight must have integer keys, got {key!r}"
    loss_fails(TypeError, message, "labels", class_weight={key: 2.0})


@pytest.mark.parametrize("value", ["2", None, [1.0], 1j])
def test_values_that_are_no_weight(loss_fails, value):
    message = f"class_weight[1] must be a number, got {value!r}"
    loss_fails(TypeError, message, "labels", class_weight={1: value})


@pytest.mark.parametrize("word", ["auto", "", "Balanced", "balanced_subsample"])
def test_words_that_are_no_weight(loss_fails, word):
    message = f"class_weight must be an array, a dict or 'balanced', got {word!r}"
    loss_fails(ValueError, message, "labels", class_weight=word)


def test_what_needs_labels(loss_fails):
    message = "class_weight='balanced' needs labels, but the targets are probabilities"
    loss_fails(ValueError, message, "soft", class_weight="balanced")
    message = "ignore_index needs labels, but the targets are probabilities"
    for value in (0, -100, 2**80):
        loss_fails(ValueError, message, "soft", ignore_index=value)
