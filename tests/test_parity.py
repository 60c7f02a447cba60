"""The calls of the page "Coming from another library": both columns are run and compared.

The tables of `docs/explanation/coming_from.rst` are the cases. Of each row, the call there and the
call here are evaluated as they are written, on the same arrays; values have to agree, and so have
gradients: here with `return_grad=True`, there by automatic differentiation, or by differences in
systems without it. Systems that are not installed are skipped; for all of them

    pip install torch jax optax keras onnx onnxruntime
    pytest tests/test_parity.py tests/test_parity_*.py

The backend of Keras is JAX, unless `KERAS_BACKEND` says `torch` or `numpy`.
"""

import ast
import functools
import importlib.util
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import cekernels

# In units of the dtype's epsilon, of the largest number of the result: the results here are right
# to some units in the last place, so that this is what the others lose. They subtract numbers next
# to each other, p - y and lse - x, add up hundreds of terms in the dtype of the logits, or take the
# logarithm of a rounded probability.
VALUE_EPS = 32
GRADIENT_EPS = 32
# A difference of fourth order in float64, and its step.
DIFFERENCE, STEP = 2e-10, 1e-3
# Where the system adds 1e-7 to what it takes the logarithm of.
SHIFTED = {
    "tf.keras.losses.BinaryCrossentropy()(b, r)": 1e-4,
    'F.softmax_cross_entropy(x, t, soft_target_loss="kl-divergence")': 4e-7,
}

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "explanation" / "coming_from.rst"
# The labels that a system ignores without being told.
IGNORED = {"PyTorch": -100, "Liger": -100, "Chainer": -1}


def _tables():
    """Yield the system, the kind of table, and the cells of each row of the page."""
    if not PAGE.exists():
        return
    system = kind = before = None
    cells = []
    for line in [*PAGE.read_text(encoding="utf-8").splitlines(), ""]:
        if re.fullmatch(r"-{3,}", line):
            system = before
        elif found := re.fullmatch(r"   :class: parity( differences)?", line):
            kind = "difference" if found[1] else "call"
        elif found := re.fullmatch(r"   (\* -|  -) (.+)", line):
            cells.append(found[2])
            if len(cells) == {"call": 2, "difference": 3}[kind]:
                yield system, kind, cells
                cells = []
        before = line


def _calls():
    """Return a parameter for each pair of calls of the page, without the heads of the tables."""
    parameters = []
    for system, kind, cells in _tables():
        if kind != "call" or cells == ["there", "here"]:
            continue
        there, here = (re.findall("``(.+?)``", cell) for cell in cells)
        here *= len(there) if len(here) == 1 else 1
        parameters += [
            pytest.param(
                "tf.keras" if "tf.keras" in pair[0] else system, *pair, id=f"{system}: {pair[0]}"
            )
            for pair in zip(there, here, strict=True)
        ]
    return parameters


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # of F.kl_div
@pytest.mark.parametrize(("system", "there", "here"), _calls())
def test_call(system, there, here, dtype):
    names = _names(dtype, IGNORED.get(system))
    leaf = _leaf(here, names)
    value, gradient = _here(here, names, leaf)
    expected, expected_gradient = SYSTEMS[system](there, names, leaf)
    # Keras takes the mean over the last axis in float32, on float64 too.
    eps = np.finfo(np.float32 if system == "Keras" else dtype).eps
    _assert_close(value, expected, SHIFTED.get(there, VALUE_EPS * eps))
    if expected_gradient is not None:
        by_difference = SYSTEMS[system] not in (_pytorch, _keras, _optax)
        bound = DIFFERENCE if by_difference else GRADIENT_EPS * eps
        expected_gradient = np.reshape(expected_gradient, gradient.shape)
        _assert_close(gradient, expected_gradient, SHIFTED.get(there, bound))


def test_every_difference_of_the_page_has_a_test():
    if not PAGE.exists():
        pytest.skip("the documentation is not here")
    for system, kind, (row, *_) in _tables():
        if kind == "difference" and row != "input":
            name = system.lower().split()[0].replace("-", "_")
            row = row.replace("``", "`")
            assert row in _docstrings(f"test_parity_{name}.py"), (system, row)


@functools.cache
def _docstrings(name):
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    return [ast.get_docstring(node) for node in tree.body if isinstance(node, ast.FunctionDef)]


