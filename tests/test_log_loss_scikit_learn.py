"""log_loss and scikit-learn's function side by side."""

import array
import collections
import functools
import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cekernels import log_loss

# How far the result may be from scikit-learn's, relative, by the dtype in which that computes.
RELATIVE = {"float64": 1e-12, "float32": 1e-6, "float16": 2e-3}
INF, NAN = math.inf, math.nan
Y = [0, 1, 1, 0]
P = [0.1, 0.9, 0.8, 0.3]
PAIRS = [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]]
TRIPLES = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.7, 0.2, 0.1]]
INDICATOR = [[0, 1], [1, 0], [1, 1], [0, 0]]
ONES_AND_ZEROS = [1.0, 0.0, 0.5, 0.5]


@pytest.fixture(scope="session")
def same():
    """Assert that scikit-learn's function returns, raises and warns the same."""
    theirs = pytest.importorskip("sklearn.metrics").log_loss

    def check(*args, isas=lambda: [None], **kwargs):
        want, want_warnings = outcome(theirs, args, kwargs)
        for _ in isas():
            got, got_warnings = outcome(log_loss, args, kwargs)
            assert got_warnings == want_warnings
            if isinstance(want, Exception):
                assert sorted_sets(got) == sorted_sets(want)
                assert isinstance(want, type(got))
            else:
                dtype = np.asarray(args[1]).dtype.name
                assert type(got) is float
                assert got == pytest.approx(want, rel=RELATIVE.get(dtype, 1e-12), abs=0.0)

    return check


@pytest.fixture
def same_on_every_isa(same, every_isa):
    """Assert the same on every instruction set."""
    return functools.partial(same, isas=every_isa)


def outcome(function, args, kwargs):
    """Return the result or the exception, and the text of each UserWarning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args, **kwargs)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            result = error
    return result, [str(w.message) for w in caught if w.category is UserWarning]


def sorted_sets(error):
    """Return the message, with the elements of the sets that it shows in a fixed order."""
    return re.sub(r"{(.*)}", lambda shown: str(sorted(shown[1].split(", "))), str(error))


class Foreign:
    """An array of another library: it can be converted, and has a length."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype, copy=copy)


@pytest.mark.parametrize(
    "y_true",
    [
        Y,
        tuple(Y),
        range(4, 8, 2),
        collections.deque(Y),
        array.array("i", Y),
        [5, -3, 5, -3],
        [10**12, 0, 0, 10**12],
        [2**63 - 1, -(2**63), 0, 0],
        [True, False, True, True],
        [True, 0, 1, False],
        [0.0, 1.0, 1.0, -0.0],
        [0, 1.0, 1, 0],
        list("abba"),
        ["spam", "ham", "", "spam"],
        np.array(Y)[:, np.newaxis],
        np.array(Y)[::-1],
        np.array(list("abba"), object),
        np.array(["é", "e", "e", "é"]),
        np.array(Y, "M8[D]"),
        np.array(Y, ">i4"),
        np.array(Y, ">f8"),
        np.array([0, 2**63 + 1, 2**64 - 1, 0], np.uint64),
        np.array([-128, 127, 0, 127], np.int8),
        np.array([200, 100, 100, 200], np.uint8),
        np.array(Y, np.float16),
        np.array(Y, np.longdouble),
        np.array(Y, bool),
        np.ma.array(Y),
        Foreign(Y),
    ],
    ids=repr,
)
@pytest.mark.parametrize("y_proba", [P, PAIRS, TRIPLES], ids=["vector", "two", "three"])
def test_kinds_of_labels(same, y_true, y_proba):
    same(y_true, y_proba[: len(y_true)])


@pytest.mark.parametrize("dtype", "?bhilqBHILQefdg")
def test_dtypes_of_labels(same, dtype):
    same(np.array(Y, dtype), P)
    same(np.array(Y, dtype), PAIRS)
    same(np.array(Y, dtype), TRIPLES, labels=[0, 1, 2])
    if dtype != "?":
        same(np.array([0, 2, 1, 0], dtype), TRIPLES)
        same(np.array([3, 2, 7, 3], dtype), TRIPLES)


