"""Errors of labels, targets and probabilities: which, where, and what is allowed."""

import math

import numpy as np
import pytest

import cekernels as ck

Y = np.array([1.0, 0.0, 1.0])
P = np.array([0.5, 0.25, 1.0])
BINARY_LOSSES = ["logits", "probs"]


# Labels


@pytest.fixture
def label_fails(loss_fails, isa, dtype):  # noqa: ARG001
    def check(message, labels, n_classes=3, **options):
        labels = np.asarray(labels)
        x = np.zeros((*labels.shape, n_classes), dtype)
        loss_fails(ck.LabelError, message, "labels", x, labels, **options)
        loss_fails(ck.LabelError, message, "labels", x, labels, reduction="none", **options)

    return check


@pytest.mark.parametrize("n_classes", [1, 3, 100])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-1, "i1"),
        (-(2**7), "i1"),
        (-(2**15), "i2"),
        (-(2**31), "i4"),
        (-(2**63), "i8"),
        (-1, "i8"),
        (2**7 - 1, "i1"),
        (2**15 - 1, "i2"),
        (2**31 - 1, "i4"),
        (2**63 - 1, "i8"),
        (2**8 - 1, "u1"),
        (2**16 - 1, "u2"),
        (2**32 - 1, "u4"),
        (2**63, "u8"),
        (2**64 - 100, "u8"),
        (2**64 - 1, "u8"),
    ],
)
def test_labels_of_every_width(label_fails, n_classes, value, kind):
    message = (
        f"targets[1] is {value}, but labels must be in [0, {n_classes}), the classes of logits"
    )
    labels = np.array([0, value, 0], kind)
    label_fails(message, labels, n_classes)
    ignoring = -100 if value != -100 else -1
    label_fails(f"{message} or ignore_index={ignoring}", labels, n_classes, ignore_index=ignoring)


@pytest.mark.parametrize("n_classes", [1, 2, 3, 64, 65, 1000])
def test_first_label_that_is_no_class(label_fails, n_classes):
    message = (
        f"targets[2] is {n_classes}, but labels must be in [0, {n_classes}), the classes of logits"
    )
    label_fails(message, [0, n_classes - 1, n_classes, 0, -1], n_classes)


@pytest.mark.parametrize("value", [-99, -101, 3, -1])
def test_neighbours_of_the_ignored_label(label_fails, value):
    message = (
        f"targets[1] is {value}, but labels must be in [0, 3), "
        "the classes of logits or ignore_index=-100"
    )
    label_fails(message, [-100, value, -100], ignore_index=-100)


@pytest.mark.parametrize("n", [15, 17, 1025, 20000])
def test_last_label_of_many(label_fails, n):
    labels = np.arange(n) % 3
    labels[-1] = 3
    message = f"targets[{n - 1}] is 3, but labels must be in [0, 3), the classes of logits"
    label_fails(message, labels)


def test_labels_of_other_shapes(label_fails):
    message = "targets[1, 0] is 7, but labels must be in [0, 3), the classes of logits"
    label_fails(message, [[0, 1], [7, 2]])
    message = "targets is 7, but labels must be in [0, 3), the classes of logits"
    label_fails(message, 7)
    message = "targets[0] is True, but labels must be in [0, 1), the classes of logits"
    label_fails(message, [True], n_classes=1)


def test_label_of_a_weightless_row(label_fails):
    message = "targets[1] is 3, but labels must be in [0, 3), the classes of logits"
    label_fails(message, [0, 3], sample_weight=np.array([1.0, 0.0]))
    label_fails(message, [0, 3], class_weight=np.zeros(3))


def test_label_error_is_both():
    assert issubclass(ck.LabelError, IndexError)
    assert issubclass(ck.LabelError, ValueError)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 7])
def test_large_unsigned_ignored_label(dtype, value):
    labels = np.array([0, value], np.uint64)
    stats = ck.cross_entropy(np.zeros((2, 3), dtype), labels, ignore_index=value, reduction="stats")
    assert stats.count == 1


