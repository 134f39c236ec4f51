"""Concepts."""

from microtome.analyses.concepts.concepts import Concepts as Concepts
