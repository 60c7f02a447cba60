"""The definition itself: against mpmath, against scikit-learn, and against its own differences."""

import mpmath
import numpy as np
import pytest

from cekernels import LossStats, reference

BINARY_ULP = 4
SOFTMAX_ULP = 4
DIFFERENCE_RELATIVE = 1e-7
# Of differences that mpmath takes with many digits, and of terms that are of the order of 1.
EXACT_DIFFERENCE = {"rtol": 1e-13, "atol": 1e-14}
LOG_2 = 0.6931471805599453

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


# The options of cross_entropy, against derivatives that mpmath takes of their definition

WHERE = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 0]], bool)
SCORE_OPTIONS = [
    {"logit_scale": 0.3},
    {"logit_scale": -1.5, "label_smoothing": 0.2},
    {"softcap": 2.0},
    {"softcap": 5.0, "logit_scale": 1.75, "z_loss": 0.25},
    {"z_loss": 0.5, "class_weight": [1, 2, 0, 3], "label_smoothing": 0.2},
    {"where": WHERE},
    {"where": WHERE, "label_smoothing": 0.3, "z_loss": 0.1, "sample_weight": [2, 0, 0.5]},
    {"where": WHERE, "label_smoothing": 0.3, "class_weight": {1: 3.0}, "softcap": 3.0},
    {"where": WHERE[0], "label_smoothing": 1.0, "logit_scale": 0.5, "class_weight": {0: 0.0}},
]


EVERY_OUTPUT = {f"return_{name}": True for name in ("grad", "hess", "proba", "lse", "scale_grad")}


def mp_score(x, scale, softcap):
    return scale * x if softcap is None else softcap * mpmath.tanh(scale * x / softcap)


def mp_cross_entropy(row, scale, q, omega, allowed, z_loss, softcap):
    """Return the loss of one row by its definition."""
    v = [mp_score(x, scale, softcap) for x in row]
    lse = mpmath.log(mpmath.fsum(mpmath.exp(u) for u, a in zip(v, allowed, strict=True) if a))
    terms = [c * (lse - u) for u, c in zip(v, q, strict=True) if c]
    return mpmath.fsum(terms) + omega * z_loss * lse**2


def mp_slopes(function, x):
    """Return the first and the second derivative of a function of one number."""
    h = mpmath.mpf("1e-14")
    low, middle, high = function(x - h), function(x), function(x + h)
    return float((high - low) / (2 * h)), float((high - 2 * middle + low) / h**2)


def coefficients_by_hand(target, where, weight, class_weight, smoothing):
    """Return q and omega of one row, in a loop over its classes."""
    q, omega = [], 0.0
    for c, t in enumerate(target):
        share = smoothing / sum(where) if where[c] else 0.0
        q.append(weight * class_weight[c] * (t * (1 - smoothing) + share))
        omega += weight * t * class_weight[c]
    return q, omega


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("options", SCORE_OPTIONS)
def test_scores(rng, options, soft):
    x, y = rng.normal(0, 2, (3, 4)), np.array([0, 2, 1])
    where = np.broadcast_to(options.get("where", True), x.shape)
    target = np.eye(4)[y]
    if soft:
        target = rng.dirichlet(np.ones(4), 3) * where
    class_weight = options.get("class_weight", {})
    if isinstance(class_weight, dict):
        class_weight = [class_weight.get(c, 1.0) for c in range(4)]
    weight = options.get("sample_weight", np.ones(3))
    smoothing, scale = options.get("label_smoothing", 0.0), options.get("logit_scale", 1.0)
    loss, grad, hess, proba, lse, scale_grad = CE(
        x, target if soft else y, reduction="none", **EVERY_OUTPUT, **options
    )
    assert scale_grad.shape == (2, 3)
    for i, row in enumerate(x):
        row = to_mp(row)
        q, omega = coefficients_by_hand(target[i], where[i], weight[i], class_weight, smoothing)
        rest = q, omega, where[i], options.get("z_loss", 0.0), options.get("softcap")
        want = mp_cross_entropy(row, scale, *rest)
        np.testing.assert_allclose(loss[i], float(want), **EXACT_DIFFERENCE)

        def by_scale(a, row=row, rest=rest):
            return mp_cross_entropy(row, a, *rest)

        want = mp_slopes(by_scale, mpmath.mpf(scale))
        np.testing.assert_allclose(scale_grad[:, i], want, **EXACT_DIFFERENCE)
        for c in range(4):

            def by_logit(u, c=c, row=row, rest=rest):
                return mp_cross_entropy([*row[:c], u, *row[c + 1 :]], scale, *rest)

            got = grad[i, c], hess[i, c]
            np.testing.assert_allclose(got, mp_slopes(by_logit, row[c]), **EXACT_DIFFERENCE)
        v = [
            mpmath.exp(mp_score(u, scale, rest[-1])) * int(a)
            for u, a in zip(row, where[i], strict=True)
        ]
        np.testing.assert_allclose(lse[i], float(mpmath.log(sum(v))), **EXACT_DIFFERENCE)
        np.testing.assert_allclose(proba[i], [float(u / sum(v)) for u in v], **EXACT_DIFFERENCE)