@pytest.mark.usefixtures("isa")
def test_ignored_label_that_the_labels_cannot_hold(loss_fails, dtype):
    labels = np.array([0, 156], np.uint8)
    for value in (-100, 256 + 156, 2**80):
        message = (
            "targets[1] is 156, but labels must be in [0, 3), "
            f"the classes of logits or ignore_index={value}"
        )
        loss_fails(
            ck.LabelError, message, "labels", np.zeros((2, 3), dtype), labels, ignore_index=value
        )


# Values


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", BINARY_LOSSES)
@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1.5, "f4", "1.5"),
        (-0.25, "f8", "-0.25"),
        (1 + 2**-20, "f4", "1.000001"),
        (math.inf, "f4", "inf"),
        (-math.inf, "f8", "-inf"),
        (2, "u1", "2"),
        (-1, "i8", "-1"),
    ],
)
def test_targets_outside_the_unit_interval(loss_fails, losses, dtype, loss, value, kind, text):
    y = np.array([0, 1, value, 1, value], kind)
    x = np.full(5, 0.5, dtype)
    message = f"targets must be in [0, 1], got {text} at [2]; check=False turns this check off"
    for options in ({}, {"reduction": "none"}, {"sample_weight": np.array([1, 1, 0, 1, 1])}):
        loss_fails(ValueError, message, loss, x, y, **options)
    function = losses[loss][0]
    assert function(x, y, check=False, reduction="none").shape == (5,)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", BINARY_LOSSES)
@pytest.mark.parametrize("value", [1 + 2**-52, -5e-324])
def test_targets_just_outside_the_unit_interval(loss_fails, loss, value):
    message = f"targets must be in [0, 1], got {value} at [1]; check=False turns this check off"
    loss_fails(ValueError, message, loss, y=np.array([0.0, value, 1.0]))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", BINARY_LOSSES)
def test_targets_beside_the_value_to_ignore(loss_fails, loss):
    y = np.array([-1.0, 0.0, -2.0])
    message = "targets must be in [0, 1], got -2.0 at [2]; check=False turns this check off"
    loss_fails(ValueError, message, loss, y=y, ignore_value=-1.0)
    message = "targets must be in [0, 1], got -1.0 at [0]; check=False turns this check off"
    loss_fails(ValueError, message, loss, y=y, ignore_value=math.nan)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n", [15, 17, 1025, 20000])
def test_last_target_of_many(loss_fails, dtype, n):
    x, y = np.full(n, 0.5, dtype), np.zeros(n, dtype)
    y[-1] = 2.0
    message = f"targets must be in [0, 1], got 2.0 at [{n - 1}]; check=False turns this check off"
    for loss in BINARY_LOSSES:
        loss_fails(ValueError, message, loss, x, y)


@pytest.mark.parametrize("loss", BINARY_LOSSES)
def test_place_of_a_target_in_two_dimensions(loss_fails, loss):
    x, y = np.full((2, 3), 0.5), np.array([[0, 1, 0], [0, 3, 0]])
    message = "targets must be in [0, 1], got 3 at [1, 1]; check=False turns this check off"
    loss_fails(ValueError, message, loss, x, y)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.5, "-0.5"),
        (1.5, "1.5"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (-(2.0**-10), "-0.0009765625"),
    ],
)
def test_probabilities_outside_the_unit_interval(loss_fails, dtype, value, text):
    p = np.array([0.0, value, 1.0], dtype)
    message = f"probs must be in [0, 1], got {text} at [1]; check=False turns this check off"
    loss_fails(ValueError, message, "probs", p)
    loss_fails(ValueError, message, "probs", p, eps=0.25)
    assert ck.binary_cross_entropy(p, Y, check=False, reduction="none").shape == (3,)
    assert ck.binary_cross_entropy(np.array([0.5, math.nan, 1.0], dtype), Y, reduction="sum") != 0.0


# Labels where they are

INT64 = np.iinfo(np.int64)


