"""Objectives and metrics for XGBoost, LightGBM and CatBoost; none of them is imported here.

`Binary` and `Softmax` describe a loss.  Their methods return what a library wants to be given, with
its dtype, its order in memory, its sign and its factor of the Hessian.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _validation, special
from cekernels._boosters import (
    Booster,
    BoosterLoss,
    CatBoostMetric,
    CatBoostObjective,
    Metric,
    Objective,
)
from cekernels._derivatives import (
    as_codes,
    binary_job,
    check_fractions,
    check_total,
    class_job,
    write,
)
from cekernels._runtime import effective_threads
from cekernels._stats import LossStats
from cekernels._validation import Array, ClassWeight
from cekernels.focal import sigmoid_focal_loss, softmax_focal_loss
from cekernels.losses import binary_cross_entropy_with_logits, cross_entropy
from cekernels.second_order import cross_entropy_hessian

__all__ = [
    "Binary",
    "CatBoostMetric",
    "CatBoostObjective",
    "Metric",
    "Objective",
    "Softmax",
]

# LightGBM's bound of a class's share, so that its logarithm is finite.
MIN_SHARE = 1e-15


@dataclass(frozen=True, eq=False)
class Binary(BoosterLoss):
    r"""Binary cross-entropy of margins, or with ``gamma`` the focal loss, for boosting.

    .. math::

        L = \sum_i w_i\,[\alpha\,q\,y_i'\,f(x_i) + (1 - \alpha)\,(1 - y_i')\,f(-x_i)]

    .. math::

        f(x) = \sigma(-x)^\gamma\,\log(1 + e^{-x})

    for margin x, smoothed label y', sample weight w and positive weight q: the sum of
    `cekernels.binary_cross_entropy_with_logits`, or with gamma or alpha of
    `cekernels.sigmoid_focal_loss`.  Without alpha both of its factors are 1.  Margins, labels and
    weights have shape (n,); labels are 0 and 1, or probabilities between them.

    Parameters
    ----------
    label_smoothing : float
        In [0, 1]: moves the labels towards 1/2.
    pos_weight : float, optional
        Weight of the positive class: ``scale_pos_weight`` of XGBoost and LightGBM.
    gamma : float
        In [0, 1000]: how fast the loss fades out where the prediction is right.  Without smoothing
        and for labels 0 and 1.
    alpha : float, optional
        In [0, 1]: weight of the positive class, 1 - alpha that of the negative one.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for the calls of this objective.

    Raises
    ------
    TypeError, ValueError
        An option of the wrong type or out of range; while training, a label outside [0, 1], a margin
        that is NaN, arrays of shapes that do not fit.

    See Also
    --------
    Softmax : The same for several classes.

    Notes
    -----
    The Hessian of a focal loss is negative where a prediction is wrong and sure of it.  With the focal
    loss as :math:`\varphi(\ell)` of the cross-entropy, boosting gets :math:`\varphi'(\ell)\,p (1 - p)`,
    the part of the Hessian that is never negative.

    Gradients have the accuracy of the functions, and so have Hessians without gamma.  They are written
    where the library reads them, in its dtype, each rounded once.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar, Focal loss for dense object detection, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels.objectives import Binary
    >>> objective = Binary(label_smoothing=0.1).for_xgboost()
    >>> grad, hess = objective(np.array([1.0, 0.0]), np.array([0.3, -1.0]))
    >>> grad.round(4), hess.round(4)
    (array([-0.3756,  0.2189], dtype=float32), array([0.2445, 0.1966], dtype=float32))

    In training: ``xgboost.train(params, data, obj=objective)``.
    """

    label_smoothing: float = 0.0
    pos_weight: float | None = None
    gamma: float = 0.0
    alpha: float | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        _validation.as_fraction(self.label_smoothing, "label_smoothing")
        _validation.as_gamma(self.gamma)
        effective_threads(self.n_threads)
        _check_smoothing(self.label_smoothing, self.gamma)
        if self.pos_weight is not None:
            _validation.as_size(self.pos_weight, "pos_weight")
        if self.alpha is not None:
            _validation.as_fraction(self.alpha, "alpha")

    def init_score(self, labels: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the margin to start from: the constant with the least cross-entropy.

        What XGBoost calls ``base_score`` (of a custom objective: a margin), LightGBM ``init_score``
        and CatBoost a baseline; with their own objectives, they compute it themselves.

        Parameters
        ----------
        labels : array_like
            Of shape (n,), in [0, 1].
        sample_weight : array_like, optional
            Of shape (n,).

        Returns
        -------
        float
            Log-odds of the weighted and smoothed labels; gamma has no influence on it.  Labels of one
            class alone count as a share of 1e-15 of the other.

        Raises
        ------
        ValueError
            Labels of another shape, none, or outside [0, 1]; weights of another shape, or whose sum
            is not positive.

        Examples
        --------
        >>> from cekernels.objectives import Binary
        >>> round(Binary(pos_weight=2.0).init_score([0, 0, 0, 1]), 4)
        -0.4055
        """
        y = _as_labels(labels)
        check_fractions(y, "labels")
        weight = _as_weight(sample_weight, y)
        share = float(np.average(y, weights=weight))
        smoothed = share * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        positive, negative = self._class_weights()
        positive, negative = positive * smoothed, negative * (1.0 - smoothed)
        least = MIN_SHARE * (positive + negative)
        return float(np.log(max(positive, least) / max(negative, least)))

    def predict_proba(self, margins: ArrayLike) -> Array:
        """Return probabilities of the positive class, which custom objectives do not predict.

        Parameters
        ----------
        margins : array_like
            Raw predictions, of shape (n,).

        Returns
        -------
        ndarray
            Of shape (n,) and the dtype of margins: `cekernels.special.expit` of them.

        Examples
        --------
        >>> from cekernels.objectives import Binary
        >>> Binary().predict_proba([0.0, 2.0]).round(4)
        array([0.5   , 0.8808])
        """
        result: Array = special.expit(margins)
        return result

    def _class_weights(self) -> tuple[float, float]:
        """Return the weights of the positive and of the negative class."""
        positive, negative = (1.0, 1.0) if self.alpha is None else (self.alpha, 1.0 - self.alpha)
        return positive * (1.0 if self.pos_weight is None else self.pos_weight), negative

    def _loss(self) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Return the function and its options."""
        options = {
            "label_smoothing": self.label_smoothing,
            "pos_weight": self.pos_weight,
            "check": False,  # _check has done that
            "n_threads": self.n_threads,
        }
        if self.gamma == 0.0 and self.alpha is None:
            return binary_cross_entropy_with_logits, options
        return sigmoid_focal_loss, options | {"gamma": self.gamma, "alpha": self.alpha}

    def _check(self, margins: Array, labels: Array) -> None:
        if margins.ndim != 1:
            raise ValueError(
                f"margins must have shape (n,), got {margins.shape}; objectives.Softmax takes those "
                "of several classes"
            )
        if labels.shape != margins.shape:
            raise ValueError(f"labels must have shape {margins.shape}, got {labels.shape}")
        if self.gamma > 0.0:
            as_codes(labels, 2, "labels")
        else:
            check_fractions(labels, "labels")

    def _hess_factor(self, *_: Any) -> float:
        return 1.0

    def _write(
        self,
        margins: Array,
        labels: Array,
        sample_weight: Array | None,
        outputs: dict[str, Array],
        **options: Any,
    ) -> None:
        self._check(margins, labels)
        make_job = binary_job(
            margins,
            labels,
            sample_weight,
            pos_weight=self.pos_weight,
            label_smoothing=self.label_smoothing,
            gamma=self.gamma,
            alpha=self.alpha,
        )
        total = write(make_job, outputs, **options, n_threads=self.n_threads)
        check_total(total, margins, "margins")

    def _matrices(self, margins: Array, *_: float) -> tuple[Array, Array]:
        raise ValueError(
            f"objectives.Binary takes one margin a sample, got {len(margins)}; objectives.Softmax "
            "takes those of several classes"
        )

    def _stats(self, margins: Array, labels: Array, sample_weight: Array | None) -> LossStats:
        self._check(margins, labels)
        function, options = self._loss()
        result: LossStats = function(
            margins, labels, sample_weight=sample_weight, reduction="stats", **options
        )
        return result


@dataclass(frozen=True, eq=False)
class Softmax(BoosterLoss):
    r"""Softmax cross-entropy of margins, or with ``gamma`` the focal loss, for boosting.

    .. math::

        L = \sum_i \omega_i\,\varphi(-\log p_{i, y_i}), \qquad \varphi(l) = (1 - e^{-l})^\gamma\,l

    for label y, the softmax p of the margins and :math:`\omega`, sample weight times class weight: the
    sum of `cekernels.cross_entropy`, which tells what smoothing and soft targets make of it, or with
    gamma of `cekernels.softmax_focal_loss`.  Margins have shape (n, C), labels and weights (n,);
    labels are integers in [0, C), of any dtype.

    Parameters
    ----------
    label_smoothing : float
        In [0, 1]: moves the labels towards the uniform distribution over the classes.
    class_weight : array_like, dict or "balanced", optional
        As in `cekernels.cross_entropy`; ``"balanced"`` counts the labels of each call.
    gamma : float
        In [0, 1000]: how fast the loss fades out where the prediction is right.  Without smoothing
        and soft_targets.
    soft_targets : array_like, optional
        Probabilities of the classes, of shape (n, C): they take the place of the labels of the
        training data, row by row.  Metrics keep to the labels.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for the calls of this objective.

    Raises
    ------
    LabelError
        While training: a label that is no class.
    TypeError, ValueError
        An option of the wrong type or out of range; while training, a margin that is NaN, arrays of
        shapes that do not fit.

    See Also
    --------
    Binary : The same for two classes with one margin.

    Notes
    -----
    The Hessian of a focal loss is negative where a prediction is wrong and sure of it.  With the focal
    loss as :math:`\varphi(\ell)` of the cross-entropy, boosting gets
    :math:`\varphi'(\ell)\,(\mathrm{diag}(p) - p\,p^T)`, the part of the Hessian that is never negative,
    or its diagonal.

    Gradients have the accuracy of the functions, and so have Hessians without gamma.  They are written
    where the library reads them, in its dtype, each rounded once.

    CatBoost asks for one sample at a time, in Python: some 50 microseconds for each in every round.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar, Focal loss for dense object detection, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels.objectives import Softmax
    >>> objective = Softmax(class_weight=[1.0, 1.0, 2.0]).for_lightgbm()
    >>> grad, hess = objective(np.array([2.0, 0.0]), np.array([[0.5, -0.2, 0.1], [1.0, 0.3, -0.5]]))
    >>> grad.round(4)
    array([[ 0.923 ,  0.4583, -1.3813],
           [-0.4185,  0.2888,  0.1297]], dtype=float32)

    In training: ``lightgbm.train({"objective": objective, "num_class": 3}, data)``.
    """

    label_smoothing: float = 0.0
    class_weight: ClassWeight = None
    gamma: float = 0.0
    soft_targets: ArrayLike | None = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        _validation.as_fraction(self.label_smoothing, "label_smoothing")
        _validation.as_gamma(self.gamma)
        effective_threads(self.n_threads)
        _check_smoothing(self.label_smoothing, self.gamma)
        if self.soft_targets is not None:
            targets = _validation.as_floats(self.soft_targets, "soft_targets")
            if self.gamma > 0.0:
                raise ValueError(
                    f"soft_targets must be None with gamma={self.gamma}, which takes hard labels"
                )
            if targets.ndim != 2:
                raise ValueError(f"soft_targets must have shape (n, C), got {targets.shape}")
            object.__setattr__(self, "soft_targets", targets)

    def init_score(
        self, labels: ArrayLike, n_classes: int, sample_weight: ArrayLike | None = None
    ) -> Array:
        """Return the margins to start from: the constant with the least cross-entropy.

        What LightGBM calls ``init_score``, XGBoost ``base_score`` and CatBoost a baseline; with their
        own objectives, they compute it themselves.

        Parameters
        ----------
        labels : array_like
            Integers in [0, n_classes), of shape (n,).
        n_classes : int
            Number of classes.
        sample_weight : array_like, optional
            Of shape (n,).

        Returns
        -------
        ndarray
            Logarithms of the weighted and smoothed shares of the classes, of shape (n_classes,);
            gamma has no influence on them.  The share of a class without labels counts as 1e-15.

        Raises
        ------
        LabelError
            A label that is no class.
        ValueError
            Labels of another shape, or none; weights of another shape, or whose sum is not positive.

        Examples
        --------
        >>> from cekernels.objectives import Softmax
        >>> Softmax().init_score([0, 0, 0, 1], n_classes=2).round(4)
        array([-0.2877, -1.3863])
        """
        codes = as_codes(_as_labels(labels), n_classes, "labels")
        weight = _as_weight(sample_weight, codes)
        counts = np.bincount(codes, weight, n_classes).astype(np.float64)
        weights = _validation.as_class_weight(
            self.class_weight, n_classes, np.dtype(np.float64), codes, None
        )
        shares = counts / counts.sum()
        shares = shares * (1.0 - self.label_smoothing) + self.label_smoothing / n_classes
        shares = shares if weights is None else shares * weights
        result: Array = np.log(np.maximum(shares / shares.sum(), MIN_SHARE))
        return result

    def predict_proba(self, margins: ArrayLike) -> Array:
        """Return probabilities of the classes, which custom objectives do not predict.

        Parameters
        ----------
        margins : array_like
            Raw predictions, of shape (n, C).

        Returns
        -------
        ndarray
            Of shape (n, C) and the dtype of margins: `cekernels.special.softmax` of each row.

        Examples
        --------
        >>> from cekernels.objectives import Softmax
        >>> Softmax().predict_proba([[0.0, 0.0, 1.0]]).round(4)
        array([[0.2119, 0.2119, 0.5761]])
        """
        result: Array = special.softmax(margins, axis=1)
        return result

    def for_catboost(self) -> CatBoostObjective:
        """Objective for ``loss_function`` of CatBoost.

        Returns
        -------
        CatBoostObjective
            Picklable; called by CatBoost.

        Raises
        ------
        ValueError
            With soft_targets or balanced classes: CatBoost asks for one sample at a time.

        Examples
        --------
        >>> from cekernels.objectives import Softmax
        >>> gradient, _ = Softmax().for_catboost().calc_ders_multi([0.0, 0.0], 0.0, 1.0)
        >>> gradient
        array([ 0.5, -0.5])
        """
        if self.soft_targets is not None or isinstance(self.class_weight, str):
            option = "class_weight='balanced'" if self.soft_targets is None else "soft_targets"
            raise ValueError(f"{option} needs all rows, but CatBoost asks for one at a time")
        return super().for_catboost()

    def _loss(self, margins: Array, labels: Array) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Return the function and its options; labels are codes, or None for soft targets."""
        dtype, n_classes = margins.dtype, margins.shape[1]
        hard = labels if labels.ndim == 1 else None
        weights = _validation.as_class_weight(self.class_weight, n_classes, dtype, hard, None)
        options = {"class_weight": weights, "n_threads": self.n_threads}
        if self.gamma > 0.0:
            return softmax_focal_loss, options | {"gamma": self.gamma}
        return cross_entropy, options | {"label_smoothing": self.label_smoothing}

    def _targets(self, margins: Array, labels: Array, soft: Any = None) -> Array:
        """Return labels as codes, or the soft targets of these margins."""
        if margins.ndim != 2 or margins.shape[1] == 0:
            raise ValueError(
                f"margins must have shape (n, C), got {margins.shape}; tell the library the number "
                "of classes (num_class), or use objectives.Binary"
            )
        if soft is not None:
            if soft.shape != margins.shape:
                raise ValueError(
                    f"soft_targets must have the shape of margins, {margins.shape}, got {soft.shape}"
                )
            return np.asarray(soft)
        if labels.shape != margins.shape[:1]:
            raise ValueError(f"labels must have shape {margins.shape[:1]}, got {labels.shape}")
        return as_codes(labels, margins.shape[1], "labels")

    def _hess_factor(self, booster: Booster, margins: Array) -> float:
        if booster == "xgboost":
            return 2.0
        return margins.shape[1] / max(1, margins.shape[1] - 1) if margins.ndim == 2 else 1.0

    def _write(
        self,
        margins: Array,
        labels: Array,
        sample_weight: Array | None,
        outputs: dict[str, Array],
        **options: Any,
    ) -> None:
        targets = self._targets(margins, labels, self.soft_targets)
        make_job = class_job(
            margins,
            targets,
            sample_weight,
            class_weight=self.class_weight,
            label_smoothing=self.label_smoothing,
            gamma=self.gamma,
        )
        total = write(make_job, outputs, **options, n_threads=self.n_threads)
        check_total(total, margins, "margins")

    def _matrices(self, margins: Array, label: float, weight: float) -> tuple[Array, Array]:
        row = margins.reshape(1, -1)
        targets = self._targets(row, np.asarray([label]))
        function, options = self._loss(row, targets)
        options |= {"sample_weight": weight, "reduction": "sum"}
        total, grad = function(row, targets, return_grad=True, **options)
        check_total(total, row, "margins")
        if self.gamma == 0.0:
            return grad[0], cross_entropy_hessian(row, targets, **options)[0]
        # The derivative of the focal loss by the cross-entropy: the ratio of their gradients.
        _, plain = cross_entropy(row, targets, reduction="sum", return_grad=True)
        hessian = cross_entropy_hessian(row, targets, reduction="sum")[0]
        with np.errstate(all="ignore"):
            slope = grad[0, targets[0]] / plain[0, targets[0]] if plain.any() else 0.0
            return grad[0], slope * hessian

    def _stats(self, margins: Array, labels: Array, sample_weight: Array | None) -> LossStats:
        codes = self._targets(margins, labels)
        function, options = self._loss(margins, codes)
        result: LossStats = function(
            margins, codes, sample_weight=sample_weight, reduction="stats", **options
        )
        return result


def _check_smoothing(label_smoothing: float, gamma: float) -> None:
    """Raise where a focal loss is given smooth labels."""
    if gamma > 0.0 and label_smoothing > 0.0:
        raise ValueError(
            f"label_smoothing must be 0 with gamma={gamma}, which takes hard labels, "
            f"got {label_smoothing}"
        )


def _as_labels(labels: ArrayLike) -> Array:
    """Return labels with one axis."""
    array = _validation.as_array(labels, "labels")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"labels must have shape (n,) with n > 0, got {array.shape}")
    return array


def _as_weight(sample_weight: ArrayLike | None, labels: Array) -> Array | None:
    """Return a weight for each label, with a positive sum."""
    if sample_weight is None:
        return None
    weight = _validation.as_shaped(sample_weight, "sample_weight", labels.shape)
    total = float(weight.sum(dtype=np.float64))
    if not 0.0 < total < np.inf:
        raise ValueError(f"sample_weight must have a positive, finite sum, got {total}")
    return weight
