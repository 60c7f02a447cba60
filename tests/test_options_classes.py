"""Every option of cross_entropy with every other against the reference, and pairs that go wrong."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cekernels as ck
from cekernels import LossStats, reference
from cekernels.reference.special import softmax_parts

INF, NAN = math.inf, math.nan
OUTPUTS = ("grad", "hess", "proba", "lse", "scale_grad")
EVERYTHING = {f"return_{name}": True for name in OUTPUTS}

# In units of the rounding error, of the largest of the terms that a result is the sum of: see
# `bounds`.  Without fused multiply-add twice as many.
ROUNDINGS = 8

common = settings(
    deadline=None,
    derandomize=True,
    database=None,
    # The fixtures hold no state that one example could leave to the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
quick = settings(common, max_examples=150)
deep = settings(common, max_examples=5000)


def call(function, *args, **options):
    """Call; return the results by name, and the categories of the warnings that were given."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = function(*args, **options)
    names = ["loss", *(name for name in OUTPUTS if options.get(f"return_{name}"))]
    results = results if type(results) is tuple else (results,)
    found = dict(zip(names, results, strict=True))
    return found, [warning.category for warning in caught]


@np.errstate(all="ignore")
def bounds(x, targets, options):
    """Return errors that rounding of every step can explain, in its units, for sums by row.

    A scaled or capped logit is off by an ulp of itself, and with it its probability by as much,
    relatively.
    """
    axis, n_classes, kind = options["axis"], x.shape[options["axis"]], x.dtype
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    allowed = np.ones(x.shape, bool)
    if options.get("where") is not None:
        shape = np.moveaxis(x, -1, axis).shape
        allowed = np.moveaxis(np.broadcast_to(options["where"], shape), axis, -1)
    q, weight, _ = reference._class_coefficients(
        n_classes,
        targets if targets.dtype.kind in "iu" else np.moveaxis(targets, axis, -1),
        *(options[name] for name in ("class_weight", "sample_weight", "label_smoothing")),
        options["ignore_index"],
        allowed,
    )
    scale, cap = options["logit_scale"], options["softcap"]
    steep = 2.0 * np.abs(scale * x / cap) if cap else np.zeros(x.shape)
    steep = np.where(np.isfinite(steep), steep, 0.0)  # all derivatives are 0
    v = cap * np.tanh(scale * x / cap) if cap else scale * x
    slope = scale / np.cosh(scale * x / cap) ** 2 if cap else np.full(x.shape, scale)
    bend = 2.0 * scale * slope / cap if cap else np.zeros(x.shape)
    v = np.where(allowed, v, -INF)
    # A factor below the smallest normal number may be 0.
    tiny = np.where(np.isfinite(v) & np.isfinite(x), np.finfo(kind).tiny / np.finfo(kind).eps, 0.0)
    slope, bend = slope + tiny, bend + tiny
    p, other, _ = map(np.nan_to_num, softmax_parts(v, -1))
    p = p + tiny
    peak = np.max(v, axis=-1, keepdims=True)
    lse = np.abs(reference.logsumexp(v, axis=-1, keepdims=True))
    size = np.max(np.where(np.isfinite(v), np.abs(v), 0.0), axis=-1, keepdims=True)
    rounded = 1.0 + size * (cap is not None or scale != 1.0)
    error_lse = 1.0 + size + np.where(np.isfinite(lse), lse, 0.0)
    z = 2.0 * options["z_loss"] * weight[..., np.newaxis]
    total = np.sum(q, axis=-1, keepdims=True) + z * np.nan_to_num(lse)
    distance = np.where((v != peak) & np.isfinite(v), np.abs(peak) + np.abs(v), 0.0)
    found = {"proba": rounded * p, "lse": error_lse[..., 0], "lse_size": rounded[..., 0]}
    found["distance"] = np.sum(q * np.nan_to_num(distance), axis=-1)
    found["z"] = (z * (lse + 1.0) * error_lse)[..., 0]
    by_v = rounded * (total * p + q) + z * p * error_lse
    found["grad"] = slope * (1.0 + steep) * by_v
    curved = rounded * (total * p * other + z * p * p) + z * p * error_lse
    found["hess"] = slope**2 * (1.0 + steep) * curved + bend * (1.0 + steep) * by_v
    by_scale = np.where((p + by_v) * slope > 0, np.abs(slope * x) / scale, 0.0)
    by_scale_twice = np.where(bend > 0, bend * x**2 / scale**2, 0.0)
    mean = np.sum(p * by_scale, axis=-1, keepdims=True)
    # Two factors, both of which are off.
    steep = 2.0 * (1.0 + steep)
    first = steep * by_v * by_scale
    second = (total + z) * rounded * steep * p * (by_scale**2 + mean**2)
    second = second + steep * by_v * by_scale_twice
    found["scale_grad"] = np.stack([np.sum(first, axis=-1), np.sum(second, axis=-1)])
    for name in ("proba", "grad", "hess"):
        found[name] = np.moveaxis(found[name], -1, axis)
    return found