@pytest.mark.parametrize(
    "y_true",
    [
        INDICATOR,
        [(0, 1), (1, 0), (1, 1), (0, 0)],
        [[2, 3], [3, 2], [2, 2], [2, 3]],
        [[-1, 1], [1, 1], [-1, -1], [1, -1]],
        [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]],
        [[0, 0], [0, 0], [0, 0], [0, 0]],
        np.array(INDICATOR, bool),
        np.array(INDICATOR, np.uint8) * 255,
        np.array(INDICATOR, np.float32),
        np.asfortranarray(INDICATOR),
        [[0, 1, 0]] * 4,
        [[0, 1, 2], [1, 2, 0], [0, 1, 1], [2, 2, 2]],
        [[0.5, 1.0], [0.2, 1.0], [0.0, 1.0], [0.0, 1.0]],
        [[0.5, 0.5]] * 4,
        [[0.0, NAN]] * 4,
        [["a", "b"]] * 4,
        np.array([["a", "b"]] * 4),
        np.array([["a", "b"]] * 4, object),
    ],
    ids=repr,
)
@pytest.mark.parametrize("y_proba", [P, PAIRS, TRIPLES], ids=["vector", "two", "three"])
def test_indicators(same, y_true, y_proba):
    same(y_true, y_proba)
    same(y_true, y_proba, sample_weight=[1, 2, 0, 3])


@pytest.mark.parametrize(
    "y_true",
    [
        [1, 1, 1, 1],
        ["a"] * 4,
        [True] * 4,
        [1.0] * 4,
        np.zeros(4, np.uint64),
        np.ones(4, bool),
        [0.1, 0.9, 1, 0],
        np.array([0.1, 0.9, 1, 0], np.float32),
        np.array([[0.1], [0.9], [1], [0]]),
        [0, 1, NAN, 0],
        [0.5, 1, NAN, 0],
        [0, 1, INF, 0],
        [0, 1e300, 0, 1e300],
        [0, 2**70, 2**70, 0],
        [None, 1, 1, 0],
        ["a", None, "b", "a"],
        ["a", 1, "a", 1],
        ["a", NAN, "a", "b"],
        np.array(["a", 1, "a", 1], object),
        np.array(Y, object),
        np.array(Y, complex),
        [b"a", b"b", b"a", b"b"],
        np.array([b"a", b"b", b"a", b"b"]),
        np.zeros((4, 1, 1)),
        {0: 1, 1: 2, 2: 3, 3: 4},
        {0, 1, 2, 3},
        1,
        None,
        "abba",
        b"abba",
        np.float64(1.0),
        Y[:3],
        [],
        [0, 1, 2, 0],
        list("abca"),
        [0.0, 1.0, 2.0, 0.0],
    ],
    ids=repr,
)
def test_bad_labels(same, y_true):
    same(y_true, P)
    same(y_true, PAIRS)


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1],
        (0, 1),
        range(2),
        np.array([0, 1], np.int8),
        np.array([0.0, 1.0]),
        [False, True],
        Foreign([0, 1]),
        [1, 0],
        np.array([1, 0]),
        [0, 1, 2],
        [2, 1, 0],
        [-1, 0, 1],
        [1, 2],
        np.array([1, 2]),
        [0],
        [1],
        [],
        [0.5, 1.5],
        np.array([0.5, 1.5]),
        [NAN, 1.0],
        [None, 1],
        np.array([0, 1], object),
        ["0", "1"],
        ["a", 1],
        [b"a", b"b"],
        [[0, 1, 2], [3, 4, 5]],
        np.zeros((1, 2, 2)),
        {0, 1},
        3,
        "ab",
    ],
    ids=repr,
)
@pytest.mark.parametrize("y_proba", [P, PAIRS, TRIPLES], ids=["vector", "two", "three"])
def test_labels_argument(same, labels, y_proba):
    same(Y, y_proba, labels=labels)
    same(np.array(Y), y_proba, labels=labels)
    same([0, 0, 0, 0], y_proba, labels=labels)


