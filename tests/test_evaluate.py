"""evaluate and the single metrics: by hand, by their definitions, and where these end."""

import math
import tracemalloc
import warnings

import numpy as np
import pytest

import cekernels as ck
from cekernels import metrics, reference
from cekernels.metrics import MetricAccumulator, _sums, evaluate

# Relative, of sums: by the dtype of the logits.
RELATIVE = {np.float32: 4e-7, np.float64: 1e-13}
INF, NAN = math.inf, math.nan
LOG_2, LOG_3 = 0.6931471805599453, 1.0986122886681098
# Of three classes, whose probabilities are (1/2, 1/4, 1/4), (1/4, 1/2, 1/4) and so on.
HALF = [[LOG_2, 0.0, 0.0], [0.0, LOG_2, 0.0], [0.0, 0.0, LOG_2], [LOG_2, 0.0, 0.0]]
LABELS = [0, 1, 0, 2]
SHAPES = [(50,), (50, 1), (50, 2), (50, 3), (7, 40), (3, 500), (1, 5), (1,)]


def data(rng, shape, dtype=np.float64, scale=3.0):
    logits = rng.normal(0.0, scale, shape).astype(dtype)
    n_classes = 2 if len(shape) == 1 or shape[1] == 1 else shape[1]
    return logits, rng.integers(0, n_classes, shape[0])


def assert_close(got, want, rtol=1e-13):
    """Assert that metrics, or tuples in them, agree."""
    if isinstance(want, tuple):
        assert type(got) is type(want)
        for one, other in zip(got, want, strict=True):
            assert_close(one, other, rtol)
    else:
        np.testing.assert_allclose(got, want, rtol=rtol, atol=0.0)


def assert_same(got, want):
    """Assert that metrics, or tuples in them, have the same bits."""
    assert_close(got, want, rtol=0.0)


# By hand


@pytest.mark.usefixtures("isa")
def test_three_classes():
    got = evaluate(np.array(HALF), LABELS, n_bins=4)
    # Two of four are right, each with a confidence of 1/2, the end of the second bin.
    assert got.accuracy == 0.5
    assert got.loss == pytest.approx((LOG_2 + LOG_2 + 2 * LOG_2 + 2 * LOG_2) / 4, rel=1e-15)
    assert got.perplexity == pytest.approx(2.0**1.5, rel=1e-15)
    # Right: 1/4 + 1/16 + 1/16; wrong: 9/16 + 1/4 + 1/16.
    assert got.brier_score == pytest.approx((2 * 6 / 16 + 2 * 14 / 16) / 4, rel=1e-15)
    assert got.expected_calibration_error == pytest.approx(0.0, abs=1e-15)
    assert got.stats == (pytest.approx(6 * LOG_2, rel=1e-15), 4.0, 4)
    assert_close(got.by_class.groups, [0, 1, 2])
    assert_close(got.by_class.total, [3 * LOG_2, LOG_2, 2 * LOG_2])
    assert_close(got.by_class.weight, [2.0, 1.0, 1.0])
    assert_close(got.by_class.count, [2, 1, 1])
    assert_close(got.by_class.mean, [1.5 * LOG_2, LOG_2, 2 * LOG_2])
    assert_close(got.reliability.edges, [0.0, 0.25, 0.5, 0.75, 1.0])
    assert_close(got.reliability.confidence, [NAN, 0.5, NAN, NAN])
    assert_close(got.reliability.accuracy, [NAN, 0.5, NAN, NAN])
    assert_close(got.reliability.weight, [0.0, 4.0, 0.0, 0.0])


@pytest.mark.usefixtures("isa")
def test_weights_by_hand():
    got = evaluate(np.array(HALF), LABELS, sample_weight=[3.0, 1.0, 0.5, 0.0], n_bins=1)
    assert got.accuracy == pytest.approx(4.0 / 4.5, rel=1e-15)
    assert got.loss == pytest.approx((4.0 + 0.5 * 2.0) * LOG_2 / 4.5, rel=1e-15)
    assert got.brier_score == pytest.approx((4.0 * 6 / 16 + 0.5 * 14 / 16) / 4.5, rel=1e-15)
    assert got.expected_calibration_error == pytest.approx(4.0 / 4.5 - 0.5, rel=1e-14)
    assert got.stats[1:] == (4.5, 3)
    assert_close(got.by_class.weight, [3.5, 1.0, 0.0])
    assert_close(got.by_class.count, [2, 1, 0])
    assert_close(got.by_class.mean, [(3.0 + 1.0) * LOG_2 / 3.5, LOG_2, NAN])


