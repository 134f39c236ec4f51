"""Norms that may be folded: which one belongs to which layer, and a folded weight that does what both do."""

from typing import Any, NamedTuple

import torch
from torch import nn

from microtome.numerics.weights.norms import merge_norms, norm_of, norms_after


class Call(NamedTuple):
    path: str
    module: nn.Module
    reads: tuple[Any, ...]
    gives: tuple[Any, ...]


def random_norm(units: int) -> nn.BatchNorm2d:
    norm, draws = nn.BatchNorm2d(units).eval(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in (norm.weight, norm.running_mean, norm.running_var):
            values.uniform_(0.5, 2, generator=draws)
    return norm


def test_a_folded_weight_does_what_layer_and_norm_do() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), random_norm(4)).eval()
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    (folded,) = merge_norms(net, {"0": net[0].weight.detach()}, {"0": "1"}).values()
    with torch.no_grad():
        both = net(x) - net(torch.zeros_like(x))  # the constant that the norm adds does not belong to the weight
        assert torch.allclose(torch.nn.functional.conv2d(x, folded), both, atol=1e-5)
        terms = norm_of(net[1])
        assert terms is not None
        assert torch.allclose(terms.scale(), net[1].weight / (net[1].running_var + net[1].eps).sqrt())
    assert norm_of(nn.LayerNorm(4)) is None


def test_only_the_norm_that_reads_the_very_tensor_alone_is_taken() -> None:
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    plain = [Call("c", conv, ("x",), ("y",)), Call("n", norm, ("y",), ("z",))]
    assert norms_after(plain) == {"c": "n"}
    assert norms_after([*plain, Call("other", nn.ReLU(), ("y",), ("w",))]) == {}  # something else reads it, too
    assert norms_after([Call("n", norm, ("x",), ("y",)), Call("c", conv, ("y",), ("z",))]) == {}  # before, not after
    shared = [*plain, Call("d", conv, ("z",), ("u",)), Call("n", norm, ("u",), ("v",))]
    assert norms_after(shared) == {}  # one norm for two layers
    assert norms_after([Call("c", conv, ("x",), ("y",)), Call("n", norm, ("changed",), ("z",))]) == {}
    around = [plain[0], Call("n.block", nn.Sequential(norm), ("y",), ("z",)), Call("n.block.0", norm, ("y",), ("z",))]
    assert norms_after(around) == {"c": "n.block.0"}
