"""Any combination of options of the three losses against the reference."""

import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

combinations = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    # The fixtures hold no state that one example could leave to the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

SPECIAL = [math.inf, -math.inf, math.nan, 1e30, -1e30, 0.0, -0.0]

seeds = st.integers(0, 2**32 - 1)
flags = st.booleans()
smoothings = st.one_of(st.sampled_from([0.0, 0.1, 1.0]), st.floats(2.0**-10, 1.0, width=32))
weights = st.sampled_from([None, "one", "all", "zeros", "float32", "integers"])


def subset(names):
    return st.fixed_dictionaries({f"return_{name}": flags for name in names})


common = st.fixed_dictionaries(
    {
        "label_smoothing": smoothings,
        "reduction": st.sampled_from(["none", "sum", "mean", "stats"]),
        "denominator": st.sampled_from(["weight", "count", 0.5, 1000.0]),
        "n_threads": st.sampled_from([None, 1, 2, -1]),
    }
)


def make_weight(rng, kind, shape, dtype):
    """Return weights of a kind drawn from `weights`."""
    if kind is None:
        return None
    if kind == "one":
        return 1.5
    if kind == "integers":
        return rng.integers(0, 3, shape)
    weight = rng.uniform(0.25, 4.0, shape)
    if kind == "zeros":
        weight[rng.uniform(size=shape) < 0.4] = 0.0
    # What is given in another dtype is rounded to that of the logits: leave nothing to round.
    return weight.astype(np.float32).astype(np.float32 if kind == "float32" else dtype)


def spoil(rng, x, share):
    """Replace a share of the values by special ones."""
    chosen = rng.uniform(size=x.shape) < share
    x[chosen] = rng.choice(SPECIAL, np.count_nonzero(chosen))


def binary_targets(rng, shape, dtype, kind, ignore_value):
    y = rng.integers(0, 2, shape)
    if kind == "integers" and not (ignore_value and math.isnan(ignore_value)):
        y = y.astype(np.int8)
    elif kind == "soft":
        y = rng.integers(0, 9, shape).astype(dtype) / dtype(8)
    else:
        y = y.astype(dtype)
    if ignore_value is not None:
        y[rng.uniform(size=shape) < 0.3] = ignore_value
    return y


shapes = st.sampled_from([(0,), (1,), (5,), (16,), (17,), (70,), (300,), (4, 5), (3, 1, 7)])
target_kinds = st.sampled_from(["integers", "hard", "soft"])
ignore_values = st.sampled_from([None, -1.0, math.nan, 1.0])


@combinations
@given(
    seed=seeds,
    shape=shapes,
    kind=target_kinds,
    scale=st.sampled_from([1.0, 10.0]),
    share=st.sampled_from([0.0, 0.1]),
    sample_weight=weights,
    pos_weight=weights,
    ignore_value=ignore_values,
    options=common,
    outputs=subset(["grad", "hess", "proba"]),
)
def test_binary_cross_entropy_with_logits(
    check_loss,
    dtype,
    seed,
    shape,
    kind,
    scale,
    share,
    sample_weight,
    pos_weight,
    ignore_value,
    options,
    outputs,
):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, scale, shape).astype(dtype)
    spoil(rng, x, share)
    check_loss(
        "binary_cross_entropy_with_logits",
        x,
        binary_targets(rng, shape, dtype, kind, ignore_value),
        sample_weight=make_weight(rng, sample_weight, shape, dtype),
        pos_weight=make_weight(rng, pos_weight, shape[-1:], dtype),
        ignore_value=ignore_value,
        **options,
        **outputs,
    )


@combinations
@given(
    seed=seeds,
    shape=shapes,
    kind=target_kinds,
    share=st.sampled_from([0.0, 0.2]),
    sample_weight=weights,
    ignore_value=ignore_values,
    eps=st.sampled_from([None, 0.0, 0.01, 0.3]),
    log_min=st.sampled_from([None, -100.0, -3.0]),
    options=common,
    outputs=subset(["grad", "hess"]),
)
def test_binary_cross_entropy(
    check_loss,
    dtype,
    seed,
    shape,
    kind,
    share,
    sample_weight,
    ignore_value,
    eps,
    log_min,
    options,
    outputs,
):
    rng = np.random.default_rng(seed)
    p = (rng.integers(0, 4097, shape) / 4096).astype(dtype)
    p[rng.uniform(size=shape) < share] = math.nan
    check_loss(
        "binary_cross_entropy",
        p,
        binary_targets(rng, shape, dtype, kind, ignore_value),
        sample_weight=make_weight(rng, sample_weight, shape, dtype),
        ignore_value=ignore_value,
        eps=eps,
        log_min=log_min,
        **options,
        **outputs,
    )


@combinations
@given(
    seed=seeds,
    leading=st.sampled_from([(), (0,), (1,), (15,), (16,), (17,), (40,), (3, 4)]),
    n_classes=st.one_of(st.integers(1, 70), st.sampled_from([128, 300])),
    kind=st.sampled_from(["uint8", "int16", "int32", "int64", "uint64", "proba"]),
    scale=st.sampled_from([1.0, 8.0]),
    share=st.sampled_from([0.0, 0.02]),
    class_weight=weights.filter(lambda kind: kind != "one"),
    sample_weight=weights,
    ignore=flags,
    options=common,
    outputs=subset(["grad", "hess", "proba", "lse"]),
)
def test_cross_entropy(
    check_loss,
    dtype,
    seed,
    leading,
    n_classes,
    kind,
    scale,
    share,
    class_weight,
    sample_weight,
    ignore,
    options,
    outputs,
):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, scale, (*leading, n_classes)).astype(dtype)
    spoil(rng, x, share)
    ignore_index = None
    if kind == "proba":
        targets = (rng.dirichlet(np.ones(n_classes), leading) + 1e-3).astype(dtype)
    else:
        targets = rng.integers(0, min(n_classes, 256), leading).astype(kind)
        if ignore:
            ignore_index = int(rng.integers(0, n_classes)) if kind.startswith("u") else -1
            targets[rng.uniform(size=leading) < 0.3] = ignore_index if ignore_index < 256 else 0
    check_loss(
        "cross_entropy",
        x,
        targets,
        class_weight=make_weight(rng, class_weight, n_classes, dtype),
        sample_weight=make_weight(rng, sample_weight, leading, dtype),
        ignore_index=ignore_index,
        **options,
        **outputs,
    )