@pytest.mark.usefixtures("isa")
def test_binary_by_hand():
    # Probabilities of class 1: 3/4, 3/4, 1/4.
    logits = np.array([LOG_3, LOG_3, -LOG_3])
    got = evaluate(logits, [1, 0, 0], n_bins=2)
    assert got.accuracy == pytest.approx(2 / 3, rel=1e-15)
    assert got.brier_score == pytest.approx((1 + 9 + 1) / 16 / 3, rel=1e-14)
    assert got.loss == pytest.approx((4 * LOG_2 * 1.5 - 2 * LOG_3) / 3, rel=1e-14)
    assert got.expected_calibration_error == pytest.approx(0.75 - 2 / 3, rel=1e-14)
    assert_close(got.reliability.confidence, [NAN, 0.75])
    assert_close(got.by_class.count, [2, 1])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", SHAPES)
def test_single_metrics_are_those_of_evaluate(rng, dtype, shape):
    logits, labels = data(rng, shape, dtype)
    options = {"sample_weight": rng.uniform(0.5, 2.0, shape[0]), "ignore_index": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a single sample may be ignored
        got = evaluate(logits, labels, n_bins=7, **options)
        assert_close(metrics.accuracy(logits, labels, **options), got.accuracy)
        assert_same(metrics.brier_score(logits, labels, **options), got.brier_score)
        error = metrics.expected_calibration_error(logits, labels, n_bins=7, **options)
    assert_same(error, got.expected_calibration_error)
    table = metrics.cross_entropy_by_group(logits, labels, **options)
    assert_close(table, got.by_class, RELATIVE[dtype])


def test_types(rng):
    got = evaluate(*data(rng, (9, 3), np.float32), sample_weight=np.ones(9, np.float32))
    for value in (*got[:5], *got.stats[:2], metrics.accuracy(HALF, LABELS)):
        assert type(value) is float
    assert type(got.stats) is ck.LossStats
    assert type(got.stats.count) is int
    assert [column.dtype for column in got.by_class[1:]] == [np.float64, np.float64, np.int64]
    assert {column.dtype for column in got.reliability} == {np.dtype(np.float64)}


# Definitions


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_reference(rng, dtype, shape, weighted):
    logits, labels = data(rng, shape, dtype)
    options = {}
    if weighted:
        options = {"sample_weight": rng.choice([0.0, 0.5, 3.0], shape[0]), "ignore_index": 0}
        options["sample_weight"][0], labels[0] = 1.0, 1
    got = evaluate(logits, labels, **options)
    x = logits[:, 0] if shape[1:] == (1,) else logits
    rtol = RELATIVE[dtype]
    assert got.accuracy == pytest.approx(reference.accuracy(x, labels, **options), rel=1e-14)
    assert got.brier_score == pytest.approx(
        reference.brier_score(x, labels, **options), rel=2 * rtol
    )
    assert got.expected_calibration_error == pytest.approx(
        reference.expected_calibration_error(x, labels, **options), rel=rtol, abs=rtol
    )
    assert_close(got.by_class, reference.cross_entropy_by_group(x, labels, **options), rtol)
    assert_close(got.reliability, reference.reliability(x, labels, **options), rtol)
    assert got.loss == pytest.approx(loss(x, labels, **options), rel=rtol)


def loss(logits, labels, ignore_index=None, **options):
    if logits.ndim == 1:
        return ck.binary_cross_entropy_with_logits(
            logits, labels, ignore_value=ignore_index, **options
        )
    return ck.cross_entropy(logits, labels, ignore_index=ignore_index, **options)


def test_blocks_and_spans(rng):
    """Enough samples for several blocks, and for several spans of blocks."""
    for shape in ((70_000,), (40_000, 3), (300, 500)):
        logits, labels = data(rng, shape)
        got, rtol = evaluate(logits, labels), 1e-12
        assert got.accuracy == reference.accuracy(logits, labels)
        assert metrics.accuracy(logits, labels) == got.accuracy
        assert got.brier_score == pytest.approx(reference.brier_score(logits, labels), rel=rtol)
        assert got.loss == pytest.approx(loss(logits, labels), rel=rtol)
        assert_close(got.reliability, reference.reliability(logits, labels), rtol)


@pytest.mark.parametrize("n_bins", [1, 2, 10, 15, 1000])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_bins_of_a_naive_loop(rng, n_bins, n_classes):
    logits, labels = data(rng, (300, n_classes))
    columns = np.hstack([np.zeros((300, 1)), logits]) if n_classes == 1 else logits
    proba = ck.special.softmax(columns, axis=1)
    bins = [[] for _ in range(n_bins)]
    for row, label in zip(proba.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        bins[math.ceil(confidence * n_bins) - 1].append((confidence, row.index(max(row)) == label))
    gap = sum(abs(sum(c - right for c, right in samples)) for samples in bins)
    got = evaluate(logits, labels, n_bins=n_bins)
    assert got.reliability.weight.tolist() == [len(samples) for samples in bins]
    assert got.expected_calibration_error == pytest.approx(gap / 300, rel=1e-12)


@pytest.mark.parametrize("confidence", [0.5, 0.75, 1.0])
def test_edge_of_bins(confidence):
    """A confidence on an edge belongs to the bin below."""
    logit = math.inf if confidence == 1.0 else math.log(confidence / (1.0 - confidence))
    weight = evaluate(np.array([logit]), [1], n_bins=4).reliability.weight
    assert np.flatnonzero(weight).tolist() == [round(confidence * 4) - 1]


# scikit-learn


@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learn(rng, weighted):
    theirs = pytest.importorskip("sklearn.metrics")
    for shape in ((200,), (200, 2), (200, 5)):
        logits, labels = data(rng, shape)
        weight = rng.uniform(0.0, 2.0, 200) if weighted else None
        options = {"sample_weight": weight}
        binary = len(shape) == 1
        proba = ck.special.expit(logits) if binary else ck.special.softmax(logits, axis=1)
        predicted = logits > 0.0 if binary else logits.argmax(axis=1)
        got = evaluate(logits, labels, **options)
        assert got.accuracy == pytest.approx(
            theirs.accuracy_score(labels, predicted, **options), rel=1e-14
        )
        assert got.loss == pytest.approx(theirs.log_loss(labels, proba, **options), rel=1e-12)
        for half in ("auto", True, False):
            assert metrics.brier_score(
                logits, labels, scale_by_half=half, **options
            ) == pytest.approx(
                theirs.brier_score_loss(labels, proba, scale_by_half=half, **options), rel=1e-12
            )


# Tails, ties, infinities


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([60.0], math.exp(-120.0)),
        ([[0.0, 60.0]], math.exp(-120.0)),
        ([[0.0, 60.0, 0.0]], 6.0 * math.exp(-120.0)),
        ([[-80.0, 0.0, -INF]], 2.0 * math.exp(-160.0)),
    ],
)
def test_brier_score_keeps_tails(dtype, logits, expected):
    got = metrics.brier_score(np.array(logits, dtype), [1])
    assert got == pytest.approx(expected, rel=RELATIVE[dtype], abs=0.0)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [2, 3, 300])