def assert_within(got, want, bound, unit, what):
    got, want = np.asarray(got), np.asarray(want, np.float64)
    assert got.shape == want.shape, what
    with np.errstate(all="ignore"):
        want = want if got.dtype == np.float64 else want.astype(got.dtype).astype(np.float64)
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=what)
        # Where the bound is none, for infinite logits, what is finite is close to 0 or to 1.
        bound = np.where(np.isfinite(bound), bound, 1.0 + np.abs(want)) + np.abs(want)
        excess = np.where(finite, np.abs(got - want) - unit * bound, -1.0)
    if excess.size and excess.max() > 0.0:
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        pytest.fail(
            f"{what}{list(map(int, worst))}: got {got[worst]!r}, expected {want[worst]!r}, "
            f"off by {abs(got[worst] - want[worst]) / bound[worst]:.3g} of its size"
        )


def check(every_isa, x, targets, **options):
    """Assert that all results and warnings are those of the reference."""
    want, want_warnings = call(reference.cross_entropy, x, targets, **options, **EVERYTHING)
    found = bounds(x, targets, options)
    each, _ = call(reference.cross_entropy, x, targets, **options | {"reduction": "none"})
    found["loss"] = found["distance"] + found["z"] + np.abs(each["loss"]) * found["lse_size"]
    divisor = 1.0
    if options["reduction"] != "none":
        found["loss"] = np.sum(found["loss"])
        found["scale_grad"] = np.sum(found["scale_grad"].reshape(2, -1), axis=1)
    if options["reduction"] == "mean":
        stats = reference.cross_entropy(x, targets, **options | {"reduction": "stats"})
        divisor = {"weight": stats.weight, "count": stats.count}.get(
            options["denominator"], options["denominator"]
        )
    for name in ("loss", "grad", "hess", "scale_grad"):
        found[name] = found[name] / (divisor or 1.0)
    for isa in every_isa():
        got, got_warnings = call(ck.cross_entropy, x, targets, **options, **EVERYTHING)
        assert got_warnings == want_warnings
        unit = ROUNDINGS * float(np.finfo(x.dtype).eps) * (2 if isa == "baseline" else 1)
        floor = float(np.finfo(x.dtype).tiny) / unit * 64
        for name, expected in want.items():
            result = got[name]
            if isinstance(expected, LossStats):
                assert isinstance(result, LossStats)
                assert result.count == expected.count
                assert_within(result.weight, expected.weight, 0.0, unit, "weight")
                result, expected = result.total, expected.total
            assert_within(result, expected, found[name] + floor, unit, name)


cases = {
    "seed": st.integers(0, 2**32 - 1),
    "dtype": st.sampled_from([np.float32, np.float64]),
    "samples": st.sampled_from([(), (0,), (1,), (17,), (70,), (3, 4), (2, 3, 2)]),
    "axis": st.integers(-4, 3),
    "n_classes": st.one_of(st.integers(1, 70), st.sampled_from([130, 300])),
    "spread": st.sampled_from([1.0, 5.0, 30.0]),
    "special": st.sampled_from([(), (), (-INF,), (-INF, NAN), (INF, -INF), (INF, -INF, NAN)]),
    "targets": st.sampled_from(["uint8", "int64", "one-hot", "float16", "float32", "float64"]),
    "ignore": st.booleans(),
    "class_weight": st.sampled_from([None, "array", "zeros", "dict", "balanced"]),
    "sample_weight": st.sampled_from([None, "array", "zeros", "one", "integers", "broadcast"]),
    "where": st.sampled_from([None, "each", "classes", "label only", "nothing at times"]),
    "layout": st.sampled_from(["C", "F", "steps"]),
    "options": st.fixed_dictionaries(
        {
            "label_smoothing": st.sampled_from([0.0, 0.0, 0.1, 1.0]),
            "z_loss": st.sampled_from([0.0, 0.0, 0.01, 1.0]),
            "softcap": st.sampled_from([None, None, 2.0, 20.0]),
            "logit_scale": st.sampled_from([1.0, 1.0, 0.5, 3.0]),
            "reduction": st.sampled_from(["none", "none", "sum", "mean", "stats"]),
            "denominator": st.sampled_from(["weight", "count", 2.5]),
        }
    ),
}


