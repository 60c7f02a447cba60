"""Losses with the interface of scikit-learn's private ``sklearn._loss``, on the kernels of this package.

They go where scikit-learn takes a loss object: ``HistGradientBoostingClassifier(loss=...)``.  Inside
`patched`, scikit-learn's own loss objects compute with the kernels, and with them everything that is
built on these.

scikit-learn keeps this interface private and may change it.  Known are versions 1.6 to 1.9: an older
one is an ImportError, a newer one a RuntimeWarning.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from cekernels import _validation, special
from cekernels._derivatives import (
    MakeJob,
    as_codes,
    binary_job,
    check_fractions,
    class_job,
    write,
)
from cekernels._validation import Array

try:
    import sklearn  # type: ignore[import-untyped]
    import sklearn._loss.loss as _theirs  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(
        'cekernels.sklearn_losses needs scikit-learn: pip install "cekernels[sklearn]"'
    ) from error

__all__ = [
    "BinaryFocalLoss",
    "HalfBinomialLoss",
    "HalfMultinomialLoss",
    "MultinomialFocalLoss",
    "patched",
]

OLDEST, NEWEST = (1, 6), (1, 9)


def check_version(version: str) -> None:
    """Raise for a version of scikit-learn that is too old, warn of one that is not known yet."""
    known = "{}.{} to {}.{}".format(*OLDEST, *NEWEST)
    number = tuple(int(part) for part in version.split(".")[:2])
    if number < OLDEST:
        raise ImportError(f"cekernels.sklearn_losses knows scikit-learn {known}, not {version}")
    if number > NEWEST:
        warnings.warn(
            f"cekernels.sklearn_losses knows scikit-learn {known}; {version} may differ",
            RuntimeWarning,
            stacklevel=3,
        )


check_version(sklearn.__version__)


class Kernels:
    """What a loss object of scikit-learn calls: the same methods as its compiled classes, checked."""

    gamma: float

    def loss(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None,
        loss_out: Array,
        n_threads: int = 1,
    ) -> None:
        """Write the weighted losses."""
        self._write(y_true, raw_prediction, sample_weight, n_threads, loss=loss_out)

    def loss_gradient(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None,
        loss_out: Array,
        gradient_out: Array,
        n_threads: int = 1,
    ) -> None:
        """Write the weighted losses and their gradients."""
        self._write(
            y_true, raw_prediction, sample_weight, n_threads, loss=loss_out, grad=gradient_out
        )

    def gradient(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None,
        gradient_out: Array,
        n_threads: int = 1,
    ) -> None:
        """Write the gradients of the weighted losses."""
        self._write(y_true, raw_prediction, sample_weight, n_threads, grad=gradient_out)

    def gradient_hessian(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None,
        gradient_out: Array,
        hessian_out: Array,
        n_threads: int = 1,
    ) -> None:
        """Write the gradients of the weighted losses and the diagonals of their Hessians."""
        self._write(
            y_true, raw_prediction, sample_weight, n_threads, grad=gradient_out, hess=hessian_out
        )

    def gradient_proba(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None,
        gradient_out: Array,
        proba_out: Array,
        n_threads: int = 1,
    ) -> None:
        """Write the gradients of the weighted losses and the probabilities of the classes."""
        self._write(
            y_true, raw_prediction, sample_weight, n_threads, grad=gradient_out, proba=proba_out
        )

    def _job(self, y_true: Array, raw_prediction: Array, weight: Array | None) -> MakeJob:
        """Return the loss of these arguments, checked."""
        raise NotImplementedError

    def _write(
        self,
        y_true: Array,
        raw_prediction: Array,
        sample_weight: Array | None,
        n_threads: int,
        **outputs: Array,
    ) -> None:
        raw = _validation.as_floats(raw_prediction, "raw_prediction")
        if any(out.dtype == np.float64 for out in outputs.values()):
            raw = raw.astype(np.float64, copy=False)
        y = _validation.as_shaped(y_true, "y_true", raw.shape[:1])
        weight = _validation.as_broadcast(sample_weight, "sample_weight", raw.shape[:1])
        make_job = self._job(y, raw, weight)
        for name, out in outputs.items():
            check_result(out, ARGUMENTS[name], raw.shape[:1] if name == "loss" else raw.shape)
        _validation.check_overlap(
            {ARGUMENTS[name]: out for name, out in outputs.items()},
            {"raw_prediction": raw, "y_true": y, "sample_weight": weight},
            ("gradient_out", "raw_prediction"),
        )
        write(make_job, outputs, n_threads=n_threads)


ARGUMENTS = {
    "loss": "loss_out",
    "grad": "gradient_out",
    "hess": "hessian_out",
    "proba": "proba_out",
}


def check_result(out: Array, name: str, shape: tuple[int, ...]) -> None:
    """Raise where results of this shape cannot be written to out."""
    if out.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must have dtype float32 or float64, got {out.dtype}")
    _validation.check_output(out, name, shape, out.dtype)


class BinomialKernels(Kernels):
    """Two classes with one raw prediction; with gamma the focal loss."""

    def __init__(self, gamma: float = 0.0, alpha: float | None = None) -> None:
        self.gamma = _validation.as_gamma(gamma)
        self.alpha = None if alpha is None else _validation.as_fraction(alpha, "alpha")

    def _job(self, y_true: Array, raw_prediction: Array, weight: Array | None) -> MakeJob:
        if raw_prediction.ndim != 1:
            raise ValueError(f"raw_prediction must have shape (n,), got {raw_prediction.shape}")
        if self.gamma > 0.0:
            y_true = as_codes(y_true, 2, "y_true")
        else:
            check_fractions(y_true, "y_true")
        return binary_job(raw_prediction, y_true, weight, gamma=self.gamma, alpha=self.alpha)


class MultinomialKernels(Kernels):
    """Several classes; with gamma the focal loss."""

    def __init__(self, gamma: float = 0.0) -> None:
        self.gamma = _validation.as_gamma(gamma)

    def _job(self, y_true: Array, raw_prediction: Array, weight: Array | None) -> MakeJob:
        if raw_prediction.ndim != 2 or raw_prediction.shape[1] == 0:
            raise ValueError(f"raw_prediction must have shape (n, C), got {raw_prediction.shape}")
        codes = as_codes(y_true, raw_prediction.shape[1], "y_true")
        return class_job(raw_prediction, codes, weight, gamma=self.gamma)


class HalfBinomialLoss(_theirs.HalfBinomialLoss):  # type: ignore[misc]
    r"""Half the binomial deviance, which is binary cross-entropy, as a loss object of scikit-learn.

    .. math:: \ell = \log(1 + e^x) - y\,x

    for raw prediction x, of shape (n,) or (n, 1), and label y in [0, 1], of shape (n,).

    Parameters
    ----------
    sample_weight : ndarray, optional
        Not used: part of the interface.

    Raises
    ------
    TypeError, ValueError
        In its methods: labels outside [0, 1], arrays of unequal lengths.

    See Also
    --------
    HalfMultinomialLoss : The same for several classes.
    BinaryFocalLoss : Binary focal loss.
    cekernels.binary_cross_entropy_with_logits : The function.

    Notes
    -----
    All methods and attributes are those of ``sklearn._loss.HalfBinomialLoss`` of the installed
    version.  So are the values, but for what scikit-learn loses in the tails: here they have the
    accuracy of the function.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels.sklearn_losses import HalfBinomialLoss
    >>> loss = HalfBinomialLoss()
    >>> loss.gradient(y_true=np.array([0.0, 1.0]), raw_prediction=np.array([0.5, -1.0])).round(4)
    array([ 0.6225, -0.7311])
    """

    def __init__(self, sample_weight: Array | None = None) -> None:
        super().__init__(sample_weight=sample_weight)
        self.closs = BinomialKernels()

    def predict_proba(self, raw_prediction: Array) -> Array:
        """Return the probabilities of both classes, in two columns.

        Parameters
        ----------
        raw_prediction : ndarray
            Log-odds, of shape (n,) or (n, 1).

        Returns
        -------
        ndarray
            Of shape (n, 2).
        """
        margins = raw_prediction.reshape(-1)
        return np.stack([special.expit(-margins), special.expit(margins)], axis=1)


class BinaryFocalLoss(HalfBinomialLoss):
    r"""Binary focal loss as a loss object of scikit-learn.

    .. math:: \ell = \alpha\,y\,f(x) + (1 - \alpha)\,(1 - y)\,f(-x)

    .. math:: f(x) = \sigma(-x)^\gamma\,\log(1 + e^{-x})

    for raw prediction x, of shape (n,) or (n, 1), and label y, 0 or 1, of shape (n,).  Without
    alpha both of its factors are 1.

    Parameters
    ----------
    sample_weight : ndarray, optional
        Not used: part of the interface.
    gamma : float
        In [0, 1000]: how fast the loss fades out where the prediction is right.
    alpha : float, optional
        In [0, 1]: weight of the positive class, 1 - alpha that of the negative one.

    Raises
    ------
    TypeError, ValueError
        A gamma or alpha out of range; in its methods, labels that are not 0 or 1, arrays of unequal
        lengths.

    See Also
    --------
    MultinomialFocalLoss : The same for several classes.
    cekernels.sigmoid_focal_loss : The function.

    Notes
    -----
    ``gradient_hessian`` gives the part of the Hessian that is never negative, as
    `cekernels.objectives.Binary` does.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar, Focal loss for dense object detection, 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from cekernels.sklearn_losses import BinaryFocalLoss
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = HistGradientBoostingClassifier(loss=BinaryFocalLoss(gamma=2.0), max_iter=10)
    >>> bool(model.fit(X, y).score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        sample_weight: Array | None = None,
        gamma: float = 2.0,
        alpha: float | None = None,
    ) -> None:
        super().__init__(sample_weight)
        self.closs = BinomialKernels(gamma, alpha)


