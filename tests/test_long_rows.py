"""Rows of more logits than a sum in their dtype can count."""

import math

import numpy as np
import pytest

from cekernels import special

# Units in the last place, of rows of equal logits.
LONG_ROW_ULP = 3.0


@pytest.mark.usefixtures("isa")
def test_rows_of_any_length():
    n = 10_000_000
    x = np.full(n, -0.3, np.float32)
    proba = special.softmax(x)
    assert abs(float(proba[0]) * n - 1.0) <= LONG_ROW_ULP * 2.0**-23
    exact = math.log(n) + float(x[0])
    assert abs(float(special.logsumexp(x)) - exact) <= np.spacing(np.float32(exact))
