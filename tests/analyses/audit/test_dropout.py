"""Dropout called as a function, by timm's options and inside attention, is found as the same dropout as a module is."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import microtome as mt
from dropping_networks import RECIPE, Plain, made
from microtome.analyses.audit.run import RuleOutcome, run_audit
from microtome.edit import Preservation, _broken
from microtome.edits.dropout import Dropout
from microtome.edits.head_dropout import HeadDropout
from microtome.edits.kernel_padding import KernelPadding
from microtome.errors import Uneditable
from microtome.instruments.dropouts import find_dropouts


def found(net: mt.Specimen) -> dict[str, RuleOutcome]:
    return {one.rule.id: one for one in run_audit(net) if one.fault}


def evidence(net: mt.Specimen, id: str) -> str:
    fault = found(net)[id].fault
    assert fault is not None
    return fault.evidence


def test_none_is_found_where_none_is() -> None:
    assert found(made()) == {}


@pytest.mark.parametrize(
    ("share", "id", "layers", "said"),
    [
        ("slot", "MT301", ("slot",), "with slot (p = 0.5) the variance at norm2"),
        ("early", "MT301", ("slot",), "with dropout called as a function behind slot (p = 0.5) the variance at norm2"),
        ("drop", "MT302", ("drop",), "drop (p = 0.5) follows the mean over the 64 positions of"),
        (
            "late",
            "MT302",
            ("drop",),
            "dropout called as a function behind drop (p = 0.5) follows the mean over the 64 positions of",
        ),
    ],
)
def test_as_a_module_and_as_a_function_it_is_found_and_nothing_else(
    share: str, id: str, layers: tuple[str, ...], said: str
) -> None:
    outcomes = found(made(**{share: 0.5}))
    assert set(outcomes) == {id}
    fault = outcomes[id].fault
    assert fault is not None and fault.layers == layers and fault.evidence.startswith(said)


def test_module_and_function_give_the_same_numbers() -> None:
    """The same dropout at the same place: the same draws, so the same ratios to the digits shown."""
    for one, two, id in (("slot", "early", "MT301"), ("drop", "late", "MT302")):
        told = [evidence(made(**{share: 0.4}), id).partition("(p = 0.4)")[2] for share in (one, two)]
        assert told[0] == told[1]


def test_dropout_that_evaluation_does_not_switch_off() -> None:
    net = made(hard=0.3)
    outcomes = found(net)
    assert set(outcomes) == {"MT302", "MT303"}  # it lies behind the pooling, too
    assert "dropout called as a function behind drop (p = 0.3)" in evidence(net, "MT303")
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.equal(net.net(x), net.net(x))
    assert [site.always for site in find_dropouts(net.net, net.recipe).sites] == [True]
    assert [site.always for site in find_dropouts(made(late=0.3).net, net.recipe).sites] == [False]


def test_timms_drop_rate_is_found_and_moved() -> None:
    """timm's ResNet calls dropout as a function of its `drop_rate` behind the pooling."""
    net = mt.open("timm:resnet10t", weights=None, recipe={"size": 64}, drop_rate=0.2)
    assert "dropout called as a function behind global_pool (p = 0.2) follows the mean over the 4 positions" in evidence(
        net, "MT302"
    )
    edited = HeadDropout()(net)
    assert "put dropout (p = 0.2) before global_pool in place of drop_rate" in edited.edits[-1].line
    assert edited.net.drop_rate == 0.0 and net.net.drop_rate == 0.2
    assert "MT302" not in found(edited)
    assert [site.path for site in find_dropouts(edited.net, edited.recipe).sites] == ["global_pool.0"]


class Attending(nn.Module):
    """Self-attention over the cells of a map, with dropout of its weights, before a batch norm."""

    def __init__(self, p: float, fused: bool) -> None:
        super().__init__()
        self.p, self.fused, self.conv = p, fused, nn.Conv2d(3, 8, 4, 4, bias=False)
        self.attn = nn.MultiheadAttention(8, 2, dropout=p, batch_first=True)
        self.norm, self.head = nn.BatchNorm1d(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).flatten(2).transpose(1, 2)
        if self.fused:
            x = functional.scaled_dot_product_attention(x, x, x, dropout_p=self.p if self.training else 0.0)
        else:
            x = self.attn(x, x, x, need_weights=False)[0]
        return self.head(torch.relu(self.norm(x.transpose(1, 2))).mean(2))


