"""Fixtures: instruction sets, dtypes, generators, other processes, errors, and the reference."""

import contextlib
import functools
import os
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest

import cekernels
from cekernels import LossStats, _kernels, _runtime, reference

# Of the result, or of the largest of the terms that it is the sum of. The reference, in float64,
# has an error of its own: see test_reference.py.
ELEMENT_ULP = {np.float32: 4, np.float64: 8}
# A product of two probabilities.
HESS_ULP = {np.float32: 6, np.float64: 10}
SUM_RELATIVE = {np.float32: 2e-7, np.float64: 1e-15}
# Without fused multiply-add every bound is doubled.
WITHOUT_FMA = {"baseline": 2}

OUTPUTS = ("grad", "hess", "proba", "lse")

ISAS = _runtime.available_isas()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Name the instruction set that was in use when a test failed."""
    report = yield
    if report.failed:
        report.sections.append(("Instruction set", _kernels.active_isa()))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Call a test that takes `isa` once for each; a failure leaves its own in use for the report."""
    if "isa" in pyfuncitem.fixturenames:
        pyfuncitem.obj = _on_every_isa(pyfuncitem.obj)
    return (yield)


def _on_every_isa(test):
    @functools.wraps(test)
    def run(**arguments):
        for name in ISAS:
            _kernels.set_isa(name)
            test(**arguments | ({"isa": name} if "isa" in arguments else {}))

    return run


@pytest.fixture
def isa():
    """Call the test on every instruction set of this processor; other fixtures are made once."""
    with _in_use(ISAS[0]):
        yield ISAS[0]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng(request):
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def python(tmp_path):
    """Run a program in another process, far from the sources, with these variables set."""

    def run(program, *arguments, flags=(), **variables):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CEKERNELS_")}
        return subprocess.run(
            [sys.executable, *flags, "-c", program, *arguments],
            cwd=tmp_path,
            env=inherited | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def assert_ulp():
    """Assert that an array is within so many ulp, of the result or of a larger term, of another."""
    return _assert_ulp


@pytest.fixture
def assert_same_bits():
    """Assert that values (scalars, arrays, tuples of them) are the same to the last bit."""
    return _assert_same_bits


@pytest.fixture
def losses():
    """Return losses, each with logits and targets that are right."""
    x, y, p = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.25, 1.0])
    rows, labels = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]]), np.array([0, 2])
    soft = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    return {
        "logits": (cekernels.binary_cross_entropy_with_logits, x, y),
        "probs": (cekernels.binary_cross_entropy, p, y),
        "labels": (cekernels.cross_entropy, rows, labels),
        "soft": (cekernels.cross_entropy, rows, soft),
    }


@pytest.fixture
def outputs():
    """Return arrays for the outputs of a loss that all of its reductions have."""
    return _outputs


@pytest.fixture
def fails():
    """Assert that a call raises exactly this error, and leaves every array as it was."""
    return _fails


@pytest.fixture
def loss_fails(losses):
    """Assert that a loss fails: without outputs, with one and with all of them."""

    def check(error, message, name, x=None, y=None, **kwargs):
        function, valid_x, valid_y = losses[name]
        x, y = valid_x if x is None else x, valid_y if y is None else y
        _fails(error, message, function, x, y, **kwargs)
        if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64):
            given = _outputs(function, x)
            _fails(error, message, function, x, y, **{"grad_out": given["grad_out"]} | kwargs)
            _fails(error, message, function, x, y, **given | kwargs)

    return check


@pytest.fixture
def every_isa():
    """Yield the instruction sets of this processor, each while it is in use.

    Instead of `isa` where what is expected takes longer than the calls.
    """

    def generate():
        for name in ISAS:
            _kernels.set_isa(name)
            yield name

    with _in_use(ISAS[-1]):
        yield generate


