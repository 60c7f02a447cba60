"""Every error in its own words, and nothing written before it is raised."""

import math

import numpy as np
import pytest

import cekernels as ck
from cekernels import special

X, Y = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, 1.0])
P = np.array([0.5, 0.25, 1.0])
ROWS, LABELS = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]]), np.array([0, 2])
SOFT = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])

LOSSES = {
    "logits": (ck.binary_cross_entropy_with_logits, X, Y),
    "probs": (ck.binary_cross_entropy, P, Y),
    "labels": (ck.cross_entropy, ROWS, LABELS),
    "soft": (ck.cross_entropy, ROWS, SOFT),
}
UNARY = ["expit", "log_expit", "softplus"]
SOFTMAX = ["softmax", "log_softmax"]


def fails(error, message, function, *args, **kwargs):
    """Call, expect exactly this error, and expect every array to be as it was."""
    arrays = [value for value in (*args, *kwargs.values()) if isinstance(value, np.ndarray)]
    before = [array.tobytes() for array in arrays]
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    assert caught.type is error
    assert str(caught.value) == message
    assert [array.tobytes() for array in arrays] == before


def outputs(function, x):
    """Return arrays for the outputs of a loss that all of its reductions have."""
    names = ["grad_out", "hess_out"]
    names += ["proba_out"] * (function is not ck.binary_cross_entropy)
    return {name: np.full(np.shape(x), 12345.0, x.dtype) for name in names}


def loss_fails(error, message, name, x=None, y=None, **kwargs):
    """Call a loss with something wrong, without outputs, with one and with all of them."""
    function, valid_x, valid_y = LOSSES[name]
    x, y = valid_x if x is None else x, valid_y if y is None else y
    fails(error, message, function, x, y, **kwargs)
    if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64):
        given = outputs(function, x)
        fails(error, message, function, x, y, **{"grad_out": given["grad_out"]} | kwargs)
        fails(error, message, function, x, y, **given | kwargs)


# The type of arrays


def swapped(array):
    """Return the same numbers with their bytes the other way round."""
    return array.astype(array.dtype.newbyteorder("S"))


def bad_arrays(name):
    """Return arrays of three numbers that are none for us, and what is said about them."""
    real = f"{name} must hold integers, bools or floats of up to 64 bits, got dtype "
    bad = [
        (np.array([0.5, 0.25, 1j]), real + "complex128"),
        (np.array([0.5, 0.25, 1j], np.complex64), real + "complex64"),
        (np.array([0.5, 0.25, None]), real + "object"),
        (np.array(["0.5", "0.25", "1.0"]), real + "<U4"),
        (np.array([b"1", b"0", b"1"]), real + "|S1"),
        (np.array([1, 0, 1], "datetime64[s]"), real + "datetime64[s]"),
        (np.array([1, 0, 1], "timedelta64[ms]"), real + "timedelta64[ms]"),
        (np.array([(1, 0)] * 3, "i4,i4"), real + "[('f0', '<i4'), ('f1', '<i4')]"),
    ]
    for kind in "f4", "f8", "i2", "u8":
        array = swapped(np.array([1, 0, 1], kind))
        native = f"{name} must be in native byte order, got dtype {array.dtype.str!r}"
        bad.append((array, native))
    if np.dtype(np.longdouble).itemsize > 8:
        long_double = np.array([0.5, 0.25, 1.0], np.longdouble)
        bad.append((long_double, f"{real}{long_double.dtype}"))
    return bad


BAD_ARRAYS = range(len(bad_arrays("")))
ARGUMENTS = [
    ("logits", "logits"),
    ("logits", "targets"),
    ("logits", "sample_weight"),
    ("logits", "pos_weight"),
    ("probs", "probs"),
    ("probs", "targets"),
    ("probs", "sample_weight"),
    ("labels", "logits"),
    ("labels", "targets"),
    ("labels", "sample_weight"),
    ("labels", "class_weight"),
    ("soft", "targets"),
]


@pytest.mark.parametrize("kind", BAD_ARRAYS)
@pytest.mark.parametrize(("loss", "argument"), ARGUMENTS)
def test_dtypes_of_losses(loss, argument, kind):
    array, message = bad_arrays(argument)[kind]
    if argument in ("logits", "probs"):
        loss_fails(TypeError, message, loss, x=array)
    elif argument == "targets":
        loss_fails(TypeError, message, loss, y=array)
    else:
        loss_fails(TypeError, message, loss, **{argument: array})


@pytest.mark.parametrize("kind", BAD_ARRAYS)
@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX, "logsumexp"])
def test_dtypes_of_special_functions(name, kind):
    array, message = bad_arrays("a" if name == "logsumexp" else "x")[kind]
    fails(TypeError, message, getattr(special, name), array)
    fails(TypeError, message, getattr(special, name), array, out=np.zeros(3))
    if name == "logsumexp":
        array, message = bad_arrays("b")[kind]
        fails(TypeError, message, special.logsumexp, X, b=array)


@pytest.mark.parametrize("name", ["logits", "labels"])
def test_nothing_is_no_array(name):
    loss_fails(
        TypeError,
        "logits must hold integers, bools or floats of up to 64 bits, got dtype object",
        name,
        x=[None],
    )


# Shapes


def labels_shape(want, got):
    return (
        "integer targets are labels and must have the shape of logits without the last axis, "
        f"{want}, got {got}; probabilities must be floats"
    )


