"""Commands that take two networks, as a whole: two checkpoints of one network from files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.test_cli import FACTORY, call

SMALL = ("--recipe", "size=32", "--twins", "2", "--out", "out")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A factory file and two checkpoints of its network."""
    (tmp_path / "nets.py").write_text(FACTORY)
    for seed in (1, 2):
        space: dict[str, object] = {}
        exec(FACTORY, space)
        torch.manual_seed(seed)
        save_file(space["Net"]().state_dict(), tmp_path / f"{seed}.safetensors")  # type: ignore[operator]
    return tmp_path


def finding(work: Path, folder: str = "out") -> dict[str, object]:
    (path,) = work.glob(f"{folder}/*/cross_similarity/*/finding.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize("verb", ["similarity", "cross_similarity"])
def test_two_checkpoints_in_one_line_and_again(work: Path, verb: str) -> None:
    words = [
        verb,
        "nets.py:make",
        "nets.py:make",
        "scenes:12,size=32",
        "--weights",
        "1.safetensors",
        "--weights",
        "2.safetensors",
    ]
    said = call(*words, *SMALL, cwd=work)
    assert said.returncode == 0, said.stderr
    assert "is most similar to" in said.stdout and "CKA" in said.stdout
    origin = finding(work)["origin"]
    assert origin["facts"]["second"]["opened_as"]["weights"].endswith("2.safetensors")  # type: ignore[index]
    if verb == "similarity":
        return
    assert "(reused)" in call(*words, *SMALL, cwd=work).stdout
    (folder,) = work.glob("out/*/cross_similarity/*")
    assert call("rerun", str(folder), "--out", "again", cwd=work).returncode == 0
    second = finding(work, "again")["origin"]["facts"]["second"]  # type: ignore[index]
    assert second["digest"] == origin["facts"]["second"]["digest"]  # type: ignore[index]


def test_the_same_with_to(work: Path) -> None:
    said = call(
        "similarity", "nets.py:make", "scenes:8,size=32", "--to", "microtome:mini_vgg", "--at", "layers*", *SMALL, cwd=work
    )
    assert said.returncode == 2 and "microtome:mini_vgg: No layer is called 'layers*'" in said.stdout + said.stderr
    words = ("--to", "microtome:mini_vgg", "--weights", "none")
    assert call("cross_similarity", "nets.py:make", "scenes:8,size=32", *words, *SMALL, cwd=work).returncode == 0


def test_analyze_measures_it_only_when_asked(work: Path) -> None:
    words = ["analyze", "nets.py:make", "microtome:mini_vgg", "scenes:8,size=32", "--weights", "none", "--no-report"]
    asked = call(*words, "--only", "cross_similarity", *SMALL, cwd=work)
    assert asked.returncode == 0 and asked.stdout.count("is most similar to") == 1
    assert "this network itself" in asked.stdout + asked.stderr
    named = call(*words, "--only", "weights", "--set", "cross_similarity.to=1", *SMALL, cwd=work)
    assert named.returncode == 0 and "most similar" not in named.stdout


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["cross_similarity", "nets.py:make", "scenes:8"], "compares two networks and was given one"),
        (["cross_similarity", "nets.py:make", "microtome:mini_vg", "scenes:8"], "Did you mean 'mini_vgg'"),
        (["similarity", "a", "b", "c", "scenes:8"], "takes two networks and images, and was given 4 words"),
        (["similarity", "a", "b", "scenes:8", "--to", "c"], "takes two networks and images"),
    ],
)
def test_one_sentence_for_what_is_wrong(work: Path, words: list[str], hint: str) -> None:
    said = call(*words, *SMALL, cwd=work)
    text = said.stdout + said.stderr
    assert said.returncode == 2 and hint in text and "Traceback" not in text, text