def _names(dtype, ignored):
    """Return the arrays of the page, with more rows."""
    rng = np.random.default_rng(0)
    n, classes = 24, 3
    real = {
        "x": 2 * rng.standard_normal((n, classes)),
        "z": 2 * rng.standard_normal(n),
        "Z": 2 * rng.standard_normal((n, 4)),
        "images": rng.standard_normal((2, classes, 4, 3)),
        "t": rng.dirichlet(np.ones(classes), n),
        "w": np.array([1.0, 2.0, 0.5]),
        "s": rng.uniform(0.5, 2.0, n),
        "q": np.array(3.0),
    }
    names = {name: np.asarray(array, dtype) for name, array in real.items()}
    y = rng.integers(0, classes, n)
    y[:classes] = range(classes)
    labels = rng.integers(0, classes, (2, 4, 3))
    mask = rng.random((n, classes)) < 0.6
    mask[np.arange(n), y] = True
    b = rng.integers(0, 2, n)
    if ignored is not None:
        y[3::5] = labels[0, 0, :2] = ignored
        b[3::5] = ignored if ignored == -1 else b[3::5]
    names |= {"y": y, "b": b, "B": rng.integers(0, 2, (n, 4)), "labels": labels, "mask": mask}
    functions = SimpleNamespace(softmax=_softmax, log_softmax=_log_softmax, sigmoid=_sigmoid)
    return names | _derived(names, "xz", functions)


def _derived(names, leaves, functions):
    """Return the arrays of the page that are made of these."""
    more = {}
    if "x" in leaves:
        more |= {"p": functions.softmax(names["x"]), "logp": functions.log_softmax(names["x"])}
    if "z" in leaves:
        more["r"] = functions.sigmoid(names["z"])
    return more


def _leaf(here, names):
    """Return the name of the array in which a call here gives the gradient, None if it gives none."""
    call = ast.parse(here, mode="eval").body
    if not isinstance(call, ast.Call) or "return_" in here or "ck.special" in here:
        return None
    if call.func.attr == "log_loss":
        return None
    used = [node.id for node in ast.walk(call.args[0]) if isinstance(node, ast.Name)]
    first = next(name for name in used if name in names)
    return first if isinstance(call.args[0], ast.Name) else {"p": "x", "r": "z"}[first]


def _here(code, names, leaf):
    scope = {"ck": cekernels, "np": np, **names}
    if leaf is None:
        return eval(code, scope), None
    return eval(f"{code[:-1]}, return_grad=True)", scope)


def _assert_close(got, want, bound):
    if isinstance(want, tuple):
        for one, other in zip(got, want, strict=True):
            _assert_close(one, other, bound)
        return
    want = np.asarray(want, np.float64)
    largest = np.max(np.abs(want), initial=1e-300)
    np.testing.assert_allclose(got, want, rtol=0.0, atol=bound * largest)


# The systems: each evaluates a call on arrays of its own, and differentiates the sum of the result


def _pytorch(code, names, leaf):
    torch = pytest.importorskip("torch")
    scope = {
        "F": torch.nn.functional,
        "torchvision": SimpleNamespace(
            ops=SimpleNamespace(sigmoid_focal_loss=functools.partial(_torchvision_focal, torch))
        ),
    }
    functions = SimpleNamespace(
        softmax=lambda x: torch.softmax(x, 1),
        log_softmax=lambda x: torch.log_softmax(x, 1),
        sigmoid=torch.sigmoid,
    )
    tensors = {name: torch.from_numpy(array.copy()) for name, array in names.items()}
    tensors["b"] = tensors["b"].to(tensors["z"].dtype)
    return _differentiate_torch(
        torch,
        lambda a: eval(code, scope | tensors | a | _derived(a, a, functions)),
        tensors,
        leaf,
    )


def _differentiate_torch(torch, function, tensors, leaf):
    if leaf is None:
        return function({}).numpy(), None
    variable = tensors[leaf].requires_grad_()
    value = function({leaf: variable})
    (gradient,) = torch.autograd.grad(value.sum(), variable)
    return value.detach().numpy(), gradient.numpy()


def _torchvision_focal(torch, z, b, alpha, gamma):
    p = torch.sigmoid(z)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, b, reduction="none")
    weight = alpha * b + (1 - alpha) * (1 - b)
    return weight * loss * (1 - (p * b + (1 - p) * (1 - b))) ** gamma