def soft_shape(want, got):
    return (
        "floating targets are probabilities and must have the shape of logits, "
        f"{want}, got {got}; labels must be integers"
    )


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        ("logits", {"y": np.zeros(4)}, "targets must have shape (3,), got (4,)"),
        ("logits", {"y": np.zeros((3, 1))}, "targets must have shape (3,), got (3, 1)"),
        ("logits", {"y": np.array(1.0)}, "targets must have shape (3,), got ()"),
        ("logits", {"x": np.zeros((0, 2))}, "targets must have shape (0, 2), got (3,)"),
        ("probs", {"y": np.zeros(4, int)}, "targets must have shape (3,), got (4,)"),
        ("labels", {"y": np.zeros(3, int)}, labels_shape("(2,)", "(3,)")),
        ("labels", {"y": np.zeros((2, 3), np.uint8)}, labels_shape("(2,)", "(2, 3)")),
        ("labels", {"y": np.zeros((2, 3), bool)}, labels_shape("(2,)", "(2, 3)")),
        ("labels", {"x": np.zeros(3)}, labels_shape("()", "(2,)")),
        ("soft", {"y": np.array([0.0, math.nan])}, soft_shape("(2, 3)", "(2,)")),
        ("soft", {"y": np.zeros((3, 2), np.float32)}, soft_shape("(2, 3)", "(3, 2)")),
        ("labels", {"x": np.array(1.0)}, "logits must have an axis of classes, got a scalar"),
        ("labels", {"x": ROWS[:, :0]}, "logits must have at least one class, got shape (2, 0)"),
    ],
)
def test_shapes(loss, arguments, message):
    loss_fails(ValueError, message, loss, **arguments)


@pytest.mark.parametrize(
    ("loss", "name", "shape", "got"),
    [
        ("logits", "sample_weight", "broadcast to shape (3,)", (4,)),
        ("logits", "pos_weight", "broadcast to shape (3,)", (2, 3)),
        ("probs", "sample_weight", "broadcast to shape (3,)", (3, 1)),
        ("labels", "sample_weight", "broadcast to shape (2,)", (2, 3)),
        ("soft", "sample_weight", "broadcast to shape (2,)", (3,)),
        ("labels", "class_weight", "have shape (3,)", (2,)),
        ("labels", "class_weight", "have shape (3,)", ()),
        ("soft", "class_weight", "have shape (3,)", (1, 3)),
    ],
)
def test_shapes_of_weights(loss, name, shape, got):
    message = f"{name} must {shape}, got {got}"
    loss_fails(ValueError, message, loss, **{name: np.ones(got)})


def test_factors_of_logsumexp_must_broadcast():
    with pytest.raises(ValueError, match=r"^b must "):
        special.logsumexp(ROWS, b=np.ones(2))


# Numbers and words

