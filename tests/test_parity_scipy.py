"""Where the results differ from those of SciPy on purpose; each test is a row of the page.

`test_parity.py` has the calls that agree.
"""

import inspect
import math

import numpy as np
import pytest

import cekernels as ck

special = pytest.importorskip("scipy.special")
pytestmark = pytest.mark.usefixtures("isa")


def test_infinite_softmax():
    """`softmax` with one +inf"""
    x = np.array([[1.0, math.inf, 0.0]])
    with np.errstate(invalid="ignore"):
        assert np.isnan(special.softmax(x, axis=1)).any()
    np.testing.assert_array_equal(ck.special.softmax(x, axis=1), [[0.0, 1.0, 0.0]])


def test_largest_logit():
    """`log_softmax` of the largest logit"""
    x = np.array([[40.0, 0.0]])
    assert special.log_softmax(x, axis=1)[0, 0] == 0.0
    value = ck.special.log_softmax(x, axis=1)[0, 0]
    assert value == pytest.approx(-math.exp(-40), rel=1e-15, abs=0.0)


def test_missing_options():
    """`logsumexp`: `return_sign`, complex numbers"""
    assert special.logsumexp([0.0, 1.0], b=[1, -2], return_sign=True)[1] == -1
    assert "return_sign" not in inspect.signature(ck.special.logsumexp).parameters
    assert np.isnan(ck.special.logsumexp([0.0, 1.0], b=[1, -2]))
    assert np.isfinite(special.logsumexp([1j, 0.0]))
    with pytest.raises(TypeError, match="complex"):
        ck.special.logsumexp([1j, 0.0])
