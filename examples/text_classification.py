"""
Sentences by their subject
==========================

scikit-learn carries the descriptions of its data sets. Which one is a sentence taken from? A softmax
classifier of weighted words and pieces of words, on sparse features, with the estimator of cekernels
and with scikit-learn's. The plot is written beside this file, or where ``--out FILE.png`` says.
"""

# %%
# Data
# ----
# Sentences of six words and more, without tables and references, half of them held out.

import argparse
import re
import sys
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression as Peer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_union
from tqdm import tqdm

import cekernels
from cekernels.estimators import LogisticRegression

parser = argparse.ArgumentParser(description="Classify sentences by their subject.")
parser.add_argument("--out", type=Path, default=Path(sys.argv[0]).with_suffix(".png"))
out = parser.parse_args().out

sentences, subjects = [], []
for file in sorted(resources.files("sklearn.datasets.descr").iterdir(), key=lambda f: f.name):
    if not file.name.endswith(".rst"):
        continue
    text = re.sub(r"[=|>+*:`_-]{2,}|\.\. \S+", " ", file.read_text(encoding="utf-8"))
    for sentence in re.split(r"(?<=[.?!])\s+|\n\s*\n", text):
        words = re.findall(r"[A-Za-z]+", sentence)
        if len(words) >= 6:
            sentences.append(" ".join(words))
            subjects.append(file.name.removesuffix(".rst").replace("_", " "))

train, test, y_train, y_test = train_test_split(
    sentences, subjects, test_size=0.5, stratify=subjects, random_state=0
)
features = make_union(
    TfidfVectorizer(sublinear_tf=True),
    TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True),
)
X_train, X_test = features.fit_transform(train).tocsr(), features.transform(test).tocsr()
print(f"{len(sentences)} sentences, {len(set(subjects))} subjects, {X_train.shape[1]} features")

# %%
# Fits
# ----
# Weak penalties to the right. Where both have converged, they are the same model.

strengths = np.logspace(-1, 3, 5)
losses, peer_losses, accuracies = [], [], []
for C in tqdm(strengths, desc="fitting", unit="C"):
    model = LogisticRegression(C=C, tol=1e-6, max_iter=1000).fit(X_train, y_train)
    peer = Peer(C=C, tol=1e-6, max_iter=1000).fit(X_train, y_train)
    labels = np.searchsorted(model.classes_, y_test)
    losses.append(cekernels.cross_entropy(model.decision_function(X_test), labels))
    peer_losses.append(cekernels.cross_entropy(peer.decision_function(X_test), labels))
    accuracies.append(model.score(X_test, y_test))
np.testing.assert_allclose(losses, peer_losses, rtol=1e-3)

best = int(np.argmin(losses))
model = LogisticRegression(C=strengths[best]).fit(X_train, y_train)
print(f"best C             {strengths[best]:.3g}")
print(f"held-out log loss  {losses[best]:.6f}")
print(f"  by scikit-learn  {peer_losses[best]:.6f}")
print(f"held-out accuracy  {accuracies[best]:.4f}")

# %%
# Plot
# ----
# On the right, the words that speak most for four of the subjects.

plt.switch_backend("Agg")
figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 5.2), layout="constrained")

left.plot(strengths, losses, "C0-", label="cekernels")
left.plot(strengths, peer_losses, "C1o", mfc="none", label="scikit-learn")
left.plot(strengths[best], losses[best], "k*", ms=11, label="best")
left.set(title="Held-out sentences", xlabel="C", ylabel="mean cross-entropy", xscale="log")
left.legend()

vocabulary = features.transformer_list[0][1].get_feature_names_out()
shown = ["digits", "iris", "olivetti faces", "wine data"]
centres = 6 * np.arange(len(shown))[::-1] + 2
for row, subject in enumerate(shown):
    coef = model.coef_[list(model.classes_).index(subject), : len(vocabulary)]
    top = np.argsort(coef)[-5:]
    places = centres[row] + np.arange(-2, 3)
    right.barh(places, coef[top], color=f"C{row}")
    for place, word in zip(places, top, strict=True):
        right.annotate(
            vocabulary[word],
            (0, place),
            (4, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=8,
            color="w",
        )
right.set(title="Telling words", xlabel="coefficient")
right.set_yticks(centres, labels=[subject.replace(" ", "\n") for subject in shown])
right.tick_params(axis="y", length=0)

figure.savefig(out, dpi=120)
print(f"plot               {out}")