EVERY_LOSS = list(LOSSES)
BINARY_LOSSES = ["logits", "probs"]


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf, np.float32(2.0), -1])
def test_label_smoothing_range(loss, value):
    message = f"label_smoothing must be in [0, 1], got {value!r}"
    loss_fails(ValueError, message, loss, label_smoothing=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", ["0.1", b"1", [0.1], (), None, "", 1j, np.array([0.1, 0.2])])
def test_label_smoothing_type(loss, value):
    message = f"label_smoothing must be a number, got {value!r}"
    loss_fails(TypeError, message, loss, label_smoothing=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", ["avg", "", "Mean", None, 0])
def test_reduction(loss, value):
    message = f"reduction must be one of 'none', 'sum', 'mean', 'stats', got {value!r}"
    loss_fails(ValueError, message, loss, reduction=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", ["rows", "", "Weight"])
def test_denominator_word(loss, value):
    message = f"denominator must be 'weight', 'count' or a positive number, got {value!r}"
    loss_fails(ValueError, message, loss, denominator=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [0, 0.0, -1.5, math.inf, math.nan, np.float64(-2.0)])
def test_denominator_range(loss, value):
    message = f"denominator must be positive and finite, got {value!r}"
    loss_fails(ValueError, message, loss, denominator=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [None, [1.0], 2j, b"count"])
def test_denominator_type(loss, value):
    message = f"denominator must be a number, got {value!r}"
    loss_fails(TypeError, message, loss, denominator=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("value", [True, 1.0, "2", [1], np.array([1, 2])])
def test_n_threads_type(loss, value):
    message = f"n_threads must be an integer or None, got {value!r}"
    loss_fails(TypeError, message, loss, n_threads=value)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_n_threads_range(loss):
    message = "n_threads must not be 0: give a positive number, or -1 for all CPUs"
    loss_fails(ValueError, message, loss, n_threads=0)


@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX, "logsumexp"])
@pytest.mark.parametrize("x", [X, X[:0]], ids=["some", "empty"])
def test_n_threads_of_special_functions(name, x):
    function = getattr(special, name)
    out = np.zeros(() if name == "logsumexp" else x.shape)
    message = "n_threads must be an integer or None, got True"
    fails(TypeError, message, function, x, out=out, n_threads=True)
    message = "n_threads must not be 0: give a positive number, or -1 for all CPUs"
    fails(ValueError, message, function, x, out=out, n_threads=0)


@pytest.mark.parametrize("value", [-1e-9, 0.5, 1, math.nan, -math.inf])
def test_eps_range(value):
    message = f"eps must be in [0, 0.5) or None, got {value!r}"
    loss_fails(ValueError, message, "probs", eps=value)


@pytest.mark.parametrize("value", [1e-9, 100, math.inf, math.nan])
def test_log_min_range(value):
    message = f"log_min must be at most 0 or None, got {value!r}"
    loss_fails(ValueError, message, "probs", log_min=value)


@pytest.mark.parametrize("name", ["eps", "log_min"])
@pytest.mark.parametrize("value", ["auto", [0.1], 1j])
def test_eps_and_log_min_type(name, value):
    message = f"{name} must be a number, got {value!r}"
    loss_fails(TypeError, message, "probs", **{name: value})


@pytest.mark.parametrize("loss", BINARY_LOSSES)
@pytest.mark.parametrize("value", ["nan", [1.0], 1j])
def test_ignore_value_type(loss, value):
    message = f"ignore_value must be a number, got {value!r}"
    loss_fails(TypeError, message, loss, ignore_value=value)


@pytest.mark.parametrize("value", [True, False, 1.0, "1", math.nan, [1]])
@pytest.mark.parametrize("loss", ["labels", "soft"])
def test_ignore_index_type(loss, value):
    message = f"ignore_index must be an integer or None, got {value!r}"
    loss_fails(TypeError, message, loss, ignore_index=value)


def test_ignore_index_needs_labels():
    message = "ignore_index needs labels, but the targets are probabilities"
    loss_fails(ValueError, message, "soft", ignore_index=1)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_options_are_keywords(loss):
    function, x, y = LOSSES[loss]
    with pytest.raises(TypeError, match="positional argument"):
        function(x, y, None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):
        function(x, y, weights=0)


# Labels


@pytest.fixture
def label_fails(isa, dtype):  # noqa: ARG001
    def check(message, labels, n_classes=3, **options):
        labels = np.asarray(labels)
        x = np.zeros((*labels.shape, n_classes), dtype)
        loss_fails(ck.LabelError, message, "labels", x, labels, **options)
        loss_fails(ck.LabelError, message, "labels", x, labels, reduction="none", **options)

    return check


@pytest.mark.parametrize("n_classes", [1, 3, 100])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (-1, "i1"),
        (-(2**7), "i1"),
        (-(2**15), "i2"),
        (-(2**31), "i4"),
        (-(2**63), "i8"),
        (-1, "i8"),
        (2**7 - 1, "i1"),
        (2**15 - 1, "i2"),
        (2**31 - 1, "i4"),
        (2**63 - 1, "i8"),
        (2**8 - 1, "u1"),
        (2**16 - 1, "u2"),
        (2**32 - 1, "u4"),
        (2**63, "u8"),
        (2**64 - 100, "u8"),
        (2**64 - 1, "u8"),
    ],
)
def test_labels_of_every_width(label_fails, n_classes, value, kind):
    message = (
        f"targets[1] is {value}, but labels must be in [0, {n_classes}), the classes of logits"
    )
    labels = np.array([0, value, 0], kind)
    label_fails(message, labels, n_classes)
    ignoring = -100 if value != -100 else -1
    label_fails(f"{message} or ignore_index={ignoring}", labels, n_classes, ignore_index=ignoring)


@pytest.mark.parametrize("n_classes", [1, 2, 3, 64, 65, 1000])
def test_first_label_that_is_no_class(label_fails, n_classes):
    message = (
        f"targets[2] is {n_classes}, but labels must be in [0, {n_classes}), the classes of logits"
    )
    label_fails(message, [0, n_classes - 1, n_classes, 0, -1], n_classes)


@pytest.mark.parametrize("value", [-99, -101, 3, -1])
def test_neighbours_of_the_ignored_label(label_fails, value):
    message = (
        f"targets[1] is {value}, but labels must be in [0, 3), "
        "the classes of logits or ignore_index=-100"
    )
    label_fails(message, [-100, value, -100], ignore_index=-100)


@pytest.mark.parametrize("n", [15, 17, 1025, 20000])
def test_last_label_of_many(label_fails, n):
    labels = np.arange(n) % 3
    labels[-1] = 3
    message = f"targets[{n - 1}] is 3, but labels must be in [0, 3), the classes of logits"
    label_fails(message, labels)


def test_labels_of_other_shapes(label_fails):
    message = "targets[1, 0] is 7, but labels must be in [0, 3), the classes of logits"
    label_fails(message, [[0, 1], [7, 2]])
    message = "targets is 7, but labels must be in [0, 3), the classes of logits"
    label_fails(message, 7)
    message = "targets[0] is True, but labels must be in [0, 1), the classes of logits"
    label_fails(message, [True], n_classes=1)


def test_label_of_a_weightless_row(label_fails):
    message = "targets[1] is 3, but labels must be in [0, 3), the classes of logits"
    label_fails(message, [0, 3], sample_weight=np.array([1.0, 0.0]))
    label_fails(message, [0, 3], class_weight=np.zeros(3))


def test_label_error_is_both():
    assert issubclass(ck.LabelError, IndexError)
    assert issubclass(ck.LabelError, ValueError)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 7])
def test_large_unsigned_ignored_label(dtype, value):
    labels = np.array([0, value], np.uint64)
    stats = ck.cross_entropy(np.zeros((2, 3), dtype), labels, ignore_index=value, reduction="stats")
    assert stats.count == 1


