"""What a type checker makes of the losses in a user's program."""

import subprocess
import sys

import pytest

pytest.importorskip("mypy")

PROGRAM = """
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from cekernels import LossStats, binary_cross_entropy, binary_cross_entropy_with_logits
from cekernels import cross_entropy, generalized_cross_entropy, js_divergence, kl_divergence
from cekernels import nll_loss, poly1_loss, sigmoid_focal_loss, softmax_focal_loss

Array = NDArray[Any]
x, y = np.zeros((3, 2)), np.zeros((3, 2))

assert_type(binary_cross_entropy_with_logits(x, y), float)
assert_type(binary_cross_entropy_with_logits(x, y, pos_weight=2.0, reduction="none"), Array)
assert_type(binary_cross_entropy_with_logits(x, y, return_grad=True), tuple[float, Array])

assert_type(binary_cross_entropy([0.5], [1], eps=1e-7, reduction="sum"), float)
assert_type(binary_cross_entropy([0.5], [1], reduction="stats"), LossStats)
assert_type(
    binary_cross_entropy([0.5], [1], reduction="none", return_grad=True), tuple[Array, Array]
)

assert_type(cross_entropy(x, [0, 1, 0], class_weight=[1.0, 2.0], denominator="count"), float)
assert_type(cross_entropy(x, y, return_grad=True, grad_out=x), tuple[float, Array])
assert_type(
    cross_entropy(x, y, reduction="stats", return_grad=True), tuple[LossStats, Array]
)
assert_type(cross_entropy(x, y, reduction="stats").mean, float)

assert_type(sigmoid_focal_loss(x, y, gamma=1.0, alpha=0.25), float)
assert_type(softmax_focal_loss(x, [0, 1, 0], axis=0, return_grad=True), tuple[float, Array])
assert_type(poly1_loss(x, [0, 1, 0], epsilon=2.0, reduction="none"), Array)
assert_type(generalized_cross_entropy(x, [0, 1, 0], q=0.5, reduction="stats"), LossStats)
assert_type(kl_divergence(x, y, reduction="none", return_grad=True), tuple[Array, Array])
assert_type(kl_divergence(x, y, return_hess=True, return_lse=True), Any)
assert_type(js_divergence(x, y, sample_weight=2.0), float)
assert_type(nll_loss(x, y, label_smoothing=0.1, reduction="sum"), float)

flag: bool = bool(x.size)
assert_type(cross_entropy(x, y, return_grad=flag), Any)
assert_type(cross_entropy(x, y, reduction="none", return_hess=True, return_lse=True), Any)

cross_entropy(x, y, reduction="average")  # type: ignore[call-overload]
cross_entropy(x, y, pos_weight=2.0)  # type: ignore[call-overload]
binary_cross_entropy(x, y, return_proba=True)  # type: ignore[call-overload]
js_divergence(x, y, return_hess=True)  # type: ignore[call-overload]
poly1_loss(x, y, label_smoothing=0.1)  # type: ignore[call-overload]
binary_cross_entropy_with_logits(x, y, "sum")  # type: ignore[call-overload]
"""


def test_losses(tmp_path, pytestconfig):
    (tmp_path / "program.py").write_text(PROGRAM)
    # Most of the time goes into NumPy's types, which mypy remembers from one run to the next.
    cache = getattr(pytestconfig, "cache", None)
    folder = cache.mkdir("mypy") if cache else "cache"
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={folder}", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
