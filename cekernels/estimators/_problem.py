"""What a fit of logistic regression is given: checked, and as binary or multinomial problems."""

# mypy: disable-error-code="import-untyped"

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import _check_sample_weight, validate_data

from cekernels._validation import Array
from cekernels.estimators import _targets
from cekernels.estimators._data import Data, weigh_classes

DTYPES = [np.float64, np.float32]


@dataclass
class Problem:
    """Checked arguments of a fit: one problem for all classes, or one for each label."""

    classes: Array
    parts: list[Data]


def check_problem(
    model: Any,
    X: Any,
    y: Any,
    sample_weight: ArrayLike | None,
    classes: Array | None = None,
    reset: bool = True,
) -> Problem:
    """Check the arguments of a fit of this `LogisticRegression`."""
    is_multilabel = model.targets == "multilabel"
    if is_multilabel and model.class_weight is not None:
        raise ValueError('class_weight must be None with targets="multilabel"')
    X, y = validate_data(
        model,
        X,
        y,
        accept_sparse="csr",
        dtype=DTYPES,
        multi_output=model.targets != "labels",
        y_numeric=model.targets != "labels",
        reset=reset,
    )
    weight: Array | None = None
    if sample_weight is not None:
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
    if model.targets == "labels":
        classes, index = _targets.encode_labels(y, classes)
        class_weight = _targets.class_weights(model.class_weight, classes, y, index, weight)
        targets = index == 1 if len(classes) == 2 else index
        return Problem(classes, [_data(model, X, targets, len(classes), weight, class_weight)])
    y = y.astype(X.dtype, copy=False)
    if is_multilabel:
        _targets.check_fractions(y, 'targets="multilabel"')
        parts = [_data(model, X, column, 2, weight, None) for column in y.T]
        return Problem(np.arange(y.shape[1]), parts)
    _targets.check_probabilities(y)
    n_classes = y.shape[1]
    classes = np.arange(n_classes)
    class_weight = _targets.class_weights(model.class_weight, classes, y, y, weight)
    targets = y[:, 1] if n_classes == 2 else y
    return Problem(classes, [_data(model, X, targets, n_classes, weight, class_weight)])


def _data(
    model: Any,
    X: Any,
    targets: Array,
    n_classes: int,
    sample_weight: Array | None,
    class_weight: Array | None,
) -> Data:
    data = Data(
        X=X,
        targets=targets,
        n_classes=n_classes,
        sample_weight=sample_weight,
        class_weight=None,
        smoothing=float(model.label_smoothing),
        weight=0.0,
        fit_intercept=model.fit_intercept,
        n_threads=model.n_threads,
    )
    return weigh_classes(data, class_weight)
