"""Values that are known without the library: from textbooks, by hand, or with many digits."""

import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import LossStats, special

pytestmark = pytest.mark.usefixtures("isa")

RELATIVE = {np.float32: 3e-7, np.float64: 1e-15}
FOUR_DIGITS = 5.1e-5

LOG_2, LOG_3 = 0.6931471805599453, 1.0986122886681098
LOG_4, LOG_6 = 1.3862943611198906, 1.791759469228055
LOG_4_3 = 0.28768207245178093  # log(4 / 3)
INF = math.inf

START = [
    0.33669036626815796,
    0.12880940735340118,
    0.23446236550807953,
    0.23033303022384644,
    -1.1228563785552979,
]
SAMPLES = [[0.1, 0.5, -0.2, 1.2, 0.3], [0.7, -0.2, -0.4, 0.8, -1.0]]
# fmt: off
DESCENT = [
    [0.498, 0.506, 0.515, 0.524, 0.533, 0.542, 0.551, 0.560, 0.569, 0.578,
     0.587, 0.596, 0.605, 0.614, 0.622, 0.631, 0.640, 0.648, 0.656, 0.664,
     0.672, 0.680, 0.687, 0.695, 0.702, 0.709, 0.715, 0.722, 0.728, 0.734],
    [0.806, 0.781, 0.755, 0.728, 0.700, 0.672, 0.644, 0.617, 0.590, 0.564,
     0.539, 0.515, 0.492, 0.470, 0.450, 0.431, 0.412, 0.396, 0.380, 0.365,
     0.351, 0.337, 0.325, 0.313, 0.302, 0.292, 0.282, 0.273, 0.265, 0.256],
]
# fmt: on


@pytest.fixture
def near(dtype):
    """Compare to within the rounding of the dtype, zeros exactly."""

    def approx(expected, relative=RELATIVE[dtype]):
        return pytest.approx(np.asarray(expected), rel=relative, abs=0.0)

    return approx


@pytest.fixture
def array(dtype):
    return lambda values: np.array(values, dtype)


def four_digits(expected):
    return pytest.approx(np.asarray(expected), rel=0.0, abs=FOUR_DIGITS)


# Binary cross-entropy from logits


def test_three_logits(array):
    x, y = array([-1.7723, -1.5965, 0.8863]), array([0, 1, 0])
    losses = ck.binary_cross_entropy_with_logits(x, y, reduction="none")
    mean, grad = ck.binary_cross_entropy_with_logits(x, y, return_grad=True)
    assert losses == four_digits([0.1570, 1.7810, 1.2314])
    assert mean == four_digits(1.0565)
    assert grad == four_digits([0.0484, -0.2772, 0.2360])


def test_three_probabilities(array):
    x, y = array([-1.7723, -1.5965, 0.8863]), array([0, 1, 0])
    p = special.expit(x)
    losses = ck.binary_cross_entropy(p, y, reduction="none")
    mean, grad = ck.binary_cross_entropy(p, y, return_grad=True)
    assert losses == four_digits([0.1570, 1.7810, 1.2314])
    assert mean == four_digits(1.0565)
    # The chain rule leads from the gradient in p to that in the logits.
    assert grad * p * (1 - p) == four_digits([0.0484, -0.2772, 0.2360])


def test_zero_logits_lose_log_2(array, near):
    loss, grad, hess, proba = ck.binary_cross_entropy_with_logits(
        array([0, -0.0, 0]),
        array([0, 1, 0.5]),
        reduction="none",
        return_grad=True,
        return_hess=True,
        return_proba=True,
    )
    assert loss == near([LOG_2] * 3)
    assert grad.tolist() == [0.5, -0.5, 0.0]
    assert hess.tolist() == [0.25] * 3
    assert proba.tolist() == [0.5] * 3


