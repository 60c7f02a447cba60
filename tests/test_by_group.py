"""cross_entropy_by_group: tables of losses, and their sums."""

import numpy as np
import pytest

from cekernels import metrics, reference

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


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    "groups",
    [[3, -1, 3, 7], ["b", "a", "b", "c"], [0.5, 0.25, 0.5, 1.5], [True, False, True, True]],
)
def test_groups(groups):
    got = metrics.cross_entropy_by_group(HALF, LABELS, groups, sample_weight=[1.0, 2.0, 3.0, 0.5])
    want = reference.cross_entropy_by_group(
        HALF, LABELS, groups, sample_weight=[1.0, 2.0, 3.0, 0.5]
    )
    assert got.groups.tolist() == sorted(set(groups))
    assert_close(got[1:], want[1:])


def test_groups_of_ignored_samples():
    got = metrics.cross_entropy_by_group(HALF, [0, -1, 0, 2], [5, 6, 5, 5], ignore_index=-1)
    assert_close(got, metrics.LossTable([5, 6], [5 * LOG_2, 0.0], [3.0, 0.0], [3, 0]), 1e-15)


def test_tables_add_up(rng):
    logits, labels = data(rng, (60, 3))
    groups = rng.integers(0, 9, 60)
    whole = metrics.cross_entropy_by_group(logits, labels, groups)
    parts = [
        metrics.cross_entropy_by_group(logits[rows], labels[rows], groups[rows])
        for rows in (slice(0, 5), slice(5, 6), slice(6, 60))
    ]
    assert_close(sum(parts), whole, MERGED)
    assert_close(parts[2] + (parts[1] + parts[0]), whole, MERGED)
    for other in (1, parts[0][:3]):
        with pytest.raises(TypeError, match="a LossTable adds to a LossTable, got"):
            whole + other
        with pytest.raises(TypeError, match="a LossTable adds to a LossTable, got"):
            other + whole if other == 1 else whole.__radd__(other)


# Errors


def test_errors_of_groups():
    with pytest.raises(ValueError, match=r"groups must have shape \(4,\), got \(3,\)"):
        metrics.cross_entropy_by_group(HALF, LABELS, [0, 1, 2])
    with pytest.raises(TypeError, match="groups must be of one kind, to be sorted: '<' not supp"):
        metrics.cross_entropy_by_group(HALF, LABELS, np.array(["a", None, "b", "a"], object))