@pytest.mark.usefixtures("isa")
def test_ignored_label_that_the_labels_cannot_hold(dtype):
    labels = np.array([0, 156], np.uint8)
    for value in (-100, 256 + 156, 2**80):
        message = (
            "targets[1] is 156, but labels must be in [0, 3), "
            f"the classes of logits or ignore_index={value}"
        )
        loss_fails(
            ck.LabelError, message, "labels", np.zeros((2, 3), dtype), labels, ignore_index=value
        )


# Values


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", BINARY_LOSSES)
@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1.5, "f4", "1.5"),
        (-0.25, "f8", "-0.25"),
        (1 + 2**-20, "f4", "1.000001"),
        (math.inf, "f4", "inf"),
        (-math.inf, "f8", "-inf"),
        (2, "u1", "2"),
        (-1, "i8", "-1"),
    ],
)
def test_targets_outside_the_unit_interval(dtype, loss, value, kind, text):
    y = np.array([0, 1, value, 1, value], kind)
    x = np.full(5, 0.5, dtype)
    message = f"targets must be in [0, 1], got {text} at [2]; check=False turns this check off"
    for options in ({}, {"reduction": "none"}, {"sample_weight": np.array([1, 1, 0, 1, 1])}):
        loss_fails(ValueError, message, loss, x, y, **options)
    function = LOSSES[loss][0]
    assert function(x, y, check=False, reduction="none").shape == (5,)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", BINARY_LOSSES)
@pytest.mark.parametrize("value", [1 + 2**-52, -5e-324])
def test_targets_just_outside_the_unit_interval(loss, value):
    message = f"targets must be in [0, 1], got {value} at [1]; check=False turns this check off"
    loss_fails(ValueError, message, loss, y=np.array([0.0, value, 1.0]))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("loss", BINARY_LOSSES)
def test_targets_beside_the_value_to_ignore(loss):
    y = np.array([-1.0, 0.0, -2.0])
    message = "targets must be in [0, 1], got -2.0 at [2]; check=False turns this check off"
    loss_fails(ValueError, message, loss, y=y, ignore_value=-1.0)
    message = "targets must be in [0, 1], got -1.0 at [0]; check=False turns this check off"
    loss_fails(ValueError, message, loss, y=y, ignore_value=math.nan)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n", [15, 17, 1025, 20000])
def test_last_target_of_many(dtype, n):
    x, y = np.full(n, 0.5, dtype), np.zeros(n, dtype)
    y[-1] = 2.0
    message = f"targets must be in [0, 1], got 2.0 at [{n - 1}]; check=False turns this check off"
    for loss in BINARY_LOSSES:
        loss_fails(ValueError, message, loss, x, y)


@pytest.mark.parametrize("loss", BINARY_LOSSES)
def test_place_of_a_target_in_two_dimensions(loss):
    x, y = np.full((2, 3), 0.5), np.array([[0, 1, 0], [0, 3, 0]])
    message = "targets must be in [0, 1], got 3 at [1, 1]; check=False turns this check off"
    loss_fails(ValueError, message, loss, x, y)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.5, "-0.5"),
        (1.5, "1.5"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (-(2.0**-10), "-0.0009765625"),
    ],
)
def test_probabilities_outside_the_unit_interval(dtype, value, text):
    p = np.array([0.0, value, 1.0], dtype)
    message = f"probs must be in [0, 1], got {text} at [1]; check=False turns this check off"
    loss_fails(ValueError, message, "probs", p)
    loss_fails(ValueError, message, "probs", p, eps=0.25)
    assert ck.binary_cross_entropy(p, Y, check=False, reduction="none").shape == (3,)
    assert ck.binary_cross_entropy(np.array([0.5, math.nan, 1.0], dtype), Y, reduction="sum") != 0.0


# Outputs


def read_only(array):
    array.flags.writeable = False
    return array


BAD_OUTPUTS = [
    (lambda shape: np.zeros(shape).tolist(), TypeError, "{name} must be a NumPy array, got list"),
    (
        lambda shape: memoryview(np.zeros(shape)),
        TypeError,
        "{name} must be a NumPy array, got memoryview",
    ),
    (lambda shape: np.zeros(shape, "f4"), TypeError, "{name} must have dtype float64, got float32"),
    (lambda shape: np.zeros(shape, "i8"), TypeError, "{name} must have dtype float64, got int64"),
    (
        lambda shape: swapped(np.zeros(shape)),
        TypeError,
        f"{{name}} must have dtype float64, got {swapped(np.zeros(1)).dtype}",
    ),
    (
        lambda shape: np.zeros((*shape, 1)),
        ValueError,
        "{name} must have shape {shape}, got {other}",
    ),
    (lambda shape: read_only(np.zeros(shape)), ValueError, "{name} is read-only"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_OUTPUTS)
@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (loss, name)
        for loss in EVERY_LOSS
        for name in ("out", "grad_out", "hess_out", "proba_out")
        if (loss, name) != ("probs", "proba_out")
    ],
)
def test_outputs_of_losses(loss, name, make, error, message):
    function, x, y = LOSSES[loss]
    shape = x.shape[:-1] if name == "out" and function is ck.cross_entropy else x.shape
    message = message.format(name=name, shape=shape, other=(*shape, 1))
    options = {"reduction": "none"} if name == "out" else {}
    fails(error, message, function, x, y, **{name: make(shape)}, **options)
    others = outputs(function, x) | {name: make(shape)}
    fails(error, message, function, x, y, **others, **options)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "stats"])
