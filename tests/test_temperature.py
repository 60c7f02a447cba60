"""Temperature scaling: literal values, scikit-learn's temperatures, and their bounds."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression as Peer
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

import cekernels
from cekernels.estimators import (
    LogisticRegression,
    TemperatureScaling,
)

LOG_3 = 1.0986122886681098


def data(name, n=None):
    """Return a data set of scikit-learn with standardised features."""
    load = {"iris": load_iris, "cancer": load_breast_cancer, "digits": load_digits}[name]
    X, y = load(return_X_y=True)
    X = X[:, X.std(axis=0) > 0.0]
    return ((X - X.mean(axis=0)) / X.std(axis=0))[:n], y[:n]


# Literal values


def test_temperature_of_two_logits():
    # Labels follow odds of 3 to 1 where the margin is 2 log 3.
    class Margin(TemperatureScaling):
        pass

    X = np.full((8, 1), 2.0 * LOG_3)
    X[:4] *= -1.0
    y = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    base = Peer().fit(X, X[:, 0] > 0)
    base.classes_, base.coef_, base.intercept_ = np.array([0, 1]), np.ones((1, 1)), np.zeros(1)
    model = TemperatureScaling(FrozenEstimator(base)).fit(X, y)
    assert model.temperature_ == pytest.approx(2.0, rel=1e-9)
    np.testing.assert_allclose(model.predict_proba(X[4:5]), [[0.25, 0.75]], rtol=1e-9)


# The minimum of scikit-learn


def test_temperature_is_that_of_scikit_learn():
    X, y = data("digits")
    base = GaussianNB(var_smoothing=1e-2).fit(X[:600], y[:600])
    model = TemperatureScaling(FrozenEstimator(base)).fit(X[600:1200], y[600:1200])
    logits = base.predict_log_proba(X[600:1200])
    losses = [
        cekernels.cross_entropy(logits, y[600:1200], logit_scale=factor / model.temperature_)
        for factor in (0.999, 1.0, 1.001)
    ]
    assert losses[1] < min(losses[0], losses[2])
    np.testing.assert_allclose(
        model.predict_log_proba(X[1200:]), np.log(model.predict_proba(X[1200:])), atol=1e-9
    )
    np.testing.assert_array_equal(model.predict(X[1200:]), base.predict(X[1200:]))


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8), reason="no temperature scaling"
)
def test_temperature_of_a_decision_function():
    X, y = data("iris")
    base = FrozenEstimator(Peer(C=100.0).fit(X[::2], y[::2]))
    ours = TemperatureScaling(base).fit(X[1::2], y[1::2])
    theirs = CalibratedClassifierCV(base, method="temperature").fit(X[1::2], y[1::2])
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-6)


def test_temperature_of_held_out_predictions():
    X, y = data("cancer")
    model = TemperatureScaling(LogisticRegression(C=1000.0), cv=3).fit(X, y)
    assert model.temperature_ > 1.5
    assert model.estimator_.score(X, y) == model.score(X, y)
    assert model.decision_function(X).shape == y.shape


def test_temperature_without_decision_function():
    X, y = data("iris")
    neighbours = FrozenEstimator(KNeighborsClassifier(5).fit(X[::2], y[::2]))
    model = TemperatureScaling(neighbours).fit(X[1::2], y[1::2])
    assert np.isfinite(model.predict_log_proba(X)).all()
    assert model.predict_proba(X).shape == (150, 3)


@pytest.mark.parametrize("flip", [False, True])
def test_temperature_has_bounds(flip):
    X = np.linspace(-1.0, 1.0, 20)[:, np.newaxis]
    y = (X[:, 0] > 0.0).astype(int)
    base = FrozenEstimator(LogisticRegression().fit(X, y))
    model = TemperatureScaling(base).fit(X, 1 - y if flip else y)
    if flip:
        assert model.temperature_ == pytest.approx(np.exp(10.0), rel=1e-9)
    else:
        assert np.exp(-10.0) <= model.temperature_ < 0.01
