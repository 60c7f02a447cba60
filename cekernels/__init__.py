"""Exact, fused cross-entropy for NumPy: loss, gradient and Hessian in one SIMD pass."""

try:
    import cekernels._kernels  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "the compiled part of cekernels is missing: this is its source folder without a build. "
        "Leave the folder, or install from it with `pip install -e .`"
    ) from error

from cekernels import metrics, special
from cekernels._runtime import get_num_threads, set_num_threads, show_config, threads
from cekernels._stats import LossStats
from cekernels._validation import LabelError
from cekernels._version import __version__
from cekernels.divergence import js_divergence, kl_divergence
from cekernels.focal import sigmoid_focal_loss, softmax_focal_loss
from cekernels.linear import (
    LinearGrad,
    linear_binary_cross_entropy,
    linear_binary_cross_entropy_hessian,
    linear_binary_cross_entropy_hvp,
    linear_cross_entropy,
    linear_cross_entropy_hessian,
    linear_cross_entropy_hvp,
)
from cekernels.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
)
from cekernels.metrics import log_loss
from cekernels.nll import nll_loss
from cekernels.robust import generalized_cross_entropy, poly1_loss
from cekernels.second_order import (
    binary_cross_entropy_hvp,
    cross_entropy_hessian,
    cross_entropy_hvp,
)

__all__ = [
    "LabelError",
    "LinearGrad",
    "LossStats",
    "__version__",
    "binary_cross_entropy",
    "binary_cross_entropy_hvp",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "cross_entropy_hessian",
    "cross_entropy_hvp",
    "generalized_cross_entropy",
    "get_num_threads",
    "js_divergence",
    "kl_divergence",
    "linear_binary_cross_entropy",
    "linear_binary_cross_entropy_hessian",
    "linear_binary_cross_entropy_hvp",
    "linear_cross_entropy",
    "linear_cross_entropy_hessian",
    "linear_cross_entropy_hvp",
    "log_loss",
    "metrics",
    "nll_loss",
    "poly1_loss",
    "set_num_threads",
    "show_config",
    "sigmoid_focal_loss",
    "softmax_focal_loss",
    "special",
    "threads",
]
