"""float16 and bfloat16: float32 arithmetic on the exact logits, rounded once on the way out."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cekernels as ck
from cekernels import reference, special

ml_dtypes = pytest.importorskip("ml_dtypes")

HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
CLASS_OUTPUTS = ("grad", "hess", "proba", "lse", "scale_grad")
BINARY_OUTPUTS = ("grad", "hess", "proba")
# The others are float32, as the losses are.
ROUNDED = {"grad", "hess", "proba"}

common = settings(
    deadline=None,
    derandomize=True,
    database=None,
    # The fixtures hold no state that one example could leave to the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
quick = settings(common, max_examples=60)
deep = settings(common, max_examples=2000)

# The error of float32 logits, of the exact half ones, against float64.
ELEMENT_ULP = 8


@pytest.fixture(params=HALVES, ids=str)
def half(request):
    return request.param


def every_pattern(half, *, nan):
    """Return all numbers and infinities, or all NaN, signalling ones too."""
    bits = np.arange(2**16, dtype=np.uint16)
    above = bits & 0x7FFF > np.array(math.inf, half).view(np.uint16)
    return bits[above == nan].view(half)


def rounded(array, half):
    """Round as NumPy and ml_dtypes do: to nearest, ties to even."""
    with np.errstate(all="ignore"):
        return array.astype(half)


def assert_rounded(assert_same_bits, got, want, names, half):
    """Assert that results of half logits are those of float32 ones, rounded once."""
    for name, one, other in zip(("loss", *names), got, want, strict=True):
        if name in ROUNDED:
            assert one.dtype == half, name
            other = rounded(np.asarray(other), half)
            nan = np.isnan(other)
            assert np.array_equal(np.isnan(one), nan), name
            one, other = np.where(nan, half.type(0), one), np.where(nan, half.type(0), other)
        assert_same_bits(one, other)


# Conversions


@pytest.mark.usefixtures("isa")
def test_every_number_is_read_exactly(half, assert_same_bits):
    """softplus of large numbers is the number, and of the others tells them apart."""
    x = every_pattern(half, nan=False)
    wide = x.astype(np.float32)
    y = np.zeros(x.size, np.int8)
    outputs = {"return_grad": True, "return_proba": True, "reduction": "none"}
    for order in (slice(None), slice(None, None, -1), slice(None, None, 2)):
        got = ck.binary_cross_entropy_with_logits(x[order], y[order], **outputs)
        want = ck.binary_cross_entropy_with_logits(wide[order], y[order], **outputs)
        assert_rounded(assert_same_bits, got, want, ("grad", "proba"), half)
    # A label's loss over two classes, one of them masked, is 0; its lse is the logit itself.
    pairs = np.stack([x, np.full_like(x, -math.inf)], axis=1)
    finite = np.isfinite(wide)
    with np.errstate(all="ignore"):
        _, lse = ck.cross_entropy(pairs, y, return_lse=True, reduction="sum")
    np.testing.assert_array_equal(lse[finite], wide[finite])


@pytest.mark.usefixtures("isa")
def test_nan_stays_nan(half):
    x = every_pattern(half, nan=True)
    assert x.size > 100
    for function in (special.expit, special.log_expit, special.softplus):
        got = function(x)
        assert got.dtype == half
        assert np.isnan(got).all()
    loss, grad = ck.cross_entropy(
        np.stack([x, np.zeros_like(x)], 1),
        np.zeros(x.size, int),
        return_grad=True,
        reduction="none",
    )
    assert np.isnan(loss).all()
    assert np.isnan(grad).all()


def ties(half):
    """Return float32 numbers that are half numbers, halfway between two, and beside both."""
    x = every_pattern(half, nan=False).astype(np.float32)
    x = np.sort(x[(x > 0) & (x < math.inf)])
    middle = (x[1:].astype(np.float64) + x[:-1].astype(np.float64)) / 2
    middle = middle.astype(np.float32)
    beside = [np.nextafter(v, np.float32(s)) for v in (x, middle) for s in (0, np.inf)]
    with np.errstate(over="ignore"):
        beyond = x[-1] * np.array([1.0001, 1.001, 1.003, 1.01, 2.0, math.inf], np.float32)
    return np.concatenate([x, middle, *beside, beyond[np.isfinite(beyond)]])


@pytest.mark.usefixtures("isa")
def test_every_tie_is_rounded_to_even(half, assert_same_bits):
    """The gradient of a logit of -inf and label 1 is -w exactly: any number can be written."""
    numbers = ties(half)
    numbers = numbers[numbers >= np.finfo(np.float32).tiny]
    x = np.full(numbers.size, -math.inf, half)
    one = np.ones(numbers.size, np.int8)
    for sign in (1, 0):
        _, got = ck.binary_cross_entropy_with_logits(
            x if sign else -x, one * sign, sample_weight=numbers, return_grad=True, reduction="sum"
        )
        want = rounded(-numbers if sign else numbers, half)
        assert got.dtype == half
        assert_same_bits(got, want)
        # The same numbers in steps of more than their size.
        grad = np.zeros((numbers.size, 2), half)[:, 0]
        ck.binary_cross_entropy_with_logits(
            x if sign else -x, one * sign, sample_weight=numbers, grad_out=grad, reduction="sum"
        )
        assert_same_bits(grad.copy(), want)


# Losses against float32


def spread(array):
    """Elements and axes have gaps: no two axes are one in memory."""
    room = np.full([2 * n for n in array.shape], 3.0, array.dtype)
    room[(slice(None, None, 2),) * array.ndim] = array
    return room[(slice(None, None, 2),) * array.ndim]


STRIDES = {
    "contiguous": lambda a: a.copy(),
    "fortran": lambda a: np.array(a, order="F", copy=True),
    "spread": spread,
    "backwards": lambda a: a[..., ::-1].copy()[..., ::-1],
}

class_cases = {
    "seed": st.integers(0, 2**32 - 1),
    "half": st.sampled_from(HALVES),
    "samples": st.sampled_from([(1,), (5,), (70,), (300,), (3, 20), (0,)]),
    "n_classes": st.sampled_from([1, 2, 3, 10, 33, 64, 65, 96, 97, 100, 300, 1500]),
    "scale": st.sampled_from([1.0, 8.0, 60.0]),
    "axis": st.integers(0, 2),
    "layout": st.sampled_from(list(STRIDES)),
    "targets": st.sampled_from(["labels", "float16", "bfloat16", "float64"]),
    "where": st.booleans(),
    "weight": st.sampled_from([None, "float16", "bfloat16", "float32"]),
    "options": st.fixed_dictionaries(
        {
            "reduction": st.sampled_from(["none", "sum", "mean", "stats"]),
            "denominator": st.sampled_from(["weight", "count", 3.0]),
            "label_smoothing": st.sampled_from([0.0, 0.1]),
            "z_loss": st.sampled_from([0.0, 0.1]),
            "softcap": st.sampled_from([None, 30.0]),
            "logit_scale": st.sampled_from([1.0, 0.3]),
        }
    ),
    "outputs": st.sets(st.sampled_from(CLASS_OUTPUTS)),
    "in_place": st.booleans(),
}


def call(function, *args, **options):
    """Call without the warning of a mean of nothing; return a tuple."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        results = function(*args, **options)
    return results if isinstance(results, tuple) and type(results) is tuple else (results,)


