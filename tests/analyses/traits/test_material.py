"""What a study consists of: networks by family, columns of their images, and what is lacking."""

import numpy as np

import planted_study as planted
from microtome.analyses.traits.material import family_mean, gather_study


def study_of(*names: str):
    return gather_study({name: {"objects": planted.objects(name, np.random.default_rng(len(name)))} for name in names})


def test_families_and_what_is_lacking() -> None:
    study = study_of("d1", "d2", "w1")
    assert [network.name for network in study.members("deeper")] == ["d1", "d2"]
    assert study.models("wider", "deeper") == "1 wider, 2 deeper"
    assert study.lacking("wider", "deeper") == ""
    assert study.lacking("wider", "attention") == "no trained network of the attention family was measured"


def test_columns_are_those_of_objects_and_their_mean() -> None:
    study = study_of("d1", "w1")
    assert np.array_equal(study.area, planted.images_of()[0])
    mean = family_mean(study, ["d1", "w1"], "lift")
    assert np.allclose(mean, (study.columns["d1"]["lift"] + study.columns["w1"]["lift"]) / 2)
    assert study.clutter_rank.min() == 0 and study.clutter_rank.max() == 1


def test_without_objects_there_are_no_columns_but_a_reason() -> None:
    study = gather_study({"d1": {"cost": planted.cost("d1", 5.0)}})
    assert study.columns == {} and study.refusal.startswith("no finding of objects, which needs images with masks or boxes")
