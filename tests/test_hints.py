"""Hints are in the language of the caller: commands in the shell, calls in Python; and wrong words end with exit code 2."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import errors
from microtome.report.html import write_report
from shell import call

SOURCE = Path(mt.__file__).parent
SHELL = re.compile(
    r"(?<![\w-])--[a-z][a-z-]+|\bmicrotome (?:list|layers|analyze|view|rerun|report|table|edit|weights|erf|dead_pixels)\b"
)
PYTHON = re.compile(r"\bmt\.\w+|\bspecimen\.\w+\b(?!\.py)|\w+\(\)\(")
ONLY_SHELL = ("cli/", "training/", "networks/page.py", "replicate/ledger.py", "testing.py")  # what no Python caller sees
SAYERS = {"hint"}  # whose first argument is for the shell


def strings_for_all(path: Path) -> list[str]:
    """The text that a module prints whoever calls: strings outside docstrings and outside the first argument of `hint`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            left_out.add(id(node.body[0].value))  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAYERS:
            left_out |= {id(part) for part in ast.walk(node.args[0])}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out
    ]


def test_no_message_names_a_command_but_through_hint() -> None:
    wrong: list[str] = []
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if not place.startswith(ONLY_SHELL):
            wrong += [f"{place}: {text[:90]!r}" for text in strings_for_all(path) if SHELL.search(text)]
    assert wrong == []


@pytest.fixture
def speaking_to_the_shell():
    errors.speak_to_shell(True)
    yield
    errors.speak_to_shell(False)


class Small(nn.Module):
    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.fc = nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


class Pair(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x), x.mean((2, 3))  # pyright: ignore[reportReturnType]


RECIPE = {"size": 16, "crop": 1.0}


def small(kind: type[nn.Module] = Small, **options: Any) -> mt.Specimen:
    return mt.open(kind().eval(), recipe=RECIPE, **options)


def images(classes: int = 3) -> mt.Images:
    pixels = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return mt.Images.tensors(pixels, labels=[k % classes for k in range(6)], classes=[f"c{k}" for k in range(classes)])


