"""The same bits for any subset of outputs, in place, any layout, any threads, any ISA with FMA."""

import ctypes
import ctypes.util
import itertools
import math
import platform
import tracemalloc
from functools import partial

import numpy as np
import pytest

import cekernels as ck
from cekernels import _parallel, _runtime, reference, special

# One chunk is 16,384 elements: several, and a rest that fills no vector.
LONG = 9 * 16384 + 123
THREADS = (1, 2, 3, 8)

SPECIAL = [0.0, -0.0, 1e-40, -88.0, 88.0, -104.0, 745.0, 3e38, math.inf, -math.inf, math.nan]


class Problem:
    """A call of one loss whose arrays can be laid out anew."""

    def __init__(self, function, outputs, *arrays, **keyword_arrays):
        self.function = function
        self.outputs = outputs
        self.arrays = arrays
        self.keyword_arrays = keyword_arrays

    def __call__(self, layout=lambda array: array, outputs=None, **options):
        outputs = self.outputs if outputs is None else outputs
        return self.function(
            *(layout(array) for array in self.arrays),
            **{name: layout(array) for name, array in self.keyword_arrays.items()},
            **{f"return_{name}": True for name in outputs},
            **options,
        )


BINARY_OUTPUTS = ("grad", "hess", "proba")
CLASS_OUTPUTS = ("grad", "hess", "proba", "lse")


def make_problem(name, rng, dtype, n=1000, n_classes=10):
    function = getattr(ck, name.split("-")[0])
    weight = rng.uniform(0.25, 2, n).astype(dtype)
    if name.startswith("binary"):
        x, y = rng.normal(0, 6, n).astype(dtype), rng.uniform(size=n).astype(dtype)
        if "logits" not in name:
            return Problem(function, BINARY_OUTPUTS[:2], special.expit(x), y, sample_weight=weight)
        if "plain" in name:
            return Problem(function, BINARY_OUTPUTS, x, np.round(y))
        return Problem(
            function, BINARY_OUTPUTS, x, y, sample_weight=weight, pos_weight=weight[::-1].copy()
        )
    x = rng.normal(0, 6, (n, n_classes)).astype(dtype)
    if "labels" in name:
        return Problem(function, CLASS_OUTPUTS, x, rng.integers(0, n_classes, n))
    target = reference.softmax(rng.normal(0, 2, x.shape), axis=1).astype(dtype)
    return Problem(function, CLASS_OUTPUTS, x, target, sample_weight=weight)


PROBLEMS = [
    ("binary_cross_entropy_with_logits-plain", {}),
    ("binary_cross_entropy_with_logits", {}),
    ("binary_cross_entropy", {}),
    ("cross_entropy-labels", {"n_classes": 3}),
    ("cross_entropy-labels", {"n_classes": 10}),
    ("cross_entropy-labels", {"n_classes": 100, "n": 300}),
    ("cross_entropy-labels", {"n_classes": 1003, "n": 40}),
    ("cross_entropy-targets", {"n_classes": 10}),
    ("cross_entropy-targets", {"n_classes": 100, "n": 300}),
]


@pytest.fixture(params=PROBLEMS, ids=lambda p: "-".join([p[0], *map(str, p[1].values())]))
def problem(request, isa, rng, dtype):  # noqa: ARG001
    name, sizes = request.param
    return make_problem(name, rng, dtype, **sizes)


# Outputs


@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "stats"])
def test_every_subset_of_outputs_has_the_same_bits(problem, assert_same_bits, reduction):
    loss, *arrays = problem(reduction=reduction)
    everything = dict(zip(problem.outputs, arrays, strict=True))
    for size in range(len(problem.outputs)):
        for names in itertools.combinations(problem.outputs, size):
            got = problem(outputs=names, reduction=reduction)
            want = (loss, *(everything[name] for name in names)) if names else loss
            assert_same_bits(got, want)


