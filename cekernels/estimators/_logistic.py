"""Logistic regression."""

# mypy: disable-error-code="import-untyped,untyped-decorator"
# mypy: disallow-subclassing-any=False

import warnings
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from cekernels import special
from cekernels._validation import Array
from cekernels.estimators import _stream
from cekernels.estimators._objective import Prior, flat, rows_of
from cekernels.estimators._problem import DTYPES, Problem, check_problem
from cekernels.estimators._solvers import Solution, solve

SOLVERS = {"auto", "lbfgs", "newton-cg", "newton-cholesky"}


class LogisticRegression(ClassifierMixin, BaseEstimator):
    r"""Logistic regression, binary, multinomial and of many labels at once.

    Minimises

    .. math::

        \frac{1}{2} \|W\|^2 + C \sum_i \omega_i\, \ell(W x_i + b, y_i)

    over coefficients W and intercepts b, with the loss of `cekernels.cross_entropy`, of a single
    logit for two classes, and the weights :math:`\omega` of samples and classes.  Parameters and
    attributes are those of ``sklearn.linear_model.LogisticRegression``, for L2 penalties and for
    none; so is the minimum.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty; inf for none.
    tol : float
        The fit ends when no element of the gradient of the objective, divided by C and the sum of
        the weights, is larger.
    fit_intercept : bool
        Whether the model has intercepts; they are not penalised.
    class_weight : dict or "balanced", optional
        Weights of classes, 1 for those that a dict does not name.  "balanced" makes all classes
        equally heavy.  Not for ``targets="multilabel"``.
    label_smoothing : float
        In [0, 1]: moves the targets towards the uniform distribution over the classes.
    targets : {"labels", "proba", "multilabel"}
        What y is: a class for each sample; a row of probabilities of the classes for each sample;
        or a row of 0 and 1, or probabilities, for labels that exclude nothing, which makes an
        independent binary problem of each column.
    solver : {"auto", "lbfgs", "newton-cg", "newton-cholesky"}
        Method of the fit; see Notes.
    max_iter : int
        Limit of the solver's iterations.
    random_state : int or RandomState, optional
        Not used, for nothing is random.
    verbose : int
        Print the progress if it is positive.
    warm_start : bool
        Start from the last solution.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for the losses of this model.  Products of matrices have
        the threads of BLAS.
    pass_weight : float, optional
        For `partial_fit`: the sum of the weights of one pass over the data, if there will be
        several passes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes; column numbers where y has columns.
    coef_ : ndarray of shape (1, n_features), (n_classes, n_features) or (n_labels, n_features)
        Coefficients, a single row for two classes, in the dtype of X.
    intercept_ : ndarray of shape (1,), (n_classes,) or (n_labels,)
        Intercepts, 0 if none are fitted.
    n_iter_ : ndarray of shape (1,) or (n_labels,)
        Iterations of the solver.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where they are strings.

    See Also
    --------
    TemperatureScaling : Calibrates a classifier.
    cekernels.linear_cross_entropy : The loss, as a function.

    Notes
    -----
    Every solver ends in the same minimum.  "newton-cholesky" makes the Hessian of all parameters in
    every iteration, which pays for few of them and for few samples.  "lbfgs" and "newton-cg" use
    SciPy's methods in variables in which the objective is nearly round: the Cholesky factors of
    the Hessian's diagonal blocks, one a class, or their mean where they are large, taken from some
    of the samples; beyond 1024 features, of its diagonal.  With many samples they start from the
    model of some of them.  Where the matrices cost more than a few iterations, "lbfgs" takes the
    diagonal first, and the matrices once it expects as many iterations more as they cost.
    "auto" is "newton-cholesky" for small problems, else "lbfgs".

    float32 data are not converted, and X is not copied.  Sparse X is converted to CSR.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from cekernels.estimators import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> model.predict_proba(X[:2]).round(2)
    array([[0.98, 0.02, 0.  ],
           [0.97, 0.03, 0.  ]])
    >>> round(model.score(X, y), 2)
    0.97

    Soft targets, where the labels are not certain:

    >>> import numpy as np
    >>> certainty = np.full((150, 3), 0.05)
    >>> certainty[np.arange(150), y] = 0.9
    >>> model = LogisticRegression(targets="proba").fit(X, certainty)
    >>> model.predict_proba(X[:1]).round(2)
    array([[0.89, 0.1 , 0.  ]])
    """

    __module__ = "cekernels.estimators"

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012  # as scikit-learn reads it
        "C": [Interval(Real, 0, None, closed="right")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="both")],
        "targets": [StrOptions({"labels", "proba", "multilabel"})],
        "solver": [StrOptions(SOLVERS)],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "n_threads": [Integral, None],
        "pass_weight": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        *,
        C: float = 1.0,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        class_weight: Any = None,
        label_smoothing: float = 0.0,
        targets: Literal["labels", "proba", "multilabel"] = "labels",
        solver: Literal["auto", "lbfgs", "newton-cg", "newton-cholesky"] = "auto",
        max_iter: int = 100,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        n_threads: int | None = None,
        pass_weight: float | None = None,
    ) -> None:
        self.C = C
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.targets = targets
        self.solver = solver
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_threads = n_threads
        self.pass_weight = pass_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            What `targets` says.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples, 1 by default.

        Returns
        -------
        LogisticRegression
            The model itself.

        Raises
        ------
        TypeError, ValueError
            A parameter or an array of the wrong type, shape or value; targets that are not what
            `targets` says.

        Warns
        -----
        ConvergenceWarning
            After `max_iter` iterations, an element of the gradient larger than `tol`.
        """
        problem = check_problem(self, X, y, sample_weight)
        starts = self._starts(problem) if self.warm_start and hasattr(self, "coef_") else None
        solutions = [
            solve(
                data,
                Prior(1.0 / (self.C * data.weight)),
                None if starts is None else starts[i],
                solver=self.solver,
                tol=self.tol,
                max_iter=self.max_iter,
                report=self._report,
            )
            for i, data in enumerate(problem.parts)
        ]
        self._streams: list[_stream.Stream] = []
        self._keep(problem, [solution.w for solution in solutions])
        self.n_iter_ = np.array([solution.n_iter for solution in solutions], np.int32)
        self._warn(max(solutions, key=lambda solution: solution.gradient))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        r"""Update the model with a batch of samples, which may then be forgotten.

        What the batches before have told about the parameters is kept as a normal distribution, with
        the precision matrix P around the last parameters.  The new parameters minimise

        .. math::

            \sum_i \omega_i\, \ell(W x_i + b, y_i)
            + \tfrac{1}{2} (\theta - \theta_\mathrm{old})^T P\, (\theta - \theta_\mathrm{old})

        over :math:`\theta = (W, b)`, and the Hessian of this is the next P.  It starts from the
        penalty, 1/C.  After a pass over the data the model is close to that of `fit` on all of them.
        For more passes, `pass_weight` tells the weight of one: the penalty then grows with the
        samples seen, so that the model approaches that of `fit`, with an error that falls as one
        over the number of passes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            What `targets` says.
        classes : array-like of shape (n_classes,), optional
            All classes that will come; needed in the first call of an unfitted model, with
            labels.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples, 1 by default.

        Returns
        -------
        LogisticRegression
            The model itself.

        Raises
        ------
        TypeError, ValueError
            As `fit`; also for a first call without classes, for other classes in a later one, for
            balanced classes, and for a model without a penalty.

        Notes
        -----
        P is a matrix up to 4096 parameters, and a diagonal beyond: then one pass is less close to
        `fit`, and more passes approach it more slowly.  Intercepts start with a precision of 0.01,
        since a batch may be of one class; but what such a batch teaches is soon unlearnt, so batches
        should be mixed.  `fit` ends the stream, and a call after it starts a new one, of the same
        classes unless others are given.

        References
        ----------
        D. J. Spiegelhalter, S. L. Lauritzen, Sequential updating of conditional probabilities on
        directed graphical structures, 1990.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from cekernels.estimators import LogisticRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> model = LogisticRegression()
        >>> for batch in np.random.default_rng(0).permutation(150).reshape(5, 30):
        ...     model = model.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
        >>> round(model.score(X, y), 2)
        0.97
        """
        if self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' needs all data: give weights in a dict")
        if np.isinf(self.C):
            raise ValueError("partial_fit needs a finite C, got inf")
        streams: list[_stream.Stream] = getattr(self, "_streams", [])
        known: Any = getattr(self, "classes_", None) if classes is None else np.unique(classes)
        if known is None and self.targets == "labels":
            raise ValueError("classes must be passed on the first call to partial_fit.")
        problem = check_problem(self, X, y, sample_weight, known, reset=not streams)
        if not streams:
            streams = [_stream.start(data, self.C) for data in problem.parts]
        elif not np.array_equal(problem.classes, self.classes_):
            raise ValueError(
                f"classes are {problem.classes}, but were {self.classes_} in the first call"
            )
        self._streams = [
            _stream.update(
                stream, data, self.C, self.pass_weight, self.tol, self.max_iter, self._report
            )
            for stream, data in zip(streams, problem.parts, strict=True)
        ]
        self._keep(problem, [stream.w for stream in self._streams])
        self.n_iter_ = np.array([stream.n_iter for stream in self._streams], np.int32)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the logits.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Of two classes those of ``classes_[1]``.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, accept_sparse="csr", dtype=DTYPES, reset=False)
        logits: Array = np.asarray(rows @ self.coef_.T) + self.intercept_
        is_binary = self.targets != "multilabel" and logits.shape[1] == 1
        return logits[:, 0] if is_binary else logits

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Classes; or 1 for each label of a probability over 1/2, else 0.
        """
        logits = self.decision_function(X)
        if self.targets == "multilabel":
            return (logits > 0.0).astype(np.int64)
        index = logits.argmax(axis=1) if logits.ndim == 2 else (logits > 0.0).astype(np.intp)
        return np.asarray(self.classes_[index])

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Those of the classes, or of each label.
        """
        return self._transformed(X, special.expit, special.softmax)

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return logarithms of probabilities, exact also where these are 0 or 1 when rounded.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Those of the classes, or of each label.
        """
        return self._transformed(X, special.log_expit, special.log_softmax)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: Any = None) -> float:
        """Return the accuracy.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            What `targets` says.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the samples, 1 by default.

        Returns
        -------
        float
            The share of samples whose predictions are right, all labels of them; with
            ``targets="proba"`` the mean probability of the predicted classes.
        """
        if self.targets != "proba":
            return float(super().score(X, y, sample_weight))
        proba, predicted = np.asarray(y), self.predict(X)
        return float(np.average(proba[np.arange(len(proba)), predicted], weights=sample_weight))

    def _transformed(self, X: ArrayLike, of_label: Any, of_classes: Any) -> Array:
        """Return a function of the log-odds of each label, or of the logits of all classes."""
        logits = self.decision_function(X)
        if self.targets == "multilabel":
            return np.asarray(of_label(logits, n_threads=self.n_threads))
        if logits.ndim == 2:
            return np.asarray(of_classes(logits, axis=1, n_threads=self.n_threads))
        pair = np.empty((len(logits), 2), logits.dtype)
        np.negative(logits, out=pair[:, 0])
        pair[:, 1] = logits
        return np.asarray(of_label(pair, out=pair, n_threads=self.n_threads))

    def _starts(self, problem: Problem) -> list[Array]:
        """Return the last solution as flat parameters of each problem."""
        n_outputs, n = problem.parts[0].shape
        rows = self.coef_
        if self.fit_intercept:
            rows = np.column_stack([rows, self.intercept_])
        if rows.shape != (n_outputs * len(problem.parts), n):
            raise ValueError(
                f"warm_start from coef_ of shape {self.coef_.shape} needs data of as many features "
                f"and classes, got {problem.parts[0].X.shape[1]} features and "
                f"{len(problem.classes)} classes"
            )
        parts = np.split(rows.astype(np.float64), len(problem.parts))
        return [flat(part, self.fit_intercept) for part in parts]

    def _keep(self, problem: Problem, parameters: list[Array]) -> None:
        """Set the attributes of a fitted model."""
        shape, dtype = problem.parts[0].shape, problem.parts[0].X.dtype
        rows = np.concatenate([rows_of(w, shape, self.fit_intercept) for w in parameters])
        n_features = problem.parts[0].X.shape[1]
        self.classes_ = problem.classes
        self.coef_ = rows[:, :n_features].astype(dtype)
        self.intercept_ = (
            rows[:, n_features].astype(dtype) if self.fit_intercept else np.zeros(len(rows), dtype)
        )

    def _report(self, n_iter: int, value: float, gradient: float) -> None:
        if self.verbose > 0:
            print(f"iteration {n_iter}: objective {value:.10g}, largest gradient {gradient:.3g}")

    def _warn(self, worst: Solution) -> None:
        if worst.gradient <= self.tol or worst.is_exact:
            return
        warnings.warn(
            f"{self.max_iter} iterations left a gradient with an element of "
            f"{worst.gradient:.2g}, more than tol={self.tol:.2g}: raise max_iter, or scale X",
            ConvergenceWarning,
            stacklevel=2,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = self.targets == "multilabel"
        if self.targets != "labels":
            tags.target_tags.multi_output = True
            tags.target_tags.single_output = False
        return tags
