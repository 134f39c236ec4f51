"""The squeeze-and-excitation gate against the paper's formula, numbers of parameters, and its first weights."""

import pytest
import torch

from microtome.networks.gates import SqueezeExciteGate


@pytest.mark.parametrize("squeeze", ["avg", "max", "none"])
@pytest.mark.parametrize("excitation", ["sigmoid", "tanh", "relu"])
def test_it_multiplies_by_the_formula(squeeze, excitation) -> None:
    """s = f(W2 · ReLU(W1 · z)), written with matrices over channels."""
    torch.manual_seed(0)
    gate, x = SqueezeExciteGate(8, 2, squeeze, excitation, factor=1.5), torch.randn(3, 8, 4, 5)
    first, second = (layer.weight[:, :, 0, 0] for layer in (gate.fc1, gate.fc2))
    z = {"avg": x.mean((2, 3), keepdim=True), "max": x.amax((2, 3), keepdim=True), "none": x}[squeeze]
    inner = (torch.einsum("ou,iurc->iorc", first, z) + gate.fc1.bias[:, None, None]).relu()
    wanted = getattr(torch, excitation)(torch.einsum("ou,iurc->iorc", second, inner) + gate.fc2.bias[:, None, None])
    assert torch.allclose(gate(x), 1.5 * wanted * x, atol=1e-6)


@pytest.mark.parametrize(("units", "ratio", "inner"), [(64, 16, 4), (256, 16, 16), (32, 16, 4), (8, 4, 4), (96, 7, 14)])
def test_parameters(units: int, ratio: float, inner: int) -> None:
    for bias in (True, False):
        gate = SqueezeExciteGate(units, ratio, bias=bias)
        assert sum(p.numel() for p in gate.parameters()) == 2 * units * inner + bias * (units + inner)


@pytest.mark.parametrize("inner", [4, 5])
def test_mirrored_units_are_never_all_dead(inner: int) -> None:
    torch.manual_seed(0)
    gate = SqueezeExciteGate(4 * inner, 4)
    gate.mirror()
    x = torch.randn(16, 4 * inner, 1, 1)
    hidden = gate.fc1(x)[:, :, 0, 0]
    assert torch.equal(hidden[:, 1:4:2], -hidden[:, :4:2])
    assert bool((hidden[:, :4] > 0).sum(1).eq(2).all())


def test_a_constant_gate_is_the_same_for_every_input() -> None:
    gate, x = SqueezeExciteGate(8), torch.randn(3, 8, 2, 2)
    gate.set_constant(0.0)
    assert torch.allclose(gate(x), 0.5 * x)
    gate.set_constant(2.0)
    assert torch.allclose(gate(x), x * torch.sigmoid(torch.tensor(2.0)))
    bare = SqueezeExciteGate(8, bias=False, excitation="tanh")
    bare.set_constant(2.0)
    assert not bool(bare(x).any())