def _optax(code, names, leaf):
    jax = pytest.importorskip("jax")
    scope = {"optax": pytest.importorskip("optax"), "jax": jax, "np": np}
    with jax.enable_x64(True):
        arrays = {name: jax.numpy.asarray(array) for name, array in names.items()}
        return _differentiate_jax(
            jax,
            lambda a: eval(code, scope | arrays | a | _derived(a, a, _jax_functions(jax))),
            arrays,
            leaf,
        )


def _differentiate_jax(jax, function, arrays, leaf):
    value = np.asarray(function({}))
    if leaf is None:
        return value, None
    gradient = jax.grad(lambda variable: function({leaf: variable}).sum())(arrays[leaf])
    return value, np.asarray(gradient)


def _jax_functions(jax):
    return SimpleNamespace(
        softmax=jax.nn.softmax, log_softmax=jax.nn.log_softmax, sigmoid=jax.nn.sigmoid
    )


def _keras(code, names, leaf):
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    backend = os.environ.setdefault("KERAS_BACKEND", "jax")
    module = pytest.importorskip(backend)
    import keras

    columns = {name: names[name][:, np.newaxis] for name in ("z", "r", "b")}
    columns = {name: array.astype(names["z"].dtype) for name, array in columns.items()}
    arrays = names | columns
    scope = {"np": np, **vars(keras.losses)}
    before = keras.config.floatx()
    keras.config.set_floatx(names["x"].dtype.name)
    try:
        if backend == "numpy":
            return eval(code, scope | arrays), None
        if backend == "torch":
            tensors = {name: module.from_numpy(array.copy()) for name, array in arrays.items()}
            functions = SimpleNamespace(
                softmax=lambda x: module.softmax(x, 1),
                log_softmax=lambda x: module.log_softmax(x, 1),
                sigmoid=module.sigmoid,
            )
            return _differentiate_torch(
                module,
                lambda a: eval(code, scope | tensors | a | _derived(a, a, functions)),
                tensors,
                leaf,
            )
        with module.enable_x64(True):
            functions = _jax_functions(module)
            return _differentiate_jax(
                module,
                lambda a: eval(code, scope | arrays | a | _derived(a, a, functions)),
                arrays,
                leaf,
            )
    finally:
        keras.config.set_floatx(before)


def _differentiate_numpy(code, names, leaf, scope):
    """Evaluate with functions of NumPy arrays, and differentiate by differences in float64."""
    functions = SimpleNamespace(softmax=_softmax, log_softmax=_log_softmax, sigmoid=_sigmoid)
    scope = {"np": np, **vars(functions), **scope}
    compiled = compile(code, "the page", "eval")

    def function(a):
        return eval(compiled, scope | names | a | _derived(a, a, functions))

    value = function({})
    if leaf is None or names[leaf].dtype != np.float64:
        return value, None
    at = names[leaf]
    steps = STEP * (at * (1.0 - at) if leaf == "r" else np.ones_like(at))
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        sums = {}
        for shift in (-2, -1, 1, 2):
            moved = at.copy()
            moved[index] += shift * steps[index]
            sums[shift] = np.sum(function({leaf: moved}))
        gradient[index] = 8 * (sums[1] - sums[-1]) - (sums[2] - sums[-2])
    return value, gradient / (12 * steps)


def _sklearn(code, names, leaf):
    metrics = pytest.importorskip("sklearn.metrics")
    losses = pytest.importorskip("sklearn._loss")
    weights = pytest.importorskip("sklearn.utils.class_weight")
    scope = {
        "log_loss": metrics.log_loss,
        "compute_sample_weight": weights.compute_sample_weight,
        "HalfBinomialLoss": losses.HalfBinomialLoss,
        "HalfMultinomialLoss": losses.HalfMultinomialLoss,
    }
    if "Half" in code:
        floats = {name: names[name].astype(names["x"].dtype) for name in ("y", "b")}
        names = names | floats
    return _differentiate_numpy(code, names, leaf, scope)


def _scipy(code, names, leaf):
    scope = {name: pytest.importorskip(f"scipy.{name}") for name in ("special", "stats", "spatial")}
    return _differentiate_numpy(code, names, leaf, scope)


def _onnx(code, names, leaf):
    pytest.importorskip("onnx.reference")
    scope = {
        name: functools.partial(_onnx_operator, name, n_outputs)
        for name, n_outputs in (("SoftmaxCrossEntropyLoss", 2), ("NegativeLogLikelihoodLoss", 1))
    }
    return _differentiate_numpy(code, names, leaf, scope)


