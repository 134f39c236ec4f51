"""LogME as its popular implementation computes it, written again from its formulas: a peer for speed, and for what it gets wrong."""

from collections.abc import Sequence

import numpy as np


def popular_logme(features: np.ndarray, labels: np.ndarray, steps: int = 11) -> tuple[float, Sequence[float]]:
    """The value of the fixed-point routine, class after class, and the precision α that it ends with for each class.

    The decomposition is that of the features' own Gram matrix (feature, feature), whatever the number of images; the sum of logarithms
    goes over the directions with data alone, which is wrong for fewer images than features.
    """
    images, width = features.shape
    _, values, axes = np.linalg.svd(features.T @ features)
    lengths = np.sqrt(values)
    kept = int((lengths > 1e-10 * lengths[0]).sum()) if images > width else min(images, width)
    left = (features @ axes.T)[:, :kept] / lengths[:kept]
    squares = values[:kept]
    scores, precisions = [], []
    for label in range(int(labels.max()) + 1):
        target = (labels == label).astype(np.float64)
        along = (left.T @ target) ** 2
        rest = float(target @ target - along.sum())
        alpha = beta = 1.0
        residual = length = 0.0
        for _ in range(steps):
            ratio = alpha / beta
            free = (squares / (squares + ratio)).sum()
            length = (squares * along / (ratio + squares) ** 2).sum()
            residual = (along / (1 + squares / ratio) ** 2).sum() + rest
            alpha, beta = free / (length + 1e-5), (images - free) / (residual + 1e-5)
            if abs(alpha / beta - ratio) / ratio <= 1e-3:
                break
        evidence = width / 2 * np.log(alpha) + images / 2 * np.log(beta) - 0.5 * np.log(alpha + beta * squares).sum()
        evidence -= beta / 2 * residual + alpha / 2 * length + images / 2 * np.log(2 * np.pi)
        scores.append(evidence / images)
        precisions.append(float(alpha))
    return float(np.mean(scores)), precisions
