"""Programs: bound to one image where the network is, refused where it cannot be followed, and ONNX that differs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from microtome.errors import Uneditable
from microtome.export import programs
from microtome.export.programs import write_onnx, write_program


class OneImage(nn.Module):
    """Works for one image only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, 12).sum(1, keepdim=True)


class Branching(nn.Module):
    """Goes by the values of its input, which torch.export cannot follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 0 else -x


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def test_any_batch_or_one_image(tmp_path: Path) -> None:
    assert write_program(nn.Flatten(), images(), tmp_path / "a.pt2") is None
    assert torch.export.load(tmp_path / "a.pt2").module()(images(5)).shape == (5, 12)
    assert write_program(OneImage(), images(), tmp_path / "b.pt2") == 1
    x = images(1)
    assert torch.allclose(torch.export.load(tmp_path / "b.pt2").module()(x), x.sum().reshape(1, 1))


def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Uneditable, match=r"torch\.export cannot follow this network \("):
        write_program(Branching(), images(), tmp_path / "a.pt2")


def test_onnx_is_right_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten()).eval()
    batch, difference = write_onnx(net, images(), tmp_path / "a.onnx")
    assert batch is None and 0 <= difference <= 1e-5
    export = torch.onnx.export

    def of_another(_net: nn.Module, *words: Any, **options: Any) -> Any:
        with torch.no_grad():
            net[0].weight += 1.0
        program = export(net, *words, **options)
        with torch.no_grad():
            net[0].weight -= 1.0
        program.model.graph.initializers["0.weight"].const_value = torch_to_ir(net[0].weight + 1.0)
        return program

    import onnx_ir

    def torch_to_ir(value: torch.Tensor) -> Any:
        return onnx_ir.Tensor(value.detach().numpy(), name="0.weight")

    monkeypatch.setattr(torch.onnx, "export", of_another)
    with pytest.raises(Uneditable, match=r"In onnxruntime the outputs differ by .* no ONNX file"):
        programs.write_onnx(net, images(), tmp_path / "b.onnx")