def short_calls(rng, dtype):
    """Yield the short way's losses with arrays of any layout, and the shape of their weights."""
    x = rng.normal(0, 6, (40, 7, 3)).astype(dtype)
    for logits, axis in ((x, 1), (x[..., 0].copy("F"), -1), (x[..., 0].copy(), 0)):
        samples = tuple(np.delete(logits.shape, axis))
        labels, proba = rng.integers(0, logits.shape[axis], samples), rng.uniform(size=logits.shape)
        yield Problem(partial(ck.cross_entropy, axis=axis), CLASS_OUTPUTS, logits, labels), samples
        binary = ck.binary_cross_entropy_with_logits
        yield Problem(binary, BINARY_OUTPUTS, logits, proba), logits.shape


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, np.float64, np.float32, np.int8])
def test_short_and_long_way_have_the_same_bits(
    isa,  # noqa: ARG001
    dtype,
    rng,
    assert_same_bits,
    weight,
    smoothing,
    reduction,
):
    """A call that names its threads goes the long way."""
    options = {"reduction": reduction, "label_smoothing": smoothing}
    for call, shape in short_calls(rng, dtype):
        if weight is not None:
            options["sample_weight"] = (4 * rng.uniform(size=shape)).astype(weight)
        for size in range(len(call.outputs) + 1):
            for names in itertools.combinations(call.outputs, size):
                want = call(outputs=names, n_threads=1, **options)
                assert_same_bits(call(outputs=names, **options), want)
        loss, grad, *_ = call(n_threads=1, **options)
        got = call(outputs=["grad"], grad_out=np.empty_like(grad), **options)
        assert_same_bits(got, (loss, grad))
        assert call(**options)[1].strides == grad.strides


@pytest.mark.parametrize("name", ["binary_cross_entropy_with_logits", "cross_entropy"])
def test_short_way_leaves_to_the_long_way_what_it_cannot_answer(name):
    """Weights that add up to nothing, overlapping memory, targets that are none."""
    function = getattr(ck, name)
    x, targets = np.ones((4, 2)), np.ones(4, np.int64)
    x = x if name == "cross_entropy" else x[:, 0].copy()
    for weight in (np.zeros(4), np.array([1.0, -1.0, 2.0, -2.0])):
        with pytest.warns(RuntimeWarning, match="the mean of no weight is nan"):
            loss, grad = function(x, targets, sample_weight=weight, return_grad=True)
        assert math.isnan(loss)
        assert not grad.any()
    weight = np.ones(8).reshape(4, 2) if x.ndim == 2 else np.ones(4)
    shared = weight[:, 0] if x.ndim == 2 else weight
    with pytest.raises(ValueError, match="grad_out shares memory with sample_weight"):
        function(x, targets, sample_weight=shared, grad_out=weight)
    assert np.all(weight == 1.0)
    untouched = np.full(x.shape, 5.0)
    with pytest.raises(ValueError, match=r"must be in \[0, "):
        function(x, 2 * targets, label_smoothing=0.1, return_hess=True, grad_out=untouched)
    assert np.all(untouched == 5.0)


def guarded(shape, dtype):
    """Return a full array with room on both sides, and the part of it that is to be written."""
    size = math.prod(shape)
    whole = np.full(size + 34, 12345.0, dtype)
    return whole, whole[17 : 17 + size].reshape(shape)


def test_given_outputs_are_written_and_nothing_else(problem, dtype, assert_same_bits):
    want = problem(reduction="none")
    names = ["out"]
    if problem.outputs[-1] == "lse":
        names += [f"{name}_out" for name in problem.outputs[:-1]]
    else:
        names += [f"{name}_out" for name in problem.outputs]
    buffers = {name: guarded(array.shape, dtype) for name, array in zip(names, want, strict=False)}
    outs = {name: part for name, (_, part) in buffers.items()}
    got = problem(outputs=(), reduction="none", **outs)
    assert_same_bits(got, want[: len(names)])
    for array, (name, (whole, part)) in zip(got, buffers.items(), strict=True):
        assert array is part, name
        assert np.all(whole[:17] == 12345.0), name
        assert np.all(whole[-17:] == 12345.0), name


def test_gradient_over_the_logits(problem, assert_same_bits):
    for reduction in ("none", "mean"):
        want = problem(reduction=reduction)
        x = problem.arrays[0].copy()
        in_place = Problem(
            problem.function, problem.outputs, x, *problem.arrays[1:], **problem.keyword_arrays
        )
        got = in_place(reduction=reduction, grad_out=x)
        assert got[1] is x
        assert_same_bits(got, want)
        x[...] = problem.arrays[0]
        assert_same_bits(in_place(outputs=(), reduction=reduction, grad_out=x), want[:2])


