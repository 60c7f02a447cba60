"""Scorers: what scikit-learn's model selection takes as `scoring`."""

import importlib
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cekernels import special
from cekernels._labels import distinct
from cekernels._validation import Array
from cekernels.metrics._log_loss import log_loss

__all__ = ["neg_log_loss_scorer"]

# How far the softmax of decision_function may be from predict_proba. Scores that are no logits are
# off in the first digits; models in float32 in the seventh.
AGREEMENT = 1e-5


@dataclass(frozen=True)
class NegLogLossScorer:
    """Negative log loss of a fitted classifier, from its logits where it has them.

    ``neg_log_loss_scorer(estimator, X, y, sample_weight=None)`` is a scorer: give it to
    ``cross_val_score`` or ``GridSearchCV`` as `scoring`. Scikit-learn's "neg_log_loss" clips
    probabilities, so that no sample costs more than 36.04, however wrong and however sure the
    model is, and models that are all but certain look alike. Logits tell them apart.

    Parameters
    ----------
    estimator : classifier
        Fitted, with ``classes_`` and ``predict_proba``.
    X : array-like of shape (n_samples, n_features)
        What the estimator predicts from.
    y : array-like of shape (n_samples,)
        True labels, all among ``estimator.classes_``.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the samples. For ``cross_val_score`` and ``GridSearchCV`` to pass them on, with
        scikit-learn's metadata routing switched on, give them
        ``neg_log_loss_scorer.set_score_request(sample_weight=True)``.

    Returns
    -------
    float
        Minus the mean loss: greater is better.

    Raises
    ------
    TypeError
        If the estimator is no fitted classifier with probabilities.
    ValueError
        If `y` has a label that the estimator has not seen in training; or as `log_loss`.

    See Also
    --------
    log_loss : The loss, of arrays.

    Notes
    -----
    Values of ``decision_function`` are taken for logits where their softmax (of a vector, the
    logistic function) is ``predict_proba`` to 1e-5 for every sample: so they are for logistic
    regression, discriminant analysis and boosted trees, but not for support vector machines or
    one-vs-rest classifiers. Else ``predict_log_proba`` counts; where that has lost a true label to
    -inf, or is missing, so do the clipped probabilities, as in scikit-learn. The check costs one
    more prediction.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from cekernels.metrics import neg_log_loss_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=1000)
    >>> scores = cross_val_score(model, X, y, scoring=neg_log_loss_scorer)
    >>> round(float(scores.mean()), 3)
    -0.14
    """

    sample_weight_request: bool | str | None = None

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return minus the mean loss."""
        classes = _Classes.of(estimator)
        options: dict[str, Any] = {
            "sample_weight": sample_weight,
            "labels": np.arange(len(classes.values)),
        }
        index = classes.encode(y)
        proba = np.asarray(estimator.predict_proba(X))
        for scores_of in (_logits, _log_proba):
            scores = scores_of(estimator, X, proba)
            if scores is not None:
                loss = log_loss(index, classes.sort(scores), from_logits=True, **options)
                if loss < math.inf:
                    return -loss
        return -log_loss(index, classes.sort(proba), **options)

    def set_score_request(self, *, sample_weight: bool | str | None) -> "NegLogLossScorer":
        """Return a scorer that asks metadata routing for weights, or for what goes by this name."""
        return replace(self, sample_weight_request=sample_weight)

    def get_metadata_routing(self) -> Any:
        """Return what scikit-learn's metadata routing asks for; nobody else calls this."""
        routing = importlib.import_module("sklearn.utils.metadata_routing")
        request = routing.MetadataRequest(owner=self)
        request.score.add_request(param="sample_weight", alias=self.sample_weight_request)
        return request


neg_log_loss_scorer = NegLogLossScorer()


class _Classes(NamedTuple):
    """The classes of an estimator, sorted, and where they are among its columns."""

    values: Array
    order: Array

    @classmethod
    def of(cls, estimator: Any) -> "_Classes":
        """Raise a TypeError where there is no single array of classes, or no probability."""
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(
                f"estimator must have predict_proba, which {type(estimator).__name__} has not"
            )
        if not hasattr(estimator, "classes_"):
            raise TypeError(
                f"estimator must be a fitted classifier, with classes_, got {estimator!r}"
            )
        if isinstance(estimator.classes_, list) or np.ndim(estimator.classes_) != 1:
            raise TypeError("estimator must have one output, but its classes_ are several arrays")
        classes = np.asarray(estimator.classes_)
        order = np.argsort(classes)
        return cls(classes[order], order)

    def encode(self, y: ArrayLike) -> Array:
        """Return labels as positions among the classes."""
        labels = np.asarray(y)
        if labels.ndim != 1 or not labels.size:
            raise ValueError(f"y must be a vector of at least one label, got shape {labels.shape}")
        found, index = distinct(labels)
        unseen = found[~np.isin(found, self.values)]
        if unseen.size:
            raise ValueError(
                f"y has labels that were not in the training data: {unseen.tolist()}; the "
                f"estimator's classes_ are {self.values.tolist()}. Stratified folds keep every "
                "class in each of them."
            )
        return np.searchsorted(self.values, found)[index]

    def sort(self, scores: Array) -> Array:
        """Return scores in the order of the classes; those of a vector belong to the second."""
        if scores.ndim == 1:
            return scores if self.order[0] == 0 else -scores
        return scores[:, self.order]


def _logits(estimator: Any, X: Any, proba: Array) -> Array | None:
    """Return the values of decision_function if they are the logits of the probabilities."""
    if not hasattr(estimator, "decision_function"):
        return None
    scores = np.asarray(estimator.decision_function(X))
    if scores.ndim == 1 and proba.shape == (len(scores), 2):
        is_same = np.allclose(special.expit(scores), proba[:, 1], rtol=0.0, atol=AGREEMENT)
    else:
        is_same = scores.shape == proba.shape and np.allclose(
            special.softmax(scores, axis=1), proba, rtol=0.0, atol=AGREEMENT
        )
    return scores if is_same else None


def _log_proba(estimator: Any, X: Any, proba: Array) -> Array | None:  # noqa: ARG001
    """Return the logarithms of the probabilities, if the estimator has them."""
    if not hasattr(estimator, "predict_log_proba"):
        return None
    with np.errstate(divide="ignore"):  # the logarithm of 0
        return np.asarray(estimator.predict_log_proba(X))
