"""An opened network: its digest, copies, names of layers, scores, twins and notes."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from microtome.errors import BadOption, SpecimenError, UnknownName
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen, kept_twins


def test_digest_sees_values_buffers_and_structure(tiny: Callable[..., nn.Module]) -> None:
    one = open_specimen(tiny(), recipe=32).digest()
    assert one == open_specimen(tiny(), recipe=64).digest()
    assert one != open_specimen(tiny(scales=(1.0, 1.0)), recipe=32).digest()
    changed = tiny()
    with torch.no_grad():
        changed.head.bias[3] += 1e-6  # type: ignore[union-attr, index]
    assert one != open_specimen(changed, recipe=32).digest()
    norm = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    before = open_specimen(norm, recipe=8).digest()
    norm[1].running_mean.add_(1)  # type: ignore[union-attr, operator]
    assert before != open_specimen(norm, recipe=8).digest()
    relu, gelu = (nn.Sequential(nn.Conv2d(3, 2, 1), act).eval() for act in (nn.ReLU(), nn.GELU()))
    gelu.load_state_dict(relu.state_dict())
    assert open_specimen(relu, recipe=8).digest() != open_specimen(gelu, recipe=8).digest()
    strided = nn.Sequential(nn.Conv2d(3, 2, 1, stride=2), nn.ReLU()).eval()
    strided.load_state_dict(relu.state_dict())
    assert open_specimen(relu, recipe=8).digest() != open_specimen(strided, recipe=8).digest()


def test_moving_gives_a_copy(net: Specimen) -> None:
    moved = net.to("cpu")
    assert moved.net is not net.net
    assert moved.digest() == net.digest()
    with pytest.raises(BadOption, match="device"):
        net.to("nonsense")


def test_changed_networks_keep_recipe_and_labels(net: Specimen, tiny: Callable[..., nn.Module]) -> None:
    changed = net.with_net(tiny(scales=(1.0, 1.0)), name="Tiny without blocks.2", remarks=["One block was taken out."])
    assert len(changed.blocks) == 2
    assert changed.recipe == net.recipe
    assert "One block was taken out." in changed.notes
    assert len(net.blocks) == 3
    assert changed.twin(3).digest() != changed.digest()


def test_run_has_no_gradients_and_logits_may(net: Specimen) -> None:
    x = torch.randn(2, 3, 32, 32)
    assert not net.run(x).requires_grad
    assert net.logits(x).requires_grad
    np.testing.assert_array_equal(net.run(x).numpy(), net.logits(x).detach().numpy())


def test_a_name_that_is_not_there_names_the_nearest(net: Specimen) -> None:
    assert net.find("blocks.1,stem") == net.find(["stem", "blocks.1"]) == ["stem", "blocks.1"]
    assert net.layer("blocks.0.conv1").units == 8
    for ask, near in ((net.find, "blocks.1"), (net.layer, "blocks.0"), (net.block, "blocks.0")):
        with pytest.raises(UnknownName, match="blocs.*Did you mean '" + near[:6]):
            ask("blocs.0")
    with pytest.raises(UnknownName, match="No layer is named in ' , '; try one of"):
        net.find(" , ")


def test_of_layers_that_give_one_tensor_the_outermost_stays_unless_named() -> None:
    stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    net = open_specimen(nn.Sequential(OrderedDict(stage=stage, flat=nn.Flatten())).eval(), recipe=8)
    assert net.distinct("stage*") == ["stage.0", "stage"]
    assert net.distinct("stage.1,stage") == ["stage.1", "stage"]


class Scores(nn.Module):
    """Gives what `wrap` makes of the means over positions."""

    def __init__(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.wrap, self.conv = wrap, nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.conv(x))


def test_scores_are_one_number_per_class_or_refused() -> None:
    x = torch.randn(2, 3, 8, 8)
    flat = open_specimen(Scores(lambda maps: maps.mean((2, 3), keepdim=True)).eval(), recipe=8)
    assert torch.equal(flat.logits(x), flat.net(x)[:, :, 0, 0])
    with pytest.raises(SpecimenError, match=r"gives \(4, 8, 8\) for one image, not one score per class"):
        open_specimen(Scores(lambda maps: maps).eval(), recipe=8).logits(x)
    with pytest.raises(SpecimenError, match="gives no tensor"):
        open_specimen(Scores(lambda maps: "words").eval(), recipe=8).logits(x)


def test_twins_are_kept_until_there_is_no_room(tiny: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    net = open_specimen(tiny(), recipe=32)
    size = sum(p.numel() * p.element_size() for p in net.net.parameters())
    monkeypatch.setattr(kept_twins, "TWIN_BYTES", 2 * size)
    first, second = net.working_twin(None, 1), net.working_twin(None, 2)
    assert net.working_twin(None, 1) is first and net.known_twins == (first, second)
    third = net.working_twin(None, 3)
    assert net.known_twins == (second, third)
    assert len({one.digest() for one in (net, first, second, third)}) == 4


def test_every_other_specimen_of_the_network_has_the_code_it_was_opened_with(tiny: Callable[..., nn.Module]) -> None:
    specimen = open_specimen(tiny(), recipe={"size": 32})
    known = specimen.code, specimen.digest(), specimen.anatomy
    block: Any = specimen.net.get_submodule("blocks.0")
    block.scale = 7.0  # a run that changes its network on the way
    assert open_specimen(specimen.net, recipe={"size": 32}).code != known[0]
    for other in (specimen.with_twins(3), specimen.with_name("other"), specimen.on("cpu")):
        assert (other.code, other.digest(), other.anatomy) == known


def test_convolutions_run_in_channels_last_memory_with_the_same_numbers(net: Specimen) -> None:
    worker, x = net.on("cpu"), torch.randn(2, 3, 32, 32)
    weight = worker.net.get_submodule("stem").weight
    assert isinstance(weight, torch.Tensor) and weight.is_contiguous(memory_format=torch.channels_last)
    assert not net.net.get_submodule("stem").weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[operator, union-attr]
    assert worker.digest() == net.digest()
    assert torch.allclose(worker.run(x), net.run(x), atol=1e-5)
