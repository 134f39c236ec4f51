"""Scores that predict how well a backbone will serve a task."""

from microtome.analyses.transfer.transfer import Transfer as Transfer