class HalfMultinomialLoss(_theirs.HalfMultinomialLoss):  # type: ignore[misc]
    r"""Softmax cross-entropy as a loss object of scikit-learn.

    .. math:: \ell = \log \sum_c e^{x_c} - x_y

    for raw predictions x, of shape (n, C), and label y in [0, C), of shape (n,) and any dtype.

    Parameters
    ----------
    sample_weight : ndarray, optional
        Not used: part of the interface.
    n_classes : int
        Number of classes.

    Raises
    ------
    LabelError
        In its methods: a label that is no class.
    TypeError, ValueError
        In its methods: arrays of unequal lengths.

    See Also
    --------
    HalfBinomialLoss : The same for two classes with one raw prediction.
    MultinomialFocalLoss : Focal loss of labels.
    cekernels.cross_entropy : The function.

    Notes
    -----
    All methods and attributes are those of ``sklearn._loss.HalfMultinomialLoss`` of the installed
    version.  So are the values, but for what scikit-learn loses in the tails: here they have the
    accuracy of the function.  Where labels or lengths are wrong, scikit-learn reads beyond its arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels.sklearn_losses import HalfMultinomialLoss
    >>> loss = HalfMultinomialLoss(n_classes=3)
    >>> y, raw = np.array([0.0, 2.0]), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> round(float(loss(y_true=y, raw_prediction=raw)), 4)
    0.5514
    """

    def __init__(self, sample_weight: Array | None = None, n_classes: int = 3) -> None:
        super().__init__(sample_weight=sample_weight, n_classes=n_classes)
        self.closs = MultinomialKernels()

    def predict_proba(self, raw_prediction: Array) -> Array:
        """Return the probabilities of the classes.

        Parameters
        ----------
        raw_prediction : ndarray
            Logits, of shape (n, C).

        Returns
        -------
        ndarray
            Of shape (n, C).
        """
        result: Array = special.softmax(raw_prediction, axis=1)
        return result


