"""A layer norm in the patch embedding: the law of edits, scale invariance and what spoils it, and what does not fit."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome import testing
from microtome.errors import Uneditable

Prelayernorm = mt.edits.prelayernorm.Prelayernorm
SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 10}
RECIPE: dict[str, Any] = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def vit() -> mt.Specimen:
    """A small vision transformer with biases and positions that are not small."""
    specimen = mt.open("timm:vit_tiny_patch16_224", weights=None, recipe=RECIPE, **SMALL)
    net = cast(Any, specimen.net)
    with torch.no_grad():
        net.patch_embed.proj.bias.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
        net.pos_embed.normal_(0, 0.5, generator=torch.Generator().manual_seed(2))
    return specimen


def change(specimen: mt.Specimen, scale: float, mean: float | Tensor = 0.0) -> float:
    """How much the scores change, relative to their spread, when the input is scaled about `mean`."""
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    one, two = specimen.run(x), specimen.run(mean + scale * (x - mean))
    return float((one - two).abs().max() / one.std())


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"reading": "pixels"}], ids=str)
def test_the_law_of_edits(options: dict[str, Any], tmp_path: Any) -> None:
    edited = testing.check_edit(Prelayernorm(**options), vit(), mt.Images.scenes(4), tmp_path)
    assert edited.edits[-1].preserves == "no"
    assert (cast(Any, edited.net).patch_embed.proj.conv.bias is None) == (options == {})


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 16.0])
def test_the_answer_does_not_depend_on_the_scale_unless_the_projection_has_a_bias(scale: float) -> None:
    plain = vit()
    assert change(plain, scale) > 1e-2
    assert change(Prelayernorm()(plain), scale) < 1e-4
    assert change(Prelayernorm(reading="pixels")(plain), scale) < 1e-4
    assert change(Prelayernorm(bias=True)(plain), scale) > 1e-2


def test_only_raw_patches_lose_a_common_grey_level() -> None:
    plain = vit()
    per_channel = torch.tensor([0.5, -0.2, 0.9])[None, :, None, None]
    assert change(Prelayernorm()(plain), 2.0, 0.7) > 1e-2
    assert change(Prelayernorm(reading="pixels")(plain), 2.0, 0.7) < 1e-4
    assert change(Prelayernorm(reading="pixels")(plain), 2.0, per_channel) > 1e-2


def test_tokens_are_what_timms_own_option_gives() -> None:
    """timm's `embed_norm_layer` is the first reading: the same weights give the same answers."""
    edited = Prelayernorm()(vit())
    theirs = mt.open("timm:vit_tiny_patch16_224", weights=None, recipe=RECIPE, embed_norm_layer=nn.LayerNorm, **SMALL).net
    own = {
        name.replace("proj.conv.", "proj.").replace("proj.norm.", "norm."): one for name, one in edited.net.state_dict().items()
    }
    theirs.load_state_dict(own | {"patch_embed.proj.bias": torch.zeros(24)})
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert torch.allclose(theirs(x), edited.run(x), atol=1e-4)


def test_raw_patches_by_hand() -> None:
    plain = vit()
    edited = Prelayernorm(reading="pixels")(plain)
    front, proj = cast(Any, edited.net).patch_embed.proj, cast(Any, plain.net).patch_embed.proj
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    patch = x[:, :, 8:16, 24:32]
    normed = (patch - patch.mean()) / patch.std(unbiased=False)
    with torch.no_grad():
        assert torch.allclose(front(x)[0, :, 1, 3], proj(normed)[0, :, 0, 0], atol=1e-4)


def test_the_share_of_positions_stays_at_every_contrast() -> None:
    edited = Prelayernorm()(vit())
    share = mt.analyses.position.Position(count=3)(edited, mt.Images.scenes(3, size=32)).arrays["share"].values
    assert share == pytest.approx([share[0]] * len(share), rel=1e-3)


def test_what_does_not_fit_says_why(net: mt.Specimen) -> None:
    with pytest.raises(Uneditable, match="no transformer whose first convolution"):
        Prelayernorm()(net)
    for reading in ("tokens", "pixels"):
        with pytest.raises(Uneditable, match="normalised already"):
            Prelayernorm()(Prelayernorm(reading=reading)(vit()))
