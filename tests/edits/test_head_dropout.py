"""Dropout before pooling: the law of edits, the closed form pi / N by drawing, and what does not fit."""

from pathlib import Path

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.audit.run import run_audit
from microtome.edits.head_dropout import HeadDropout
from microtome.errors import Uneditable


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(8, seed=4, size=64)


@pytest.mark.parametrize(("name", "options"), [("microtome:mini_resnet", {"p": 0.3}), ("torchvision:mobilenet_v3_small", {})])
def test_the_law_of_edits(name: str, options: dict[str, float], pics: mt.Images, tmp_path: Path) -> None:
    net = mt.open(name, weights=None, recipe={"size": 64})
    if not options:  # its dropout follows a hidden layer, so there is none between pooling and weights
        with pytest.raises(Uneditable, match=r"p=0\.2 puts one"):
            HeadDropout()(net)
        return
    edited = testing.check_edit(HeadDropout(**options), net, pics, tmp_path)
    assert "put dropout (p = 0.3) before" in edited.edits[-1].line


class Head(nn.Module):
    """Rectified images, pooled, dropped, summed: the variance of the logit is known in closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.pool, self.drop, self.head = (
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Dropout(0.5),
            nn.Linear(3, 1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.pool(self.act(x)).flatten(1)))


def test_the_noise_falls_to_pi_over_n_and_the_mean_stays() -> None:
    """N = 64 cells of rectified normal noise: Var before / Var after = E[x²] / (N E[x]²) = pi / 64 = 0.049."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = mt.open(Head().eval(), recipe={"size": 8})
    edited = HeadDropout()(net)
    assert isinstance(edited.net.drop, nn.Identity) and isinstance(edited.net.pool[0], nn.Dropout)
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    drawn = []
    for one in (net, edited):
        copy = one.net.train()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(2)
            drawn.append(copy(x.expand(20000, -1, -1, -1)).flatten())
        copy.eval()
    after, before = drawn
    exact = x.relu().square().mean((2, 3)) / x.relu().mean((2, 3)).square() / 64
    weight = net.net.head.weight.detach().square() * x.relu().mean((2, 3)).square()
    assert float(before.var() / after.var()) == pytest.approx(float((weight * exact).sum() / weight.sum()), rel=0.06)
    assert float(before.var() / after.var()) == pytest.approx(torch.pi / 64, rel=0.25)
    assert float(before.mean()) == pytest.approx(float(net.run(x)), abs=0.01)


def test_it_mends_what_the_audit_finds() -> None:
    net = mt.open(Head().eval(), recipe={"size": 32})
    (found,) = [one.fault for one in run_audit(net) if one.fault]
    assert found.edit == "head_dropout"
    assert not [one for one in run_audit(mt.open(HeadDropout()(net).net, recipe={"size": 32})) if one.fault]


def test_what_does_not_fit() -> None:
    with pytest.raises(Uneditable, match="no module pools its maps"):
        HeadDropout(p=0.1)(mt.open("microtome:mini_deit", weights=None))
    with pytest.raises(Uneditable, match="gives maps, not one score for each class"):
        HeadDropout(p=0.1)(mt.open("microtome:mini_deeplab", weights=None))  # whose pooling is a branch of its pyramid
