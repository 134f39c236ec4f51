"""Options turned into the types they declare, and one sentence for what does not fit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from microtome import options
from microtome.errors import BadOption, UnknownName
from microtome.options import build_from_words, option, validate_options


@dataclass(frozen=True)
class Owner:
    count: int = option(3, "Count.", low=1, high=9)
    rate: float = option(0.5, "Rate.", low=0)
    kind: Literal["mean", "max"] = option("mean", "Kind.")
    at: tuple[int, ...] = option([1, 2], "Places.")
    on: bool = option(False, "On.")
    seed: int | None = option(None, "Seed.")

    def __post_init__(self) -> None:
        validate_options(self, "owner")


@dataclass(frozen=True)
class Tabled:
    given: Mapping[str, Any] = field(default_factory=dict[str, Any], metadata={"help": "A table."})

    def __post_init__(self) -> None:
        validate_options(self, "tabled")


def test_a_table_stays_a_table_of_its_own() -> None:
    table = {"width": 2}
    made = Tabled(given=table)
    table["width"] = 3
    assert made.given == {"width": 2}
    with pytest.raises(BadOption, match="option given is 3; it takes a table of names and values"):
        Tabled(given=3)  # type: ignore[arg-type]


def test_texts_become_the_declared_types() -> None:
    made = build_from_words(Owner, "owner", {"count": "4", "rate": "1", "kind": "max", "at": "3, 4,", "on": "yes", "seed": "7"})
    assert options.values(made) == {"count": 4, "rate": 1.0, "kind": "max", "at": (3, 4), "on": True, "seed": 7}
    assert isinstance(made.rate, float)
    assert Owner().at == (1, 2) and Owner(at=5).at == (5,) and Owner(seed=None).seed is None  # type: ignore[arg-type]
    assert (Owner(count=1).count, Owner(count=9).count) == (1, 9)  # both ends are allowed


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"count": 0}, "option count is 0; it takes 1 to 9"),
        ({"count": 10}, "it takes 1 to 9"),
        ({"count": "x"}, "it takes a value of type int"),
        ({"rate": float("nan")}, "it takes 0 to any"),
        ({"kind": "mex"}, "Did you mean 'max'"),
        ({"on": "perhaps"}, "it takes a value of type bool"),
        ({"at": "1, b"}, "option at is 'b'"),
    ],
)
def test_one_sentence_for_what_does_not_fit(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadOption, match=reason):
        build_from_words(Owner, "owner", said)
    with pytest.raises(UnknownName, match=r"owner has no option 'cuont'.*'count'"):
        build_from_words(Owner, "owner", {"cuont": 1})