def test_odds_of_three(array, near):
    loss, grad, hess, proba = ck.binary_cross_entropy_with_logits(
        array([LOG_3, LOG_3, -LOG_3, -LOG_3]),
        array([1, 0, 1, 0]),
        reduction="none",
        return_grad=True,
        return_hess=True,
        return_proba=True,
    )
    assert loss == near([LOG_4_3, LOG_4, LOG_4, LOG_4_3])
    assert grad == near([-0.25, 0.75, -0.75, 0.25])
    assert hess == near([0.1875] * 4)
    assert proba == near([0.75, 0.75, 0.25, 0.25])


def test_binary_tails(array, near):
    x, y = array([-1e4, -1e4, -30, -30, -5, 5, 30, 30, 1e4, 1e4]), array([0, 1] * 5)
    loss, grad = ck.binary_cross_entropy_with_logits(x, y, reduction="none", return_grad=True)
    expected = [0, 1e4, 9.3576229688397368e-14, 30.000000000000094, 0.0067153484891180686]
    assert loss == near([*expected, *expected[::-1]])
    wrong = 0.99999999999990642
    expected = [0, -1, 9.357622968839299e-14, -wrong, 0.0066928509242848556]
    assert grad == near([*expected, *np.negative(expected[::-1])])


def test_far_logits_neither_overflow_nor_warn(array):
    x = array(np.linspace(-1e4, 1e4, 20001))
    with np.errstate(all="raise"):
        for label in (0, 1):
            loss, grad = ck.binary_cross_entropy_with_logits(
                x, np.full_like(x, label), reduction="none", return_grad=True
            )
            assert loss[0] == (1e4 if label else 0.0)
            assert loss[-1] == (0.0 if label else 1e4)
            assert grad[0] == (-1.0 if label else 0.0)
            assert grad[-1] == (0.0 if label else 1.0)
            assert np.all(np.isfinite(loss) & (loss >= 0.0))
            assert np.all(np.abs(grad) <= 1.0)


def test_multilabel_components_are_independent(array, near):
    x = array([[0, LOG_3, -LOG_3], [LOG_3, 1e4, 0]])
    y = array([[1, 1, 1], [0, 1, 0]])
    loss, grad = ck.binary_cross_entropy_with_logits(x, y, reduction="none", return_grad=True)
    assert loss == near([[LOG_2, LOG_4_3, LOG_4], [LOG_4, 0.0, LOG_2]])
    assert grad == near([[-0.5, -0.25, -0.75], [0.75, 0.0, 0.5]])


def test_tiny_binary_gradient(array, near):
    loss, grad = ck.binary_cross_entropy_with_logits(
        array([20, 40, -20]), array([1, 1, 0]), reduction="none", return_grad=True
    )
    assert loss == near([2.0611536203143807e-9, 4.248354255291589e-18, 2.0611536203143807e-9])
    assert grad == near([-2.0611536181902036e-9, -4.248354255291589e-18, 2.0611536181902036e-9])


def test_binary_infinities(array):
    loss, grad = ck.binary_cross_entropy_with_logits(
        array([INF, INF, INF, -INF, -INF, -INF]),
        array([1, 0, 0.5, 1, 0, 0.5]),
        reduction="none",
        return_grad=True,
    )
    assert loss.tolist() == [0, INF, INF, INF, 0, INF]
    assert grad.tolist() == [0, 1, 0.5, -1, 0, -0.5]


def test_gradient_descent(array):
    w, samples, labels = array(START), array(SAMPLES), array([1, 0])
    seen = []
    for _ in range(30):
        # No product of BLAS: OpenBLAS's sgemv also computes with what lies beside short rows, and
        # NumPy warns where that is a signalling NaN.
        _, grad, proba = ck.binary_cross_entropy_with_logits(
            np.sum(samples * w, axis=1),
            labels,
            reduction="sum",
            return_grad=True,
            return_proba=True,
        )
        seen.append(proba)
        w = w - array(0.1) * np.sum(grad[:, np.newaxis] * samples, axis=0)
    assert np.transpose(seen) == pytest.approx(np.array(DESCENT), rel=0.0, abs=5.01e-4)