@pytest.mark.parametrize("options", CLASS_OPTIONS)
def test_scale_derivatives_are_those_of_the_value(rng, options):
    x, y = rng.normal(0, 2, (4, 3)), np.array([0, 1, 2, 1])
    options = options | {"softcap": 4.0, "z_loss": 0.1}

    def at(scale):
        value, scale_grad = CE(x, y, logit_scale=scale, return_scale_grad=True, **options)
        return value, *scale_grad

    high, low = at(1.5 + 2.0**-17), at(1.5 - 2.0**-17)
    got = CE(x, y, logit_scale=1.5, return_scale_grad=True, **options)[1]
    want = [(high[i] - low[i]) * 2.0**16 for i in (0, 1)]
    assert got.shape == (2,)
    assert got == pytest.approx(want, rel=DIFFERENCE_RELATIVE, abs=1e-9)


def test_scores_by_hand():
    # Two equal scores: lse = log 2, p = 1/2.
    assert CE([[0.0, 0.0]], [0], z_loss=2.0) == pytest.approx(LOG_2 + 2 * LOG_2**2, rel=1e-15)
    weights = {"class_weight": [3, 5], "sample_weight": [0.5], "reduction": "sum"}
    loss, grad = CE([[0.0, 0.0]], [0], z_loss=2.0, return_grad=True, **weights)
    assert loss == pytest.approx(1.5 * (LOG_2 + 2 * LOG_2**2), rel=1e-15)
    slope = 1.5 * 2 * 2.0 * LOG_2 * 0.5
    assert grad[0] == pytest.approx([slope - 0.75, slope + 0.75], rel=1e-15)
    # 2 tanh(x / 2) = 1 for x = log 3; its slope there is 3/4.
    loss, grad = CE([[1.0986122886681098, 0.0]], [0], softcap=2.0, return_grad=True)
    assert loss == pytest.approx(0.3132616875182229, rel=1e-15)
    assert grad[0] == pytest.approx([-0.2689414213699951 * 0.75, 0.2689414213699951], rel=1e-15)
    # log(1 + e^a), of slope expit(a).
    loss, scale_grad = CE([[1.0, 0.0]], [1], return_scale_grad=True)
    assert loss == pytest.approx(1.3132616875182228, rel=1e-15)
    assert scale_grad == pytest.approx([0.7310585786300049, 0.19661193324148185], rel=1e-15)
    assert CE([[1.0, 0.0]], [1], logit_scale=0.0) == pytest.approx(LOG_2, rel=1e-15)


def test_where_by_hand():
    options = {"where": [True, True, False], "return_grad": True, "reduction": "none"}
    # q = [3/4, 1/4, 0]: the masked class has no share of the smoothing, whatever its logit is.
    for masked in (7.0, np.inf, -np.inf, np.nan):
        loss, grad, lse = CE(
            [[0.0, 0.0, masked]], [0], label_smoothing=0.5, return_lse=True, **options
        )
        assert loss == pytest.approx([LOG_2], rel=1e-15)
        assert lse == pytest.approx([LOG_2], rel=1e-15)
        np.testing.assert_array_equal(grad, [[-0.25, 0.25, 0.0]])
    # A masked label: the loss is inf, what is masked has no derivative.
    loss, grad, scale_grad = CE([[0.0, 2.0, 1.0]], [2], return_scale_grad=True, **options)
    assert loss == [np.inf]
    assert grad[0] == pytest.approx([0.11920292202211755, 0.8807970779778823, 0.0], rel=1e-15)
    assert scale_grad[0] == pytest.approx([2 * 0.8807970779778823], rel=1e-15)


