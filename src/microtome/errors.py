"""Every deliberate error, in one tree.

    MicrotomeError
    ├── UsageError            the call was wrong: exit code 2
    │   ├── UnknownName       a model, layer, analysis, class or option that does not exist (the nearest is named)
    │   ├── BadOption         an option outside its range
    │   └── MissingExtra      an optional package is not installed
    ├── SpecimenError         the network could not be opened or run
    │   ├── CheckpointError   a weights file is missing, corrupt, unsafe, or does not fit
    │   └── NoNetwork         weights would have to be downloaded, and nothing answered
    ├── ImagesError           images, masks or boxes could not be used
    ├── FindingError          a saved finding is missing, incomplete or damaged
    ├── WriteError            a file or folder cannot be written: full disk, read-only folder
    ├── Unmeasurable          this analysis cannot give a true answer here, and says why
    ├── Uneditable            this edit cannot be made of this network, and says why
    └── WatchError            a layer was never reached, or its gradient is zero everywhere

A message says what was given, what would do, the nearest name, and the command to type. `docs/errors.md` has a section for
each class; a test holds the two together.
"""

import difflib
from collections.abc import Iterable


class MicrotomeError(Exception):
    """Something microtome refuses, in one clear sentence; never a bug of microtome itself."""


class UsageError(MicrotomeError):
    """The call itself was wrong (exit code 2)."""


class UnknownName(UsageError):
    """A name that does not exist; the nearest one is in the message."""


class BadOption(UsageError):
    """An option's value is outside what it accepts."""


class MissingExtra(UsageError):
    """An optional package is needed and not installed; the message has the pip line."""


class SpecimenError(MicrotomeError):
    """The network could not be opened or run."""


class CheckpointError(SpecimenError):
    """A weights file is missing, corrupt, unsafe to read, or does not fit the network."""


class NoNetwork(SpecimenError):
    """Weights would have to be downloaded and no server answered."""


class ImagesError(MicrotomeError):
    """Images, labels, masks or boxes could not be used."""


class FindingError(MicrotomeError):
    """A saved finding is missing, incomplete or damaged."""


class WriteError(MicrotomeError):
    """A file or folder could not be written; what was there before is untouched."""


class Unmeasurable(MicrotomeError):
    """The analysis has no valid result here; the message states the reason."""


class Uneditable(MicrotomeError):
    """The edit does not apply to this network; the message states the reason."""


class WatchError(MicrotomeError):
    """A watched layer was never reached, or no gradient reaches it."""


_in_shell = False


def speak_to_shell(yes: bool = True) -> None:
    """Hints are commands from now on (the command line), or Python again."""
    global _in_shell
    _in_shell = yes


def hint(shell: str, python: str) -> str:
    """The hint in the language of whoever called: the shell's on the command line, else Python's."""
    return shell if _in_shell else python


def option_hint(name: str, value: object) -> str:
    """An option with a value, as it is given: `--kind logit` in the shell, `kind='logit'` in Python."""
    words = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return hint(f"{flag(name)} {words}", f"{name}={value!r}")


def option_name(name: str) -> str:
    """The name of an option: `--per-class` in the shell, `per_class` in Python."""
    return hint(flag(name), name)


def flag(name: str) -> str:
    """The option of the command line for a name."""
    return f"--{name.replace('_', '-')}"


def layers_hint(specimen: str = "SPECIMEN") -> str:
    """What lists the layers of a specimen."""
    return hint(f"microtome layers {specimen}", "specimen.layers")


def weights_hint(specimen: str = "SPECIMEN") -> str:
    """What lists the weights that are NaN or infinite."""
    return hint(f"microtome weights {specimen}", "mt.analyses.weights.Weights()(specimen)")


def rerun_hint(folder: object) -> str:
    """What measures a saved finding again."""
    return hint(f"microtome rerun {folder}", "mt.analyze(specimens, images, folder)")


def measure_hint(folder: object = "DIR") -> str:
    """What measures into a folder."""
    return hint(f"microtome analyze SPECIMEN… IMAGES --out {folder}", f"mt.analyze(specimens, images, '{folder}')")


def nearest_names(given: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The `count` choices spelt most like `given`, best first; empty where nothing comes near."""
    pool = list(dict.fromkeys(choices))
    lowered = {choice.lower(): choice for choice in reversed(pool)}
    close = difflib.get_close_matches(given.lower(), lowered, n=count, cutoff=0.5)
    names = [lowered[name] for name in close]
    if not names and len(given) >= 3:
        names = [name for name in pool if given.lower() in name.lower()][:count]
    return names


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """A clause for the end of a message: ` Did you mean 'x'?`, or what exists when nothing is near."""
    pool = list(choices)
    close = nearest_names(given, pool)
    if close:
        return " Did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
    if 0 < len(pool) <= 12:
        return " There are: " + ", ".join(pool) + "."
    return ""
