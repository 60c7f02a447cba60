"""Rows that are columns of memory: the bits of adjacent rows, wherever results go."""

import itertools
import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import _parallel, special

# Around the lanes, steps and chunks of both dtypes; from 97 classes on, 65 in float64, rows are
# no longer narrow.
SIZES = [
    (65, 33),
    (80, 16),
    (96, 17),
    (97, 40),
    (112, 16),
    (128, 8),
    (129, 16),
    (257, 33),
    (513, 20),
    (1025, 15),
    (2000, 8),
]
FEW_ROWS = [1, 3, 4, 7, 15, 17]
# Chunks of 27, 11, 9, 5, 3, 2 and 1 rows; the last two of each dtype are on both sides of what a tile holds.
MANY = {
    np.float32: [
        (600, 130),
        (1400, 47),
        (1800, 40),
        (5000, 21),
        (8192, 17),
        (65536, 17),
        (65537, 6),
    ],
    np.float64: [
        (600, 130),
        (1400, 47),
        (1800, 40),
        (2800, 21),
        (5000, 21),
        (65536, 9),
        (65537, 3),
    ],
}
OUTPUTS = ["grad", "hess", "proba"]
IGNORED = -100


def with_edges(rng, n, n_classes, dtype):
    """Return logits and labels, with rows of every special kind where there is room."""
    x, labels = rng.normal(0, 4, (n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    kinds = [
        [(np.s_[:], -math.inf)],
        [(np.s_[:], math.nan)],
        [(7, math.inf)],
        [([5, 8], math.inf)],
        [(5, math.inf), (-1, math.nan)],
        [(np.s_[::3], math.nan)],
        [(np.s_[1::2], -math.inf)],
        [(np.s_[4:], 2.5)],
        [(np.s_[:], 1e4), (-1, 2e4)],
    ]
    for row, kind in zip(rng.permutation(n), kinds, strict=False):
        for where, value in kind:
            x[row, where] = value
    labels[rng.uniform(size=n) < 0.1] = IGNORED
    largest = rng.uniform(size=n) < 0.2
    labels[largest] = np.argmax(x[largest], axis=1)
    return x, labels


def columns(array):
    """Return the same numbers with the first axis fastest in memory, without gaps."""
    return np.array(array, order="F", copy=True)


def wide_columns(array):
    """Classes are a page apart, and begin in the middle of a cache line."""
    room = np.zeros((array.shape[1], 4096 // array.itemsize), array.dtype)
    view = room[:, 3 : 3 + len(array)].T
    view[...] = array
    return view


def every_second(array):
    room = np.zeros((len(array), 2 * array.shape[1]), array.dtype)
    room[:, ::2] = array
    return room[:, ::2]


def call(x, labels, grad_out=None, **options):
    """Return loss, gradient and what else the options ask for, as copies."""
    with np.errstate(all="ignore"):
        results = ck.cross_entropy(
            x, labels, grad_out=grad_out, return_grad=True, ignore_index=IGNORED, **options
        )
    assert grad_out is None or results[1] is grad_out
    return tuple(np.copy(result) for result in results)


def variants(rng, n, n_classes, dtype):
    """Return options with which rows are computed as they lie, and some with which they are not."""
    weights = {
        "sample_weight": rng.integers(0, 3, n).astype(dtype),
        "class_weight": rng.uniform(0.5, 2, n_classes).astype(dtype),
    }
    return [
        {"reduction": "none", "return_lse": True},
        {"reduction": "sum", **weights},
        {"reduction": "none", "label_smoothing": 0.25, "softcap": 5.0},
        {"reduction": "none", "return_hess": True, "return_proba": True, **weights},
    ]


@pytest.mark.parametrize(("n_classes", "n"), SIZES)
def test_columns(rng, dtype, every_isa, assert_same_bits, n_classes, n):
    x, labels = with_edges(rng, n, n_classes, dtype)
    cases = variants(rng, n, n_classes, dtype)
    for _ in every_isa():
        for options in cases:
            want = call(x, labels, **options)
            for layout in (columns, wide_columns):
                z = layout(x)
                assert_same_bits(call(z, labels, **options), want)
                for out in (np.zeros_like(x), every_second(x), layout(np.zeros_like(x)), z):
                    assert_same_bits(call(z, labels, grad_out=out, **options), want)
            assert_same_bits(call(x, labels, grad_out=columns(x), **options), want)


@pytest.mark.parametrize(("n_classes", "n"), SIZES)
def test_softmax_of_columns(rng, dtype, every_isa, assert_same_bits, n_classes, n):
    x, _ = with_edges(rng, n, n_classes, dtype)
    for _, function in itertools.product(every_isa(), [special.softmax, special.log_softmax]):
        want = function(x, axis=1)
        for layout in (columns, wide_columns):
            z = layout(x)
            assert_same_bits(special.logsumexp(z, axis=1), special.logsumexp(x, axis=1))
            for out in (np.zeros_like(x), every_second(x), layout(np.zeros_like(x))):
                assert function(z, axis=1, out=out) is out
                assert_same_bits(np.copy(out), want)
        images = np.ascontiguousarray(x.T).reshape(1, n_classes, n, 1)
        assert_same_bits(function(images, axis=1)[0, :, :, 0].T, want)


def soft_targets(rng, n, n_classes, dtype):
    soft = rng.dirichlet(np.ones(n_classes), n).astype(dtype)
    soft[rng.uniform(size=soft.shape) < 0.1] = 0
    return soft


def relatives(labels, soft, vector):
    """Return the losses, and the products, that take rows as cross-entropy does."""
    options = {"reduction": "none", "sample_weight": (labels % 3).astype(soft.dtype)}
    kept = {**options, "ignore_index": IGNORED}
    kl = {**options, "return_hess": True, "return_proba": True, "return_lse": True}
    return [
        lambda x, _, out: ck.nll_loss(x, labels, grad_out=out, **kept),
        lambda x, _, out: ck.nll_loss(x, labels, grad_out=out, label_smoothing=0.25, **kept),
        lambda x, lay, out: ck.nll_loss(x, lay(soft), grad_out=out, **options),
        lambda x, lay, out: ck.kl_divergence(x, lay(soft), grad_out=out, **kl),
        lambda x, lay, out: ck.kl_divergence(x, lay(soft), grad_out=out, **options),
        lambda x, lay, out: ck.js_divergence(x, lay(soft), grad_out=out, **options),
        lambda x, _, out: (ck.cross_entropy_hvp(x, labels, vector, ignore_index=IGNORED, out=out),),
        lambda x, lay, out: (ck.cross_entropy_hvp(x, lay(soft), lay(vector), out=out),),
    ]


@pytest.mark.parametrize(("n_classes", "n"), [(97, 40), (130, 23), (600, 33), (1500, 19)])
def test_relatives_of_columns(rng, dtype, every_isa, assert_same_bits, n_classes, n):
    x, labels = with_edges(rng, n, n_classes, dtype)
    soft = soft_targets(rng, n, n_classes, dtype)
    vector = rng.normal(size=x.shape).astype(dtype)
    layouts = itertools.cycle([columns, wide_columns])
    for _, function in itertools.product(every_isa(), relatives(labels, soft, vector)):
        with np.errstate(all="ignore"):
            want = function(x, np.copy, np.zeros_like(x))
            for lay in (np.copy, next(layouts)):
                for out in (every_second(x), next(layouts)(np.zeros_like(x))):
                    got = function(next(layouts)(x), lay, out)
                    assert_same_bits(tuple(map(np.copy, got)), want)


def test_gradients_in_place_of_columns(rng, dtype, every_isa, assert_same_bits):
    x, labels = with_edges(rng, 37, 150, dtype)
    soft = soft_targets(rng, *x.shape, dtype)
    for _, function in itertools.product(every_isa(), relatives(labels, soft, x)[:6]):
        with np.errstate(all="ignore"):
            z, want = columns(x), function(x, np.copy, np.zeros_like(x))
            assert_same_bits(tuple(map(np.copy, function(z, columns, z))), want)


@pytest.mark.parametrize(("n_classes", "n"), [(97, 20), (520, 3)])
def test_hessians_of_columns(rng, dtype, every_isa, assert_same_bits, n_classes, n):
    x, labels = rng.normal(0, 4, (n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    for _ in every_isa():
        want = ck.cross_entropy_hessian(x, labels)
        assert_same_bits(ck.cross_entropy_hessian(columns(x), labels), want)


@pytest.mark.parametrize("n_classes", [70, 600])
def test_any_number_of_rows(rng, dtype, every_isa, assert_same_bits, n_classes):
    x, labels = with_edges(rng, max(FEW_ROWS), n_classes, dtype)
    for _, n in itertools.product(every_isa(), FEW_ROWS):
        want = call(x[:n], labels[:n], reduction="none", return_lse=True)
        room = wide_columns(x)
        before = room.copy()
        part = room[:n]
        got = call(part, labels[:n], grad_out=part, reduction="none", return_lse=True)
        assert_same_bits(got, want)
        assert_same_bits(room[n:], before[n:])


def results(x, labels, layouts, **options):
    """Return the outputs that have a layout, in arrays of that layout."""
    outs = {f"{name}_out": layout(np.zeros_like(x)) for name, layout in layouts.items()}
    got = ck.cross_entropy(x, labels, **outs, **options)
    return {"loss": got[0], **{name: outs[f"{name}_out"].copy() for name in layouts}}


@pytest.mark.parametrize(("n_classes", "n"), [(64, 17), (100, 29), (600, 13)])
def test_subsets_of_outputs(rng, dtype, every_isa, assert_same_bits, n_classes, n):
    x, labels = with_edges(rng, n, n_classes, dtype)
    soft = rng.dirichlet(np.ones(n_classes), n).astype(dtype)
    subsets = [names for size in (1, 2, 3) for names in itertools.combinations(OUTPUTS, size)]
    layouts = itertools.cycle([columns, columns, wide_columns, every_second, np.copy])
    for _ in every_isa():
        for targets, options in [
            (labels, {"ignore_index": IGNORED}),
            (labels, {"ignore_index": IGNORED, "z_loss": 0.125}),
            (labels, {"ignore_index": IGNORED, "softcap": 5.0}),
            (columns(soft), {"label_smoothing": 0.25}),
        ]:
            with np.errstate(all="ignore"):
                want = results(x, targets, dict.fromkeys(OUTPUTS, np.copy), **options)
                for names in subsets:
                    got = results(
                        columns(x), targets, {name: next(layouts) for name in names}, **options
                    )
                    for name in ("loss", *names):
                        assert_same_bits(got[name], want[name])


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("place", range(7))
def test_many_classes(rng, dtype, every_isa, assert_same_bits, monkeypatch, place, n_threads):
    """Chunks that are run together keep their own sums, wherever threads cut them."""
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)
    n_classes, n = MANY[dtype][place]
    x, labels = with_edges(rng, n, n_classes, dtype)
    finite = rng.normal(0, 4, x.shape).astype(dtype)
    z, out = columns(x), columns(x)
    options = {"return_hess": True, "return_proba": True, "n_threads": n_threads}
    for _ in every_isa():
        want = call(x, labels, reduction="none", return_lse=True)
        out[...] = x
        got = call(out, labels, grad_out=out, reduction="none", return_lse=True, **options)
        assert_same_bits((got[0], got[1], got[-1]), want)
        for smoothing in (0.0, 0.25) if n_classes < 60_000 else (0.0,):
            want = call(finite, labels, label_smoothing=smoothing, return_hess=True)
            z[...] = finite
            got = call(z, labels, label_smoothing=smoothing, grad_out=out, **options)
            assert_same_bits(got[:3], want)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("shape", [(3, 90, 7, 7), (2, 150, 13, 19), (1, 1000, 5, 10)])
def test_images(rng, dtype, every_isa, assert_same_bits, monkeypatch, shape, n_threads):
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)
    x = rng.normal(0, 4, shape).astype(dtype)
    rows = np.moveaxis(x, 1, -1).copy()
    labels = rng.integers(0, shape[1], rows.shape[:-1])
    for _ in every_isa():
        for options in ({"reduction": "none", "return_lse": True}, {"return_hess": True}):
            want = list(call(rows, labels, **options))
            want[1:] = [np.moveaxis(a, -1, 1) if a.ndim == 4 else a for a in want[1:]]
            got = call(x, labels, axis=1, n_threads=n_threads, **options)
            assert_same_bits(got, tuple(want))


@pytest.mark.parametrize("half", [np.float16, "bfloat16"])
def test_half_precision(rng, every_isa, assert_same_bits, half):
    dtype = pytest.importorskip("ml_dtypes").bfloat16 if half == "bfloat16" else half
    x, labels = with_edges(rng, 40, 130, dtype)
    want = [call(x, labels, reduction="none", return_lse=True) for _ in every_isa()]
    for i, _ in enumerate(every_isa()):
        for out in (None, np.zeros_like(x), columns(x)):
            got = call(columns(x), labels, grad_out=out, reduction="none", return_lse=True)
            assert_same_bits(got, want[i])


# The plain call: no option but the axis


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [3, 70, 1100])
@pytest.mark.parametrize("samples", [(30,), (1, 6, 5), (2, 3, 5), (30, 1), (1, 1)], ids=str)
def test_plain_calls(rng, dtype, assert_same_bits, samples, n_classes):
    rows = rng.normal(0, 4, (*samples, n_classes)).astype(dtype)
    labels = rng.integers(0, n_classes, samples, np.int16)
    loss, grad = ck.cross_entropy(rows, labels, return_grad=True, n_threads=1)
    for axis in range(-len(samples) - 1, len(samples) + 1):
        x = np.moveaxis(rows, -1, axis).copy()
        want = loss, np.moveaxis(grad, -1, axis)
        assert_same_bits(ck.cross_entropy(x, labels, axis=axis), loss)
        assert_same_bits(ck.cross_entropy(x, labels, axis=axis, return_grad=True), want)
        got = ck.cross_entropy(x, columns(labels), axis=axis, grad_out=columns(x))
        assert_same_bits(got, want)
        assert_same_bits(ck.cross_entropy(x, labels, axis=axis, grad_out=x), want)
        assert_same_bits(x, want[1])


@pytest.mark.parametrize("axis", [-4, 3, 2**70])
def test_axis_out_of_range(axis):
    with pytest.raises(ValueError, match="axis"):
        ck.cross_entropy(np.zeros((2, 3, 4)), np.zeros((2, 4), int), axis=axis)


def test_labels_of_another_shape():
    for shape in [(2, 3), (4, 2), (8,), (2, 4, 1), (2, 2)]:
        with pytest.raises(ValueError, match="targets"):
            ck.cross_entropy(np.zeros((2, 3, 4)), np.zeros(shape, int), axis=1)
    with pytest.raises(ck.LabelError, match="5"):
        ck.cross_entropy(np.zeros((2, 3, 4)), np.full((2, 4), 5), axis=1)


# Binary losses of matrices in Fortran order


@pytest.mark.parametrize("n_threads", [None, 1, 2])
@pytest.mark.parametrize(
    "shape", [(700, 5), (999, 4), (400, 3), (163, 101), (40, 1000), (11, 3000), (3, 9000)]
)
def test_binary_matrices(rng, dtype, every_isa, assert_same_bits, monkeypatch, shape, n_threads):
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)
    loss = ck.binary_cross_entropy_with_logits
    x, y = rng.normal(0, 4, shape).astype(dtype), rng.integers(0, 5, shape) / dtype(4)
    x[:: shape[0] // 2, 1] = math.inf
    options = {"n_threads": n_threads}
    for _ in every_isa():
        value, grad = loss(x, y, return_grad=True, n_threads=1)
        for given, targets in [(columns(x), columns(y)), (columns(x), y), (x, columns(y))]:
            assert_same_bits(loss(given, targets, **options), value)
            for out in (np.zeros_like(x), columns(x), every_second(x)):
                got = loss(given, targets, grad_out=out, **options)
                assert_same_bits((got[0], out.copy()), (value, grad))
            out = given.copy("K")
            got = loss(out, targets, grad_out=out, **options)
            assert_same_bits((got[0], out.copy()), (value, grad))


def test_first_bad_target_of_a_matrix(dtype):
    x = np.zeros((50, 6), dtype, order="F")
    y = x.copy("K")
    y[30, 0], y[7, 4] = 2, 3
    with pytest.raises(ValueError, match="3"):
        ck.binary_cross_entropy_with_logits(x, y)
