"""Faithfulness of maps."""

from microtome.analyses.faithfulness.faithfulness import Faithfulness as Faithfulness
