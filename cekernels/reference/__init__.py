"""The public functions in plain float64 NumPy: the executable definition of the package.

Every function returns what its namesake in `cekernels` returns, up to rounding, and is written to
be read: whole arrays, as many temporaries as it takes. Inputs of any dtype are converted to
float64. Arguments are taken to be valid.
"""

# The tests scale their tolerances with these.
from cekernels.reference._weights import binary_coefficients as _binary_coefficients  # noqa: F401
from cekernels.reference._weights import class_coefficients as _class_coefficients  # noqa: F401
from cekernels.reference._weights import times as _times  # noqa: F401
from cekernels.reference.binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    sigmoid_focal_loss,
)
from cekernels.reference.classes import cross_entropy, nll_loss
from cekernels.reference.divergences import js_divergence, kl_divergence
from cekernels.reference.labels import (
    generalized_cross_entropy,
    poly1_loss,
    softmax_focal_loss,
)
from cekernels.reference.linear import (
    linear_binary_cross_entropy,
    linear_binary_cross_entropy_hessian,
    linear_binary_cross_entropy_hvp,
    linear_cross_entropy,
    linear_cross_entropy_hessian,
    linear_cross_entropy_hvp,
)
from cekernels.reference.metrics import (
    accuracy,
    brier_score,
    cross_entropy_by_group,
    expected_calibration_error,
    reliability,
)
from cekernels.reference.second_order import (
    binary_cross_entropy_hvp,
    cross_entropy_hessian,
    cross_entropy_hvp,
)
from cekernels.reference.special import (
    expit,
    log_expit,
    log_softmax,
    logsumexp,
    softmax,
    softplus,
)

__all__ = [
    "accuracy",
    "binary_cross_entropy",
    "binary_cross_entropy_hvp",
    "binary_cross_entropy_with_logits",
    "brier_score",
    "cross_entropy",
    "cross_entropy_by_group",
    "cross_entropy_hessian",
    "cross_entropy_hvp",
    "expected_calibration_error",
    "expit",
    "generalized_cross_entropy",
    "js_divergence",
    "kl_divergence",
    "linear_binary_cross_entropy",
    "linear_binary_cross_entropy_hessian",
    "linear_binary_cross_entropy_hvp",
    "linear_cross_entropy",
    "linear_cross_entropy_hessian",
    "linear_cross_entropy_hvp",
    "log_expit",
    "log_softmax",
    "logsumexp",
    "nll_loss",
    "poly1_loss",
    "reliability",
    "sigmoid_focal_loss",
    "softmax",
    "softmax_focal_loss",
    "softplus",
]
