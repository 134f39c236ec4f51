"""The command line in this process, for tests: importing torch anew for each command would take minutes."""

import contextlib
import io
from pathlib import Path

from microtome import errors
from microtome.cli import main


def call(*words: str, cwd: Path | None = None) -> tuple[int, str, str]:
    """The exit code, what was printed, and what was printed on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd or Path.cwd()):
        try:
            main(list(words))
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
        finally:
            errors.speak_to_shell(False)
    raise AssertionError("main did not exit")
