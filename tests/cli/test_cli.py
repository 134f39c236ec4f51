"""The command line as a user meets it: verbs, exit codes, one sentence for every wrong call, resumption, reuse."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from microtome.cli import main
from microtome.cli.arguments import means_images, parse_images
from microtome.cli.verbs import build_group
from microtome.errors import BadOption

ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, outputs=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.layers = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()) for _ in range(3)))
        self.head = nn.Linear(8, outputs)

    def forward(self, x):
        return self.head(self.layers(torch.relu(self.stem(x))).mean((2, 3)))

def make(outputs=10):
    torch.manual_seed(0)
    return Net(outputs)
"""


@dataclass
class Said:
    returncode: int
    stdout: str
    stderr: str


def call(*words: str, cwd: Path | None = None) -> Said:
    """The command run in this process (importing torch anew for each call would take minutes); its exit code and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd or Path.cwd()):
        try:
            main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        else:
            raise AssertionError("main did not exit")
    return Said(code, out.getvalue(), err.getvalue())


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a factory file and eight labelled images."""
    (tmp_path / "nets.py").write_text(FACTORY)
    random = np.random.default_rng(0)
    for place in range(8):
        folder = tmp_path / "photos" / ("cat" if place % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(folder / f"{place}.png")
    return tmp_path


def test_compare_is_listed_with_the_verbs_that_take_a_folder() -> None:
    root = build_group()
    verbs, _, analyses = root.get_help(click.Context(root)).partition("Analyses: microtome NAME SPECIMEN [IMAGES]")
    listed = [{line.split()[0] for line in part.splitlines() if re.match(r"  \w", line)} for part in (verbs, analyses)]
    assert {"compare", "traits"} <= listed[0] - listed[1] and "accuracy" in listed[1] - listed[0]


def test_help_imports_no_torch() -> None:
    code = "import sys, click; from microtome.cli.verbs import build_group; root = build_group(); root.get_help(click.Context(root)); "
    code += "sys.exit('torch' in sys.modules or 'xarray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_process_of_its_own_exits_with_the_code(work: Path) -> None:
    command = [sys.executable, "-c", "from microtome.cli import main; main()", "analyse"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=work, env=ENVIRONMENT, check=False)
    assert said.returncode == 2
    assert said.stderr.startswith("microtome: There is no verb 'analyse'. Did you mean 'analyze' or ")
    assert said.stderr.count("\n") == 1


def test_every_analysis_is_a_verb() -> None:
    from microtome.catalog import analysis_entries
    from microtome.cli.verbs import build_group

    assert set(analysis_entries()) <= set(build_group().commands)


def test_list_names_every_analysis_and_edit() -> None:
    from microtome.catalog import analysis_entries, edit_entries

    said = call("list")
    assert said.returncode == 0
    assert all(name in said.stdout for name in [*analysis_entries(), *edit_entries()])


def test_edit_writes_a_file_that_the_other_verbs_open(tmp_path: Path) -> None:
    words = ["squeeze_excitation:stages=1", "squeeze_excitation:stages=2,3,ratio=4", "--weights", "none"]
    said = call("edit", "microtome:mini_resnet", *words, "--out", "edited.safetensors", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[0].startswith(
        "squeeze_excitation put 1 gate (ratio 16, sigmoid) at the end of the branches of stage 1: 208,706 →"
    )
    assert lines[1].startswith("squeeze_excitation put 3 gates (ratio 4, sigmoid) at the end of the branches of stage 2, 3:")
    assert lines[2].startswith("Written: edited.safetensors")
    told = call("layers", "edited.safetensors", "layer2.0.*", cwd=tmp_path)
    assert "layer2.0.se.fc1" in told.stdout
    assert "Note: Edited: squeeze_excitation put 1 gate" in told.stdout
    measured = call("cost", "edited.safetensors", "--out", "o", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    (finding,) = (tmp_path / "o").rglob("finding.json")
    again = call("rerun", str(finding.parent), "--out", "p", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("words", "code", "wanted"),
    [
        (["microtome:mini_vgg", "squeeze_excitation", "--out", "e.safetensors"], 1, "no residual blocks on maps"),
        (["microtome:mini_resnet", "squeeze_exitation", "--out", "e.safetensors"], 2, "Did you mean 'squeeze_excitation'?"),
        (["microtome:mini_resnet", "squeeze_excitation", "--out", "e.pt"], 2, "write for example e.safetensors"),
        (["microtome:mini_resnet", "squeeze_excitation:ratio=x", "--out", "e.safetensors"], 2, "takes a value of type int"),
        (["microtome:mini_resnet", "--out", "e.safetensors"], 2, "Missing argument 'EDIT…'"),
    ],
)
def test_edits_that_are_refused(words: list[str], code: int, wanted: str, tmp_path: Path) -> None:
    said = call("edit", *words, cwd=tmp_path)
    assert (said.returncode, said.stderr.count("\n")) == (code, 1)
    assert wanted in said.stderr
    assert not list(tmp_path.iterdir())


def test_analyze_reuse_and_recompute(work: Path) -> None:
    words = ["analyze", "nets.py:make", "photos", "--out", "out", "--only", "similarity,cost,compare", "--recipe", "size=32"]
    first = call(*words, cwd=work)
    assert first.returncode == 0, first.stderr
    assert "(0 reused)" in first.stdout
    assert (work / "out" / "report.html").is_file()
    second = call(*words, cwd=work)
    assert "3 findings (3 reused)" in second.stdout
    third = call(*words, "--set", "similarity.at=convs", cwd=work)
    assert "3 findings (1 reused)" in third.stdout, third.stdout  # cost stays; similarity and what reads it are made anew


def test_an_analysis_of_findings_is_made_again_from_their_folder(work: Path) -> None:
    words = [
        "analyze",
        "nets.py:make",
        "photos",
        "--out",
        "out",
        "--only",
        "weights,traits",
        "--recipe",
        "size=32",
        "--no-report",
    ]
    assert call(*words, cwd=work).returncode == 0
    again = call("traits", "out", "--set", "traits.small=0.1", cwd=work)
    assert again.returncode == 0, again.stderr
    assert "H8: wider networks" in again.stdout and "Eight hypotheses on" in again.stdout
    run = json.loads((work / "out" / "run.json").read_text(encoding="utf-8"))
    assert sum("/traits/" in place for place in run["findings"]) == 1
    missing = call("traits", "nowhere", cwd=work)
    assert missing.returncode == 2 and "nowhere is not a folder of findings. Measure first: microtome analyze" in missing.stderr


def test_quiet_prints_one_line_for_each_result_and_nothing_else(work: Path) -> None:
    code = "from microtome.cli import main; main()"
    words = [
        "analyze",
        "nets.py:make",
        "photos",
        "--only",
        "cost,audit,objects",
        "--recipe",
        "size=32",
        "--device",
        "cpu",
        "--quiet",
    ]
    said = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=work, env=ENVIRONMENT, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert sorted(line.split(": ")[:2] for line in said.stdout.splitlines()) == [
        ["nets.py:make", "audit"],
        ["nets.py:make", "cost"],
    ], said.stdout


def test_one_analysis_as_a_verb_with_json(work: Path) -> None:
    said = call(
        "similarity", "nets.py:make", "photos", "--at", "convs", "--recipe", "size=32", "--out", "o", "--json", cwd=work
    )
    assert said.returncode == 0, said.stderr
    events = [json.loads(line) for line in said.stdout.splitlines()]
    assert events[-1]["event"] == "end"
    assert events[-1]["code"] == 0
    assert any(event["event"] == "measured" and event["analysis"] == "similarity" for event in events)


WRONG = {
    "a misspelt verb": (["analyse", "x"], 2, "Did you mean 'analyze'"),
    "a misspelt analysis": (["analyze", "nets.py:make", "photos", "--only", "similarty"], 2, "Did you mean 'similarity'"),
    "a misspelt option": (["analyze", "nets.py:make", "photos", "--set", "similarity.att=x"], 2, "no option 'att'"),
    "a misspelt layer": (
        ["similarity", "nets.py:make", "photos", "--at", "layer.0", "--recipe", "size=32"],
        2,
        "No layer is called",
    ),
    "an unknown model": (["cost", "timm:resnet5O", "--weights", "none"], 2, "resnet50"),
    "a missing folder": (["similarity", "nets.py:make", "--batch", "8", "fotos/"], 1, "fotos"),
    "a device that is not there": (["cost", "nets.py:make", "--device", "tpu"], 2, "auto, cpu, cuda, mps"),
    "a number that is none": (["cost", "nets.py:make", "--repeats", "many"], 2, "many"),
    "a number out of range": (["cost", "nets.py:make", "--repeats", "1"], 2, "3 to 1000"),
    "no specimen": (["analyze", "photos"], 2, "No specimen is given; name at least one"),
    "a folder that holds no findings": (["report", "photos"], 1, "photos"),
    "no folder": (["view", "nowhere"], 1, "nowhere"),
    "weights that do not exist": (["cost", "nets.py:make", "--weights", "missing.safetensors"], 1, "missing.safetensors"),
    "a factory that is not there": (["cost", "nets.py:made"], 2, "make"),
    "a recipe with nonsense": (["cost", "nets.py:make", "--recipe", "sise=3"], 2, "Did you mean 'size'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_one_sentence_for_what_is_wrong(work: Path, what: str) -> None:
    words, code, hint = WRONG[what]
    said = call(*words, cwd=work)
    text = said.stdout + said.stderr
    assert "Traceback" not in text
    assert hint in text, text
    assert said.returncode == code, text


@pytest.mark.parametrize("quiet", [(), ("--quiet",)], ids=["aloud", "quiet"])
def test_a_verb_that_found_nothing_to_measure_says_why_once(work: Path, quiet: tuple[str, ...]) -> None:
    said = call("atrous", "nets.py:make", "photos", "--recipe", "size=32", *quiet, cwd=work)
    assert said.returncode == 0
    assert (said.stdout + said.stderr).count("none of its convolutions is dilated") == 1


def test_interrupted_keeps_its_work_and_goes_on(work: Path) -> None:
    """Ctrl-C in the middle of a run: exit code 130, one sentence; the same command then reuses what was finished."""
    words = ["analyze", "nets.py:make", "timm:resnet50", "scenes:2000,size=64", "--weights", "none", "--recipe", "size=64",
             "--only", "weights,similarity", "--out", "out", "--no-report"]  # fmt: skip
    command = [sys.executable, "-c", "from microtome.cli import main; main()", *words]
    running = subprocess.Popen(
        command,
        cwd=work,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background is started deaf to it
    )
    deadline = time.monotonic() + 120
    while not list(work.glob("out/*/weights/*/finding.json")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert "interrupted" in err
    again = call("weights", "nets.py:make", "--weights", "none", "--recipe", "size=64", "--out", "out", cwd=work)
    assert "(1 reused)" in again.stdout, again.stdout + again.stderr


def test_bad_weights_for_one_specimen_do_not_stop_the_others(work: Path) -> None:
    (work / "broken.pth").write_bytes(b"not a checkpoint")
    said = call("analyze", "nets.py:make", "nets.py:make(outputs=3)", "--weights", "broken.pth", "--weights", "none",
                "--only", "cost", "--out", "out", "--no-report", cwd=work)  # fmt: skip
    assert said.returncode == 1
    assert "broken.pth" in said.stderr
    assert len(list(work.glob("out/*/cost/*/finding.json"))) == 1


def test_doctor_runs() -> None:
    said = call("doctor")
    assert said.returncode == 0, said.stderr
    assert "torch" in said.stdout


def test_layers(work: Path) -> None:
    said = call("layers", "nets.py:make", "--weights", "none", cwd=work)
    assert said.returncode == 0, said.stderr
    assert "stem" in said.stdout
    assert "last3" in said.stdout


def test_rerun_measures_the_same_again(work: Path) -> None:
    words = [
        "similarity",
        "nets.py:make",
        "scenes:24,size=32,seed=3",
        "--weights",
        "none",
        "--recipe",
        "size=32",
        "--out",
        "out",
    ]
    assert call(*words, cwd=work).returncode == 0
    (folder,) = [path.parent for path in work.glob("out/*/similarity/*/finding.json")]
    again = call("rerun", str(folder), "--out", "again", cwd=work)
    assert again.returncode == 0, again.stderr
    (other,) = [path.parent for path in work.glob("again/*/similarity/*/finding.json")]
    assert other.name == folder.name
    assert (other / "arrays.safetensors").read_bytes() == (folder / "arrays.safetensors").read_bytes()


def test_train_by_its_recipe_in_small(tmp_path: Path) -> None:
    said = call("train", "mini_vgg", "--out", str(tmp_path / "t"), "--epochs", "1", "--count", "128")
    assert said.returncode == 0, said.stderr
    assert "epoch 1/1" in said.stdout
    assert (tmp_path / "t" / "mini_vgg.safetensors").is_file()
    assert call("train", "mini_vg", "--out", str(tmp_path / "t")).returncode == 2


@pytest.mark.parametrize("verb", ["analyze", "cam", "accuracy"])
def test_images_before_the_network_are_recognised(work: Path, verb: str) -> None:
    (work / "some").mkdir()
    said = call(verb, "some", "timm:resnet18", cwd=work)
    assert said.returncode == 2
    assert "networks come first: timm:resnet18 some" in said.stderr


def test_layers_takes_what_every_verb_takes_to_open_a_network(work: Path) -> None:
    (work / "lenet.py").write_text(
        "import torch.nn as nn\ndef make(): return nn.Sequential(nn.Conv2d(3, 6, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1176, 5))\n"
    )
    refused = call("layers", "lenet.py:make", cwd=work)
    assert refused.returncode == 1
    assert "--recipe size=32" in refused.stderr
    assert call("layers", "lenet.py:make", "--recipe", "size=32", cwd=work).returncode == 0
    assert call("layers", "lenet.py:make", "--recipe", "siz=32", cwd=work).returncode == 2
    assert call("layers", "lenet.py:make", "--state", "ema", cwd=work).returncode == 2
    assert call("layers", "timm:resnet18(num_clases=10)", cwd=work).returncode == 2


TWO_OUTPUTS = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 2)

    def forward(self, x):
        features = torch.relu(self.stem(x)).mean((2, 3))
        return {"features": features, "scores": self.head(features)}

def make():
    torch.manual_seed(0)
    return Two()
"""


def test_the_measured_output_is_chosen_by_name_kept_with_the_finding_and_measured_again(work: Path) -> None:
    (work / "two.py").write_text(TWO_OUTPUTS)
    words = ["two.py:make", "photos", "--recipe", "size=32", "--device", "cpu", "--quiet"]
    for name, more in (("by_rule", []), ("named", ["--output", "scores"]), ("other", ["--output", "features"])):
        said = call("analyze", *words, "--only", "accuracy,cost", "--no-report", *more, "--out", name, cwd=work)
        assert said.returncode in (0, 1), said.stderr
    cards = {
        name: [json.loads(path.read_text()) for path in sorted((work / name).rglob("finding.json"))]
        for name in ("by_rule", "named", "other")
    }
    outputs = {
        name: {(card["analysis"], card["origin"]["specimen"]["output"]) for card in found} for name, found in cards.items()
    }
    assert outputs["by_rule"] == outputs["named"] == {("accuracy", "scores"), ("cost", "scores")}
    assert outputs["other"] == {("cost", "features")}  # features are no class scores
    assert cards["other"][0]["origin"]["key"] not in [card["origin"]["key"] for card in cards["named"]]
    assert cards["named"][0]["origin"]["specimen"]["opened_as"]["output"] == "scores"
    (folder,) = (path.parent for path in (work / "other").rglob("finding.json"))
    assert call("rerun", str(folder), "--out", "again", "--device", "cpu", cwd=work).returncode == 0
    (again,) = (work / "again").rglob("finding.json")
    assert json.loads(again.read_text())["origin"]["specimen"]["output"] == "features"


def test_an_output_that_is_not_there_is_a_wrong_call(work: Path) -> None:
    (work / "two.py").write_text(TWO_OUTPUTS)
    for words in (["layers", "two.py:make"], ["accuracy", "two.py:make", "photos"], ["analyze", "two.py:make", "photos"]):
        said = call(*words, "--output", "score", cwd=work)
        assert said.returncode == 2 and "Did you mean 'scores'? It gives features (8), scores (2)" in said.stderr, said.stderr
    assert (
        "Output 'features' is measured, as asked for" in call("layers", "two.py:make", "stem", "--output", "0", cwd=work).stdout
    )


def test_bands_are_numbers_of_files_and_not_of_scenes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((6, 6, 5)))
    given: dict[str, Any] = {"labels": "auto", "masks": "auto", "boxes": "auto", "limit": None, "seed": 0}
    images = parse_images(str(tmp_path), given | {"bands": "4, 2", "shown": "2"})
    assert images is not None
    assert (images.channels, images.source.shown) == (2, (2,))
    with pytest.raises(BadOption, match="--bands 'red' is not a list of band numbers"):
        parse_images(str(tmp_path), given | {"bands": "red"})
    with pytest.raises(BadOption, match="'scenes:3' are generated RGB images"):
        parse_images("scenes:3", given | {"shown": "1"})


def test_a_folder_with_a_configuration_is_a_network_and_others_are_images(tmp_path: Path) -> None:
    assert means_images(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert not means_images(str(tmp_path))
    assert not means_images(f"{tmp_path}/")


def test_compare_takes_limits_and_preferences(tmp_path: Path) -> None:
    """Options of the verb and of --set are the same; what was asked for stands in the answer; wrong words end with exit code 2."""
    (tmp_path / "nets.py").write_text(FACTORY)
    measured = call("analyze", "nets.py:make", "nets.py:make", "--weights", "none", "--recipe", "size=16", "--only", "cost,compare",
                    "--out", "r", "--no-report", "--quiet", cwd=tmp_path)  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    asked = call("compare", "r", "--max-params", "1K", "--prefer", "params=1", "--prefer", "accuracy=0", cwd=tmp_path)
    assert asked.returncode == 0 and "none of these networks is trained" in asked.stdout
    assert "Limit params ≤ 1,000, not kept or not shown" in asked.stdout
    for words, sentence in (
        (("--max-latency", "20"), "--max-latency is '20'; write for example 20ms or 0.5s. It needs a unit: ms, s"),
        (("--prefer", "robustnes=2"), "--prefer names the criterion 'robustnes'. Did you mean 'robustness'"),
        (("--prior", "none.csv"), "--prior none.csv cannot be read as CSV (No such file or directory)."),
        (("--set", "compare.max_params=lots"), "--max-params is 'lots'; write for example 30M."),
    ):
        wrong = call("compare", "r", *words, cwd=tmp_path)
        assert wrong.returncode == 2 and sentence in wrong.stderr, wrong.stderr
    assert "--min-accuracy" in call("compare", "--help").stdout