# Options of the binary losses


def test_unchecked_targets_follow_the_formula(array, near):
    # 2 softplus(-x) - softplus(x) at 0; sigma(x) - 2
    options = {"reduction": "none", "return_grad": True, "check": False}
    loss, grad = ck.binary_cross_entropy_with_logits(array([0, LOG_3]), array([2, 2]), **options)
    assert loss == near([LOG_2, 2 * LOG_4_3 - LOG_4], 1e-6)
    assert grad == near([-1.5, -1.25])
    loss = ck.binary_cross_entropy(array([0.5]), array([2]), reduction="none", check=False)
    assert loss == near([LOG_2])


def test_binary_label_smoothing(array, near):
    # 0.95 log(4/3) + 0.05 log 4 and its mirror image
    loss, grad = ck.binary_cross_entropy_with_logits(
        array([LOG_3, -LOG_3]),
        array([1, 0]),
        label_smoothing=0.1,
        reduction="none",
        return_grad=True,
    )
    assert loss == near([0.34261268688518641] * 2)
    assert grad == near([-0.2, 0.2])


def test_binary_weights(array, near):
    # sum of 2 * 3 * log(4/3), 1 * log 4 and 5 * log 2, over 2 + 1 + 5
    x, y, weight = array([LOG_3, LOG_3, 0]), array([1, 0, 0]), array([2, 1, 5])
    loss, grad = ck.binary_cross_entropy_with_logits(
        x, y, sample_weight=weight, pos_weight=3.0, return_grad=True
    )
    assert loss == near(0.8222653373287878)
    assert grad == near([-0.1875, 0.09375, 0.3125])


def test_binary_ignored(array, near):
    x, y = array([LOG_3, math.nan, 0]), array([1, -1, 1])
    stats, grad = ck.binary_cross_entropy_with_logits(
        x, y, ignore_value=-1, reduction="stats", return_grad=True
    )
    assert stats == near([LOG_4_3 + LOG_2, 2.0, 2])
    assert grad == near([-0.25, 0.0, -0.5])
    y[1] = math.nan
    assert ck.binary_cross_entropy_with_logits(x, y, ignore_value=math.nan) == near(
        0.49041462650586315
    )


# Binary cross-entropy from probabilities


@pytest.mark.parametrize(("probs", "labels"), [([0, 0, 1], [1, 0, 1]), ([1, 1, 0], [1, 1, 1])])
def test_clipped_probabilities(array, probs, labels):
    # Clipping at 1e-7 and then log(p + 1e-7) is clipping at 2e-7.
    loss = ck.binary_cross_entropy(array(probs), array(labels), eps=2e-7)
    assert loss == pytest.approx(5.141650, rel=0.0, abs=1.5e-6)


def test_probabilities(array, near):
    loss, grad, hess = ck.binary_cross_entropy(
        array([0.5, 0.75, 0.25, 0.75]),
        array([1, 0, 1, 0.5]),
        reduction="none",
        return_grad=True,
        return_hess=True,
    )
    assert loss == near([LOG_2, LOG_4, LOG_4, 0.8369882167858358])
    assert grad == near([-2.0, 4.0, -4.0, 4.0 / 3.0])
    assert hess == near([4.0, 16.0, 16.0, 8.0 + 8.0 / 9.0])


def test_certain_probabilities(array):
    p, y = array([0, 0, 1, 1]), array([0, 1, 0, 1])
    loss, grad = ck.binary_cross_entropy(p, y, reduction="none", return_grad=True)
    assert loss.tolist() == [0, INF, INF, 0]
    assert grad.tolist() == [1, -INF, INF, -1]
    loss, grad = ck.binary_cross_entropy(p, y, log_min=-100.0, reduction="none", return_grad=True)
    assert loss.tolist() == [0, 100, 100, 0]
    assert grad.tolist() == [1, 0, 0, -1]


