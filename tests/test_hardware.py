"""The processor by a file of facts, and without one; the cores by the affinity of this process."""

import os
import platform

import pytest

from microtome import hardware


def test_the_model_is_read_from_the_facts(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "CPU_FACTS", tmp_path / "cpuinfo")
    assert hardware.processor_name() == (platform.processor() or platform.machine())
    (tmp_path / "cpuinfo").write_text("processor: 0\nmodel name\t: Fast 9000: two\nmodel name\t: other\n")
    assert hardware.processor_name() == "Fast 9000: two"
    (tmp_path / "cpuinfo").write_text("processor: 0\n")
    assert hardware.processor_name() == platform.machine()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to a core")
def test_only_the_cores_that_may_be_used_count() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert hardware.core_count() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert hardware.core_count() == len(before)
