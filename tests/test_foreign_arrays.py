"""Arrays that are not NumPy's: DLPack, buffers, __array__, and the libraries that have them."""

import array
import ctypes
import itertools
import tracemalloc

import numpy as np
import pytest

import cekernels as ck
from cekernels import special

OUTPUTS = {"return_grad": True, "reduction": "none"}
LONG = 300_000


class DLPackOnly:
    """Knows nothing but DLPack."""

    def __init__(self, values, device=None):
        self.values = values
        self.device = device

    def __dlpack__(self, **options):
        if self.device is not None:
            raise BufferError("the memory is on another device")
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device or self.values.__dlpack_device__()


class ArrayOnly:
    """Knows nothing but __array__."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype, copy=copy)


class InterfaceOnly:
    """Knows nothing but the array interface."""

    def __init__(self, values):
        self.values = values
        self.__array_interface__ = values.__array_interface__


def as_buffer(values):
    return memoryview(np.ascontiguousarray(values))


def as_ctypes(values):
    return np.ctypeslib.as_ctypes(np.ascontiguousarray(values))


PROTOCOLS = [DLPackOnly, ArrayOnly, InterfaceOnly, as_buffer, as_ctypes]


def assert_taken(assert_same_bits, convert, logits, labels):
    """Assert that what `convert` makes gives the bits of NumPy's arrays, in every place."""
    x, y, weight = convert(logits), convert(labels), convert(logits[:, 0] * logits[:, 0])
    plain = np.asarray(logits), np.asarray(labels)
    square = plain[0][:, 0] * plain[0][:, 0]
    assert_same_bits(
        ck.cross_entropy(x, y, sample_weight=weight, **OUTPUTS),
        ck.cross_entropy(*plain, sample_weight=square, **OUTPUTS),
    )
    assert_same_bits(
        ck.cross_entropy(x, y, return_grad=True), ck.cross_entropy(*plain, return_grad=True)
    )
    soft = special.softmax(plain[0], axis=1)
    assert_same_bits(
        ck.cross_entropy(x, convert(soft), class_weight=convert(soft[0]), **OUTPUTS),
        ck.cross_entropy(plain[0], soft, class_weight=soft[0], **OUTPUTS),
    )
    assert_same_bits(
        ck.binary_cross_entropy_with_logits(x, convert(soft), pos_weight=convert(soft), **OUTPUTS),
        ck.binary_cross_entropy_with_logits(plain[0], soft, pos_weight=soft, **OUTPUTS),
    )
    assert_same_bits(
        ck.binary_cross_entropy(convert(soft), soft, complement=convert(1 - soft), **OUTPUTS),
        ck.binary_cross_entropy(soft, soft, complement=1 - soft, **OUTPUTS),
    )
    assert_same_bits(special.expit(x), special.expit(plain[0]))
    assert_same_bits(special.softmax(x, axis=0), special.softmax(plain[0], axis=0))
    assert_same_bits(special.logsumexp(x, axis=1), special.logsumexp(plain[0], axis=1))


