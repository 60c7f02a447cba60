"""The definition itself: against mpmath, against scikit-learn, and against its own differences."""

import mpmath
import numpy as np
import pytest

from cekernels import LossStats, reference

BINARY_ULP = 4
SOFTMAX_ULP = 4
DIFFERENCE_RELATIVE = 1e-7

BCE, BCE_PROBS, CE = (
    reference.binary_cross_entropy_with_logits,
    reference.binary_cross_entropy,
    reference.cross_entropy,
)

EXTREME = [0.0, -0.0, 5e-324, 1e-300, 1e-17, 1.0, 20.0, 37.0, 40.0, 700.0, 709.0, 1e4, 1e8, 1e300]


@pytest.fixture(autouse=True)
def many_digits():
    with mpmath.workdps(50):
        yield


def to_mp(array):
    return [mpmath.mpf(float(value)) for value in np.ravel(array)]


def exact(function, *arrays):
    """Evaluate elementwise in mpmath; round the results to float64."""
    shape = np.shape(arrays[0])
    return np.array([float(function(*v)) for v in zip(*map(to_mp, arrays), strict=True)]).reshape(
        shape
    )


def logits(rng, n=200):
    return np.concatenate(
        [rng.normal(0, 3, n), rng.uniform(-700, 700, n), EXTREME, np.negative(EXTREME)]
    )


def mp_softplus(x):
    return mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x))


def mp_expit(x):
    return 1 / (1 + mpmath.exp(-x)) if x > 0 else mpmath.exp(x) / (1 + mpmath.exp(x))


# Against mpmath


def test_special_functions(rng, assert_ulp):
    x = logits(rng)
    assert_ulp(reference.expit(x), exact(mp_expit, x), BINARY_ULP)
    assert_ulp(reference.softplus(x), exact(mp_softplus, x), BINARY_ULP)
    assert_ulp(reference.log_expit(x), exact(lambda v: -mp_softplus(-v), x), BINARY_ULP)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_binary_labels(rng, assert_ulp, label):
    x = logits(rng)
    sign = 1 - 2 * int(label)
    loss, grad, hess = BCE(
        x, np.full(x.shape, label), reduction="none", return_grad=True, return_hess=True
    )
    assert_ulp(loss, exact(lambda v: mp_softplus(sign * v), x), BINARY_ULP)
    assert_ulp(grad, exact(lambda v: sign * mp_expit(sign * v), x), BINARY_ULP)
    assert_ulp(hess, exact(lambda v: mp_expit(v) * mp_expit(-v), x), BINARY_ULP)


def test_binary_options(rng, assert_ulp):
    x = logits(rng)
    y, weight, pos_weight = rng.uniform(size=(3, x.size))
    options = {"sample_weight": weight, "pos_weight": pos_weight, "label_smoothing": 0.25}

    def coefficients(t, w, q):
        smooth = t * 3 / 4 + mpmath.mpf(1) / 8
        return w * q * smooth, w * (1 - smooth)

    def mp_loss(v, *rest):
        a, b = coefficients(*rest)
        return a * mp_softplus(-v) + b * mp_softplus(v)

    def mp_grad(v, *rest):
        a, b = coefficients(*rest)
        return b * mp_expit(v) - a * mp_expit(-v)

    def largest_term(v, *rest):
        a, b = coefficients(*rest)
        return max(b * mp_expit(v), a * mp_expit(-v))

    loss, grad = BCE(x, y, reduction="none", return_grad=True, **options)
    arrays = (x, y, weight, pos_weight)
    assert_ulp(loss, exact(mp_loss, *arrays), BINARY_ULP)
    assert_ulp(grad, exact(mp_grad, *arrays), BINARY_ULP, exact(largest_term, *arrays))


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_probabilities(rng, assert_ulp, label):
    p = np.concatenate(
        [
            rng.uniform(size=200),
            10.0 ** rng.uniform(-300, 0, 100),
            1 - 10.0 ** rng.uniform(-16, 0, 100),
        ]
    )
    loss, grad, hess = BCE_PROBS(
        p, np.full(p.shape, label), reduction="none", return_grad=True, return_hess=True
    )
    if label:
        want = (lambda v: -mpmath.log(v), lambda v: -1 / v, lambda v: 1 / v**2)
    else:
        want = (lambda v: -mpmath.log1p(-v), lambda v: 1 / (1 - v), lambda v: 1 / (1 - v) ** 2)
    for got, function in zip((loss, grad, hess), want, strict=True):
        assert_ulp(got, exact(function, p), BINARY_ULP)