def check_cross_entropy(
    assert_same_bits,
    *,
    seed,
    half,
    samples,
    n_classes,
    scale,
    axis,
    layout,
    targets,
    where,
    weight,
    options,
    outputs,
    in_place,
):
    rng, layout = np.random.default_rng(seed), STRIDES[layout]
    axis = min(axis, len(samples))
    shape = (*samples[:axis], n_classes, *samples[axis:])
    x = rng.normal(0, scale, shape).astype(half)
    x[rng.uniform(size=shape) < 0.02] = -math.inf
    arrays = {"targets": rng.integers(0, n_classes, samples)}
    if targets != "labels":
        arrays["targets"] = rng.uniform(size=shape).astype(targets)
    if where:
        arrays["where"] = rng.uniform(size=shape) < 0.8
    if weight:
        arrays["sample_weight"] = rng.uniform(0, 2, samples).astype(weight)
        arrays["class_weight"] = rng.uniform(0, 2, n_classes).astype(weight)
    names = [name for name in CLASS_OUTPUTS if name in outputs]
    options = options | {"axis": axis} | {f"return_{name}": True for name in names}
    want = call(ck.cross_entropy, x.astype(np.float32), **arrays, **options)
    x = layout(x)
    if in_place:
        names = [name for name in CLASS_OUTPUTS if name in {*names, "grad"}]
        want = call(
            ck.cross_entropy, x.astype(np.float32), **arrays, **options | {"return_grad": True}
        )
        options["grad_out"] = x
    got = call(ck.cross_entropy, x, **arrays, **options)
    assert_rounded(assert_same_bits, got, want, names, half)