# Layouts


def unaligned(array):
    raw = np.empty(array.nbytes + 1, np.uint8)
    moved = raw[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array):
    return np.repeat(array, 3, axis=0)[1::3]


def backwards(array):
    return array[::-1].copy()[::-1]


def with_gaps_in_rows(array):
    return np.repeat(array, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize(
    "layout", [unaligned, read_only, strided, backwards, with_gaps_in_rows, np.asfortranarray]
)
def test_layouts_have_the_same_bits(problem, assert_same_bits, layout):
    assert_same_bits(problem(layout), problem())


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    "layout", [unaligned, read_only, strided, with_gaps_in_rows, np.asfortranarray]
)
def test_layouts_of_many_dimensions(dtype, rng, assert_same_bits, layout):
    x, y = rng.normal(0, 3, (6, 7, 8)).astype(dtype), rng.uniform(size=(6, 7, 8)).astype(dtype)
    weight = rng.uniform(size=(6, 7, 8)).astype(dtype)
    loss = ck.binary_cross_entropy_with_logits
    assert_same_bits(
        loss(layout(x), layout(y), sample_weight=layout(weight), return_grad=True),
        loss(x, y, sample_weight=weight, return_grad=True),
    )
    labels, weight = rng.integers(0, 8, (6, 7)), weight[..., 0].copy()
    for target in (labels, reference.softmax(y, axis=-1).astype(dtype)):
        assert_same_bits(
            ck.cross_entropy(
                layout(x), layout(target), sample_weight=layout(weight), return_grad=True
            ),
            ck.cross_entropy(x, target, sample_weight=weight, return_grad=True),
        )


def test_memory_mapped_files(problem, assert_same_bits, tmp_path):
    files = iter(range(10))

    def mapped(array):
        path = tmp_path / f"{next(files)}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    assert_same_bits(problem(mapped), problem())


@pytest.mark.usefixtures("isa")
def test_special_functions_of_any_layout(dtype, rng, assert_same_bits):
    x = rng.normal(0, 3, (40, 33)).astype(dtype)
    for layout in (unaligned, read_only, strided, with_gaps_in_rows, np.asfortranarray):
        for name in ("expit", "log_expit", "softplus"):
            function = getattr(special, name)
            assert_same_bits(function(layout(x)), function(x))
        for name in ("softmax", "log_softmax", "logsumexp"):
            function = getattr(special, name)
            assert_same_bits(function(layout(x), axis=1), function(x, axis=1))
    for name in ("expit", "log_expit", "softplus", "softmax", "log_softmax"):
        out = np.empty_like(x)
        assert getattr(special, name)(x, out=out) is out
        assert_same_bits(out, getattr(special, name)(x))


# Threads and instruction sets

