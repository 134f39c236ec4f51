"""Dense wiring by hand: what is kept, stacked or added, and that nothing stays on the shelf."""

import pytest
import torch
from torch.nn.functional import conv2d

import microtome as mt
from microtome.networks.wiring import DenseSequential, Projection, Shelf, WideConv2d

Dense = mt.edits.dense_connections.DenseConnections


@pytest.fixture(scope="module")
def resnet() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


def stage(way: str, resnet: mt.Specimen) -> tuple[DenseSequential, torch.Tensor]:
    """The last stage with connections that were given some weight, and something that enters it."""
    chain = Dense(way=way)(resnet).net.layer4
    assert isinstance(chain, DenseSequential)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in chain.modules():
            if isinstance(part, WideConv2d):
                new = part.weight[:, 48:]
                new.copy_(0.05 * torch.randn(new.shape, generator=generator))
            elif isinstance(part, Projection):
                part.weight.copy_(0.05 * torch.randn(part.weight.shape, generator=generator))
    return chain, torch.randn(2, 40, 8, 8, generator=generator).relu()


def test_what_concat_computes_by_hand(resnet) -> None:
    chain, x0 = stage("concat", resnet)
    blocks = resnet.net.layer4  # type: ignore[union-attr]
    with torch.no_grad():
        maps = [x0, blocks[0](x0)]  # type: ignore[index]
        for place in (1, 2):
            plain, wide = blocks[place], chain[place]  # type: ignore[index]
            own = plain.conv1(maps[-1])
            for index, earlier in enumerate(maps[:-1]):  # one convolution for each map instead of one over all of them
                first = 48 + sum(one.shape[1] for one in maps[:index])
                own = own + conv2d(earlier, wide.conv1.weight[:, first : first + earlier.shape[1]], padding=1)
            branch = plain.bn2(plain.conv2(plain.act1(plain.bn1(own))))
            maps.append((branch + maps[-1]).relu())
        torch.testing.assert_close(chain(x0), maps[-1])
        assert float((chain(x0) - blocks(x0)).abs().max()) > 0.01  # the connections were heard


def test_what_add_computes_by_hand(resnet) -> None:
    chain, x0 = stage("add", resnet)
    blocks, projections = resnet.net.layer4, dict(chain.projections.named_children())  # type: ignore[union-attr, arg-type]
    assert sorted(projections) == ["1_from_input_of_0", "2_from_0", "2_from_input_of_0"]
    with torch.no_grad():
        x1 = blocks[0](x0)  # type: ignore[index]
        x2 = blocks[1](x1 + projections["1_from_input_of_0"](x0))  # type: ignore[index]
        x3 = blocks[2](x2 + projections["2_from_input_of_0"](x0) + projections["2_from_0"](x1))  # type: ignore[index]
        torch.testing.assert_close(chain(x0), x3)
        assert float((chain(x0) - blocks(x0)).abs().max()) > 0.01


def test_a_wider_convolution_begins_as_the_narrow_one_and_reads_the_shelf() -> None:
    torch.manual_seed(0)
    narrow, shelf = torch.nn.Conv2d(2, 3, 3, padding=1, dilation=1, bias=True), Shelf()
    wide = WideConv2d(narrow, ["b", "a"], 5, shelf)
    x, a, b = torch.randn(1, 2, 6, 6), torch.randn(1, 4, 6, 6), torch.randn(1, 1, 6, 6)
    shelf.maps = {"a": a, "b": b}
    assert torch.allclose(wide(x), narrow(x), atol=1e-6)
    with torch.no_grad():
        wide.weight[:, 2] = 1.0  # the first input behind its own: b
    assert torch.allclose(wide(x), narrow(x) + torch.nn.functional.conv2d(b, torch.ones(3, 1, 3, 3), padding=1), atol=1e-5)
    shelf.maps = {}
    assert torch.allclose(wide(x), narrow(x), atol=1e-6)  # outside its chain


def test_maps_are_added_through_their_projections_and_let_go_after_an_error() -> None:
    chain, shelf = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh(), torch.nn.Sigmoid()), Shelf()
    x = torch.randn(2, 3, 4, 4)
    projection = Projection(3, 3, x)
    dense = DenseSequential(chain, ["<0"], shelf, {"2": {"<0": projection}})
    assert torch.equal(dense(x), chain(x))  # projections begin at zero
    with torch.no_grad():
        projection.weight[:, :, 0, 0] = 2 * torch.eye(3)
    assert torch.allclose(dense(x), torch.sigmoid(torch.tanh(x.relu()) + 2 * x), atol=1e-6)
    assert shelf.maps == {} and list(dense.projections) == ["2_from_input_of_0"]
    with pytest.raises(RuntimeError):
        dense(torch.randn(2, 5, 4, 4))
    assert shelf.maps == {}