def test_out_takes_losses(loss, reduction):
    function, x, _ = LOSSES[loss]
    out = np.zeros(x.shape[:-1] if function is ck.cross_entropy else x.shape)
    message = f"out takes the losses of reduction='none', not of {reduction!r}"
    loss_fails(ValueError, message, loss, out=out, reduction=reduction)


@pytest.mark.parametrize(("make", "error", "message"), BAD_OUTPUTS)
@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX])
def test_outputs_of_special_functions(name, make, error, message):
    message = message.format(name="out", shape=(3,), other=(3, 1))
    fails(error, message, getattr(special, name), X, out=make((3,)))


@pytest.mark.parametrize(("make", "error", "message"), BAD_OUTPUTS)
@pytest.mark.parametrize("options", [{}, {"b": np.ones((2, 3))}], ids=["plain", "factors"])
def test_outputs_of_logsumexp(options, make, error, message):
    message = message.format(name="out", shape=(2,), other=(2, 1))
    fails(error, message, special.logsumexp, ROWS, axis=1, out=make((2,)), **options)
    message = "out must have shape (2, 1), got (2,)"
    fails(ValueError, message, special.logsumexp, ROWS, axis=1, keepdims=True, out=np.zeros(2))


# Memory that is shared


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_gradient_over_a_part_of_the_logits(loss):
    function, x, y = LOSSES[loss]
    name = "probs" if loss == "probs" else "logits"
    room = np.concatenate([x.ravel(), x.ravel()])
    first = room[: x.size].reshape(x.shape)
    message = f"grad_out shares memory with {name}"
    for offset in (1, x.size - 1):
        second = room[offset : offset + x.size].reshape(x.shape)
        fails(ValueError, message, function, first, y, grad_out=second)
        fails(ValueError, message, function, first, y, grad_out=second, reduction="sum")
    fails(ValueError, message, function, first, y, grad_out=first[::-1])


@pytest.mark.parametrize(
    ("loss", "output"),
    [
        *(("logits", output) for output in ("out", "hess_out", "proba_out")),
        *(("probs", output) for output in ("out", "hess_out")),
        *((loss, output) for loss in ("labels", "soft") for output in ("hess_out", "proba_out")),
    ],
)
def test_no_other_output_over_the_logits(loss, output):
    function, x, y = LOSSES[loss]
    x = x.copy()
    options = {"reduction": "none"} if output == "out" else {}
    message = f"{output} shares memory with {'probs' if loss == 'probs' else 'logits'}"
    fails(ValueError, message, function, x, y, **{output: x}, **options)


