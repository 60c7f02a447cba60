"""Weights of the margins that boosting starts from."""

import math

import numpy as np
import pytest

from cekernels.objectives import Binary, Softmax

STARTS = [
    lambda weight: Binary().init_score([0, 1], weight),
    lambda weight: Softmax().init_score([0, 1], 2, weight),
]


@pytest.mark.parametrize("start", STARTS, ids=["binary", "softmax"])
@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1), ()])
def test_shapes_of_weights(start, shape):
    message = rf"^sample_weight must have shape \(2,\), got \({', '.join(map(str, shape))}"
    with pytest.raises(ValueError, match=message):
        start(np.ones(shape))


@pytest.mark.parametrize("start", STARTS, ids=["binary", "softmax"])
@pytest.mark.parametrize("weight", [[0.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0, math.inf]])
def test_weights_without_a_positive_sum(start, weight):
    with pytest.raises(ValueError, match=r"^sample_weight must have a positive, finite sum, got "):
        start(weight)