def _onnx_operator(name, n_outputs, *inputs, **attributes):
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    feeds = dict(zip("xyw", inputs, strict=False))
    outputs = [f"output{i}" for i in range(n_outputs)]
    types = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in inputs]
    graph = helper.make_graph(
        [helper.make_node(name, list(feeds), outputs, **attributes)],
        "one",
        [
            helper.make_tensor_value_info(key, kind, feeds[key].shape)
            for key, kind in zip(feeds, types, strict=True)
        ],
        [helper.make_tensor_value_info(key, TensorProto.UNDEFINED, None) for key in outputs],
    )
    return ReferenceEvaluator(helper.make_model(graph)).run(None, feeds)


# Formulas of systems that need old software or a GPU


def _softmax(x):
    return np.exp(_log_softmax(x))


def _log_softmax(x):
    shifted = x - np.max(x, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _tf_keras(code, names, leaf):
    def binary(b, r):
        clipped = np.clip(r, 1e-7, 1 - 1e-7)
        return np.mean(-b * np.log(clipped + 1e-7) - (1 - b) * np.log(1 - clipped + 1e-7))

    losses = SimpleNamespace(BinaryCrossentropy=lambda: binary)
    scope = {"tf": SimpleNamespace(keras=SimpleNamespace(losses=losses))}
    return _differentiate_numpy(code, names, leaf, scope)


def _chainer(code, names, leaf):
    def softmax_cross_entropy(x, y, normalize=True, class_weight=None, soft_target_loss=None):
        log_p = _log_softmax(x)
        if soft_target_loss == "kl-divergence":
            return np.sum(y * (np.log(y + 1e-7) - log_p)) / len(x)
        kept = y != -1
        count = np.count_nonzero(kept) if normalize else len(x)
        weighted = log_p if class_weight is None else log_p * class_weight
        return -np.sum(weighted[kept, y[kept]]) / max(count, 1)

    def sigmoid_cross_entropy(z, b, normalize=True):
        kept = b != -1
        losses = -(z * (b - (z >= 0)) - np.log1p(np.exp(-np.abs(z))))
        return np.sum(losses[kept]) / max(np.count_nonzero(kept) if normalize else len(z), 1)

    functions = {"softmax_cross_entropy": softmax_cross_entropy}
    functions["sigmoid_cross_entropy"] = sigmoid_cross_entropy
    return _differentiate_numpy(code, names, leaf, {"F": SimpleNamespace(**functions)})


def _liger(code, names, leaf):
    def cross_entropy(
        x,
        y,
        weight=None,
        label_smoothing=0.0,
        lse_square_scale=0.0,
        softcap=None,
        return_z_loss=False,
    ):
        x, y = x[y != -100], y[y != -100]
        v = x if softcap is None else softcap * np.tanh(x / softcap)
        w = np.ones_like(x[0]) if weight is None else weight
        log_p = _log_softmax(v)
        labels = -np.sum(w[y] * log_p[np.arange(len(y)), y])
        smooth = -np.sum(log_p @ w) / x.shape[1]
        lse = (v - log_p)[:, 0]
        z_loss = np.sum(lse_square_scale * lse**2) / len(y)
        loss = ((1 - label_smoothing) * labels + label_smoothing * smooth) / np.sum(w[y])
        return (loss + z_loss, z_loss) if return_z_loss else loss + z_loss

    def jsd(beta):
        def divergence(log_p, log_t):
            p, t = np.exp(log_p), np.exp(log_t)
            m = (1 - beta) * p + beta * t
            terms = beta * t * (log_t - np.log(m)) + (1 - beta) * p * (log_p - np.log(m))
            return np.sum(terms) / len(p)

        return divergence

    scope = {
        "liger_cross_entropy": cross_entropy,
        "LigerKLDIVLoss": lambda: lambda log_p, t: np.sum(t * (np.log(t) - log_p)) / len(t),
        "LigerJSD": jsd,
        "log_softmax": _log_softmax,
    }
    return _differentiate_numpy(code, names, leaf, scope)


SYSTEMS = {
    "PyTorch": _pytorch,
    "Keras": _keras,
    "tf.keras": _tf_keras,
    "optax and JAX": _optax,
    "scikit-learn": _sklearn,
    "SciPy": _scipy,
    "Chainer": _chainer,
    "ONNX": _onnx,
    "Liger": _liger,
}