@pytest.mark.parametrize("loss", ["logits", "probs", "soft"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_over_the_targets(loss, reduction):
    function, x, y = LOSSES[loss]
    y = y.copy()
    message = "grad_out shares memory with targets"
    fails(ValueError, message, function, x, y, grad_out=y, reduction=reduction)


@pytest.mark.parametrize("loss", ["logits", "probs", "soft"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_over_logits_that_are_the_targets(loss, reduction):
    y = LOSSES[loss][2].copy()
    message = "grad_out shares memory with targets"
    fails(ValueError, message, LOSSES[loss][0], y, y, grad_out=y, reduction=reduction)


def test_gradient_over_logits_that_hold_the_labels():
    room = np.zeros((2, 3))
    labels = room.view(np.int64)[:, 0]
    for options in ({}, {"reduction": "sum"}):
        message = "grad_out shares memory with targets"
        fails(ValueError, message, ck.cross_entropy, room, labels, grad_out=room, **options)
    whole = np.zeros((1, 1))
    labels = whole.view(np.int64)[0]
    fails(ValueError, message, ck.cross_entropy, whole, labels, grad_out=whole)


@pytest.mark.parametrize("name", ["sample_weight", "pos_weight"])
def test_binary_outputs_over_weights(name):
    weight = np.ones(3)
    message = f"hess_out shares memory with {name}"
    fails(ValueError, message, *LOSSES["logits"], **{name: weight}, hess_out=weight)


def test_class_outputs_over_weights():
    room = np.ones((2, 3))
    message = "proba_out shares memory with class_weight"
    fails(ValueError, message, *LOSSES["labels"], class_weight=room[0], proba_out=room)
    message = "grad_out shares memory with sample_weight"
    fails(ValueError, message, *LOSSES["labels"], sample_weight=room[:, 1], grad_out=room)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_outputs_over_each_other(loss):
    function, x, y = LOSSES[loss]
    same = np.zeros_like(x)
    message = "hess_out shares memory with grad_out"
    fails(ValueError, message, function, x, y, grad_out=same, hess_out=same)
    own = x.copy()
    message = message.replace("grad_out", "probs" if loss == "probs" else "logits")
    fails(ValueError, message, function, own, y, grad_out=own, hess_out=own)


@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX])
def test_special_function_over_a_part_of_its_input(name):
    room = np.zeros(4)
    message = "out shares memory with x"
    fails(ValueError, message, getattr(special, name), room[1:], out=room[:-1])
    if name in SOFTMAX:
        fails(ValueError, message, getattr(special, name), room, out=room)


def test_logsumexp_over_its_input():
    room = np.zeros(3)
    message = "out shares memory with a"
    fails(ValueError, message, special.logsumexp, room, out=room[1:2].reshape(()))


# Axes


@pytest.mark.parametrize("name", [*SOFTMAX, "logsumexp"])
@pytest.mark.parametrize(
    ("axis", "error", "message"),
    [
        (2, ValueError, "axis must be in [-2, 2), got 2"),
        (-3, ValueError, "axis must be in [-2, 2), got -3"),
        ((0, 5), ValueError, "axis must be in [-2, 2), got 5"),
        ((0, 0), ValueError, "axis must not repeat, got (0, 0)"),
        ((1, -1), ValueError, "axis must not repeat, got (1, -1)"),
        (1.0, TypeError, "axis must be an integer, a tuple of integers or None, got 1.0"),
        ("0", TypeError, "axis must be an integer, a tuple of integers or None, got '0'"),
        ((0, "1"), TypeError, "axis must be an integer, a tuple of integers or None, got (0, '1')"),
    ],
)
@pytest.mark.parametrize("x", [ROWS, ROWS[:0]], ids=["some", "empty"])
def test_axes(name, axis, error, message, x):
    fails(error, message, getattr(special, name), x, axis=axis)


# Options of classes


@pytest.mark.parametrize("value", [2, -3, 100, -(2**63)])
def test_axis_of_classes(value):
    message = f"axis must be in [-2, 2), got {value}"
    loss_fails(ValueError, message, "labels", axis=value)
    loss_fails(ValueError, message, "soft", axis=value)


@pytest.mark.parametrize("value", [1.0, "0", 1j, [0.5]])
def test_type_of_the_axis_of_classes(value):
    grad = np.full(ROWS.shape, 12345.0)
    with pytest.raises(TypeError, match=r"^axis must be an integer"):
        ck.cross_entropy(ROWS, LABELS, axis=value, grad_out=grad)
    assert np.all(grad == 12345.0)


@pytest.mark.parametrize(
    ("axis", "which", "want", "got"),
    [
        (0, "axis 0", "(3, 4)", (2, 4)),
        (1, "axis 1", "(2, 4)", (2, 3)),
        (-1, "the last axis", "(2, 3)", (3, 2)),
        (-2, "axis 1", "(2, 4)", (2, 4, 1)),
        (2, "the last axis", "(2, 3)", ()),
    ],
)
def test_shape_of_labels_beside_an_axis(axis, which, want, got):
    message = (
        f"integer targets are labels and must have the shape of logits without {which}, "
        f"{want}, got {got}; probabilities must be floats"
    )
    x = np.zeros((2, 3, 4))
    loss_fails(ValueError, message, "labels", x, np.zeros(got, int), axis=axis)
    fails(ValueError, message, ck.cross_entropy, x, np.zeros(got, bool), axis=axis)


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_dtypes_that_no_mask_has(kind):
    array, message = bad_arrays("where")[kind]
    loss_fails(TypeError, message, "labels", where=array)


@pytest.mark.parametrize("kind", ["i1", "u1", "i8", "f4", "f8"])
@pytest.mark.parametrize("loss", ["labels", "soft"])
def test_masks_are_bool(loss, kind):
    where = np.ones(ROWS.shape, kind)
    loss_fails(TypeError, f"where must be bool, got dtype {where.dtype}", loss, where=where)


@pytest.mark.parametrize("shape", [(2,), (3, 3), (2, 2), (1, 2, 3), (2, 3, 1), (0,)])
def test_shapes_of_masks(shape):
    message = f"where must broadcast to shape (2, 3), got {shape}"
    loss_fails(ValueError, message, "labels", where=np.ones(shape, bool))


@pytest.mark.parametrize("name", ["softcap", "logit_scale"])
@pytest.mark.parametrize("value", [0, 0.0, -0.0, -1.5, math.nan, math.inf, np.float32(-2.0), False])
def test_positive_options(name, value):
    message = f"{name} must be positive and finite, got {value!r}"
    loss_fails(ValueError, message, "labels", **{name: value})
    loss_fails(ValueError, message, "soft", **{name: value}, reduction="sum")


@pytest.mark.parametrize("value", [-1, -1e-300, math.nan, math.inf, -math.inf, np.float32(-2.0)])
def test_z_loss_range(value):
    message = f"z_loss must be finite and not negative, got {value!r}"
    loss_fails(ValueError, message, "labels", z_loss=value)
    loss_fails(ValueError, message, "soft", z_loss=value, reduction="sum")


@pytest.mark.parametrize("name", ["softcap", "logit_scale", "z_loss"])
@pytest.mark.parametrize("value", ["1", b"2", [1.0], (), 1j, np.array([1.0, 2.0]), {}])
def test_types_of_numbers(name, value):
    loss_fails(TypeError, f"{name} must be a number, got {value!r}", "labels", **{name: value})


@pytest.mark.parametrize("name", ["logit_scale", "z_loss"])
def test_numbers_that_none_is_not(name):
    loss_fails(TypeError, f"{name} must be a number, got None", "labels", **{name: None})


@pytest.mark.parametrize("key", [3, -1, 2**64, -(2**63), np.int8(-5), np.uint8(200)])
@pytest.mark.parametrize("loss", ["labels", "soft"])
def test_keys_that_are_no_class(loss, key):
    message = f"class_weight must have keys in [0, 3), got {key}"
    loss_fails(ValueError, message, loss, class_weight={0: 1.0, key: 2.0})


@pytest.mark.parametrize("key", [True, 1.0, "1", None, (0,), np.float64(2), math.nan])
def test_keys_that_are_no_integer(key):
    message = f"class_weight must have integer keys, got {key!r}"
    loss_fails(TypeError, message, "labels", class_weight={key: 2.0})


@pytest.mark.parametrize("value", ["2", None, [1.0], 1j])
def test_values_that_are_no_weight(value):
    message = f"class_weight[1] must be a number, got {value!r}"
    loss_fails(TypeError, message, "labels", class_weight={1: value})


@pytest.mark.parametrize("word", ["auto", "", "Balanced", "balanced_subsample"])
def test_words_that_are_no_weight(word):
    message = f"class_weight must be an array, a dict or 'balanced', got {word!r}"
    loss_fails(ValueError, message, "labels", class_weight=word)


def test_what_needs_labels():
    message = "class_weight='balanced' needs labels, but the targets are probabilities"
    loss_fails(ValueError, message, "soft", class_weight="balanced")
    message = "ignore_index needs labels, but the targets are probabilities"
    for value in (0, -100, 2**80):
        loss_fails(ValueError, message, "soft", ignore_index=value)


# Labels where they are

INT64 = np.iinfo(np.int64)


@pytest.mark.parametrize(
    ("value", "ignored"),
    [
        (INT64.min, None),
        (INT64.min, INT64.min + 1),
        (INT64.min + 1, INT64.min),
        (INT64.max, INT64.max - 1),
        (INT64.max - 1, INT64.max),
        (-1, INT64.max),
        (-1, 2**64 - 1),
        (-1, -2),
        (-2, -1),
        (2**32, 0),
        (2**32 + 1, 1),
    ],
)
@pytest.mark.parametrize("n_classes", [5, 100])
def test_labels_beside_the_ignored_one(label_fails, n_classes, value, ignored):
    ending = "" if ignored is None else f" or ignore_index={ignored}"
    message = (
        f"targets[2] is {value}, but labels must be in [0, {n_classes}), "
        f"the classes of logits{ending}"
    )
    label_fails(message, [0, 1, value, 4], n_classes, ignore_index=ignored)
    label_fails(message, [0, 1, value, 4], n_classes, ignore_index=ignored, class_weight="balanced")


@pytest.mark.parametrize("n_classes", [1, 64, 65])
def test_ignored_label_beside_the_classes(label_fails, n_classes):
    ending = f"but labels must be in [0, {n_classes}), the classes of logits or ignore_index="
    for value, ignored in ((n_classes, n_classes + 1), (n_classes + 1, n_classes)):
        message = f"targets[1] is {value}, {ending}{ignored}"
        label_fails(message, [0, value], n_classes, ignore_index=ignored)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_place_of_a_label_in_any_layout(dtype, axis):
    shape = (4, 5, 6)
    x = np.zeros(shape, dtype)
    labels = np.zeros(shape[:axis] + shape[axis + 1 :], np.int16)
    place = tuple(n - 2 for n in labels.shape)
    labels[place] = labels[-1, -1] = 77
    message = (
        f"targets[{place[0]}, {place[1]}] is 77, but labels must be in [0, {shape[axis]}), "
        "the classes of logits"
    )
    for targets in (labels, np.asfortranarray(labels), np.repeat(labels, 2, axis=1)[:, ::2]):
        loss_fails(ck.LabelError, message, "labels", x, targets, axis=axis)
        loss_fails(ck.LabelError, message, "labels", np.asfortranarray(x), targets, axis=axis)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [3, 100])
def test_nan_weights_are_seen(dtype, n_classes):
    """No error, no silence: every number that they have a part in is NaN, and no other."""
    x, labels = np.zeros((3, n_classes), dtype), [0, 1, 2]
    stats, grad = ck.cross_entropy(
        x, labels, sample_weight=[1, math.nan, 2], reduction="stats", return_grad=True
    )
    assert math.isnan(stats.total)
    assert math.isnan(stats.weight)
    assert stats.count == 3
    np.testing.assert_array_equal(np.isnan(grad).any(axis=1), [False, True, False])
    of_class = np.ones(n_classes)
    of_class[1] = math.nan
    assert math.isnan(ck.cross_entropy(x, labels, class_weight=of_class, reduction="none")[1])
    assert math.isnan(ck.cross_entropy(x, labels, class_weight=of_class))
    for loss in (ck.binary_cross_entropy_with_logits, ck.binary_cross_entropy):
        assert math.isnan(loss(P, Y, sample_weight=[1, math.nan, 2]))
        assert math.isnan(loss(P, Y, sample_weight=[1, math.nan, 2], reduction="sum"))


# Complements


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_dtypes_of_complements(kind):
    array, message = bad_arrays("complement")[kind]
    loss_fails(TypeError, message, "probs", complement=array)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (1, 3)])