# Softmax cross-entropy


@pytest.mark.parametrize(
    ("logits", "target"),
    [([100, 1, 1, 1], [1.0, 0, 0, 0]), ([100, 1, 1, 1], 0), ([[1, 1, 100, 1]], [2])],
)
def test_almost_certain_class(dtype, array, near, logits, target):
    target = array(target) if np.asarray(target).dtype.kind == "f" else np.asarray(target)
    loss = ck.cross_entropy(array(logits), target)
    if dtype is np.float32:
        assert 0.0 <= loss < 4e-43
    else:
        assert loss == near(3.0336644778313456e-43)


def test_four_classes(array, near):
    x = array([1, 0, 0, 0])
    for target in (array([1, 0, 0, 0]), 0):
        loss, grad = ck.cross_entropy(x, target, return_grad=True)
        assert loss == four_digits(0.7437)
        assert loss == near(0.74366838062867916)
        assert grad == near(
            [-0.52463311358132831, 0.17487770452710944, 0.17487770452710944, 0.17487770452710944]
        )
    log_proba = special.log_softmax(x)
    assert log_proba == four_digits([-0.7437, -1.7437, -1.7437, -1.7437])
    assert log_proba[1:] == near([-1.7436683806286792] * 3)


@pytest.mark.parametrize(
    ("n_classes", "log_n_classes"),
    [(1, 0.0), (2, LOG_2), (10, 2.302585092994046), (1000, 6.907755278982137)],
)
def test_equal_logits_lose_the_log_of_their_number(array, near, n_classes, log_n_classes):
    for offset in (0, -3, 1e8):
        x = array(np.full((2, n_classes), offset))
        loss, grad, hess, proba, lse = ck.cross_entropy(
            x,
            np.zeros(2, int),
            reduction="none",
            return_grad=True,
            return_hess=True,
            return_proba=True,
            return_lse=True,
        )
        p = 1.0 / n_classes
        assert loss == near([log_n_classes] * 2)
        # The smallest and the largest stand for all: of a NaN both are NaN.
        assert [proba.min(), proba.max()] == near([p] * 2)
        assert grad[:, 0] == near([p - 1.0] * 2)
        others = grad[:, 1:] if n_classes > 1 else proba
        assert [others.min(), others.max()] == near([p] * 2)
        assert [hess.min(), hess.max()] == near([p * (1.0 - p)] * 2)
        assert lse == near([offset + log_n_classes] * 2)


def test_one_two_three(array, near):
    x = array([[0, LOG_2, LOG_3]] * 3)
    loss, grad, hess, proba, lse = ck.cross_entropy(
        x,
        np.array([0, 1, 2]),
        reduction="sum",
        return_grad=True,
        return_hess=True,
        return_proba=True,
        return_lse=True,
    )
    sixth = 1.0 / 6.0
    assert loss == near(LOG_6 + LOG_3 + LOG_2)
    assert proba == near([[sixth, 2 * sixth, 3 * sixth]] * 3)
    assert grad == near(
        [
            [-5 * sixth, 2 * sixth, 3 * sixth],
            [sixth, -4 * sixth, 3 * sixth],
            [sixth, 2 * sixth, -3 * sixth],
        ]
    )
    assert hess == near([[5 / 36, 8 / 36, 9 / 36]] * 3)
    assert lse == near([LOG_6] * 3)


def test_tiny_loss_and_gradient(array, near):
    loss, grad = ck.cross_entropy(array([20, 0, 0]), 0, return_grad=True)
    assert loss == near(4.1223072363804072e-9)
    assert grad == near([-4.1223072278836987e-9, 2.0611536139418494e-9, 2.0611536139418494e-9])
    assert grad.sum() == 0.0
    loss, grad = ck.cross_entropy(array([50, 0]), 0, return_grad=True)
    assert loss == near(1.9287498479639178e-22)
    assert grad == near([-1.9287498479639178e-22, 1.9287498479639178e-22])