def make_targets(rng, kind, samples, n_classes):
    """Return targets with the classes last."""
    labels = rng.integers(0, min(n_classes, 256), samples)
    if kind in ("uint8", "int64"):
        return labels.astype(kind)
    if kind == "one-hot":
        return np.asarray(labels[..., np.newaxis] == np.arange(n_classes), np.float64)
    soft = rng.uniform(size=(*samples, n_classes))
    soft[rng.uniform(size=soft.shape) < 0.2] = 0.0
    return soft.astype(kind)


def make_weight(rng, kind, shape, dtype):
    if kind is None:
        return None
    if kind == "one":
        return 1.5
    if kind == "integers":
        return rng.integers(0, 3, shape)
    if kind == "broadcast":
        return rng.uniform(0.5, 2.0, (1,) * bool(shape)).astype(dtype)
    weight = rng.uniform(0.25, 4.0, shape)
    return np.where((rng.uniform(size=shape) < 0.4) & (kind == "zeros"), 0.0, weight).astype(dtype)


def make_class_weight(rng, kind, n_classes, dtype, targets):
    if kind in (None, "array", "zeros"):
        return make_weight(rng, kind, (n_classes,), dtype)
    if kind == "balanced":
        return kind if targets.dtype.kind in "iu" else None
    chosen = rng.permutation(n_classes)[: n_classes // 2]
    # Without an error of its own in float32.
    return {int(c): float(np.float32(rng.uniform(0, 3))) for c in chosen}


def make_mask(rng, kind, shape, labels):
    """Return which classes are allowed, with the classes last."""
    if kind is None:
        return None
    if kind == "classes":
        where = rng.uniform(size=shape[-1]) < 0.7
        return np.broadcast_to(where, shape)
    where = rng.uniform(size=shape) < 0.7
    if kind == "label only" and labels is not None:
        where[...] = labels[..., np.newaxis] == np.arange(shape[-1])
    if kind == "nothing at times":
        where[rng.uniform(size=shape[:-1]) < 0.2] = False
    elif labels is not None:
        where |= labels[..., np.newaxis] == np.arange(shape[-1])
    return where


def check_case(
    every_isa,
    *,
    seed,
    dtype,
    samples,
    axis,
    n_classes,
    spread,
    special,
    targets,
    ignore,
    class_weight,
    sample_weight,
    where,
    layout,
    options,
):
    rng = np.random.default_rng(seed)
    axis = max(-len(samples) - 1, min(axis, len(samples)))
    x = rng.normal(0, spread, (*samples, n_classes))
    chosen = rng.uniform(size=x.shape) < 0.05
    if special:
        x[chosen] = rng.choice(special, np.count_nonzero(chosen))
    y = make_targets(rng, targets, samples, n_classes)
    labels = y if y.dtype.kind in "iu" else None
    where = make_mask(rng, where, x.shape, labels)
    if where is not None and options["label_smoothing"] == 1.0:
        # Without a class that takes the smoothing there would be no coefficient but 0.
        where = where | (~where.any(axis=-1, keepdims=True) & (np.arange(n_classes) == 0))
    options = options | {"ignore_index": None}
    if labels is not None and ignore:
        options["ignore_index"] = int(rng.integers(0, n_classes)) if n_classes < 256 else 255
    options["class_weight"] = make_class_weight(rng, class_weight, n_classes, dtype, y)
    options["sample_weight"] = make_weight(rng, sample_weight, samples, dtype)
    x, y = (
        np.moveaxis(x, -1, axis).astype(dtype),
        y if y.ndim < x.ndim else np.moveaxis(y, -1, axis),
    )
    if layout == "F":
        x = np.array(x, order="F", copy=True)
    elif layout == "steps":
        x = np.repeat(x, 2, axis=-1)[..., ::2]
    where = where if where is None else np.moveaxis(where, -1, axis)
    check(every_isa, x, y, axis=axis, where=where, **options)


@quick
@given(**cases)
def test_every_option(every_isa, **case):
    check_case(every_isa, **case)


@pytest.mark.slow
@deep
@given(**cases)
def test_every_option_deeply(every_isa, **case):
    check_case(every_isa, **case)


# Pairs that go wrong

KINDS = {
    "plain": {},
    "z_loss": {"z_loss": 0.5},
    "softcap": {"softcap": 3.0},
    "logit_scale": {"logit_scale": 0.5},
    "smoothing": {"label_smoothing": 0.25},
    "all": {"z_loss": 0.5, "softcap": 3.0, "logit_scale": 0.5, "label_smoothing": 0.25},
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True], ids=["all classes", "some classes"])
@pytest.mark.parametrize("n_classes", [3, 64, 97, 300])
def test_nothing_of_a_row_that_does_not_count(
    dtype, rng, assert_same_bits, n_classes, masked, kind
):
    """Ignored, of weight 0, of a class of weight 0: no NaN and no infinity of it is seen."""
    options = KINDS[kind] | {"reduction": "none"} | EVERYTHING
    calm = rng.normal(0, 3, (40, n_classes)).astype(dtype)
    spoilt = np.arange(40) % 3 == 0
    wild = calm.copy()
    wild[spoilt] = np.resize([NAN, INF, -INF, INF, 1e30, NAN, NAN], (spoilt.sum(), n_classes))
    labels = rng.integers(1, n_classes, 40)
    if masked:
        options["where"] = rng.uniform(size=calm.shape) < 0.7
        options["where"][np.arange(40), labels] = True
        options["where"][0] = False
        options["where"][0, 0] = n_classes == 3
    want = ck.cross_entropy(calm, labels, **options)
    weight = np.where(spoilt, 0.0, 1.0)
    marked = np.where(spoilt, -100, labels)
    first = np.where(spoilt, 0, labels)
    ways = [
        (marked, {"ignore_index": -100}),
        (labels, {"sample_weight": weight}),
        (marked, {"ignore_index": -100, "class_weight": np.ones(n_classes)}),
    ]
    if "label_smoothing" not in options:
        ways.append((first, {"class_weight": np.arange(n_classes) > 0}))
        one_hot = (labels[:, np.newaxis] == np.arange(n_classes)) * weight[:, np.newaxis]
        soft = ck.cross_entropy(wild, one_hot, **options)
        assert not soft[0][spoilt].any()
        assert not soft[1][spoilt].any()
    for targets, how in ways:
        loss, grad, hess, proba, lse, scale = ck.cross_entropy(wild, targets, **how, **options)
        for result in (loss[spoilt], grad[spoilt], hess[spoilt], scale[:, spoilt]):
            assert not np.any(result)  # NaN is true
        kept = ~spoilt
        got = loss[kept], grad[kept], hess[kept], proba[kept], lse[kept], scale[:, kept]
        others = (*(result[kept] for result in want[:-1]), want[-1][:, kept])
        assert_same_bits(got, others)
        for reduction in ("sum", "mean"):
            value, grad, scale = ck.cross_entropy(
                wild,
                targets,
                **how,
                **KINDS[kind],
                where=options.get("where"),
                reduction=reduction,
                return_grad=True,
                return_scale_grad=True,
            )
            assert math.isfinite(value)
            assert np.isfinite(grad).all()
            assert np.isfinite(scale).all()


