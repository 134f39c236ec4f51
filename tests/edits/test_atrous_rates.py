"""Atrous rates: maps as large as before, weights as before, other answers except where a rate stays; by the map or as told."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome.errors import BadOption, Uneditable
from microtome.numerics.receptive.positions import as_pair
from microtome.specimen import watch

Rates = mt.edits.atrous_rates.AtrousRates
BRANCHES = [f"aspp.branches.{place}.conv" for place in (1, 2, 3)]


@pytest.fixture(scope="module")
def wide() -> mt.Specimen:
    """The mini DeepLab with the rates of the large one: on 16 cells one branch is dead."""
    return mt.open("microtome:mini_deeplab", weights=None, rates=(6, 12, 18))


def rates(net: mt.Specimen, paths: list[str] = BRANCHES) -> list[tuple[int, int]]:
    return [as_pair(net.net.get_submodule(path).dilation) for path in paths]


class Pooled(nn.Module):
    """Two parallel branches on a stem, pooled to three scores."""

    def __init__(self, mode: str = "zeros", padding: str = "") -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.one, self.two = (nn.Conv2d(4, 4, 3, padding=padding or rate, dilation=rate, padding_mode=mode) for rate in (2, 3))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(self.one(x) + self.two(x)).mean((2, 3)))


def pooled(mode: str = "zeros", padding: str = "") -> mt.Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mt.open(Pooled(mode, padding).eval(), recipe={"size": 32, "crop": 1.0})


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (2, 5, 7)), ({"size": 128}, (5, 10, 15)), ({"at": ("aspp",), "rates": (1, 3, 6)}, (1, 3, 6)),
     ({"at": ("aspp",), "rates": (4,)}, (4, 4, 4))], ids=str,
)  # fmt: skip
def test_the_law_of_edits(options, expected, wide, tmp_path) -> None:
    """On 64 px M = 16 and r_max = 7; on 128 px M = 32 and r_max = 15."""
    edited = testing.check_edit(Rates(**options), wide, mt.Images.scenes(4), tmp_path)
    assert rates(edited) == [(rate, rate) for rate in expected]
    assert edited.edits[-1].preserves == "no" and edited.edits[-1].options["rates"]
    assert "weights stay, but read other positions" in edited.edits[-1].line
    for name, value in wide.net.state_dict().items():
        assert torch.equal(value, edited.net.state_dict()[name])


def test_only_branches_whose_rate_stays_answer_as_before(wide) -> None:
    edited = Rates(at=("aspp",), rates=(6, 5, 18))(wide)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    values = []
    for net in (wide, edited):
        with watch(net, BRANCHES) as seen:
            net.run(x)
        values.append([seen[name] for name in BRANCHES])
    assert [one.shape for one in values[0]] == [one.shape for one in values[1]]
    assert [torch.equal(*pair) for pair in zip(*values, strict=True)] == [True, False, True]
    assert float((wide.run(x) - edited.run(x)).abs().max()) > 1e-3
    assert "set the rates of 1 convolution (aspp.branches.2.conv 12 to 5)" in edited.edits[-1].line


def test_dead_taps_come_alive() -> None:
    """A dead branch is its middle tap; with a rate that fits, its outer weights change the answer."""
    from microtome.instruments.dilated.convolutions import dilated_convolutions

    net = mt.open("microtome:mini_deeplab", weights=None, rates=(6, 12, 18))
    assert [bool(one.dead) for one in dilated_convolutions(net)][-3:] == [False, False, True]
    assert not any(one.dead for one in dilated_convolutions(Rates()(net)))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["", "same"])
def test_padding_follows_in_every_mode(mode, padding) -> None:
    edited = Rates(rates=(1, 5))(pooled(mode, padding))
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for name, rate in (("one", 1), ("two", 5)):
        conv = edited.net.get_submodule(name)
        fresh = nn.Conv2d(4, 4, 3, padding=padding or rate, dilation=rate, padding_mode=mode)
        fresh.load_state_dict(conv.state_dict())
        assert torch.equal(conv(x), fresh(x)) and conv(x).shape == x.shape


def test_asymmetric_rates_keep_their_proportion_and_dynamic_padding_follows() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both, self.across = (
                nn.Conv2d(3, 4, 3, padding=(2, 6), dilation=(2, 6)),
                nn.Conv2d(4, 4, (1, 5), padding=(0, 8), dilation=(1, 4)),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.across(self.both(x))

    net = mt.open(Odd().eval(), recipe={"size": (16, 32)})
    edited = Rates(rates=(3, 2))(net)
    assert [edited.net.both.dilation, edited.net.both.padding] == [(1, 3), (1, 3)]
    assert [edited.net.across.dilation, edited.net.across.padding] == [(1, 2), (0, 4)]
    same = mt.open("timm:tf_efficientnet_b0", weights=None, output_stride=16, recipe={"size": 64})
    five = Rates(at=("blocks.5.1.conv_dw",), rates=(1,))(same)
    assert as_pair(five.net.get_submodule("blocks.5.1.conv_dw").dilation) == (1, 1)


def test_rates_for_every_group_at_once() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = (
                nn.ModuleList(nn.Conv2d(3, 3, 3, padding=r, dilation=r) for r in (2, 3)) for _ in range(2)
            )

        def forward(self, x: Tensor) -> Tensor:
            for group in (self.first, self.second):
                x = torch.stack([branch(x) for branch in group]).sum(0)
            return x

    edited = Rates(rates=(4, 7))(mt.open(Two().eval(), recipe={"size": 32}))
    assert rates(edited, ["first.0", "first.1", "second.0", "second.1"]) == [(4, 4), (7, 7)] * 2


def test_what_does_not_fit(wide) -> None:
    with pytest.raises(Uneditable, match="none of its convolutions is dilated"):
        Rates()(mt.open("microtome:mini_resnet", weights=None))
    with pytest.raises(
        Uneditable, match=r"no dilated convolution among classifier; there are backbone.blocks.1.conv2, .* and \d more"
    ):
        Rates(at=("classifier",))(wide)
    with pytest.raises(Uneditable, match=r"3 rates for 8 convolutions .*name one group of branches, as at=aspp"):
        Rates(rates=(1, 2, 3))(wide)
    with pytest.raises(Uneditable, match=r"2 rates for 3 convolutions .*: give one for each, or one for all"):
        Rates(at=("aspp",), rates=(1, 2))(wide)
    with pytest.raises(Uneditable, match="a rate is 1 or more"):
        Rates(at=("aspp",), rates=(0, 1, 2))(wide)
    with pytest.raises(Uneditable, match=r"its rates are what they would be set to \(.*7\); name others: rates=…"):
        Rates(at=("aspp",))(mt.open("microtome:mini_deeplab", weights=None))
    layers = nn.Conv2d(3, 2, 3, padding=2, dilation=2), nn.Flatten(), nn.Linear(128, 3)
    fixed = mt.open(nn.Sequential(*layers), recipe={"size": 8})
    with pytest.raises(BadOption, match="atrous_rates: .* does not run on 3 x 3 px; size 0 takes its own, 8 x 8"):
        Rates(size=3)(fixed)


def test_maps_that_could_not_be_kept_are_refused() -> None:
    def one(conv: nn.Conv2d) -> mt.Specimen:
        return mt.open(nn.Sequential(nn.Conv2d(3, 3, 1), conv), recipe={"size": 32})

    with pytest.raises(Uneditable, match="1 pads too little for rate 2: its map would grow; give 3 or more"):
        Rates(rates=(2,))(one(nn.Conv2d(3, 3, 3, dilation=3)))
    with pytest.raises(Uneditable, match="1 has an even kernel: equal padding"):
        Rates(rates=(3,))(one(nn.Conv2d(3, 3, 2, padding=1, dilation=2)))
    with pytest.raises(Uneditable, match=r"1 does not pad \(padding='valid'\)"):
        Rates(rates=(4,))(one(nn.Conv2d(3, 3, 3, padding="valid", dilation=3)))
    kept = Rates(rates=(4,))(one(nn.Conv2d(3, 3, 3, dilation=3)))
    assert kept.net[1].padding == (1, 1) and kept.run(torch.zeros(1, 3, 32, 32)).shape[2:] == (26, 26)  # type: ignore[index]


def test_it_opens_again_by_its_name(wide, tmp_path: Path) -> None:
    again = mt.open(Rates()(wide).save(tmp_path / "rates.safetensors"))
    assert rates(again) == [(2, 2), (5, 5), (7, 7)]
    assert again.edits[-1].options == {"at": BRANCHES, "rates": [2, 5, 7], "size": 0}
