"""The whole check, as `make test` and CI run it: lint, types, import contracts, tests, each named and timed."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["basedpyright", "--warnings"],
    "import contracts": ["lint-imports"],
    "tests": [sys.executable, "-m", "pytest", "-n", str(min(2, os.cpu_count() or 1)), "--dist", "worksteal"],
}


def main() -> int:
    """Run every step, even after one has failed; the exit code is 1 if any did."""
    here = Path(sys.executable).parent
    failed: list[str] = []
    for name, command in STEPS.items():
        print(f"── {name}: {' '.join(Path(word).name for word in command)}", flush=True)
        began = time.monotonic()
        program = shutil.which(command[0], path=str(here)) or command[0]
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
        code = subprocess.run([program, *command[1:]], cwd=ROOT, env=environment, check=False).returncode
        print(
            f"── {name}: {'passed' if code == 0 else f'FAILED (exit code {code})'} in {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if code:
            failed.append(name)
    print(f"── {'all passed' if not failed else 'failed: ' + ', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
