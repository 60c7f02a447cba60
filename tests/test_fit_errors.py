"""Data that no model can be fitted to."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression as TheirLogisticRegression

from cekernels.estimators import LogisticRegression, TemperatureScaling

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [0.5, 3.0]])
Y = np.array([0, 2, 0, 2])


@pytest.mark.parametrize("y", [[0, 1, 0, 2], [0, 3, 0, 2], [-1, 0, 0, 2], list("abab")])
def test_temperature_of_labels_that_the_classifier_does_not_know(y):
    model = TemperatureScaling(FrozenEstimator(TheirLogisticRegression().fit(X, Y)))
    with pytest.raises(ValueError, match=r"^y has the label .*, which is not in classes$"):
        model.fit(X, y)


def test_temperature_of_logits_that_are_nan():
    classifier = TheirLogisticRegression().fit(X, Y)
    classifier.coef_ = np.full_like(classifier.coef_, np.nan)
    with pytest.raises(ValueError, match=r"^the classifier must have logits that are not NaN$"):
        TemperatureScaling(FrozenEstimator(classifier)).fit(X, Y)


@pytest.mark.parametrize(
    ("class_weight", "sample_weight"), [({0: 0.0, 2: 0.0}, None), (None, -np.ones(4))]
)
def test_weights_without_a_positive_sum(class_weight, sample_weight):
    model = LogisticRegression(class_weight=class_weight)
    message = r"^sample_weight and class_weight must make a positive sum of weights, got "
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, sample_weight)