def mp_rows(x):
    """Return p, 1 - p and -log(p) of each row as nested lists."""
    p, rest, nll = [], [], []
    for row in x:
        row = to_mp(row)
        # The sum over the others, never a difference, so that a digit more than enough is kept.
        others = [
            mpmath.fsum(mpmath.exp(v - u) for j, v in enumerate(row) if j != i)
            for i, u in enumerate(row)
        ]
        p.append([float(1 / (1 + s)) for s in others])
        rest.append([float(s / (1 + s)) for s in others])
        nll.append([float(mpmath.log1p(s)) for s in others])
    return np.array(p), np.array(rest), np.array(nll)


def rows(rng, n_classes):
    """Logits of ordinary and of extreme size, with a common offset, and with ties."""
    return np.concatenate(
        [
            rng.normal(0, 3, (8, n_classes)),
            rng.uniform(-350, 350, (8, n_classes)),
            rng.normal(0, 3, (4, n_classes)) + 1e8,
            rng.integers(0, 2, (4, n_classes)) * 40,
            np.zeros((1, n_classes)),
        ]
    )


@pytest.mark.parametrize("n_classes", [1, 2, 3, 10])
def test_softmax_and_labels(rng, assert_ulp, n_classes):
    x = rows(rng, n_classes)
    y = rng.integers(0, n_classes, len(x))
    at_label = np.arange(len(x)), y
    p, rest, nll = mp_rows(x)
    loss, grad, hess, proba, lse = CE(
        x,
        y,
        reduction="none",
        return_grad=True,
        return_hess=True,
        return_proba=True,
        return_lse=True,
    )
    assert_ulp(loss, nll[at_label], SOFTMAX_ULP)
    assert_ulp(proba, p, SOFTMAX_ULP)
    assert_ulp(hess, p * rest, SOFTMAX_ULP)
    want = p.copy()
    want[at_label] = -rest[at_label]
    assert_ulp(grad, want, SOFTMAX_ULP)
    assert_ulp(reference.log_softmax(x, axis=1), -nll, SOFTMAX_ULP)
    want = [float(mpmath.log(mpmath.fsum(map(mpmath.exp, to_mp(row))))) for row in x]
    assert_ulp(lse, want, SOFTMAX_ULP, np.abs(x).max(axis=1))


def test_softmax_options(rng, assert_ulp):
    x = rows(rng, 5)
    target = rng.dirichlet(np.ones(5), len(x))
    class_weight, weight = rng.uniform(0.5, 2, 5), rng.uniform(0.5, 2, len(x))
    p, rest, nll = mp_rows(x)
    q = weight[:, np.newaxis] * class_weight * (target * 0.75 + 0.05)
    total = q.sum(axis=1, keepdims=True)
    loss, grad, hess = CE(
        x,
        target,
        class_weight=class_weight,
        sample_weight=weight,
        label_smoothing=0.25,
        reduction="none",
        return_grad=True,
        return_hess=True,
    )
    assert_ulp(loss, np.sum(q * nll, axis=1), 2 * SOFTMAX_ULP)
    assert_ulp(grad, total * p - q, 2 * SOFTMAX_ULP, np.maximum(total * p, q))
    assert_ulp(hess, total * p * rest, 2 * SOFTMAX_ULP)


def test_logsumexp_with_factors(rng):
    a, b = rng.normal(0, 3, (20, 6)), rng.normal(0, 1, (20, 6))
    with np.errstate(invalid="ignore"):
        want = np.log(np.sum(b * np.exp(a), axis=1))
    got = reference.logsumexp(a, axis=1, b=b)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_array_equal(reference.logsumexp(a, axis=(0, 1)), reference.logsumexp(a))


# Against scikit-learn


@pytest.mark.parametrize("weighted", [False, True])
def test_sklearn_log_loss(rng, weighted):
    log_loss = pytest.importorskip("sklearn.metrics").log_loss
    weight = rng.uniform(size=300) if weighted else None
    p, y = rng.uniform(0.01, 0.99, 300), rng.integers(0, 2, 300)
    assert BCE_PROBS(p, y, sample_weight=weight) == pytest.approx(
        log_loss(y, p, sample_weight=weight), rel=1e-14
    )
    assert BCE(np.log(p / (1 - p)), y, sample_weight=weight) == pytest.approx(
        log_loss(y, p, sample_weight=weight), rel=1e-13
    )
    x, y = rng.normal(0, 2, (300, 7)), rng.integers(0, 7, 300)
    assert CE(x, y, sample_weight=weight) == pytest.approx(
        log_loss(y, reference.softmax(x, axis=1), sample_weight=weight), rel=1e-14
    )


