"""neg_log_loss_scorer: against the loss of known logits, and in scikit-learn's model selection."""

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import cekernels as ck
from cekernels.metrics import neg_log_loss_scorer

# Of losses that two roads through float64 lead to.
RELATIVE = 1e-12

LOG_2 = 0.6931471805599453


def softmax(logits):
    return ck.special.softmax(logits, axis=1)


def model(classes, **predictions):
    """Return a fitted classifier with these predictions, whatever X is."""
    methods = {name: lambda _, value=value: np.array(value) for name, value in predictions.items()}
    return SimpleNamespace(classes_=np.array(classes), **methods)


def of_logits(classes, logits):
    logits = np.array(logits)
    columns = logits if logits.ndim == 2 else np.stack([np.zeros_like(logits), logits], axis=1)
    return model(classes, decision_function=logits, predict_proba=softmax(columns))


# What counts


def test_logits_are_not_clipped():
    estimator = of_logits([0, 1], [-800.0, 0.0])
    assert neg_log_loss_scorer(estimator, None, [1, 0]) == -(800.0 + LOG_2) / 2
    assert type(neg_log_loss_scorer(estimator, None, [1, 0])) is float
    estimator = of_logits([0, 1, 2], [[0.0, 0.0, 800.0], [0.0, 0.0, 800.0]])
    assert neg_log_loss_scorer(estimator, None, [0, 2]) == -400.0


def test_sample_weight():
    estimator = of_logits([0, 1], [-800.0, 0.0])
    assert neg_log_loss_scorer(estimator, None, [1, 0], sample_weight=[0, 3]) == -LOG_2


@pytest.mark.parametrize("classes", [["b", "a"], [7, -3], [1.0, 0.0], [True, False]])
def test_order_of_classes(classes):
    """A vector belongs to the second class, a column to the class in its place."""
    first, second = classes
    for logits in ([5.0, -1.0], [[-5.0, 0.0], [1.0, 0.0]]):
        estimator = of_logits(classes, logits)
        want = -(math.log1p(math.exp(-5.0)) + math.log1p(math.exp(-1.0))) / 2
        got = neg_log_loss_scorer(estimator, None, [second, first])
        assert got == pytest.approx(want, rel=RELATIVE)
        del estimator.decision_function
        got = neg_log_loss_scorer(estimator, None, [second, first])
        assert got == pytest.approx(want, rel=RELATIVE)


def test_predictions_are_made_once():
    calls = []
    estimator = of_logits([0, 1], [1.0, 2.0])
    for name, method in list(vars(estimator).items()):
        if name != "classes_":
            setattr(estimator, name, lambda X, m=method, n=name: calls.append(n) or m(X))
    estimator.predict_log_proba = None  # never called
    neg_log_loss_scorer(estimator, None, [0, 1])
    assert sorted(calls) == ["decision_function", "predict_proba"]


def test_a_class_may_be_missing_in_the_fold():
    estimator = of_logits(["a", "b", "c"], [[0.0, 0.0, 0.0]] * 2)
    assert neg_log_loss_scorer(estimator, None, ["c", "c"]) == pytest.approx(-math.log(3))


def test_scores_that_are_no_logits_do_not_count():
    proba = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]
    for scores in (np.log(proba) * 2, np.zeros((2, 3)), np.zeros((2, 6)), np.zeros(2)):
        estimator = model([0, 1, 2], predict_proba=proba, decision_function=scores)
        assert neg_log_loss_scorer(estimator, None, [0, 1]) == pytest.approx(-LOG_2, rel=RELATIVE)


def test_logarithms_of_probabilities():
    estimator = model([0, 1], predict_proba=[[1.0, 0.0]], predict_log_proba=[[-0.0, -745.0]])
    assert neg_log_loss_scorer(estimator, None, [1]) == -745.0


def test_logarithms_of_lost_probabilities():
    """Where the model has rounded a probability to 0, the score is that of scikit-learn."""
    estimator = model([0, 1], predict_proba=[[1.0, 0.0], [0.5, 0.5]])
    estimator.predict_log_proba = lambda _: np.log(estimator.predict_proba(None))
    with np.errstate(all="raise"):
        got = neg_log_loss_scorer(estimator, None, [1, 0])
    assert got == pytest.approx(-(36.04365338911715 + LOG_2) / 2, rel=RELATIVE)
    del estimator.predict_log_proba
    assert neg_log_loss_scorer(estimator, None, [1, 0]) == got


# Errors