@pytest.mark.parametrize("fused", [True, False])
def test_dropout_inside_attention_is_found(fused: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clean, planted = Attending(0.0, fused), Attending(0.9, fused)
    assert "MT301" not in found(mt.open(clean.eval(), recipe=RECIPE))
    said = evidence(mt.open(planted.eval(), recipe=RECIPE), "MT301")
    assert said.startswith(f"with the attention dropout of {'conv' if fused else 'attn'} (p = 0.9) the variance at norm")


class Called(nn.Module):
    """A pre-activation block that drops by a function, with a share that one number decides, or none."""

    def __init__(self, p: float, number: bool) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.share = p if number else (p,)

    def forward(self, x: Tensor) -> Tensor:
        p = self.share[0] if isinstance(self.share, tuple) else self.share
        inner = functional.dropout(self.conv1(torch.relu(self.norm1(x))), p, self.training)
        return x + self.conv2(torch.relu(self.norm2(inner)))


def residual(number: bool) -> mt.Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), Called(0.5, number), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
        )
    return mt.open(net.eval(), recipe=RECIPE)


def test_the_edit_takes_the_function_out_of_the_branch_or_says_that_it_cannot() -> None:
    net = residual(number=True)
    fault = found(net)["MT301"].fault
    assert fault is not None and fault.edit == "dropout:p=0.5" and fault.layers == ("1",)
    edited = Dropout(p=0.5)(net)
    assert [site.path for site in find_dropouts(edited.net, edited.recipe).sites] == ["1.conv2.0"]
    assert "took 1 others out" in edited.edits[-1].line
    with pytest.raises(Uneditable, match="called as a function in 1 .*cannot be removed from outside"):
        Dropout(p=0.5)(residual(number=False))


class Averaged(Plain):
    """Maps that no module gives, averaged by a method."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))
        return self.head(functional.dropout(x.mean((2, 3)), self.late, self.training))


def test_a_mean_without_a_module_is_seen_and_no_edit_is_named() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = mt.open(Averaged(late=0.3).eval(), recipe=RECIPE)
        module = made(late=0.3)
    fault, other = found(net)["MT302"].fault, found(module)["MT302"].fault
    assert fault is not None and other is not None
    assert "follows the mean over the 64 positions of what is averaged behind norm2" in fault.evidence
    assert fault.edit == "" and other.edit == "head_dropout"
    assert fault.evidence.split("would be")[1] == other.evidence.split("would be")[1]  # the same weights, the same ratio


def test_a_network_that_answers_by_chance_is_edited_under_the_same_chance() -> None:
    """Its answers differ from call to call, so promises are tried under one seed; where draws differ, the reason is named."""

    class Odd(Plain):
        def forward(self, x: Tensor) -> Tensor:
            x = functional.dropout(torch.relu(self.norm1(self.conv1(x))), 0.5)
            return self.head(self.pool(torch.relu(self.norm2(self.conv2(x)))).flatten(1))

    net = Odd()
    net.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
    opened = mt.open(net.eval(), recipe=RECIPE)
    assert "the function is preserved exactly" in KernelPadding()(opened).edits[-1].line
    assert "put dropout" in HeadDropout(p=0.2)(opened).edits[-1].line
    other = copy.deepcopy(opened.net)
    with torch.no_grad():
        other.conv1.weight.mul_(2)
        other.norm1.weight.mul_(2)
    kept = Preservation("exactly", "")
    assert "the outputs of the network are random" in _broken(kept, opened, opened.with_net(other, name="other"))
    assert _broken(kept, opened, opened) == ""
    assert "a fault of this edit" in _broken(kept, made(), made().with_net(Plain().eval(), name="other"))
