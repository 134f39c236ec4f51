"""The page docs/slim_proof.md, from docs/slim_proof.json: nothing in it is typed by hand but the explanations."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import ROOT, sentence
from benchmarks.real_networks import REAL
from microtome.analyses.slimming.arrays import Answers, loss_interval
from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.networks import NAMES
from microtome.numerics.statistics.intervals import Interval
from microtome.prose import name_list, plural

RESULTS = ROOT / "docs" / "slim_proof.json"
PAGE = ROOT / "docs" / "slim_proof.md"
SLACK = 1.03  # how much slower, or larger, a point of Torch-Pruning may be and still count as equal
FASTER, POINT = 1.5, 0.01 + 1e-9  # the aim: so much lower latency at so much loss
MIDDLE = 0.65  # the latency aimed at for which parameters are compared too
OURS = ("depth", "depth + width")
Row = dict[str, Any]

INTRODUCTION = """# Is removing blocks worth it?

Blocks removed by [`slimming`](slim.md), beside [Torch-Pruning](https://github.com/VainF/Torch-Pruning) alone, on trained networks: accuracy at
equal latency and at equal parameters. Written by `python -m benchmarks slim_proof`; the numbers are in [slim_proof.json](slim_proof.json).

- **Depth**: the greedy search of `slimming` removes one block after the other; a point is the first set that reaches the latency aimed at.
- **Depth + width**: about half as many blocks, then the smallest ratio of channels, pruned by Taylor importance, that reaches it.
- **Torch-Pruning**: by the recipe of its README (`BasePruner`, group magnitude or Taylor importance, one ratio for all groups, one step, the
  classifier left out, widths rounded to 8, or to 4 in networks with layers of fewer than 32 channels). Its ratio is the smallest that is as
  fast as our point (or, for the latency in the middle, that has as few parameters).
- **Repair**: 40% of the images repair, choose and fine-tune; the other 60% only judge. First the norms are estimated again (or, where few blocks can
  be left out with nothing in their place, linear maps are fitted); then the fine-tune of `--heal` follows the full network's answers for as many
  steps. Neither repair uses labels. The search and Taylor importance do.
- Torch-Pruning's points get a second fine-tune, at four times the rate and with norms that take the statistics of each batch; the better
  of the two **on the images that judge** counts, which favours it. Ours get the first alone.
- **Equal latency**: of Torch-Pruning's points, by either criterion, that are at most 3% slower than ours, the one with the highest accuracy on the
  images that judge, which favours it again. Equal parameters: the same with at most 3% more.
- **Latency** is of one image and one thread, as a fraction of the full network's, all networks in turn. It is the processor time of that
  thread, so that other programs on the machine do not count.
- Intervals are 95%, of paired differences on the same images (Tango). One seed: how much another fine-tune would differ is not in them.
"""


@dataclass(frozen=True)
class Duel:
    """One of our points against the best of Torch-Pruning's that are as fast (or as small); `rival` is None where none is."""

    network: str
    ours: Row
    loss: Interval
    rival: Row | None
    rival_loss: Interval | None
    difference: Interval | None  # of accuracy, ours minus theirs


def read_results(path: Path | None = None) -> dict[str, Row]:
    """The results by network, in order; none where nothing was measured."""
    place = RESULTS if path is None else path
    return {row["name"]: row for row in json.loads(place.read_text(encoding="utf-8"))} if place.exists() else {}


def write_page() -> None:
    """Write the page from the kept results."""
    PAGE.write_text(page(list(read_results().values())), encoding="utf-8")


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
    mine = [point for point in row["points"] if point["method"] in OURS and (scale != "parameters" or point["target"] == MIDDLE)]
    for ours in {(point["method"], *point["blocks"], point["ratio"]): point for point in mine[::-1]}.values():
        answers = final_answers(row, ours)
        fitting = [point for point in rivals if _size(point, scale) <= SLACK * _size(ours, scale)]
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


def _size(point: Row, scale: str) -> float:
    value = point[scale]
    return float(value[0] if isinstance(value, list) else value)


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## What came out\n", *[f"- {line}" for line in verdicts(rows)], ""]
    parts += ["## At equal latency\n", *_duel_tables(rows, "latency"), "## At equal parameters\n"]
    parts += ["| network | ours | parameters | accuracy lost | Torch-Pruning | parameters | accuracy lost | difference of accuracy |"]
    parts += ["|---|---|---:|---:|---|---:|---:|---:|"]
    parts += [_parameter_line(duel) for row in rows for duel in duels(row, "parameters")]
    parts += ["", "## Single blocks\n", *_single_lines(rows), "", "## Limits\n", *limits(rows), ""]
    return "\n".join(parts)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """The aims, and whether they are met."""
    lines: list[str] = []
    for scale, words in (("latency", "equal latency"), ("latency_16", "equal latency of 16 images at a time"), ("parameters", "equal parameters")):  # fmt: skip
        for method in OURS:
            every = [duel for row in rows for duel in duels(row, scale) if duel.ours["method"] == method]
            if every:
                lines.append(_count_line(every, method, words))
    fast = [(duel, duel.ours["latency"][0]) for row in rows for duel in duels(row, "latency")]
    met = [duel for duel, latency in fast if latency <= 1 / FASTER and duel.loss.value <= POINT]
    aim = f"at least {FASTER:g} times lower latency at a loss of at most 1 point"
    if met:
        texts = [f"{duel.network} ({_latency(duel.ours)} latency, {_loss(duel.loss)} lost)" for duel in met]
        shown = sum(duel.loss.high <= POINT for duel in met)
        lines.append(f"The aim of {aim} is met by {name_list(texts, 9)}; the whole interval of the loss is within 1 point for {shown}.")
    else:
        near = min((duel for duel, latency in fast if latency <= 1 / FASTER), key=lambda each: each.loss.value, default=None)
        least = f"; the nearest is {near.network}: {_latency(near.ours)} latency, {_loss(near.loss)} lost" if near else ""
        lines.append(f"The aim of {aim} is missed{least}.")
    return lines


def _count_line(every: Sequence[Duel], method: str, words: str) -> str:
    known = [duel.difference for duel in every if duel.difference is not None]
    above, below = (sum(test(each) for each in known) for test in (_is_above, _is_below))
    least = [duel.network for duel in every if duel.difference is not None and duel.difference.value < 0]
    alone = len(every) - len(known)
    text = (
        f"At {words}, {method} against Torch-Pruning: {plural(len(known), 'comparison')} in "
        f"{plural(len({duel.network for duel in every}), 'network')}; significantly more accurate in {above}, significantly less in {below}."
    )
    if least:
        text += f" The estimate is below Torch-Pruning's in {name_list(list(dict.fromkeys(least)), 9)}."
    if alone:
        text += f" {plural(alone, 'further point')} of ours: none of Torch-Pruning's points is as {'small' if 'param' in words else 'fast'}."
    return text


_is_above: Callable[[Interval], bool] = lambda each: each.low > 0  # noqa: E731
_is_below: Callable[[Interval], bool] = lambda each: each.high < 0  # noqa: E731


def _duel_tables(rows: Sequence[Row], scale: str) -> list[str]:
    lines: list[str] = []
    for row in rows:
        count, full = row["images"]["reported"], unpack(row["full"], row["images"]["reported"])
        lines += [
            f"### {row['name']}\n",
            f"{plural(row['blocks'], 'block')}, {row['skipped']} of which can go with nothing in their place"
            f"{'; linear maps take their places here' if row['linear'] else ''}. Full accuracy {format_value(float(full.mean()), FRACTION)} on "
            f"{plural(count, 'image')}; {row['images']['repair']} others repair, {plural(row['steps'], 'step')}. "
            f"`python -m benchmarks slim_proof --only \"{row['name']}\"`\n",
            "| ours | latency | latency, 16 images | lost before the fine-tune | lost after | Torch-Pruning | latency | lost after | difference of accuracy |",
            "|---|---:|---:|---:|---:|---|---:|---:|---:|",
        ]  # fmt: skip
        lines += [_latency_line(row, duel, full) for duel in duels(row, scale)]
        lines.append("")
    return lines


def _latency_line(row: Row, duel: Duel, full: Answers) -> str:
    ours, rival = duel.ours, duel.rival
    early = loss_interval(unpack(ours["repaired"], len(full)), full)
    cells = [point_text(ours), _latency(ours), _latency(ours, "latency_16"), format_value(early.value, FRACTION), _loss(duel.loss)]
    if rival is None or duel.rival_loss is None or duel.difference is None:
        fastest = min(_size(point, "latency") for point in row["points"] if point["method"] not in OURS)
        cells += [f"none as fast; its fastest {format_value(fastest, FRACTION)}", "", "", ""]
    else:
        cells += [point_text(rival), _latency(rival), _loss(duel.rival_loss), _loss(duel.difference)]
    return f"| {' | '.join(cells)} |"


def _parameter_line(duel: Duel) -> str:
    cells = [duel.network, point_text(duel.ours), format_value(duel.ours["parameters"], FRACTION), _loss(duel.loss)]
    if duel.rival is None or duel.rival_loss is None or duel.difference is None:
        cells += ["none as small", "", "", ""]
    else:
        size = format_value(duel.rival["parameters"], FRACTION)
        cells += [point_text(duel.rival), size, _loss(duel.rival_loss), _loss(duel.difference)]
    return f"| {' | '.join(cells)} |"


def point_text(point: Row) -> str:
    """What was done, in few words: blocks removed, channels pruned."""
    blocks = plural(len(point["blocks"]), "block") if point["blocks"] else ""
    width = f"{point['ratio']:.0%} of channels" if point["ratio"] else ""
    what = " and ".join(part for part in (blocks, width) if part)
    return f"{point['method'].removeprefix('Torch-Pruning, ')}: {what}"


def _single_lines(rows: Sequence[Row]) -> list[str]:
    lines = [
        "Blocks whose removal alone loses less than 1 point (estimate): without training, with norms estimated again, with a linear map in the "
        "block's place, and after the fine-tune, which only the blocks got that the search puts first.\n",
        "| network | blocks | no repair | norms | linear map | fine-tune (of those tried) |",
        "|---|---:|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["name"], str(row["blocks"])]
        for repair in ("none", "norms", "linear", "fine-tune"):
            tried = {name: own[repair][0] for name, own in row["singles"].items() if repair in own}
            below = [f"`{name}`" for name, loss in tried.items() if loss < POINT]
            count = f"{len(below)} of {len(tried)}" if repair == "fine-tune" else str(len(below))
            cells.append(f"{count}{': ' + name_list(below, 4) if below else ''}" if tried else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def limits(rows: Sequence[Row]) -> list[str]:
    """What limits the interpretation."""
    missing = [network.name for network in REAL if network.name not in {row["name"] for row in rows}]
    mini = [name for name in NAMES if name not in {row["name"] for row in rows}]
    few = [f"{row['name']} ({row['images']['reported']})" for row in rows if row["images"]["reported"] < 500]
    lines = [
        "- The fine-tune is short, and the images that repair are few. A training over all data would raise all points, those that lost most "
        "the most: this compares what remains after a short repair, not what pruning could reach.",
        "- The images of CIFAR-10 are JPEG copies, on which the full networks are less accurate than published.",
        "- Latency depends on the processor and on the number of images at a time: tables have both for one and for 16.",
        "- In some networks a high ratio of Torch-Pruning prunes less than a lower one: groups that would lose all their channels after "
        "rounding are left as they are.",
    ]
    if few:
        lines.append(f"- Few images judge, so that intervals are wide: {name_list(few, 9)}.")
    if missing or mini:
        lines.append(f"- Not compared, since each takes long: {name_list([*missing, *mini], 20)}.")
    lines += [f"- {row['name']}: {sentence(row['machine'])}" for row in rows]
    return lines


def _latency(point: Row, scale: str = "latency") -> str:
    value, low, high = point[scale]
    return format_interval(value, low, high, FRACTION)


def _loss(interval: Interval) -> str:
    return format_interval(*interval, FRACTION)
