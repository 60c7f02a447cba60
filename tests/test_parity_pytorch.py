"""Where the results differ from those of PyTorch on purpose; each test is a row of the page.

`test_parity.py` has the calls that agree, and says how to install the other systems.
"""

import math

import numpy as np
import pytest

import cekernels as ck

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.usefixtures("isa")

RELATIVE = 1e-14
INF, NAN = math.inf, math.nan
X = np.array([[1.0, -0.5, 0.25], [0.0, 2.0, -1.0], [0.5, 0.5, 3.0], [-1.0, 0.0, 1.0]])
Y = np.array([0, 2, 1, 1])
W = np.array([1.0, 2.0, 0.5])
ONE_HOT = np.eye(3)[Y]


def near(value, relative=RELATIVE):
    return pytest.approx(value, rel=relative, abs=0.0, nan_ok=True)


def there(function, x, *args, **options):
    """Return the loss and the gradient of PyTorch, as NumPy arrays."""
    x = torch.tensor(x, requires_grad=True)
    args = [torch.as_tensor(arg) for arg in args]
    loss = function(x, *args, **options)
    loss.sum().backward()
    return loss.detach().numpy(), x.grad.numpy()


def test_weighted_probabilities():
    """class weights with probabilities, mean"""
    weight = torch.tensor(W)
    labels, _ = there(F.cross_entropy, X, Y, weight=weight)
    one_hot, gradient = there(F.cross_entropy, X, ONE_HOT, weight=weight)
    assert float(one_hot) == near(float(labels) * W[Y].sum() / len(Y))
    assert ck.cross_entropy(X, Y, class_weight=W) == near(float(labels))
    assert ck.cross_entropy(X, ONE_HOT, class_weight=W) == near(float(labels))
    loss, grad = ck.cross_entropy(X, ONE_HOT, class_weight=W, denominator="count", return_grad=True)
    assert loss == near(float(one_hot))
    np.testing.assert_allclose(grad, gradient, rtol=0, atol=1e-15)


def test_weighted_binary():
    """weights of a binary loss, mean"""
    z, b, s = np.array([1.0, -2.0]), np.array([1.0, 1.0]), np.array([3.0, 1.0])
    losses = np.logaddexp(0, -z)
    mean, _ = there(F.binary_cross_entropy_with_logits, z, b, weight=torch.tensor(s))
    assert float(mean) == near(np.sum(s * losses) / 2)
    assert ck.binary_cross_entropy_with_logits(z, b, sample_weight=s) == near(
        np.sum(s * losses) / 4
    )


def test_targets_by_dtype():
    """targets of the shape of the logits"""
    with pytest.raises(RuntimeError, match="floating point"):
        there(F.cross_entropy, X, np.ones((4, 3), np.int64))
    with pytest.raises(RuntimeError, match="Int"):
        there(F.cross_entropy, X, Y.astype(np.int32))
    with pytest.raises(ValueError, match="shape"):
        ck.cross_entropy(X, np.ones((4, 3), np.int64))
    assert ck.cross_entropy(X, Y.astype(np.int8)) == ck.cross_entropy(X, Y)


def test_label_out_of_range():
    """label out of range"""
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        there(F.cross_entropy, X, [0, 1, 3, 0])
    with pytest.raises(ck.LabelError, match="3") as caught:
        ck.cross_entropy(X, [0, 1, 3, 0])
    assert isinstance(caught.value, IndexError)


def test_default_ignored():
    """label -100"""
    loss, _ = there(F.cross_entropy, X, [0, -100, 1, 1])
    assert ck.cross_entropy(X, [0, -100, 1, 1], ignore_index=-100) == near(float(loss))
    with pytest.raises(ck.LabelError, match="-100"):
        ck.cross_entropy(X, [0, -100, 1, 1])


def test_nan_ignored():
    """NaN logits in an ignored row"""
    x = np.vstack([X, np.full(3, NAN)])
    loss, gradient = there(F.cross_entropy, x, [*Y, -100])
    assert np.isnan(gradient[-1]).all()
    value, grad = ck.cross_entropy(x, [*Y, -100], ignore_index=-100, return_grad=True)
    assert value == near(float(loss))
    np.testing.assert_array_equal(grad[-1], 0.0)
    np.testing.assert_allclose(grad[:-1], gradient[:-1], rtol=0, atol=1e-15)