def test_shapes_of_complements(shape):
    message = f"complement must have shape (3,), got {shape}"
    loss_fails(ValueError, message, "probs", complement=np.zeros(shape))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("value", "text"), [(-0.5, "-0.5"), (1.5, "1.5"), (math.inf, "inf")])
def test_complements_outside_the_unit_interval(dtype, value, text):
    q = np.array([0.5, value, 0.0], dtype)
    message = f"complement must be in [0, 1], got {text} at [1]; check=False turns this check off"
    loss_fails(ValueError, message, "probs", P.astype(dtype), complement=q)
    loss = ck.binary_cross_entropy(P.astype(dtype), Y, complement=q, check=False, reduction="none")
    assert loss.shape == (3,)


# Outputs that overlap

SELF_OVERLAPPING = {
    "a row again and again": lambda item: (0, item),
    "one element a row": lambda item: (item, 0),
    "one element": lambda item: (0 * item, 0),
    "diagonals": lambda item: (item, item),
    "rows that begin before the last ends": lambda item: (2 * item, item),
    "halves of elements": lambda item: (3 * item, item // 2),
    "backwards": lambda item: (-item, item),
}


@pytest.mark.parametrize("strides", SELF_OVERLAPPING.values(), ids=SELF_OVERLAPPING)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_outputs_over_themselves(kind, strides):
    room = np.zeros(64, kind)
    out = np.lib.stride_tricks.as_strided(room[20:], (2, 3), strides(room.itemsize))
    x, y = ROWS.astype(kind), np.zeros(ROWS.shape, kind)
    for name in ("grad_out", "hess_out", "proba_out"):
        message = f"{name} has elements that share memory"
        fails(ValueError, message, ck.cross_entropy, x, LABELS, **{name: out})
        fails(ValueError, message, ck.cross_entropy, x, LABELS, **{name: out}, axis=-1)
        fails(ValueError, message, ck.binary_cross_entropy_with_logits, x, y, **{name: out})
    for name in ("grad_out", "hess_out"):
        message = f"{name} has elements that share memory"
        fails(ValueError, message, ck.binary_cross_entropy, y, y, **{name: out})
    # In place, too.
    message = "grad_out has elements that share memory"
    fails(ValueError, message, ck.cross_entropy, out, LABELS, grad_out=out)
    message = "out has elements that share memory"
    for name in (*UNARY, *SOFTMAX):
        fails(ValueError, message, getattr(special, name), x, out=out)
    assert not room.any()


def test_losses_over_themselves():
    out = np.lib.stride_tricks.as_strided(np.zeros(1), (2,), (0,))
    message = "out has elements that share memory"
    fails(ValueError, message, ck.cross_entropy, ROWS, LABELS, out=out, reduction="none")
    fails(ValueError, message, special.logsumexp, ROWS, axis=1, out=out)


CLASS_OUTPUTS = ["out", "grad_out", "hess_out", "proba_out"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CLASS_OUTPUTS[i], CLASS_OUTPUTS[j])
        for i in range(len(CLASS_OUTPUTS))
        for j in range(i + 1, len(CLASS_OUTPUTS))
    ],
)
def test_every_pair_of_outputs(first, second):
    """The same memory, the last element of one, and one between the elements of the other."""
    message = f"{second} shares memory with {first}"
    room = np.full(64, 12345.0)
    binary = room[:2], room[1:3]
    pairs = [(room[:6].reshape(2, 3), room[5:11].reshape(2, 3))]
    pairs += [(room[:6].reshape(2, 3), room[:6].reshape(2, 3)[::-1])]
    pairs += [(room[:12].reshape(2, 6)[:, ::2], room[10:16].reshape(2, 3))]
    for one, other in pairs:
        one = one[:, 2] if first == "out" else one
        given = {first: one, second: other}
        reduction = "none" if first == "out" else "mean"
        if np.shares_memory(one, other):
            fails(ValueError, message, ck.cross_entropy, ROWS, LABELS, **given, reduction=reduction)
    fails(
        ValueError,
        message,
        ck.binary_cross_entropy_with_logits,
        np.zeros(2),
        np.zeros(2),
        **{first: binary[0], second: binary[1]},
        reduction="none",
    )
    assert np.all(room == 12345.0)


