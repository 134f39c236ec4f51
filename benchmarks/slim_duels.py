"""Which points of the proof are compared: ours with the best of Torch-Pruning's that are as fast, or as small."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtome.analyses.slimming.arrays import Answers, loss_interval
from microtome.numerics.statistics.intervals import Interval

SLACK = 1.05  # how much slower, or larger, a point of Torch-Pruning may be and still count as equal; runs differ by up to 4%
NEAR = 1.15  # how much slower it may be and still be worth a line
MIDDLE = 0.65  # the latency aimed at for which parameters are compared too
OURS = ("depth", "depth + width")
Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One of our points after so many steps of the fine-tune."""

    network: str
    point: Row
    steps: int
    loss: Interval


@dataclass(frozen=True)
class Duel:
    """One of our points against the best of Torch-Pruning's that are as fast (or as small); `rival` is None where none is."""

    network: str
    ours: Row
    loss: Interval
    rival: Row | None
    rival_loss: Interval | None
    difference: Interval | None  # of accuracy, ours minus theirs


def unpack(word: str, count: int) -> Answers:
    """Right and wrong answers (image,) from a word."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(word), dtype=np.uint8))[:count]
    return bits.astype(bool)


def final_answers(row: Row, point: Row) -> Answers:
    """The answers of a point that count: after the fine-tune, or the better of two."""
    count = row["images"]["reported"]
    tried = [unpack(point[kind], count) for kind in ("fine-tune", "harder fine-tune") if kind in point]
    return max(tried, key=lambda answers: int(answers.sum()))


def duels(row: Row, scale: str) -> list[Duel]:
    """Our points of one network against Torch-Pruning's on a scale: `latency`, `latency_16` or `parameters`."""
    full = unpack(row["full"], row["images"]["reported"])
    rivals = [point for point in row["points"] if point["method"] not in OURS]
    results: list[Duel] = []
    mine = [
        point for point in row["points"] if point["method"] in OURS and (scale != "parameters" or point["target"] == MIDDLE)
    ]
    for ours in {(point["method"], *point["blocks"], point["ratio"]): point for point in mine[::-1]}.values():
        answers = final_answers(row, ours)
        fitting = [point for point in rivals if size_of(point, scale) <= SLACK * size_of(ours, scale)]
        best = max(fitting, key=lambda point: int(final_answers(row, point).sum()), default=None)
        other = None if best is None else final_answers(row, best)
        results.insert(
            0, Duel(
                row["name"], ours, loss_interval(answers, full), best,
                None if other is None else loss_interval(other, full),
                None if other is None else loss_interval(other, answers),
            )
        )  # fmt: skip
    return results


def size_of(point: Row, scale: str) -> float:
    value = point[scale]
    return float(value[0] if isinstance(value, list) else value)


def near_misses(row: Row) -> list[tuple[Row, Row]]:
    """Pairs of our point and a more accurate one of Torch-Pruning's that is slower, by more than counts as equal, up to `NEAR`."""
    pairs: list[tuple[Row, Row]] = []
    for duel in duels(row, "latency"):
        right, limit = int(final_answers(row, duel.ours).sum()), size_of(duel.ours, "latency")
        for point in row["points"]:
            slower = size_of(point, "latency") / limit
            if point["method"] not in OURS and SLACK < slower <= NEAR and int(final_answers(row, point).sum()) > right:
                pairs.append((duel.ours, point))
    return pairs


def trials(row: Row) -> list[Trial]:
    """Our points of one network after the fine-tune, and after a longer one where they had it."""
    count, full = row["images"]["reported"], unpack(row["full"], row["images"]["reported"])
    steps = {"fine-tune": row["steps"], "longer fine-tune": row.get("long_steps", 0)}
    return [
        Trial(row["name"], point, steps[kind], loss_interval(unpack(point[kind], count), full))
        for point in row["points"]
        for kind in steps
        if point["method"] in OURS and kind in point
    ]
