"""Where trained networks and photographs lie, for tests of claims; those that need them are skipped with that reason where they are not."""

import os
from pathlib import Path

import pytest

from microtome.replicate.claim import RunContext

DATA = Path(os.environ.get("MICROTOME_DATA", Path(__file__).parents[2] / "shared" / "data"))
HERE = (DATA / "MANIFEST.json").is_file()
CONTEXT = RunContext(DATA, Path())
needs_data = pytest.mark.skipif(not HERE, reason=f"no trained networks in {DATA} (set MICROTOME_DATA)")
