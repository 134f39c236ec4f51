"""Dense connections by surgery: the law of edits, sums written out by hand, and what becomes of blocks, stages and other edits."""

import pytest
import torch

import microtome as mt
from microtome import testing
from microtome.errors import Uneditable
from microtome.specimen import watch

Dense = mt.edits.dense_connections.DenseConnections


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(6)


@pytest.fixture(scope="module")
def resnet() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


# mini_resnet has stages of 1, 1, 2 and 3 blocks, and its last two are on one grid of 8 x 8: x_0 enters the last stage on that grid.
# So layer4.1 reads x_0 more, layer4.2 x_0 and x_1; layer3.1 nothing, since what enters layer3 is on 16 x 16: its blocks read 1 map
@pytest.mark.parametrize("options", [{}, {"way": "add"}, {"stages": (4,)}], ids=str)
@pytest.mark.parametrize("name", ["microtome:mini_resnet", "microtome:mini_vgg"])
def test_the_law_of_edits(name: str, options, pics, tmp_path) -> None:
    net = mt.open(name)
    edited = testing.check_edit(Dense(**options), net, pics, tmp_path)
    assert [block.name for block in edited.blocks] == [block.name for block in net.blocks]
    assert [block.stage for block in edited.blocks] == [block.stage for block in net.blocks]
    assert edited.family == net.family


def test_parameters_by_hand(resnet) -> None:
    # layer3.1 reads what enters layer3 (32 units), layer4.1 what enters layer4 (40), layer4.2 that and layer4.0 (40 + 48)
    before, after = Dense()(resnet).edits[-1].parameters
    assert after - before == 9 * (40 * 32 + 48 * 40 + 48 * (40 + 48))
    before, after = Dense(way="add")(resnet).edits[-1].parameters
    assert after - before == 40 * 32 + 48 * 40 + 48 * (40 + 48)
    before, after = Dense(stages=(4,))(resnet).edits[-1].parameters
    assert after - before == 9 * (48 * 40 + 48 * (40 + 48))


def test_gradients_reach_the_zeros_at_once_and_nothing_is_kept(resnet) -> None:
    edited = Dense()(resnet)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with watch(edited, ["layer3", "layer4.0"]) as seen:
        edited.run(x)
    read = torch.cat([seen["layer3"], seen["layer4.0"]], 1)  # 40 + 48 units; some are silent on noise, and teach nothing
    weight = edited.net.layer4[2].conv1.weight  # type: ignore[index]
    (gradient,) = torch.autograd.grad(edited.net(x)[:, 0].sum(), [weight])
    heard = gradient[:, 48:].flatten(2).any(2).any(0)
    assert torch.equal(heard, read.flatten(2).any(2).any(0))
    assert int(heard.sum()) > 60
    assert edited.net.layer4.shelf.maps == {}  # type: ignore[union-attr]
    assert edited.net.layer4[2].conv1.shelf is edited.net.layer4.shelf  # type: ignore[index, union-attr]


def test_with_other_edits_in_both_orders(tmp_path) -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = mt.open("microtome:mini_resnet")
    for edits in (["dense_connections", "squeeze_excitation"], ["squeeze_excitation", "dense_connections:way=add"]):
        both = mt.open("microtome:mini_resnet", edits=edits)
        torch.testing.assert_close(both.run(x), plain.run(x))
        assert both.family == "attention"
        assert mt.open(both.save(tmp_path / "both.safetensors")).digest() == both.digest()
    with pytest.raises(Uneditable, match="no stage of it is a chain"):
        mt.open("microtome:mini_resnet", edits=["dense_connections", "dense_connections"])


def test_what_it_does_not_fit(resnet) -> None:
    for name in ("mini_densenet", "mini_deit", "mini_hrnet"):
        with pytest.raises(Uneditable, match="no stage of it is a chain of blocks"):
            Dense()(mt.open(f"microtome:{name}", weights=None))
    with pytest.raises(Uneditable, match="stage 1 has no chain that could be connected; those that have one are 3, 4"):
        Dense(stages=(1,))(resnet)
    other = mt.open("timm:resnetv2_50", weights=None, recipe={"size": 64})
    with pytest.raises(Uneditable, match=r"stages\.0\.blocks\.1 does not begin with an ordinary convolution .*way=add"):
        Dense()(other)


def test_libraries() -> None:
    net = mt.open("torchvision:resnet18", weights=None, recipe={"size": 64})
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Dense()(net).run(x), net.run(x))
    plain = mt.open("timm:convnext_atto", weights=None, recipe={"size": 64})
    edited = Dense(way="add")(plain)
    assert torch.equal(edited.run(x), plain.run(x))
    assert "let 8 blocks read 18 earlier maps" in edited.edits[-1].line  # stages of 2, 2, 6 and 2 blocks: 3 · 1 + (1 + … + 5)
