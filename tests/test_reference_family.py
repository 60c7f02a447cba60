"""The definitions of the losses beside cross-entropy, and of products with the Hessians."""

import mpmath
import numpy as np
import pytest

from cekernels import LossStats, reference

# Of derivatives that mpmath takes with many digits, and of terms that are of the order of 1.
EXACT_DIFFERENCE = {"rtol": 1e-13, "atol": 1e-14}
DIFFERENCE = {"rtol": 1e-7, "atol": 1e-9}
LOG_2 = 0.6931471805599453
INF = np.inf

BCE, CE, NLL = (
    reference.binary_cross_entropy_with_logits,
    reference.cross_entropy,
    reference.nll_loss,
)
SIGMOID_FOCAL, SOFTMAX_FOCAL, POLY1, GCE = (
    reference.sigmoid_focal_loss,
    reference.softmax_focal_loss,
    reference.poly1_loss,
    reference.generalized_cross_entropy,
)
KL, JS = reference.kl_divergence, reference.js_divergence
HVP, HESSIAN, BINARY_HVP = (
    reference.cross_entropy_hvp,
    reference.cross_entropy_hessian,
    reference.binary_cross_entropy_hvp,
)
LABEL_LOSSES = [
    (SOFTMAX_FOCAL, {"gamma": 2.0}),
    (SOFTMAX_FOCAL, {"gamma": 0.5}),
    (SOFTMAX_FOCAL, {"gamma": 1.0}),
    (POLY1, {"epsilon": -0.5}),
    (POLY1, {"epsilon": 2.0}),
    (GCE, {"q": 0.7}),
    (GCE, {"q": 1.0}),
]
DERIVATIVES = {"return_grad": True, "return_hess": True}
CLASS_OPTIONS = [
    {},
    {"label_smoothing": 0.2, "reduction": "none"},
    {"class_weight": [1, 2, 0], "sample_weight": [1, 0, 2, 3], "label_smoothing": 0.2},
    {"class_weight": {0: 5.0}, "denominator": "count"},
    {"sample_weight": 0.5, "denominator": 7.0},
    {"class_weight": [1, 2, 3], "reduction": "sum"},
    {"reduction": "stats"},
]


@pytest.fixture(autouse=True)
def many_digits():
    with mpmath.workdps(120):
        yield


def to_mp(row):
    return [mpmath.mpf(float(value)) for value in row]


def mp_slopes(function, x):
    """Return the first and the second derivative of a function of one number."""
    h = mpmath.mpf("1e-30")
    low, middle, high = function(x - h), function(x), function(x + h)
    return float((high - low) / (2 * h)), float((high - 2 * middle + low) / h**2)


def mp_softmax(row):
    total = mpmath.fsum(map(mpmath.exp, row))
    return [mpmath.exp(x) / total for x in row]


def mp_row_slopes(function, row):
    """Return the gradient and the diagonal of the Hessian of a function of a row."""
    slopes = [
        mp_slopes(lambda u, c=c: function([*row[:c], u, *row[c + 1 :]]), row[c])
        for c in range(len(row))
    ]
    return [first for first, _ in slopes], [second for _, second in slopes]


def assert_same(got, want):
    """Assert that results are the same numbers."""
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


# nll_loss


