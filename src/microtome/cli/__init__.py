"""The command line: every analysis a verb, every field an option; `--help` never imports torch.

Exit codes: 0 all well; 1 something failed (said which); 2 the call was wrong; 130 interrupted (work kept).
"""

import os
import sys
import warnings
from typing import Any

import click

from microtome.errors import MicrotomeError, UsageError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; no deliberate error ever shows a traceback."""
    # Threads of torch that spin while they wait take the cores from whatever else runs, and lose a factor of four to it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from microtome.cli.verbs import build_group

    # `microtome doctor` says it; in front of every other answer it would only be noise.
    warnings.filterwarnings("ignore", message="torchvision's compiled operators")
    try:
        code = build_group().main(args=arguments, prog_name="microtome", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _interrupted()
    except KeyboardInterrupt:
        _interrupted()
    except click.UsageError as error:
        _print_error(f"{error.format_message()} See: {error.ctx.command_path if error.ctx else 'microtome'} --help", 2)
    except click.ClickException as error:
        _print_error(error.format_message(), 2)
    except UsageError as error:
        _print_error(str(error), 2)
    except MicrotomeError as error:
        _print_error(str(error), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("MICROTOME_DEBUG"):
            raise
        _print_error(_unexpected_text(error), 1)


def _print_error(message: str, code: int) -> None:
    print(f"microtome: {message}", file=sys.stderr)
    sys.exit(code)


def _interrupted() -> None:
    _print_error("interrupted. What was measured is saved; the same command goes on from there.", 130)


def _unexpected_text(error: Exception) -> str:
    first: Any = str(error).strip().splitlines()[0] if str(error).strip() else ""
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return "memory ran out. Try a smaller --batch, or fewer images with --limit."
    return (
        f"this is a fault of microtome itself ({type(error).__name__}: {first[:300]}). "
        "What was measured is saved. Run again with MICROTOME_DEBUG=1 for the full traceback, and report it."
    )


__all__ = ["main"]
