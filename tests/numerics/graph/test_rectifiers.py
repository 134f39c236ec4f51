"""The rules against formulas by hand, every way to write a rectifier against every other, and gates against constants."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtome.numerics.graph.rectifiers import RectifierMode, RewriteMode, Rule, apply_rule

RULES: tuple[Rule, ...] = ("gradient", "deconvnet", "guided", "rectgrad")
X = torch.tensor([[-1.0, 2.0, 3.0, 0.5, 4.0]])
G = torch.tensor([[1.0, -1.0, 2.0, 3.0, 0.25]])


def test_rules_by_hand() -> None:
    assert apply_rule("gradient", G, X).tolist() == [[0, -1, 2, 3, 0.25]]
    assert apply_rule("deconvnet", G, X).tolist() == [[1, 0, 2, 3, 0.25]]
    assert apply_rule("guided", G, X).tolist() == [[0, 0, 2, 3, 0.25]]
    # a · g = 0, -2, 6, 1.5, 1; the third smallest of five is 1
    assert apply_rule("rectgrad", G, X, quantile=0.6).tolist() == [[0, 0, 2, 3, 0]]
    assert apply_rule("rectgrad", G, X, quantile=1.0).abs().sum() == 0
    assert apply_rule("gradient", G, X, ceiling=2.5).tolist() == [[0, -1, 0, 3, 0]]


class Reused(nn.Module):
    """One module, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(x) - 0.3)


def twice(relu: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: relu(relu(x.clone()) - 0.3)


WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "one module, reused": Reused(),
    "function": twice(F.relu),
    "function in place": twice(lambda x: F.relu(x, inplace=True)),
    "torch.relu": twice(torch.relu),
    "torch.relu_": twice(torch.relu_),
    "method": twice(lambda x: x.relu()),
    "method in place": twice(lambda x: x.relu_()),
    "ReLU6": twice(nn.ReLU6()),
    "relu6": twice(F.relu6),
    "hardtanh": twice(lambda x: F.hardtanh(x, 0, 1e6)),
    "clamp": twice(lambda x: x.clamp(min=0)),
    "clamp positional": twice(lambda x: torch.clamp(x, 0)),
    "clamp in place": twice(lambda x: x.clamp_(min=0.0)),
    "clamp to six": twice(lambda x: torch.clamp(x, 0, 6)),
    "clip": twice(lambda x: x.clip(0)),
    "clamp_min": twice(lambda x: torch.clamp_min(x, 0)),
    "maximum": twice(lambda x: torch.maximum(x, torch.zeros(()))),
    "max": twice(lambda x: torch.max(x, torch.zeros_like(x))),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("way", list(WRITTEN))
def test_every_way_to_write_a_rectifier_obeys_the_rule(way: str, rule: Rule) -> None:
    rng = torch.Generator().manual_seed(1)
    x, top = torch.randn(2, 40, generator=rng), torch.randn(2, 40, generator=rng)
    leaf = x.clone().requires_grad_()
    with RewriteMode():
        y = WRITTEN[way](leaf * 1)
    with RectifierMode(rule, 0.5) as seen:
        (slope,) = torch.autograd.grad(y, leaf, top)
    assert seen.rectifiers == 2
    first = x.relu()
    assert torch.equal(y, (first - 0.3).relu())
    above = apply_rule(rule, top, first - 0.3, quantile=0.5)
    assert torch.equal(slope, apply_rule(rule, above, x, quantile=0.5))


def test_clamps_elsewhere_are_no_rectifiers() -> None:
    x = torch.randn(2, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for other in (
        lambda v: v.clamp(min=-1),
        lambda v: v.clamp(max=0),
        lambda v: torch.maximum(v, torch.ones(9)),
        nn.Hardtanh(),
    ):
        with RewriteMode():
            y = other(x)
        with RectifierMode("deconvnet") as seen:
            (slope,) = torch.autograd.grad(y, x, -torch.ones_like(y))
        assert seen.rectifiers == 0
        assert torch.equal(slope, torch.autograd.grad(other(x), x, -torch.ones_like(y))[0])


def test_what_is_neither_linear_nor_a_rectifier_is_counted() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    y = F.silu(F.gelu(F.gelu(x))).softmax(1)
    with RectifierMode("deconvnet") as seen:
        torch.autograd.grad(y, x, torch.ones_like(y))
    assert seen.rectifiers == 0
    assert dict(seen.curved) == {"GELU": 2, "SiLU": 1, "softmax": 1}


@pytest.mark.parametrize("way", ["squeeze", "in place", "expanded", "over cells"])
def test_gates_are_held_constant(way: str) -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    gate = x.mean(1, keepdim=True).sigmoid() if way == "over cells" else x.mean((2, 3), keepdim=True).sigmoid()
    top = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()

    def gated() -> Tensor:
        if way == "expanded":
            return x * x.mean((2, 3)).sigmoid().view(2, 3, 1, 1).expand_as(x)
        if way == "in place":
            return (x * 1).mul_(x.mean((2, 3), keepdim=True).sigmoid())
        return gate * x

    with RewriteMode() as rewritten:
        y = gated()
    (slope,) = torch.autograd.grad(y, x, top)
    assert rewritten.gates == 1
    torch.testing.assert_close(slope, top * gate.detach())
    (full,) = torch.autograd.grad(gated(), x, top)
    assert not torch.allclose(slope, full)  # otherwise the test could not fail


def test_products_of_equals_and_with_constants_are_no_gates() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with RewriteMode() as rewritten:
        y = (x * x.sigmoid()) * torch.ones(3, 1, 1) * 2.0
    assert rewritten.gates == 0
    np.testing.assert_allclose(
        torch.autograd.grad(y, x, torch.ones_like(y))[0].numpy(),
        torch.autograd.grad(2 * F.silu(x), x, torch.ones_like(y))[0].numpy(),
        rtol=1e-5,
    )


@pytest.mark.parametrize("size", [4, 5])
def test_the_divisor_of_a_response_norm_is_held_constant(size: int) -> None:
    x = 9 * torch.randn(2, 7, 3, 4, generator=torch.Generator().manual_seed(0)).double().relu()
    x, norm = x.requires_grad_(), nn.LocalResponseNorm(size, alpha=0.1, k=2.0)
    with RewriteMode() as rewritten:
        y = norm(x)
    assert rewritten.gates == 1
    torch.testing.assert_close(y, norm(x))
    top = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()
    squares = x.detach().square()
    around = [squares[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1].sum(1) / size for c in range(7)]
    divisor = (2.0 + 0.1 * torch.stack(around, 1)) ** 0.75
    torch.testing.assert_close(torch.autograd.grad(y, x, top)[0], top / divisor)
