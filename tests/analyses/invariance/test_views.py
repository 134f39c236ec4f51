"""One network under warped views: every layer and score against plain loops, and what cannot be compared."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.invariance.invariance import Invariance
from microtome.analyses.invariance.plan import CLASS_SCORES, WarpPlan
from microtome.analyses.invariance.views import VIEW_COLUMNS, ViewRunner, join_rows
from microtome.errors import SpecimenError, Unmeasurable
from microtome.scan import Pace
from microtome.tally import Rows

PACE = Pace(batch=8, device="cpu")


def test_against_plain_loops(net: mt.Specimen, pics: mt.Images) -> None:
    few = pics.take(pics.take(range(5)).content_order())
    found = Invariance(at=("stem", "blocks.1"), warps=("col_shift",), shifts=("-2", "5"), count=5)(net, few, PACE)
    x = net.recipe.normalise(torch.from_numpy(few.pixels(net.recipe)))
    padded = torch.nn.functional.pad(x, (8, 8, 0, 0), mode="reflect")
    inner: Any = net.net

    def layers(pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            stem = inner.stem(pictures)
            second = inner.blocks[1](inner.blocks[0](torch.relu(stem)))
            return {"stem": stem, "blocks.1": second, "output": inner(pictures)}

    still = layers(x)
    labels = np.asarray(few.labels)
    for amount in (-2, 5):
        moved = layers(padded[:, :, :, 8 - amount : 40 - amount])
        for name, value in moved.items():
            gaps = [float((value[i] - still[name][i]).norm() / still[name][i].norm()) for i in range(5)]
            assert found["distance/col_shift"].sel(layer=name, amount=amount).item() == pytest.approx(np.mean(gaps), rel=1e-4)
            told = {"stem": "shallow", "blocks.1": "deep"}.get(name)
            if told:  # picture by picture: five of five
                np.testing.assert_allclose(found[f"each_{told}/col_shift"].sel(amount=amount), gaps, rtol=1e-4)
                assert found[f"mean_{told}/col_shift"].sel(amount=amount).item() == pytest.approx(np.mean(gaps), rel=1e-4)
        each = moved["output"].softmax(1)[range(5), labels]
        np.testing.assert_allclose(found["each_probability/col_shift"].sel(amount=amount), each, rtol=1e-4)
        chance = each.mean().item()
        assert found["probability/col_shift"].sel(amount=amount).item() == pytest.approx(chance, rel=1e-4)
    assert found["probability/col_shift"].sel(amount=0).item() == pytest.approx(
        still["output"].softmax(1)[range(5), labels].mean().item(), rel=1e-5
    )
    # by index: the amounts in ascending order, and what they are
    assert found["amount_value"].sel(warp="col_shift").values.tolist() == [-2, 0, 5]
    assert found["distance"].sel(warp="col_shift", layer="stem").values[1] == 0
    apart = [
        np.mean([float((still["stem"][i] - still["stem"][j]).norm() / still["stem"][i].norm()) for j in range(5) if j != i])
        for i in range(5)
    ]
    gaps = found["distance/col_shift"].sel(layer="stem", amount=[-2, 5]).values.mean()
    assert found["change"].sel(layer="stem").item() == pytest.approx(gaps / np.mean(apart), rel=1e-4)


class Odd(nn.Module):
    """Gives what `rule` makes of the maps, or class scores of it by `head`."""

    def __init__(self, rule: Any, head: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.rule, self.head = nn.Conv2d(3, 4, 3), rule, head or nn.Identity()

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.rule(self.conv(x)))


def runner(
    rule: Any, views: Any = (("col_shift", 2.0),), names: Any = ("conv", CLASS_SCORES), head: nn.Module | None = None
) -> tuple[ViewRunner, mt.Specimen]:
    specimen = mt.open(Odd(rule, head).eval(), recipe={"size": 12})
    plan = WarpPlan(names, (1, 0), views, {"col_shift": (0.0, 2.0)}, (12, 12), np.array([1, -1, 0]), "")
    return ViewRunner(specimen, plan, 3), specimen


def test_probabilities_are_of_the_target_or_of_the_predicted_class() -> None:
    made, specimen = runner(lambda maps: maps.mean((2, 3)), head=nn.Linear(4, 5))
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    made.look(x, [0], "reflect", crops=False)
    columns = made.columns(np.arange(3))
    with torch.no_grad():
        still, moved = specimen.net(x[:, :, 2:-2, 2:-2]), specimen.net(x[:, :, 2:-2, :-4])
    target = [1, int(still[1].argmax()), 0]
    for place, scores in ((0, moved), (1, still)):  # the view, then the unmoved images; no crops were shown
        assert columns["chance"][:, place] == pytest.approx(scores.softmax(1)[range(3), target].numpy(), abs=1e-6)
        assert columns["answer"][:, place].tolist() == scores.argmax(1).tolist()
    assert np.isnan(columns["chance"][:, 2]).all() and (columns["answer"][:, 2] == -1).all()
    gaps = (moved - still).norm(dim=1) / still.norm(dim=1)
    assert columns["distance"][:, 0, 1] == pytest.approx(gaps.numpy(), rel=1e-4)


def test_one_row_for_each_image_is_needed() -> None:
    x = torch.randn(3, 3, 16, 16)
    for rule in (lambda maps: maps.mean((0, 2, 3)), lambda maps: "words"):
        with pytest.raises((Unmeasurable, SpecimenError), match="gives no tensor"):
            runner(rule)[0].look(x, [0], "reflect", crops=False)


def test_rows_of_the_twins_are_joined_in_the_order_of_the_images() -> None:
    parts = []
    for values in ([10.0, 12.0], [11.0]):
        parts.append(Rows())
        parts[-1].add(range(len(values)), {name: np.array(values) for name in VIEW_COLUMNS})
    whole = join_rows(parts, [np.array([0, 2]), np.array([1])])
    assert whole.index.tolist() == [0, 1, 2] and whole.column("answer").tolist() == [10, 11, 12]


def test_each_image_is_shown_to_one_twin_in_turn(net: mt.Specimen, pics: mt.Images) -> None:
    """Three images, two twins: the distance of the twins is that of images 0 and 2 in the first and 1 in the second."""
    few = pics.take(pics.take(range(3)).content_order())
    asked = Invariance(at=("stem",), warps=("row_shift",), shifts=("3",), count=3)
    found = asked(net, few, PACE, twins=2)
    by_image = np.empty((3, 1))
    apart = np.empty(3)
    for seed in (1, 2):
        twin: Any = net.working_twin(few, seed)
        alone = asked._rows(twin, few, asked._plan(net, few), PACE, "alone").column("distance")[:, 0, 0]
        gaps = asked._apart(twin, few, asked._plan(net, few)).distance[:, 0]
        for place in range(seed - 1, 3, 2):
            by_image[place], apart[place] = alone[place], gaps[place]
    assert found["twin_distance/row_shift"].sel(layer="stem", amount=3).item() == pytest.approx(by_image.mean(), rel=1e-5)
    each = [by_image[turn::2].mean() / apart[turn::2].mean() for turn in (0, 1)]
    values = [found[f"twin_change{end}"].sel(layer="stem").item() for end in ("_low", "", "_high")]
    assert values == pytest.approx([min(each), np.mean(each), max(each)], rel=1e-5)
