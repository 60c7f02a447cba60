"""
Thirty steps of gradient descent
================================

Two samples, one row of weights, and the sum of two binary cross-entropies: a logistic regression
small enough to follow number by number.
"""

# %%
# The first sample has label 1, the second has label 0. The weights start from random numbers.

import numpy as np

import cekernels

samples = np.array([[0.1, 0.5, -0.2, 1.2, 0.3], [0.7, -0.2, -0.4, 0.8, -1.0]])
labels = np.array([1, 0])
weights = np.array(
    [
        0.33669036626815796,
        0.12880940735340118,
        0.23446236550807953,
        0.23033303022384644,
        -1.1228563785552979,
    ]
)

# %%
# One call returns the loss, its gradient with respect to the two logits, and the probabilities of
# label 1. The chain rule turns the gradient of the logits into the gradient of the weights.

print("step  first  second    loss")
for step in range(30):
    logits = samples @ weights
    loss, grad, proba = cekernels.binary_cross_entropy_with_logits(
        logits, labels, reduction="sum", return_grad=True, return_proba=True
    )
    print(f"{step:4}  {proba[0]:.3f}   {proba[1]:.3f}  {loss:.4f}")
    weights -= 0.1 * samples.T @ grad

# %%
# The first probability climbs towards its label, 1, and the second falls towards 0.