@pytest.mark.parametrize("labels", [["a", "b"], ["b", "a"], ["a", "b", "c"], ["b", "c"], [0, 1]])
def test_labels_argument_for_strings(same, labels):
    same(list("aaba"), P, labels=labels)
    same(np.array(list("aaba")), TRIPLES, labels=np.array(labels))
    same(np.array(list("aaaa"), object), TRIPLES, labels=labels)
    same([0.0, NAN, 1.0, 0.0], P, labels=labels)
    same(["a", None, "a", "b"], P, labels=labels)


@pytest.mark.parametrize(
    "y_proba",
    [
        [0, 1, 1, 0],
        [False, True, True, False],
        ["0.1", "0.9", "0.8", "0.3"],
        np.array(P)[:, np.newaxis],
        np.array(P, object),
        np.array(P, np.longdouble),
        np.array(P, ">f8"),
        np.array(P, np.float32),
        np.array(P, np.float16),
        np.array(ONES_AND_ZEROS, np.float32),
        np.array(ONES_AND_ZEROS, np.float16),
        [-0.0, 1.0, 1.0, -0.0],
        [np.float32(value) for value in ONES_AND_ZEROS],
        Foreign(ONES_AND_ZEROS),
        Foreign(np.array(ONES_AND_ZEROS, np.float32)),
        np.asfortranarray(PAIRS),
        np.array(PAIRS)[::-1, ::-1],
        np.array(PAIRS, np.float32),
        np.array(PAIRS, np.float16),
        [0.1, NAN, 0.2, 0.3],
        [0.1, INF, 0.2, 0.3],
        [0.1, -INF, 0.2, 0.3],
        [INF, NAN, 0.2, 0.3],
        np.array([0.1, INF, 0.2, 0.3], np.float32),
        np.array([0.1, NAN, INF, 0.3], np.float16),
        [0.1, 1.5, 0.2, -3],
        [0.1, 1.0000000000000002, 0.2, 0.3],
        [0.1, -5e-324, 0.2, 0.3],
        np.array([0.1, -0.5, 0.2, 0.3], np.float32),
        np.array([0.1, 1.3, 0.2, 0.3], np.float16),
        [0, 2, 1, 0],
        [0.1, None, 0.2, 0.3],
        list("abcd"),
        np.array(P, complex),
        [0.1j, 0, 0, 0],
        np.zeros((4, 1, 1)),
        np.full((4, 1, 1), NAN),
        np.zeros((4, 0)),
        np.zeros((0, 2)),
        [],
        P[:3],
        0.5,
        "abcd",
        {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4},
        [[0.1], [0.1, 0.2], [1], [0]],
    ],
    ids=repr,
)
def test_probabilities(same, y_proba):
    same(Y, y_proba)
    same(np.array(Y), y_proba, normalize=False)
    same(Y, y_proba, labels=[0, 1], sample_weight=[1, 2, 3, 4])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize(
    "factor", [0.5, 0.9, 0.96, 0.999, 0.9999, 1.0, 1 - 1e-7, 1 - 1e-8, 1 - 5e-9]
)
@pytest.mark.parametrize("order", "CF")
def test_row_sums(same, dtype, factor, order):
    for rows in (PAIRS, TRIPLES):
        scaled = np.array(rows, order=order)
        scaled[1] *= factor
        same([0, 1, 2, 0] if rows is TRIPLES else Y, scaled.astype(dtype, order="K"))
    same([0, 0, 0, 0], scaled, labels=[0, 1])
    same([[0, 1, 1]] * 4, scaled.astype(dtype))