@pytest.mark.usefixtures("isa")
def test_smoothing_weights_mask_and_minus_infinity():
    x, where = np.array([[0.0, 0.0, -INF]]), [[True, True, False]]
    options = {"label_smoothing": 0.5, "where": where, "reduction": "none", "return_grad": True}
    loss, grad = ck.cross_entropy(x, [0], **options)
    assert loss[0] == math.log(2)
    assert grad.tolist() == [[-0.25, 0.25, 0.0]]
    loss, grad = ck.cross_entropy(x, [0], class_weight=[1, 2, 5], sample_weight=[4], **options)
    assert loss[0] == pytest.approx(5 * math.log(2), rel=1e-15)
    assert grad.tolist() == [[-0.5, 0.5, 0.0]]
    # Without the mask the smoothing gives a share to the class that cannot be.
    loss, grad = ck.cross_entropy(x, [0], **options | {"where": None})
    assert loss[0] == INF
    assert np.isfinite(grad).all()
    # An ignored row beside it, with the mask of no class at all.
    loss, grad = ck.cross_entropy(
        np.array([[0.0, 0.0, -INF], [NAN, INF, -INF]]),
        [0, -1],
        ignore_index=-1,
        class_weight=[1, 2, 5],
        **options | {"where": [[True, True, False], [False] * 3]},
    )
    assert loss[1] == 0.0
    assert loss[0] == pytest.approx(1.25 * math.log(2), rel=1e-15)
    assert grad.tolist() == [[-0.125, 0.125, 0.0], [0.0] * 3]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("n_classes", [3, 100])
