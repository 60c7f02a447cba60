"""What boosting libraries call: objectives and metrics of a loss, each with a library's conventions."""

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _validation
from cekernels._derivatives import Buffers
from cekernels._stats import LossStats
from cekernels._validation import Array

Booster: TypeAlias = Literal["xgboost", "lightgbm"]

NAMES = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}

# XGBoost's own floor of a Hessian.
XGBOOST_HESS_MIN = 1e-16


class BoosterLoss(ABC):
    """A loss of margins, labels and weights, and what it is to each library."""

    @abstractmethod
    def _hess_factor(self, booster: Booster, margins: Array) -> float:
        """Return what a library multiplies the diagonal of the Hessian by in its own objective."""

    @abstractmethod
    def _write(
        self,
        margins: Array,
        labels: Array,
        sample_weight: Array | None,
        outputs: dict[str, Array],
        **options: Any,
    ) -> None:
        """Write the gradient and the diagonal of the Hessian of the sum; options are those of `write`."""

    @abstractmethod
    def _matrices(self, margins: Array, label: float, weight: float) -> tuple[Array, Array]:
        """Return the gradient and the Hessian of one sample."""

    @abstractmethod
    def _stats(self, margins: Array, labels: Array, sample_weight: Array | None) -> LossStats:
        """Return the loss, its weight and its count."""

    def for_xgboost(
        self, *, hess_factor: float | None = None, hess_min: float = XGBOOST_HESS_MIN
    ) -> "Objective":
        """Objective for ``xgboost.train(obj=...)`` and ``XGBClassifier(objective=...)``.

        Parameters
        ----------
        hess_factor : float, optional
            What the diagonal of the Hessian is multiplied by; as in XGBoost's own objective if not
            given: 1 for two classes, 2 for several.
        hess_min : float
            The least Hessian, after the factor; 1e-16 as in XGBoost's own objective.

        Returns
        -------
        Objective
            Picklable; called by XGBoost.

        Raises
        ------
        TypeError, ValueError
            A factor that is not positive and finite; a negative hess_min.

        Examples
        --------
        >>> from cekernels.objectives import Binary
        >>> grad, hess = Binary().for_xgboost(hess_min=0.5)([0, 1], [0.0, 0.0])
        >>> grad, hess
        (array([ 0.5, -0.5], dtype=float32), array([0.5, 0.5], dtype=float32))
        """
        return Objective(self, "xgboost", hess_factor, hess_min)

    def for_lightgbm(
        self, *, hess_factor: float | None = None, hess_min: float | None = None
    ) -> "Objective":
        """Objective for ``lightgbm.train({"objective": ...})`` and ``LGBMClassifier(objective=...)``.

        Parameters
        ----------
        hess_factor : float, optional
            What the diagonal of the Hessian is multiplied by; as in LightGBM's own objective if not
            given: 1 for two classes, C / (C - 1) for C classes.
        hess_min : float, optional
            The least Hessian, after the factor.

        Returns
        -------
        Objective
            Picklable; called by LightGBM.

        Raises
        ------
        TypeError, ValueError
            A factor that is not positive and finite; a negative hess_min.

        Examples
        --------
        >>> from cekernels.objectives import Softmax
        >>> grad, hess = Softmax().for_lightgbm(hess_factor=1.0)([0], [[0.0, 0.0]])
        >>> hess
        array([[0.25, 0.25]], dtype=float32)
        """
        return Objective(self, "lightgbm", hess_factor, hess_min)

    def for_catboost(self) -> "CatBoostObjective":
        """Objective for ``loss_function`` of CatBoost.

        Returns
        -------
        CatBoostObjective
            Picklable; called by CatBoost.

        Examples
        --------
        >>> from cekernels.objectives import Binary
        >>> Binary().for_catboost().calc_ders_range([0.0, 0.0], [0, 1], None)
        array([[-0.5 , -0.25],
               [ 0.5 , -0.25]])
        """
        return CatBoostObjective(self)

    def metric_for_xgboost(self, name: str = "cekernels") -> "Metric":
        """Metric for ``xgboost.train(custom_metric=...)`` and ``XGBClassifier(eval_metric=...)``.

        Parameters
        ----------
        name : str
            What the metric is called in XGBoost's reports.

        Returns
        -------
        Metric
            The weighted mean of the loss, of margins: for training with a custom objective.

        Examples
        --------
        >>> from cekernels.objectives import Binary
        >>> round(Binary().metric_for_xgboost()([0, 1], [0.0, 0.0]), 4)
        0.6931
        """
        return Metric(self, "xgboost", name)

    def metric_for_lightgbm(self, name: str = "cekernels") -> "Metric":
        """Metric for ``lightgbm.train(feval=...)`` and ``LGBMClassifier.fit(eval_metric=...)``.

        Parameters
        ----------
        name : str
            What the metric is called in LightGBM's reports.

        Returns
        -------
        Metric
            The weighted mean of the loss, of margins: for training with a custom objective.

        Examples
        --------
        >>> from cekernels.objectives import Binary
        >>> Binary().metric_for_lightgbm("loss")([0, 0], [-1000.0, -1000.0])
        ('loss', 0.0, False)
        """
        return Metric(self, "lightgbm", name)

    def metric_for_catboost(self) -> "CatBoostMetric":
        """Metric for ``eval_metric`` of CatBoost.

        Returns
        -------
        CatBoostMetric
            The weighted mean of the loss.

        Examples
        --------
        >>> from cekernels.objectives import Binary
        >>> total, weight = Binary().metric_for_catboost().evaluate([[0.0, 0.0]], [0, 1], None)
        >>> round(total, 4), weight
        (1.3863, 2.0)
        """
        return CatBoostMetric(self)


