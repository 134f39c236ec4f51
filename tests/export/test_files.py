"""The files of a slimmed network: loaded without microtome they give its outputs, by arguments of timm or as a program."""

import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import microtome as mt
from microtome.edits.remove_blocks import RemoveBlocks
from microtome.errors import Uneditable
from microtome.export import files
from microtome.export.architecture import find_architecture
from microtome.export.files import write_files
from outside import outputs_without_microtome


def noise(size: int, count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def write(folder: Path, name: str, block: str, size: int, onnx: bool = False, **options: object):
    weights = None if name.startswith("timm") else "pretrained"
    specimen = mt.open(name, weights=weights, recipe={"size": size}, **options)
    smaller = RemoveBlocks(at=(block,))(specimen)
    folder.mkdir()
    return smaller, write_files(folder, folder, specimen, smaller, (block,), noise(size), onnx)


def test_by_arguments_of_timm_and_onnx(tmp_path: Path) -> None:
    options = {"layers": (1, 3, 1, 1), "num_classes": 5, "zero_init_last": False}
    smaller, written = write(tmp_path / "slim", "timm:resnet18", "layer2.1", 32, onnx=True, **options)
    assert (
        "timm.create_model('resnet18'" in (tmp_path / "slim" / "load.py").read_text() and "layers=[1, 2, 1, 1]" in written.route
    )
    assert not (tmp_path / "slim" / "network.pt2").exists()
    x = noise(32, 4)
    with torch.no_grad():
        wanted = smaller.net(x)
    given = outputs_without_microtome(tmp_path / "slim", x, tmp_path)
    assert (given - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert "layer2.2.conv1.weight" not in load_file(tmp_path / "slim" / "weights.safetensors")
    assert 0 <= written.differences["onnx"] <= 1e-4
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "slim" / "network.onnx"), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": x.numpy()})
    assert (torch.from_numpy(scores) - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    again = mt.open("timm:resnet18", weights=tmp_path / "slim" / "weights.safetensors", recipe={"size": 32},
                    **{**options, "layers": (1, 2, 1, 1)})  # fmt: skip
    with torch.no_grad():
        assert torch.allclose(again.net(x), wanted, atol=1e-6)


@pytest.mark.parametrize(("name", "block"), [("mini_resnet", "layer4.1"), ("mini_deit", "blocks.4")])
def test_as_a_program_of_torch_export(name: str, block: str, tmp_path: Path) -> None:
    smaller, written = write(tmp_path / "slim", f"microtome:{name}", block, 64)
    assert written.route == "torch.export" and written.batch is None and written.notes == []
    x = noise(64, 5)
    with torch.no_grad():
        wanted = smaller.net(x)
    given = outputs_without_microtome(tmp_path / "slim", x, tmp_path)
    assert (given - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    with torch.no_grad():
        assert torch.equal(mt.open(str(tmp_path / "slim" / "weights.safetensors")).net(x), wanted)
    modes = {stat.S_IMODE((tmp_path / "slim" / file).stat().st_mode) for file in ("weights.safetensors", "load.py")}
    assert len(modes) == 1


def test_windows_that_alternate_are_found_by_their_outputs(tmp_path: Path) -> None:
    """Without an inner block, timm's Swin of that depth shifts other windows: the same tensors, other outputs."""
    sizes = {"embed_dim": 8, "depths": (4,), "num_heads": (2,), "window_size": 4, "img_size": 64, "num_classes": 5}
    name, block = "timm:swin_tiny_patch4_window7_224", "layers.0.blocks.1"
    smaller, written = write(tmp_path / "slim", name, block, 64, **sizes)
    full = mt.open(name, weights=None, recipe={"size": 64}, **sizes)
    assert find_architecture(full, (block,), smaller.net) is not None
    assert written.route == "torch.export" and (tmp_path / "slim" / "network.pt2").exists()


def test_other_outputs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "load_again", lambda folder: lambda x: torch.zeros(len(x), 10))
    with pytest.raises(Uneditable, match="gives other outputs"):
        write(tmp_path / "slim", "microtome:mini_resnet", "layer4.1", 64)
