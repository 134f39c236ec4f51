"""Which runs an experiment has, where each lies, and how far each has come: a folder for each variant and seed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome.errors import CheckpointError, option_name
from microtome.training.experiment.definition import Experiment, TrainingVariant
from microtome.training.recipe import TrainingRecipe

RUNS_FOLDER, TRAINED_FOLDER, FINDINGS_FOLDER = "runs", "trained", "findings"
RESULT, PROTOCOL = "result.json", "protocol.json"
FINISHED, FAILED, BEGUN, NOT_BEGUN = "finished", "failed", "begun", "not begun"


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One variant with one seed: its recipe, and the folder that belongs to it alone."""

    variant: TrainingVariant
    seed: int
    recipe: TrainingRecipe
    folder: Path
    analyses_digest: str

    @property
    def name(self) -> str:
        """TrainingVariant and seed, as they are printed."""
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def training_folder(self) -> Path:
        """The folder of the training."""
        return self.folder / TRAINED_FOLDER

    def result(self) -> dict[str, Any] | None:
        """What the run came to, if it is finished with this recipe and these analyses, or failed; else None."""
        content = read_json(self.folder / RESULT)
        if content is None or content.get("recipe_digest") != self.recipe.digest:
            return None
        return content if content.get("analyses_digest") == self.analyses_digest else None

    def state(self) -> str:
        """How far it has come: finished, failed, begun or not begun."""
        if content := self.result():
            return str(content["state"])
        return BEGUN if self.folder.is_dir() and any(self.folder.iterdir()) else NOT_BEGUN

    def check_folder(self) -> None:
        """Raise CheckpointError where the folder holds a run of another recipe."""
        content = read_json(self.folder / PROTOCOL)
        if content is not None and content.get("recipe_digest") != self.recipe.digest:
            raise CheckpointError(
                f"'{self.folder}' holds a run of another recipe ({content.get('recipe_digest')}, not {self.recipe.digest}); "
                f"give another {option_name('out')}, or remove that folder."
            )


def plan_runs(experiment: Experiment, out: Path, seeds: Sequence[int] | None = None) -> list[PlannedRun]:
    """All runs, seed by seed, so that an interrupted experiment has whole comparisons; `seeds` in place of the experiment's own."""
    return [
        PlannedRun(
            variant=variant,
            seed=seed,
            recipe=experiment.variant_recipe(variant, seed),
            folder=out / RUNS_FOLDER / variant.folder / f"seed-{seed}",
            analyses_digest=experiment.analyses_digest,
        )
        for seed in (experiment.seeds if seeds is None else seeds)
        for variant in experiment.variants
    ]


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file that was written whole or not at all; None where there is none, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
