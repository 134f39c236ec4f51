"""The sweep of atrous rates: its second task by an exact property, its rates by hand, and numbers that come out the same twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import rates as sweeping
from experiments.cues import COLOURS, SIDE, SQUARE, draw_distant_cues
from experiments.rates import TASKS, Task, accuracy_without_branches, atrous_rates, run_sweep
from experiments.rates_page import docs_page, result_table, sweep_finding
from microtome.errors import BadOption
from microtome.networks.deeplab import Backbone
from microtome.numerics.statistics.intervals import student_interval
from microtome.training.zoo.judging import predict_classes
from microtome.training.zoo.loop import fresh_network

DOCS = Path(__file__).resolve().parents[2] / "docs"
TINY = Task(
    draw=lambda count, seed, _: draw_distant_cues(count, seed), classes=5, side=16, epochs=1, count=64, shares=(1 / 16, 1.0), seeds=2,
    options=TASKS["cues"].options,
)  # fmt: skip


def test_a_white_pixel_is_of_the_colour_half_a_side_away() -> None:
    data = draw_distant_cues(40, seed=3)
    assert data.targets is not None
    asked = data.targets > 0
    white = (data.pixels == 255).all(-1)
    assert np.array_equal(asked, white)  # noise is at most 150, and no colour is white
    far = np.roll(data.pixels, -SIDE // 2, axis=1)  # what stands half a side below, around the border: above
    assert np.array_equal(far[asked], COLOURS[data.targets[asked] - 1])
    assert set(np.unique(data.targets)) == {0, 1, 2, 3, 4}
    squares = asked.sum() / SQUARE**2 / len(data)
    assert abs(squares - 3) < 0.5  # of five columns 0.6 are asked; standard deviation of the mean of 40: 0.17
    # both halves ask, so what decides lies above as often as below
    above = asked[:, : SIDE // 2].sum() / asked.sum()
    assert abs(above - 0.5) < 0.15


def test_which_colours_there_are_says_little() -> None:
    """The best guess from the counts of all colours in the image, made by the rule that knows them, is right in less than half."""
    data = draw_distant_cues(400, seed=5)
    assert data.targets is not None
    right = total = 0
    for picture, target in zip(data.pixels, data.targets, strict=True):
        counts = [int((picture == colour).all(-1).sum()) for colour in COLOURS]
        asked = target[target > 0]
        right += int((asked == 1 + int(np.argmax(counts))).sum())
        total += len(asked)
    assert 0.25 < right / total < 0.5


def test_augmentation_cannot_move_a_square_out_of_the_picture() -> None:
    data = draw_distant_cues(100, seed=7)
    grey = (data.pixels[..., 0] == data.pixels[..., 1]) & (data.pixels[..., 0] <= 150)
    rows, cols = np.where((~grey).any(0))
    assert (rows.min(), cols.min(), rows.max(), cols.max()) == (4, 4, 27, 27)


def test_the_backbone_of_one_task_sees_less_than_half_a_side_and_that_of_the_other_more() -> None:
    def field(units: tuple[int, ...]) -> int:
        size, jump = 3, 2  # the stem
        for conv in (m for n, m in Backbone(units, 2).blocks.named_modules() if n.endswith(("conv1", "conv2"))):
            size, jump = size + (conv.kernel_size[0] - 1) * conv.dilation[0] * jump, jump * conv.stride[0]
        return size

    near, far = (field(TASKS[name].options["units"]) for name in ("cues", "cues_seen"))
    # 3 + 4 + 8; and rates 2 and 4 more: + 8 + 16. From the middle pixel: 7 and 19 px to each side, the cue begins 14 px away
    assert (near, far) == (15, 39)
    assert near // 2 < SIDE // 2 - SQUARE // 2 < far // 2


def test_rates_by_hand() -> None:
    assert atrous_rates(1 / 16, 16) == (1, 1, 1)
    assert atrous_rates(7 / 16, 16) == (2, 5, 7)
    assert atrous_rates(1.0, 16) == (5, 11, 16)
    assert atrous_rates(0.5, 33) == (5, 11, 16)  # DeepLab's side at 513 px and a stride of 16, which has 6, 12, 18


def test_a_sweep_gives_the_same_numbers_twice_and_resumes(tmp_path: Path) -> None:
    one = run_sweep("cues", tmp_path / "one", task=TINY, judged=32)
    two = run_sweep("cues", tmp_path / "two", task=TINY, judged=32)
    assert one == two
    assert run_sweep("cues", tmp_path / "one", task=TINY, judged=32) == one
    assert [row["rates"] for row in one["rows"]] == [[1, 1, 1], [5, 11, 16]]
    assert all(len(row["mean_iou"]) == 2 and np.shape(row["without"]) == (2, 3) for row in one["rows"])
    assert "| 1/16 | 1, 1, 1 | – |" in result_table(one)
    assert "| 1 | 5, 11, 16 | 1 |" in result_table(one)
    with pytest.raises(BadOption, match="Did you mean 'scenes'"):
        run_sweep("scene", tmp_path)


def test_a_branch_left_out_is_a_branch_whose_kernel_is_zero() -> None:
    judge = draw_distant_cues(6, seed=9)
    assert judge.targets is not None
    net = fresh_network(TINY.recipe((2, 3), 0))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = accuracy_without_branches(net, judge, 5)
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    asked = judge.targets > 0
    for number, one in enumerate(found, start=1):  # branch 0 is the 1 x 1
        net = fresh_network(TINY.recipe((2, 3), 0))
        net.get_submodule(f"aspp.branches.{number}.conv").weight.data.zero_()
        assert one == pytest.approx((predict_classes(net, judge) == judge.targets)[asked].mean())
    assert len(found) == 2
    assert judge.first(2).targets is not None and len(judge.first(2)) == 2


def test_student_s_interval_by_its_table() -> None:
    # three values about 2 with standard deviation 1: t(0.975, 2) = 4.3027, over the square root of 3
    assert student_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert student_interval([0.5]).value == 0.5
    assert np.isnan(student_interval([0.5]).low)


def test_the_command_trains_judges_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweeping, "TASKS", {"cues": TINY})
    monkeypatch.setattr(sweeping, "TEST_COUNT", 16)
    assert sweeping.main(["--out", str(tmp_path), "--seeds", "1"]) == 0
    said = json.loads((tmp_path / "rates.json").read_text())
    assert [one["task"] for one in said["sweeps"]] == ["cues"]
    assert said["sweeps"][0]["seeds"] == 1
    assert sweeping.main(["--out", str(tmp_path), "nothing"]) == 2
    assert "There is no task 'nothing'" in capsys.readouterr().err
    assert sweeping.main([]) == 2


def test_the_page_says_what_was_measured() -> None:
    said = json.loads((DOCS / "rates.json").read_text(encoding="utf-8"))
    assert (DOCS / "experiments_rates.md").read_text(encoding="utf-8") == docs_page(said)
    for found in said["sweeps"]:
        task = TASKS[found["task"]]
        assert [found[name] for name in ("epochs", "count", "batch", "seeds")] == [
            task.epochs,
            task.count,
            task.batch,
            task.seeds,
        ]
        assert [row["rates"] for row in found["rows"]] == [list(atrous_rates(share, found["side"])) for share in task.shares]
        assert all(0 <= one <= 1 for row in found["rows"] for one in row["mean_iou"] + row["objects"])
        assert (DOCS / "figures" / f"rates_{found['task']}.png").is_file()
    assert len(sweep_finding(said).panels) == len(said["sweeps"])
