"""Folders in Hugging Face's form: timm's and transformers', whole and in shards, and what is wrong with the others."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from microtome._torchvision import timm, torchvision
from microtome.errors import CheckpointError, MissingExtra, NoNetwork, SpecimenError, UnknownName
from microtome.opening import hub
from microtome.opening.network_folders import folder_labels, folder_recipe, is_network_folder
from microtome.opening.opening import open as open_specimen

NAME = "test_resnet"


def write_timm_folder(folder: Path, **changes: Any) -> torch.nn.Module:
    """A folder as timm's `save_for_hf` writes it, with a small network of four channels and seven classes."""
    net = timm().create_model(NAME, num_classes=7, in_chans=4).eval()
    given = {
        "input_size": [4, 96, 96],
        "mean": [0.1, 0.2, 0.3, 0.4],
        "std": [0.5] * 4,
        "crop_pct": 1.0,
        "first_conv": "conv1.0",
    }
    config = {
        "architecture": NAME,
        "num_classes": 7,
        "pretrained_cfg": {**given, "classifier": "fc", "interpolation": "bicubic"},
    }
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, "model_args": {"in_chans": 4}, **changes}))
    return net


def write_shards(folder: Path, state: dict[str, torch.Tensor]) -> None:
    names = sorted(state)
    table = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: state[name].contiguous() for name in part}, folder / file)
        table |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))


@pytest.mark.parametrize("kind", ["safetensors", "bin", "shards"])
def test_a_folder_of_timm_opens_with_its_recipe_and_weights(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "net"
    net = write_timm_folder(folder)
    if kind == "safetensors":
        save_file(net.state_dict(), folder / "model.safetensors")
    elif kind == "bin":
        torch.save(net.state_dict(), folder / "pytorch_model.bin")
    else:
        write_shards(folder, net.state_dict())
    specimen = open_specimen(folder)
    x = torch.rand(2, 4, 96, 96)
    with torch.no_grad():
        assert torch.equal(specimen.run(x), net(x))
    recipe = specimen.recipe
    assert (recipe.channels, recipe.size, recipe.mean, recipe.interpolation) == (4, (96, 96), (0.1, 0.2, 0.3, 0.4), "bicubic")
    assert specimen.trained is True
    assert specimen.outputs == 7
    assert specimen.name == "net"


def test_weights_none_gives_the_architecture_of_the_folder_untrained(tmp_path: Path) -> None:
    write_timm_folder(tmp_path / "net")
    specimen = open_specimen(str(tmp_path / "net"), weights=None)
    assert specimen.trained is False
    assert specimen.recipe.channels == 4
    assert specimen.name == "net"


def test_a_folder_without_weights_or_with_an_unknown_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    write_timm_folder(tmp_path / "net")
    with pytest.raises(CheckpointError, match="has a config.json and no weights"):
        open_specimen(tmp_path / "net")
    write_timm_folder(tmp_path / "net", architecture="test_resnat")
    with pytest.raises(SpecimenError, match="architecture 'test_resnat', which this timm .* Did you mean 'test_resnet'"):
        open_specimen(tmp_path / "net")
    (tmp_path / "net" / "config.json").write_text('{"learning_rate": 0.1}')
    with pytest.raises(SpecimenError, match="names no network"):
        open_specimen(tmp_path / "net")
    (tmp_path / "net" / "config.json").write_text("{")
    with pytest.raises(SpecimenError, match="cannot be read"):
        open_specimen(tmp_path / "net")
    (tmp_path / "net" / "config.json").unlink()
    with pytest.raises(UnknownName, match=r"is a folder without a config.json.*mt.open\('timm:NAME', weights="):
        open_specimen(tmp_path / "net")


def test_a_folder_of_transformers_names_the_package_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["ViTModel"], "model_type": "vit"}))
    with pytest.raises(MissingExtra, match=r"holds ViTModel.*pip install 'microtome\[transformers\]'"):
        open_specimen(tmp_path)


def test_code_in_a_folder_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Mine"], "auto_map": {"AutoModel": "mine.Mine"}}))
    (tmp_path / "mine.py").write_text("raise SystemExit('was run')")
    with pytest.raises(SpecimenError, match="is code of its own"):
        open_specimen(tmp_path)


def test_the_recipe_is_that_of_the_preprocessor(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "num_channels": 3, "image_size": 30}))
    declared = {
        "size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 30, "width": 30}, "resample": 3,
        "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.3],
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(declared))
    recipe, notes = folder_recipe(tmp_path) or (None, None)
    assert recipe is not None
    assert not notes
    assert (recipe.size, recipe.crop, recipe.interpolation) == ((30, 30), 0.75, "bicubic")
    assert (recipe.mean, recipe.std) == ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    (tmp_path / "preprocessor_config.json").write_text('{"size": "wide"}')
    with pytest.raises(SpecimenError, match="cannot be read"):
        folder_recipe(tmp_path)


def test_labels_are_those_of_the_folder_unless_they_say_nothing(tmp_path: Path) -> None:
    config = {"model_type": "vit", "id2label": {"1": "dog", "0": "cat"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert folder_labels(tmp_path) == (("cat", "dog"), None)
    (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}))
    assert folder_labels(tmp_path) is None


def test_what_is_no_folder_is_none() -> None:
    assert not is_network_folder("timm:resnet18")
    assert not is_network_folder("a\0b")
    assert not is_network_folder("a" * 5000)


@pytest.mark.parametrize("weights", ["pretrained", None])
def test_a_name_on_the_hub_without_a_server_is_one_sentence(
    weights: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as settings

    monkeypatch.setattr(settings, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(hub, "_is_reachable", lambda _: False)
    with pytest.raises(
        NoNetwork, match="hf-hub:somebody/net is not on this machine, configuration and weights, .*give its folder"
    ):
        open_specimen("hf_hub:somebody/net", weights=weights)


@pytest.mark.parametrize("name", ["ViTForImageClassification", "Dinov2Model"])
def test_a_folder_of_transformers_opens_with_its_weights(tmp_path: Path, name: str) -> None:
    torchvision()  # which transformers imports
    library = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "num_channels": 5,
    }
    kind = getattr(library, name)
    net = kind(
        kind.config_class(**sizes, **({} if name == "Dinov2Model" else {"intermediate_size": 64, "num_labels": 4}))
    ).eval()
    net.save_pretrained(tmp_path)
    specimen = open_specimen(tmp_path)
    x = torch.rand(2, 5, 32, 32)
    with torch.no_grad():
        assert torch.equal(specimen.answer(x), specimen.pick(net(x)))
    assert specimen.recipe.channels == 5
    assert specimen.recipe.size == (32, 32)
    assert open_specimen(tmp_path, weights=None).digest() != specimen.digest()
    assert specimen.twin(1).digest() != specimen.digest()
