"""The page docs/slim_proof.md, from docs/slim_proof.json: nothing in it is typed by hand but the explanations."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.machine import ROOT, sentence
from benchmarks.real_networks import REAL
from benchmarks.slim_duels import OURS, Duel, Row, Trial, duels, near_misses, size_of, trials, unpack
from microtome.analyses.slimming.arrays import Answers, loss_interval
from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.networks import NAMES
from microtome.numerics.statistics.intervals import Interval
from microtome.prose import name_list, plural

RESULTS = ROOT / "docs" / "slim_proof.json"
PAGE = ROOT / "docs" / "slim_proof.md"
FASTER, POINT = 1.5, 0.01 + 1e-9  # the aim: so much lower latency at so much loss
SCALES = {"latency": "equal latency", "latency_16": "equal latency of 16 images at a time", "parameters": "equal parameters"}

INTRODUCTION = """# Is removing blocks worth it?

Blocks removed by [`slimming`](slim.md), beside [Torch-Pruning](https://github.com/VainF/Torch-Pruning) alone, on trained networks:
accuracy at equal latency and at equal parameters. Written by `python -m benchmarks slim_proof`; the numbers are in
[slim_proof.json](slim_proof.json).

- **Depth**: the greedy search of `slimming` removes one block after the other; a point is the first set that reaches the latency aimed at.
- **Depth + width**: half as many blocks, then the smallest ratio of channels, pruned by Taylor importance, that reaches that latency.
- **Torch-Pruning**: by the recipe of its README (`BasePruner`, group magnitude or Taylor importance, one ratio for all groups, one step,
  the classifier left out, widths rounded to 8, or to 4 in networks with layers of fewer than 32 channels). Its ratio is the smallest
  that is as fast as our point (or, for the latency in the middle, that has as few parameters).
- **Repair**: 40% of the images repair, choose and fine-tune; the other 60% only judge. First the norms are estimated again (or, where few
  blocks can go with nothing in their place, linear maps are fitted); then the fine-tune of `--heal` follows the full network's answers,
  for as many steps. Neither uses labels; the search and Taylor importance do.
- Torch-Pruning's points get a second fine-tune, at four times the rate and with norms that take the statistics of each batch; the better
  of the two **on the images that judge** counts, which favours it. Ours get the first alone.
- **Equal latency**: of Torch-Pruning's points, by either criterion, that are at most 5% slower than ours (measured twice, a network
  differed by up to 4%), the one with the highest accuracy on the images that judge, which favours it again. Equal parameters: at most
  5% more.
- **Latency** is of one image and one thread, as a fraction of the full network's, all networks in turn. It is the processor time of that
  thread, so that other programs on the machine count only as far as they share its core and caches.