@pytest.mark.parametrize("options", CLASS_OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_nll_of_log_softmax_is_cross_entropy(rng, options, soft):
    x, y = rng.normal(0, 2, (4, 3)), np.array([0, 1, 2, 1])
    targets = rng.dirichlet(np.ones(3), 4) if soft else y
    got = NLL(reference.log_softmax(x, axis=1), targets, **options)
    np.testing.assert_allclose(got, CE(x, targets, **options), rtol=1e-14)


def test_nll_by_hand():
    log_probs = [[-1.0, -2.0], [-3.0, -INF], [np.nan, -4.0]]
    options = {"reduction": "none", "return_grad": True}
    loss, grad = NLL(log_probs, [1, 0, 1], class_weight=[1, 5], **options)
    np.testing.assert_array_equal(loss, [10, 3, 20])
    np.testing.assert_array_equal(grad, [[0, -5], [-1, 0], [0, -5]])
    # Weights 5, 1, 5 in the mean.
    loss, grad = NLL(log_probs, [1, 0, 1], class_weight=[1, 5], return_grad=True)
    assert loss == 3.0
    np.testing.assert_array_equal(grad, np.array([[0, -5], [-1, 0], [0, -5]]) / 11)
    loss, grad = NLL(log_probs, [1, 1, 0], sample_weight=[1, 1, 0], **options)
    np.testing.assert_array_equal(loss, [2, INF, 0])
    np.testing.assert_array_equal(grad, [[0, -1], [0, -1], [0, 0]])
    target = [[0.25, 0.5], [1.0, 0.0], [0.0, 0.0]]
    loss, grad = NLL(log_probs, target, label_smoothing=0.0, **options)
    np.testing.assert_array_equal(loss, [1.25, 3, 0])
    np.testing.assert_array_equal(grad, np.negative(target))
    stats = NLL(log_probs, target, reduction="stats")
    assert stats == LossStats(4.25, 1.75, 3)
    assert NLL([-1.0, -2.0], 1) == 2.0


# sigmoid_focal_loss


def mp_focal(x, gamma):
    """Return f(x) = expit(-x)^gamma * softplus(-x)."""
    return (1 / (1 + mpmath.exp(x))) ** gamma * mpmath.log1p(mpmath.exp(-x))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("label", [0, 1])
def test_sigmoid_focal_labels(rng, gamma, label):
    x = np.concatenate([rng.normal(0, 3, 30), [0.0, -20.0, 20.0, -40.0, 40.0]])
    got = SIGMOID_FOCAL(x, np.full(x.shape, label), gamma=gamma, reduction="none", **DERIVATIVES)
    sign = 2 * label - 1
    for i, u in enumerate(to_mp(x)):
        first, second = mp_slopes(lambda v: mp_focal(sign * v, gamma), u)
        np.testing.assert_allclose(got[0][i], float(mp_focal(sign * u, gamma)), rtol=1e-14)
        np.testing.assert_allclose(got[1][i], first, rtol=1e-13)
        # Where it changes its sign, the second derivative is a difference of terms of order 1.
        np.testing.assert_allclose(got[2][i], second, rtol=1e-13, atol=1e-14 * abs(first))


def test_sigmoid_focal_options(rng):
    x, y = rng.normal(0, 3, 20), rng.uniform(size=20)
    weight = rng.uniform(size=20)
    got = SIGMOID_FOCAL(
        x,
        y,
        gamma=1.5,
        alpha=0.25,
        sample_weight=weight,
        pos_weight=3.0,
        label_smoothing=0.2,
        reduction="none",
        return_proba=True,
        **DERIVATIVES,
    )
    smooth = y * 0.8 + 0.1
    for i, u in enumerate(to_mp(x)):
        a, b = weight[i] * 3.0 * 0.25 * smooth[i], weight[i] * 0.75 * (1 - smooth[i])

        def loss(v, a=a, b=b):
            return a * mp_focal(v, 1.5) + b * mp_focal(-v, 1.5)

        want = float(loss(u)), *mp_slopes(loss, u), float(1 / (1 + mpmath.exp(-u)))
        np.testing.assert_allclose([array[i] for array in got], want, **EXACT_DIFFERENCE)


def test_sigmoid_focal_by_hand():
    # Of Lin et al.: -alpha (1 - p)^2 log(p) for p = 3/4 and p = 1/4.
    x, y = np.log([3.0, 1 / 3]), [1, 1]
    loss = SIGMOID_FOCAL(x, y, alpha=0.25, reduction="none")
    want = [0.25 * 0.0625 * 0.28768207245178085, 0.25 * 0.5625 * 1.3862943611198906]
    assert loss == pytest.approx(want, rel=1e-14)
    # alpha is no part of the mean's denominator.
    assert SIGMOID_FOCAL(x, y, alpha=0.25) == pytest.approx(sum(want) / 2, rel=1e-14)
    loss = SIGMOID_FOCAL(-x, [0, 0], alpha=0.25, reduction="none")
    assert loss == pytest.approx(np.multiply(3, want), rel=1e-14)


def test_sigmoid_focal_without_focus_is_cross_entropy(rng):
    x, y = rng.normal(0, 5, 50), rng.uniform(size=50)
    options = {"label_smoothing": 0.1, "pos_weight": 2.0, **DERIVATIVES, "return_proba": True}
    got, want = SIGMOID_FOCAL(x, y, gamma=0.0, **options), BCE(x, y, **options)
    assert got[0] == want[0]
    assert_same((got[1], got[3]), (want[1], want[3]))
    np.testing.assert_allclose(got[2], want[2], rtol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_sigmoid_focal_infinite(gamma):
    x, y = [INF, -INF, INF, -INF, INF, -INF, np.nan], [1, 0, 0, 1, 0.5, 0.5, 1]
    got = SIGMOID_FOCAL(x, y, gamma=gamma, reduction="none", **DERIVATIVES)
    np.testing.assert_array_equal(got[0], [0, 0, INF, INF, INF, INF, np.nan])
    np.testing.assert_array_equal(got[1], [0, 0, 1, -1, 0.5, -0.5, np.nan])
    np.testing.assert_array_equal(got[2], [0, 0, 0, 0, 0, 0, np.nan])


# Losses of a label's cross-entropy


def mp_phi(function, options, nll):
    if function is SOFTMAX_FOCAL:
        return (-mpmath.expm1(-nll)) ** options["gamma"] * nll
    if function is POLY1:
        return nll - options["epsilon"] * mpmath.expm1(-nll)
    return -mpmath.expm1(-options["q"] * nll) / options["q"]


@pytest.mark.parametrize(("function", "parameter"), LABEL_LOSSES)
def test_label_losses(rng, function, parameter):
    x, y = rng.normal(0, 2, (5, 4)), np.array([0, 1, 2, 3, 1])
    x[3, 3] += 30
    weight, class_weight = rng.uniform(size=5), rng.uniform(size=4)
    got = function(
        x,
        y,
        **parameter,
        sample_weight=weight,
        class_weight=class_weight,
        reduction="none",
        return_proba=True,
        return_lse=True,
        **DERIVATIVES,
    )
    for i, row in enumerate(x):
        omega = weight[i] * class_weight[y[i]]

        def loss(v, label=y[i], omega=omega):
            return omega * mp_phi(function, parameter, -mpmath.log(mp_softmax(v)[label]))

        row = to_mp(row)
        grad, hess = mp_row_slopes(loss, row)
        np.testing.assert_allclose(got[0][i], float(loss(row)), rtol=1e-13)
        np.testing.assert_allclose(got[1][i], grad, rtol=1e-12)
        np.testing.assert_allclose(got[2][i], hess, rtol=1e-12, atol=1e-14 * np.abs(grad).max())
    assert_same(got[3:], CE(x, y, return_proba=True, return_lse=True)[1:])


@pytest.mark.parametrize(
    ("function", "parameter"), [(SOFTMAX_FOCAL, {"gamma": 0.0}), (POLY1, {"epsilon": 0.0})]
)
def test_neutral_parameter_gives_cross_entropy(rng, function, parameter):
    x, y = rng.normal(0, 3, (6, 4)), np.array([0, 1, 2, 3, 1, 0])
    x = np.concatenate([x, [[800.0, 0, 0, 0], [INF, 0, 0, 0], [-INF, 0, 0, 0], [np.nan, 0, 0, 0]]])
    y = np.concatenate([y, [0, 0, 0, 0]])
    options = {"class_weight": [1, 2, 3, 4], "return_proba": True, **DERIVATIVES}
    for reduction in ("mean", "none", "stats"):
        got = function(x, y, **parameter, reduction=reduction, **options)
        assert_same(got, CE(x, y, reduction=reduction, **options))


def test_generalized_cross_entropy_limits(rng):
    x, y = rng.normal(0, 2, (6, 4)), np.array([0, 1, 2, 3, 1, 0])
    options = {"reduction": "none", **DERIVATIVES}
    loss, grad, _ = GCE(x, y, q=1.0, **options)
    p = reference.softmax(x, axis=1)
    at_label = p[np.arange(6), y]
    # The differences here round off what the loss keeps.
    np.testing.assert_allclose(loss, 1 - at_label, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(
        grad, at_label[:, np.newaxis] * (p - np.eye(4)[y]), rtol=1e-13, atol=1e-15
    )
    for got, want in zip(GCE(x, y, q=1e-9, **options), CE(x, y, **options), strict=True):
        # The second derivative of phi is about -q.
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=2e-9)


def test_label_losses_by_hand():
    # p = 3/4 for the first class, 1/4 for the second.
    x, log_4, log_4_3 = [[1.0986122886681098, 0.0]], 1.3862943611198906, 0.28768207245178085
    for label, p, nll in ((0, 0.75, log_4_3), (1, 0.25, log_4)):
        assert SOFTMAX_FOCAL(x, [label]) == pytest.approx((1 - p) ** 2 * nll, rel=1e-14)
        assert POLY1(x, [label]) == pytest.approx(nll + 1 - p, rel=1e-14)
        assert GCE(x, [label], q=0.5) == pytest.approx(2 * (1 - p**0.5), rel=1e-14)
    loss, grad = POLY1(x, [0], epsilon=2.0, return_grad=True)
    assert grad[0] == pytest.approx([-0.25 * 2.5, 0.25 * 2.5], rel=1e-14)
    loss, grad = GCE(x, [1], q=0.5, return_grad=True, sample_weight=[3], reduction="sum")
    assert loss == pytest.approx(3.0, rel=1e-14)
    assert grad[0] == pytest.approx([3 * 0.5 * 0.75, -3 * 0.5 * 0.75], rel=1e-14)


@pytest.mark.parametrize(
    ("function", "parameter", "largest"),
    [
        (SOFTMAX_FOCAL, {"gamma": 2.0}, INF),
        (SOFTMAX_FOCAL, {"gamma": 0.5}, INF),
        (POLY1, {"epsilon": 1.5}, INF),
        (GCE, {"q": 0.5}, 2.0),
    ],
)
def test_label_losses_infinite(function, parameter, largest):
    x = [[INF, 0], [INF, 0], [-INF, 0], [0, -INF], [-INF, -INF], [INF, INF], [np.nan, 0]]
    y = [0, 1, 0, 0, 0, 0, 0]
    loss, grad, hess = function(x, y, **parameter, reduction="none", **DERIVATIVES)
    np.testing.assert_array_equal(loss, [0, largest, largest, 0, np.nan, np.nan, np.nan])
    far = 1.0 if np.isinf(largest) else 0.0
    np.testing.assert_array_equal(grad[:4], [[0, 0], [far, -far], [-far, far], [0, 0]])
    np.testing.assert_array_equal(hess[:4], np.zeros((4, 2)))
    assert np.isnan(grad[4:]).all()
    assert np.isnan(hess[4:]).all()


# Divergences


def mp_kl(t, p):
    return mpmath.fsum(u * mpmath.log(u / v) for u, v in zip(t, p, strict=True) if u)


def mp_js(t, p):
    m = [(u + v) / 2 for u, v in zip(t, p, strict=True)]
    return (mp_kl(t, m) + mp_kl(p, m)) / 2


def divergence_rows(rng):
    """Logits and targets: unrelated, next to each other, one-hot, with zeros, far apart."""
    x = rng.normal(0, 2, (14, 4))
    t = rng.dirichlet(np.ones(4), 14)
    p = reference.softmax(x, axis=1)
    t[2:8] = p[2:8] * (1 + 10.0 ** -np.arange(2, 8)[:, np.newaxis] * rng.normal(size=(6, 4)))
    t[4:8] /= t[4:8].sum(axis=1, keepdims=True)
    t[8], t[9] = [0, 1, 0, 0], [0.5, 0, 0.5, 0]
    x[10:12] *= 30
    t[11] = np.eye(4)[np.argmax(x[11])]
    x[12], x[13] = [0, 0, 0, -800], [40, 0, 0, 0]
    t[12], t[13] = [0.25] * 4, [1, 0, 0, 0]
    return x, t


def test_kl_divergence(rng):
    x, t = divergence_rows(rng)
    loss, grad, hess, proba = KL(x, t, reduction="none", return_proba=True, **DERIVATIVES)
    for i, row in enumerate(x):
        row, target = to_mp(row), to_mp(t[i])
        p = mp_softmax(row)
        # The loss is about the square of the distance: the rounding of p shifts it by so much.
        distance = float(max(abs(u / v - 1) for u, v in zip(target, p, strict=True)))
        rtol = 1e-14 + 4e-15 / distance if distance < 0.5 else 1e-14
        np.testing.assert_allclose(loss[i], float(mp_kl(target, p)), rtol=rtol)
        want = [float(sum(target) * v - u) for u, v in zip(target, p, strict=True)]
        np.testing.assert_allclose(grad[i], want, rtol=1e-14, atol=1e-15)
        want = [float(sum(target) * v * (1 - v)) for v in p]
        np.testing.assert_allclose(hess[i], want, rtol=1e-14)
        np.testing.assert_allclose(proba[i], [float(v) for v in p], rtol=1e-14)


def test_js_divergence(rng):
    x, t = divergence_rows(rng)
    t[2:8] /= t[2:8].sum(axis=1, keepdims=True)
    loss, grad = JS(x, t, reduction="none", return_grad=True)
    for i, row in enumerate(x):
        row, target = to_mp(row), to_mp(t[i])
        p = mp_softmax(row)
        distance = float(max(abs(u / v - 1) for u, v in zip(target, p, strict=True)))
        rtol = 1e-14 + 4e-15 / distance if distance < 0.5 else 1e-14
        np.testing.assert_allclose(loss[i], float(mp_js(target, p)), rtol=rtol)
        want, _ = mp_row_slopes(lambda v, target=target: mp_js(target, mp_softmax(v)), row)
        atol = 1e-15 if distance < 0.5 else 1e-40
        np.testing.assert_allclose(grad[i], want, rtol=1e-12, atol=atol)


@pytest.mark.parametrize("function", [KL, JS])
def test_divergence_by_hand(function):
    # t = (1, 0), p = (1/2, 1/2), m = (3/4, 1/4).
    half = (0.28768207245178085 + 0.5 * (np.log(2 / 3) + LOG_2)) / 2
    want = {KL: LOG_2, JS: half}[function]
    assert function([[0.0, 0.0]], [[1.0, 0.0]]) == pytest.approx(want, rel=1e-14)
    assert function([0.0, 0.0], [1.0, 0.0]) == pytest.approx(want, rel=1e-14)
    loss, grad = function([[0.0, 0.0, 0.0, 0.0]], [[0.25] * 4], return_grad=True)
    assert loss == 0.0
    assert not grad.any()
    # A mean with the weights 1 and 3.
    x, t = [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.5, 0.5]]
    assert function(x, t, sample_weight=[1, 3]) == pytest.approx(want / 4, rel=1e-14)
    assert function(x, t, denominator="count") == pytest.approx(want / 2, rel=1e-14)


@pytest.mark.parametrize("function", [KL, JS])
def test_divergence_infinite(function):
    x = [[0, -INF, 0], [0, -INF, 0], [INF, 0, 0], [INF, 0, 0], [-INF] * 3, [INF, INF, 0]]
    t = [[0.5, 0, 0.5], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]
    loss, grad = function(x, t, reduction="none", return_grad=True)
    far = {KL: INF, JS: LOG_2}[function]
    assert loss == pytest.approx([0, far, 0, far, np.nan, np.nan], rel=1e-15, nan_ok=True)
    steep = {KL: [[0.5, -1, 0.5], [1, -1, 0]], JS: np.zeros((2, 3))}[function]
    np.testing.assert_array_equal(grad[[1, 3]], steep)
    assert not grad[[0, 2]].any()
    assert np.isnan(grad[4:]).all()


def test_kl_of_unnormalised_targets_is_cross_entropy_minus_entropy(rng):
    x, t = rng.normal(0, 2, (5, 3)), rng.uniform(0.5, 2, (5, 3))
    weight = rng.uniform(size=5)
    entropy = -np.sum(t * np.log(t), axis=1)
    options = {"sample_weight": weight, **DERIVATIVES}
    got, want = KL(x, t, **options), CE(x, t, **options)
    shift = np.sum(weight * entropy) / np.sum(weight * t.sum(axis=1))
    assert got[0] == pytest.approx(want[0] - shift, rel=1e-13)
    assert_same(got[1:], want[1:])


# Second order


def mp_hessian(function, row):
    h, n = mpmath.mpf("1e-30"), len(row)

    def at(i, j, a, b):
        moved = list(row)
        moved[i] += a * h
        moved[j] += b * h
        return function(moved)

    return [
        [
            float(
                (at(i, j, 1, 1) - at(i, j, 1, -1) - at(i, j, -1, 1) + at(i, j, -1, -1)) / 4 / h**2
            )
            for j in range(n)
        ]
        for i in range(n)
    ]


@pytest.mark.parametrize("soft", [False, True])
def test_hessian(rng, soft):
    x, y = rng.normal(0, 2, (3, 3)), np.array([0, 2, 1])
    target = rng.uniform(size=(3, 3)) if soft else np.eye(3)[y]
    class_weight, weight = [1, 2, 3], rng.uniform(size=3)
    options = {
        "class_weight": class_weight,
        "sample_weight": weight,
        "label_smoothing": 0.3,
        "reduction": "sum",
    }
    got = HESSIAN(x, target if soft else y, **options)
    assert got.shape == (3, 3, 3)
    for i, row in enumerate(x):
        q = weight[i] * np.multiply(class_weight, target[i] * 0.7 + 0.1)

        def loss(v, q=q):
            return -mpmath.fsum(
                c * mpmath.log(u) for c, u in zip(to_mp(q), mp_softmax(v), strict=True)
            )

        np.testing.assert_allclose(got[i], mp_hessian(loss, to_mp(row)), **EXACT_DIFFERENCE)


@pytest.mark.parametrize("options", [*CLASS_OPTIONS, {"ignore_index": 1}])
@pytest.mark.parametrize("soft", [False, True])
def test_hessian_vector_product(rng, options, soft):
    x, y, v = rng.normal(0, 2, (4, 3)), np.array([0, 1, 2, 1]), rng.normal(size=(4, 3))
    targets = rng.dirichlet(np.ones(3), 4) if soft and "ignore_index" not in options else y
    got = HVP(x, targets, v, **options)
    hessian = HESSIAN(x, targets, **options)
    np.testing.assert_allclose(got, np.einsum("nij,nj->ni", hessian, v), **EXACT_DIFFERENCE)
    _, hess = CE(x, targets, return_hess=True, **options)
    np.testing.assert_array_equal(np.diagonal(hessian, axis1=1, axis2=2), hess)
    step = 2.0**-17
    high, low = (CE(x + s * v, targets, return_grad=True, **options)[1] for s in (step, -step))
    np.testing.assert_allclose(got, (high - low) / (2 * step), **DIFFERENCE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"label_smoothing": 0.2, "pos_weight": [1, 2, 3]},
        {"sample_weight": [[0.5], [1], [2], [0]], "denominator": "count"},
        {"ignore_value": 0.25, "reduction": "none"},
    ],
)
def test_binary_hessian_vector_product(rng, options):
    x, v, y = rng.normal(0, 2, (4, 3)), rng.normal(size=(4, 3)), rng.choice([0, 0.25, 1], (4, 3))
    got = BINARY_HVP(x, y, v, **options)
    np.testing.assert_allclose(got, BCE(x, y, return_hess=True, **options)[1] * v, rtol=1e-15)
    step = 2.0**-17
    high, low = (BCE(x + s * v, y, return_grad=True, **options)[1] for s in (step, -step))
    np.testing.assert_allclose(got, (high - low) / (2 * step), **DIFFERENCE)


