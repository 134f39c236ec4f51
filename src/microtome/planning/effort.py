"""How much work a run does: three levels of effort, and lengths of time as people write them."""

import re

from microtome.errors import BadOption, did_you_mean
from microtome.workload import EFFORTS, Effort

TWINS: dict[Effort, int] = {"quick": 3, "standard": 5, "full": 5}  # untrained twins, where the user names no number
STANDARD_LIMIT = 80.0  # seconds for each network on the reference machine, beyond which the standard effort takes quick sizes
LARGEST_LIMIT = 800.0  # seconds for each network there, beyond which it leaves analyses out
TWIN_LIMIT = 30.0  # seconds there that the scan of all twins of a network takes; fewer images beyond, but not fewer than
LEAST_TWIN_IMAGES = 8
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def check_effort(word: str) -> Effort:
    """The effort of that name.

    Raises:
        BadOption: there is none; the nearest is named.
    """
    for effort in EFFORTS:
        if word == effort:
            return effort
    raise BadOption(f"effort '{word}' is not one of {', '.join(EFFORTS)}.{did_you_mean(word, EFFORTS)}")


def parse_duration(text: str) -> float:
    """Seconds from a length of time: "90s", "2m", "1h30m", "90".

    Raises:
        BadOption: the text is not a positive length of time.
    """
    word = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh]?)", word)
    seconds = sum(float(number) * SECONDS[unit or "s"] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != word or not seconds:
        raise BadOption(f"'{text}' is not a length of time; write for instance 90s, 2m or 1h30m.")
    return seconds


def format_duration(seconds: float) -> str:
    """A length of time in one unit a reader can compare: "8 s", "2.5 min", "1.2 h"."""
    if seconds < 99.5:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