- Intervals are 95%, of paired differences on the same images (Tango). One seed: how much another fine-tune would differ is not in them.
"""


def read_results(path: Path | None = None) -> dict[str, Row]:
    """The results by network, in order; none where nothing was measured."""
    place = RESULTS if path is None else path
    return {row["name"]: row for row in json.loads(place.read_text(encoding="utf-8"))} if place.exists() else {}


def write_page() -> None:
    """Write the page from the kept results."""
    PAGE.write_text(page(list(read_results().values())), encoding="utf-8")


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## What came out\n", *[f"- {line}" for line in verdicts(rows)], ""]
    parts += ["## At equal latency\n", *_duel_tables(rows, "latency"), "## At equal parameters\n"]
    parts += [
        "| network | ours | parameters | accuracy lost | Torch-Pruning | parameters | accuracy lost | difference of accuracy |"
    ]
    parts += ["|---|---|---:|---:|---|---:|---:|---:|"]
    parts += [_parameter_line(duel) for row in rows for duel in duels(row, "parameters")]
    parts += ["", *_long_lines(rows)]
    parts += ["## Single blocks\n", *_single_lines(rows), "", "## Limits\n", *limits(rows), ""]
    return "\n".join(parts)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """The aims, and whether they are met."""
    lines: list[str] = []
    for scale, words in SCALES.items():
        for method in OURS:
            every = [duel for row in rows for duel in duels(row, scale) if duel.ours["method"] == method]
            if every:
                lines.append(_count_line(every, method, words))
    for row in rows:
        for ours, point in near_misses(row):
            lines.append(
                f"A little slower, and more accurate than ours, in {row['name']}: {point_text(point)} at {_latency(point)} latency, beside "
                f"{point_text(ours)} at {_latency(ours)}."
            )
    return [*lines, _aim_line([trial for row in rows for trial in trials(row)])]


def _aim_line(every: Sequence[Trial]) -> str:
    """Whether some point is as much faster as aimed at, and loses as little."""
    fast = [trial for trial in every if trial.point["latency"][0] <= 1 / FASTER]
    met = [trial for trial in fast if trial.loss.value <= POINT]
    aim = f"The aim of at least {FASTER:g} times lower latency at a loss of at most 1 point"
    if not met:
        near = min(fast, key=lambda trial: trial.loss.value, default=None)
        return f"{aim} is missed{f'; the nearest is {_trial_text(near)}' if near else ''}."
    shown = sum(trial.loss.high <= POINT for trial in met)
    texts = name_list([_trial_text(trial) for trial in met], 9)
    return f"{aim} is met by {texts}; the whole interval of the loss is within 1 point for {shown}."


def _trial_text(trial: Trial) -> str:
    return (
        f"{trial.network} ({point_text(trial.point)}, {plural(trial.steps, 'step')}: {_latency(trial.point)} latency, "
        f"{_loss(trial.loss)} lost)"
    )


def _count_line(every: Sequence[Duel], method: str, words: str) -> str:
    known = [duel.difference for duel in every if duel.difference is not None]
    above, below = (sum(test(each) for each in known) for test in (_is_above, _is_below))
    least = [duel.network for duel in every if duel.difference is not None and duel.difference.value < 0]
    alone, networks = len(every) - len(known), {duel.network for duel in every if duel.difference is not None}
    text = (
        f"At {words}, {method} against Torch-Pruning: {plural(len(known), 'comparison')} in "
        f"{plural(len(networks), 'network')}; significantly more accurate in {above}, less in {below}."
    )
    if least:
        text += f" The estimate is below Torch-Pruning's in {name_list(list(dict.fromkeys(least)), 9)}."
    if alone:
        quality = "small" if "param" in words else "fast"
        text += f" {plural(alone, 'further point')} of ours: none of Torch-Pruning's points is as {quality}."
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
            f"{'; linear maps take their places here' if row['linear'] else ''}. Full accuracy "
            f"{format_value(float(full.mean()), FRACTION)} on {plural(count, 'image')}; {row['images']['repair']} others repair, "
            f"{plural(row['steps'], 'step')}. "
            f"`python -m benchmarks slim_proof --only \"{row['name']}\"`\n",
            "| ours | latency | of 16 images | lost before the fine-tune | after | Torch-Pruning | latency | lost after | difference |",
            "|---|---:|---:|---:|---:|---|---:|---:|---:|",
        ]  # fmt: skip
        lines += [_latency_line(row, duel, full) for duel in duels(row, scale)]
        lines.append("")
    return lines


def _latency_line(row: Row, duel: Duel, full: Answers) -> str:
    ours, rival = duel.ours, duel.rival
    early = loss_interval(unpack(ours["repaired"], len(full)), full)
    cells = [
        point_text(ours),
        _latency(ours),
        _latency(ours, "latency_16"),
        format_value(early.value, FRACTION),
        _loss(duel.loss),
    ]
    if rival is None or duel.rival_loss is None or duel.difference is None:
        fastest = min(size_of(point, "latency") for point in row["points"] if point["method"] not in OURS)
        cells += [f"none as fast; the fastest measured {format_value(fastest, FRACTION)}", "", "", ""]
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


def _long_lines(rows: Sequence[Row]) -> list[str]:
    """Our points after a longer fine-tune, which no point of Torch-Pruning got."""
    longer = [trial for row in rows for trial in trials(row) if trial.steps > row["steps"]]
    if not longer:
        return []
    lines = ["## A longer fine-tune\n", "Ours alone, outside the comparison.\n"]
    lines += ["| network | ours | steps | latency | accuracy lost |", "|---|---|---:|---:|---:|"]
    for trial in longer:
        cells = [trial.network, point_text(trial.point), str(trial.steps), _latency(trial.point), _loss(trial.loss)]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _single_lines(rows: Sequence[Row]) -> list[str]:
    lines = [
        "Blocks whose removal alone loses less than 1 point (estimate): without training, with norms estimated again, with a linear map in "
        "the block's place, and after the fine-tune, which only the blocks got that the search puts first.\n",
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
        "- The fine-tune is short, and the images that repair are few. A training over all data would raise all points, most those that "
        "lost most: this compares what remains after a short repair, not what pruning could reach.",
        "- The images of CIFAR-10 are JPEG copies, on which the full networks are less accurate than published.",
        "- Latency depends on the processor and on the number of images at a time: tables have both for one and for 16.",
        "- In some networks a high ratio of Torch-Pruning prunes less than a lower one: groups that would lose all their channels after "
        "rounding are left as they are.",
    ]
    if narrow := [row["name"] for row in rows if all(point["method"] != OURS[1] for point in row["points"])]:
        lines.append(f"- Without points of depth and width, for lack of time: {name_list(narrow, 9)}.")
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