def test_second_order_by_hand():
    # p = (3/4, 1/4), so that p (1 - p) = 3/16.
    x = [1.0986122886681098, 0.0]
    want = pytest.approx(np.array([[3, -3], [-3, 3]]) / 16, rel=1e-14)
    assert HESSIAN(x, 0) == want
    assert HVP(x, 1, [2.0, -1.0]) == pytest.approx([9 / 16, -9 / 16], rel=1e-14)
    assert BINARY_HVP(x[:1], [0.0], [4.0]) == pytest.approx([0.75], rel=1e-14)
    # A common offset of v has no effect, to the last digit of what is left.
    assert HVP([50.0, 0.0], 0, [2.0, 1.0]) == pytest.approx(
        [1.928749847963918e-22, -1.928749847963918e-22], rel=1e-14, abs=0.0
    )


def test_second_order_infinite():
    x = [[INF, 0, 0], [-INF, 0, 0], [0, -INF, 0], [INF, INF, 0], [-INF] * 3]
    v = np.array([[1.0, 2.0, 4.0]] * 5)
    product, hessian = (f(x, [0] * 5, *a, reduction="sum") for f, a in ((HVP, [v]), (HESSIAN, [])))
    np.testing.assert_array_equal(product[:3], [[0, 0, 0], [0, -0.5, 0.5], [-0.75, 0, 0.75]])
    np.testing.assert_array_equal(hessian[0], np.zeros((3, 3)))
    np.testing.assert_array_equal(hessian[1] * 4, [[0, 0, 0], [0, 1, -1], [0, -1, 1]])
    assert np.isnan(product[3:]).all()
    assert np.isnan(hessian[3:]).all()
    np.testing.assert_array_equal(BINARY_HVP([INF, -INF], [0, 1], [1, 1]), [0, 0])


