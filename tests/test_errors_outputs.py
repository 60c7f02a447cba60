"""Errors of outputs, in their own words: their kind, and the memory that they share."""

import numpy as np
import pytest

import cekernels as ck
from cekernels import special

X, Y = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.0, 1.0])
P = np.array([0.5, 0.25, 1.0])
ROWS, LABELS = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]]), np.array([0, 2])
UNARY = ["expit", "log_expit", "softplus"]
SOFTMAX = ["softmax", "log_softmax"]


def swapped(array):
    """Return the same numbers with their bytes the other way round."""
    return array.astype(array.dtype.newbyteorder("S"))


EVERY_LOSS = ["logits", "probs", "labels", "soft"]


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
def test_outputs_of_losses(fails, losses, outputs, loss, name, make, error, message):
    function, x, y = losses[loss]
    shape = x.shape[:-1] if name == "out" and function is ck.cross_entropy else x.shape
    message = message.format(name=name, shape=shape, other=(*shape, 1))
    options = {"reduction": "none"} if name == "out" else {}
    fails(error, message, function, x, y, **{name: make(shape)}, **options)
    others = outputs(function, x) | {name: make(shape)}
    fails(error, message, function, x, y, **others, **options)


@pytest.mark.parametrize("loss", EVERY_LOSS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "stats"])
def test_out_takes_losses(loss_fails, losses, loss, reduction):
    function, x, _ = losses[loss]
    out = np.zeros(x.shape[:-1] if function is ck.cross_entropy else x.shape)
    message = f"out takes the losses of reduction='none', not of {reduction!r}"
    loss_fails(ValueError, message, loss, out=out, reduction=reduction)


@pytest.mark.parametrize(("make", "error", "message"), BAD_OUTPUTS)
@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX])
def test_outputs_of_special_functions(fails, name, make, error, message):
    message = message.format(name="out", shape=(3,), other=(3, 1))
    fails(error, message, getattr(special, name), X, out=make((3,)))


@pytest.mark.parametrize(("make", "error", "message"), BAD_OUTPUTS)
@pytest.mark.parametrize("options", [{}, {"b": np.ones((2, 3))}], ids=["plain", "factors"])
def test_outputs_of_logsumexp(fails, options, make, error, message):
    message = message.format(name="out", shape=(2,), other=(2, 1))
    fails(error, message, special.logsumexp, ROWS, axis=1, out=make((2,)), **options)
    message = "out must have shape (2, 1), got (2,)"
    fails(ValueError, message, special.logsumexp, ROWS, axis=1, keepdims=True, out=np.zeros(2))


# Memory that is shared


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_gradient_over_a_part_of_the_logits(fails, losses, loss):
    function, x, y = losses[loss]
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
def test_no_other_output_over_the_logits(fails, losses, loss, output):
    function, x, y = losses[loss]
    x = x.copy()
    options = {"reduction": "none"} if output == "out" else {}
    message = f"{output} shares memory with {'probs' if loss == 'probs' else 'logits'}"
    fails(ValueError, message, function, x, y, **{output: x}, **options)


@pytest.mark.parametrize("loss", ["logits", "probs", "soft"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_over_the_targets(fails, losses, loss, reduction):
    function, x, y = losses[loss]
    y = y.copy()
    message = "grad_out shares memory with targets"
    fails(ValueError, message, function, x, y, grad_out=y, reduction=reduction)


@pytest.mark.parametrize("loss", ["logits", "probs", "soft"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient_over_logits_that_are_the_targets(fails, losses, loss, reduction):
    y = losses[loss][2].copy()
    message = "grad_out shares memory with targets"
    fails(ValueError, message, losses[loss][0], y, y, grad_out=y, reduction=reduction)


def test_gradient_over_logits_that_hold_the_labels(fails):
    room = np.zeros((2, 3))
    labels = room.view(np.int64)[:, 0]
    for options in ({}, {"reduction": "sum"}):
        message = "grad_out shares memory with targets"
        fails(ValueError, message, ck.cross_entropy, room, labels, grad_out=room, **options)
    whole = np.zeros((1, 1))
    labels = whole.view(np.int64)[0]
    fails(ValueError, message, ck.cross_entropy, whole, labels, grad_out=whole)


@pytest.mark.parametrize("name", ["sample_weight", "pos_weight"])
def test_binary_outputs_over_weights(fails, losses, name):
    weight = np.ones(3)
    message = f"hess_out shares memory with {name}"
    fails(ValueError, message, *losses["logits"], **{name: weight}, hess_out=weight)


def test_class_outputs_over_weights(fails, losses):
    room = np.ones((2, 3))
    message = "proba_out shares memory with class_weight"
    fails(ValueError, message, *losses["labels"], class_weight=room[0], proba_out=room)
    message = "grad_out shares memory with sample_weight"
    fails(ValueError, message, *losses["labels"], sample_weight=room[:, 1], grad_out=room)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_outputs_over_each_other(fails, losses, loss):
    function, x, y = losses[loss]
    same = np.zeros_like(x)
    message = "hess_out shares memory with grad_out"
    fails(ValueError, message, function, x, y, grad_out=same, hess_out=same)
    own = x.copy()
    message = message.replace("grad_out", "probs" if loss == "probs" else "logits")
    fails(ValueError, message, function, own, y, grad_out=own, hess_out=own)


@pytest.mark.parametrize("name", [*UNARY, *SOFTMAX])
def test_special_function_over_a_part_of_its_input(fails, name):
    room = np.zeros(4)
    message = "out shares memory with x"
    fails(ValueError, message, getattr(special, name), room[1:], out=room[:-1])
    if name in SOFTMAX:
        fails(ValueError, message, getattr(special, name), room, out=room)


def test_logsumexp_over_its_input(fails):
    room = np.zeros(3)
    message = "out shares memory with a"
    fails(ValueError, message, special.logsumexp, room, out=room[1:2].reshape(()))


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
def test_outputs_over_themselves(fails, kind, strides):
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


def test_losses_over_themselves(fails):
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
def test_every_pair_of_outputs(fails, first, second):
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
def test_outputs_over_the_mask(fails, name):
    room = np.ones(ROWS.shape)
    where = room.view(bool)[:, ::8]
    message = f"{name} shares memory with where"
    fails(ValueError, message, ck.cross_entropy, ROWS, LABELS, where=where, **{name: room})


@pytest.mark.parametrize("name", ["out", "grad_out", "hess_out"])
def test_outputs_over_the_complement(fails, name):
    q = 1 - P
    options = {"complement": q, name: q, "reduction": "none"}
    message = f"{name} shares memory with complement"
    fails(ValueError, message, ck.binary_cross_entropy, P, Y, **options)


@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_outputs_of_half_precision(fails, losses, loss):
    """Losses are float32, what is written beside the logits is in their dtype."""
    function, x, y = losses[loss]
    x = x.astype(np.float16)
    shape = x.shape[:-1] if function is ck.cross_entropy else x.shape
    message = "out must have dtype float32, got float16"
    out = np.zeros(shape, np.float16)
    fails(TypeError, message, function, x, y, out=out, reduction="none")
    for name in ("grad_out", "hess_out"):
        message = f"{name} must have dtype float16, got float32"
        fails(TypeError, message, function, x, y, **{name: np.zeros(x.shape, np.float32)})