@pytest.mark.parametrize(
    ("value", "ignored"),
    [
        (INT64.min, None),
        (INT64.min, INT64.min + 1),
        (INT64.min + 1, INT64.min),
        (INT64.max, INT64.max - 1),
        (INT64.max - 1, INT64.max),
        (-1, INT64.max),
        (-1, 2**64 - 1),
        (-1, -2),
        (-2, -1),
        (2**32, 0),
        (2**32 + 1, 1),
    ],
)
@pytest.mark.parametrize("n_classes", [5, 100])
def test_labels_beside_the_ignored_one(label_fails, n_classes, value, ignored):
    ending = "" if ignored is None else f" or ignore_index={ignored}"
    message = (
        f"targets[2] is {value}, but labels must be in [0, {n_classes}), "
        f"the classes of logits{ending}"
    )
    label_fails(message, [0, 1, value, 4], n_classes, ignore_index=ignored)
    label_fails(message, [0, 1, value, 4], n_classes, ignore_index=ignored, class_weight="balanced")


@pytest.mark.parametrize("n_classes", [1, 64, 65])
def test_ignored_label_beside_the_classes(label_fails, n_classes):
    ending = f"but labels must be in [0, {n_classes}), the classes of logits or ignore_index="
    for value, ignored in ((n_classes, n_classes + 1), (n_classes + 1, n_classes)):
        message = f"targets[1] is {value}, {ending}{ignored}"
        label_fails(message, [0, value], n_classes, ignore_index=ignored)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_place_of_a_label_in_any_layout(loss_fails, dtype, axis):
    shape = (4, 5, 6)
    x = np.zeros(shape, dtype)
    labels = np.zeros(shape[:axis] + shape[axis + 1 :], np.int16)
    place = tuple(n - 2 for n in labels.shape)
    labels[place] = labels[-1, -1] = 77
    message = (
        f"targets[{place[0]}, {place[1]}] is 77, but labels must be in [0, {shape[axis]}), "
        "the classes of logits"
    )
    for targets in (labels, np.asfortranarray(labels), np.repeat(labels, 2, axis=1)[:, ::2]):
        loss_fails(ck.LabelError, message, "labels", x, targets, axis=axis)
        loss_fails(ck.LabelError, message, "labels", np.asfortranarray(x), targets, axis=axis)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [3, 100])
def test_nan_weights_are_seen(dtype, n_classes):
    """No error, no silence: every number that they have a part in is NaN, and no other."""
    x, labels = np.zeros((3, n_classes), dtype), [0, 1, 2]
    stats, grad = ck.cross_entropy(
        x, labels, sample_weight=[1, math.nan, 2], reduction="stats", return_grad=True
    )
    assert math.isnan(stats.total)
    assert math.isnan(stats.weight)
    assert stats.count == 3
    np.testing.assert_array_equal(np.isnan(grad).any(axis=1), [False, True, False])
    of_class = np.ones(n_classes)
    of_class[1] = math.nan
    assert math.isnan(ck.cross_entropy(x, labels, class_weight=of_class, reduction="none")[1])
    assert math.isnan(ck.cross_entropy(x, labels, class_weight=of_class))
    for loss in (ck.binary_cross_entropy_with_logits, ck.binary_cross_entropy):
        assert math.isnan(loss(P, Y, sample_weight=[1, math.nan, 2]))
        assert math.isnan(loss(P, Y, sample_weight=[1, math.nan, 2], reduction="sum"))


# Complements


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("value", "text"), [(-0.5, "-0.5"), (1.5, "1.5"), (math.inf, "inf")])
def test_complements_outside_the_unit_interval(loss_fails, dtype, value, text):
    q = np.array([0.5, value, 0.0], dtype)
    message = f"complement must be in [0, 1], got {text} at [1]; check=False turns this check off"
    loss_fails(ValueError, message, "probs", P.astype(dtype), complement=q)
    loss = ck.binary_cross_entropy(P.astype(dtype), Y, complement=q, check=False, reduction="none")
    assert loss.shape == (3,)