def test_the_first_of_equal_logits_is_predicted(dtype, n_classes):
    logits = np.zeros((3, n_classes), dtype)
    logits[2, 0] = -1.0
    got = evaluate(logits, [0, 1, 1])
    assert got.accuracy == metrics.accuracy(logits, [0, 1, 1]) == 2 / 3


@pytest.mark.usefixtures("isa")
def test_log_odds_of_zero_predict_class_0(dtype):
    logits = np.array([0.0, -0.0, 0.0, 1e-30], dtype)
    got = evaluate(logits, [0, 0, 1, 1])
    assert got.accuracy == metrics.accuracy(logits, [0, 0, 1, 1]) == 0.75


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [2, 4, 300])
def test_predictions_are_decided_on_logits(rng, dtype, n_classes):
    """Logits in the last bit apart have probabilities that round to the same, or the other way."""
    logits = np.full((200, n_classes), 0.1, dtype)
    logits[:, 2:] = -3.0
    best = rng.integers(0, 2, 200)
    logits[np.arange(200), best] = np.nextafter(dtype(0.1), dtype(1.0))
    labels = rng.integers(0, 2, 200)
    expected = np.count_nonzero(best == labels) / 200
    assert evaluate(logits, labels).accuracy == metrics.accuracy(logits, labels) == expected


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("columns", [False, True])
def test_infinite_log_odds(dtype, columns):
    logits = np.array([INF, -INF, INF, 0.0], dtype)
    if columns:
        logits = np.stack([np.zeros_like(logits), logits], axis=1)
    with np.errstate(all="raise"):
        right = evaluate(logits[:2], [1, 0])
        wrong = evaluate(logits, [1, 0, 0, 0], n_bins=2)
    assert right[:5] == (0.0, 1.0, 1.0, 0.0, 0.0)
    assert wrong[:5] == (INF, INF, 0.75, 1.25 / 4, 0.375)
    assert_close(wrong.by_class.mean, [INF, 0.0])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("row", [[NAN, 1.0, 0.0], [1.0, 0.0, NAN], [INF, INF, 0.0], [-INF] * 3])
