"""Losses of linear models: every error in its own words."""

import numpy as np
import pytest

import cekernels as ck
from cekernels.linear import _problem, _rows, _sums

sparse = pytest.importorskip("scipy.sparse")
MANY = 53  # rows, in blocks of 7


@pytest.fixture
def small_blocks(monkeypatch):
    """Make blocks of 7 rows, and products of 2 classes."""
    monkeypatch.setattr(_rows, "UNPACKED", 0)
    monkeypatch.setattr(_rows, "CACHE_BYTES", 0)
    monkeypatch.setattr(_rows, "MANY_ROWS", 7)
    monkeypatch.setattr(_rows, "FEW_ROWS", 7)
    monkeypatch.setattr(_sums, "TILE", 10)


@pytest.mark.usefixtures("small_blocks")
def test_label_errors_tell_the_row():
    labels = np.zeros(MANY, int)
    labels[[40, 50]] = 4, -2
    message = r"^targets\[40\] is 4, but labels must be in \[0, 4\), the classes of logits$"
    for name in ("linear_cross_entropy", "linear_cross_entropy_hessian"):
        with pytest.raises(ck.LabelError, match=message):
            getattr(ck, name)(np.ones((MANY, 2)), np.ones((4, 2)), labels)
    targets = np.zeros(MANY)
    targets[33] = 1.5
    message = r"^targets must be in \[0, 1\], got 1.5 at \[33\]; check=False turns this check off$"
    with pytest.raises(ValueError, match=message):
        ck.linear_binary_cross_entropy(np.ones((MANY, 2)), np.ones(2), targets)
    assert ck.linear_binary_cross_entropy(np.ones((MANY, 2)), np.ones(2), targets, check=False) > 0


X, W, Y = np.ones((3, 2)), np.ones((4, 2)), np.array([0, 1, 3])
ERRORS = [
    (ValueError, "X must have two axes, samples and features, got shape (3,)", {"X": np.ones(3)}),
    (TypeError, "X must hold integers, bools or floats of up to 64 bits, got dtype complex128",
     {"X": np.ones((3, 2), complex)}),
    (TypeError, "X must hold integers, bools or floats of up to 64 bits, got dtype complex64",
     {"X": sparse.csr_array(np.ones((3, 2), np.complex64))}),
    (TypeError, "X must be an array or sparse in CSR format, got format 'csc'; X.tocsr() converts it",
     {"X": sparse.csc_array(X)}),
    (ValueError, "coef must have shape (n_classes, 2), got (2,)", {"coef": np.ones(2)}),
    (ValueError, "coef must have shape (n_classes, 2), got (4, 3)", {"coef": np.ones((4, 3))}),
    (ValueError, "coef must have at least one class, got shape (0, 2)", {"coef": np.ones((0, 2))}),
    (TypeError, "coef must hold integers, bools or floats of up to 64 bits, got dtype object",
     {"coef": [[None, 1]]}),
    (ValueError, "intercept must have shape (4,), got (3,)", {"intercept": np.ones(3)}),
    (ValueError, "intercept must have shape (4,), got ()", {"intercept": 1.0}),
    (ValueError, ("integer targets are labels and must have the shape of logits without the last "
     "axis, (3,), got (2,); probabilities must be floats"), {"targets": [0, 1]}),
    (ValueError, ("floating targets are probabilities and must have the shape of logits, (3, 4), "
     "got (3,); labels must be integers"), {"targets": np.ones(3)}),
    (ValueError, "sample_weight must broadcast to shape (3,), got (2,)", {"sample_weight": [1, 2]}),
    (ValueError, "where must broadcast to shape (3, 4), got (3,)", {"where": np.ones(3, bool)}),
    (ValueError, "class_weight must have shape (4,), got (2,)", {"class_weight": [1.0, 2.0]}),
    (ValueError, "reduction must be one of 'none', 'sum', 'mean', 'stats', got 'max'",
     {"reduction": "max"}),
    (ValueError, "denominator must be positive and finite, got 0", {"denominator": 0}),
    (ValueError, "n_threads must not be 0: give a positive number, or -1 for all CPUs",
     {"n_threads": 0}),
    (ValueError, "label_smoothing must be in [0, 1], got 2.0", {"label_smoothing": 2.0}),
    (ValueError, "return_X_grad needs a dense X, got a sparse one",
     {"X": sparse.csr_array(X), "return_X_grad": True}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "change"), ERRORS)
def test_errors(error, message, change):
    arguments = {"X": X, "coef": W, "targets": Y, "return_grad": True} | change
    with pytest.raises(error) as caught:
        ck.linear_cross_entropy(**arguments)
    assert str(caught.value) == message


def test_errors_of_binary_targets():
    for coef, message in [
        (np.ones((1, 1, 2)), "coef must have shape (2,) or (n_outputs, 2), got (1, 1, 2)"),
        (1.0, "coef must have shape (2,) or (n_outputs, 2), got ()"),
        (np.ones(3), "coef must have shape (2,) or (n_outputs, 2), got (3,)"),
    ]:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            ck.linear_binary_cross_entropy(X, coef, [0, 1, 1])
        assert str(caught.value) == message
    with pytest.raises(ValueError, match=r"^targets must have shape \(3, 4\), got \(3,\)$"):
        ck.linear_binary_cross_entropy(X, W, [0, 1, 1])
    with pytest.raises(ValueError, match=r"^intercept must have shape \(\), got \(1,\)$"):
        ck.linear_binary_cross_entropy(X, W[0], [0, 1, 1], intercept=[1.0])


@pytest.mark.parametrize(
    ("name", "allowed", "value"),
    [("z_loss", 0, 0.5), ("softcap", None, 3.0), ("logit_scale", 1, 2.0)],
)
def test_options_without_second_derivatives(name, allowed, value):
    rows, message = _rows.as_rows(X), f"{name} must be {allowed} for second derivatives, got"
    derived = _problem.class_linear_problem(rows, 4, Y, **{name: allowed})
    refused = _problem.class_linear_problem(rows, 4, Y, **{name: value})
    np.testing.assert_array_equal(derived.hvp(W, None, W)[0], np.zeros((4, 2)))
    assert derived.hessian(W)[2].shape == (8, 8)
    assert refused.loss_grad(W)[1].coef.shape == W.shape
    for call_it in (lambda: refused.hvp(W, None, W), lambda: refused.hessian(W)):
        with pytest.raises(ValueError, match=f"^{message} {value}$"):
            call_it()


def test_errors_of_second_derivatives():
    for kind, coef, targets in (("", W, Y), ("binary_", W[0], [0, 1, 1])):
        hvp = getattr(ck, f"linear_{kind}cross_entropy_hvp")
        hessian = getattr(ck, f"linear_{kind}cross_entropy_hessian")
        for reduction in ("none", "stats"):
            message = f"^reduction must be 'mean' or 'sum', got '{reduction}'$"
            with pytest.raises(ValueError, match=message):
                hvp(X, coef, targets, coef, reduction=reduction)
            with pytest.raises(ValueError, match=message):
                hessian(X, coef, targets, reduction=reduction)
        with pytest.raises(ValueError, match=r"^v must have shape .*, got \(5,\)$"):
            hvp(X, coef, targets, np.ones(5))
        message = "^v_intercept must be None where there is no intercept$"
        with pytest.raises(ValueError, match=message):
            hvp(X, coef, targets, coef, v_intercept=np.ones(coef.shape[:-1]))
