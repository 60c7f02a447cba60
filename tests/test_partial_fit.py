"""Logistic regression of a stream: the fit that it approaches, and what it refuses."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from cekernels.estimators import (
    LogisticRegression,
    _stream,
)

TIGHT = {"tol": 1e-9, "max_iter": 2000}


def correlated(rng, n, p, n_classes):
    X = rng.standard_normal((n, p)) @ rng.standard_normal((p, p)) + 1.0
    logits = X @ rng.standard_normal((p, n_classes)) / p
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize("matrix", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_stream_approaches_fit(rng, n_classes, matrix, monkeypatch):
    if not matrix:
        monkeypatch.setattr(_stream, "MAX_PARAMETERS", 0)
    X = rng.standard_normal((600, 3))
    _, y = (
        X,
        (X @ rng.standard_normal((3, n_classes)) + rng.gumbel(size=(600, n_classes))).argmax(
            axis=1
        ),
    )
    want = LogisticRegression(C=0.05, **TIGHT).fit(X, y)
    model = LogisticRegression(C=0.05, pass_weight=600)
    errors = []
    for _ in range(12):
        for begin in range(0, 600, 200):
            batch = slice(begin, begin + 200)
            model.partial_fit(X[batch], y[batch], classes=range(n_classes))
        errors.append(np.abs(model.coef_ - want.coef_).max())
    assert errors[0] < 0.1
    assert errors[-1] < (0.2 if matrix else 0.4) * errors[0]


@pytest.mark.parametrize("size", [0, 4096])
def test_penalty_of_a_stream(size, monkeypatch):
    # Features of 0 have no curvature but the penalty's: 1 / C, once for each pass of four samples.
    monkeypatch.setattr(_stream, "MAX_PARAMETERS", size)
    model = LogisticRegression(C=0.5, pass_weight=4.0)
    for expected in (2.0, 2.0, 3.0, 4.0):
        model.partial_fit(np.zeros((2, 1)), [0, 1], classes=[0, 1])
        precision = model._streams[0].precision
        assert precision.flat[0] == pytest.approx(expected, rel=1e-12)


def test_stream_of_one_batch_is_fit(rng):
    X, y = correlated(rng, 500, 3, 3)
    model = LogisticRegression().partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(
        model.coef_, LogisticRegression(**TIGHT).fit(X, y).coef_, rtol=0.0, atol=5e-3
    )


def test_stream_of_one_class_at_a_time(rng):
    X, y = correlated(rng, 600, 3, 3)
    X, y = X[np.argsort(y)], np.sort(y)
    model = LogisticRegression()
    for batch in np.array_split(np.arange(600), 12):
        model.partial_fit(X[batch], y[batch], classes=[0, 1, 2])
    assert np.isfinite(model.coef_).all()
    assert np.abs(model.intercept_).max() < 20.0


def test_stream_of_other_targets(rng):
    X, y = correlated(rng, 200, 3, 2)
    soft = LogisticRegression(targets="proba").partial_fit(X, np.eye(2)[y])
    labels = LogisticRegression().partial_fit(X, y, classes=[0, 1])
    many = LogisticRegression(targets="multilabel").partial_fit(X, np.eye(2)[y])
    np.testing.assert_allclose(soft.coef_, labels.coef_, rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(many.coef_, [-labels.coef_[0], labels.coef_[0]], rtol=0.0, atol=1e-6)
    again = labels.fit(X, y).partial_fit(X, y)  # fit has ended the stream
    np.testing.assert_allclose(again.coef_, soft.coef_, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({}, {}, "classes must be passed on the first call"),
        ({"class_weight": "balanced"}, {"classes": [0, 1]}, "give weights in a dict"),
        ({"C": np.inf}, {"classes": [0, 1]}, "finite C"),
        ({}, {"classes": [0, 5]}, "y has the label 1, which is not in classes"),
    ],
)
def test_bad_streams(rng, options, arguments, message):
    X, y = correlated(rng, 50, 3, 2)
    with pytest.raises(ValueError, match=message):
        LogisticRegression(**options).partial_fit(X, y, **arguments)


def test_stream_keeps_its_classes(rng):
    X, y = correlated(rng, 50, 3, 2)
    model = LogisticRegression().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="in the first call"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="expecting 3 features"):
        model.partial_fit(X[:, :2], y)
