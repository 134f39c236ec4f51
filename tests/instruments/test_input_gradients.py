"""Gradients by the input: against finite differences, one image at a time, and with everything as it was afterwards."""

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.instruments.input_gradients import input_gradients, mean_over_units, middle_cell
from microtome.specimen.full_gradients import freeze_parameters


def specimen() -> mt.Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(18, 5)
        )
    opened = mt.open(net.eval(), recipe={"size": 6})
    opened.net.double()  # so that finite differences tell; a network is opened in float32
    return opened


def gradients(net: mt.Specimen, x: Tensor, **options) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    input_gradients(net, x, {"1": mean_over_units((1, 2)), "2": mean_over_units((0, 0), (1,))}, found.__setitem__, **options)
    return found


def test_against_finite_differences_before_an_operation_in_place_overwrites_the_value() -> None:
    net, x = specimen(), torch.randn(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = gradients(net, x, answer=lambda scores: scores[:, 3])
    assert list(found) == ["1", "2", "answer"]
    step = 1e-6

    def numbers(x: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"1": net.net[:2](x)[:, :, 1, 2].mean(1), "2": net.net[:3](x)[:, 1, 0, 0], "answer": net.net(x)[:, 3]}

    for pixel in ((0, 1, 2), (2, 3, 3), (1, 0, 0), (2, 5, 5)):
        moved = torch.zeros_like(x)
        moved[:, *pixel] = step
        ahead, behind = numbers(x + moved), numbers(x - moved)
        for name, value in found.items():
            slope = (ahead[name] - behind[name]) / (2 * step)
            assert value[:, *pixel].tolist() == pytest.approx(slope.tolist(), abs=1e-7)


def test_each_image_has_its_own_gradient_and_nothing_else_changes() -> None:
    net, x = specimen(), torch.randn(3, 3, 6, 6, dtype=torch.float64)
    net.net[0].weight.requires_grad_(False)
    before = {name: parameter.requires_grad for name, parameter in net.net.named_parameters()}
    with torch.inference_mode():
        together = gradients(net, x)
        alone = [gradients(net, x[i : i + 1]) for i in range(3)]
    for name, value in together.items():
        assert torch.allclose(value, torch.cat([one[name] for one in alone]))
    assert {name: parameter.requires_grad for name, parameter in net.net.named_parameters()} == before
    assert all(parameter.grad is None for parameter in net.net.parameters())


def test_parameters_are_thawed_after_an_error() -> None:
    net = specimen()

    def fail() -> None:
        with freeze_parameters(net.net):
            assert not any(parameter.requires_grad for parameter in net.net.parameters())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(parameter.requires_grad for parameter in net.net.parameters())


def test_a_mean_that_is_rounding_error_counts_as_constant() -> None:
    maps = torch.tensor([[1.0, -1.0 + 1e-7], [1.0, -0.9]])[:, :, None, None].requires_grad_()
    mean_over_units((0, 0))(maps).sum().backward()
    assert maps.grad is not None
    assert maps.grad.flatten(1).tolist() == [[0.0, 0.0], [0.5, 0.5]]


def test_the_middle_of_a_grid_is_the_upper_left_of_four() -> None:
    assert [middle_cell(grid) for grid in ((1, 1), (3, 5), (4, 6), (2, 7))] == [(0, 0), (1, 2), (1, 2), (0, 3)]
