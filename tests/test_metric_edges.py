"""Metrics of labels beside the one to ignore, and of no sample."""

import numpy as np
import pytest

from cekernels import LabelError, metrics, objectives


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_binary_labels_beside_a_large_one_to_ignore(kind):
    # As floats they are the same.
    x, ignored = np.zeros(2, kind), 2**62
    for label in (ignored + 1, ignored - 1):
        with pytest.raises(LabelError, match=rf"^targets\[0\] is {label}, but labels must be in"):
            metrics.evaluate(x, np.array([label, 1]), ignore_index=ignored)
    assert metrics.evaluate(x, np.array([ignored, 1]), ignore_index=ignored).stats.count == 1


@pytest.mark.parametrize("weight", [None, np.zeros(0)])
def test_sums_of_no_sample_are_floats(weight):
    table = metrics.cross_entropy_by_group(np.zeros((0, 2)), np.zeros(0, int), sample_weight=weight)
    assert table.total.dtype == table.weight.dtype == np.float64
    assert table.count.tolist() == [0, 0]


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_accuracy_adds_weights_up_in_float64(rng, kind):
    n = 60_000
    weight = rng.uniform(1.0, 3.0, n).astype(kind)
    x, y = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    wide = metrics.accuracy(x, y, sample_weight=weight.astype(np.float64))
    assert metrics.accuracy(x, y, sample_weight=weight) == pytest.approx(wide, rel=1e-14)


def test_results_that_underflow_raise_no_flags():
    x, y, weight = np.array([[600.0, 0.0], [0.0, 1.0]]), np.array([0, 0]), np.full(2, 1e-300)
    focal = objectives.Softmax(gamma=1.0).for_catboost()
    with np.errstate(all="raise"):
        assert metrics.evaluate(x, y, sample_weight=weight).accuracy == 0.5
        assert metrics.brier_score(x[:1], [0]) == 0.0
        assert metrics.cross_entropy_by_group(x * 1e-3, y, sample_weight=weight).weight[1] == 0.0
        assert metrics.cross_entropy_by_group(x[:1], [0], sample_weight=1e-300).total[0] == 0.0
        assert focal.calc_ders_multi([600.0, 0.0], 0.0, 1e-100)[1].shape == (2, 2)
