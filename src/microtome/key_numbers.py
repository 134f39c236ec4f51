"""Key numbers: the quantities a reader compares between networks, and the one way in which numbers are written.

Every number that a person reads goes through `format_value`, whether on the command line, in the report or in a headline.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

FRACTION = "fraction"  # a value from 0 to 1 that is written in per cent
LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class KeyNumber:
    """One quantity of a finding.

    `value`, `low`, `high` and `baseline` are in `unit` ("fraction" is written in per cent, "1" is a pure number); NaN stands for
    what is not known. `low` and `high` are a 95% interval; `has_interval` is set for a quantity that has one, known or not, so that a
    missing one is called unknown. `baseline` is what the untrained twin or chance gives, as
    `baseline_name` says. `better` says which direction a user wants, "" where there is none. `at` is where the number was taken.
    `missing` and `baseline_missing` are written in place of a value or a baseline that is not known; empty: "unknown" and nothing.
    """

    name: str
    value: float
    unit: str = "1"
    low: float = math.nan
    high: float = math.nan
    has_interval: bool = False
    baseline: float = math.nan
    baseline_name: str = "untrained twin"
    better: Literal["higher", "lower", ""] = ""
    at: str = ""
    missing: str = ""
    baseline_missing: str = ""

    @property
    def text(self) -> str:
        """The value with its unit and, where there is one, its interval."""
        if self.missing and math.isnan(self.value):
            return self.missing
        text = format_interval(self.value, self.low, self.high, self.unit)
        return f"{text} [interval unknown]" if self.interval_unknown else text

    @property
    def interval_unknown(self) -> bool:
        """Whether there is a value whose interval should be known and is not."""
        return self.has_interval and not math.isnan(self.value) and (math.isnan(self.low) or math.isnan(self.high))

    @property
    def baseline_text(self) -> str:
        """The baseline in the same unit; where it is not known, why, or an empty text."""
        return self.baseline_missing if math.isnan(self.baseline) else format_value(self.baseline, self.unit)

    def json(self) -> dict[str, Any]:
        """The key number as plain JSON values, with its texts; not-a-number as null, and infinity too, with its sign in `infinite`."""
        values = {key: _finite(value) if isinstance(value, float) else value for key, value in asdict(self).items()}
        signs = {key: int(math.copysign(1, value)) for key, value in asdict(self).items() if _is_infinite(value)}
        return values | {"text": self.text, "baseline_text": self.baseline_text} | ({"infinite": signs} if signs else {})

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "KeyNumber":
        """The key number that `json` wrote."""
        numbers = {name: math.nan if fields[name] is None else fields[name] for name in ("value", "low", "high", "baseline")}
        numbers |= {name: sign * math.inf for name, sign in fields.get("infinite", {}).items()}
        values: dict[str, Any] = numbers | {name: fields[name] for name in ("name", "unit", "baseline_name", "better", "at")}
        values |= {name: str(fields.get(name, "")) for name in ("missing", "baseline_missing")}
        return cls(**values, has_interval=bool(fields.get("has_interval", False)))  # older findings have none of the three


def format_value(value: float, unit: str = "1") -> str:
    """A number with its unit: `99.2%`, `0.753`, `62 px`, `11.7 M`; "unknown" for not-a-number."""
    number, sign = _digits(float(value), unit, None)
    return _with_unit(number, sign, unit)


def format_interval(value: float, low: float, high: float, unit: str = "1") -> str:
    """A number with its interval: `0.753 [0.748, 0.758]`; without the brackets where no interval is known."""
    if math.isnan(value) or math.isnan(low) or math.isnan(high):
        return format_value(value, unit)
    decimals = max(_decimals(end, unit) for end in (value, low, high) if math.isfinite(end)) if math.isfinite(value) else None
    scale = _scale(value, unit)
    middle, below, above = (_digits(each, unit, decimals, scale)[0] for each in (value, low, high))
    if unit == FRACTION:
        return f"{middle}% [{below}%, {above}%]"
    return f"{_with_unit(middle, scale[1], unit)} [{below}, {above}]"


def format_change(before: float, after: float) -> str:
    """The relative change in per cent, with its sign: `+1.2%`; "unknown" where there was nothing before."""
    if not before:
        return UNKNOWN
    text = format_value(after / before - 1, FRACTION)
    return text if text[0] == "-" or after == before else f"+{text}"


def _digits(value: float, unit: str, decimals: int | None, scale: tuple[float, str] | None = None) -> tuple[str, str]:
    """The digits of a value, and the prefix (M, G …) that they are scaled by."""
    if math.isnan(value):
        return UNKNOWN, ""
    if math.isinf(value):
        return "unbounded" if value > 0 else "-unbounded", ""
    factor, sign = scale or _scale(value, unit)
    shown = value / factor * (100 if unit == FRACTION else 1)
    if shown and abs(shown) < 1e-3:
        return f"{shown:.2e}", sign
    places = decimals if decimals is not None else _decimals(value, unit)
    return _plain_zero(f"{shown:,.{places}f}"), sign


def _decimals(value: float, unit: str) -> int:
    """How many decimals show three significant digits; none for whole numbers, one for per cent."""
    shown = abs(value) / _scale(value, unit)[0] * (100 if unit == FRACTION else 1)
    if unit == FRACTION:
        return 0 if shown in (0, 100) else 1 if shown >= 1 else 2
    if float(shown).is_integer():
        return 0
    return max(0, 2 - math.floor(math.log10(shown))) if shown >= 1e-3 else 3


def _scale(value: float, unit: str) -> tuple[float, str]:
    if unit == FRACTION or not math.isfinite(value):
        return 1.0, ""
    return next(((factor, sign) for factor, sign in LARGE if abs(value) >= factor), (1.0, ""))


def _with_unit(number: str, sign: str, unit: str) -> str:
    if number in (UNKNOWN, "unbounded", "-unbounded"):
        return number
    if unit == FRACTION:
        return f"{number}%"
    return " ".join(part for part in (number, sign, "" if unit == "1" else unit) if part)


def _plain_zero(text: str) -> str:
    """The text without the sign of a zero."""
    return text[1:] if text[:1] in "+-" and not any(sign in "123456789" for sign in text) else text


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _is_infinite(value: object) -> bool:
    return isinstance(value, float) and math.isinf(value)
