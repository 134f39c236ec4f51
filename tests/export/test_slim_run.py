"""Slim from search to folder: right numbers, an interrupt anywhere, earlier results, nothing to remove, wrong calls."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import microtome as mt
from cancelling_blocks import cancelling
from microtome.errors import BadOption, FindingError, MissingExtra, Unmeasurable
from microtome.export import programs
from microtome.export.slim_run import SlimResult, slim
from microtome.finding import Finding
from microtome.runner import Event
from microtome.scan import Pace, Step
from microtome.store import Store
from outside import outputs_without_microtome

QUICK: dict[str, Any] = {"repeats": 3, "max_drop": "3%"}


@pytest.fixture(scope="module")
def scenes() -> mt.Images:
    return mt.Images.scenes(120)


@pytest.fixture(scope="module")
def resnet() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


@pytest.fixture(scope="module")
def result(resnet: mt.Specimen, scenes: mt.Images, tmp_path_factory: pytest.TempPathFactory) -> SlimResult:
    return slim(resnet, scenes, out=tmp_path_factory.mktemp("home") / "slim", **QUICK)


def bright_and_dark(count: int = 120) -> mt.Images:
    x = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.4
    labels = np.arange(count) % 2
    x[labels == 1] += 0.6
    return mt.Images.tensors(x, labels=labels.tolist(), classes=["dark", "bright"])


def rows_of(folder: Path) -> list[str]:
    return [line for file in folder.rglob("slimming.*.jsonl") for line in file.read_text().splitlines()]


def test_everything_is_there_and_nothing_beside(result: SlimResult) -> None:
    names = {path.name for path in result.folder.iterdir()}
    assert names == {"weights.safetensors", "network.pt2", "load.py", "README.md", "report.html", "slim.json", "findings"}
    assert [path.name for path in result.folder.parent.iterdir()] == ["slim"]
    card = json.loads((result.folder / "slim.json").read_text())
    assert card["removed"] == list(result.removed) != [] and card["finished"] is True
    assert card["images"] == {"chosen": 24, "judged": 24, "reported": 72}


def test_numbers_are_those_of_the_loaded_network(
    result: SlimResult, resnet: mt.Specimen, scenes: mt.Images, tmp_path: Path
) -> None:
    """A slow twin: the files, loaded without microtome, on the images that were reported on."""
    finding = next(
        found for path in Store(result.folder / "findings").current() if (found := Finding.load(path)).analysis == "accuracy"
    )
    assert finding.origin["images"]["count"] == 72
    from microtome.analyses.slimming import Slimming

    reported = Slimming(calibration=0.2, judging=0.2).places(scenes)[2]
    x = resnet.recipe.normalise(torch.from_numpy(scenes.inputs(resnet.recipe, reported.tolist())))
    assert scenes.labels is not None and result.comparison is not None and result.specimen is not None
    wanted = torch.from_numpy(scenes.labels[reported])
    given = outputs_without_microtome(result.folder, x, tmp_path)
    with torch.no_grad():
        own, full = result.specimen.net(x), resnet.net(x)
    assert (given - own).abs().max() <= 1e-5 * own.abs().max()
    after, before = ((each.argmax(1) == wanted).double().mean().item() for each in (given, full))
    assert result.comparison.loss.value == pytest.approx(before - after)
    parameters = {row.name: row for row in result.comparison.rows}["parameters"]
    assert parameters.after == f"{sum(p.numel() for p in result.specimen.net.parameters()):,}"


def test_the_same_call_again_measures_nothing(result: SlimResult, resnet: mt.Specimen, scenes: mt.Images) -> None:
    events: list[Event] = []
    again = slim(resnet, scenes, out=result.folder, listener=events.append, **QUICK)
    assert again.removed == result.removed and {event.kind for event in events} == {"reused"}
    assert len(list(result.folder.parent.iterdir())) == 1


def test_an_interrupt_loses_no_row_and_leaves_no_folder(
    result: SlimResult, resnet: mt.Specimen, scenes: mt.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "slim"

    def interrupt(step: Step) -> None:
        if "slimming" in step.what and step.done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slim(resnet, scenes, out=out, pace=Pace(listener=interrupt), **QUICK)
    kept = rows_of(tmp_path / "slim.unfinished")
    assert not out.exists() and len(kept) >= 4

    def broken(folder: Path, *_: Any) -> None:
        (folder / "weights.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("microtome.export.slim_run.write_files", broken)
        with pytest.raises(KeyboardInterrupt):
            slim(resnet, scenes, out=out, **QUICK)
    rows = rows_of(tmp_path / "slim.unfinished")
    assert rows[: len(kept)] == kept and len({json.loads(row)["key"] for row in rows}) == len(rows)  # none measured twice
    assert [path.name for path in tmp_path.iterdir()] == ["slim.unfinished"]
    again = slim(resnet, scenes, out=out, **QUICK)
    assert again.removed == result.removed and [path.name for path in tmp_path.iterdir()] == ["slim"]
    assert (out / "README.md").is_file() and sorted(rows_of(out)) == sorted(rows_of(result.folder))


def test_where_nothing_can_go_only_the_report_is_written(tmp_path: Path) -> None:
    images = bright_and_dark()
    result = slim(cancelling(), images, max_drop=0.4, out=tmp_path / "slim", repeats=3)
    assert result.removed == () and result.specimen is None
    assert "Nothing was removed: one more block loses 50.0%" in result.headline and "40% may be lost" in result.headline
    assert {path.name for path in (tmp_path / "slim").iterdir()} == {"report.html", "findings", "slim.json"}
    assert "Nothing was removed" in (tmp_path / "slim" / "report.html").read_text()
    more = slim(cancelling(), images, max_drop="60%", out=tmp_path / "slim", repeats=3)  # half the images, by hand
    assert len(more.removed) == 1 and more.comparison is not None and more.comparison.loss.value == pytest.approx(0.5)
    assert more.comparison.verdict != "beyond the budget" and (tmp_path / "slim" / "load.py").exists()


def test_linear_maps_let_go_what_nothing_else_could(tmp_path: Path) -> None:
    """By hand: either block adds a constant, which a linear map with a constant is, so no answer changes and one block can go."""
    images = bright_and_dark()
    result = slim(cancelling(), images, max_drop=0.0, out=tmp_path / "slim", repeats=3, repair="linear", target_macs="10%")
    assert len(result.removed) == 1 and result.comparison is not None and result.comparison.loss.value == 0
    assert json.loads((tmp_path / "slim" / "slim.json").read_text())["repair"] == "linear"
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        given = outputs_without_microtome(tmp_path / "slim", x, tmp_path)
        assert torch.allclose(given, cancelling().net(x), atol=1e-3)


def test_a_fine_tune_stays_only_where_it_helps(resnet: mt.Specimen, scenes: mt.Images, tmp_path: Path) -> None:
    healed = slim(resnet, scenes, out=tmp_path / "slim", heal=2, **QUICK)
    repair = json.loads((healed.folder / "slim.json").read_text())["repair"]
    assert repair in ("norms", "fine-tune") and healed.specimen is not None and "Repair" in healed.specimen.remarks[-1]


@pytest.mark.parametrize("drop", ["-1%", -0.01, "2", "much"])
def test_an_impossible_budget_is_refused(drop: Any, resnet: mt.Specimen, scenes: mt.Images, tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"max_drop is .*1% or 0\.01"):
        slim(resnet, scenes, drop, tmp_path / "slim")
    assert list(tmp_path.iterdir()) == []


def test_images_that_will_not_do(resnet: mt.Specimen, tmp_path: Path) -> None:
    with pytest.raises(Unmeasurable, match="label"):
        slim(resnet, mt.Images.tensors(torch.rand(80, 3, 64, 64)), out=tmp_path / "slim")
    with pytest.raises(Unmeasurable, match="20 labelled images"):
        slim(resnet, mt.Images.scenes(60), out=tmp_path / "few")


def test_folders_that_will_not_do(resnet: mt.Specimen, scenes: mt.Images, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.txt").write_text("sun")
    with pytest.raises(BadOption, match=r"a folder with other things in it; name a new folder: out='photos-slim'"):
        slim(resnet, scenes, out=tmp_path / "photos")
    assert (tmp_path / "photos" / "holiday.txt").read_text() == "sun"
    with pytest.raises(BadOption, match="is a file"):
        slim(resnet, scenes, out=tmp_path / "photos" / "holiday.txt")
    with pytest.raises(FindingError, match="cannot hold results"):
        slim(resnet, scenes, out="/proc/slim")


def test_missing_packages_are_said_first(
    resnet: mt.Specimen, scenes: mt.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "ONNX_PACKAGES", ("onnx", "no_such_runtime"))
    with pytest.raises(MissingExtra, match=r"needs no_such_runtime; .*microtome\[export\]"):
        slim(resnet, scenes, out=tmp_path / "slim", onnx=True)
    assert list(tmp_path.iterdir()) == []
