"""Targets, weights and masks of every dtype, read as they are: the bits of the exact conversion."""

import itertools
import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import special

pytestmark = pytest.mark.usefixtures("isa")

INTEGERS = [np.dtype(f"{sign}{size}") for sign, size in itertools.product("iu", (1, 2, 4, 8))]
BOOL = np.dtype(bool)
FLOATS = [np.dtype("f2"), np.dtype("f4"), np.dtype("f8")]
EVERY = [BOOL, *INTEGERS, *FLOATS]
OUTPUTS = {"return_grad": True, "return_hess": True, "reduction": "none"}


def every_second(array):
    return np.repeat(array, 2, axis=-1)[..., ::2]


def every_third_backwards(array):
    return np.repeat(array[..., ::-1], 3, axis=-1)[..., 1::3][..., ::-1]


def unaligned(array):
    records = np.zeros(array.shape, [("tag", np.uint8), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


# Adjacent, every second and reversed elements have loops of their own.
STRIDES = [np.array, every_second, every_third_backwards, lambda a: a[..., ::-1].copy()[..., ::-1]]
STRIDES = [*STRIDES, unaligned]


@pytest.mark.parametrize("integer", [BOOL, *INTEGERS], ids=str)
@pytest.mark.parametrize("n_classes", [2, 10, 65, 300])
def test_labels(rng, dtype, assert_same_bits, n_classes, integer):
    top = n_classes - 1 if integer == BOOL else min(n_classes - 1, np.iinfo(integer).max)
    x = rng.normal(0, 4, (300, n_classes)).astype(dtype)
    labels = rng.integers(0, min(top, 1) + 1 if integer == BOOL else top + 1, 300)
    labels[:2] = 0, 1 if integer == BOOL else top
    want = ck.cross_entropy(x, labels, **OUTPUTS)
    for strided in STRIDES:
        assert_same_bits(ck.cross_entropy(x, strided(labels.astype(integer)), **OUTPUTS), want)


@pytest.mark.parametrize("integer", INTEGERS, ids=str)
def test_ignored_label_at_the_ends_of_its_dtype(rng, dtype, assert_same_bits, integer):
    x, labels = rng.normal(size=(300, 5)).astype(dtype), rng.integers(0, 5, 300).astype(integer)
    ignored = rng.uniform(size=300) < 0.3
    weight = np.where(ignored, 0, 1).astype(np.int8)
    want = ck.cross_entropy(x, labels, sample_weight=weight, **OUTPUTS)
    for value in {np.iinfo(integer).min, np.iinfo(integer).max} - {0}:
        marked = np.where(ignored, integer.type(value), labels)
        for strided in STRIDES:
            got = ck.cross_entropy(x, strided(marked), ignore_index=int(value), **OUTPUTS)
            assert_same_bits(got, want)
        stats = ck.cross_entropy(x, marked, ignore_index=int(value), reduction="stats")
        assert stats.count == stats.weight == np.count_nonzero(weight)


@pytest.mark.parametrize("kind", EVERY, ids=str)
def test_binary_targets(rng, dtype, assert_same_bits, kind):
    x, y = rng.normal(0, 4, (3, 300)).astype(dtype), rng.integers(0, 2, (3, 300))
    y = y * 0.375 if kind.kind == "f" else y
    for loss, z in (
        (ck.binary_cross_entropy_with_logits, x),
        (ck.binary_cross_entropy, special.expit(x)),
    ):
        want = loss(z, y.astype(dtype), **OUTPUTS)
        for strided in STRIDES:
            assert_same_bits(loss(z, strided(y.astype(kind)), **OUTPUTS), want)


@pytest.mark.parametrize("kind", EVERY, ids=str)
def test_weights(rng, dtype, assert_same_bits, kind):
    x, labels = rng.normal(0, 4, (300, 5)).astype(dtype), rng.integers(0, 5, 300)
    top = 2 if kind == BOOL else 4
    weight, of_class = rng.integers(0, top, 300).astype(kind), np.arange(5).astype(kind)
    exact, exact_of_class = weight.astype(dtype), of_class.astype(dtype)
    want = ck.cross_entropy(x, labels, sample_weight=exact, class_weight=exact_of_class, **OUTPUTS)
    y, x0 = labels / 4, x[:, 0].copy()
    want_binary = ck.binary_cross_entropy_with_logits(
        x0, y, sample_weight=exact, pos_weight=exact, **OUTPUTS
    )
    for strided in STRIDES:
        part = strided(weight)
        got = ck.cross_entropy(
            x, labels, sample_weight=part, class_weight=strided(of_class), **OUTPUTS
        )
        assert_same_bits(got, want)
        got = ck.binary_cross_entropy_with_logits(
            x0, y, sample_weight=part, pos_weight=part, **OUTPUTS
        )
        assert_same_bits(got, want_binary)


@pytest.mark.parametrize("kind", FLOATS, ids=str)
@pytest.mark.parametrize("n_classes", [3, 64, 65, 300])
@pytest.mark.parametrize("axis", [0, 1])
def test_probabilities_of_another_width(rng, dtype, assert_same_bits, axis, n_classes, kind):
    shape = (n_classes, 40) if axis == 0 else (40, n_classes)
    x, targets = rng.normal(0, 4, shape).astype(dtype), rng.uniform(size=shape).astype(kind)
    options = OUTPUTS | {"axis": axis, "class_weight": rng.uniform(size=n_classes)}
    want = ck.cross_entropy(x, targets.astype(dtype), **options)
    for strided in STRIDES:
        assert_same_bits(ck.cross_entropy(x, strided(targets), **options), want)
    stats = [
        ck.cross_entropy(x, t, axis=axis, reduction="stats")
        for t in (targets, targets.astype(dtype))
    ]
    assert stats[0] == stats[1]


def test_numbers_beyond_float32_are_rounded_once(assert_same_bits):
    """As astype rounds them: 0.1 and 1/3 in float64 are no float32."""
    x = np.linspace(-3, 3, 40, dtype=np.float32)
    y = np.linspace(0, 1, 40) / 3
    weight = np.linspace(0.1, 2, 40)
    for strided in STRIDES:
        assert_same_bits(
            ck.binary_cross_entropy_with_logits(
                x, strided(y), sample_weight=strided(weight), **OUTPUTS
            ),
            ck.binary_cross_entropy_with_logits(
                x, y.astype(np.float32), sample_weight=weight.astype(np.float32), **OUTPUTS
            ),
        )


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_large_integer_weights(dtype, kind):
    top = np.iinfo(kind).max
    stats = ck.cross_entropy(
        np.zeros((3, 2), dtype),
        [0, 1, 0],
        sample_weight=np.array([top, 0, 1], kind),
        reduction="stats",
    )
    exact = float(dtype(top)) + 1.0
    assert stats.weight == exact
    assert stats.total == pytest.approx(
        exact * math.log(2), rel=1e-6 if dtype is np.float32 else 1e-15
    )


@pytest.mark.parametrize("kind", [BOOL, *INTEGERS, *FLOATS[1:]], ids=str)
def test_other_logits(rng, assert_same_bits, kind):
    """Integers become float64; floats of 32 bits and more stay what they are."""
    x, labels = rng.integers(0, 2, (40, 7)).astype(kind), rng.integers(0, 7, 40)
    loss, grad = ck.cross_entropy(x, labels, return_grad=True, reduction="none")
    if kind.kind != "f":
        assert loss.dtype == grad.dtype == np.float64
        want = ck.cross_entropy(x.astype(np.float64), labels, return_grad=True, reduction="none")
        assert_same_bits((loss, grad), want)
    else:
        assert loss.dtype == grad.dtype == kind


@pytest.mark.parametrize("mask", [list, np.array, lambda a: a.astype(np.uint8).view(bool)])
def test_masks(dtype, assert_same_bits, mask):
    x = np.arange(12).reshape(4, 3).astype(dtype)
    where = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1], [1, 0, 0]], bool)
    masked = np.where(where, x, -math.inf).astype(dtype)
    assert_same_bits(
        ck.cross_entropy(x, [0, 1, 2, 0], where=mask(where), **OUTPUTS),
        ck.cross_entropy(masked, [0, 1, 2, 0], **OUTPUTS),
    )
