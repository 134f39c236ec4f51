"""LogME of 2,000 images with 2,048 features: exact evidence against the popular fixed-point routine."""

import numpy as np

from benchmarks.popular_logme import popular_logme
from benchmarks.timing import Disagreement, Plan, Result, interleaved, row
from microtome.numerics.transferability.evidence import logme

TITLE = "LogME of 2,000 images, 2,048 features"
TIMED = (
    "Ours: `logme(features, labels)`. The popular routine: written again from its formulas, one SVD of the Gram matrix of the features and "
    "fixed-point iterations class by class. Both in float64 from the same features."
)
TARGET = 2.5
OURS, PEER = "microtome", "the popular LogME routine"
NEAR = 2e-3  # between both, where the routine is right


def run(plan: Plan) -> Result:
    """Rows for 20 and 200 classes; both must agree where there are more images than features."""
    result = Result("logme", TITLE, TIMED)
    features, labels = planted(1000, 128, 10)
    apart = abs(logme(features, labels) - popular_logme(features, labels)[0])
    if apart > NEAR:
        raise Disagreement(f"1000 images, 128 features: {apart:.2g} nats apart (allowed: {NEAR}).")
    result.notes.append(f"1,000 images of 128 features: {apart:.1g} nats apart, where the routine is right.")
    images, width = (400, 512) if plan.quick else (2000, 2048)
    for classes in (20, 200):
        features, labels = planted(images, width, classes)
        contenders = {
            OURS: lambda features=features, labels=labels: logme(features, labels),
            PEER: lambda features=features, labels=labels: popular_logme(features, labels),
        }
        taken = interleaved(plan, contenders, 1 if plan.quick else max(3, plan.rounds // 3))
        what = f"{classes} classes"
        result.rows.append(row(what, taken, OURS, PEER, TARGET))
        result.details[f"{what}: seconds"] = taken
    features, labels = planted(300, 2048, 10)
    wrong, right = popular_logme(features, labels)[0], logme(features, labels)
    result.notes.append(f"300 images of 2,048 features: {right:.3f} nats; the routine gives {wrong:.2f}, which is wrong.")
    return result


def planted(images: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features with a mean of each class, and labels."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % classes
    return random.normal(size=(images, width)) + 0.37 * random.normal(size=(classes, width))[labels], labels
