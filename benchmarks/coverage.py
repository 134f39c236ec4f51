"""How often the printed intervals hold the true value: `python -m benchmarks coverage` writes docs/coverage.md."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import coverage_cka, coverage_proof, coverage_transfer, machine
from benchmarks.coverage_cases import Row, balanced_rows, cases, gap_rows, simulate, simultaneous_rows, twin_rows

PAGE = machine.ROOT / "docs" / "coverage.md"
DRAWS = 1000
INTRODUCTION = """# Coverage of the intervals

A 95% interval should hold the true value in 95 of 100 repetitions. Here each interval that microtome prints is computed for samples from
distributions whose true value is known, and counted. Written by `python -m benchmarks coverage`, {draws:,} draws a row, seeded.

*Coverage* is of the samples that have an interval, with its own standard error over draws; *printed* is how many of all samples that were.
*Holds*: between 93% and 97%, two errors allowed. *Conservative*: above. *Too low*: below. *No interval*: printed in fewer than 1% of
samples, as the key number then says ("interval unknown").
"""
NOTES = """
## Reading it

- **Minimum.** The mean of unbounded values has an interval from 20 values on (`MIN_VALUES`), 10 of which must differ from the commonest
  one (`MIN_DIFFERENT`). With fewer, none of those tried keeps its level on skewed values: Student's, BCa, Hall's transformation and the
  studentised bootstrap, which covers 91% of 10 log-normal values; the percentile bootstrap covers
  73% of 3 normal values and 88% of 8. The median has an interval from 6 values on (`MIN_RUNS`), the mean IoU from 50 scenes (`MIN_SCENES`;
  of 20 it covered 89%).
- **Conservative by construction.** Clopper and Pearson's interval, the interval of a mean between 0 and 1, and order statistics promise at
  least 95% for every distribution. Where values are discrete, or lie far inside their range, that is more than 95%. Wilson's interval,
  used before, has no such promise: at 98% of 50 images right it covers 92%.
- **Flat and two-peaked values** are covered by more than 97% at n = 20, since the bootstrap may only widen Student's interval, as
  heavy tails need.
- **Skewed values.** Of values as skewed as a log-normal with σ = 1 (skewness 6), 20 are the fewest whose interval holds; rarer large values
  that a small sample misses are covered less, since no data can show what was not drawn. Of one more set of random weights whose values
  are that skewed, 9% would lie outside the range of five twins: so positive values must lie beyond it by their differences and by their
  factors, and influences and distances are compared by their factors alone.
- **All at once.** `compare` holds all differences between K networks together. With few images or answers that are nearly all right,
  the score interval is conservative.
- **No bootstrap for scores of transferability.** A bootstrap sample repeats images, which LogME, H-score and coding rates take for
  evidence: the percentile interval of LogME held it in none of 100 draws (100 images, 64 features; `python -m
  benchmarks.coverage_transfer`). The jackknife over ten groups of images repeats none; the true value here is the score that sets of so
  many images have on average.
- **Calibration error.** The error of a sample is too large, and percentile and reflected bootstrap do not undo that: of a calibrated
  network over 15 corruptions their intervals held the true error in none of 150 draws at any n. The interval used takes off how far the
  gaps of bootstrap samples lie from those of the sample, which is conservative.
- **Mean tau and regret over tasks** are of tasks and candidates drawn independently; tasks of a benchmark that share images are not.
- **Not covered.** An interval at the layer that came out best or smallest does not pay for the choice. The probe's interval
  is over images, not over other training images. Runs of a timer are not independent where the load of the machine drifts.
"""


def write_page(draws: int = DRAWS) -> None:
    """Run all simulations and write the page."""
    PAGE.write_text(page(list(rows(draws)), draws), encoding="utf-8")


def rows(draws: int) -> Iterator[Row]:
    """All rows, in the order of the page."""
    for case in cases():
        for n in case.sizes:
            yield simulate(case, n, draws)
    yield from simultaneous_rows(draws)
    yield from balanced_rows(draws)
    yield from twin_rows(draws)
    yield from gap_rows(draws)
    yield from map(_row_of_cka, coverage_cka.rows(draws))
    yield from coverage_transfer.rows(draws)
    yield from coverage_proof.rows(draws)


def _row_of_cka(told: Mapping[str, Any]) -> Row:
    """A row of the simulations of CKA as one of ours."""
    interval, _, population = told["interval"].partition(": ")
    held = round(told["coverage"] * told["draws"])
    return Row(interval, told["analysis"], population, told["n"], told["nominal"], held, told["draws"], told["draws"])


def page(found: Sequence[Row], draws: int) -> str:
    """The whole page as Markdown."""
    lines = [INTRODUCTION.format(draws=draws).rstrip("\n")]
    for interval in dict.fromkeys(row.interval for row in found):
        own = [row for row in found if row.interval == interval]
        lines += [
            f"\n## {interval[0].upper()}{interval[1:]}\n\nPrinted by: {', '.join(dict.fromkeys(row.analyses for row in own))}.\n",
            "| distribution | n | nominal | coverage | printed | draws | verdict |\n|---|---:|---:|---:|---:|---:|---|",
            *map(_line, own),
        ]
    return "\n".join(lines) + "\n" + NOTES


def _line(row: Row) -> str:
    coverage = f"{100 * row.coverage:.1f}% ± {100 * row.error:.1f}" if row.verdict != "no interval" else "–"
    printed = f"{100 * row.printed / row.draws:.0f}%"
    return f"| {row.distribution} | {row.n} | {100 * row.nominal:.0f}% | {coverage} | {printed} | {row.draws} | {row.verdict} |"