WRONG: dict[str, Callable[[], object]] = {
    "layer": lambda: small().find("layr"),
    "layer with nothing near": lambda: small().find("qqqqqq"),
    "output": lambda: small(Pair, output="head").layers,
    "output of one": lambda: small(output="head").layers,
    "size": lambda: mt.open(nn.Sequential(nn.Conv2d(3, 6, 5), nn.Flatten(), nn.Linear(6 * 784, 5)).eval()).layers,
    "channels": lambda: (
        mt.open(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(784, 2)).eval(), recipe=RECIPE | {"size": 17}).layers
    ),
    "network": lambda: mt.open("microtome:mini_resnt"),
    "source": lambda: mt.open("tim:resnet18"),
    "weights of none": lambda: mt.open("microtome:zfnet"),
    "weights option": lambda: mt.open("timm:resnet18(pretrained=True)"),
    "weights file": lambda: mt.open("microtome:mini_vgg", weights="gone.pth"),
    "state": lambda: mt.open("microtome:mini_vgg", weights=None, state="ema"),
    "recipe": lambda: mt.open("microtome:mini_vgg", weights=None, recipe="imagnet"),
    "recipe entry": lambda: mt.open("microtome:mini_vgg", weights=None, recipe={"sise": 3}),
    "images": lambda: mt.Images.folder("photo"),
    "batch": lambda: mt.Pace(batch=0),
    "device": lambda: mt.analyses.cost.Cost()(small(), None, mt.Pace(device="gpu")),
    "twins": lambda: small().with_twins(1),
    "finding": lambda: mt.Finding.load("results"),
    "no labels": lambda: mt.analyses.accuracy.Accuracy()(small(), mt.Images.tensors(torch.rand(4, 3, 16, 16))),
    "no images": lambda: mt.analyses.accuracy.Accuracy()(small()),
    "classes": lambda: mt.analyses.accuracy.Accuracy()(small(), images(4)),
    "maps": lambda: mt.analyses.erf.Erf(kind="segmentation")(small(), images()),
    "cell": lambda: mt.analyses.erf.Erf(at=("conv",), cell=(99, 99))(small(), images()),
    "erf layer": lambda: mt.analyses.erf.Erf(at=("fc",))(small(), images()),
    "cam class": lambda: mt.analyses.cam.Cam(classes=("dog",))(small(), images()),
    "cam reference": lambda: mt.analyses.cam.Cam(target="embedding")(small(), images()),
    "cam reference missing": lambda: mt.analyses.cam.Cam(target="embedding", reference=("x",))(small(), images()),
    "cam reference without target": lambda: mt.analyses.cam.Cam(reference=("0",))(small(), images()),
    "second": lambda: mt.analyses.cross_similarity.CrossSimilarity()(small(), images()),
    "checkpoints": lambda: mt.analyses.evolution.Evolution()(small(), images()),
    "marks": lambda: mt.analyses.correspondence.Correspondence()(small(), images()),
    "folds": lambda: mt.analyses.probe.Probe(folds=1),
    "dilated": lambda: mt.analyses.atrous.Atrous()(small(), images()),
    "position": lambda: mt.analyses.position.Position()(small(), images()),
    "masks": lambda: mt.analyses.objects.Objects()(small(), images()),
    "edit": lambda: mt.edits.squeeze_excitation.SqueezeExcitation()(small()),
    "save": lambda: small().save("net.pt"),
    "save own": lambda: small().save("net.safetensors"),
    "report": lambda: write_report("nowhere"),
    "analyze": lambda: mt.analyze([nn.Linear(2, 2)], images(), "out"),  # pyright: ignore[reportArgumentType]
    "analysis": lambda: mt.analyze([small()], images(), "out", only=["cm"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_in_python_is_answered_in_python(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(mt.MicrotomeError) as raised:
        WRONG[name]()
    assert not SHELL.search(str(raised.value)), str(raised.value)


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.usefixtures("speaking_to_the_shell")
def test_the_same_in_the_shell_names_no_python(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "analyze":  # a module cannot be given in the shell
        return
    with pytest.raises(mt.MicrotomeError) as raised:
        WRONG[name]()
    assert not PYTHON.search(str(raised.value)), str(raised.value)


NET = ("microtome:mini_vgg", "--weights", "none")
UNKNOWN = {
    "analysis": ("analyze", *NET, "--only", "cm"),
    "skipped analysis": ("analyze", *NET, "--skip", "cm"),
    "option of an analysis": ("analyze", *NET, "--set", "cam.cont=3"),
    "value of an option": ("analyze", *NET, "--set", "cam.count=many"),
    "layer": ("layers", *NET, "layr"),
    "layer of an analysis": ("weights", *NET, "--at", "layr"),
    "edit": ("edit", *NET, "dropot", "--out", "e.safetensors"),
    "output": ("layers", *NET, "--output", "head"),
    "output in a run": ("cost", *NET, "--output", "head"),
    "recipe": ("layers", *NET, "--recipe", "imagnet"),
    "network": ("layers", "microtome:mini_vg"),
    "device": ("cost", *NET, "--device", "gpu"),
    "verb": ("analise",),
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("with_images", [False, True])
def test_unknown_names_and_bad_options_end_with_2(
    name: str, with_images: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = UNKNOWN[name]
    takes_images = words[0] not in ("layers", "edit", "analise")
    code, _, err = call(*words, *(("scenes:2",) if with_images and takes_images else ()))
    assert (code, err.count("\n")) == (2, 1), err
    assert not PYTHON.search(err), err


def test_swapped_words_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("analyze", "scenes:4", "microtome:mini_vgg"), ("cost", "scenes:4", "microtome:mini_vgg")):
        code, _, err = call(*words)
        assert code == 2 and "microtome:mini_vgg scenes:4" in err, err
