"""
Handwritten digits
==================

A softmax classifier of scikit-learn's digits, trained by gradient descent: NumPy multiplies the
matrices, one call of cekernels a step gives the loss and its gradient. The plot is written beside
this file, or where ``--out FILE.png`` says.
"""

# %%
# Data
# ----
# 1797 images of 8 by 8 pixels, half of them held out. A column of ones stands for the intercept.

import argparse
import sys
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import cekernels

parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits.")
parser.add_argument("--out", type=Path, default=Path(sys.argv[0]).with_suffix(".png"))
out = parser.parse_args().out

pixels, labels = load_digits(return_X_y=True)
features = np.column_stack([pixels / 16.0, np.ones(len(pixels))])
x_train, x_test, y_train, y_test = train_test_split(
    features, labels, test_size=0.5, stratify=labels, random_state=0
)

# %%
# Training
# --------
# Gradient descent with Nesterov's momentum. The gradient of the mean loss with respect to the
# logits comes from cekernels; the chain rule, one more product of matrices, turns it into that with
# respect to the weights.

N_STEPS, RATE, MOMENTUM = 400, 0.5, 0.9

weights = np.zeros((x_train.shape[1], 10))
velocity = np.zeros_like(weights)
history = []
kernel_time = 0.0
start = perf_counter()
for _ in tqdm(range(N_STEPS), desc="training", unit="step"):
    logits = x_train @ (weights + MOMENTUM * velocity)
    before = perf_counter()
    loss, grad = cekernels.cross_entropy(logits, y_train, return_grad=True)
    kernel_time += perf_counter() - before
    velocity = MOMENTUM * velocity - RATE * x_train.T @ grad
    weights = weights + velocity
    history.append(weights)
training_time = perf_counter() - start

# %%
# Held-out images
# ---------------
# From logits, the loss needs no probabilities and no clipping. scikit-learn agrees.

logits = x_test @ weights
proba = cekernels.special.softmax(logits, axis=1)
held_out_loss = cekernels.cross_entropy(logits, y_test)
sklearn_loss = log_loss(y_test, proba)
assert abs(held_out_loss - sklearn_loss) <= 1e-12

share, ns = kernel_time / training_time, 1e9 * kernel_time / (N_STEPS * grad.size)
print(f"held-out log loss  {held_out_loss:.13f}")
print(f"  by scikit-learn  {sklearn_loss:.13f}")
print(f"held-out accuracy  {np.mean(np.argmax(logits, axis=1) == y_test):.4f}")
print(f"training           {training_time:.2f} s for {N_STEPS} steps")
print(f"cekernels          {share:.0%} of that, {ns:.1f} ns a logit")

# %%
# Plot
# ----
# On the right, the 8990 held-out probabilities, ten an image, in ten bins: of the classes that were
# given 70 %, seven in ten should be the right one. Bars are one standard error.

plt.switch_backend("Agg")
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4), layout="constrained")

for name, x, y in (("training", x_train, y_train), ("held-out", x_test, y_test)):
    left.plot([cekernels.cross_entropy(x @ w, y) for w in history], label=name)
left.set(title="Learning curve", xlabel="step", ylabel="mean cross-entropy", yscale="log")
left.set_yticks(ticks := [0.05, 0.1, 0.2, 0.5, 1, 2], labels=map(str, ticks))
left.legend()

bins = np.minimum(10 * proba, 9).astype(int).ravel()
is_label = y_test[:, np.newaxis] == np.arange(10)
n = np.bincount(bins)
mean_proba = np.bincount(bins, proba.ravel()) / n
frequency = np.bincount(bins, is_label.ravel()) / n
error = np.sqrt(mean_proba * (1.0 - mean_proba) / n)
right.plot([0, 1], [0, 1], "k:", label="perfectly calibrated")
right.errorbar(mean_proba, frequency, error, fmt="C1o-", label="held-out")
right.set(title="Reliability", xlabel="predicted probability", ylabel="observed frequency")
right.set_aspect("equal")
right.legend()

figure.savefig(out, dpi=120)
print(f"plot               {out}")
