"""Which earlier layers a dense layer reads, from its weights."""

from microtome.analyses.reuse.reuse import Reuse as Reuse