# The gradient is that of the value returned, the Hessian that of the gradient

BINARY_OPTIONS = [
    {},
    {"label_smoothing": 0.2},
    {"sample_weight": np.linspace(0, 2, 12).reshape(4, 3)},
    {"sample_weight": [[0.5], [1], [2], [0]], "denominator": "count"},
    {"ignore_value": 0.25, "denominator": 7.0},
    {"reduction": "sum"},
    {"reduction": "stats", "label_smoothing": 1.0},
]
CLASS_OPTIONS = [
    {},
    {"label_smoothing": 0.2},
    {"class_weight": [1, 2, 0]},
    {"class_weight": [1, 2, 0], "label_smoothing": 0.2, "sample_weight": [1, 0, 2, 3]},
    {"sample_weight": [1, 0, 2, 3], "denominator": "count"},
    {"reduction": "sum", "denominator": 7.0},
]


def check_derivatives(function, x, **options):
    """Compare with central differences in one entry at a time."""

    def total(x):
        value = function(x, **options)
        return value.total if isinstance(value, LossStats) else value

    _, grad, hess = function(x, return_grad=True, return_hess=True, **options)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 2.0**-17
        slope = (total(x + step) - total(x - step)) / 2.0**-16
        assert grad[index] == pytest.approx(slope, rel=DIFFERENCE_RELATIVE, abs=1e-9)
        grads = [function(x + s, return_grad=True, **options)[1][index] for s in (step, -step)]
        curvature = (grads[0] - grads[1]) / 2.0**-16
        assert hess[index] == pytest.approx(curvature, rel=DIFFERENCE_RELATIVE, abs=1e-9)


@pytest.mark.parametrize("options", [*BINARY_OPTIONS, {"pos_weight": [1, 2, 3]}])
def test_binary_derivatives(rng, options):
    y = rng.choice([0, 0.25, 1], (4, 3))
    check_derivatives(lambda x, **o: BCE(x, y, **o), rng.normal(0, 2, (4, 3)), **options)


@pytest.mark.parametrize("options", [*BINARY_OPTIONS, {"eps": 0.3}, {"log_min": -1.0}])
def test_probability_derivatives(rng, options):
    y = rng.choice([0, 0.25, 1], (4, 3))
    check_derivatives(lambda p, **o: BCE_PROBS(p, y, **o), rng.uniform(0.1, 0.9, (4, 3)), **options)


@pytest.mark.parametrize("options", [*CLASS_OPTIONS, {"ignore_index": 1}])
def test_label_derivatives(rng, options):
    y = np.array([0, 1, 2, 1])
    check_derivatives(lambda x, **o: CE(x, y, **o), rng.normal(0, 2, (4, 3)), **options)


@pytest.mark.parametrize("options", CLASS_OPTIONS)
def test_target_derivatives(rng, options):
    target = rng.dirichlet(np.ones(3), 4)
    check_derivatives(lambda x, **o: CE(x, target, **o), rng.normal(0, 2, (4, 3)), **options)


# Rules


def test_one_hot_targets_are_labels(rng):
    x, y = rng.normal(0, 2, (6, 4)), rng.integers(0, 4, 6)
    options = {
        "class_weight": [1, 2, 3, 4],
        "label_smoothing": 0.1,
        "return_grad": True,
        "return_hess": True,
    }
    for got, want in zip(CE(x, np.eye(4)[y], **options), CE(x, y, **options), strict=True):
        np.testing.assert_array_equal(got, want)


def test_mean_is_that_of_the_stats(rng):
    x, y, weight = rng.normal(size=9), rng.integers(0, 2, 9), rng.uniform(size=9)
    stats = BCE(x, y, sample_weight=weight, reduction="stats")
    assert stats.mean == BCE(x, y, sample_weight=weight)
    assert stats.mean == pytest.approx(
        np.average(BCE(x, y, reduction="none"), weights=weight), rel=1e-15
    )