def test_masked_label_and_no_class(dtype, n_classes):
    x = np.zeros((4, n_classes), dtype)
    where = np.zeros(x.shape, bool)
    where[0, 1:3] = where[2, :2] = True
    loss, grad, hess, proba, lse = ck.cross_entropy(
        x,
        [0, 0, 0, 0],
        where=where,
        sample_weight=[1, 1, 1, 0],
        reduction="none",
        **{f"return_{name}": True for name in OUTPUTS[:-1]},
    )
    # The label is masked; no class is allowed; all is well; no class, and no weight.
    assert loss[0] == INF
    assert grad[0, :3].tolist() == [0.0, 0.5, 0.5]
    assert hess[0, :3].tolist() == [0.0, 0.25, 0.25]
    assert proba[0, :3].tolist() == [0.0, 0.5, 0.5]
    assert math.isnan(loss[1])
    assert np.isnan(proba[1]).all()
    assert grad[2, :3].tolist() == [-0.5, 0.5, 0.0]
    assert loss[2] == lse[2] == lse[0]
    assert (loss[3], grad[3].any(), hess[3].any()) == (0.0, False, False)
    assert not grad[:, 3:][[0, 2]].any()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [10, 64, 97, 300])
def test_masked_logits_are_not_read(dtype, rng, assert_same_bits, n_classes, kind):
    x, labels = rng.normal(0, 3, (40, n_classes)).astype(dtype), rng.integers(0, n_classes, 40)
    where = rng.uniform(size=x.shape) < 0.7
    where[np.arange(40), labels] = True
    options = KINDS[kind] | EVERYTHING | {"where": where, "reduction": "none"}
    want = ck.cross_entropy(x, labels, **options)
    assert all(np.isfinite(result).all() for result in want)
    for value in (NAN, INF, -INF, 1e30):
        x[~where] = value
        assert_same_bits(ck.cross_entropy(x, labels, **options), want)


@pytest.mark.usefixtures("isa")
def test_z_loss_leaves_ignored_rows_out():
    x = np.array([[0.0, 0.0], [5.0, 1.0], [0.0, 0.0]])
    options = {"z_loss": 1.0, "ignore_index": -1, "return_grad": True}
    value, grad = ck.cross_entropy(x, [0, -1, 1], **options)
    lse = math.log(2)
    assert value == pytest.approx(lse + lse**2, rel=1e-15)
    np.testing.assert_allclose(grad[0], [lse / 2 - 0.25, lse / 2 + 0.25], rtol=1e-14)
    assert grad[1].tolist() == [0.0, 0.0]


@pytest.mark.usefixtures("isa")
def test_z_loss_has_the_weight_of_the_target():
    """2 for the row and 3 for the class, without smoothing."""
    lse = math.log(2)
    value = ck.cross_entropy(
        np.zeros((1, 2)),
        [1],
        z_loss=0.5,
        sample_weight=[2],
        class_weight=[7, 3],
        label_smoothing=0.25,
        reduction="stats",
    )
    assert value.weight == 6.0
    smoothed = 2 * (3 * 0.875 + 7 * 0.125) * lse
    assert value.total == pytest.approx(smoothed + 6 * 0.5 * lse**2, rel=1e-14)


