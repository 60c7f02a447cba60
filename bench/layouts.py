"""Measure what a layout costs: losses and derivatives of strided arrays against contiguous ones.

Run as ``python -m bench.layouts``.  All layouts of a shape are called in turn, with a gradient that is
allocated once, in the layout that the call itself would choose.  What a call touches, with the gaps
between every second element, fits into an L2 cache of 1 MiB: there are half as many rows of doubles,
and few of many classes.
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine

Array = NDArray[Any]
Layout = Callable[[Array], Array]

ROUNDS, BUDGET = 25, 1.0
FLOAT = np.dtype(np.float32).itemsize
# Entries, and rows, of floats.
BINARY_SIZES = [10_000, 50_000]
BINARY_SHAPES = [(100, 100), (1000, 20), (50, 1000)]
CLASS_SHAPES = [(16_000, 3), (6_400, 10), (3_200, 20), (1_024, 60), (400, 150), (64, 1000)]
CLASS_SHAPES += [(40, 1500), (16, 4000), (4, 16_000)]
HESSIAN_SHAPES = [(512, 60), (200, 150), (32, 1000), (16, 2000)]
RELATIVE_SHAPES = [(400, 150), (16, 2000)]


def every_second(array: Array) -> Array:
    """Return the same values as every second element of the last axis."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def every_second_row(array: Array) -> Array:
    """Return the same values as every second row."""
    tall = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    tall[::2] = array
    return tall[::2]


def reversed_last(array: Array) -> Array:
    """Return the same values with a negative last stride."""
    return array[..., ::-1].copy()[..., ::-1]


def read_only(array: Array) -> Array:
    """Return the same values where nothing can be written."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


BINARY_LAYOUTS: dict[str, Layout] = {
    "contiguous": np.copy,
    "x[::2]": every_second,
    "x[::-1]": reversed_last,
    "read-only": read_only,
}
# Of logits, and of targets; the gradient is as the logits.
MATRIX_LAYOUTS: dict[str, tuple[Layout, Layout]] = {
    "contiguous": (np.copy, np.copy),
    "Fortran": (np.asfortranarray, np.asfortranarray),
    "F, targets C": (np.asfortranarray, np.copy),
    "C, targets F": (np.copy, np.asfortranarray),
}
CLASS_LAYOUTS: dict[str, Layout] = {
    "contiguous": np.copy,
    "x[:, ::2]": every_second,
    "x[:, ::-1]": reversed_last,
    "x[::2]": every_second_row,
    "Fortran": np.asfortranarray,
}


def main() -> int:
    """Print a table: ns per logit, and the ratio to contiguous arrays."""
    machine.isolate(None)
    print(f"{'work':34} {'layout':14} {'ns':>7}  ratio")
    for dtype in (np.float32, np.float64):
        share = np.dtype(dtype).itemsize // FLOAT
        for n in (size // share for size in BINARY_SIZES):
            report(f"binary, {dtype.__name__}, {n:,}", n, binary_calls(n, dtype))
        for shapes, work, calls in [
            (BINARY_SHAPES, "binary", matrix_calls),
            (CLASS_SHAPES, "classes", class_calls),
            (HESSIAN_SHAPES, "Hessian", hessian_calls),
        ]:
            for n, k in ((rows // share, k) for rows, k in shapes):
                report(f"{work}, {dtype.__name__}, {n:,} x {k:,}", n * k, calls(n, k, dtype))
        for n, k in ((rows // share, k) for rows, k in RELATIVE_SHAPES):
            for work, calls in relative_calls(n, k, dtype).items():
                report(f"{work}, {dtype.__name__}, {n:,} x {k:,}", n * k, calls)
    return 0


def report(title: str, n_logits: int, calls: dict[str, Callable[[], Any]]) -> None:
    """Time the calls in turn and print a line for each."""
    from bench.harness import interleave

    times = {
        row.peer: median(row.samples_ns) / n_logits
        for row in interleave(calls, rounds=ROUNDS, budget=BUDGET)
    }
    for name, time in times.items():
        ratio = time / times["contiguous"]
        print(f"{title:34} {name:14} {time:7.3f}  {ratio:.2f}", flush=True)


def binary_calls(n: int, dtype: Any) -> dict[str, Callable[[], Any]]:
    """Return a call for each layout of the logits."""
    from cekernels import binary_cross_entropy_with_logits as loss

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=n).astype(dtype), (rng.random(n) < 0.5).astype(dtype)
    return {
        name: partial(loss, layout(x), y, grad_out=np.empty_like(x))
        for name, layout in BINARY_LAYOUTS.items()
    }


def matrix_calls(n: int, k: int, dtype: Any) -> dict[str, Callable[[], Any]]:
    """Return a call for each pair of orders of two-dimensional logits and targets."""
    from cekernels import binary_cross_entropy_with_logits as loss

    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, k)).astype(dtype)
    y = (rng.random((n, k)) < 0.5).astype(dtype)
    return {
        name: partial(loss, z := of_logits(x), of_targets(y), grad_out=np.empty_like(z))
        for name, (of_logits, of_targets) in MATRIX_LAYOUTS.items()
    }


def class_calls(n: int, n_classes: int, dtype: Any) -> dict[str, Callable[[], Any]]:
    """Return a call for each layout of the logits, and one of images with axis=1."""
    from cekernels import cross_entropy as loss

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    calls = {
        name: partial(loss, z := layout(x), y, grad_out=np.empty_like(z, subok=False))
        for name, layout in CLASS_LAYOUTS.items()
    }
    height = math.gcd(n, 4)
    images = np.ascontiguousarray(x.T).reshape(1, n_classes, height, -1)
    labels = y.reshape(1, height, -1)
    calls["(1, C, H, W)"] = partial(loss, images, labels, axis=1, grad_out=np.empty_like(images))
    return calls


def hessian_calls(n: int, n_classes: int, dtype: Any) -> dict[str, Callable[[], Any]]:
    """Return a call for each order of memory, with gradient, Hessian and probabilities."""
    from cekernels import cross_entropy as loss

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    calls = {}
    for name in ("contiguous", "Fortran"):
        z = CLASS_LAYOUTS[name](x)
        outs = {f"{output}_out": np.empty_like(z) for output in ("grad", "hess", "proba")}
        calls[name] = partial(loss, z, y, **outs)
    return calls


def relative_calls(n: int, n_classes: int, dtype: Any) -> dict[str, dict[str, Callable[[], Any]]]:
    """Return calls for each order of memory of what else takes rows of logits."""
    import cekernels as ck
    from cekernels import special

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    soft = rng.dirichlet(np.ones(n_classes), n).astype(dtype)
    calls: dict[str, dict[str, Callable[[], Any]]] = {}
    for name in ("contiguous", "Fortran"):
        z, t = CLASS_LAYOUTS[name](x), CLASS_LAYOUTS[name](soft)
        out = np.empty_like(z)
        for work, call in {
            "softmax": partial(special.softmax, z, axis=1, out=out),
            "NLL": partial(ck.nll_loss, z, y, grad_out=out),
            "NLL of rows": partial(ck.nll_loss, z, t, grad_out=out),
            "KL": partial(ck.kl_divergence, z, t, grad_out=out),
            "JS": partial(ck.js_divergence, z, t, grad_out=out),
            "H v": partial(ck.cross_entropy_hvp, z, y, t, out=out),
        }.items():
            calls.setdefault(work, {})[name] = call
    return calls


if __name__ == "__main__":
    sys.exit(main())
