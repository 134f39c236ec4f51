"""The package in examples/, installed as a user would install it: found, run from the command line, held to the common suite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "microtome_silence"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the package is installed, beside this venv and not in it."""
    site, copy = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source") / "microtome_silence"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(copy)], check=True)  # the build writes beside its sources
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
        str(copy),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT / 'src'}"}


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)


def test_its_command_runs(environment: dict[str, str], tmp_path: Path) -> None:
    words = ["silence", "microtome:mini_resnet", "scenes:8", "--out", str(tmp_path / "results"), "--device", "cpu"]
    done = run(environment, "-m", "microtome", *words)
    assert done.returncode == 0, done.stderr
    assert "of the outputs of" in done.stdout + done.stderr
    listing = run(environment, "-m", "microtome", "list")
    assert "silence" in listing.stdout
    assert "cannot be used" not in listing.stdout


def test_its_own_tests_pass(environment: dict[str, str], tmp_path: Path) -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(EXAMPLE / "tests")]
    done = run(environment, *words)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_guide_shows_the_very_file() -> None:
    code = (EXAMPLE / "microtome_silence" / "silence.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
