"""Estimators: the conventions of scikit-learn."""

import pickle
import subprocess
import sys
from unittest import SkipTest

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from cekernels.estimators import (
    LogisticRegression,
    TemperatureScaling,
    _solvers,
)


def data(name, n=None):
    """Return a data set of scikit-learn with standardised features."""
    load = {"iris": load_iris, "cancer": load_breast_cancer, "digits": load_digits}[name]
    X, y = load(return_X_y=True)
    X = X[:, X.std(axis=0) > 0.0]
    return ((X - X.mean(axis=0)) / X.std(axis=0))[:n], y[:n]


def checks(slow):
    """Return scikit-learn's checks of the estimators; those that fit often are slow."""
    result = []
    for estimator in (LogisticRegression(), TemperatureScaling()):
        for checked, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            is_slow = isinstance(estimator, TemperatureScaling) or "equivalence" in name
            if is_slow is slow:
                options = "-".join(map(str, getattr(check, "keywords", {}).values()))
                label = f"{type(estimator).__name__}-{name}-{options}"
                result.append(pytest.param(checked, check, id=label))
    return result


def run(estimator, check):
    try:
        check(estimator)
    except SkipTest as skipped:
        pytest.skip(str(skipped))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), checks(slow=False))
def test_conventions(estimator, check):
    run(estimator, check)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), checks(slow=True))
def test_conventions_of_many_fits(estimator, check):
    run(estimator, check)


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_search_in_a_pipeline(backend):
    joblib = pytest.importorskip("joblib")
    X, y = data("iris")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 1.0]}, cv=3, n_jobs=2)
    with joblib.parallel_backend(backend):
        search.fit(X, y)
    assert search.best_params_ == {"logisticregression__C": 1.0}


@pytest.mark.parametrize("model", [LogisticRegression(C=2.0), TemperatureScaling(cv=2)])
def test_pickle_and_clone(model):
    X, y = data("iris")
    fitted = clone(model).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "classes_")
    assert type(fitted).__module__ == "cekernels.estimators"


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    X, y = data("iris")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = LogisticRegression().fit(frame, pandas.Series(y))
    assert list(model.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("dcba")])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).set_output(transform="pandas")
    assert list(pipeline.fit(frame, y)[-1].feature_names_in_) == list("abcd")


def test_routing_of_sample_weight(rng):
    X, y = data("cancer")
    weight = rng.uniform(0.1, 2.0, len(y))
    plain = TemperatureScaling(LogisticRegression(), cv=3).fit(X, y, sample_weight=weight)
    with sklearn.config_context(enable_metadata_routing=True):
        base = LogisticRegression().set_fit_request(sample_weight=True)
        routed = TemperatureScaling(base, cv=3).fit(X, y, sample_weight=weight)
        default = TemperatureScaling(cv=3).fit(X, y, sample_weight=weight)
        ignored = TemperatureScaling(LogisticRegression().set_fit_request(sample_weight=False))
        ignored.set_params(cv=3).fit(X, y, sample_weight=weight)
    assert routed.temperature_ == default.temperature_ == plain.temperature_
    np.testing.assert_array_equal(routed.estimator_.coef_, plain.estimator_.coef_)
    assert not np.array_equal(ignored.estimator_.coef_, plain.estimator_.coef_)


def test_scikit_learn_is_imported_on_demand():
    code = (
        "import sys, cekernels\n"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n    import cekernels.estimators\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "cekernels[sklearn]"' in done.stdout


def test_verbose(capsys):
    X, y = data("iris")
    LogisticRegression(verbose=1).fit(X, y)
    assert "iteration 1: objective" in capsys.readouterr().out
    assert _solvers.NOISE < 1e-13
