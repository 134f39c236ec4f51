"""One traced forward pass: calls in order, tensors told apart, and everything left as it was."""

from collections.abc import Callable

import pytest
import torch
from odd_network import Odd
from torch import nn

from microtome.errors import SpecimenError
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Recipe, Specimen
from microtome.specimen.tracing import deep_tensors, trace


@pytest.fixture(scope="module")
def odd() -> Specimen:
    return open_specimen(Odd().eval(), recipe={"size": (12, 20), "crop": 1.0})


def test_modules_that_never_run_are_noted(odd: Specimen) -> None:
    assert any("unused" in note and "never run" in note for note in odd.notes)


def test_a_network_that_does_not_run_says_what_to_do(tiny: Callable[..., nn.Module]) -> None:
    net = open_specimen(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval())
    with pytest.raises(SpecimenError, match="no other usual size"):
        _ = net.layers
    assert any("does not run" in note for note in net.notes)
    assert len(open_specimen(net.net, recipe=2).layers) == 2


def test_calls_come_in_order_of_completion_with_their_shapes(odd: Specimen) -> None:
    found = trace(odd.net, odd.recipe)
    assert [(call.path, call.index) for call in found.calls] == [
        ("stem", 0), ("relu", 0), ("many.0", 0), ("relu", 1), ("many.1", 0), ("relu", 2), ("split", 0), ("table", 0), ("head", 0)
    ]  # fmt: skip
    assert [call.order for call in found.calls] == list(range(9))
    assert found.by_path()["split"][0].outputs == ((2, 4, 12, 20), (2, 4, 6, 10))
    assert ([one.shape for one in found.outputs], found.grid, found.silent) == ([(2, 7)], (12, 20), ("unused",))


def test_a_container_begins_before_and_ends_after_its_content_and_gives_the_same_tensor() -> None:
    calls = trace(nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True))), Recipe(size=(4, 4))).calls
    assert [(call.path, call.begun) for call in calls] == [("0.0", 1), ("0.1", 2), ("0", 0)]
    conv, relu, whole = calls
    assert relu.reads == conv.gives != relu.gives == whole.gives  # an operation in place raises the version
    assert relu.gives[0][0] == conv.gives[0][0]


def test_hooks_parameters_and_random_state_are_as_before(odd: Specimen) -> None:
    before, state = odd.digest(), torch.get_rng_state()
    with pytest.raises(SpecimenError, match=r"does not run on two images of 2 x 3 px with 1 channel "):
        trace(odd.net, Recipe(size=(2, 3), channels=1))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in odd.net.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert open_specimen(odd.net, recipe=odd.recipe).digest() == before


def test_tensors_are_found_in_nested_inputs_in_order() -> None:
    one, two, three = (torch.tensor(float(n)) for n in range(3))
    assert [float(each) for each in deep_tensors([one, (two, [three]), None])] == [0.0, 1.0, 2.0]
    assert deep_tensors("words") == []