@quick
@given(**class_cases)
def test_cross_entropy(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_cross_entropy(assert_same_bits, **case)


@pytest.mark.slow
@deep
@given(**class_cases)
def test_cross_entropy_deeply(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_cross_entropy(assert_same_bits, **case)


binary_cases = {
    "seed": st.integers(0, 2**32 - 1),
    "half": st.sampled_from(HALVES),
    "shape": st.sampled_from([(1,), (17,), (300,), (20, 33), (0, 2), (5, 7, 9)]),
    "from_probs": st.booleans(),
    "complement": st.booleans(),
    "layout": st.sampled_from(list(STRIDES)),
    "targets": st.sampled_from(["int8", "float16", "bfloat16", "float32"]),
    "weight": st.sampled_from([None, "float16", "bfloat16", "float32"]),
    "options": st.fixed_dictionaries(
        {
            "reduction": st.sampled_from(["none", "sum", "mean", "stats"]),
            "label_smoothing": st.sampled_from([0.0, 0.1]),
            "ignore_value": st.sampled_from([None, 0.0]),
        }
    ),
    "outputs": st.sets(st.sampled_from(BINARY_OUTPUTS)),
    "in_place": st.booleans(),
}


def check_binary(
    assert_same_bits,
    *,
    seed,
    half,
    shape,
    from_probs,
    complement,
    layout,
    targets,
    weight,
    options,
    outputs,
    in_place,
):
    rng, layout = np.random.default_rng(seed), STRIDES[layout]
    x = rng.normal(0, 8, shape).astype(half)
    arrays = {"targets": rng.integers(0, 2, shape).astype(targets)}
    if targets != "int8":
        arrays["targets"] = (rng.integers(0, 5, shape) / 4).astype(targets)
    if weight:
        arrays["sample_weight"] = rng.uniform(0, 2, shape).astype(weight)
    function, names = ck.binary_cross_entropy_with_logits, BINARY_OUTPUTS
    if from_probs:
        function, names = ck.binary_cross_entropy, BINARY_OUTPUTS[:2]
        arrays |= {"complement": special.expit(-x)} if complement else {}
        x = special.expit(x)
    elif weight:
        arrays["pos_weight"] = rng.uniform(0, 2, shape[-1:]).astype(weight)
    wanted = {*outputs, "grad"} if in_place else outputs
    names = [name for name in names if name in wanted]
    options = options | {f"return_{name}": True for name in names}
    want = call(function, x.astype(np.float32), **arrays, **options)
    x = layout(x)
    options |= {"grad_out": x} if in_place else {}
    got = call(function, x, **arrays, **options)
    assert_rounded(assert_same_bits, got, want, names, half)


@quick
@given(**binary_cases)
def test_binary(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_binary(assert_same_bits, **case)


@pytest.mark.slow
@deep
@given(**binary_cases)
def test_binary_deeply(every_isa, assert_same_bits, **case):
    for _ in every_isa():
        check_binary(assert_same_bits, **case)


@pytest.mark.parametrize("targets", ["labels", "probabilities"])
@pytest.mark.parametrize("n_classes", [32_000, 128_256])
def test_vocabulary_is_as_exact_as_float32(every_isa, rng, half, assert_ulp, n_classes, targets):
    x = rng.normal(0, 3, (2, n_classes)).astype(half)
    y = rng.integers(0, n_classes, 2)
    if targets == "probabilities":
        y = reference.softmax(rng.normal(0, 1, x.shape), axis=1).astype(np.float32)
    outputs = {"return_proba": True, "return_lse": True, "reduction": "none"}
    exact = reference.cross_entropy(x.astype(np.float64), y, **outputs)
    # Half an ulp, and what little float32 adds before.
    bound = 0.51 * np.spacing(np.abs(exact[1]).astype(half)).astype(np.float64)
    for _ in every_isa():
        loss, proba, lse = ck.cross_entropy(x, y, **outputs)
        assert loss.dtype == lse.dtype == np.float32
        assert_ulp(loss, exact[0], ELEMENT_ULP)
        assert_ulp(lse, exact[2], ELEMENT_ULP)
        assert np.all(np.abs(proba.astype(np.float64) - exact[1]) <= bound)


# Dtypes and layouts of results


@pytest.mark.usefixtures("isa")
def test_dtypes_of_results(half):
    x, labels = np.zeros((4, 3), half), np.zeros(4, int)
    everything = {f"return_{name}": True for name in CLASS_OUTPUTS}
    loss, grad, hess, proba, lse, scale = ck.cross_entropy(
        x, labels, reduction="none", **everything
    )
    assert loss.dtype == lse.dtype == scale.dtype == np.float32
    assert grad.dtype == hess.dtype == proba.dtype == half
    assert scale.shape == (2, 4)
    value, *_, scale = ck.cross_entropy(x, labels, **everything)
    assert type(value) is float
    assert scale.dtype == np.float64
    assert scale.shape == (2,)
    out = np.zeros(4, np.float32)
    assert ck.cross_entropy(x, labels, reduction="none", out=out) is out
    assert np.all(out == loss)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("layout", STRIDES)
@pytest.mark.parametrize("n_classes", [10, 100])
def test_given_outputs(rng, half, assert_same_bits, n_classes, layout):
    """Nothing but the elements is written, whatever lies between them."""
    x, labels = rng.normal(0, 4, (70, n_classes)).astype(half), rng.integers(0, n_classes, 70)
    names = ("grad", "hess", "proba")
    want = ck.cross_entropy(x, labels, **{f"return_{name}": True for name in names})
    outs = {f"{name}_out": STRIDES[layout](np.full(x.shape, 3.0, half)) for name in names}
    got = ck.cross_entropy(x, labels, **outs)
    for name, array, expected in zip(names, got[1:], want[1:], strict=True):
        assert array is outs[f"{name}_out"]
        assert_same_bits(array.copy(), expected.copy())
        array[...] = 3.0
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        assert np.all(owner == 3.0)


# Special functions


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["expit", "log_expit", "softplus"])
@pytest.mark.parametrize("step", [1, 2, -1, 3])
def test_elementwise(half, assert_same_bits, name, step):
    x = every_pattern(half, nan=False)[::step]
    function = getattr(special, name)
    want = rounded(function(x.astype(np.float32)), half)
    assert_same_bits(function(x), want)
    x = x.copy() if x.base is None or not x.flags.writeable else x
    assert function(x, out=x) is x
    assert_same_bits(x.copy(), want.copy())


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [1, 3, 64, 65, 97, 1000])
@pytest.mark.parametrize("layout", STRIDES)
def test_normalised(rng, half, assert_same_bits, n_classes, layout):
    array = rng.normal(0, 4, (70, n_classes)).astype(half)
    x = STRIDES[layout](array)
    for name, axis in itertools.product(("softmax", "log_softmax", "logsumexp"), (0, 1, (0, 1))):
        function = getattr(special, name)
        want = rounded(np.asarray(function(array.astype(np.float32), axis=axis)), half)
        got = function(x, axis=axis)
        assert_same_bits(np.array(got), np.array(want))
        out = STRIDES[layout](np.zeros(want.shape, half)) if want.ndim > 1 else np.zeros_like(want)
        assert function(x, axis=axis, out=out) is out or want.ndim == 0
        assert_same_bits(np.array(out), np.array(want))
    kept = special.logsumexp(x, axis=1, keepdims=True)
    assert_same_bits(kept[:, 0].copy(), special.logsumexp(x, axis=1))