def test_no_class_is_allowed():
    options = {"where": [[False, False], [True, True]], "label_smoothing": 0.5}
    wanted = {"return_grad": True, "return_hess": True, "return_scale_grad": True}
    loss, grad, hess, scale_grad = CE(
        np.zeros((2, 2)), [0, 0], reduction="none", **options, **wanted
    )
    for got in (loss, grad, hess, scale_grad.T):
        assert np.isnan(got[0]).all()
        assert np.isfinite(got[1]).all()
    for ignored in ({"sample_weight": [0, 1]}, {"ignore_index": 0}):
        labels = [0, 1]
        results = CE(np.zeros((2, 2)), labels, **ignored, **options, **wanted)
        assert results[0] == pytest.approx(LOG_2, rel=1e-15)
        assert not results[1][0].any()
        assert np.isfinite(results[3]).all()


def test_mask_is_minus_infinity(rng):
    x, y = rng.normal(0, 2, (3, 4)), [0, 2, 1]
    masked = np.where(WHERE, x, -np.inf)
    options = {"logit_scale": 0.5, "z_loss": 0.1, **EVERY_OUTPUT}
    for got, want in zip(CE(x, y, where=WHERE, **options), CE(masked, y, **options), strict=True):
        np.testing.assert_array_equal(got, want)


def test_softcap_bounds_infinity():
    x = [[np.inf, 0.0], [-np.inf, 0.0], [1e300, 0.0]]
    loss, grad, hess, scale_grad = CE(
        x,
        [1, 0, 1],
        softcap=1.0,
        reduction="none",
        return_grad=True,
        return_hess=True,
        return_scale_grad=True,
    )
    assert loss == pytest.approx([1.3132616875182228] * 3, rel=1e-15)
    np.testing.assert_array_equal(grad[:, 0], 0.0)
    np.testing.assert_array_equal(hess[:, 0], 0.0)
    np.testing.assert_array_equal(scale_grad, 0.0)


def test_one_infinite_logit():
    wanted = {"return_grad": True, "return_hess": True, "return_scale_grad": True}
    x = [[np.inf, 0.0, -np.inf], [np.inf, 3.0, 0.0]]
    loss, grad, hess, scale_grad = CE(x, [0, 1], reduction="none", **wanted)
    np.testing.assert_array_equal(loss, [0.0, np.inf])
    np.testing.assert_array_equal(grad, [[0, 0, 0], [1, -1, 0]])
    np.testing.assert_array_equal(hess, np.zeros((2, 3)))
    np.testing.assert_array_equal(scale_grad, [[0, np.inf], [0, 0]])
    loss, grad, hess, scale_grad = CE(x[:1], [0], z_loss=0.25, reduction="none", **wanted)
    np.testing.assert_array_equal(loss, [np.inf])
    np.testing.assert_array_equal(grad, [[np.inf, 0, 0]])
    np.testing.assert_array_equal(hess, [[0.5, 0, 0]])
    np.testing.assert_array_equal(scale_grad, [[np.inf], [np.inf]])


def test_what_does_not_count_is_0():
    x = np.array([[np.nan, 1.0, 2.0], [np.inf, np.inf, 0.0], [-np.inf, -np.inf, -np.inf]])
    wanted = {"return_grad": True, "return_hess": True, "return_scale_grad": True}
    for options in ({"ignore_index": 1}, {"sample_weight": 0.0}, {"class_weight": [1, 0, 1]}):
        for scores in ({}, {"z_loss": 0.5}, {"softcap": 2.0, "where": [True, False, True]}):
            results = CE(x, [1, 1, 1], reduction="none", **options, **scores, **wanted)
            for got in results:
                np.testing.assert_array_equal(got, np.zeros(got.shape))
            with pytest.warns(RuntimeWarning, match="no weight"):
                value, *derivatives = CE(x, [1, 1, 1], **options, **scores, **wanted)
            assert np.isnan(value)
            assert derivatives[2].shape == (2,)
            for got in derivatives:
                np.testing.assert_array_equal(got, np.zeros(got.shape))


