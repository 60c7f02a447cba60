"""
Imbalanced boosting
===================

One handwritten digit among all others, of which few are left: scikit-learn's histogram boosting with
its own loss, and with focal losses of cekernels, which turn down the many easy negatives. The plot is
written beside this file, or where ``--out FILE.png`` says.
"""

# %%
# Data
# ----
# The eights among scikit-learn's digits, thinned out to 60: one image in 28.

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, log_loss, precision_recall_curve
from sklearn.model_selection import RepeatedStratifiedKFold
from tqdm import tqdm

from cekernels.sklearn_losses import BinaryFocalLoss

parser = argparse.ArgumentParser(description="Find rare digits by boosting with a focal loss.")
parser.add_argument("--out", type=Path, default=Path(sys.argv[0]).with_suffix(".png"))
out = parser.parse_args().out

DIGIT, N_RARE = 8, 60
pixels, digits = load_digits(return_X_y=True)
rare = np.flatnonzero(digits == DIGIT)
dropped = np.random.default_rng(0).permutation(rare)[N_RARE:]
X = np.delete(pixels, dropped, axis=0)
y = np.delete(digits == DIGIT, dropped)

# %%
# Training
# --------
# The loss is a parameter of the estimator. Three folds, twice: every image is held out two times.

LOSSES = {
    "log loss": "log_loss",
    "focal, gamma 1": BinaryFocalLoss(gamma=1.0),
    "focal, gamma 2": BinaryFocalLoss(gamma=2.0),
}
folds = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)

held_out = {name: [] for name in LOSSES}
for train, test in tqdm(list(folds.split(X, y)), desc="folds", unit="fold"):
    for name, loss in LOSSES.items():
        model = HistGradientBoostingClassifier(
            loss=loss, max_iter=60, max_leaf_nodes=8, min_samples_leaf=5
        )
        proba = model.fit(X[train], y[train]).predict_proba(X[test])[:, 1]
        held_out[name].append((y[test], proba))

# %%
# Held-out images
# ---------------
# Average precision asks whether the rare images come first, log loss whether the probabilities are
# right, too.

print(f"{'':14}  average precision  log loss")
precisions = {}
for name, results in held_out.items():
    precisions[name] = [average_precision_score(labels, proba) for labels, proba in results]
    losses = [log_loss(labels, proba) for labels, proba in results]
    print(f"{name:14}  {np.mean(precisions[name]):17.3f}  {np.mean(losses):8.4f}")

# %%
# Plot
# ----
# On the left, precision and recall over all held-out predictions. On the right, the folds one by one.

plt.switch_backend("Agg")
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4), layout="constrained")

for name, results in held_out.items():
    labels, proba = (np.concatenate(arrays) for arrays in zip(*results, strict=True))
    precision, recall, _ = precision_recall_curve(labels, proba)
    left.step(recall, precision, where="post", label=name)
left.set(title="Finding one in 28", xlabel="recall", ylabel="precision", ylim=(0, 1.03))
left.axhline(y.mean(), color="k", linestyle=":", linewidth=1)
left.annotate("by chance", (0.02, y.mean() + 0.02))
left.legend(loc="lower left", bbox_to_anchor=(0, 0.1))

places = np.arange(len(LOSSES))
right.plot(places, list(precisions.values()), color="0.8", zorder=0)
for place, values in enumerate(precisions.values()):
    right.plot(np.full(len(values), place), values, f"C{place}o", alpha=0.5)
    right.plot(place, np.mean(values), f"C{place}_", markersize=28, markeredgewidth=3)
right.set_xticks(places, LOSSES)
right.set(title="Each fold, and the mean", ylabel="average precision")
right.set_xlim(-0.4, len(LOSSES) - 0.6)

figure.savefig(out, dpi=120)
print(f"plot            {out}")
