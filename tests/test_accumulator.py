"""MetricAccumulator: batches give what the whole gives."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cekernels as ck
from cekernels.metrics import MetricAccumulator, evaluate

# Of sums of batches against those of the whole.
MERGED = 1e-14
LOG_2 = 0.6931471805599453
# Of three classes, whose probabilities are (1/2, 1/4, 1/4), (1/4, 1/2, 1/4) and so on.
HALF = [[LOG_2, 0.0, 0.0], [0.0, LOG_2, 0.0], [0.0, 0.0, LOG_2], [LOG_2, 0.0, 0.0]]
LABELS = [0, 1, 0, 2]


def data(rng, shape, dtype=np.float64, scale=3.0):
    logits = rng.normal(0.0, scale, shape).astype(dtype)
    n_classes = 2 if len(shape) == 1 or shape[1] == 1 else shape[1]
    return logits, rng.integers(0, n_classes, shape[0])


def assert_close(got, want, rtol=1e-13):
    """Assert that metrics, or tuples in them, agree."""
    if isinstance(want, tuple):
        assert type(got) is type(want)
        for one, other in zip(got, want, strict=True):
            assert_close(one, other, rtol)
    else:
        np.testing.assert_allclose(got, want, rtol=rtol, atol=0.0)


def assert_same(got, want):
    """Assert that metrics, or tuples in them, have the same bits."""
    assert_close(got, want, rtol=0.0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(90,), (90, 3)])
def test_batches(rng, shape):
    logits, labels = data(rng, shape)
    weight = rng.uniform(0.0, 2.0, 90)
    labels[::7] = -1
    options = {"ignore_index": -1}
    want = evaluate(logits, labels, sample_weight=weight, n_bins=5, **options)
    parts = []
    for rows in (slice(0, 20), slice(20, 20), slice(20, 90)):
        parts.append(MetricAccumulator(n_bins=5))
        parts[-1].update(logits[rows], labels[rows], sample_weight=weight[rows], **options)
    one = MetricAccumulator(5)
    for rows in np.split(np.arange(90), [1, 40, 77]):
        one.update(logits[rows], labels[rows], sample_weight=weight[rows], **options)
    for order in itertools.permutations(parts):
        assert_close(sum(order).result(), want, MERGED)
    assert_close(one.result(), want, MERGED)
    assert_close((parts[0] + (parts[1] + parts[2])).result(), want, MERGED)
    parts[0].merge(parts[2])
    assert_close(parts[0].result(), want, MERGED)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=4), st.randoms())
def test_counts_do_not_depend_on_the_batches(cuts, random):
    rng = np.random.default_rng(random.randrange(2**32))
    logits, labels = data(rng, (40, 3))
    weight = rng.integers(0, 4, 40)
    want = evaluate(logits, labels, sample_weight=weight)
    got = MetricAccumulator()
    for rows in np.split(np.arange(40), sorted(cuts)):
        part = MetricAccumulator()
        part.update(logits[rows], labels[rows], sample_weight=weight[rows])
        got += part
    got = got.result()
    assert got.accuracy == want.accuracy
    assert got.stats[1:] == want.stats[1:]
    assert_same(got.by_class[2:], want.by_class[2:])
    assert_same(got.reliability.weight, want.reliability.weight)
    assert_close(got, want, MERGED)


def test_adding_changes_neither(rng):
    a, b = MetricAccumulator(), MetricAccumulator()
    a.update(*data(rng, (9, 3)))
    b.update(*data(rng, (9, 3)))
    before, other = a.result(), b.result()
    total = a + b
    total.update(*data(rng, (9, 3)))
    sum([a, b]).merge(b)
    result = a.result()
    for array in (*result.by_class, *result.reliability):
        array[...] = 77
    assert_same(a.result(), before)
    assert_same(b.result(), other)


def test_pickle(rng):
    accumulator = MetricAccumulator(3)
    accumulator.update(*data(rng, (9, 3)))
    copy = pickle.loads(pickle.dumps(accumulator))
    assert_same(copy.result(), accumulator.result())
    copy.update(*data(rng, (9, 3)))
    assert copy.result().stats.count == 18
    assert accumulator.result().stats.count == 9
    assert_same(pickle.loads(pickle.dumps(copy.result())), copy.result())


def test_empty_accumulator():
    empty = MetricAccumulator(3)
    assert np.isnan(empty.result()[:5]).all()
    assert len(empty.result().by_class.groups) == 0
    assert repr(empty) == "MetricAccumulator(n_bins=3)"
    assert repr(sum([empty, empty])) == repr(empty)
    empty.update(np.zeros((0, 4)), np.zeros(0, int))
    assert len(empty.result().by_class.groups) == 4
    empty.update(np.zeros((2, 4)), [0, 1])
    assert repr(empty) == "<MetricAccumulator of 2 samples of 4 classes, n_bins=3>"


# Errors


def test_errors_of_accumulators(rng):
    accumulator = MetricAccumulator(4)
    accumulator.update(HALF, LABELS)
    before = accumulator.result()
    other = MetricAccumulator(4)
    other.update(*data(rng, (5, 2)))
    with pytest.raises(
        ValueError, match="the number of classes must be 3, as it was before, got 2"
    ):
        accumulator.update([0.5], [1])
    with pytest.raises(
        ValueError, match="the number of classes must be 3, as it was before, got 2"
    ):
        accumulator.merge(other)
    with pytest.raises(ValueError, match="n_bins must be 4 to be merged, got 15"):
        accumulator + MetricAccumulator()
    with pytest.raises(TypeError, match="adds to a MetricAccumulator, got int"):
        accumulator.merge(0)
    for wrong in (1, "one"):
        with pytest.raises(TypeError, match="unsupported operand"):
            accumulator + wrong
        with pytest.raises(TypeError):
            wrong + accumulator
    with pytest.raises(ck.LabelError):
        accumulator.update(HALF, [0, 1, 2, 3])
    assert_same(accumulator.result(), before)
