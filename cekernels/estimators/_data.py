"""What a model is fitted to: rows, their targets and weights, ready for the losses."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cekernels._validation import Array
from cekernels.linear._problem import LinearProblem, binary_linear_problem, class_linear_problem
from cekernels.linear._rows import as_rows
from cekernels.losses import binary_cross_entropy_with_logits, cross_entropy

# Bytes of some rows up to which they are copied, to be next to each other in a cache.
COPIED = 1 << 21


@dataclass(frozen=True)
class Data:
    """Rows, and the mean loss of a linear model of them.

    Two classes have one logit, that of the second one; `targets` are then its labels or
    probabilities.  More have a logit each.  `weight` is what the mean divides by.
    """

    X: Any
    targets: Array
    n_classes: int
    sample_weight: Array | None
    class_weight: Array | None
    smoothing: float
    weight: float
    fit_intercept: bool
    n_threads: int | None

    @property
    def n_outputs(self) -> int:
        """Logits of a row."""
        return 1 if self.n_classes == 2 else self.n_classes

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs, and parameters of each: its coefficients and, if there is one, its intercept."""
        return self.n_outputs, self.X.shape[1] + self.fit_intercept

    def every(self, step: int) -> "Data":
        """Return each step-th row, in new memory if it is little, or BLAS could not read them."""
        if step == 1:
            return self
        X = self.X[::step]
        is_dense = isinstance(X, np.ndarray)
        is_copied = is_dense and (X.nbytes <= COPIED or not self.X.flags.c_contiguous)
        weight = None if self.sample_weight is None else self.sample_weight[::step]
        return replace(
            self,
            X=np.ascontiguousarray(X) if is_copied else X,
            targets=self.targets[::step],
            sample_weight=weight,
            weight=self.weight * X.shape[0] / self.X.shape[0],
        )

    def problem(self) -> LinearProblem:
        """Return the mean loss of all rows, as a function of coefficients and intercept."""
        rows, options = as_rows(self.X), self._options()
        if self.n_outputs == 1:
            return binary_linear_problem(rows, (), self.targets, **options)
        return class_linear_problem(
            rows, self.n_classes, self.targets, class_weight=self.class_weight, **options
        )

    def curvatures(self, parameters: Array) -> Array:
        """Return the second derivative of the mean loss by each logit, a row for each row of X."""
        p = self.X.shape[1]
        parameters = parameters.astype(self.X.dtype)
        logits = np.asarray(self.X @ parameters[:, :p].T)
        if self.fit_intercept:
            logits += parameters[:, p]
        options = self._options()
        if self.n_outputs == 1:
            _, hess = binary_cross_entropy_with_logits(
                logits[:, 0], self.targets, return_hess=True, **options
            )
            return np.asarray(hess)[:, np.newaxis]
        _, hess = cross_entropy(
            logits, self.targets, class_weight=self.class_weight, return_hess=True, **options
        )
        return np.asarray(hess)

    def _options(self) -> dict[str, Any]:
        return {
            "sample_weight": self.sample_weight,
            "label_smoothing": self.smoothing,
            "denominator": self.weight,
            "n_threads": self.n_threads,
        }


def weigh_classes(data: Data, class_weight: Array | None) -> Data:
    """Return the data with weights of its classes, and the weight that they add up to.

    With one logit, they become weights of rows; with soft targets, also other targets: for weights
    a and b of the classes, a t softplus(-x) + b (1 - t) softplus(x) is the loss of the target
    a t / (a t + b (1 - t)) times the denominator of this fraction.
    """
    weighed = _weighed(data, class_weight)
    if not weighed.weight > 0.0:
        raise ValueError(
            "sample_weight and class_weight must make a positive sum of weights, "
            f"got {weighed.weight}"
        )
    return weighed


def _weighed(data: Data, class_weight: Array | None) -> Data:
    """Return what `weigh_classes` does, of any sum."""
    rows = np.ones(()) if data.sample_weight is None else data.sample_weight
    if class_weight is None:
        total = float(data.X.shape[0] if rows.ndim == 0 else rows.sum(dtype=np.float64))
        return replace(data, weight=total)
    t, is_label = data.targets, data.targets.dtype.kind != "f"
    if data.n_outputs > 1:
        factor = class_weight[t] if is_label else t @ class_weight
        total = float(np.sum(rows * factor, dtype=np.float64))
        return replace(data, class_weight=class_weight, weight=total)
    b, a = class_weight
    factor = b + (a - b) * t
    total = float(np.sum(rows * factor, dtype=np.float64))
    if is_label and not data.smoothing:
        weight = (rows * factor).astype(data.X.dtype)
        return replace(data, sample_weight=weight, weight=total)
    smooth = t * (1.0 - data.smoothing) + 0.5 * data.smoothing
    factor = b + (a - b) * smooth
    targets = np.divide(a * smooth, factor, out=np.zeros_like(factor), where=factor != 0.0)
    dtype = data.X.dtype
    return replace(
        data,
        targets=targets.astype(dtype),
        sample_weight=(rows * factor).astype(dtype),
        smoothing=0.0,
        weight=total,
    )