# Rules that all of them follow

LABELS, SOFT = np.array([1, 1]), np.array([[0.5, 0.5], [0.25, 0.75]])
BAD = np.array([[np.nan, 1.0], [INF, INF]])
EVERY_LOSS = [(SIGMOID_FOCAL, SOFT), (NLL, LABELS), (KL, SOFT), (JS, SOFT)]
EVERY_LOSS += [(function, LABELS) for function in (SOFTMAX_FOCAL, POLY1, GCE)]


@pytest.mark.parametrize(("function", "targets"), EVERY_LOSS)
def test_what_does_not_count_is_0(function, targets):
    wanted = {"return_grad": True} if function in (NLL, JS) else DERIVATIVES
    ignored = [{"sample_weight": 0.0}]
    if targets is LABELS:
        ignored += [{"ignore_index": 1}, {"class_weight": {1: 0.0}}]
    for options in ignored:
        for got in function(BAD, targets, reduction="none", **options, **wanted):
            np.testing.assert_array_equal(got, np.zeros(got.shape))
        value, grad, *_ = function(BAD, targets, reduction="sum", **options, **wanted)
        assert value == 0.0
        assert not grad.any()
        with pytest.warns(RuntimeWarning, match="no weight"):
            value, *derivatives = function(BAD, targets, **options, **wanted)
        assert np.isnan(value)
        for got in derivatives:
            np.testing.assert_array_equal(got, np.zeros(got.shape))


