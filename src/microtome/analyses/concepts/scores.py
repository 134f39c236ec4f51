"""TCAV scores of one concept at one layer, against counterpart sets, and those of random concepts."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

import numpy as np

from microtome.analyses.concepts.examples import Places
from microtome.analyses.concepts.products import Floats, LayerProducts
from microtome.numerics.probes.concept_vectors import concept_vector, held_out_accuracy


@dataclass(frozen=True)
class ConceptQuestion:
    """One concept and class: rows of the examples and of the pool among all images, and how many sets are drawn."""

    examples: Places
    pool: Places
    output: int
    counterparts: int
    seed: int


@dataclass(frozen=True)
class ConceptScores:
    """Of each counterpart set: the fraction of class images whose score rises along the vector, the mean cosine, the accuracy."""

    score: Floats
    alignment: Floats
    accuracy: Floats


def score_examples(products: LayerProducts, question: ConceptQuestion) -> ConceptScores:
    """The scores of the concept against each counterpart set."""
    random = np.random.default_rng(question.seed)
    sets = [random.permutation(question.pool)[: len(question.examples)] for _ in range(question.counterparts)]
    return _against(products, question.output, question.examples, sets, len(sets))


def score_random_concepts(products: LayerProducts, question: ConceptQuestion, count: int) -> Iterator[ConceptScores]:
    """The scores of random concepts: sets of the same size from the pool, against counterparts from the rest of it.

    The accuracy is that against the first counterpart only.
    """
    random = np.random.default_rng(question.seed + 1)
    size = len(question.examples)
    for _ in range(count):
        shuffled = random.permutation(question.pool)
        sets = [random.permutation(shuffled[size:])[:size] for _ in range(question.counterparts)]
        yield _against(products, question.output, shuffled[:size], sets, 1)


def _against(products: LayerProducts, output: int, examples: Places, sets: list[Places], judged: int) -> ConceptScores:
    score, alignment, accuracy = [], [], []
    for number, counterpart in enumerate(sets):
        rows = np.concatenate([examples, counterpart])
        is_example = np.arange(len(rows)) < len(examples)
        between = products.between[np.ix_(rows, rows)]
        vector = concept_vector(between, is_example)
        derivative = products.gradients[output][:, rows] @ vector.coefficients
        length = np.sqrt(max(0.0, float(vector.coefficients @ between @ vector.coefficients)))
        lengths = products.lengths[output] * length
        score.append(float((derivative > 0).mean()) if lengths.any() else nan)
        cosine = np.divide(derivative, lengths, out=np.zeros_like(derivative), where=lengths > 0)
        alignment.append(float(cosine.mean()) if lengths.any() else nan)
        if number < judged:
            accuracy.append(held_out_accuracy(between, is_example, number))
    return ConceptScores(np.array(score), np.array(alignment), np.array(accuracy))
