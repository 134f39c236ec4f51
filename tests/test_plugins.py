"""Broken plug-ins: each costs its user that one analysis, named with package and reason, and nothing else."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from microtome import catalog
from microtome.cli import main

GOOD = '''"""Mean of each layer.

Source: ours.
"""

from microtome import analysis
from microtome.analysis import option
from microtome.finding import array
from microtome.key_numbers import KeyNumber
from microtome.panels import Bars

LIMIT = 3


class Plug(analysis.Analysis):
    """Mean."""

    needs = "weights"
    limit: int = option(LIMIT, "how many")

    def measure(self, specimen, images, pace):
        return {"mean": array([1.0], ("layer",), "1", {"layer": ["a"]})}

    def key_numbers(self, finding):
        return [KeyNumber(name="mean", value=1.0), KeyNumber(name="limit", value=self.limit)]

    def headline(self, finding):
        return "The mean is 1."

    def panels(self, finding):
        return [Bars(title="Mean", y=("mean",), x="layer")]

    def caveats(self, finding):
        return []
'''


def variant(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


BROKEN = {
    "a syntax error": (variant("class Plug", "klass Plug"), "SyntaxError"),
    "a failing import": (variant("LIMIT = 3", "import no_such_package\n\nLIMIT = 3"), "ModuleNotFoundError"),
    "a wrong base class": (variant("analysis.Analysis", "object"), "holds no class"),
    "a default that is computed": (
        variant("option(LIMIT,", "option(LIMIT + 1,"),
        "'LIMIT + 1' is neither a literal nor a constant",
    ),
    "a missing method": (variant("def headline", "def line"), "abstract method"),
    "an exception in measure": (variant('return {"mean"', 'raise KeyError("lost")\n        return {"mean"'), "KeyError"),
    "an exception in key_numbers": (
        variant("return [KeyNumber", 'raise RuntimeError("lost")\n        return [KeyNumber'),
        "RuntimeError",
    ),
    "an exception in headline": (variant('return "The mean is 1."', "return 1 / 0"), "ZeroDivisionError"),
    "an exception in panels": (variant("return [Bars", "return [1 / 0, Bars"), "ZeroDivisionError"),
    "an exception in caveats": (variant("return []", "return 1 / 0"), "ZeroDivisionError"),
    "an exception in refusal": (
        GOOD + "\n    def refusal(self, specimen, images):\n        return 1 / 0\n",
        "ZeroDivisionError",
    ),
    "an unknown dimension": (variant('("layer",)', '("keypoint",)').replace('{"layer"', '{"keypoint"'), "keypoint"),
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a plug-in of that code on the path, with the entry point that announces it."""

    def put(code: str, name: str = "plug", file: str = "plug") -> None:
        facts = tmp_path / "its_package-2.0.dist-info"
        facts.mkdir()
        (tmp_path / f"{file}.py").write_text(code)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: its-package\nVersion: 2.0\n")
        (facts / "entry_points.txt").write_text(f"[microtome.analyses]\n{name} = {file}:Plug\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        forget()

    def forget() -> None:
        for cached in (catalog.analysis_entries, catalog.broken_plugins):
            cached.cache_clear()
        sys.modules.pop("plug", None)

    yield put
    forget()


def microtome(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code of the command line, and what it printed."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def test_a_good_one_may_use_constants_and_qualified_names(install, capsys, tmp_path: Path) -> None:
    install(GOOD)
    code, said = microtome(capsys, "plug", "microtome:mini_vgg", "--out", str(tmp_path / "results"))
    assert code == 0, said
    assert "[default: 3]" in microtome(capsys, "plug", "--help")[1]


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_one_costs_only_itself(install, capsys, tmp_path: Path, fault: str) -> None:
    source, reason = BROKEN[fault]
    install(source)
    out = tmp_path / "results"
    words = ["analyze", "microtome:mini_vgg", "--only", "cost,plug", "--out", str(out), "--no-report"]
    code, said = microtome(capsys, *words)
    assert reason in said
    assert "Traceback" not in said
    unread = "There is no analysis 'plug'" in said  # asked for by name, and it cannot be read: a wrong call
    assert code == (2 if unread else 1)
    if not unread:  # the other analysis is there, and the traceback of an exception in the log
        assert (out / "microtome-mini_vgg" / "cost").is_dir()
        assert "FAILED" in said
        assert ("traceback in" in said) == (out / "run.log").is_file()
        assert fault == "an unknown dimension" or "Traceback" in (out / "run.log").read_text()
    assert microtome(capsys, "--help")[0] == 0


@pytest.mark.parametrize("fault", ["a syntax error", "a failing import", "a wrong base class", "a missing method"])
def test_doctor_and_list_name_it_with_package_reason_and_remedy(install, capsys, fault: str) -> None:
    source, reason = BROKEN[fault]
    install(source)
    for command in ("list", "doctor"):
        code, said = microtome(capsys, command)
        assert code == 0, said
        (line,) = [line for line in said.splitlines() if "its-package 2.0" in line]
        assert "'plug'" in line
        assert reason in line
        assert line.rstrip().endswith((".py.", "package.", "Census[Rows]).")), line


def test_a_name_other_than_the_file_is_refused_with_the_remedy(install, capsys) -> None:
    install(GOOD, name="other")
    assert "Call the entry point 'plug', or the file other.py." in microtome(capsys, "list")[1]


def test_a_name_of_ours_is_refused(install, capsys) -> None:
    install(GOOD, name="cam", file="cam")
    said = microtome(capsys, "list")[1]
    assert "the name is taken" in said
    assert "  cam  " in said


def test_the_module_is_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "microtome", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("microtome, version ")
