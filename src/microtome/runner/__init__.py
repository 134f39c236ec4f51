"""Runs: many networks, many analyses, one folder of findings; `analyze` is the whole of it."""

from microtome.runner.analyze import analyze
from microtome.runner.choosing import choose_analyses
from microtome.runner.outcome import Event, Outcome

__all__ = ["Event", "Outcome", "analyze", "choose_analyses"]
