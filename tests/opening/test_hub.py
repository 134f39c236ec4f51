import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from microtome._torchvision import timm
from microtome.errors import BadOption, NoNetwork
from microtome.opening import hub
from microtome.opening.opening import open as open_specimen


@pytest.fixture
def cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No server answers and the caches are empty; the list collects the hosts that were asked for."""
    import huggingface_hub.constants as settings

    asked: list[str] = []

    def refuse(address: Any, *_: Any, **__: Any) -> Any:
        asked.append(str(address[0]))
        raise OSError("no route to host")

    def nowhere(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr(settings, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return asked


@pytest.mark.parametrize(
    ("what", "host"), [("timm:test_resnet", "huggingface.co"), ("torchvision:squeezenet1_1", "download.pytorch.org")]
)
def test_no_network_is_said_in_one_sentence_with_the_ways_out(
    what: str, host: str, cut_off: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NoNetwork) as caught:
        open_specimen(what)
    message = str(caught.value)
    for part in (what, host, "weights=None", "weights=FILE", "cache"):
        assert part in message
    assert cut_off.count(host) <= 2  # no retries
    assert capfd.readouterr() == ("", "")


def test_weights_in_the_cache_need_no_network(tmp_path: Path, cut_off: list[str]) -> None:
    net = timm().create_model("test_resnet")
    snapshot = tmp_path / "hf" / "models--timm--test_resnet.r160_in1k" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123abcd")
    save_file(net.state_dict(), snapshot / "model.safetensors")
    found = open_specimen("timm:test_resnet")
    assert (found.name, found.weights, found.trained) == ("timm:test_resnet.r160_in1k", "pretrained r160_in1k", True)
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in found.net.state_dict().items())
    assert cut_off == []


def test_wrong_options_are_not_taken_for_a_missing_network(cut_off: list[str]) -> None:
    with pytest.raises(BadOption):
        open_specimen("timm:test_resnet", frobnicate=3)


def test_settings_of_the_client_are_restored(cut_off: list[str]) -> None:
    import huggingface_hub.constants as settings

    before = settings.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    with pytest.raises(NoNetwork):
        open_specimen("timm:test_resnet")
    assert (settings.HF_HUB_OFFLINE, socket.getdefaulttimeout()) == before