def test_weight_0():
    """all rows have weight 0"""
    loss, gradient = there(
        F.cross_entropy, X[:2], [0, 0], weight=torch.tensor([0.0, 1, 1]).double()
    )
    assert np.isnan(loss)
    assert np.isnan(gradient).any()
    with pytest.warns(RuntimeWarning, match="mean"):
        value, grad = ck.cross_entropy(X[:2], [0, 0], class_weight=[0.0, 1, 1], return_grad=True)
    assert math.isnan(value)
    np.testing.assert_array_equal(grad, 0.0)


def test_all_ignored_agrees():
    loss, gradient = there(F.cross_entropy, X, [-100] * 4)
    assert np.isnan(loss)
    np.testing.assert_array_equal(gradient, 0.0)
    with pytest.warns(RuntimeWarning, match="mean"):
        value, grad = ck.cross_entropy(X, [-100] * 4, ignore_index=-100, return_grad=True)
    assert math.isnan(value)
    np.testing.assert_array_equal(grad, 0.0)


def test_masked_probability():
    """logit -inf, target probability 0"""
    x, t = np.array([[1.0, -INF, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    assert np.isnan(there(F.cross_entropy, x, t)[0])
    assert ck.cross_entropy(x, t) == near(np.log1p(np.exp(-1)))
    # With smoothing the class is a target, and both are inf.
    assert there(F.cross_entropy, x, [0], label_smoothing=0.1)[0] == INF
    assert ck.cross_entropy(x, [0], label_smoothing=0.1) == INF


def test_infinite_binary_logits():
    """binary logit +inf with target 1, -inf with target 0"""
    z, b = np.array([INF, -INF]), np.array([1.0, 0.0])
    losses, gradient = there(F.binary_cross_entropy_with_logits, z, b, reduction="none")
    assert np.isnan(losses).all()
    value, grad = ck.binary_cross_entropy_with_logits(z, b, reduction="none", return_grad=True)
    np.testing.assert_array_equal(value, 0.0)
    np.testing.assert_array_equal(grad, gradient)
    # On the wrong side, both agree but for the loss of -inf.
    losses, gradient = there(F.binary_cross_entropy_with_logits, z, 1 - b, reduction="none")
    np.testing.assert_array_equal(losses, [INF, NAN])
    value, grad = ck.binary_cross_entropy_with_logits(z, 1 - b, reduction="none", return_grad=True)
    np.testing.assert_array_equal(value, INF)
    np.testing.assert_array_equal(grad, gradient)


def test_infinite_logit():
    """one logit +inf in a row"""
    x = np.array([[INF, 0.0], [INF, 0.0]])
    assert np.isnan(there(F.cross_entropy, x, [0, 1], reduction="none")[0]).all()
    np.testing.assert_array_equal(ck.cross_entropy(x, [0, 1], reduction="none"), [0.0, INF])


def test_small_gradient():
    """float32 logit 20, target 1"""
    z, b = np.array([20.0], np.float32), np.array([1.0], np.float32)
    _, gradient = there(F.binary_cross_entropy_with_logits, z, b)
    assert gradient[0] == 0.0
    _, grad = ck.binary_cross_entropy_with_logits(z, b, return_grad=True)
    assert grad[0] == near(-math.exp(-20) / (1 + math.exp(-20)), 4e-7)


def test_sure_probabilities():
    """`F.binary_cross_entropy`: p = 0 or 1"""
    p, b = np.array([0.0, 0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])
    losses, gradient = there(F.binary_cross_entropy, p, b, reduction="none")
    np.testing.assert_array_equal(losses, [100.0, 0.0, 0.0, 100.0])
    np.testing.assert_allclose(gradient, [-1e12, 0.0, 0.0, 1e12], rtol=1e-7)
    value, grad = ck.binary_cross_entropy(p, b, log_min=-100, reduction="none", return_grad=True)
    np.testing.assert_array_equal(value, losses)
    np.testing.assert_array_equal(grad, [0.0, 1.0, -1.0, 0.0])


def test_soft_focal():
    """focal loss of targets between 0 and 1"""
    z = np.array([1.5])
    p = 1 / (1 + np.exp(-z))
    product = (0.5 * p + 0.5 * (1 - p)) ** 2 * -np.log(p * (1 - p)) / 2
    average = ((1 - p) ** 2 * -np.log(p) + p**2 * -np.log(1 - p)) / 2
    value = ck.sigmoid_focal_loss(z, [0.5], gamma=2.0, reduction="none")
    np.testing.assert_allclose(value, average, rtol=1e-14)
    assert abs(value - product) > 0.01


def test_negative_smoothing():
    """`label_smoothing` below 0"""
    assert there(F.cross_entropy, X, Y, label_smoothing=-0.1)[0] == near(ck.cross_entropy(X, Y))
    with pytest.raises(ValueError, match="label_smoothing"):
        ck.cross_entropy(X, Y, label_smoothing=-0.1)


def test_targets_above_1():
    """binary targets outside [0, 1]"""
    z, b = np.array([1.0]), np.array([2.0])
    loss, _ = there(F.binary_cross_entropy_with_logits, z, b)
    with pytest.raises(ValueError, match="targets"):
        ck.binary_cross_entropy_with_logits(z, b)
    assert ck.binary_cross_entropy_with_logits(z, b, check=False) == near(float(loss))


def test_half_precision():
    """float16, bfloat16"""
    x = np.zeros((1, 50000), np.float16)
    for kind, rounded in ((torch.float16, 10.8203125), (torch.bfloat16, 10.8125)):
        loss = F.cross_entropy(torch.zeros((1, 50000), dtype=kind), torch.tensor([0]))
        assert float(loss) == rounded
    assert ck.cross_entropy(x, [0]) == near(math.log(50000), 1e-6)
    assert ck.cross_entropy(x, [0], reduction="none").dtype == np.float32


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (torch.nn.BCELoss(), {"log_min": -100}),
        (torch.nn.BCEWithLogitsLoss(), {}),
        (torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0).double()), {"pos_weight": 3.0}),
        (torch.nn.CrossEntropyLoss(), {"ignore_index": -100}),
        (torch.nn.NLLLoss(reduction="sum"), {"ignore_index": -100, "reduction": "sum"}),
        (torch.nn.KLDivLoss(reduction="batchmean"), {}),
    ],
    ids=lambda value: type(value).__name__ if callable(value) else " ".join(value) or "plain",
)
def test_module(module, options):
    name = type(module).__name__
    z, b = X[:, 0], np.array([1.0, 0.0, 1.0, 1.0])
    x, target, function = {
        "BCELoss": (1 / (1 + np.exp(-z)), b, "binary_cross_entropy"),
        "BCEWithLogitsLoss": (z, b, "binary_cross_entropy_with_logits"),
        "CrossEntropyLoss": (X, Y, "cross_entropy"),
        "NLLLoss": (np.log(np.abs(X) + 0.1), Y, "nll_loss"),
        "KLDivLoss": (X, np.full((4, 3), 1 / 3), "kl_divergence"),
    }[name]
    first = torch.nn.LogSoftmax(dim=1) if name == "KLDivLoss" else torch.nn.Identity()
    loss, gradient = there(lambda x, t: module(first(x), t), x, target)
    value, grad = getattr(ck, function)(x, target, return_grad=True, **options)
    assert value == near(float(loss))
    np.testing.assert_allclose(grad, gradient, rtol=1e-14, atol=1e-15)


def test_activation_modules_agree():
    x = torch.tensor(X)
    log_softmax = torch.nn.LogSoftmax(dim=1)(x).numpy()
    np.testing.assert_allclose(ck.special.log_softmax(X, axis=1), log_softmax, rtol=RELATIVE)
    np.testing.assert_allclose(ck.special.expit(X), torch.nn.Sigmoid()(x).numpy(), rtol=RELATIVE)