@pytest.mark.usefixtures("isa")
def test_balanced_weights_leave_ignored_rows_out(dtype):
    labels = np.array([0, 0, 0, 1, 2, 2])
    x = np.zeros((6, 4), dtype)
    for options in ({"ignore_index": 2}, {"ignore_index": -100}):
        marked = labels if options["ignore_index"] == 2 else np.where(labels == 2, -100, labels)
        loss = ck.cross_entropy(x, marked, class_weight="balanced", reduction="none", **options)
        np.testing.assert_allclose(
            loss, math.log(4) * np.array([2 / 3, 2 / 3, 2 / 3, 2, 0, 0]), rtol=1e-6
        )
        stats = ck.cross_entropy(x, marked, class_weight="balanced", reduction="stats", **options)
        assert stats.count == 4
        assert stats.weight == pytest.approx(4.0, rel=1e-6)


@pytest.mark.usefixtures("isa")
def test_dict_of_weights(dtype, assert_same_bits):
    x, labels = np.arange(12).reshape(4, 3).astype(dtype), [0, 1, 2, 1]
    for weights, whole in (
        ({}, [1, 1, 1]),
        ({1: 2.5}, [1, 2.5, 1]),
        ({np.int8(2): 0, 0: np.float32(4)}, [4, 1, 0]),
    ):
        assert_same_bits(
            ck.cross_entropy(x, labels, class_weight=weights, return_grad=True),
            ck.cross_entropy(x, labels, class_weight=np.array(whole), return_grad=True),
        )


@pytest.mark.usefixtures("isa")
def test_derivatives_of_scale_and_cap():
    """Two classes: softplus of the difference of the logits."""
    a, scale = 1.5, 0.75
    p = 1 / (1 + math.exp(-scale * a))
    loss, grad, hess, derivatives = ck.cross_entropy(
        np.array([0.0, a]),
        0,
        logit_scale=scale,
        return_grad=True,
        return_hess=True,
        return_scale_grad=True,
    )
    assert loss == pytest.approx(math.log1p(math.exp(scale * a)), rel=1e-15)
    np.testing.assert_allclose(grad, [-scale * p, scale * p], rtol=1e-14)
    np.testing.assert_allclose(hess, [scale**2 * p * (1 - p)] * 2, rtol=1e-14)
    np.testing.assert_allclose(derivatives, [a * p, a**2 * p * (1 - p)], rtol=1e-14)
    cap = 2.0
    t = math.tanh(a / cap)
    p = 1 / (1 + math.exp(-cap * t))
    loss, grad, hess = ck.cross_entropy(
        np.array([0.0, a]), 0, softcap=cap, return_grad=True, return_hess=True
    )
    assert loss == pytest.approx(math.log1p(math.exp(cap * t)), rel=1e-15)
    slope, bend = 1 - t * t, -2 * t * (1 - t * t) / cap
    np.testing.assert_allclose(grad, [-p, p * slope], rtol=1e-14)
    np.testing.assert_allclose(hess, [p * (1 - p), p * (1 - p) * slope**2 + p * bend], rtol=1e-13)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True], ids=["all classes", "some classes"])
@pytest.mark.parametrize("n_classes", [10, 300])
def test_every_subset_of_outputs(dtype, rng, assert_same_bits, n_classes, masked, kind):
    x, labels = rng.normal(0, 3, (70, n_classes)).astype(dtype), rng.integers(0, n_classes, 70)
    options = dict(KINDS[kind])
    if masked:
        options["where"] = rng.uniform(size=x.shape) < 0.8
    for targets, reduction in ((labels, "none"), (special_targets(rng, x), "sum")):
        options["reduction"] = reduction
        loss, *arrays = ck.cross_entropy(x, targets, **options, **EVERYTHING)
        everything = dict(zip(OUTPUTS, arrays, strict=True))
        for size in range(len(OUTPUTS)):
            for names in itertools.combinations(OUTPUTS, size):
                got = ck.cross_entropy(
                    x, targets, **options, **{f"return_{name}": True for name in names}
                )
                want = (loss, *(everything[name] for name in names)) if names else loss
                assert_same_bits(got, want)


def special_targets(rng, x):
    """Return probabilities, of which some are 0."""
    soft = rng.uniform(size=x.shape)
    return np.where(soft < 0.3, 0.0, soft).astype(x.dtype)
