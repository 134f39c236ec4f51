"""Networks ended at a layer: the same maps to the bit, strides and channels told, nothing left of what came after."""

import pytest
import torch

import microtome as mt
from microtome import testing
from microtome._torchvision import timm
from microtome.edit import parse
from microtome.errors import Uneditable
from microtome.specimen import watch

Cut = mt.edits.cut.Cut


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(6)


@pytest.mark.parametrize(("layer", "head"), [("layer3.0", 0), ("layer3", 10), ("conv1", 0)])
def test_the_law_of_edits(layer: str, head: int, pics: mt.Images, tmp_path) -> None:
    testing.check_edit(Cut(at=(layer,), head=head), mt.open("microtome:mini_resnet"), pics, tmp_path)


@pytest.mark.parametrize(
    ("name", "layer", "options"),
    [
        ("timm:resnet18", "layer3", {"zero_init_last": False}),
        ("timm:vit_tiny_patch16_224", "blocks.7", {"img_size": 64}),
        ("timm:swin_tiny_patch4_window7_224", "layers.2", {"img_size": 64}),
        ("timm:hrnet_w18_small_v2", "stage3", {}),
        ("timm:densenet121", "features.denseblock2", {}),
        ("timm:vgg11", "features.9", {}),
        ("timm:efficientnet_b0", "blocks.3", {}),
        ("torchvision:resnet18", "layer2.0", {}),
    ],
)
def test_the_maps_are_those_of_the_whole_network(name: str, layer: str, options, tmp_path) -> None:
    net = mt.open(name, weights=None, recipe={"size": 64}, **options)
    layers = [net.layer(each) for each in net.distinct(layer)]
    edited = Cut(at=(layer,))(net)
    x = net.noise(2)
    with watch(net, [each.name for each in layers]) as seen:
        net.run(x)
    given = edited.run(x)
    given = [given] if isinstance(given, torch.Tensor) else given
    for each, maps in zip(layers, given, strict=True):
        assert torch.equal(maps, each.maps(seen[each.name]))
        assert maps.shape[1] == each.units
    before, after = edited.edits[-1].parameters
    assert after < before
    reopened = mt.open(edited.save(tmp_path / "cut.safetensors"))
    assert reopened.digest() == edited.digest()
    again = reopened.run(x)
    again = [again] if isinstance(again, torch.Tensor) else again
    assert all(torch.equal(one, two) for one, two in zip(given, again, strict=True))


def test_as_timm_does_with_features_only() -> None:
    net = mt.open("timm:resnet18", weights=None, recipe={"size": 64}, zero_init_last=False)
    theirs = timm().create_model("resnet18", features_only=True, out_indices=(2, 3, 4)).eval()
    theirs.load_state_dict({k: v for k, v in net.net.state_dict().items() if not k.startswith("fc.")})
    edited = Cut(at=("layer2", "layer3", "layer4"))(net)
    x = net.noise(2)
    with torch.no_grad():
        for one, two in zip(edited.net(x), theirs(x), strict=True):
            assert torch.equal(one, two)
    info = edited.net.feature_info
    assert info.channels() == theirs.feature_info.channels() == [128, 256, 512]
    assert info.reduction() == theirs.feature_info.reduction() == [8, 16, 32]
    assert info.module_name() == ["layer2", "layer3", "layer4"]
    assert set(edited.net.state_dict()) == {k for k in net.net.state_dict() if not k.startswith("fc.")}
    assert "layer2: 128 channels, stride 8 px, receptive field 99 px" in edited.edits[-1].line
    assert isinstance(edited.net, type(net.net))


def test_it_trains_and_gives_gradients() -> None:
    edited = parse("cut:layer2,head=3")(mt.open("microtome:mini_resnet"))
    assert edited.outputs == 3 and edited.labels is None
    loss = edited.net(edited.noise(4)).square().sum()
    (gradient,) = torch.autograd.grad(loss, [edited.net.get_submodule("layer1.0.conv1").weight])
    assert bool(gradient.any())
    assert "layer4" not in dict(edited.net.named_children())


@pytest.mark.parametrize(
    ("word", "reason"),
    [("cut", "no layer is named"), ("cut:layer9", "No layer is called 'layer9'"), ("cut:stages,head=-1", "takes 0 to")],
)
def test_refusals(word: str, reason: str) -> None:
    with pytest.raises((Uneditable, mt.errors.BadOption), match=reason):
        parse(word)(mt.open("microtome:mini_resnet"))