@pytest.mark.parametrize("weights", [{"ignore_index": 1}, {"sample_weight": 0.0}])
def test_hessian_of_what_does_not_count_is_0(weights):
    for function, v in ((HVP, [BAD]), (HESSIAN, [])):
        got = function(BAD, LABELS, *v, reduction="sum", **weights)
        np.testing.assert_array_equal(got, np.zeros(got.shape))
        with pytest.warns(RuntimeWarning, match="no weight"):
            got = function(BAD, LABELS, *v, **weights)
        np.testing.assert_array_equal(got, np.zeros(got.shape))
    got = BINARY_HVP(BAD, SOFT, BAD, sample_weight=0.0, reduction="sum")
    np.testing.assert_array_equal(got, np.zeros(got.shape))


def test_one_bad_row_stays_alone(rng):
    x = rng.normal(0, 2, (3, 2))
    x[1] = [np.nan, 0.0]
    for function, targets in ((NLL, LABELS), (KL, SOFT), (JS, SOFT), (POLY1, LABELS)):
        targets = np.concatenate([targets[:1], targets[:1], targets[1:]])
        if function is NLL:
            targets = np.array([1, 0, 1])
        loss, grad = function(x, targets, reduction="none", return_grad=True)
        assert np.isnan(loss).tolist() == [False, True, False]
        assert np.isfinite(grad[[0, 2]]).all()


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_axis(rng, axis):
    x, v = rng.normal(0, 2, (2, 4, 3, 5))[..., 0], rng.normal(0, 1, (2, 4, 3))
    last, last_v = np.moveaxis(x, axis, -1), np.moveaxis(v, axis, -1)
    y = rng.integers(0, x.shape[axis], last.shape[:-1])
    t = rng.dirichlet(np.ones(x.shape[axis]), last.shape[:-1])
    weight = rng.uniform(size=y.shape)
    options = {"sample_weight": weight, "reduction": "none"}
    moved = np.moveaxis(t, -1, axis)
    for function in (NLL, KL, JS, SOFTMAX_FOCAL, POLY1, GCE):
        is_soft = function in (KL, JS)
        wanted = {"return_grad": True} if function in (NLL, JS) else DERIVATIVES
        got = function(x, moved if is_soft else y, axis=axis, **options, **wanted)
        want = function(last, t if is_soft else y, **options, **wanted)
        np.testing.assert_array_equal(got[0], want[0])
        assert_same([np.moveaxis(array, axis, -1) for array in got[1:]], want[1:])
    got = HVP(x, moved, v, axis=axis, **options)
    np.testing.assert_array_equal(np.moveaxis(got, axis, -1), HVP(last, t, last_v, **options))
    got = HESSIAN(x, y, axis=axis, **options)
    np.testing.assert_array_equal(got, HESSIAN(last, y, **options))


def test_small_floats_are_converted(rng):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    y = np.array([0, 2, 1])
    for dtype in (np.float16, bfloat16):
        x, t = (rng.uniform(size=(3, 3)).astype(dtype) for _ in range(2))
        wide_x, wide_t = x.astype(np.float64), t.astype(np.float64)
        for function in (BCE, SIGMOID_FOCAL, CE, NLL, KL, JS):
            assert function(x, t) == function(wide_x, wide_t)
        for function in (CE, NLL, SOFTMAX_FOCAL, POLY1, GCE):
            assert function(x, y) == function(wide_x, y)
        np.testing.assert_array_equal(HVP(x, t, x), HVP(wide_x, wide_t, wide_x))
