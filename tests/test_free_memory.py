"""Free memory: the machine's, or what a container leaves of it."""

from pathlib import Path

import psutil
import pytest

from microtome import free_memory
from microtome.free_memory import free_bytes


def test_a_container_s_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, used = tmp_path / "max", tmp_path / "now"
    monkeypatch.setattr(free_memory, "CGROUP_LIMIT", limit)
    monkeypatch.setattr(free_memory, "CGROUP_USE", used)
    assert 0 < free_bytes() <= psutil.virtual_memory().total  # neither file is there
    limit.write_text("3000000\n")
    used.write_text("1000000\n")
    assert free_bytes() == 2_000_000
    limit.write_text("max\n")
    assert free_bytes() > 2_000_000
