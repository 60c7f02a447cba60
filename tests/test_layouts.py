"""Arrays of any axis, strides, alignment and memory: the bits of the contiguous call, and no copy."""

import functools
import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cekernels as ck
from cekernels import _layout, _parallel, special

common = settings(
    deadline=None,
    derandomize=True,
    database=None,
    # The fixtures hold no state that one example could leave to the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
quick = settings(common, max_examples=150)
deep = settings(common, max_examples=3000)
SENTINEL = 12345.0


def contiguous(array):
    return np.array(array, order="C")


def fortran(array):
    return np.array(array, order="F", copy=True)


def backwards(array):
    """All strides are negative."""
    flip = (slice(None, None, -1),) * array.ndim
    return array[flip].copy()[(*flip, ...)]


def spread(array):
    """Elements and axes have gaps: no two axes are one in memory."""
    room = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
    view = room[(*(slice(1, None, 2) for _ in array.shape), ...)]
    view[...] = array
    return view


def in_records(array):
    """Strides are odd, and no element is aligned."""
    records = np.zeros(array.shape, [("tag", np.uint8), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


def rolled(array):
    """The first axis is the fastest in memory, the others as they are."""
    return np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0) if array.ndim else array.copy()


def shifted(array):
    """Contiguous, but at an odd address."""
    raw = np.zeros(array.nbytes + 1, np.uint8)
    moved = raw[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


WRITEABLE = [contiguous, fortran, backwards, spread, in_records, rolled, shifted]
LAYOUTS = [*WRITEABLE, read_only]
layouts = st.sampled_from(LAYOUTS)
output_layouts = st.sampled_from(WRITEABLE)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])


def owner(array):
    """Return the array whose memory this is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Outputs:
    """Arrays for results, and the memory around them."""

    def __init__(self):
        self.arrays = {}
        self.before = {}

    def add(self, name, layout, shape, dtype):
        array = layout(np.full(shape, SENTINEL, dtype))
        self.arrays[name], self.before[name] = array, owner(array).tobytes()

    def assert_surroundings(self):
        """Put back what was there, and compare all of the memory."""
        for name, array in self.arrays.items():
            array[...] = SENTINEL
            assert owner(array).tobytes() == self.before[name], name


def copies(results):
    """Return results that outlive the arrays that they are in."""
    results = results if type(results) is tuple else (results,)  # LossStats is one, too
    return tuple(r.copy() if isinstance(r, np.ndarray) else r for r in results)


@pytest.fixture
def eager_threads(monkeypatch):
    """Share even short work."""
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)


# Views


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 1), (4, 3), (1, 4, 1), (2, 1, 3, 2), (0, 3)])
def test_views_hold_the_same_elements(layout, shape):
    array = layout(np.arange(math.prod(shape), dtype=np.float64).reshape(shape))
    view = _layout.as_vector(array)
    assert np.array_equal(view.ravel(), array.ravel())
    assert array.size == 0 or np.shares_memory(view, array)
    for axis in range(len(shape)):
        rows = _layout.as_rows(array, axis)
        moved = np.moveaxis(array, axis, -1)
        assert rows.shape[-1] == shape[axis]
        assert np.array_equal(rows.ravel(), moved.ravel())
        assert array.size == 0 or np.shares_memory(rows, array)


def test_axes_that_follow_each_other_are_one():
    array = np.zeros((2, 3, 4, 5))
    assert _layout.as_vector(array).shape == (120,)
    assert _layout.as_vector(array[:, :, ::2]).shape == (2 * 3 * 2, 5)
    assert _layout.as_vector(array[:, ::2]).shape == (2, 2, 20)
    assert _layout.as_vector(np.broadcast_to(np.float64(1), (2, 3))).shape == (6,)
    assert _layout.as_rows(array, 3).shape == (24, 5)
    assert _layout.as_rows(array, 0).shape == (60, 2)
    assert _layout.as_rows(array, 1).shape == (2, 20, 3)
    assert _layout.as_rows(array[:, :, :1, ::2], 3).shape == (6, 3)


# cross_entropy

CLASS_OUTPUTS = ("grad", "hess", "proba", "lse", "scale_grad")
# Outputs with an axis of classes, and inputs with one.
BY_CLASS = {"grad", "hess", "proba", "logits", "where", "targets"}
class_options = st.fixed_dictionaries(
    {
        "reduction": st.sampled_from(["none", "sum", "mean", "stats"]),
        "label_smoothing": st.sampled_from([0.0, 0.0, 0.25]),
        "z_loss": st.sampled_from([0.0, 0.0, 0.125]),
        "softcap": st.sampled_from([None, None, 5.0]),
        "logit_scale": st.sampled_from([1.0, 1.0, 0.5]),
    }
)
class_cases = {
    "seed": seeds,
    "dtype": dtypes,
    "samples": st.sampled_from([(), (1,), (5,), (70,), (300,), (3, 100), (4, 1, 5), (2, 3, 2, 3)]),
    "axis": st.integers(0, 4),
    "n_classes": st.sampled_from([1, 2, 3, 10, 33, 64, 65, 96, 97, 100, 300]),
    "soft": st.booleans(),
    "inputs": st.lists(layouts, min_size=4, max_size=4),
    "present": st.sets(st.sampled_from(["sample_weight", "where", "class_weight"])),
    "options": class_options,
    "outputs": st.fixed_dictionaries(
        {name: st.sampled_from(["", "return", *WRITEABLE]) for name in ("out", *CLASS_OUTPUTS)}
    ),
    "in_place": st.booleans(),
    "n_threads": st.sampled_from([1, 2, 3]),
}


def class_arrays(rng, dtype, samples, n_classes, soft, present):
    """Return arguments whose classes are on the last axis."""
    x = rng.normal(0, 4, (*samples, n_classes)).astype(dtype)
    x[rng.uniform(size=x.shape) < 0.03] = -math.inf
    arrays = {"logits": x, "targets": rng.integers(0, n_classes, samples, np.int16)}
    if soft:
        arrays["targets"] = rng.uniform(size=x.shape).astype(dtype)
    if "sample_weight" in present:
        arrays["sample_weight"] = rng.integers(0, 3, samples).astype(dtype)
    if "where" in present:
        arrays["where"] = rng.uniform(size=x.shape) < 0.8
    if "class_weight" in present:
        arrays["class_weight"] = rng.uniform(0, 2, n_classes).astype(dtype)
    return arrays


def with_axis(name, array, axis, n_samples):
    """Return an array with its last axis, if that is of the classes, at `axis`."""
    if name in BY_CLASS and array.ndim > n_samples:
        return np.moveaxis(array, -1, axis)
    return array


def check_cross_entropy(
    assert_same_bits,
    *,
    seed,
    dtype,
    samples,
    axis,
    n_classes,
    soft,
    inputs,
    present,
    options,
    outputs,
    in_place,
    n_threads,
):
    rng = np.random.default_rng(seed)
    axis = min(axis, len(samples))
    arrays = class_arrays(rng, dtype, samples, n_classes, soft, present)
    everything = {f"return_{name}": True for name in CLASS_OUTPUTS}
    want = ck.cross_entropy(**arrays, **options, **everything, n_threads=1)
    want = dict(zip(("out", *CLASS_OUTPUTS), want, strict=True))
    arrays = {
        name: layout(with_axis(name, array, axis, len(samples)))
        for (name, array), layout in zip(arrays.items(), itertools.cycle(inputs), strict=False)
    }
    x, flags, outs = arrays["logits"], {}, Outputs()
    for name, how in outputs.items():
        argument = name if name == "out" else f"{name}_out"
        if how == "return":
            flags |= {f"return_{name}": True} if name != "out" else {}
        elif how and name in ("grad", "hess", "proba"):
            outs.add(argument, how, x.shape, dtype)
        elif how and name == "out" and options["reduction"] == "none":
            outs.add("out", how, samples, dtype)
    given = dict(outs.arrays)
    if in_place and x.flags.writeable:
        given["grad_out"] = x
    results = ck.cross_entropy(
        **arrays, **options, **flags, **given, axis=axis, n_threads=n_threads
    )
    named = {name for name in CLASS_OUTPUTS if f"return_{name}" in flags or f"{name}_out" in given}
    names = ["out", *(name for name in CLASS_OUTPUTS if name in named)]
    results = copies(results)
    for name, got in zip(names, results, strict=True):
        expected = want[name]
        if isinstance(expected, np.ndarray) and name in BY_CLASS:
            expected = np.moveaxis(expected, -1, axis)
        assert_same_bits(got, expected)
    outs.assert_surroundings()


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.filterwarnings("ignore:the mean of no weight")
@quick
@given(**class_cases)
def test_cross_entropy(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_cross_entropy(assert_same_bits, **case)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_threads")
@pytest.mark.filterwarnings("ignore:the mean of no weight")
@deep
@given(**class_cases)
def test_cross_entropy_deeply(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_cross_entropy(assert_same_bits, **case)


@pytest.mark.usefixtures("isa", "eager_threads")
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(50, 41, 30), (9, 70, 130)])
def test_chunks_and_threads(rng, dtype, assert_same_bits, shape, axis):
    """Several chunks, whose ends are anywhere in the axes."""
    x = rng.normal(0, 4, shape).astype(dtype)
    rows = np.moveaxis(x, axis, -1)
    labels = rng.integers(0, shape[axis], rows.shape[:-1])
    options = {"return_grad": True, "return_lse": True, "reduction": "none"}
    loss, grad, lse = ck.cross_entropy(rows.copy(), labels, n_threads=1, **options)
    want = loss, np.moveaxis(grad, -1, axis), lse
    for layout in LAYOUTS:
        got = ck.cross_entropy(layout(x), layout(labels), axis=axis, n_threads=2, **options)
        assert_same_bits(got, want)


def test_negative_axes(rng, assert_same_bits):
    x, labels = rng.normal(size=(4, 5, 6)), rng.integers(0, 4, (5, 6))
    want = ck.cross_entropy(x, labels, axis=0, return_grad=True)
    assert_same_bits(ck.cross_entropy(x, labels, axis=-3, return_grad=True), want)
    assert_same_bits(ck.cross_entropy(x, labels, axis=np.int8(-3), return_grad=True), want)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [1, 3, 64, 65, 97, 1000])
def test_one_sample_is_a_row_of_a_batch(rng, dtype, assert_same_bits, n_classes):
    x, labels = rng.normal(0, 4, (7, n_classes)).astype(dtype), rng.integers(0, n_classes, 7)
    options = {f"return_{name}": True for name in ("grad", "hess", "proba", "lse")}
    batch = ck.cross_entropy(x, labels, reduction="none", **options)
    for i in range(7):
        for row in (x[i], spread(x[i]), in_records(x[i])):
            got = ck.cross_entropy(row, labels[i], reduction="none", **options)
            assert_same_bits(got, tuple(result[i] for result in batch))


# Broadcasting: strides of 0


@pytest.mark.usefixtures("isa", "eager_threads")
@pytest.mark.parametrize("n_classes", [3, 100])
@pytest.mark.parametrize("kept", list(itertools.product([True, False], repeat=3)))
def test_broadcast_logits_and_targets(rng, dtype, assert_same_bits, n_classes, kept):
    shape = 20, 9, n_classes
    axes = tuple(np.flatnonzero(np.logical_not(kept)))

    def repeated(array):
        return np.broadcast_to(array[tuple(slice(None if keep else 1) for keep in kept)], shape)

    x = repeated(rng.normal(0, 4, shape).astype(dtype))
    soft = repeated(rng.uniform(size=shape).astype(dtype))
    where = repeated(rng.uniform(size=shape) < 0.7)
    assert all(x.strides[axis] == 0 for axis in axes)
    labels = np.broadcast_to(rng.integers(0, n_classes, (20, 1)), (20, 9))
    options = {"return_grad": True, "label_smoothing": 0.25}
    for targets in (soft, labels):
        with np.errstate(all="ignore"):
            got = ck.cross_entropy(x, targets, where=where, **options)
            want = ck.cross_entropy(x.copy(), targets.copy(), where=where.copy(), **options)
        assert_same_bits(got, want)
    loss = ck.binary_cross_entropy_with_logits
    assert_same_bits(
        loss(x, soft, sample_weight=soft, pos_weight=soft, return_grad=True),
        loss(
            x.copy(),
            soft.copy(),
            sample_weight=soft.copy(),
            pos_weight=soft.copy(),
            return_grad=True,
        ),
    )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", [(), (1,), (9,), (20, 1), (20, 9), (1, 1)])
def test_weights_are_broadcast(rng, dtype, assert_same_bits, shape):
    x, labels = rng.normal(0, 4, (20, 9, 5)).astype(dtype), rng.integers(0, 5, (20, 9))
    weight = rng.uniform(0.5, 2.0, shape).astype(dtype)
    whole = np.broadcast_to(weight, (20, 9)).copy()
    x0, y = x[..., 0].copy(), labels / 4
    layouts, reductions = (contiguous, spread, in_records, backwards), ("none", "mean", "stats")
    for layout, reduction in itertools.product(layouts, reductions):
        options = {"return_grad": True, "reduction": reduction}
        part = layout(weight)
        assert_same_bits(
            ck.cross_entropy(x, labels, sample_weight=part, **options),
            ck.cross_entropy(x, labels, sample_weight=whole, **options),
        )
        loss = ck.binary_cross_entropy_with_logits
        assert_same_bits(
            loss(x0, y, sample_weight=part, pos_weight=part, **options),
            loss(x0, y, sample_weight=whole, pos_weight=whole, **options),
        )


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [5, 70])
@pytest.mark.parametrize(
    "broadcast", [np.s_[0], np.s_[:, :1], np.s_[0, 0], np.s_[..., :1], np.s_[0, :, :1], np.s_[:]]
)
def test_masks_are_broadcast(rng, dtype, assert_same_bits, n_classes, broadcast):
    x, labels = rng.normal(0, 4, (20, 9, n_classes)).astype(dtype), rng.integers(0, 5, (20, 9))
    where = (rng.uniform(size=x.shape) < 0.7)[broadcast]
    options = {"return_grad": True, "label_smoothing": 0.25, "reduction": "none"}
    whole = np.broadcast_to(where, x.shape).copy()
    for mask in (where, spread(where), where.tolist()):
        assert_same_bits(
            ck.cross_entropy(x, labels, where=mask, **options),
            ck.cross_entropy(x, labels, where=whole, **options),
        )


# Binary losses

BINARY_OUTPUTS = ("grad", "hess", "proba")
binary_cases = {
    "seed": seeds,
    "dtype": dtypes,
    "shape": st.sampled_from([(), (1,), (17,), (300,), (0, 3), (20, 33), (3, 100, 4), (150, 120)]),
    "from_probs": st.booleans(),
    "inputs": st.lists(layouts, min_size=5, max_size=5),
    "present": st.sets(st.sampled_from(["sample_weight", "pos_weight", "complement", "ignore"])),
    "smoothing": st.sampled_from([0.0, 0.25]),
    "reduction": st.sampled_from(["none", "sum", "stats"]),
    "outputs": st.fixed_dictionaries(
        {name: st.sampled_from(["", "return", *WRITEABLE]) for name in ("out", *BINARY_OUTPUTS)}
    ),
    "in_place": st.booleans(),
    "n_threads": st.sampled_from([1, 2]),
}


def check_binary(
    assert_same_bits,
    *,
    seed,
    dtype,
    shape,
    from_probs,
    inputs,
    present,
    smoothing,
    reduction,
    outputs,
    in_place,
    n_threads,
):
    rng = np.random.default_rng(seed)
    first, other = ("probs", "pos_weight") if from_probs else ("logits", "complement")
    function = ck.binary_cross_entropy if from_probs else ck.binary_cross_entropy_with_logits
    x = np.asarray(rng.normal(0, 4, shape), dtype)
    arrays = {first: np.asarray(special.expit(x)) if from_probs else x}
    arrays["targets"] = np.asarray(rng.integers(0, 5, shape) / 4, dtype)
    makers = {
        "sample_weight": lambda: rng.integers(0, 3, shape),
        "pos_weight": lambda: rng.uniform(0, 2, shape),
        "complement": lambda: special.expit(-x),
    }
    arrays |= {n: np.asarray(makers[n](), dtype) for n in sorted(present - {other, "ignore"})}
    options = {"reduction": reduction, "label_smoothing": smoothing}
    options |= {"ignore_value": 0.25} if "ignore" in present else {}
    names = BINARY_OUTPUTS[:2] if from_probs else BINARY_OUTPUTS
    want = function(**arrays, **options, **{f"return_{n}": True for n in names}, n_threads=1)
    want = dict(zip(("out", *names), want, strict=True))
    arrays = {n: lay(a) for (n, a), lay in zip(arrays.items(), inputs, strict=False)}
    x, outs = arrays[first], Outputs()
    flags = {f"return_{n}": True for n in names if outputs[n] == "return"}
    for name in names:
        if callable(outputs[name]):
            outs.add(f"{name}_out", outputs[name], shape, dtype)
    if callable(outputs["out"]) and reduction == "none":
        outs.add("out", outputs["out"], shape, dtype)
    given = dict(outs.arrays) | ({"grad_out": x} if in_place and x.flags.writeable else {})
    results = copies(function(**arrays, **options, **flags, **given, n_threads=n_threads))
    named = [n for n in names if f"return_{n}" in flags or f"{n}_out" in given]
    assert_same_bits(results, tuple(want[name] for name in ("out", *named)))
    outs.assert_surroundings()


@pytest.mark.usefixtures("eager_threads")
@quick
@given(**binary_cases)
def test_binary(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_binary(assert_same_bits, **case)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_threads")
@deep
@given(**binary_cases)
def test_binary_deeply(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_binary(assert_same_bits, **case)


# Special functions

ELEMENTWISE = ("expit", "log_expit", "softplus")
NORMALISED = ("softmax", "log_softmax")
special_cases = {
    "seed": seeds,
    "dtype": dtypes,
    "name": st.sampled_from([*ELEMENTWISE, *NORMALISED, "logsumexp"]),
    "shape": st.sampled_from([(1,), (300,), (5, 1), (70, 3), (4, 65), (2, 3, 4, 5), (3, 200, 40)]),
    "axes": st.sets(st.integers(0, 3), min_size=1),
    "keepdims": st.booleans(),
    "layout": layouts,
    "output": st.one_of(st.none(), output_layouts),
    "in_place": st.booleans(),
    "n_threads": st.sampled_from([1, 2]),
}


def check_special(
    assert_same_bits,
    *,
    seed,
    dtype,
    name,
    shape,
    axes,
    keepdims,
    layout,
    output,
    in_place,
    n_threads,
):
    rng = np.random.default_rng(seed)
    function, array = getattr(special, name), rng.normal(0, 4, shape).astype(dtype)
    axes = tuple(sorted({axis % len(shape) for axis in axes}))
    axis = axes[0] if len(axes) == 1 else axes
    options = {}
    if name in ELEMENTWISE:
        want = function(array, n_threads=1)
    else:
        # The classes last in a contiguous array of two dimensions.
        back = tuple(range(-len(axes), 0))
        moved = np.moveaxis(array, axes, back)
        rows = moved.reshape(-1, math.prod(shape[i] for i in axes)).copy()
        want, options = function(rows, axis=1, n_threads=1), {"axis": axis}
        if name in NORMALISED:
            want = np.moveaxis(want.reshape(moved.shape), back, axes)
        else:
            options["keepdims"] = keepdims
            kept = [1 if i in axes else n for i, n in enumerate(shape)]
            want = want.reshape(kept) if keepdims else want.reshape(moved.shape[: -len(axes)])[()]
    array, outs = layout(array), Outputs()
    if in_place and name in ELEMENTWISE and array.flags.writeable:
        assert function(array, out=array, n_threads=n_threads) is array
        assert_same_bits(array, want)
        return
    if output is not None and np.ndim(want):
        outs.add("out", output, want.shape, dtype)
    got = function(array, **options, **outs.arrays, n_threads=n_threads)
    (got,) = copies(got)
    assert_same_bits(got, want)
    outs.assert_surroundings()


@pytest.mark.usefixtures("eager_threads")
@quick
@given(**special_cases)
def test_special(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_special(assert_same_bits, **case)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_threads")
@deep
@given(**special_cases)
def test_special_deeply(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_special(assert_same_bits, **case)


# Nothing


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "axis"), [((0, 3), 1), ((3, 0), 0), ((2, 0, 4), 2), ((0, 1), 1)])
def test_nothing(dtype, layout, shape, axis):
    x = layout(np.zeros(shape, dtype))
    samples = shape[:axis] + shape[axis + 1 :]
    outs = {"out": np.zeros(samples, dtype), "grad_out": layout(np.zeros(shape, dtype))}
    outs["grad_out"].flags.writeable = True
    options = {"axis": axis, "return_hess": True, "return_lse": True, "return_scale_grad": True}
    for targets in (np.zeros(samples, np.int8), x):
        loss, grad, hess, lse, scale = ck.cross_entropy(
            x, layout(targets), reduction="none", **outs, **options
        )
        assert loss is outs["out"]
        assert grad is outs["grad_out"]
        assert hess.shape == shape
        assert lse.shape == samples
        assert scale.shape == (2, *samples)
        assert ck.cross_entropy(x, targets, axis=axis, reduction="stats") == (0.0, 0.0, 0)
        value, scale = ck.cross_entropy(
            x, targets, axis=axis, reduction="sum", return_scale_grad=True
        )
        assert (value, *scale) == (0.0, 0.0, 0.0)
    assert special.softmax(x, axis=axis).shape == shape
    assert special.logsumexp(x, axis=axis).shape == samples
    assert special.logsumexp(x, axis=axis, keepdims=True).shape == (
        *shape[:axis],
        1,
        *shape[axis + 1 :],
    )


# Files


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n_classes", [10, 100])
def test_memory_mapped_inputs_and_outputs(dtype, rng, assert_same_bits, tmp_path, n_classes, order):
    x, labels = rng.normal(0, 4, (400, n_classes)).astype(dtype), rng.integers(0, n_classes, 400)
    want = ck.cross_entropy(x, labels, return_grad=True)
    np.save(tmp_path / "x.npy", np.asarray(x, order=order))
    np.save(tmp_path / "labels.npy", labels)
    grad = np.lib.format.open_memmap(
        tmp_path / "grad.npy", "w+", dtype, x.shape, fortran_order=order == "F"
    )
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    got = ck.cross_entropy(mapped, np.load(tmp_path / "labels.npy", mmap_mode="r"), grad_out=grad)
    assert got[1] is grad
    grad.flush()
    assert_same_bits((got[0], np.load(tmp_path / "grad.npy")), (want[0], want[1].copy("K")))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    ck.cross_entropy(mapped, labels, grad_out=mapped)
    assert_same_bits(np.load(tmp_path / "x.npy"), want[1])
    (new,) = ck.cross_entropy(mapped, labels, return_grad=True)[1:]
    assert type(new) is np.ndarray


# Memory that a call takes

LONG = 60_000  # logits
LOSSES = ("labels", "soft", "logits", "probs")


@functools.cache
def repeated(values, shape):
    return np.resize(values, shape)


def long_call(dtype, loss, layout, n_classes):
    """Return a loss with all of its outputs given, so that nothing has to be made."""
    n_rows = max(300, LONG // n_classes)
    shape = (n_rows, n_classes)
    x = repeated(tuple(np.linspace(-4, 4, 99)), shape).astype(dtype)
    outs = ["grad_out", "hess_out"]
    options = {"sample_weight": layout(np.full(n_rows, 0.5, np.float16))}
    if loss in ("labels", "soft"):
        function = ck.cross_entropy
        labels = np.arange(n_rows, dtype=np.int16) % n_classes
        targets = labels if loss == "labels" else np.full(shape, 0.25, np.float16)
        options["where"] = layout(repeated((True,) * 9 + (False,), shape))
        options |= {"label_smoothing": 0.25, "softcap": 5.0, "z_loss": 0.125}
    else:
        function = ck.binary_cross_entropy_with_logits
        targets = repeated((0, 1, 1), shape).astype(np.int8)
        options["sample_weight"] = options["sample_weight"][:, np.newaxis]
        if loss == "probs":
            function, x = ck.binary_cross_entropy, special.expit(x)
            options["complement"] = layout(np.float64(1) - x)
        else:
            options["pos_weight"] = np.full(n_classes, 2.0)
    outs += ["proba_out"] * (loss != "probs")
    options |= {name: layout(np.zeros(shape, dtype)) for name in outs}
    x, targets = layout(x), layout(targets)
    return lambda: function(x, targets, **options)


@pytest.mark.parametrize("n_classes", [3, 100, 1000])
@pytest.mark.parametrize("layout", WRITEABLE)
@pytest.mark.parametrize("loss", LOSSES)
def test_no_copy_of_any_array(dtype, loss, layout, n_classes):
    """The smallest takes a byte a logit, or two a row.  Columns are transposed 16 rows at a time."""
    call = long_call(dtype, loss, layout, n_classes)
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    row = n_classes * np.dtype(dtype).itemsize
    assert peak < 20_000 + 17 * row
