import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier, RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from microtome.errors import Unmeasurable
from microtome.numerics.probes.ridge import learning_curve, ridge_probe, ridge_scores, smallest_class, stratified_folds

SHAPES = [(120, 30), (60, 90)]  # more images than features, and fewer


def blobs(images, features, classes=3, gap=1.0, seed=0):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(images) % classes)
    centres = random.normal(size=(classes, features)) * gap / np.sqrt(features) * 3
    return (centres[labels] + random.normal(size=(images, features))) * random.uniform(0.1, 50, features) + 4, labels


def oracle(features, labels, model, folds=5, seed=0):
    fold = stratified_folds(labels, folds, seed)
    predicted = np.empty_like(labels)
    for one in range(folds):
        model.fit(features[fold != one], labels[fold != one])
        predicted[fold == one] = model.predict(features[fold == one])
    return predicted


@pytest.mark.parametrize("penalty", [0.1, 10.0, 1000.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 3])
def test_scikit_learns_ridge_answers_the_same(shape, classes, penalty):
    features, labels = blobs(*shape, classes=classes)
    found = ridge_probe(features, labels, penalties=[penalty])
    expected = oracle(features, labels, make_pipeline(StandardScaler(), RidgeClassifier(alpha=penalty)))
    assert (found.predicted == expected).all()
    assert (found.correct == (expected == labels)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_generalised_cross_validation_is_the_formula(shape):
    features, labels = blobs(*shape, gap=0.5)
    tried = np.logspace(-2, 5, 15).tolist()
    found = ridge_probe(features, labels, penalties=tried)
    fold = stratified_folds(labels)
    for one in range(5):
        x = StandardScaler().fit_transform(features[fold != one])
        y = np.where(labels[fold != one][:, None] == np.arange(3), 1.0, -1.0)
        errors = []
        for penalty in tried:
            hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T) + 1 / len(x)  # the intercept's part
            errors.append(((y - hat @ y) ** 2).sum() / (len(x) - np.trace(hat)) ** 2)
        assert found.penalties[one] == tried[np.argmin(errors)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_chosen_penalty_is_as_good_as_scikit_learns(shape):
    features, labels = blobs(*shape, gap=0.8)
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(-2, 5, 15)))
    expected = (oracle(features, labels, model) == labels).mean()
    assert ridge_probe(features, labels).accuracy == pytest.approx(expected, abs=0.06)
    assert expected > 0.6


def test_separable_classes_are_told_apart_and_noise_is_chance():
    features, labels = blobs(90, 40, gap=10)
    assert ridge_probe(features, labels).accuracy == 1
    noise = np.random.default_rng(1).normal(size=(400, 50))
    found = ridge_probe(noise, np.arange(400) % 4)
    assert found.chance == 0.25
    assert found.accuracy == pytest.approx(0.25, abs=0.1)  # four standard errors are 0.087


def test_scale_and_shift_of_the_features_do_not_matter():
    features, labels = blobs(80, 20, gap=0.7)
    assert (ridge_probe(features, labels).predicted == ridge_probe(features * 1e3 - 7, labels).predicted).all()


def test_labels_may_be_any_numbers_and_chance_is_the_largest_class():
    features, labels = blobs(60, 10, gap=10)
    named = np.array([7, -2, 40])[labels]
    named[:6] = 7
    assert set(ridge_probe(features, named).predicted) <= {7, -2, 40}
    assert ridge_probe(features, named).chance == (named == 7).mean()


def test_features_that_never_vary_are_ignored():
    features, labels = blobs(60, 10, gap=2)
    padded = np.hstack([features, np.full((60, 3), 0.1)])
    assert (ridge_probe(padded, labels).predicted == ridge_probe(features, labels).predicted).all()
    flat = ridge_probe(np.full((60, 3), 0.1), np.minimum(np.arange(60), 20))
    assert set(flat.predicted) == {20}


def test_folds_are_balanced_within_and_over_classes():
    labels = np.repeat([0, 1, 2], [13, 7, 23])
    fold = stratified_folds(labels, 5, seed=2)
    for one in range(3):
        assert np.ptp(np.bincount(fold[labels == one], minlength=5)) <= 1
    assert np.ptp(np.bincount(fold)) <= 1
    assert (fold == stratified_folds(labels, 5, seed=2)).all()
    assert (fold != stratified_folds(labels, 5, seed=3)).any()


def test_what_cannot_be_probed_is_refused():
    with pytest.raises(Unmeasurable, match="two classes"):
        ridge_probe(np.ones((9, 2)), np.zeros(9, dtype=np.int64))
    with pytest.raises(Unmeasurable, match="at least 5 images"):
        ridge_probe(np.ones((4, 2)), np.arange(4))
    with pytest.raises(Unmeasurable, match="not finite"):
        ridge_probe(np.full((9, 2), np.nan), np.arange(9) % 2)


@pytest.mark.parametrize("form", ["primal", "dual", "auto"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("penalty", [0.5, 300.0])
def test_scores_are_scikit_learns_in_both_forms(shape, form, penalty):
    features, labels = blobs(*shape)
    targets = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    shown = blobs(25, shape[1], seed=1)[0]
    found, chosen = ridge_scores(features, targets, shown, [penalty], form)
    model = make_pipeline(StandardScaler(), Ridge(alpha=penalty, solver="svd")).fit(features, targets)
    assert chosen == penalty
    np.testing.assert_allclose(found, model.predict(shown), rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_forms_choose_the_same_penalty_and_scores(shape):
    features, labels = blobs(*shape, gap=0.6)
    targets = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    (primal, one), (dual, two) = (ridge_scores(features, targets, features, None, form) for form in ("primal", "dual"))
    assert one == pytest.approx(two, rel=1e-9)
    np.testing.assert_allclose(primal, dual, rtol=0, atol=1e-8)


def test_a_learning_curve_is_what_scikit_learn_gives_image_by_image():
    """The slow twin: the first images of each class, in one shuffled order, through RidgeClassifier at the same penalty."""
    features, labels = blobs(90, 12, gap=0.8)
    sizes = [2, 8, 20]
    found = learning_curve(features, labels, sizes)
    fold, order = stratified_folds(labels), np.random.default_rng(1).permutation(90)
    for row, size in zip(found, sizes, strict=True):
        for one in range(5):
            some = np.concatenate([[i for i in order if fold[i] != one and labels[i] == c][:size] for c in range(3)])
            targets = np.where(labels[some][:, None] == np.arange(3), 1.0, -1.0)
            penalty = ridge_scores(features[some], targets, features[:1])[1]
            model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=penalty)).fit(features[some], labels[some])
            expected = model.predict(features[fold == one]) == labels[fold == one]
            assert (row[fold == one] == expected).all()
    assert found.mean(axis=1)[2] > found.mean(axis=1)[0]


def test_a_head_cannot_learn_from_more_images_than_there_are():
    labels = np.repeat([0, 1], [10, 30])
    assert smallest_class(labels) == 8
    assert smallest_class(np.repeat([0, 1], [1, 9])) == 0  # the part that holds the only image of a class out knows none
    with pytest.raises(Unmeasurable, match="the rarest class leaves 8; ask for 8 or fewer"):
        learning_curve(np.random.default_rng(0).normal(size=(40, 3)), labels, [4, 9])
