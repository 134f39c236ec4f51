"""docs/choice.md and the evidence that `compare` reads, both from docs/choice.json."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.choice_statistics import crossed_interval, kendall_tau, task_values
from benchmarks.choice_training import RECIPE
from microtome.numerics.statistics.intervals import Interval
from microtome.prose import name_list

PAGE = machine.ROOT / "docs" / "choice.md"
EVIDENCE = machine.ROOT / "src" / "microtome" / "analyses" / "compare" / "evidence.json"
AIM_TAU, AIM_REGRET = 0.8, 1.0  # mean tau at least, mean regret in points at most
TRUTHS = {"head": "new head", "finetuned": "fine-tuned"}
TITLES = {
    "recommendation": "recommendation of `compare`", "logme": "LogME", "gbc": "GBC", "parc": "PARC", "h_score": "regularised H-score",
    "transrate": "TransRate", "LEEP": "LEEP", "NCE": "NCE", "nearest": "k-NN", "ridge": "ridge probe", "logistic": "logistic probe",
    "probe": "best probe accuracy", "parameters": "more parameters", "fewer": "fewer parameters",
    "elsewhere": "accuracy on the other tasks",
}  # fmt: skip
BASELINES = ("parameters", "fewer", "elsewhere")
OF_TRANSFER = ("logme", "gbc", "parc", "h_score", "transrate", "LEEP", "NCE", "nearest", "ridge", "logistic")
Values = np.ndarray[Any, Any]
Results = dict[str, Any]


class Measured(NamedTuple):
    """How well one score orders and chooses: (task,) values and means with intervals; regret in points."""

    taus: dict[str, Values]
    regrets: dict[str, Values]
    tau: Interval
    regret: Interval


class Grid:
    """Rows as arrays (task, draw, candidate)."""

    def __init__(self, results: Results) -> None:
        self.tasks = [task["name"] for task in results["tasks"]]
        self.names = [each["name"] for each in results["candidates"]]
        self.draws = sorted({row["draw"] for row in results["rows"]})
        self.rows = {(row["task"], row["draw"], row["candidate"]): row for row in results["rows"]}
        self.advice = {(row["task"], row["draw"]): row for row in results["recommendations"]}

    def values(self, read: Callable[[dict[str, Any]], float | None]) -> Values:
        """What `read` gives of every row."""
        return np.array([
            [[_number(read(self.rows[task, draw, name])) for name in self.names] for draw in self.draws] for task in self.tasks
        ])  # fmt: skip

    def truths(self) -> Values:
        """Accuracies (truth, task, draw, candidate)."""
        return np.stack([self.values(lambda row, kind=kind: row[kind]) for kind in TRUTHS])

    def recommended(self) -> Values:
        """The negative rank by `compare` (task, draw, candidate); a candidate that was not judged is last."""
        ranks = [
            [[self.advice[task, draw]["rank"].get(name) for name in self.names] for draw in self.draws] for task in self.tasks
        ]
        return np.array([[[-np.inf if rank is None else -float(rank) for rank in row] for row in part] for part in ranks])

    def elsewhere(self, truths: Values) -> Values:
        """For each task, the mean accuracy of every candidate on the other tasks."""
        whole = truths.mean(axis=(0, 2))
        others = (whole.sum(0) - whole) / max(len(whole) - 1, 1)
        return np.repeat(others[:, None], len(self.draws), axis=1)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def all_scores(grid: Grid, deepest: bool = False) -> dict[str, Values]:
    """Every score (task, draw, candidate): higher says better."""
    place = "deepest_scores" if deepest else "scores"
    scores = {name: grid.values(lambda row, name=name: row[place][name]) for name in OF_TRANSFER}
    if deepest:
        return scores
    size = grid.values(lambda row: row["parameters"])
    return {
        "recommendation": grid.recommended(), **scores, "probe": grid.values(lambda row: row["probe"]), "parameters": size, "fewer": -size,
        "elsewhere": grid.elsewhere(grid.truths()),
    }  # fmt: skip


def measure_score(score: Values, truths: Values) -> Measured:
    """Tau and regret of one score, by truth and over both."""
    taus = {kind: task_values(score, truth[None], "tau") for kind, truth in zip(TRUTHS, truths, strict=True)}
    regrets = {kind: 100 * task_values(score, truth[None], "regret") for kind, truth in zip(TRUTHS, truths, strict=True)}
    points = Interval(*(100 * end for end in crossed_interval(score, truths, "regret")))
    return Measured(taus, regrets, crossed_interval(score, truths, "tau"), points)


def write_pages(results: Results) -> None:
    """Write the page and the evidence."""
    grid = Grid(results)
    measured = {name: measure_score(score, grid.truths()) for name, score in all_scores(grid).items()}
    PAGE.write_text(page(results, grid, measured), encoding="utf-8")
    EVIDENCE.write_text(json.dumps(evidence(results, measured), indent=1) + "\n", encoding="utf-8")


def evidence(results: Results, measured: dict[str, Measured]) -> dict[str, Any]:
    """What `compare` is to weigh its evidence by; numbers that are not known are None."""
    real = sum(task["real"] for task in results["tasks"])
    return {
        "source": "docs/choice.md",
        "commit": results["machine"]["commit"],
        "date": results["machine"]["date"][:10],
        "tasks": {"generated": len(results["tasks"]) - real, "real": real},
        "candidates": len(results["candidates"]),
        "scores": {name: _evidence_of(each) for name, each in measured.items() if name not in BASELINES},
    }


def _evidence_of(each: Measured) -> dict[str, Any]:
    known = np.isfinite(np.mean([each.taus[kind] for kind in TRUTHS], axis=0))
    numbers = {
        "tau_mean": each.tau.value, "tau_low": each.tau.low, "tau_high": each.tau.high,
        "regret_mean": each.regret.value, "regret_low": each.regret.low, "regret_high": each.regret.high,
    }  # fmt: skip
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in numbers.items()} | {
        "tasks": int(known.sum())
    }


def page(results: Results, grid: Grid, measured: dict[str, Measured]) -> str:
    """The page as Markdown."""
    real = sum(task["real"] for task in results["tasks"])
    parts = [
        HEAD.format(
            candidates=len(grid.names), generated=len(grid.tasks) - real, real=real, recipe=RECIPE, draws=len(grid.draws)
        ),
        _aim(measured),
        _shown(measured, grid),
        _overview(measured, grid),
        _by_task(results, grid, measured),
        _choices(results, grid),
        _deepest(grid, measured),
        _noise(grid),
        _accuracies(grid),
        _inputs(results),
        NOTES,
        f"{results['skipped']}.\n" if results["skipped"] else "",
        machine.sentence(results["machine"]) + "\n",
    ]
    return "\n".join(part for part in parts if part)


def _aim(measured: dict[str, Measured]) -> str:
    scores = {name: each for name, each in measured.items() if name not in BASELINES and np.isfinite(each.tau.value)}
    best = max(scores, key=lambda name: scores[name].tau.value)
    least = min(scores, key=lambda name: scores[name].regret.value)
    advice = measured["recommendation"]
    tau = scores[best].tau.value
    lines = [
        "## Is the aim met?\n",
        f"The aim is a mean tau of at least {AIM_TAU:g} and a mean regret of at most {AIM_REGRET:g} point.\n",
        f"- **Order: {'met' if tau >= AIM_TAU else 'not met'}.** The highest mean tau of any score is {_span(scores[best].tau)} "
        f"({TITLES[best]}); that of the recommendation's ranks is {_span(advice.tau)}.",
        f"- **Choice: {'met' if advice.regret.value <= AIM_REGRET else 'not met'}.** Following the recommendation costs "
        f"{_span(advice.regret, 1)} points on average; the smallest mean regret of any score is {_span(scores[least].regret, 1)} points "
        f"({TITLES[least]}).\n",
    ]
    return "\n".join(lines)


def _shown(measured: dict[str, Measured], grid: Grid) -> str:
    """What the intervals show and what they do not."""
    scores = {name: each for name, each in measured.items() if name not in BASELINES and np.isfinite(each.tau.low)}
    above = [TITLES[name] for name, each in scores.items() if each.tau.low > 0]
    others = [TITLES[name] for name, each in scores.items() if each.tau.low <= 0]
    best = max(scores.values(), key=lambda each: each.tau.value, default=None)
    near = [TITLES[name] for name, each in scores.items() if best and each.tau.high >= best.tau.low]
    loss = 100 * float((grid.truths().max(-1) - grid.truths().mean(-1)).mean())
    lines = [
        "## What it shows, and what not\n",
        f"- Order significantly better than chance: {name_list(above, 20) or 'no score'}.",
        f"- Order not shown to be better than chance: {name_list(others, 20) or 'no score'}.",
        f"- No score is shown to be the best: the intervals of {name_list(near, 20)} overlap that of the highest.",
        f"- A candidate taken at random would cost {loss:.1f} points on average; the recommendation costs "
        f"{measured['recommendation'].regret.value:.1f}.",
        "- Mean regrets are of few tasks, and a single task with a large one would change them: their upper ends are far away.\n",
    ]
    return "\n".join(lines)


def _span(interval: Interval, digits: int = 2) -> str:
    if not np.isfinite(interval.value):
        return "–"
    value, low, high = (f"{part + 0.0:.{digits}f}" for part in interval)
    return f"{value} [{low}, {high}]" if np.isfinite(interval.low) else f"{value} [interval unknown]"


def _overview(measured: dict[str, Measured], grid: Grid) -> str:
    lines = [
        "## Over all tasks\n",
        "Mean over tasks of Kendall's tau-b and of the regret in points of accuracy, for each truth and for both together with the 95% "
        "interval. Ordered by mean tau; baselines in italics.\n",
        "| score | tasks | tau, head | tau, fine-tuned | tau, both | regret, head | regret, fine-tuned | regret, both |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    order = sorted(measured, key=lambda name: -np.nan_to_num(measured[name].tau.value, nan=-9.0))
    for name in order:
        each = measured[name]
        cells = [_mean(each.taus[kind], 2) for kind in TRUTHS] + [_span(each.tau)]
        cells += [_mean(each.regrets[kind], 1) for kind in TRUTHS] + [_span(each.regret, 1)]
        title = f"*{TITLES[name]}*" if name in BASELINES else TITLES[name]
        lines.append(f"| {title} | {int(np.isfinite(each.taus['head']).sum())} | {' | '.join(cells)} |")
    loss = 100 * (grid.truths().max(-1) - grid.truths().mean(-1)).mean(-1)
    whole = f"{float(loss.mean()):.1f}"
    lines.append(
        f"| *a candidate at random* | {len(grid.tasks)} | 0 | 0 | 0 | {loss[0].mean():.1f} | {loss[1].mean():.1f} | {whole} |"
    )
    return "\n".join(lines) + "\n"


def _mean(values: Values, digits: int) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean() + 0.0:.{digits}f}" if len(known) else "–"


def _by_task(results: Results, grid: Grid, measured: dict[str, Measured]) -> str:
    shown = [name for name in measured if name not in BASELINES]
    parts = ["## By task\n"]
    for title, digits, read in (
        ("Tau, mean of both truths", 2, lambda each: np.mean([each.taus[kind] for kind in TRUTHS], axis=0)),
        ("Regret in points, mean of both truths", 1, lambda each: np.mean([each.regrets[kind] for kind in TRUTHS], axis=0)),
    ):
        rows = [
            [f"`{task}`", *(_cell(read(measured[name])[place], digits) for name in shown)]
            for place, task in enumerate(grid.tasks)
        ]
        parts += [f"{title}:\n", *_table(["task", *(TITLES[name] for name in shown)], rows)]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: names to the left, numbers to the right."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}", *lines, ""]


def _cell(value: float, digits: int) -> str:
    return f"{value + 0.0:.{digits}f}" if np.isfinite(value) else "–"


def _choices(results: Results, grid: Grid) -> str:
    lines = [
        "## What was recommended, and what was best\n",
        "The first draw of each task. Accuracy on the test images with the new head, then fine-tuned.\n",
        "| task | recommended | its accuracy | best with a new head | best fine-tuned |",
        "|---|---|---:|---|---|",
    ]
    draw = grid.draws[0]
    for task in grid.tasks:
        rows = {name: grid.rows[task, draw, name] for name in grid.names}
        choice = grid.advice[task, draw]["choice"]
        own = " / ".join(f"{rows[choice][kind]:.1%}" for kind in TRUTHS) if choice else "–"
        best = [max(rows.values(), key=lambda row, kind=kind: row[kind]) for kind in TRUTHS]
        cells = [f"{row['candidate']}, {row[kind]:.1%}" for row, kind in zip(best, TRUTHS, strict=True)]
        lines.append(f"| `{task}` | {choice or 'none'} | {own} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _deepest(grid: Grid, measured: dict[str, Measured]) -> str:
    """The same scores at the deepest layer instead of the one with the best LogME."""
    truths, scores = grid.truths(), all_scores(grid, deepest=True)
    lines = [
        "## At the deepest layer\n",
        "The tables above take each score where `transfer` reports it, at the layer with the best LogME of a network. Here it is taken at "
        "the deepest layer of the stages. LEEP and NCE have no layer.\n",
        "| score | tau, best layer | tau, deepest layer | regret, best layer | regret, deepest layer |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in OF_TRANSFER:
        if name in ("LEEP", "NCE"):
            continue
        cells = [
            _mean(task_values(scores[name], truths, "tau"), 2),
            _mean(100 * task_values(scores[name], truths, "regret"), 1),
        ]
        own = measured[name]
        lines.append(f"| {TITLES[name]} | {own.tau.value:.2f} | {cells[0]} | {own.regret.value:.1f} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def _noise(grid: Grid) -> str:
    """How well the truths agree with each other: no score can be expected to agree better."""
    truths = grid.truths()
    between = [kendall_tau(*pair) for task in truths.transpose(1, 2, 0, 3) for pair in task]
    lines = [
        "## How far the truth agrees with itself\n",
        f"Tau between the accuracy of the new head and that of the fine-tuned network: {_mean(np.array(between), 2)}, mean over tasks.",
    ]
    if len(grid.draws) > 1:
        repeated = [
            [
                kendall_tau(task[first], task[second])
                for task in truth
                for first in grid.draws
                for second in grid.draws
                if first < second
            ]
            for truth in truths
        ]
        means = [_mean(np.array(values), 2) for values in repeated]
        lines.append(
            f"Between draws of the training images (the test images stay): {means[0]} with the new head, {means[1]} fine-tuned."
        )
    return "\n".join(lines) + "\n"


def _accuracies(grid: Grid) -> str:
    parts = ["## Accuracy of every candidate\n"]
    for kind, title in TRUTHS.items():
        values = grid.values(lambda row, kind=kind: row[kind]).mean(1)
        rows = [[name, *(f"{100 * value:.1f}" for value in values[:, place])] for place, name in enumerate(grid.names)]
        parts += [
            f"{title.capitalize()}, per cent right on the test images:\n",
            *_table(["candidate", *(f"`{task}`" for task in grid.tasks)], rows),
        ]
    return "\n".join(parts)


def _inputs(results: Results) -> str:
    lines = [
        "## Tasks and candidates\n",
        "| task | what | classes | training images | test images | seen by candidates before |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| `{task['name']}` | {task['title']} | {task['classes']} | {task['training']} | {task['test']} | {task['overlap']} |"
        for task in results["tasks"]
    ]
    by_source: dict[str, list[str]] = {}
    for each in results["candidates"]:
        by_source.setdefault(each["source"], []).append(f"{each['name']} ({each['px']} px)")
    lines += ["", "| trained on | candidates, and the size they are shown here |", "|---|---|"]
    lines += [f"| {source} | {', '.join(names)} |" for source, names in by_source.items()]
    return "\n".join(lines) + "\n"


Names = Sequence[str]
HEAD = """# Does the advice hold?