def test_rows_without_softmax(dtype, row):
    logits = np.array([row, [5.0, 0.0, 0.0], [0.0, 5.0, 0.0]], dtype)
    with np.errstate(all="raise"):
        got = evaluate(logits, [2, 0, 1], n_bins=3)
    assert got.accuracy == metrics.accuracy(logits, [2, 0, 1]) == 2 / 3
    assert np.isnan([*got[:2], *got[3:5]]).all()
    assert_close(got.by_class.count, [1, 1, 1])
    assert np.isnan(got.by_class.total).tolist() == [False, False, True]
    assert_close(got.reliability.weight, [1.0, 0.0, 2.0])
    # It is as if it were not there without weight, or ignored.
    rest = evaluate(logits[1:], [0, 1], n_bins=3)
    assert_same(evaluate(logits, [2, 0, 1], n_bins=3, sample_weight=[0, 1, 1]), rest)
    assert_same(evaluate(logits, [2, 0, 1], n_bins=3, ignore_index=2), rest)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("label", [0, 1])
def test_log_odds_of_nan(dtype, label):
    logits = np.array([NAN, 5.0], dtype)
    got = evaluate(logits, [label, 1])
    assert got.accuracy == metrics.accuracy(logits, [label, 1]) == 0.5
    assert np.isnan([*got[:2], *got[3:5]]).all()


def test_infinite_perplexity():
    assert evaluate([[0.0, 800.0]], [0])[:2] == (800.0, INF)


@pytest.mark.parametrize("shape", [(0,), (0, 3)])
def test_nothing(shape):
    empty, labels = np.zeros(shape), np.zeros(0, int)
    for function in (metrics.accuracy, metrics.brier_score, metrics.expected_calibration_error):
        with pytest.warns(RuntimeWarning, match="the mean of no weight is nan") as caught:
            assert math.isnan(function(empty, labels))
        assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="the mean of no weight is nan") as caught:
        got = evaluate(empty, labels)
    assert caught[0].filename == __file__
    assert np.isnan(got[:5]).all()
    assert got.stats == (0.0, 0.0, 0)
    assert_close(got.by_class.mean, [NAN] * (2 if len(shape) == 1 else 3))
    with pytest.warns(RuntimeWarning):
        ignored = evaluate([[1.0, 2.0]], [0], ignore_index=0)
    assert ignored.stats == (0.0, 0.0, 0)
    assert len(metrics.cross_entropy_by_group(empty, labels, []).groups) == 0


# Arrays


def test_layouts_and_dtypes(rng):
    logits, labels = data(rng, (300, 6))
    want = evaluate(logits, labels)
    wide = np.repeat(logits, 2, axis=1)
    for view in (np.asfortranarray(logits), wide[:, ::2], logits[::-1][::-1], logits.tolist()):
        assert_same(evaluate(view, labels), want)
    for kind in (np.int8, np.uint8, np.uint64):
        assert_same(evaluate(logits, labels.astype(kind), ignore_index=9), want)
    logits.flags.writeable = labels.flags.writeable = False
    assert_same(evaluate(logits, labels, sample_weight=1), want)
    assert_same(evaluate(logits, np.repeat(labels, 2)[::2]), want)
    assert_same(evaluate(logits[:, 0], labels == 0), evaluate(logits[:, :1], (labels == 0) * 1))


@pytest.mark.parametrize("shape", [(60,), (60, 4)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, 1])
def test_cells_of_classes_make_no_difference(rng, monkeypatch, shape, weighted, ignored):
    logits, labels = data(rng, shape)
    logits[7] = NAN
    weight = rng.choice([0.0, 0.5, 3.0], 60) if weighted else None
    options = {"sample_weight": weight, "ignore_index": ignored, "n_bins": 6}
    want = evaluate(logits, labels, **options)
    monkeypatch.setattr(_sums, "MAX_CELLS", 0)
    assert_close(evaluate(logits, labels, **options), want)