def assert_not_copied(function, *args, **options):
    """Assert that a call takes less memory than a hundredth of its LONG numbers."""
    function(*args, **options)
    tracemalloc.start()
    function(*args, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LONG // 20


def problem(rng, dtype):
    return rng.normal(0, 3, (70, 7)).astype(dtype), rng.integers(0, 7, 70)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols(rng, dtype, assert_same_bits, protocol):
    assert_taken(assert_same_bits, protocol, *problem(rng, dtype))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_without_a_copy(dtype, protocol):
    x = np.zeros((LONG // 3, 3), dtype)
    labels, y = np.zeros(LONG // 3, np.int8), np.ones(x.shape, dtype)
    outs = {"grad_out": np.zeros_like(x)}
    assert_not_copied(ck.cross_entropy, protocol(x), protocol(labels), **outs)
    assert_not_copied(ck.cross_entropy, protocol(x), protocol(y), **outs)
    assert_not_copied(ck.binary_cross_entropy_with_logits, protocol(x), protocol(y), **outs)
    assert_not_copied(special.expit, protocol(x), out=y)


@pytest.mark.parametrize("protocol", [DLPackOnly, ArrayOnly, InterfaceOnly, memoryview])
def test_protocols_of_strided_arrays(rng, dtype, assert_same_bits, protocol):
    x, labels = problem(rng, dtype)
    for part, axis in ((x[::2, ::-1], 1), (x.T[:, ::2], 0), (np.asfortranarray(x)[::2], 1)):
        want = ck.cross_entropy(part.copy(), labels[::2].copy(), axis=axis, **OUTPUTS)
        got = ck.cross_entropy(protocol(part), protocol(labels[::2]), axis=axis, **OUTPUTS)
        assert_same_bits(got, want)


@pytest.mark.parametrize("protocol", [DLPackOnly, memoryview, ArrayOnly])
def test_read_only_memory(rng, assert_same_bits, protocol):
    x, labels = problem(rng, np.float64)
    want = ck.cross_entropy(x, labels, **OUTPUTS)
    x.flags.writeable = labels.flags.writeable = False
    assert_same_bits(ck.cross_entropy(protocol(x), protocol(labels), **OUTPUTS), want)


def test_sequences(assert_same_bits):
    x, labels = [[1.0, 2, 3], [3, 1, 0.5]], [0, 2]
    want = ck.cross_entropy(np.array(x), np.array(labels), return_grad=True)
    for nest in (list, tuple):
        rows = nest(map(nest, x))
        assert_same_bits(ck.cross_entropy(rows, nest(labels), return_grad=True), want)
        arrays = nest(map(np.array, x))
        assert_same_bits(
            ck.cross_entropy(arrays, nest(map(np.int8, labels)), return_grad=True), want
        )
    assert_same_bits(ck.cross_entropy(x, range(0, 3, 2), return_grad=True), want)
    assert_same_bits(special.expit([1, 0]), special.expit(np.array([1.0, 0.0])))
    assert_same_bits(special.expit(1), special.expit(np.array(1.0)))


def test_arrays_of_the_standard_library(assert_same_bits):
    x, y = [1.5, -2.0, 0.25, 3.0], [0, 1, 1, 0]
    loss = ck.binary_cross_entropy_with_logits
    for code, kind in (("d", np.float64), ("f", np.float32)):
        want = loss(np.array(x, kind), np.array(y), **OUTPUTS)
        for other in "bBhHiIlLqQfd":
            targets = array.array(other, y)
            assert_same_bits(loss(array.array(code, x), targets, **OUTPUTS), want)
            assert_same_bits(loss(memoryview(array.array(code, x)), targets, **OUTPUTS), want)
    want = loss(np.array(x), np.array(y), **OUTPUTS)
    assert_same_bits(loss((ctypes.c_double * 4)(*x), bytearray(y), **OUTPUTS), want)
    rows = memoryview(array.array("d", x)).cast("B").cast("d", (2, 2))
    assert_same_bits(
        ck.cross_entropy(rows, bytearray([1, 0])),
        ck.cross_entropy(np.array(x).reshape(2, 2), [1, 0]),
    )


def test_subclasses(rng, assert_same_bits):
    x, labels = problem(rng, np.float64)
    want = ck.cross_entropy(x, labels, **OUTPUTS)

    class Named(np.ndarray):
        pass

    results = ck.cross_entropy(x.view(Named), labels.view(Named), **OUTPUTS)
    assert_same_bits(results, want)
    assert type(special.expit(x.view(Named))) is np.ndarray


def test_numpy_scalars(assert_same_bits):
    for kind in (np.float32, np.float64):
        loss, grad = ck.binary_cross_entropy_with_logits(kind(0.5), np.int8(1), **OUTPUTS)
        assert type(loss) is type(grad) is kind
        got = ck.binary_cross_entropy_with_logits(DLPackOnly(np.array(0.5, kind)), 1, **OUTPUTS)
        assert_same_bits(got, (loss, grad))


# What is no array


class Stubborn:
    """Refuses in its own words."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (DLPackOnly(np.zeros(3), (2, 0)), ValueError, "is no array: "),
        (Stubborn(TypeError("use .cpu() first")), TypeError, "is no array: use .cpu() first"),
        (Stubborn(RuntimeError("it has a graph")), ValueError, "is no array: it has a graph"),
        (Stubborn(ValueError("it is sparse")), ValueError, "is no array: it is sparse"),
        ([[1.0, 2.0], [3.0]], ValueError, "is no array: "),
        (object(), TypeError, "must hold integers, bools or floats"),
        ({1: 2}, TypeError, "must hold integers, bools or floats"),
        ("0.5", TypeError, "must hold integers, bools or floats"),
        (b"0.5", TypeError, "must hold integers, bools or floats"),
        (None, TypeError, "must hold integers, bools or floats"),
        ([None, 1.0], TypeError, "must hold integers, bools or floats"),
        (array.array("u", "ab"), TypeError, "must hold integers, bools or floats"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:The 'u' type code")
def test_what_is_no_array(value, error, message):
    good = np.zeros(3)
    grad = np.full(3, 7.0)
    calls = [
        ("logits", lambda: ck.cross_entropy(value, 0, grad_out=grad)),
        ("targets", lambda: ck.cross_entropy(good, value, grad_out=grad)),
        ("logits", lambda: ck.binary_cross_entropy_with_logits(value, good, grad_out=grad)),
        ("probs", lambda: ck.binary_cross_entropy(value, good, grad_out=grad)),
        ("targets", lambda: ck.binary_cross_entropy(good, value, grad_out=grad)),
        ("x", lambda: special.expit(value, out=grad)),
        ("a", lambda: special.logsumexp(value)),
    ]
    if value is not None:
        calls += [
            ("sample_weight", lambda: ck.cross_entropy(good, 0, sample_weight=value)),
            ("complement", lambda: ck.binary_cross_entropy(good, good, complement=value)),
        ]
    for name, call in calls:
        with pytest.raises(error) as caught:
            call()
        assert str(caught.value).startswith(f"{name} {message}")
        assert np.all(grad == 7.0)


# The libraries


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas")


def test_torch(torch, rng, dtype, assert_same_bits):
    assert_taken(assert_same_bits, torch.as_tensor, *problem(rng, dtype))


def test_torch_without_a_copy(torch):
    x, labels = torch.ones((LONG // 3, 3)), torch.zeros(LONG // 3, dtype=torch.uint8)
    grad = np.zeros((LONG // 3, 3), np.float32)
    assert_not_copied(ck.cross_entropy, x, labels, grad_out=grad)
    assert_not_copied(ck.cross_entropy, x.T, labels, grad_out=grad.T, axis=0)
    assert_not_copied(ck.binary_cross_entropy_with_logits, x, x, grad_out=grad)
    assert_not_copied(special.expit, x, out=grad)


def test_torch_dtypes_and_strides(torch, rng, assert_same_bits):
    x, labels = problem(rng, np.float64)
    tensor = torch.as_tensor(x)
    for kind in (torch.float32, torch.float64):
        for rows, axis in (
            (tensor.to(kind), 1),
            (tensor.to(kind).T, 0),
            (tensor.to(kind)[:, ::2], 1),
        ):
            kinds = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
            for integer in kinds:
                y = torch.as_tensor(labels % 4).to(integer)
                want = ck.cross_entropy(rows.numpy().copy(), labels % 4, axis=axis, **OUTPUTS)
                assert_same_bits(ck.cross_entropy(rows, y, axis=axis, **OUTPUTS), want)
    mask = torch.as_tensor(x > -1)
    mask[range(70), labels] = True
    assert_same_bits(
        ck.cross_entropy(tensor, torch.as_tensor(labels), where=mask, **OUTPUTS),
        ck.cross_entropy(x, labels, where=mask.numpy(), **OUTPUTS),
    )
    wide = tensor[:1].expand(70, 7)
    assert_same_bits(
        ck.cross_entropy(wide, labels, **OUTPUTS),
        ck.cross_entropy(np.repeat(x[:1], 70, axis=0), labels, **OUTPUTS),
    )


def test_torch_output_in_place(torch, rng, assert_same_bits):
    """A tensor is no output, but the array of its memory is."""
    x, labels = problem(rng, np.float64)
    want = ck.cross_entropy(x, labels, return_grad=True)
    tensor = torch.as_tensor(x.copy())
    _, grad = ck.cross_entropy(tensor, labels, grad_out=tensor.numpy())
    assert_same_bits(grad, want[1])
    assert_same_bits(tensor.numpy(), want[1])
    with pytest.raises(TypeError, match="grad_out must be a NumPy array, got Tensor"):
        ck.cross_entropy(x, labels, grad_out=tensor)


def test_torch_graphs(torch):
    x = torch.zeros((2, 3), requires_grad=True)
    with pytest.raises(ValueError, match=r"logits is no array: .*requires grad.*detach"):
        ck.cross_entropy(x, [0, 1])
    assert ck.cross_entropy(x.detach(), [0, 1]) == pytest.approx(np.log(3), rel=1e-7)


def test_jax(jax, rng, assert_same_bits):
    assert_taken(assert_same_bits, jax.numpy.asarray, *problem(rng, np.float32))


def test_jax_without_a_copy(jax):
    x, labels = jax.numpy.zeros((LONG // 3, 3)), jax.numpy.zeros(LONG // 3, np.int8)
    x.block_until_ready()
    grad = np.zeros(x.shape, np.float32)
    assert_not_copied(ck.cross_entropy, x, labels, grad_out=grad)
    assert_not_copied(ck.binary_cross_entropy_with_logits, x, x, grad_out=grad)
    assert_not_copied(special.expit, x, out=grad)


def test_pandas(pandas, rng, dtype, assert_same_bits):
    x, labels = problem(rng, dtype)
    frame = pandas.DataFrame(x, columns=list("abcdefg"))
    want = ck.cross_entropy(x, labels, sample_weight=x[:, 0] ** 2, **OUTPUTS)
    weight = frame["a"] ** 2
    # An index has no part in it.
    for series in (pandas.Series(labels), pandas.Series(labels, index=range(70, 0, -1))):
        assert_same_bits(ck.cross_entropy(frame, series, sample_weight=weight, **OUTPUTS), want)
    loss = ck.binary_cross_entropy_with_logits
    assert_same_bits(
        loss(frame["b"], weight > 1, pos_weight=frame["c"] ** 2, **OUTPUTS),
        loss(
            x[:, 1].copy(),
            (x[:, 0] ** 2 > 1).astype(np.int8),
            pos_weight=x[:, 2] ** 2,
            **OUTPUTS,
        ),
    )
    classes = pandas.Series(labels).astype("category").cat.codes
    assert_same_bits(ck.cross_entropy(frame, classes, sample_weight=weight, **OUTPUTS), want)


def test_pandas_without_a_copy(pandas):
    frame = pandas.DataFrame(np.zeros((3, LONG // 3)).T)
    labels = pandas.Series(np.zeros(LONG // 3, np.int8))
    grad = np.zeros(frame.shape)
    assert_not_copied(ck.cross_entropy, frame, labels, grad_out=grad)
    assert_not_copied(ck.binary_cross_entropy_with_logits, frame[0], labels, grad_out=grad[:, 0])


def test_pandas_missing_values(pandas):
    """A label that is missing is no label, and no float by mistake."""
    labels = pandas.Series([0, None, 1], dtype="Int64")
    # An object array by pandas 2, floats with NaN by pandas 3.
    with pytest.raises((TypeError, ValueError), match=r"^(targets must hold|floating targets)"):
        ck.cross_entropy(np.zeros((3, 2)), labels)
    stats = ck.binary_cross_entropy_with_logits(
        np.zeros(3), pandas.Series([0.0, None, 1.0]), ignore_value=np.nan, reduction="stats"
    )
    assert stats.count == 2


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.permutations(["numpy", "torch", "jax", "pandas"], 2))
)
def test_one_library_for_logits_and_another_for_targets(
    request, rng, assert_same_bits, first, second
):
    x, labels = problem(rng, np.float32)
    want = ck.cross_entropy(x, labels, **OUTPUTS)
    convert = {
        "numpy": lambda array: array,
        "torch": lambda array: request.getfixturevalue("torch").as_tensor(array),
        "jax": lambda array: request.getfixturevalue("jax").numpy.asarray(array),
        "pandas": lambda array: (
            request.getfixturevalue("pandas").DataFrame(array)
            if array.ndim == 2
            else request.getfixturevalue("pandas").Series(array)
        ),
    }
    got = ck.cross_entropy(convert[first](x), convert[second](labels.astype(np.int32)), **OUTPUTS)
    assert_same_bits(got, want)
