"""`microtome table`: every key number of a folder, one row per network, as text, CSV and JSON."""

import csv
import io
import json
from pathlib import Path

import pytest

from microtome.cli import main
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber
from microtome.store import Store


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["table", *words])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store.create(tmp_path / "results")
    for name, value in (("small", 0.5), ("large", 0.75)):
        numbers = (
            KeyNumber(
                name="top-1 accuracy",
                value=value,
                unit="fraction",
                low=value - 0.1,
                high=value + 0.1,
                baseline=0.1,
                better="higher",
            ),
            KeyNumber(name="latency", value=1.5, unit="ms", at="batch 1"),
        )
        origin = {"specimen": {"name": name}, "key": name}
        store.save(
            Finding(analysis="accuracy", arrays={"x": array([1.0], ("layer",), "1")}, key_numbers=numbers, origin=origin)
        )
    return tmp_path / "results"


def test_text_has_one_row_per_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, str(folder))
    assert code == 0
    (small,) = [line for line in out.splitlines() if line.startswith("│ small")]
    assert "50.0% [40.0%, 60.0%]" in small
    assert "1.50 ms" in small
    assert "untrained twin 10.0%" in out
    assert "at batch 1" in out


def test_csv_and_json_hold_the_same_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(csv.DictReader(io.StringIO(run(capsys, str(folder), "--csv")[1])))
    rows = json.loads(run(capsys, str(folder), "--json")[1])
    assert [(line["network"], line["key_number"]) for line in lines] == [(row["network"], row["key_number"]) for row in rows]
    assert len(rows) == 4
    large = next(row for row in rows if row["network"] == "large" and row["key_number"] == "top-1 accuracy")
    assert (large["value"], large["low"], large["baseline"], large["better"]) == (0.75, 0.65, 0.1, "higher")
    assert next(float(line["value"]) for line in lines if line["network"] == "large") == 0.75


def test_wrong_calls_are_answered_in_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, str(tmp_path / "nothing"))
    assert code == 2
    assert "holds no findings. Measure first: microtome analyze" in err
    code, _, err = run(capsys, str(folder), "--only", "acuracy")
    assert code == 2
    assert "Did you mean 'accuracy'?" in err
    assert run(capsys, str(folder), "--csv", "--json")[0] == 2