@pytest.mark.parametrize("shape", [(2_000_000,), (200_000, 10), (200, 10_000)])
def test_memory(shape):
    """The pass needs the same few megabytes for any number of samples."""
    logits, labels = np.zeros(shape), np.zeros(shape[0], np.int8)
    for function in (evaluate, metrics.accuracy):
        tracemalloc.start()
        function(logits, labels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4e6


def test_half_precision(rng):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for kind in (np.float16, ml_dtypes.bfloat16):
        for shape in ((100,), (100, 4)):
            logits, labels = data(rng, shape, kind)
            want = evaluate(logits.astype(np.float32), labels)
            assert_same(evaluate(logits, labels), want)
            assert metrics.accuracy(logits, labels) == want.accuracy


# Errors

FUNCTIONS = [
    metrics.accuracy,
    metrics.brier_score,
    metrics.expected_calibration_error,
    metrics.cross_entropy_by_group,
    evaluate,
    MetricAccumulator().update,
]
SHAPE = "logits must have shape (n_samples,) or (n_samples, n_classes), got "


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("logits", "targets", "options", "error", "message"),
    [
        (1.0, 0, {}, ValueError, SHAPE + "()"),
        (np.zeros((2, 0)), [0, 0], {}, ValueError, SHAPE + "(2, 0)"),
        (np.zeros((2, 3, 4)), [0, 0], {}, ValueError, SHAPE + "(2, 3, 4)"),
        (HALF, [0.0, 1.0, 0.0, 1.0], {}, TypeError, "targets must be integers, got dtype float64"),
        (
            HALF,
            [0, 1],
            {},
            ValueError,
            "targets must have a label for each of the 4 samples, shape (4,), got (2,)",
        ),
        (
            HALF,
            [0, 1, 3, 2],
            {},
            ck.LabelError,
            "targets[2] is 3, but labels must be in [0, 3), the classes of logits",
        ),
        (
            [0.0, 1.0],
            [-1, 2],
            {"ignore_index": -1},
            ck.LabelError,
            "targets[1] is 2, but labels must be in [0, 2), the classes of logits or ignore_index=-1",
        ),
        (
            HALF,
            LABELS,
            {"ignore_index": 0.5},
            TypeError,
            "ignore_index must be an integer or None, got 0.5",
        ),
        (
            HALF,
            LABELS,
            {"sample_weight": [1.0, 2.0]},
            ValueError,
            "sample_weight must broadcast to shape (4,), got (2,)",
        ),
        (
            HALF,
            LABELS,
            {"sample_weight": [1.0, 2.0, -1.0, 0.0]},
            ValueError,
            "sample_weight must be finite and not negative, got -1.0 at [2]",
        ),
        (
            HALF,
            LABELS,
            {"sample_weight": [1.0, NAN, -1.0, 0.0]},
            ValueError,
            "sample_weight must be finite and not negative, got nan at [1]",
        ),
        (
            HALF,
            LABELS,
            {"sample_weight": [1.0, 0.0, 1.0, INF]},
            ValueError,
            "sample_weight must be finite and not negative, got inf at [3]",
        ),
    ],
)
def test_errors(function, logits, targets, options, error, message):
    with pytest.raises(error) as caught:
        function(logits, targets, **options)
    assert caught.type is error
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("n_bins", "error", "message"),
    [
        (0, ValueError, "n_bins must be at least 1, got 0"),
        (2.0, TypeError, "n_bins must be an integer, got 2.0"),
        (True, TypeError, "n_bins must be an integer, got True"),
    ],
)
def test_errors_of_bins(n_bins, error, message):
    for call in (evaluate, metrics.expected_calibration_error):
        with pytest.raises(error) as caught:
            call(HALF, LABELS, n_bins=n_bins)
        assert str(caught.value) == message
    with pytest.raises(error) as caught:
        MetricAccumulator(n_bins)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", ["half", None, 1, 0.5])
def test_errors_of_scale(value):
    with pytest.raises(TypeError) as caught:
        metrics.brier_score(HALF, LABELS, scale_by_half=value)
    assert str(caught.value) == f"scale_by_half must be True, False or 'auto', got {value!r}"
