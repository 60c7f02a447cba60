"""Keyword arguments of the losses, for the overloads that tell what each reduction returns.

A name alone has a function's options, with ``Grad`` those of a call for the gradient, with ``More``
those of any call.
"""

from typing import Literal, Required, TypeAlias, TypedDict

from numpy.typing import ArrayLike

from cekernels._validation import Array, ClassWeight, Denominator, Reduction

Sum: TypeAlias = Literal["mean", "sum"]
Each: TypeAlias = Literal["none"]
Stats: TypeAlias = Literal["stats"]


class _Options(TypedDict, total=False):
    sample_weight: ArrayLike | None
    label_smoothing: float
    denominator: Denominator
    n_threads: int | None


class _Grad(TypedDict, total=False):
    return_grad: Required[Literal[True]]
    grad_out: Array | None


class _More(TypedDict, total=False):
    reduction: Reduction
    return_grad: bool
    return_hess: bool
    out: Array | None
    grad_out: Array | None
    hess_out: Array | None


class _MoreWithProba(_More, total=False):
    return_proba: bool
    proba_out: Array | None


class Probs(_Options, total=False):
    """`binary_cross_entropy`."""

    complement: ArrayLike | None
    eps: float | None
    log_min: float | None
    ignore_value: float | None
    check: bool


class ProbsGrad(Probs, _Grad):
    """`binary_cross_entropy`."""


class ProbsMore(Probs, _More):
    """`binary_cross_entropy`."""


class Binary(_Options, total=False):
    """`binary_cross_entropy_with_logits`."""

    pos_weight: ArrayLike | None
    ignore_value: float | None
    check: bool


class BinaryGrad(Binary, _Grad):
    """`binary_cross_entropy_with_logits`."""


class BinaryMore(Binary, _MoreWithProba):
    """`binary_cross_entropy_with_logits`."""


class Classes(_Options, total=False):
    """`cross_entropy`."""

    axis: int
    class_weight: ClassWeight
    ignore_index: int | None
    where: ArrayLike | None
    z_loss: float
    softcap: float | None
    logit_scale: float


class ClassesGrad(Classes, _Grad):
    """`cross_entropy`."""


class ClassesMore(Classes, _MoreWithProba, total=False):
    """`cross_entropy`."""

    return_lse: bool
    return_scale_grad: bool


class SigmoidFocal(Binary, total=False):
    """`sigmoid_focal_loss`."""

    gamma: float
    alpha: float | None


class SigmoidFocalGrad(SigmoidFocal, _Grad):
    """`sigmoid_focal_loss`."""


class SigmoidFocalMore(SigmoidFocal, _MoreWithProba):
    """`sigmoid_focal_loss`."""


class Divergence(TypedDict, total=False):
    """`kl_divergence` and `js_divergence`."""

    axis: int
    sample_weight: ArrayLike | None
    denominator: Denominator
    n_threads: int | None


class DivergenceGrad(Divergence, _Grad):
    """`kl_divergence` and `js_divergence`."""


class _MoreOfClasses(_MoreWithProba, total=False):
    return_lse: bool


class _MoreOfGrad(TypedDict, total=False):
    reduction: Reduction
    return_grad: bool
    out: Array | None
    grad_out: Array | None


class KlMore(Divergence, _MoreOfClasses):
    """`kl_divergence`."""


class JsMore(Divergence, _MoreOfGrad):
    """`js_divergence`."""


class _Labels(Divergence, total=False):
    class_weight: ClassWeight
    ignore_index: int | None


class Nll(_Labels, total=False):
    """`nll_loss`."""

    label_smoothing: float


class NllGrad(Nll, _Grad):
    """`nll_loss`."""


class NllMore(Nll, _MoreOfGrad):
    """`nll_loss`."""


class SoftmaxFocal(_Labels, total=False):
    """`softmax_focal_loss`."""

    gamma: float


class SoftmaxFocalGrad(SoftmaxFocal, _Grad):
    """`softmax_focal_loss`."""


class SoftmaxFocalMore(SoftmaxFocal, _MoreOfClasses):
    """`softmax_focal_loss`."""


class Poly1(_Labels, total=False):
    """`poly1_loss`."""

    epsilon: float


class Poly1Grad(Poly1, _Grad):
    """`poly1_loss`."""


class Poly1More(Poly1, _MoreOfClasses):
    """`poly1_loss`."""


class Generalized(_Labels, total=False):
    """`generalized_cross_entropy`."""

    q: float


class GeneralizedGrad(Generalized, _Grad):
    """`generalized_cross_entropy`."""


class GeneralizedMore(Generalized, _MoreOfClasses):
    """`generalized_cross_entropy`."""


class LinearBinary(Binary, total=False):
    """`linear_binary_cross_entropy`."""

    intercept: ArrayLike | None


class LinearClasses(_Options, total=False):
    """`linear_cross_entropy`."""

    intercept: ArrayLike | None
    class_weight: ClassWeight
    ignore_index: int | None
    where: ArrayLike | None
    z_loss: float
    softcap: float | None
    logit_scale: float


class _LinearGrad(TypedDict, total=False):
    return_grad: Required[Literal[True]]
    return_X_grad: bool


class _LinearMore(TypedDict, total=False):
    reduction: Reduction
    return_grad: bool
    return_X_grad: bool


class LinearBinaryGrad(LinearBinary, _LinearGrad):
    """`linear_binary_cross_entropy`."""


class LinearBinaryMore(LinearBinary, _LinearMore):
    """`linear_binary_cross_entropy`."""


class LinearClassesGrad(LinearClasses, _LinearGrad):
    """`linear_cross_entropy`."""


class LinearClassesMore(LinearClasses, _LinearMore):
    """`linear_cross_entropy`."""