def test_a_common_offset_changes_nothing(array, near):
    x = array([1e8 + 8, 1e8])
    assert ck.cross_entropy(array([1e8, 1e8]), 1) == near(LOG_2)
    assert ck.cross_entropy(x, 0) == near(0.00033540637289576883)
    assert ck.cross_entropy(x, 1) == near(8.0003354063728958)


def test_class_infinities(array, near):
    def row(x, y):
        loss, grad = ck.cross_entropy(array(x), y, return_grad=True)
        return [loss, *grad.tolist()]

    assert row([1, -INF, 0], 0) == near(
        [0.31326168751822283, -0.26894142136999512, 0.0, 0.26894142136999512]
    )
    assert row([1, -INF, 0], array([1, 0, 0])) == row([1, -INF, 0], 0)
    assert row([0, -INF, 0], 1) == [INF, 0.5, -1.0, 0.5]
    assert row([INF, 0], 0) == [0.0, 0.0, 0.0]
    assert row([INF, 0], 1) == [INF, 1.0, -1.0]
    assert np.isnan(row([-INF, -INF], 0)).all()
    assert np.isnan(row([INF, INF, 0], 2)).all()
    assert ck.cross_entropy(array([0, 0, -INF]), 0, label_smoothing=0.1) == INF


# Options of the softmax cross-entropy


def test_class_label_smoothing(array, near):
    # 0.8 log 2 + 0.1 log 3 + 0.1 log 6
    loss, grad = ck.cross_entropy(
        array([0, LOG_2, LOG_3]), 2, label_smoothing=0.3, return_grad=True
    )
    assert loss == near(0.84355492023757272)
    assert grad == near([1 / 6 - 0.1, 1 / 3 - 0.1, -0.3])


def test_probability_target(array, near):
    loss, grad = ck.cross_entropy(array([0, LOG_2, LOG_3]), array([0, 0.5, 0.5]), return_grad=True)
    assert loss == near(0.8958797346140275)
    assert grad[0] == near(1 / 6)
    assert grad[1] == near(-1 / 6)
    assert grad[2] == pytest.approx(0.0, abs=1e-7)


def test_class_weight_is_in_the_denominator(array, near):
    x, y = array([[0, LOG_2, LOG_3]] * 2), np.array([0, 2])
    class_weight = array([1, 2, 4])
    expected = {
        "weight": 0.91286963829356725,
        "count": 2.2821740957339181,
        8.0: 0.57054352393347952,
    }
    for denominator, mean in expected.items():
        loss = ck.cross_entropy(x, y, class_weight=class_weight, denominator=denominator)
        assert loss == near(mean)
        one_hot = array([[1, 0, 0], [0, 0, 1]])
        assert ck.cross_entropy(
            x, one_hot, class_weight=class_weight, denominator=denominator
        ) == near(mean)
    stats = ck.cross_entropy(x, y, class_weight=class_weight, reduction="stats")
    assert stats == near([4.5643481914678362, 5.0, 2])


def test_class_weight_with_smoothing(array, near):
    # 0.7 * 4 log 2 for the label, 0.1 * (log 6 + 2 log 3 + 4 log 2) for all classes
    loss = ck.cross_entropy(
        array([0, LOG_2, LOG_3]),
        2,
        class_weight=array([1, 2, 4]),
        label_smoothing=0.3,
        reduction="sum",
    )
    assert loss == near(2.6169693824482524)


def test_ignored_rows(array, near):
    x, y = array([[0, LOG_2, LOG_3], [math.nan] * 3, [0, 0, 0]]), np.array([1, -100, 0])
    loss, grad = ck.cross_entropy(x, y, ignore_index=-100, return_grad=True)
    assert loss == near(LOG_3)
    assert grad[1].tolist() == [0, 0, 0]
    assert grad[2] == near([-1 / 3, 1 / 6, 1 / 6])


