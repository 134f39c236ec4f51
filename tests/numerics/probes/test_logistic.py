"""Logistic probes: the slope by hand, a slow descent of our own, scikit-learn on plain features, many features and few."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from microtome.errors import Unmeasurable
from microtome.numerics.probes.logistic import (
    PENALTIES,
    _choose_penalty,
    _class_scores,
    _reduce_width,
    logistic_probe,
    logistic_weights,
)
from microtome.numerics.probes.ridge import stratified_folds


def blobs(images, features, classes=3, gap=1.0):
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(images) % classes)
    centres = random.normal(size=(classes, features)) * gap / np.sqrt(features) * 3
    return (centres[labels] + random.normal(size=(images, features))) * random.uniform(0.1, 50, features) + 4, labels


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("penalty", [0.3, 20.0])
def test_probabilities_are_those_of_a_plain_descent(classes, penalty):
    """The slow twin: the loss as the docstring has it, minimised by scipy; all classes have weights, also where there are two."""
    features, labels = blobs(90, 12, classes)
    features = StandardScaler().fit_transform(features)
    known = np.eye(classes)[labels]

    def loss(flat):
        weights = flat.reshape(13, classes)
        scores = features @ weights[:-1] + weights[-1]
        value = -(log_softmax(scores, 1) * known).sum() + penalty / 2 * (weights[:-1] ** 2).sum()
        apart = softmax(scores, 1) - known
        return value, np.vstack([features.T @ apart + penalty * weights[:-1], apart.sum(0)]).ravel()

    least = minimize(
        loss, np.zeros(13 * classes), jac=True, method="L-BFGS-B", options={"maxiter": 9999, "ftol": 0, "gtol": 1e-8}
    )
    slow = _class_scores(features, least.x.reshape(13, classes))
    weights = logistic_weights(features, labels, classes, penalty)
    np.testing.assert_allclose(softmax(_class_scores(features, weights), 1), softmax(slow, 1), atol=2e-5)


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("penalty", [0.3, 20.0])
def test_probabilities_are_scikit_learns(classes, penalty):
    features, labels = blobs(90, 12, classes)
    features = StandardScaler().fit_transform(features)
    weights = logistic_weights(features, labels, classes, penalty)
    model = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=5000).fit(features, labels)
    np.testing.assert_allclose(softmax(_class_scores(features, weights), 1), model.predict_proba(features), atol=2e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_minimum_has_no_slope(classes):
    features, labels = blobs(60, 5, classes)
    features = StandardScaler().fit_transform(features)
    weights = logistic_weights(features, labels, classes, 2.0)
    apart = softmax(_class_scores(features, weights), 1) - np.eye(classes)[labels]
    assert np.abs(features.T @ apart + 2.0 * weights[:-1]).max() < 1e-3  # of 60 images
    assert np.abs(apart.sum(0)).max() < 1e-3


def test_more_features_than_images_give_what_the_span_of_the_images_gives():
    features, labels = blobs(30, 80)
    narrow, shown = _reduce_width(features, features[:7] + 1.0)
    assert narrow.shape == (30, 30)
    whole = logistic_weights(features / 50, labels, 3, 1.0)
    short = logistic_weights(narrow / 50, labels, 3, 1.0)
    there = _class_scores((features[:7] + 1.0) / 50, whole)
    np.testing.assert_allclose(softmax(_class_scores(shown / 50, short), 1), softmax(there, 1), atol=1e-4)


@pytest.mark.parametrize("shape", [(120, 30), (60, 90)])
def test_out_of_fold_answers_are_scikit_learns(shape):
    features, labels = blobs(*shape, gap=0.7)
    found = logistic_probe(features, labels, penalties=[5.0])
    fold = stratified_folds(labels)
    for one in range(5):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.2, tol=1e-8, max_iter=5000))
        expected = model.fit(features[fold != one], labels[fold != one]).predict(features[fold == one])
        assert (found.predicted[fold == one] == expected).all()


def test_the_penalty_is_chosen_by_what_it_answers():
    """On features of which one in thirty means something, hardly punished weights learn the noise by heart."""
    random = np.random.default_rng(3)
    labels = np.arange(100) % 2
    noisy = random.normal(size=(100, 60))
    noisy[:, 0] += labels * 1.5
    found = logistic_probe(noisy, labels)
    assert (found.penalties / 80 >= 0.1).all()
    assert found.accuracy >= logistic_probe(noisy, labels, penalties=[1e-4 * 80]).accuracy
    clear = noisy[:, :1] * 3 + labels[:, None] * 40
    assert logistic_probe(clear, labels).accuracy == 1


@pytest.mark.parametrize(("gap", "features"), [(0.4, 60), (0.7, 30), (1.5, 30)])
def test_the_search_ends_where_a_search_of_all_penalties_would(gap, features):
    """The slow twin: scikit-learn at all five penalties, on the same held-out fifth."""
    x, labels = blobs(120, features, gap=gap)
    tried = [one * len(labels) for one in PENALTIES]
    held = stratified_folds(labels, 5, 1) == 0
    losses = []
    for penalty in tried:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (penalty * (~held).mean()), tol=1e-8, max_iter=5000))
        likely = model.fit(x[~held], labels[~held]).predict_proba(x[held])
        losses.append(-np.log(likely[np.arange(held.sum()), labels[held]]).sum())
    assert _choose_penalty(x, labels, 3, tried, 0) == tried[int(np.argmin(losses))]


def test_a_search_that_is_cut_short_is_refused(monkeypatch):
    """Features that go together nearly wholly, hardly penalised: one step of Newton's method is not enough."""
    x, labels = blobs(200, 30, gap=0.7)
    stretched = StandardScaler().fit_transform(x)
    stretched = StandardScaler().fit_transform(stretched[:, :1] * 10 + stretched)
    weights = logistic_weights(stretched, labels, 3, 0.02)
    apart = softmax(_class_scores(stretched, weights), 1) - np.eye(3)[labels]
    assert np.abs(stretched.T @ apart + 0.02 * weights[:-1]).max() < 1e-3  # of 200 images
    monkeypatch.setattr("microtome.numerics.probes.logistic.MAX_STEPS", 1)
    with pytest.raises(Unmeasurable, match="no minimum in 1 steps"):
        logistic_weights(stretched, labels, 3, 0.02)


def test_a_class_without_images_is_never_the_answer():
    features, labels = blobs(40, 4, classes=2)
    weights = logistic_weights(StandardScaler().fit_transform(features), labels * 2, 3, 1.0)
    assert set(_class_scores(features, weights).argmax(1)) <= {0, 2}


def test_of_one_class_the_answer_is_that_class():
    features, _ = blobs(12, 4)
    weights = logistic_weights(features, np.ones(12, dtype=np.int64), 3, 1.0)
    assert (_class_scores(features, weights).argmax(1) == 1).all()


def test_what_cannot_be_probed_is_refused():
    with pytest.raises(Unmeasurable, match="two classes"):
        logistic_probe(np.ones((9, 2)), np.zeros(9, dtype=np.int64))
    with pytest.raises(Unmeasurable, match="not finite"):
        logistic_probe(np.full((9, 2), np.nan), np.arange(9) % 2)