@pytest.fixture
def check_loss(every_isa):
    """Assert that a loss agrees with its definition, `cekernels.reference`, on every ISA."""

    def check(name, x, targets, *, n_threads=None, **options):
        want, want_warnings = _call(getattr(reference, name), x, targets, **options)
        kind, more = x.dtype.type, _roundings(targets, options)
        floor = np.finfo(kind).tiny * _largest_weight(options)
        names = [output for output in OUTPUTS if options.get(f"return_{output}")]
        scales = [
            _scale(name, output, x, targets, expected, options)
            for output, expected in zip(names, want[1:], strict=True)
        ]
        for isa in every_isa():
            got, got_warnings = _call(
                getattr(cekernels, name), x, targets, n_threads=n_threads, **options
            )
            assert got_warnings == want_warnings
            assert len(got) == len(want)
            factor = WITHOUT_FMA.get(isa, 1)
            ulp, relative = factor * (ELEMENT_ULP[kind] + more), factor * SUM_RELATIVE[kind]
            call = f"{name}({_summary(options)})"
            _assert_loss(got[0], want[0], x.dtype, ulp, relative, floor, call)
            for output, array, expected, scale in zip(
                names, got[1:], want[1:], scales, strict=True
            ):
                assert array.dtype == kind
                ulp = factor * ((HESS_ULP if output == "hess" else ELEMENT_ULP)[kind] + more)
                _assert_ulp(array, expected, ulp, scale, f"{call}: {output}", floor)

    return check


@contextlib.contextmanager
def _in_use(isa):
    """Like `_runtime.use_isa`, which asks the processor: on virtual machines that takes long."""
    before = _kernels.active_isa()
    _kernels.set_isa(isa)
    try:
        yield
    finally:
        _kernels.set_isa(before)


def _assert_ulp(got, want, ulp, scale=None, what="result", floor=0.0):
    got, want = np.asarray(got), np.asarray(want, np.float64)
    assert got.shape == want.shape
    with np.errstate(all="ignore"):
        # An ulp is half an epsilon of the number at least: most results need no more than this.
        least = np.abs(want) if scale is None else np.fmin(np.abs(want), scale)
        error = np.abs(got.astype(np.float64) - want)
        if np.all(error <= ulp * (np.finfo(got.dtype).eps / 2) * least):
            return
        rounded = want.astype(got.dtype)
        finite = np.isfinite(rounded)
        if not finite.all():
            np.testing.assert_array_equal(got[~finite], rounded[~finite], err_msg=what)
        tiny = np.finfo(got.dtype).tiny
        scale = np.abs(want) if scale is None else np.where(np.isfinite(scale), scale, np.abs(want))
        scale = np.maximum(scale, tiny)
        unit = np.spacing(scale.astype(got.dtype)).astype(np.float64)
        # Among the subnormal numbers the error only has to stay below the smallest normal one,
        # times the weight that the number is multiplied by.
        floor = max(floor, tiny)
        bound = np.where(scale > floor, ulp * unit, floor)
        wrong = finite & (error != 0.0) & ~(error <= bound)
    if wrong.any():
        with np.errstate(all="ignore"):
            excess = np.where(wrong, np.nan_to_num(error / bound, nan=np.inf), 0.0)
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        pytest.fail(
            f"{what}{list(map(int, worst))}: got {got[worst]!r}, expected {want[worst]!r}, "
            f"off by {ulp * excess[worst]:.3g} ulp, {ulp} allowed; "
            f"{np.count_nonzero(wrong)} of {wrong.size} are off by too much"
        )


def _assert_same_bits(got, want):
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            _assert_same_bits(one, other)
        return
    assert type(got) is type(want)
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if got.tobytes() == want.tobytes():
        return
    # The sign of a NaN is that of the operand that a compiler puts first.
    numbers = ~np.isnan(want)
    same = np.array_equal(numbers, ~np.isnan(got))
    if not same or got[numbers].tobytes() != want[numbers].tobytes():
        np.testing.assert_array_equal(got, want)
        pytest.fail("equal values, but other bits: the sign of a zero")


def _fails(error, message, function, *args, **kwargs):
    arrays = [value for value in (*args, *kwargs.values()) if isinstance(value, np.ndarray)]
    before = [array.tobytes() for array in arrays]
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert caught.type is error
    assert str(caught.value) == message
    assert [array.tobytes() for array in arrays] == before