class Objective:
    """Gradient and Hessian, as XGBoost and LightGBM ask for them.

    Made by `Binary.for_xgboost`, `Binary.for_lightgbm` and those of `Softmax`.  Both of a library's
    interfaces are served: that of ``train`` calls with margins and a data set, that of the estimators
    with labels, margins and weights.

    Parameters
    ----------
    loss : Binary or Softmax
        What is derived.
    booster : {"xgboost", "lightgbm"}
        Whose conventions.
    hess_factor : float, optional
        What the diagonal of the Hessian is multiplied by; as in the library's own objective if not
        given.
    hess_min : float, optional
        The least Hessian, after the factor.

    Raises
    ------
    TypeError, ValueError
        A factor that is not positive and finite; a negative hess_min.  In a call, what the loss
        raises.

    See Also
    --------
    Metric : The loss itself, for reports and early stopping.
    CatBoostObjective : The same for CatBoost.

    Notes
    -----
    The results are float32, in the memory order of the margins, which is how both libraries read
    them without a copy.  Their memory is used again in the next round, unless somebody still holds
    them.  Any number of threads may call at once.

    Examples
    --------
    >>> from cekernels.objectives import Binary
    >>> objective = Binary().for_xgboost()
    >>> grad, hess = objective([0, 1], [0.0, 0.0])
    >>> grad, hess
    (array([ 0.5, -0.5], dtype=float32), array([0.25, 0.25], dtype=float32))
    """

    def __init__(
        self,
        loss: BoosterLoss,
        booster: Booster,
        hess_factor: float | None = None,
        hess_min: float | None = None,
    ) -> None:
        self.loss = loss
        self.booster = booster
        self.hess_factor = hess_factor
        self.hess_min = hess_min
        self.__name__ = "cekernels"
        self._buffers = Buffers(np.float32)
        if hess_factor is not None:
            _validation.as_positive(hess_factor, "hess_factor")
        if hess_min is not None:
            _validation.as_size(hess_min, "hess_min")

    def __repr__(self) -> str:
        return f"<{self.loss!r} for {NAMES[self.booster]}>"

    def __call__(
        self, first: Any, second: Any, sample_weight: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Return gradient and Hessian of (labels, margins, weights) or of (margins, data set)."""
        margins, labels, weight = _unpack(first, second, sample_weight)
        is_fortran = margins.flags.f_contiguous
        pair = self._buffers.take((2, *(margins.shape[::-1] if is_fortran else margins.shape)))
        grad, hess = (each.T for each in pair) if is_fortran else pair
        factor = self.hess_factor
        if factor is None:
            factor = self.loss._hess_factor(self.booster, margins)
        options = {"hess_factor": factor, "hess_min": self.hess_min}
        self.loss._write(margins, labels, weight, {"grad": grad, "hess": hess}, **options)
        return grad, hess


class Metric:
    """Weighted mean of a loss, as XGBoost and LightGBM ask for it.

    Made by `Binary.metric_for_xgboost`, `Binary.metric_for_lightgbm` and those of `Softmax`.  It is
    called as an `Objective`, and returns the number, or a tuple with the name, as the interface that
    called expects.

    Parameters
    ----------
    loss : Binary or Softmax
        What is averaged.
    booster : {"xgboost", "lightgbm"}
        Whose conventions.
    name : str
        What the metric is called in the library's reports.

    Raises
    ------
    TypeError, ValueError
        In a call, what the loss raises.

    See Also
    --------
    Objective : Derivatives of the loss.
    CatBoostMetric : The same for CatBoost.

    Notes
    -----
    The mean is in float64, and no array of losses is made.

    Examples
    --------
    >>> from cekernels.objectives import Binary
    >>> metric = Binary().metric_for_xgboost("loss")
    >>> round(metric([0, 1], [0.0, 0.0]), 4)
    0.6931
    """

    def __init__(self, loss: BoosterLoss, booster: Booster, name: str) -> None:
        self.loss = loss
        self.booster = booster
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<mean of {self.loss!r} for {NAMES[self.booster]}>"

    def __call__(self, first: Any, second: Any, sample_weight: ArrayLike | None = None) -> Any:
        """Return what the library expects of (labels, margins, weights) or (margins, data set)."""
        value = self.loss._stats(*_unpack(first, second, sample_weight)).mean
        if self.booster == "lightgbm":
            return self.__name__, value, False
        return (self.__name__, value) if hasattr(second, "get_label") else value


class CatBoostObjective:
    """Derivatives of the log likelihood, as CatBoost asks for them: of opposite sign.

    Made by `Binary.for_catboost` and `Softmax.for_catboost`.

    Parameters
    ----------
    loss : Binary or Softmax
        What is derived.

    See Also
    --------
    CatBoostMetric : The loss itself, for reports and early stopping.
    Objective : The same for XGBoost and LightGBM.

    Notes
    -----
    Results are float64.  The memory of those of `calc_ders_range` is used again in the next call, unless
    somebody still holds them.  CatBoost compiles what it is given where Numba is installed; this it leaves
    as it is.

    Examples
    --------
    >>> from cekernels.objectives import Binary
    >>> Binary().for_catboost().calc_ders_range([0.0, 0.0], [0, 1], None)
    array([[-0.5 , -0.25],
           [ 0.5 , -0.25]])
    """

    no_jit = True  # else CatBoost compiles the methods with Numba where that is installed

    def __init__(self, loss: BoosterLoss) -> None:
        self.loss = loss
        self._buffers = Buffers(np.float64)

    def __repr__(self) -> str:
        return f"<{self.loss!r} for CatBoost>"

    def calc_ders_range(
        self, approxes: ArrayLike, targets: ArrayLike, weights: ArrayLike | None
    ) -> Array:
        """Return the first and the second derivative of each sample, as two columns.

        Parameters
        ----------
        approxes : array_like
            Margins, of shape (n,).
        targets : array_like
            Labels, of shape (n,).
        weights : array_like or None
            Sample weights, of shape (n,).

        Returns
        -------
        ndarray
            Of shape (n, 2).

        Raises
        ------
        TypeError, ValueError
            What the loss raises.
        """
        margins, labels, weight = _unpack(targets, approxes, weights)
        result = self._buffers.take((len(margins), 2))
        outputs = {"grad": result[:, 0], "hess": result[:, 1]}
        self.loss._write(margins, labels, weight, outputs, scale=-1.0)
        return result

    def calc_ders_multi(
        self, approx: ArrayLike, target: float, weight: float
    ) -> tuple[Array, Array]:
        """Return the gradient and the Hessian of one sample.

        Parameters
        ----------
        approx : array_like
            Margins, of shape (C,).
        target : float
            Label.
        weight : float
            Sample weight.

        Returns
        -------
        gradient : ndarray
            Of shape (C,).
        hessian : ndarray
            Of shape (C, C).

        Raises
        ------
        TypeError, ValueError
            What the loss raises.
        """
        gradient, hessian = self.loss._matrices(np.asarray(approx, np.float64), target, weight)
        return -gradient, -hessian


class CatBoostMetric:
    """Weighted mean of a loss, as CatBoost asks for it.

    Made by `Binary.metric_for_catboost` and `Softmax.metric_for_catboost`.

    Parameters
    ----------
    loss : Binary or Softmax
        What is averaged.

    See Also
    --------
    CatBoostObjective : Derivatives of the loss.
    Metric : The same for XGBoost and LightGBM.

    Notes
    -----
    The sums are in float64, and no array of losses is made.

    Examples
    --------
    >>> from cekernels.objectives import Binary
    >>> metric = Binary().metric_for_catboost()
    >>> total, weight = metric.evaluate([[0.0, 0.0]], [0, 1], None)
    >>> round(metric.get_final_error(total, weight), 4)
    0.6931
    """

    no_jit = True

    def __init__(self, loss: BoosterLoss) -> None:
        self.loss = loss

    def __repr__(self) -> str:
        return f"<mean of {self.loss!r} for CatBoost>"

    def is_max_optimal(self) -> bool:
        """Tell whether more is better.

        Returns
        -------
        bool
            False.
        """
        return False

    def evaluate(
        self, approxes: Any, target: ArrayLike, weight: ArrayLike | None
    ) -> tuple[float, float]:
        """Return the sum of the losses and that of the weights.

        Parameters
        ----------
        approxes : array_like
            Margins, of shape (1, n) for two classes, of shape (C, n) for several.
        target : array_like
            Labels, of shape (n,).
        weight : array_like or None
            Sample weights, of shape (n,).

        Returns
        -------
        total : float
            Sum of the weighted losses.
        weight : float
            Sum of the weights.

        Raises
        ------
        TypeError, ValueError
            What the loss raises.
        """
        margins = np.asarray(approxes)
        margins = margins[0] if len(margins) == 1 else margins.T
        stats = self.loss._stats(*_unpack(target, margins, weight))
        return stats.total, stats.weight

    def get_final_error(self, error: float, weight: float) -> float:
        """Return the mean.

        Parameters
        ----------
        error : float
            Sum of the weighted losses.
        weight : float
            Sum of the weights.

        Returns
        -------
        float
            Their ratio; nan without weights.
        """
        return error / weight if weight else float("nan")


def _unpack(
    first: Any, second: Any, sample_weight: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Return margins, labels and weights of either interface's arguments."""
    if hasattr(second, "get_label"):
        first, second, sample_weight = second.get_label(), first, second.get_weight()
    margins = _validation.as_floats(second, "margins")
    if margins.ndim not in (1, 2):
        raise ValueError(f"margins must have one axis or two, got shape {margins.shape}")
    labels = _validation.as_array(first, "labels")
    if sample_weight is None or np.size(sample_weight) == 0:
        return margins, labels, None
    return margins, labels, _validation.as_shaped(sample_weight, "sample_weight", margins.shape[:1])