LONG_PROBLEMS = [
    ("binary_cross_entropy_with_logits-plain", {"n": LONG}),
    ("binary_cross_entropy_with_logits", {"n": LONG}),
    ("binary_cross_entropy", {"n": LONG}),
    ("cross_entropy-labels", {"n": LONG // 3, "n_classes": 3}),
    ("cross_entropy-labels", {"n": LONG // 100, "n_classes": 100}),
    ("cross_entropy-targets", {"n": LONG // 10, "n_classes": 10}),
    ("cross_entropy-labels", {"n": 5, "n_classes": LONG // 3}),
]


@pytest.fixture(params=LONG_PROBLEMS, ids=lambda p: "-".join([p[0], *map(str, p[1].values())]))
def make_long_problem(request, rng, dtype):
    name, sizes = request.param
    return lambda: make_problem(name, rng, dtype, **sizes)


@pytest.fixture
def eager_threads(monkeypatch):
    """Share even short work."""
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 8)


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_threads_have_the_same_bits(every_isa, make_long_problem, assert_same_bits, reduction):
    problem = make_long_problem()
    for _ in every_isa():
        want = problem(reduction=reduction, n_threads=1)
        for n_threads in THREADS[1:]:
            assert_same_bits(problem(reduction=reduction, n_threads=n_threads), want)
        with ck.threads(3):
            assert_same_bits(problem(reduction=reduction), want)


@pytest.mark.usefixtures("isa", "eager_threads")
def test_threads_of_special_functions(dtype, rng, assert_same_bits):
    x = rng.normal(0, 6, (LONG // 10, 10)).astype(dtype)
    for name in ("expit", "log_expit", "softplus"):
        want = getattr(special, name)(x, n_threads=1)
        for n_threads in THREADS[1:]:
            assert_same_bits(getattr(special, name)(x, n_threads=n_threads), want)
    for name in ("softmax", "log_softmax", "logsumexp"):
        want = getattr(special, name)(x, axis=1, n_threads=1)
        for n_threads in THREADS[1:]:
            assert_same_bits(getattr(special, name)(x, axis=1, n_threads=n_threads), want)


FMA_ISAS = [name for name in _runtime.available_isas() if name != "baseline"]


@pytest.mark.skipif(len(FMA_ISAS) < 2, reason="this processor runs one ISA with FMA")
def test_isas_with_fma_have_the_same_bits(make_long_problem, assert_same_bits):
    problem = make_long_problem()
    results = []
    for name in FMA_ISAS:
        with _runtime.use_isa(name):
            results.append((problem(reduction="none"), problem(reduction="mean")))
    assert_same_bits(results[0], results[1])


@pytest.mark.skipif(len(FMA_ISAS) < 2, reason="this processor runs one ISA with FMA")
def test_special_functions_have_the_same_bits_on_isas_with_fma(dtype, rng, assert_same_bits):
    x = np.concatenate([rng.normal(0, 30, 5000), SPECIAL]).astype(dtype)
    rows = rng.normal(0, 6, (50, 103)).astype(dtype)
    results = []
    for name in FMA_ISAS:
        with _runtime.use_isa(name):
            unary = [getattr(special, f)(x) for f in ("expit", "log_expit", "softplus")]
            names = ("softmax", "log_softmax", "logsumexp")
            results.append((*unary, *(getattr(special, f)(rows, axis=1) for f in names)))
    assert_same_bits(results[0], results[1])


# Memory


def test_no_temporary_of_the_size_of_the_logits(make_long_problem):
    """With all outputs given, a call needs a few blocks and one number a chunk."""
    problem = make_long_problem()
    names = [name for name in problem.outputs if name != "lse"]
    outs = {f"{name}_out": np.empty_like(problem.arrays[0]) for name in names}
    tracemalloc.start()
    problem(outputs=(), **outs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LONG // 4


# The floating-point environment


def floating_point_flags():
    """Return the C functions that clear and test the flags of the processor, and their bits."""
    library = ctypes.util.find_library("m")
    if library is None:
        pytest.skip("no C library of mathematics to ask for the flags")
    bits = (1, 4, 8, 16) if platform.machine() in {"x86_64", "AMD64", "i686"} else (1, 2, 4, 8)
    return ctypes.CDLL(library), sum(bits)


def test_flags_are_untouched(problem):
    library, bits = floating_point_flags()
    x = problem.arrays[0].copy()
    if problem.function is not ck.binary_cross_entropy:
        x.ravel()[: len(SPECIAL)] = np.array(SPECIAL).astype(x.dtype)
    else:
        x[:3] = [0, 1, 1e-40]
    hot = Problem(
        problem.function, problem.outputs, x, *problem.arrays[1:], **problem.keyword_arrays
    )
    problem(reduction="none")
    library.feclearexcept(bits)
    hot(reduction="none")
    assert library.fetestexcept(bits) == 0
    library.feraiseexcept(bits)
    hot(reduction="none")
    raised = library.fetestexcept(bits)
    library.feclearexcept(bits)
    assert raised == bits


def test_subnormals_and_rounding_stay_as_they_are(problem):
    tiny = np.array([5e-324])
    for n_threads in (1, 2):
        problem(reduction="none", n_threads=n_threads)
        assert (tiny * 1.0)[0] == 5e-324
        assert np.array([1.0]) + 2.0**-53 == 1.0
