"""The registry of kinds: read without torch, one file each, and those of other packages, good and broken."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import microtome as mt
from microtome import catalog, map_kinds
from microtome.analyses.cam import Cam
from microtome.errors import BadOption, UnknownName
from microtome.instruments.attribution import MapKind, map_kind

GOOD = '''"""The largest activation at each position.

Source: theirs.
"""

from microtome.instruments.attribution import GradientKind


class Peak(GradientKind):
    """Largest."""

    title = "PeakCAM"

    def signed_map(self, activation, gradient):
        return activation.amax(1)
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts a package with one kind of that code on the path."""
    cached = (map_kinds.map_kind_entries, catalog.analysis_entries, catalog.broken_plugins)

    def forget() -> None:
        for function in cached:
            function.cache_clear()
        sys.modules.pop("peak", None)

    def put(code: str) -> None:
        facts = tmp_path / "its_kinds-1.0.dist-info"
        facts.mkdir()
        (tmp_path / "peak.py").write_text(code)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: its-kinds\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text("[microtome.map_kinds]\npeak = peak:Peak\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        forget()

    yield put
    forget()


def test_every_kind_is_a_file_with_a_title_a_summary_and_a_source() -> None:
    entries = map_kinds.map_kind_entries()
    wanted = {
        "ablationcam", "cam", "eigencam", "gaussian", "gradcam", "gradcam++", "hirescam", "layercam", "scorecam", "xgradcam",
        "deeplift", "inputgradient", "integratedgradients", "kernelshap", "lime", "smoothgrad",
    }  # fmt: skip
    assert set(entries) == wanted
    for name, entry in entries.items():
        kind = map_kind(name)
        assert isinstance(kind, MapKind) and kind.title == entry.title
        assert entry.source and entry.summary.endswith(".") and len(entry.summary.split()) <= 14
    assert all(entry.on_input == map_kind(name).on_input for name, entry in entries.items())
    assert len({entry.title for entry in entries.values()}) == len(entries)


def test_kinds_are_listed_without_torch() -> None:
    code = "import sys; from microtome import map_kinds; map_kinds.map_kind_names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadOption, match=r"cam: option kind is 'layrcam'; it takes .*gradcam\+\+.* Did you mean 'layercam'"):
        Cam(kind="layrcam")
    with pytest.raises(UnknownName, match="There is no kind of map 'layrcam'. Did you mean 'layercam'"):
        map_kind("layrcam")


def test_the_command_line_and_the_forms_know_the_choices() -> None:
    (card,) = [option for option in catalog.analysis_entry("cam").options if option.name == "kind"]
    assert card.choices == (*map_kinds.map_kind_names(), "best") and "gradcam++" in card.choices


def test_another_package_adds_a_kind(install, net: mt.Specimen, pics: mt.Images) -> None:
    install(GOOD)
    assert "peak" in map_kinds.map_kind_names()
    finding = Cam(kind="peak", at="blocks.0", count=2)(net, pics)
    assert "PeakCAM" in finding.headline and "Grad-CAM" not in finding.headline
    assert float(finding["heat"].max()) > 0
    assert len(Cam(kind="peak").extra_key()) > 8 and Cam().extra_key() == ""
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (GOOD.replace("class Peak", "klass Peak"), "SyntaxError"),
        (GOOD.replace("GradientKind):", "object):"), "holds no class that derives from"),
        (GOOD.replace("from microtome", "import no_such_package\nfrom microtome"), "ModuleNotFoundError"),
        (GOOD.replace("def signed_map", "def other"), "abstract method"),
    ],
)
def test_a_broken_one_costs_only_itself(install, net: mt.Specimen, pics: mt.Images, code: str, reason: str) -> None:
    install(code)
    listed = [plugin for plugin in catalog.unusable_plugins() if plugin.name == "peak"]
    assert len(listed) == 1 and reason in listed[0].text and "its-kinds 1.0" in listed[0].text
    assert Cam(kind="hirescam", at="blocks.0", count=2)(net, pics).headline.count("HiResCAM") == 1


def test_a_kind_that_raises_fails_the_analysis_that_asks_for_it(install, net: mt.Specimen, pics: mt.Images) -> None:
    install(GOOD.replace("return activation.amax(1)", "return 1 / 0"))
    with pytest.raises(ZeroDivisionError):
        Cam(kind="peak", at="blocks.0", count=2)(net, pics)
    assert Cam(at="blocks.0", count=2)(net, pics).headline.count("Grad-CAM") == 1
