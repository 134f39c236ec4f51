"""A claim that takes training: an experiment beside the claim's file, and the difference of one number over its seeds."""

import math
import sys
import tomllib
from abc import ABC
from pathlib import Path
from typing import Any, ClassVar

from microtome.errors import BadOption
from microtome.key_numbers import format_value
from microtome.prose import plural
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.training.experiment.definition import Experiment, read_experiment
from microtome.training.experiment.run import run_experiment

PLACE = "{data}"  # in the experiment's text: the folder of trained networks and photographs


class TrainingClaim(Claim, ABC):
    """A claim whose effect is `number` of `variant` minus that of the experiment's reference, with Student's interval over seeds.

    The experiment is the TOML file beside the claim's own. Its runs are kept in the folder of the claim's run and never repeated, so
    that a killed run goes on.
    """

    variant: ClassVar[str]
    number: ClassVar[str] = "accuracy"

    def experiment(self, context: RunContext) -> Experiment:
        """What is trained and measured."""
        file = Path(str(sys.modules[type(self).__module__].__file__)).with_suffix(".toml")
        text = file.read_text(encoding="utf-8").replace(PLACE, str(context.data))
        return read_experiment(tomllib.loads(text), file.stem, file.parent)

    def run(self, preset: Preset, context: RunContext) -> Effect:
        experiment = self.experiment(context)
        outcome = run_experiment(
            experiment,
            context.out / "experiment",
            context.workers,
            listener=lambda event: context.listener(f"{event.run}: {event.text}"),
        )
        return self.effect_of_summary(outcome.summary)

    def effect_of_summary(self, summary: dict[str, Any]) -> Effect:
        """The effect in the content of an experiment.json.

        Raises:
            BadOption: the experiment has no such variant or number, or a run of it failed.
        """
        failed = [run for run in summary["runs"] if run["state"] != "finished"]
        if failed:
            reason = failed[0].get("reason", "it was not finished")
            raise BadOption(
                f"{plural(len(failed), 'run')} of {summary['name']} failed; the first: {reason}. Run the claim again."
            )
        rows = [row for row in summary["differences"] if (row["variant"], row["number"]) == (self.variant, self.number)]
        if not rows:
            raise BadOption(f"The experiment {summary['name']} has no number '{self.number}' of a variant '{self.variant}'.")
        value, low, high = (math.nan if part is None else float(part) for part in rows[0]["over_seeds"])
        unit, seeds = str(rows[0]["unit"]), rows[0]["seeds"]
        shown = [
            (f"{name}, mean over seeds", format_value(self._mean(summary, name), unit))
            for name in (self.variant, summary["reference"])
        ]
        shown += [
            (f"difference, seed {seed}", format_value(each, unit)) for seed, each in zip(seeds, rows[0]["by_seed"], strict=True)
        ]
        return Effect(value, low, high, f"95% over {plural(len(seeds), 'seed')}, Student, paired by seed", tuple(shown))

    def _mean(self, summary: dict[str, Any], variant: str) -> float:
        values = [run["numbers"][self.number]["value"] for run in summary["runs"] if run["variant"] == variant]
        return sum(values) / len(values)