def test_nothing_left(array):
    x, y = array([[1, 2], [3, 4]]), np.array([7, 7])
    with pytest.warns(RuntimeWarning):
        loss, grad = ck.cross_entropy(x, y, ignore_index=7, return_grad=True)
    assert math.isnan(loss)
    assert grad.tolist() == [[0, 0], [0, 0]]
    assert ck.cross_entropy(x, y, ignore_index=7, reduction="sum") == 0.0
    assert ck.cross_entropy(x, y, ignore_index=7, reduction="none").tolist() == [0, 0]


# Special functions and the rest


def test_special_functions(array, near):
    x = array([-30, -5, -1, -0.5, 0, 0.5, 1, 5, 30])
    softplus = [
        9.3576229688397368e-14,
        0.0067153484891180686,
        0.31326168751822283,
        0.47407698418010668,
        LOG_2,
        0.97407698418010668,
        1.3132616875182228,
        5.0067153484891181,
        30.000000000000094,
    ]
    expit = [
        9.357622968839299e-14,
        0.0066928509242848556,
        0.26894142136999512,
        0.37754066879814544,
        0.5,
        0.62245933120185456,
        0.73105857863000488,
        0.99330714907571514,
        0.99999999999990642,
    ]
    assert special.softplus(x) == near(softplus)
    assert special.log_expit(-x) == near(np.negative(softplus))
    assert special.expit(x) == near(expit)


def test_special_functions_at_infinity(array):
    x = array([-INF, INF, math.nan])
    np.testing.assert_array_equal(special.expit(x), [0, 1, math.nan])
    np.testing.assert_array_equal(special.log_expit(x), [-INF, 0, math.nan])
    np.testing.assert_array_equal(special.softplus(x), [0, INF, math.nan])


def test_softmax_functions(array, near):
    x = array([[0, LOG_2, LOG_3], [1e8, 1e8, 1e8]])
    assert special.softmax(x, axis=1) == near([[1 / 6, 1 / 3, 1 / 2], [1 / 3] * 3])
    assert special.log_softmax(x, axis=1) == near([[-LOG_6, -LOG_3, -LOG_2], [-LOG_3] * 3])
    assert special.logsumexp(x[0]) == near(LOG_6)
    assert special.logsumexp(x[:1], axis=1, keepdims=True) == near([[LOG_6]])
    assert special.softmax(array([[0, 0], [0, 0]])) == near([[0.25, 0.25], [0.25, 0.25]])
    assert special.softmax(array([[0, 5], [0, 5]]), axis=0) == near([[0.5, 0.5], [0.5, 0.5]])


def test_logsumexp(array, near):
    assert special.logsumexp(array([1, 2, 3])) == near(3.4076059644443803)
    assert special.logsumexp(array([1, 2, 3]), b=array([1, -1, 1])) == near(2.7353256640555192)
    assert special.logsumexp(array([math.nan, 0]), b=array([0, 2])) == near(LOG_2)
    assert special.logsumexp(array([-INF, -INF])) == -INF
    assert special.logsumexp(array([-INF, 3])) == 3.0
    assert special.logsumexp(array([INF, 3])) == INF


def test_log_loss_of_mail():
    y = ["spam", "ham", "ham", "spam"]
    p = [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]
    assert ck.log_loss(y, p) == pytest.approx(0.21616187468057912, rel=1e-15)
    assert ck.log_loss(y, p, normalize=False) == pytest.approx(0.8646474987223165, rel=1e-15)


def test_stats_add_up():
    parts = [LossStats(1.5, 2.0, 2), LossStats(0.5, 2.0, 3)]
    assert sum(parts) == LossStats(2.0, 4.0, 5)
    assert sum(parts).mean == 0.5
    assert math.isnan(LossStats(0.0, 0.0, 0).mean)