@pytest.mark.parametrize(
    "sample_weight",
    [
        [1, 2, 3, 4],
        (1.0, 2.0, 3.0, 4.0),
        np.array([1, 2, 3, 0.4], np.float32),
        np.array([1, 2, 3, 4], np.float16),
        np.array([1, 2, 3, 4], np.longdouble),
        np.array([200, 200, 200, 200], np.uint8),
        np.array([1, 2, 3, 4], object),
        np.array([1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0])[::2],
        np.array([2**62] * 4),
        [True, False, True, True],
        Foreign([1, 2, 3, 4]),
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [1, -1, 1, -1],
        [-1, 2, 3, 4],
        [-1, -1, -2, -3],
        [1, NAN, 2, 3],
        [1, INF, 2, 3],
        np.array([1, INF, 2, 3], np.float32),
        [1j, 1, 1, 1],
        np.ones((4, 1)),
        np.ones((4, 2)),
        np.ones((4, 1, 1)),
        [[1, 2, 3, 4]],
        [1, 2],
        [],
        2.0,
        "abcd",
    ],
    ids=repr,
)
@pytest.mark.parametrize("normalize", [True, False])
def test_sample_weight(same, sample_weight, normalize):
    for y_proba in (P, PAIRS):
        same(Y, y_proba, sample_weight=sample_weight, normalize=normalize)


@pytest.mark.parametrize("normalize", [np.True_, np.False_, 1, 0, None, "no"])
def test_normalize(same, normalize):
    same(Y, P, normalize=normalize)


def test_lengths(same):
    same(Y, P[:3])
    same(Y[:3], P)
    same(Y, P, sample_weight=[1, 2, 3])
    same(Y[:2], P[:3], sample_weight=[1])
    same([1], [0.5])
    same([1], [0.5], labels=[0, 1])
    same([1], [[0.5]], labels=[0, 1])
    same([1], [[0.2, 0.3, 0.5]], labels=[0, 1, 2])


def test_number_of_classes(same):
    same([0, 1, 2, 0], P)
    same([0, 1, 2, 0], PAIRS)
    same(Y, TRIPLES)
    same(Y, np.array(TRIPLES) * 0.9, labels=[1, 0])


@pytest.mark.parametrize("argument", ["y_true", "y_proba", "sample_weight", "labels"])
def test_sparse_arrays_are_refused(same, argument):
    sparse = pytest.importorskip("scipy.sparse")
    arguments = {"y_true": Y, "y_proba": PAIRS, "sample_weight": None, "labels": None}
    arguments[argument] = sparse.csr_array(np.array(PAIRS))
    y_true, y_proba = arguments.pop("y_true"), arguments.pop("y_proba")
    same(y_true, y_proba, **arguments)


def test_pandas(same):
    pd = pytest.importorskip("pandas")
    single = np.array(ONES_AND_ZEROS, np.float32)
    frame = pd.DataFrame(PAIRS)
    for y_true in (
        pd.Series(Y, index=[9, 8, 7, 6]),
        pd.Series(Y, dtype="Int64"),
        pd.Series([True, False, True, False], dtype="boolean"),
        pd.Series(list("abba")),
        pd.Series(list("abba"), dtype=object),
        pd.Series(list("abba"), dtype="category"),
        pd.DataFrame({"a": Y}),
        pd.DataFrame(INDICATOR),
        pd.Index(list("abba")),
    ):
        same(y_true, P)
        same(y_true, frame)
    for y_proba in (
        pd.Series(P),
        pd.Series(single),
        pd.Series(single).astype("Float32"),
        pd.Series([0.1, None, 0.2, 0.3], dtype="Float64"),
        frame.astype(object),
        pd.DataFrame(np.array(PAIRS, np.float32)),
        pd.DataFrame(np.array(PAIRS, np.float32)).astype("Float32"),
        pd.DataFrame({"a": [0.9, 0.1, 0.2, 0.7], "b": np.array(P, np.float32)}),
        pd.DataFrame({"a": [True, False, False, True], "b": [0.0, 1.0, 1.0, 0.0]}),
    ):
        same(Y, y_proba)
    same(Y, P, sample_weight=pd.Series([1, 2, 3, 4], dtype="Int64"))
    same(Y, P, sample_weight=pd.Series([1, 2, 3, None], dtype="Float64"))
    same(list("abba"), P, labels=pd.Series(list("ab"), dtype="category"))
    same(list("abba"), P, labels=pd.Index(["b", "a"]))
    same(Y, P, labels=pd.Series([1, 2]))


