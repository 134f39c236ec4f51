"""How blocks are named and planned; the removal itself is tested with the edit."""

import pytest

import microtome as mt
from microtome.errors import UnknownName
from microtome.instruments.block_removal import named_blocks_of, removal_plans, unit_paths


@pytest.fixture(scope="module")
def vgg() -> mt.Specimen:
    return mt.open("microtome:mini_vgg")


def test_names_globs_and_places_from_the_end(vgg: mt.Specimen) -> None:
    assert [block.name for block in named_blocks_of(vgg, ["-1", "features.11"])] == ["features.11", "features.21"]
    assert [block.name for block in named_blocks_of(vgg, ["features.1?"])] == ["features.11", "features.15", "features.18"]
    with pytest.raises(UnknownName, match="No block is called 'features.12'"):
        named_blocks_of(vgg, ["features.12"])
    with pytest.raises(UnknownName, match="No block is called '-8'"):
        named_blocks_of(vgg, ["-8"])


def test_plans_say_how_or_why_not(vgg: mt.Specimen) -> None:
    plans = removal_plans(vgg)
    assert {name: plan.how for name, plan in plans.items()} == {
        "features.0": "", "features.4": "", "features.8": "", "features.11": "skip", "features.15": "", "features.18": "skip",
        "features.21": "skip",
    }  # fmt: skip
    assert "turns 32×8×8 into 56×8×8" in plans["features.15"].reason
    assert {plan.how for plan in removal_plans(vgg, "linear").values()} == {"linear"}
    assert removal_plans(vgg, "remake")["features.15"].how == "remake"
    assert {plan.how for plan in removal_plans(mt.open("microtome:mini_densenet")).values()} == {"rewire"}


def test_a_plain_block_is_its_convolution_norm_and_activation(vgg: mt.Specimen) -> None:
    unit = next(unit for unit in vgg.anatomy.units if unit.path == "features.18")
    assert unit_paths(vgg, unit) == ["features.18", "features.19", "features.20"]
