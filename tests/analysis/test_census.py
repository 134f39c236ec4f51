"""One scan for several analyses: what they make of the same tensor is made once, and each finds what it would find alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.redundancy import Redundancy
from microtome.analyses.similarity import Similarity
from microtome.analysis import shown_to_twins, survey, twin_indices
from microtome.instruments import image_pairs
from microtome.instruments.untrained_twins import TWIN_COUNT
from microtome.numerics.statistics import cka
from microtome.scan import Pace

PACE = Pace(batch=20, device="cpu")


class InPlace(nn.Module):
    """Three convolutions, each behind a rectifier that overwrites what the one before gave."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x.relu_())
        return self.head(x.mean((2, 3)))


@pytest.fixture
def grams(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every Gram matrix that is made."""
    made: list[int] = []
    plain = cka.gram_matrix

    def counted(features: torch.Tensor) -> torch.Tensor:
        made.append(len(features))
        return plain(features)

    for module in (cka, image_pairs):
        monkeypatch.setattr(module, "gram_matrix", counted)
    return made


@pytest.fixture(params=[512 << 20, 0], ids=["all pairs", "batches"])
def times(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many Gram matrices a value has: one over all pairs, or one for each of two batches."""
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", request.param)
    return 1 if request.param else 2


def test_a_tensor_seen_by_several_has_one_gram_matrix(net: mt.Specimen, pics: mt.Images, grams: list[int], times: int) -> None:
    for settle in survey(net, pics, [Similarity(), Redundancy()], PACE).values():
        settle()
    # three blocks in a row have four values; the network and its untrained twins
    assert len(grams) == 4 * times * (1 + TWIN_COUNT)


@pytest.mark.parametrize("kind", ["tiny", "in place"])
def test_together_as_alone_to_the_bit(
    tiny: Callable[..., nn.Module], pics: mt.Images, kind: str, grams: list[int], times: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        specimen = mt.open(tiny() if kind == "tiny" else InPlace().eval(), recipe={"size": 32})
    censuses = [Similarity(), Redundancy()]
    together = {census: settle() for census, settle in survey(specimen, pics, censuses, PACE).items()}
    # overwritten in between: what three blocks take in and what they give are six values
    assert len(grams) == (4 if kind == "tiny" else 6) * times * (1 + TWIN_COUNT)
    for census, measured in together.items():
        arrays, alone = (getattr(one, "arrays", one) for one in (measured, census.measure(specimen, pics, PACE)))
        assert arrays.keys() == alone.keys()
        for name, values in arrays.items():
            if values.dtype != object:
                np.testing.assert_array_equal(values.values, alone[name].values, err_msg=name)


def test_twins_that_see_fewer_images_have_a_key_of_their_own(net: mt.Specimen, pics: mt.Images) -> None:
    """Only where a scan's twins see fewer images than they could, and only for what is compared with them."""
    few, patches, weights = net.with_twins(5, 8), mt.analyses.patches.Patches(), mt.analyses.weights.Weights()
    assert len(pics) > 8
    assert patches.key(few, pics, "cpu") != patches.key(net, pics, "cpu")
    assert patches.key(few, pics.take(range(8)), "cpu") == patches.key(net, pics.take(range(8)), "cpu")
    assert weights.key(few, None, "cpu") == weights.key(net, None, "cpu")


def test_which_images_the_twins_see(net: mt.Specimen, pics: mt.Images) -> None:
    few = net.with_twins(5, 8)
    seen = shown_to_twins(few, pics, np.arange(len(pics)))
    assert seen.sum() == 8 and np.flatnonzero(seen).tolist() == sorted(twin_indices(few, pics))
    assert shown_to_twins(net, pics, np.array([3, 0, 3])).all()