@pytest.mark.parametrize("n_classes", [2, 3, 100])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_large(same, rng, n_classes, dtype):
    n = 20_000 if n_classes < 100 else 2_000
    y = rng.integers(0, n_classes, n)
    proba = rng.dirichlet(np.full(n_classes, 0.3), n).astype(dtype)
    weight = rng.random(n)
    for labels in (y, y - 5, 3 * y, y.astype(float)):
        same(labels, proba)
        same(labels, proba, sample_weight=weight)
    # As strings the labels have another order; one dtype is enough for what is slow in Python.
    if dtype is np.float32:
        same(y.astype(str).astype(object), proba, sample_weight=weight)
    if n_classes == 2:
        same(y, proba[:, 1])
        same(y, proba[:, 1], sample_weight=weight)


def test_late_class(same, rng):
    y = np.zeros(20_000, int)
    y[1::2] = 1
    same(np.append(y, 2), rng.dirichlet(np.ones(3), len(y) + 1))
    same(np.append(y, 3), rng.dirichlet(np.ones(3), len(y) + 1))
    same(np.append(y, 10**6), rng.dirichlet(np.ones(3), len(y) + 1))


@pytest.mark.parametrize("n_columns", [1, 2, 3, 31, 40, 600])
def test_a_single_fault_is_found(same_on_every_isa, rng, n_columns):
    same = same_on_every_isa
    n = 600 if n_columns < 600 else 300
    y = rng.integers(0, max(2, n_columns), n)
    proba = rng.dirichlet(np.ones(max(2, n_columns)), n)
    proba = proba[:, 1] if n_columns == 1 else proba
    for row in (0, 7, 255, 256, n - 1):
        for value in (NAN, INF, -INF, -1e-9, 1.0 + 1e-9):
            faulty = proba.copy()
            faulty.reshape(n, -1)[row, -1] = value
            same(y, faulty)
            same(y, np.asfortranarray(faulty))
        if n_columns > 1:
            faulty = proba.copy()
            faulty[row] *= 0.99
            same(y, faulty)
        for label in (-1, n_columns + 1, 2**62):
            faulty = y.copy()
            faulty[row] = label
            same(faulty, proba)


@pytest.mark.parametrize("probability", [0.0, 1e-300, 1e-17, 1e-10, 1e-5, 0.5, 1 - 1e-10, 1.0])
def test_tails(same_on_every_isa, probability):
    for y in (0, 1):
        same_on_every_isa([y], [probability], labels=[0, 1])
        same_on_every_isa([y], [[probability, 1.0 - probability]], labels=[0, 1])


numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300)
label_kinds = st.one_of(
    st.lists(numbers, min_size=2, max_size=6, unique=True),
    st.lists(st.integers(-(2**53), 2**53).map(float), min_size=2, max_size=6, unique=True),
    st.lists(st.text("aAbß0 ", max_size=3), min_size=2, max_size=6, unique=True),
    st.just([False, True]),
)


@settings(deadline=None)
@given(st.data())
def test_any_labels(same, data):
    classes = sorted(data.draw(label_kinds, "classes"))
    n = data.draw(st.integers(1, 30), "n")
    y = data.draw(st.lists(st.sampled_from(classes), min_size=n, max_size=n), "y")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    proba = rng.dirichlet(np.full(len(classes), 0.5), n)
    if len(classes) == 2 and data.draw(st.booleans(), "vector"):
        proba = proba[:, 1]
    options = {"normalize": data.draw(st.booleans(), "normalize")}
    if data.draw(st.booleans(), "weighted"):
        options["sample_weight"] = rng.random(n)
    if data.draw(st.booleans(), "declared"):
        options["labels"] = data.draw(st.permutations(classes), "labels")
    as_array = data.draw(st.sampled_from([list, tuple, np.array]), "container")
    same(as_array(y), proba, **options)
