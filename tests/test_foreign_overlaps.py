"""Outputs over inputs that are no arrays of NumPy, but give one a view of their memory."""

import numpy as np
import pytest

import cekernels as ck
from cekernels import special


@pytest.mark.parametrize("name", ["expit", "log_expit", "softplus", "softmax", "log_softmax"])
def test_no_output_over_a_part_of_a_foreign_array(name):
    room = np.linspace(-3.0, 3.0, 9)
    before = room.copy()
    with pytest.raises(ValueError, match=r"^out shares memory with x$"):
        getattr(special, name)(memoryview(room)[:-1], out=room[1:])
    assert np.array_equal(room, before)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_no_gradient_of_focal_loss_over_foreign_weights(alpha):
    room = np.ones(5)
    with pytest.raises(ValueError, match=r"^grad_out shares memory with pos_weight$"):
        ck.sigmoid_focal_loss(
            np.zeros(4),
            [0, 1, 0, 1],
            alpha=alpha,
            pos_weight=memoryview(room)[:4],
            grad_out=room[1:],
        )