def test_errors():
    estimator = of_logits([0, 1], [1.0, 2.0])
    with pytest.raises(ValueError, match="y has labels") as caught:
        neg_log_loss_scorer(estimator, None, [0, 5])
    assert str(caught.value) == (
        "y has labels that were not in the training data: [5]; the estimator's classes_ are "
        "[0, 1]. Stratified folds keep every class in each of them."
    )
    for y in (np.zeros((2, 2), int), [], 1):
        with pytest.raises(ValueError, match="y must be a vector of at least one label, got shape"):
            neg_log_loss_scorer(estimator, None, y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[2, 3\]"):
        neg_log_loss_scorer(estimator, None, [0, 1, 1])
    with pytest.raises(ValueError, match="Input contains NaN"):
        neg_log_loss_scorer(of_logits([0, 1], [math.nan, 2.0]), None, [0, 1])
    with pytest.raises(TypeError, match="predict_proba, which SimpleNamespace has not"):
        neg_log_loss_scorer(SimpleNamespace(classes_=[0, 1]), None, [0, 1])
    with pytest.raises(
        TypeError, match="estimator must be a fitted classifier, with classes_, got"
    ):
        neg_log_loss_scorer(SimpleNamespace(predict_proba=None), None, [0, 1])
    several = SimpleNamespace(classes_=[np.arange(2), np.arange(2)], predict_proba=None)
    with pytest.raises(TypeError, match="estimator must have one output, but its classes_ are"):
        neg_log_loss_scorer(several, None, [0, 1])


def test_pickle():
    for scorer in (neg_log_loss_scorer, neg_log_loss_scorer.set_score_request(sample_weight=True)):
        copy = pickle.loads(pickle.dumps(scorer))
        assert copy == scorer
        assert copy(of_logits([0, 1], [-800.0]), None, [1]) == -800.0


# scikit-learn


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn")


@pytest.fixture
def iris(sklearn):  # noqa: ARG001
    from sklearn.datasets import load_iris

    return load_iris(return_X_y=True)


def test_estimators(iris):
    """The score is that of scikit-learn where nothing is clipped, and of the logits where it is."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.metrics import get_scorer
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = iris
    theirs = get_scorer("neg_log_loss")
    for estimator in (
        make_pipeline(StandardScaler(), LogisticRegression()),
        LinearDiscriminantAnalysis(),
        GaussianNB(),
        RandomForestClassifier(5, random_state=0),
        SGDClassifier(loss="log_loss", random_state=0, alpha=0.1),  # one against the rest
    ):
        for labels in (y, np.array(["x", "yy", "z"])[y], y == 1):
            fitted = estimator.fit(X, labels)
            got = neg_log_loss_scorer(fitted, X, labels)
            assert got == pytest.approx(theirs(fitted, X, labels), rel=1e-9)
    fitted = LogisticRegression(max_iter=1000).fit(X, y)
    fitted.coef_ *= 100.0
    logits = fitted.decision_function(X)
    assert neg_log_loss_scorer(fitted, X, y) == -ck.cross_entropy(logits, y)
    assert -ck.cross_entropy(logits, y) < theirs(fitted, X, y)


def test_model_selection(iris):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate

    X, y = iris
    model = LogisticRegression(max_iter=1000, tol=1e-2)
    got = cross_val_score(model, X, y, cv=3, scoring=neg_log_loss_scorer)
    np.testing.assert_allclose(got, cross_val_score(model, X, y, cv=3, scoring="neg_log_loss"))
    search = GridSearchCV(model, {"C": [0.1, 1.0]}, cv=2, scoring=neg_log_loss_scorer).fit(X, y)
    assert search.score(X, y) == neg_log_loss_scorer(search, X, y)
    both = cross_validate(model, X, y, cv=2, scoring={"a": neg_log_loss_scorer, "b": "accuracy"})
    assert both["test_a"].shape == (2,)


def test_unseen_labels(iris):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_score

    with pytest.raises(ValueError, match=r"not in the training data: \[0\]"):
        cross_val_score(
            LogisticRegression(max_iter=1000, tol=1e-2),
            *iris,
            cv=KFold(3),
            scoring=neg_log_loss_scorer,
            error_score="raise",
        )


def test_metadata_routing(iris):
    from sklearn import config_context
    from sklearn.exceptions import UnsetMetadataPassedError
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, KFold, cross_validate

    X, y = (array[:100] for array in iris)
    weight = np.where(np.arange(100) % 2, 5.0, 0.0)
    folds = KFold(2, shuffle=True, random_state=0)
    with config_context(enable_metadata_routing=True):
        model = LogisticRegression(tol=1e-2).set_fit_request(sample_weight=False)
        weighted = neg_log_loss_scorer.set_score_request(sample_weight=True)
        options = {"cv": folds, "params": {"sample_weight": weight}}
        got = cross_validate(
            model, X, y, scoring=weighted, return_estimator=True, return_indices=True, **options
        )
        for fitted, rows, score in zip(
            got["estimator"], got["indices"]["test"], got["test_score"], strict=True
        ):
            assert score == neg_log_loss_scorer(fitted, X[rows], y[rows], weight[rows])
            assert score != neg_log_loss_scorer(fitted, X[rows], y[rows])
        renamed = neg_log_loss_scorer.set_score_request(sample_weight="w")
        search = GridSearchCV(model, {"C": [1.0]}, cv=folds, scoring=renamed).fit(X, y, w=weight)
        assert search.best_score_ == np.mean(got["test_score"])
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            cross_validate(model, X, y, scoring=neg_log_loss_scorer, **options)
        ignoring = neg_log_loss_scorer.set_score_request(sample_weight=False)
        model.set_fit_request(sample_weight=True)
        cross_validate(model, X, y, scoring=ignoring, error_score="raise", **options)
    assert neg_log_loss_scorer.sample_weight_request is None