class MultinomialFocalLoss(HalfMultinomialLoss):
    r"""Focal loss of labels as a loss object of scikit-learn.

    .. math:: \ell = \varphi(-\log p_y), \qquad \varphi(l) = (1 - e^{-l})^\gamma\,l

    for the softmax p of raw predictions of shape (n, C), and label y in [0, C), of shape (n,).

    Parameters
    ----------
    sample_weight : ndarray, optional
        Not used: part of the interface.
    n_classes : int
        Number of classes.
    gamma : float
        In [0, 1000]: how fast the loss fades out where the prediction is right.

    Raises
    ------
    LabelError
        In its methods: a label that is no class.
    TypeError, ValueError
        A gamma out of range; in its methods, arrays of unequal lengths.

    See Also
    --------
    BinaryFocalLoss : The same for two classes with one raw prediction.
    cekernels.softmax_focal_loss : The function.

    Notes
    -----
    ``gradient_hessian`` gives the part of the Hessian's diagonal that is never negative, as
    `cekernels.objectives.Softmax` does.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar, Focal loss for dense object detection, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels.sklearn_losses import MultinomialFocalLoss
    >>> loss = MultinomialFocalLoss(n_classes=3, gamma=2.0)
    >>> y, raw = np.array([0.0, 2.0]), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> round(float(loss(y_true=y, raw_prediction=raw)), 4)
    0.0991
    """

    def __init__(
        self, sample_weight: Array | None = None, n_classes: int = 3, gamma: float = 2.0
    ) -> None:
        super().__init__(sample_weight, n_classes)
        self.closs = MultinomialKernels(gamma)