# Rules


@pytest.mark.parametrize("axis", [0, 1, -2, 3])
def test_axis(rng, axis):
    x = rng.normal(0, 2, (2, 4, 3, 5))
    n_classes = x.shape[axis]
    last = np.moveaxis(x, axis, -1)
    y = rng.integers(0, n_classes, last.shape[:-1])
    where = rng.random(x.shape) < 0.8
    np.put_along_axis(where, np.expand_dims(y, axis), True, axis)
    target = np.where(where, rng.uniform(size=x.shape), 0.0)
    weight = rng.uniform(size=last.shape[:-1])
    options = {"sample_weight": weight, "label_smoothing": 0.1, "reduction": "none"}
    for targets in (y, target):
        moved = targets if targets is y else np.moveaxis(target, axis, -1)
        got = CE(x, targets, axis=axis, where=where, **options, **EVERY_OUTPUT)
        want = CE(last, moved, where=np.moveaxis(where, axis, -1), **options, **EVERY_OUTPUT)
        for i, (one, other) in enumerate(zip(got, want, strict=True)):
            has_classes = i in (1, 2, 3)
            one = np.moveaxis(one, axis, -1) if has_classes else one
            np.testing.assert_array_equal(one, other)


def test_class_weights(rng):
    x = rng.normal(0, 2, (6, 3))
    y = np.array([0, 0, 0, 1, 7, 7])
    # 4 samples are kept, 2 classes occur: 4 / (2 * 3) and 4 / (2 * 1).
    options = {"ignore_index": 7, "label_smoothing": 0.2, "reduction": "stats"}
    want = CE(x, y, class_weight=[2 / 3, 2.0, 1.0], **options)
    assert CE(x, y, class_weight="balanced", **options) == want
    assert want.weight == pytest.approx(4.0, rel=1e-15)
    assert CE(x, y, class_weight={1: 2.0, 0: 2 / 3}, **options) == want
    assert CE(x, y, class_weight={}, **options) == CE(x, y, **options)
    with pytest.warns(RuntimeWarning, match="no weight"):
        assert np.isnan(CE(x[4:], y[4:], class_weight="balanced", ignore_index=7))


def test_complement_by_hand():
    # The smaller of the two has the digits, on either side; -log(1e-20) and -log(1 - 1e-20).
    large, small = 46.051701859880914, 1e-20
    p, q = np.array([1.0, 1e-20]), np.array([1e-20, 1.0])
    options = {"reduction": "none", "return_grad": True, "return_hess": True}
    loss, grad, hess = BCE_PROBS(p, [0, 0], complement=q, **options)
    assert loss == pytest.approx([large, small], rel=1e-15, abs=0.0)
    assert grad == pytest.approx([1e20, 1.0], rel=1e-15, abs=0.0)
    assert hess == pytest.approx([1e40, 1.0], rel=1e-15, abs=0.0)
    loss, grad, hess = BCE_PROBS(p, [1, 1], complement=q, **options)
    assert loss == pytest.approx([small, large], rel=1e-15, abs=0.0)
    assert grad == pytest.approx([-1.0, -1e20], rel=1e-15, abs=0.0)
    loss, grad, hess = BCE_PROBS(p, [0, 1], complement=q, eps=1e-7, **options)
    assert loss == pytest.approx([16.11809565095832] * 2, rel=1e-15, abs=0.0)
    assert not grad.any()
    np.testing.assert_array_equal(BCE_PROBS(p, [0, 1], complement=q, log_min=-9, **options)[0], 9)


def test_complement_of_exact_probabilities(rng):
    p = rng.integers(0, 1025, 300) / 1024
    y = rng.choice([0, 0.25, 1], 300)
    options = {"reduction": "none", "return_grad": True, "return_hess": True}
    got = BCE_PROBS(p, y, complement=1 - p, label_smoothing=0.25, **options)
    want = BCE_PROBS(p, y, label_smoothing=0.25, **options)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)


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
