"""The runner: reuse, isolation of failures, resumption after a kill, to the bit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import catalog
from microtome.errors import BadOption, CheckpointError, UnknownName
from microtome.finding import Finding
from microtome.runner import Event, Outcome, analyze
from microtome.scan import Pace, Step
from microtome.store import Store

ONLY = ("similarity", "redundancy", "probe", "cost")


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    """Sixty scenes, six of each class: enough for a probe of five parts. Five batches of twelve."""
    return mt.Images.scenes(60, seed=5, size=32)


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def opened(tiny: Callable[..., nn.Module], **options: object) -> mt.Specimen:
    return mt.open(tiny(**options), recipe={"size": 32})


def arrays_of(root: Path) -> dict[str, bytes]:
    return {
        path.parent.parent.name: path.read_bytes() for path in root.glob("*/*/*/arrays.safetensors") if "cost" not in path.parts
    }


def test_second_run_reuses_everything(tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path) -> None:
    first = analyze([opened(tiny)], pics, tmp_path, only=[*ONLY, "compare"], pace=Pace(batch=12, device="cpu"))
    assert not first.failed
    assert not first.reused
    second = analyze([opened(tiny)], pics, tmp_path, only=[*ONLY, "compare"], pace=Pace(batch=12, device="cpu"))
    assert len(second.reused) == len(first.findings) == 5


def test_other_weights_options_or_images_are_measured_anew(
    tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path
) -> None:
    pace = Pace(batch=12, device="cpu")
    analyze([opened(tiny)], pics, tmp_path, only=["similarity"], pace=pace)
    assert not analyze([opened(tiny, seed=9)], pics, tmp_path, only=["similarity"], pace=pace).reused
    assert not analyze([opened(tiny)], pics.take(range(20)), tmp_path, only=["similarity"], pace=pace).reused
    assert not analyze(
        [opened(tiny)], pics, tmp_path, only=["similarity"], settings={"similarity": {"at": "convs"}}, pace=pace
    ).reused
    assert analyze([opened(tiny)], pics, tmp_path, only=["similarity"], pace=pace).reused


@pytest.mark.parametrize("stop", [2, 4, 8])
def test_killed_and_resumed_is_the_same_to_the_bit(
    tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path, stop: int
) -> None:
    """Five batches of the network, then five of the twin: killed in the first scan, late in it, and in the twin's."""
    steps = 0

    def kill(step: Step) -> None:
        nonlocal steps
        steps += step.done > step.resumed
        if steps == stop:
            raise Killed

    only = ["similarity", "redundancy", "probe"]
    analyze([opened(tiny)], pics, tmp_path / "whole", only=only, pace=Pace(batch=12, device="cpu"))
    with pytest.raises(Killed):
        analyze([opened(tiny)], pics, tmp_path / "cut", only=only, pace=Pace(batch=12, device="cpu", every=0.0, listener=kill))
    assert list((tmp_path / "cut" / ".unfinished").iterdir())
    resumed: list[int] = []
    pace = Pace(batch=12, device="cpu", every=0.0, listener=lambda step: resumed.append(step.resumed))
    outcome = analyze([opened(tiny)], pics, tmp_path / "cut", only=only, pace=pace)
    assert max(resumed) > 0
    assert not outcome.failed
    assert arrays_of(tmp_path / "cut") == arrays_of(tmp_path / "whole")
    assert not list((tmp_path / "cut" / ".unfinished").iterdir())


def test_kill_minus_nine(tmp_path: Path) -> None:
    """A real process, really killed: what it had finished is there, complete, and a second process goes on and agrees."""
    program = (
        "import sys, torch; torch.set_num_threads(1); sys.path.insert(0, sys.argv[2]);"
        "import microtome as mt; from conftest import tiny_net; from microtome.scan import Pace;"
        "net, pics = mt.open(tiny_net(), recipe={'size': 32}), mt.Images.scenes(480, seed=5, size=32);"
        "run = lambda *only: mt.analyze(net, pics, sys.argv[1], only=only, pace=Pace(batch=4, device='cpu', every=0.0));"
        "run('cost'); run('similarity', 'cost')"
    )
    words = [sys.executable, "-W", "ignore", "-c", program]
    here = str(Path(__file__).parents[1])
    running = subprocess.Popen([*words, str(tmp_path / "cut"), here], env=os.environ)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("cut/.unfinished/*.safetensors")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    assert running.poll() is None, "it finished before it could be killed"
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert [Finding.load(folder).analysis for folder in Store(tmp_path / "cut").folders()] == ["cost"]
    for name in ("cut", "whole"):
        subprocess.run([*words, str(tmp_path / name), here], check=True)
    assert arrays_of(tmp_path / "cut") == arrays_of(tmp_path / "whole")


def test_one_failure_does_not_stop_the_rest(tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path) -> None:
    def broken() -> mt.Specimen:
        raise CheckpointError("this file is broken.")

    heard: list[Event] = []
    settings = {"similarity": {"at": "no_such_layer"}}
    outcome = analyze([broken, opened(tiny)], pics, tmp_path, only=ONLY, settings=settings,
                      pace=Pace(batch=12, device="cpu"), listener=heard.append)  # fmt: skip
    assert {(one["analysis"], one["reason"].split(".")[0]) for one in outcome.failed} >= {("open", "this file is broken")}
    assert any(one["analysis"] == "similarity" and "no_such_layer" in one["reason"] for one in outcome.failed)
    assert {name for _, name in outcome.findings} == {"redundancy", "probe", "cost"}
    assert {event.kind for event in heard} == {"failed", "measured"}
    assert Store(tmp_path).run()["failed"] == outcome.failed


