"""Classifiers in the conventions of scikit-learn, fitted by the losses of cekernels.

They need scikit-learn: ``pip install "cekernels[sklearn]"``.
"""

# mypy: disable-error-code="import-untyped"

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        'cekernels.estimators needs scikit-learn: pip install "cekernels[sklearn]"'
    ) from error

from cekernels.estimators._logistic import LogisticRegression
from cekernels.estimators._temperature import TemperatureScaling

__all__ = ["LogisticRegression", "TemperatureScaling"]
