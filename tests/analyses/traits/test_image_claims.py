"""Claims over images: how often a verdict is given where nothing differs, which images decide, and pairs held together."""

import numpy as np

import planted_study as planted
from microtome.analyses.traits.claims import CONTRADICTS, IMAGE_CLAIMS, NOT_MEASURABLE, SUPPORTS
from microtome.analyses.traits.image_claims import Borders, judge_families, judge_pairs
from microtome.analyses.traits.material import gather_study

DRAWS = 120
BORDERS = Borders(0.04, 0.16, 0)


def null_study(seed: int, count: int = 120, difficulty: float = 0.3):
    """Six networks of equal traits whose images are harder or easier for all of them alike."""
    shared = np.random.default_rng([seed, 9])
    hard = shared.normal(0, 0.1, count)
    right = np.clip(0.75 + difficulty * shared.normal(0, 1, count), 0.02, 0.98)
    return gather_study({
        name: {"objects": planted.objects(name, np.random.default_rng([seed, *name.encode()]), seed=seed, count=count,
                                          lift=0.3 + hard, correct=right)}
        for name in planted.FAMILY_OF
    })  # fmt: skip


def test_where_nothing_differs_a_hypothesis_is_supported_in_at_most_five_of_a_hundred_studies() -> None:
    """Any of its claims: they are held together. Two standard errors of the count are allowed."""
    supported = dict.fromkeys(("H1", "H2", "H3"), 0)
    rejected = dict(supported)
    for seed in range(DRAWS):
        judgements = judge_families(null_study(seed), BORDERS)
        for code in supported:
            words = [each.verdict for each in judgements if each.hypothesis == code]
            supported[code] += SUPPORTS in words
            rejected[code] += SUPPORTS in words or CONTRADICTS in words
    allowed = 0.05 * DRAWS + 2 * np.sqrt(DRAWS * 0.05 * 0.95)
    assert max(supported.values()) <= 0.05 * DRAWS, supported
    assert max(rejected.values()) <= allowed, rejected
    assert max(rejected.values()) > 0  # a test that never rejects tests nothing


def test_small_and_large_images_and_correct_ones_are_chosen_by_hand() -> None:
    study = null_study(0)
    area = planted.images_of(0, 120)[0]
    counts = {(each.quantity, each.first): each.samples for each in judge_families(study, BORDERS)}
    assert counts["localisation lift on large objects", "wider"] == (area >= 0.16).sum()
    small = int((area < 0.04).sum())
    assert counts["localisation lift on small objects", "deeper"] == small
    right = np.all([study.columns[name]["correct"] == 1 for name in ("d1", "d2", "w1", "w2")], axis=0)
    assert counts["area of half the evidence", "wider"] == right.sum()
    assert counts["localisation lift lost to clutter", "deeper"] == 80  # two thirds of the images


def test_pairs_are_wider_than_one_pair_alone() -> None:
    study = null_study(1)
    first = IMAGE_CLAIMS[0]
    pairs = [each for each in judge_pairs(study, BORDERS) if each.quantity == first.quantity]
    assert [(each.first, each.second) for each in pairs] == [("w1", "d1"), ("w1", "d2"), ("w2", "d1"), ("w2", "d2")]
    alone = study._replace(networks=[network for network in study.networks if network.name in ("w1", "d1")])
    (one,) = [each for each in judge_pairs(alone, BORDERS) if each.quantity == first.quantity]
    assert one.interval.value == pairs[0].interval.value
    assert one.interval.high - one.interval.low < pairs[0].interval.high - pairs[0].interval.low


def test_answers_that_hardly_differ_have_no_interval_of_a_loss() -> None:
    study = gather_study({
        name: {"objects": planted.objects(name, np.random.default_rng(2), correct=1.0)} for name in planted.FAMILY_OF
    })  # fmt: skip
    losses = [each for each in judge_families(study, BORDERS) if each.quantity == "accuracy lost to clutter"]
    assert [each.verdict for each in losses] == [NOT_MEASURABLE, NOT_MEASURABLE]
    assert losses[0].reason == "the networks differ on 0 of 160 images, and 10 are needed for an interval"