def test_outputs_between_each_other():
    """Interleaved arrays share no element."""
    room = np.zeros((2, 6))
    _, grad, hess = ck.cross_entropy(ROWS, LABELS, grad_out=room[:, ::2], hess_out=room[:, 1::2])
    want = ck.cross_entropy(ROWS, LABELS, return_grad=True, return_hess=True)
    assert np.array_equal(grad, want[1])
    assert np.array_equal(hess, want[2])


@pytest.mark.parametrize("name", ["grad_out", "hess_out", "proba_out"])
def test_outputs_over_the_mask(name):
    room = np.ones(ROWS.shape)
    where = room.view(bool)[:, ::8]
    message = f"{name} shares memory with where"
    fails(ValueError, message, ck.cross_entropy, ROWS, LABELS, where=where, **{name: room})


@pytest.mark.parametrize("name", ["out", "grad_out", "hess_out"])
def test_outputs_over_the_complement(name):
    q = 1 - P
    options = {"complement": q, name: q, "reduction": "none"}
    message = f"{name} shares memory with complement"
    fails(ValueError, message, ck.binary_cross_entropy, P, Y, **options)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_outputs_of_half_precision(loss):
    """Losses are float32, what is written beside the logits is in their dtype."""
    function, x, y = LOSSES[loss]
    x = x.astype(np.float16)
    shape = x.shape[:-1] if function is ck.cross_entropy else x.shape
    message = "out must have dtype float32, got float16"
    out = np.zeros(shape, np.float16)
    fails(TypeError, message, function, x, y, out=out, reduction="none")
    for name in ("grad_out", "hess_out"):
        message = f"{name} must have dtype float16, got float32"
        fails(TypeError, message, function, x, y, **{name: np.zeros(x.shape, np.float32)})