Which of {candidates} networks serves a task best? Scores of transferability, probes and `compare` answer from frozen features of the
training images. Here the answer is checked: every network is trained on every task and judged on test images. {generated} generated and
{real} real tasks, draws of the training images: {draws}. Written by `python -m benchmarks choice`; the numbers are in
[choice.json](choice.json).

- **Scores** are those of [`transfer`](analyses/transfer.md), with its default layers, at the layer of the best LogME; `best probe accuracy`
  is that of [`probe`](analyses/probe.md). They see the training images only.
- **Recommendation**: the choice and the ranks of [`compare`](analyses/compare.md), given the findings of `probe`, `transfer` and `cost`. It
  prefers a cheaper network where its loss is shown to be at most one point.
- **Truth, new head**: logistic regression on what the network's own classifier is given, standardised, strength by cross-validation.
- **Truth, fine-tuned**: all weights, beginning with that head. One recipe for all networks: {recipe}.
- **Kendall's tau** orders candidates by score and by truth: 1 same order, 0 unrelated, -1 reversed. **Regret** is the accuracy of the best
  candidate minus that of the one with the highest score, in points.
"""
NOTES = """## Interpretation and limits

- Intervals are 95%, over tasks and candidates drawn anew (tau) or over tasks (regret); their [coverage](coverage.md) is measured. They
  hold for tasks and networks like these: small images, about a hundred training images, networks of at most 4 million
  parameters.
- The best candidate is the best on a finite set of test images, so its accuracy is slightly too high and every regret slightly too large.
- Several tasks share six letters, and all generated tasks share their backgrounds, so tasks are not independent; the intervals take them
  to be.
- Real networks are shown 32 or 64 px, less than those of ImageNet were trained on. This changes which of them is best, not the question.
- One learning rate serves all networks. A rate chosen for each network would change the order after fine-tuning.
- LEEP and NCE compare only networks with many more classes than the task; ten of twelve networks here have ten.
- *Accuracy on the other tasks* looks at test accuracies of other tasks, which a user does not have.
"""
