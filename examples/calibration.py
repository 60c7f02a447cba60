"""
Calibrated probabilities
========================

A model of few images, and with too weak a penalty, is too sure of itself. One number, the temperature,
mends that, and no prediction changes. The plot is written beside this file, or where
``--out FILE.png`` says.
"""

# %%
# Data
# ----
# scikit-learn's digits with noise: some for the classifier, some for the temperature, the rest to
# look at.

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

import cekernels
from cekernels.estimators import LogisticRegression, TemperatureScaling

parser = argparse.ArgumentParser(description="Calibrate a classifier of handwritten digits.")
parser.add_argument("--out", type=Path, default=Path(sys.argv[0]).with_suffix(".png"))
out = parser.parse_args().out

pixels, labels = load_digits(return_X_y=True)
pixels = (pixels + np.random.default_rng(0).normal(0.0, 6.0, pixels.shape)) / 16.0
x_train, x_rest, y_train, y_rest = train_test_split(
    pixels, labels, train_size=500, stratify=labels, random_state=0
)
x_held_out, x_test, y_held_out, y_test = train_test_split(
    x_rest, y_rest, train_size=400, stratify=y_rest, random_state=0
)

# %%
# Temperature
# -----------
# The classifier is frozen, and the temperature fitted to what it says of images that it has not
# seen.

classifier = LogisticRegression(C=100.0).fit(x_train, y_train)
calibrated = TemperatureScaling(FrozenEstimator(classifier)).fit(x_held_out, y_held_out)

logits = classifier.decision_function(x_test)
before = cekernels.cross_entropy(logits, y_test)
after = cekernels.cross_entropy(logits, y_test, logit_scale=1.0 / calibrated.temperature_)
print(f"temperature        {calibrated.temperature_:.4f}")
print(f"log loss before    {before:.6f}")
print(f"log loss after     {after:.6f}")
assert np.array_equal(calibrated.predict(x_test), classifier.predict(x_test))

# %%
# Plot
# ----
# On the left, the held-out probabilities in ten bins, ten an image; bars are one standard error. On
# the right, the loss at other temperatures.


def reliability(proba):
    """Return mean probability, frequency and its standard error of ten bins."""
    bins = np.minimum(10 * proba, 9).astype(int).ravel()
    is_label = y_test[:, np.newaxis] == np.arange(10)
    n = np.bincount(bins, minlength=10).clip(1)
    mean = np.bincount(bins, proba.ravel(), minlength=10) / n
    frequency = np.bincount(bins, is_label.ravel(), minlength=10) / n
    return mean, frequency, np.sqrt(frequency * (1.0 - frequency) / n)


plt.switch_backend("Agg")
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4), layout="constrained")

left.plot([0, 1], [0, 1], "k:", label="perfectly calibrated")
for name, color, model in (("before", "C1", classifier), ("after", "C0", calibrated)):
    mean, frequency, error = reliability(model.predict_proba(x_test))
    left.errorbar(mean, frequency, error, fmt=f"{color}o-", capsize=2, label=name)
left.set(title="Reliability", xlabel="predicted probability", ylabel="observed frequency")
left.set_aspect("equal")
left.legend()

temperatures = np.geomspace(0.5, 20.0, 60)
for name, color, x, y in (
    ("calibration set", "C2", x_held_out, y_held_out),
    ("test set", "C0", x_test, y_test),
):
    scores = classifier.decision_function(x)
    losses = [cekernels.cross_entropy(scores, y, logit_scale=1.0 / t) for t in temperatures]
    right.plot(temperatures, losses, color, label=name)
right.plot(1.0, before, "C1o", label="before")
right.plot(calibrated.temperature_, after, "k*", ms=11, label="after")
right.set(title="Loss", xlabel="temperature", ylabel="mean cross-entropy", xscale="log")
right.set_yscale("log")
right.set_xticks(ticks := [0.5, 1, 2, 5, 10, 20], labels=map(str, ticks))
right.set_yticks(ticks := [1, 2], labels=map(str, ticks))
right.minorticks_off()
right.legend()

figure.savefig(out, dpi=120)
print(f"plot               {out}")
