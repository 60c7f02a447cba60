"""logsumexp with factors of any size and dtype."""

import math

import numpy as np
import pytest

from cekernels import special


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_factors_that_the_dtype_does_not_hold(kind):
    for factor in (1e300, 1e-300):
        result = special.logsumexp(np.zeros(2, kind), b=[factor, 0.0])
        assert result == kind(math.log(factor))
        assert result.dtype == kind


def test_factors_of_half_precision_are_rounded_once():
    x, b = np.array([1.0, 2.0, 3.0], np.float16), np.array([1.0, 2.0, 3.0])
    exact = math.log(sum(b * np.exp(x.astype(float))))
    assert special.logsumexp(x, b=b) == np.float16(exact)


def test_factors_raise_no_flags():
    with np.errstate(all="raise"):
        assert special.logsumexp([1e308, -1e308, 700.0], b=[1.0, 2.0, -3.0]) == 1e308
        assert special.logsumexp(np.zeros(2, np.float32), b=[1e-320, 0.0]) < -700.0


def test_no_output_over_what_is_read():
    a, b = np.zeros((4, 3)), np.ones((4, 3))
    with pytest.raises(ValueError, match=r"^out shares memory with a$"):
        special.logsumexp(a, axis=1, b=b, out=a[:, 0])
    with pytest.raises(ValueError, match=r"^out shares memory with b$"):
        special.logsumexp(a, axis=1, b=b, out=b[:, 0])