def test_a_log_that_cannot_be_written_does_not_end_the_run(
    tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("microtome.analyses.redundancy.Redundancy.to_arrays", fail)
    (tmp_path / "results" / "run.log").mkdir(parents=True)  # as unwritable as a file on a full disk
    outcome = analyze(
        mt.open(tiny()), pics, tmp_path / "results", only=("redundancy", "cost"), pace=Pace(device="cpu", batch=12)
    )
    (failure,) = outcome.failed
    assert failure["analysis"] == "redundancy"
    assert "KeyError: 'lost'" in failure["reason"]
    assert "could not be written" in failure["reason"]
    assert [name for _, name in outcome.findings] == ["cost"]


def test_what_cannot_be_known_is_skipped_with_the_reason(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    outcome = analyze([opened(tiny)], None, tmp_path, only=ONLY, pace=Pace(device="cpu"))
    assert {one["analysis"] for one in outcome.skipped} == {"similarity", "redundancy", "probe"}
    assert all("needs images" in one["reason"] for one in outcome.skipped)
    assert not outcome.failed


def test_misspelt_things_are_refused_before_anything_runs(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'cost'"):
        analyze([opened(tiny)], None, tmp_path / "a", only=["costs"])
    with pytest.raises(BadOption):
        analyze([opened(tiny)], None, tmp_path / "a", only=["cost"], settings={"cost": {"batch": 0}})
    assert not (tmp_path / "a").exists()


def test_one_alone_is_measured_and_what_is_no_specimen_is_refused(
    tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path
) -> None:
    one = mt.open(tiny(), recipe={"size": 16})
    assert [name for name, _ in mt.analyze(one, pics, tmp_path, only=["weights"]).findings] == [one.name]
    for given, shown in (
        ("timm:resnet18", "'timm:resnet18'"),
        ([one, 3], "3"),
        (None, "None"),
        (tiny(), "a Tiny"),
        ([tiny()], "a Tiny"),
    ):
        with pytest.raises(BadOption, match=f"takes specimens, or functions that open one, and was given {shown}"):
            mt.analyze(given, pics, tmp_path)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadOption, match=r"writes into a folder and was given \['weights'\]"):
        mt.analyze([one], pics, ["weights"])  # pyright: ignore[reportArgumentType]


def test_two_of_the_same_name_are_kept_apart(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    outcome = analyze([opened(tiny), opened(tiny, seed=4)], None, tmp_path, only=["cost"], pace=Pace(device="cpu"))
    assert [specimen for specimen, _ in outcome.findings] == ["Tiny", "Tiny (2)"]


def test_the_number_of_twins_is_an_option_of_the_run(tiny: Callable[..., nn.Module], tmp_path: Path) -> None:
    """Similarity against two twins is another finding than against five; what has no twins is reused."""
    pics, pace = mt.Images.scenes(12, seed=5, size=32), Pace(batch=12, device="cpu")
    heard: list[str] = []
    told = replace(pace, listener=lambda step: heard.append(step.what))
    two = analyze(opened(tiny), pics, tmp_path, only=["similarity", "cost"], pace=told, twins=2)
    assert sum("twin 2 of 2" in what for what in heard) and not any("twin 3" in what for what in heard)
    (finding,) = two.of("similarity")
    assert finding.origin["twins"]["count"] == 2
    five = analyze(opened(tiny), pics, tmp_path, only=["similarity", "cost"], pace=pace)
    assert [analysis for _, analysis in five.reused] == ["cost"]
    assert analyze(opened(tiny), pics, tmp_path, only=["similarity"], pace=pace, twins=2).reused
    with pytest.raises(BadOption, match="twins is 1; a verdict takes 2 to 100"):
        analyze(opened(tiny), pics, tmp_path, only=["similarity"], pace=pace, twins=1)


def test_one_network_with_two_files_is_named_by_them(tmp_path: Path, tiny: Callable[..., nn.Module]) -> None:
    for run in ("runA", "runB"):
        (tmp_path / run).mkdir()
        torch.save(tiny(seed=len(run) + ord(run[-1])).state_dict(), tmp_path / run / "best.pth")

    def opener(run: str) -> Callable[[], mt.Specimen]:
        def opened() -> mt.Specimen:
            return mt.open(tiny(), weights=tmp_path / run / "best.pth", recipe=32)

        opened.label, opened.asked = "Tiny", {"weights": str(tmp_path / run / "best.pth")}  # type: ignore[attr-defined]
        return opened

    outcome = mt.analyze([opener("runA"), opener("runB")], None, tmp_path / "out", only=["weights"])
    assert [name for name, _ in outcome.findings] == ["Tiny (runA/best)", "Tiny (runB/best)"]


def test_large_networks_take_quick_sizes_the_same_when_run_again(
    tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [name for name in catalog.analysis_entries() if name not in ("similarity", "occlusion")]

    def run() -> Outcome:
        return analyze([opened(tiny)], pics.take(range(6)), tmp_path, skip=others, pace=Pace(batch=12, device="cpu"))

    whole = run()
    assert {finding.origin["options"]["count"] for (_, name), finding in whole.findings.items() if name == "occlusion"} == {2}
    assert json.loads((tmp_path / "run.json").read_text())["notes"] == []
    monkeypatch.setattr(sys.modules["microtome.runner.analyze"], "STANDARD_LIMIT", 0.0)
    less = run()
    (occlusion,) = [finding for (_, name), finding in less.findings.items() if name == "occlusion"]
    assert occlusion.origin["options"]["count"] == 1
    (note,) = json.loads((tmp_path / "run.json").read_text())["notes"]
    assert note.startswith("Large networks: occlusion took quick sizes")
    assert len(run().reused) == 2
