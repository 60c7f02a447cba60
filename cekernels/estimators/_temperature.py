"""Temperature scaling."""

# mypy: disable-error-code="import-untyped,untyped-decorator"
# mypy: disallow-subclassing-any=False

import inspect
import math
from itertools import count
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, indexable

from cekernels import special
from cekernels._validation import Array
from cekernels.estimators._logistic import LogisticRegression
from cekernels.estimators._targets import encode_labels
from cekernels.losses import cross_entropy

METHODS = ("decision_function", "predict_log_proba", "predict_proba")
# Bounds of the logarithm of the temperature.
MIN_LOG, MAX_LOG = -10.0, 10.0


class TemperatureScaling(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    r"""A classifier whose logits are divided by a temperature that is fitted on held-out data.

    .. math:: p_c = \mathrm{softmax}(z / T)_c, \qquad T = \arg\min_T \sum_i \omega_i\, \ell(z_i / T, y_i)

    for the logits z of the classifier and the loss of `cekernels.cross_entropy`.  The most probable
    class stays as it is.

    Parameters
    ----------
    estimator : classifier, optional
        Has ``decision_function``, ``predict_log_proba`` or ``predict_proba``; the first of them is
        used.  Of two classes, a decision function is the logit of the second one.  A
        ``sklearn.frozen.FrozenEstimator`` is used as it is, and y in `fit` then calibrates only.
        `LogisticRegression` by default.
    cv : int, splitter or iterable, optional
        How the data are split, as in ``sklearn.model_selection.cross_val_predict``: the temperature
        is that of predictions of samples that were not fitted.  The classifier is then fitted to
        all data.  Not used with a frozen one.
    n_jobs : int, optional
        Splits that are fitted at once.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for the losses.

    Attributes
    ----------
    temperature_ : float
        T, within exp(-10) and exp(10).
    estimator_ : classifier
        The fitted classifier.
    classes_ : ndarray of shape (n_classes,)
        The classes.
    n_features_in_ : int
        Number of features, where the classifier knows it.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where the classifier knows them.

    See Also
    --------
    cekernels.cross_entropy : Has the derivatives by the scale of logits.

    Notes
    -----
    The loss is convex in 1 / T, and its derivatives by it come from the pass that makes the loss:
    Newton's method finds the minimum in a few passes, and bisection takes over where it is slow or
    would leave the interval in which the minimum is known to be.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On Calibration of Modern Neural Networks, ICML
    2017, https://arxiv.org/abs/1706.04599.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from cekernels import log_loss
    >>> from cekernels.estimators import TemperatureScaling
    >>> X, y = load_digits(return_X_y=True)
    >>> model = TemperatureScaling(GaussianNB(var_smoothing=1e-3)).fit(X[:900], y[:900])
    >>> round(model.temperature_)
    27
    >>> round(log_loss(y[900:], model.estimator_.predict_proba(X[900:])), 1)
    3.2
    >>> round(log_loss(y[900:], model.predict_proba(X[900:])), 1)
    0.9
    """

    __module__ = "cekernels.estimators"

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  # as scikit-learn reads it
        "estimator": [*(HasMethods(["fit", method]) for method in METHODS), None],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
        "n_threads": [Integral, None],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        cv: Any = None,
        n_jobs: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.n_jobs = n_jobs
        self.n_threads = n_threads

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Fit the classifier, unless it is frozen, and the temperature.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Classes.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples, for the classifier, if it takes them, and for the temperature.
        **fit_params : dict
            For the classifier's ``fit``.

        Returns
        -------
        TemperatureScaling
            The model itself.

        Raises
        ------
        TypeError, ValueError
            A parameter or an array of the wrong type, shape or value; a label that a frozen classifier
            does not know; logits that are NaN; what the classifier raises.
        """
        X, y = indexable(X, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        params = self._routed(sample_weight, fit_params)
        estimator = self._estimator()
        if isinstance(estimator, FrozenEstimator):
            self.estimator_ = estimator
            scores = _scores(estimator, X)
        else:
            method = _method(estimator)
            cv = check_cv(self.cv, y, classifier=True)
            scores = cross_val_predict(
                estimator, X, y, cv=cv, method=method, n_jobs=self.n_jobs, params=params
            )
            self.estimator_ = clone(estimator).fit(X, y, **params)
            scores = _as_logits(scores, method)
        self.classes_ = self.estimator_.classes_
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        weight = sample_weight
        if weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=scores.dtype)
        _, labels = encode_labels(y, self.classes_)
        self.temperature_ = _temperature(_both(scores), labels, weight, self.n_threads)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the calibrated logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Those of the classifier over the temperature; of two classes that of the second one.
        """
        check_is_fitted(self)
        return _scores(self.estimator_, X) / self.temperature_

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            Classes.
        """
        logits = _both(self.decision_function(X))
        return np.asarray(self.classes_[logits.argmax(axis=1)])

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities of the classes.
        """
        logits = _both(self.decision_function(X))
        return np.asarray(special.softmax(logits, axis=1, n_threads=self.n_threads))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return logarithms of calibrated probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms of the probabilities of the classes.
        """
        logits = _both(self.decision_function(X))
        return np.asarray(special.log_softmax(logits, axis=1, n_threads=self.n_threads))

    def get_metadata_routing(self) -> Any:
        """Return how metadata reach the classifier.

        Returns
        -------
        MetadataRouter
            As scikit-learn defines it.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(estimator=self._estimator(), method_mapping=mapping)

    def _estimator(self) -> Any:
        if self.estimator is not None:
            return self.estimator
        estimator = LogisticRegression()
        if get_config()["enable_metadata_routing"]:
            estimator.set_fit_request(sample_weight=True)
        return estimator

    def _routed(self, sample_weight: ArrayLike | None, fit_params: dict[str, Any]) -> Any:
        """Return what the classifier's fit is given."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", sample_weight=sample_weight, **fit_params)
            return dict(routed.estimator.fit)
        takes_weight = "sample_weight" in inspect.signature(self._estimator().fit).parameters
        if sample_weight is None or not takes_weight:
            return fit_params
        return {**fit_params, "sample_weight": sample_weight}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self._estimator()).input_tags.sparse
        return tags


def _method(estimator: Any) -> str:
    return next(name for name in METHODS if hasattr(estimator, name))


def _scores(estimator: Any, X: ArrayLike) -> Array:
    """Return the logits of a fitted classifier; of two classes that of the second one."""
    method = _method(estimator)
    return _as_logits(getattr(estimator, method)(X), method)


def _as_logits(values: ArrayLike, method: str) -> Array:
    """Return what a method has returned as logits, in float32 or float64."""
    scores = np.asarray(values)
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if method == "decision_function":
        return scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 1 else scores
    if method == "predict_proba":
        with np.errstate(divide="ignore"):
            scores = np.log(scores)
    # A probability of 0 was rounded, and no scale of -inf would fit a label there.
    is_finite = np.isfinite(scores)
    least = scores.min(axis=1, initial=np.log(np.finfo(scores.dtype).tiny), where=is_finite)
    scores = np.where(is_finite, scores, least[:, np.newaxis])
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


def _both(scores: Array) -> Array:
    """Return logits of all classes."""
    if scores.ndim == 2:
        return scores
    return np.column_stack([np.zeros_like(scores), scores])


def _temperature(
    logits: Array, labels: Array, sample_weight: Array | None, n_threads: int | None
) -> float:
    """Return the temperature of the least loss."""
    low, high, log = MIN_LOG, MAX_LOG, 0.0
    for n_passes in count(1):
        scale = math.exp(log)
        loss, (slope, curvature) = cross_entropy(
            logits,
            labels,
            logit_scale=scale,
            sample_weight=sample_weight,
            return_scale_grad=True,
            n_threads=n_threads,
        )
        if math.isnan(loss):
            raise ValueError("the classifier must have logits that are not NaN")
        low, high = (low, log) if slope > 0.0 else (log, high)
        newton = scale - slope / curvature if curvature > 0.0 else 0.0
        step = math.log(newton) if newton > 0.0 else math.inf
        is_slow = n_passes % 4 == 0 and abs(step - log) > 0.01
        following = step if low < step < high and not is_slow else 0.5 * (low + high)
        if abs(following - log) <= 1e-12 or high - low <= 1e-12:
            break
        log = following
    return math.exp(-following)
