"""Nearest neighbours: scikit-learn's on the same folds, and a tie that the more alike class wins."""

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from microtome.numerics.probes.nearest import nearest_probe
from microtome.numerics.probes.ridge import stratified_folds
from microtome.numerics.transferability.agreement import feature_correlations


def test_answers_are_scikit_learns_where_no_classes_tie() -> None:
    """With one neighbour there are no ties; cosine distance of features centred in each image is 1 - correlation."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = random.normal(size=(60, 5)) + 1.2 * random.normal(size=(3, 5))[labels]
    found = nearest_probe(feature_correlations(features), labels, neighbours=1)
    fold, centred = stratified_folds(labels), features - features.mean(1, keepdims=True)
    for number in range(5):
        train = fold != number
        model = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(centred[train], labels[train])
        assert (found.predicted[~train] == model.predict(centred[~train])).all()
    assert 0.5 < found.accuracy < 1.0


def test_votes_and_ties_by_hand() -> None:
    """Image 0 has two neighbours of class 1 and two of class 0; those of class 0 are nearer. A third vote would decide."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    alike = np.eye(6)
    alike[0] = [1, 0.9, 0.8, 0.7, 0.6, 0.1]
    with_four = nearest_probe(alike, labels, folds=6, neighbours=4)
    assert with_four.predicted[0] == 0
    with_five = nearest_probe(alike, labels, folds=6, neighbours=5)
    assert with_five.predicted[0] == 1


def test_fewer_images_than_neighbours() -> None:
    found = nearest_probe(np.eye(4), np.array([0, 1, 0, 1]), folds=2, neighbours=50)
    assert len(found.predicted) == 4
