"""Which earlier layers each layer of a dense block reads, from its weights."""

from microtome.analyses.reuse.reuse import Reuse as Reuse