def _outputs(function, x):
    names = ["grad_out", "hess_out"]
    names += ["proba_out"] * (function is not cekernels.binary_cross_entropy)
    return {name: np.full(np.shape(x), 12345.0, x.dtype) for name in names}


def _call(function, *args, **kwargs):
    """Call, and return a tuple of results with the warnings that were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = function(*args, **kwargs)
    if not isinstance(results, tuple) or isinstance(results, LossStats):
        results = (results,)
    return results, [warning.category for warning in caught]


def _assert_loss(got, want, dtype, ulp, relative, floor, call):
    if isinstance(want, LossStats):
        assert isinstance(got, LossStats)
        assert type(got.total) is float
        assert type(got.weight) is float
        assert type(got.count) is int
        assert tuple(got) == pytest.approx(tuple(want), rel=relative, abs=0.0, nan_ok=True), call
        assert got.count == want.count, call
    elif type(want) is float:
        assert type(got) is float
        assert got == pytest.approx(want, rel=relative, abs=0.0, nan_ok=True), call
    else:
        assert got.dtype == dtype
        _assert_ulp(got, want, ulp, what=f"{call}: loss", floor=floor)


def _summary(options):
    """Return the options of a call in a few words."""
    words = ("an array" if np.ndim(value) else value for value in options.values())
    given = zip(options, words, strict=True)
    return ", ".join(f"{name}={word}" for name, word in given if word not in (None, False))


def _roundings(targets, options):
    """Return how many options bring a rounded factor, and with it 1 ulp."""
    names = ("sample_weight", "class_weight", "pos_weight", "label_smoothing")
    given = sum(
        not (options.get(name) is None or np.array_equal(options[name], 0.0)) for name in names
    )
    is_soft = np.asarray(targets).dtype.kind == "f"
    return given + is_soft + (options.get("reduction", "mean") == "mean")


def _largest_weight(options):
    """Return the largest factor that a softplus or a probability is multiplied by, at least 1."""
    weights = (options.get(f"{kind}_weight") for kind in ("sample", "pos", "class"))
    factors = (np.max(weight, initial=1.0) for weight in weights if weight is not None)
    return float(np.prod([1.0, *factors]))


@np.errstate(all="ignore")
def _scale(name, output, x, targets, want, options):
    """Return the size of the largest of the terms that an output is the sum of."""
    if output == "grad":
        return _gradient_scale(name, x.astype(np.float64), targets, want, options)
    if output == "lse":
        return np.maximum(np.abs(want), np.abs(x.max(axis=-1, initial=-np.inf)))
    return np.abs(want)


def _gradient_scale(name, x, targets, want, options):
    """Return the size of the larger of the two terms whose difference the gradient is."""
    names = ("sample_weight", "label_smoothing", "class_weight", "ignore_index")
    sample_weight, smoothing, class_weight, ignore_index = map(options.get, names)
    if name == "cross_entropy":
        q, weight, kept = reference._class_coefficients(
            x.shape[-1], targets, class_weight, sample_weight, smoothing or 0.0, ignore_index
        )
        total = np.sum(q, axis=-1, keepdims=True)
        terms = np.maximum(reference._times(total, reference.softmax(x, axis=-1)), q)
        # For a label alone there is a form without a difference.
        alone = np.count_nonzero(q, axis=-1, keepdims=True) == 1
    else:
        pos_weight, ignore_value = options.get("pos_weight"), options.get("ignore_value")
        a, b, weight, kept = reference._binary_coefficients(
            x.shape, targets, sample_weight, pos_weight, smoothing or 0.0, ignore_value
        )
        if name == "binary_cross_entropy_with_logits":
            up, down = reference.expit(x), reference.expit(-x)
        else:
            up, down = 1.0 / (1.0 - x), 1.0 / x
        terms, alone = np.maximum(reference._times(b, up), reference._times(a, down)), False
    if options.get("reduction", "mean") == "mean":
        sums = {"weight": np.sum(weight), "count": np.count_nonzero(kept)}
        denominator = options.get("denominator", "weight")
        terms = terms / sums.get(denominator, denominator)
    return np.where(alone, np.abs(want), terms)
