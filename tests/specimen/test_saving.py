"""One file with weights and header: read back by safetensors itself, and never half a file."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from microtome.errors import BadOption, SpecimenError
from microtome.specimen.saving import HEADER_KEY, save_network


def test_what_is_written_is_what_safetensors_reads(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net[0].weight.data = torch.randn(3, 2).T  # not contiguous
    file = save_network(net, {"name": "tiny", "options": {"é": 1}}, tmp_path / "new" / "a.safetensors")
    with safe_open(file, "pt") as reader:
        assert set(reader.keys()) == set(net.state_dict())
        assert all(torch.equal(reader.get_tensor(name), value) for name, value in net.state_dict().items())
        assert json.loads(reader.metadata()[HEADER_KEY]) == {"name": "tiny", "options": {"é": 1}}
    assert [path.name for path in file.parent.iterdir()] == ["a.safetensors"]


def test_a_wrong_name_or_header_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"write for example .*a\.safetensors"):
        save_network(nn.Linear(1, 1), {}, tmp_path / "a.pt")
    with pytest.raises(SpecimenError, match="tiny was built with options that are no plain values"):
        save_network(nn.Linear(1, 1), {"name": "tiny", "x": object()}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_it_where_they_may_read_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = save_network(nn.Linear(2, 2), {}, tmp_path / "net.safetensors")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
