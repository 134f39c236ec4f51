"""Scores of concepts by hand, their repetition, and how often random images are called a concept."""

import numpy as np
import pytest

from microtome.analyses.concepts.products import LayerProducts
from microtome.analyses.concepts.scores import ConceptQuestion, score_examples, score_random_concepts
from microtome.numerics.statistics.random_draws import two_sided_draw_test, welch_test


def made_products(features: np.ndarray, gradients: np.ndarray) -> LayerProducts:
    return LayerProducts(features @ features.T, {0: gradients @ features.T}, {0: np.linalg.norm(gradients, axis=1)})


def test_scores_by_hand():
    features = np.array([[4.0, 3.0]] * 5 + [[0.0, 0.0]] * 10)
    gradients = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [3.0, -4.0]])
    question = ConceptQuestion(np.arange(5), np.arange(5, 15), 0, 3, 0)
    given = score_examples(made_products(features, gradients), question)
    assert given.score == pytest.approx([0.5] * 3)  # along (0.8, 0.6): up, up, down, level
    assert given.alignment == pytest.approx([(0.8 + 0.6 - 0.8) / 4] * 3)
    assert given.accuracy == pytest.approx([1.0] * 3)


def test_no_gradient_has_no_score():
    question = ConceptQuestion(np.arange(5), np.arange(5, 15), 0, 2, 0)
    features = np.random.default_rng(0).normal(size=(15, 3))
    given = score_examples(made_products(features, np.zeros((4, 3))), question)
    assert np.isnan(given.score).all() and np.isnan(given.alignment).all()


def test_counterparts_come_from_the_pool_by_the_seed():
    features = np.random.default_rng(1).normal(size=(40, 6))
    products = made_products(features, np.random.default_rng(2).normal(size=(7, 6)))
    question = ConceptQuestion(np.arange(8), np.arange(8, 40), 0, 3, 5)
    one, again = (score_examples(products, question) for _ in range(2))
    assert (one.alignment == again.alignment).all() and len(set(one.alignment)) == 3
    other = score_examples(products, ConceptQuestion(np.arange(8), np.arange(8, 40), 0, 3, 6))
    assert (one.alignment != other.alignment).all()
    left = made_products(np.where(np.arange(40)[:, None] < 8, 0.0, features), np.ones((2, 6)))  # examples play no part
    for first, second in zip(
        score_random_concepts(left, question, 2), score_random_concepts(made_products(features, np.ones((2, 6))), question, 2),
        strict=True,
    ):  # fmt: skip
        assert first.alignment == pytest.approx(second.alignment)


def test_random_images_are_rarely_called_a_concept_but_often_by_the_test_of_the_paper():
    features = np.random.default_rng(3).normal(size=(120, 30)) * np.linspace(3, 0.1, 30)
    gradients = np.random.default_rng(4).normal(0.4, 1.0, size=(25, 30))
    question = ConceptQuestion(np.arange(10), np.arange(120), 0, 6, 0)
    drawn = list(score_random_concepts(made_products(features, gradients), question, 100))
    means, firsts = np.array([each.alignment.mean() for each in drawn]), np.array([each.score[0] for each in drawn])
    random = np.random.default_rng(5)
    orders = [random.permutation(100)[:21] for _ in range(400)]
    ours = np.mean([two_sided_draw_test(means[order[0]], means[order[1:]]) < 0.05 for order in orders])
    papers = np.mean([welch_test(drawn[order[0]].score, firsts[order[1:]]) < 0.05 for order in orders])
    assert ours < 0.09 and papers > 0.25
