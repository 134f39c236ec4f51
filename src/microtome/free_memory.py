"""How much memory is free for this process."""

from pathlib import Path

import psutil

CGROUP_LIMIT, CGROUP_USE = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))


def free_bytes() -> float:
    """Memory that this process can still take: what the machine has available, or less where a container limits it."""
    free = float(psutil.virtual_memory().available)
    try:
        limit, used = (path.read_text().strip() for path in (CGROUP_LIMIT, CGROUP_USE))
        return free if limit == "max" else min(free, float(limit) - float(used))
    except (OSError, ValueError):  # no container, or one of another kind
        return free