# What scikit-learn's loss objects are made of, by the names that its module looks up.
REPLACEMENTS: dict[str, type[Kernels]] = {
    "CyHalfBinomialLoss": BinomialKernels,
    "CyHalfMultinomialLoss": MultinomialKernels,
}

_lock = Lock()
_depth = 0
_originals: dict[str, Any] = {}


@contextmanager
def patched() -> Iterator[None]:
    """Let scikit-learn's own estimators compute with the kernels of this package, inside a block.

    Every ``HalfBinomialLoss`` and ``HalfMultinomialLoss`` that scikit-learn makes inside the block
    does: those of LogisticRegression (solvers lbfgs, newton-cg and newton-cholesky),
    GradientBoostingClassifier, HistGradientBoostingClassifier and of calibration.  Results are the
    same but for rounding, which may decide between splits of equal gain.

    Yields
    ------
    None
        Nothing: what changes is scikit-learn.

    Raises
    ------
    RuntimeError
        Where scikit-learn has not got what is to be replaced.

    See Also
    --------
    HalfBinomialLoss : For an estimator that takes a loss object.
    HalfMultinomialLoss : The same for several classes.

    Notes
    -----
    Blocks nest, and may overlap in several threads: the last that ends restores scikit-learn.  Until
    then the losses made in other threads compute with the kernels too.  Worker processes, as of joblib
    with ``n_jobs``, are not affected.  SGDClassifier and the solvers saga, sag and liblinear have
    compiled losses of their own.

    An estimator keeps the loss it was fitted with, so that it needs this package where it is
    unpickled.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from cekernels import sklearn_losses
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])
    >>> with sklearn_losses.patched():
    ...     model = LogisticRegression().fit(X, y)
    >>> model.predict(X)
    array([0, 0, 1, 1])
    """
    global _depth
    with _lock:
        if _depth == 0:
            _originals.update(_find_originals())
            for name, replacement in REPLACEMENTS.items():
                setattr(_theirs, name, replacement)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                for name, original in _originals.items():
                    setattr(_theirs, name, original)


def _find_originals() -> dict[str, Any]:
    missing = [name for name in REPLACEMENTS if not hasattr(_theirs, name)]
    if missing:
        raise RuntimeError(
            f"scikit-learn {sklearn.__version__} has no {' and no '.join(missing)} to replace"
        )
    return {name: getattr(_theirs, name) for name in REPLACEMENTS}
