"""Running sums over images that can be saved, resumed and merged.

The law of every tally: adding a, then b, gives what adding a to one tally and b to another and merging them gives.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, final

import numpy as np

State = dict[str, np.ndarray[Any, Any]]
K = TypeVar("K", bound="Tally")


class Tally(ABC):
    """A running sum: `state` gives it as named arrays, `restore` takes them back, `merge` adds another one of its kind."""

    @abstractmethod
    def state(self) -> State:
        """Everything the tally holds, as arrays that a file can keep."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Become the tally that `state` was taken from."""

    @abstractmethod
    def merge(self, other: "Tally") -> None:
        """Add what another tally of the same kind has seen."""


@final
class Total(Tally):
    """Sums of named arrays in float64, with how many images went into them."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, np.ndarray[Any, Any]] = {}

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """The sum of that name (any shape, float64)."""
        return self._sums[name]

    def __contains__(self, name: str) -> bool:
        return name in self._sums

    def add(self, count: int, sums: Mapping[str, Any]) -> None:
        """Add arrays to the sums of the same names; `count` is the number of images."""
        self.count += count
        for name, values in sums.items():
            fresh = np.asarray(values, dtype=np.float64)
            self._sums[name] = self._sums[name] + fresh if name in self._sums else fresh.copy()

    def state(self) -> State:
        return {"count": np.array([self.count], dtype=np.int64)} | {f"sum.{name}": total for name, total in self._sums.items()}

    def restore(self, state: State) -> None:
        self.count = int(state["count"][0])
        self._sums = {name.removeprefix("sum."): total.copy() for name, total in state.items() if name.startswith("sum.")}

    def merge(self, other: Tally) -> None:
        if not isinstance(other, Total):
            raise TypeError(f"a Total cannot merge a {type(other).__name__}")
        self.add(other.count, other._sums)


@final
class Rows(Tally):
    """One row for each image, of any number of named columns; `column` gives them back in the order of the images."""

    def __init__(self) -> None:
        self._index: list[np.ndarray[Any, Any]] = []
        self._columns: dict[str, list[np.ndarray[Any, Any]]] = {}

    @property
    def count(self) -> int:
        """How many images have a row."""
        return sum(len(part) for part in self._index)

    def add(self, index: Any, columns: Mapping[str, Any]) -> None:
        """Add rows: `index` (image,) numbers the images, each column is (image, …)."""
        self._index.append(np.asarray(index, dtype=np.int64))
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(np.asarray(values))

    @property
    def index(self) -> np.ndarray[Any, Any]:
        """The images that have a row, ascending, int64 (image,)."""
        return np.sort(np.concatenate(self._index)) if self._index else np.zeros(0, dtype=np.int64)

    def column(self, name: str) -> np.ndarray[Any, Any]:
        """Column `name` (image, …), rows in ascending order of the image."""
        order = np.argsort(np.concatenate(self._index), kind="stable")
        return np.concatenate(self._columns[name])[order]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def state(self) -> State:
        if not self._index:
            return {}
        columns = {f"column.{name}": np.concatenate(parts) for name, parts in self._columns.items()}
        return {"index": np.concatenate(self._index)} | columns

    def restore(self, state: State) -> None:
        self._index = [state["index"].copy()] if "index" in state else []
        self._columns = {
            name.removeprefix("column."): [column.copy()] for name, column in state.items() if name.startswith("column.")
        }

    def merge(self, other: Tally) -> None:
        if not isinstance(other, Rows):
            raise TypeError(f"Rows cannot merge a {type(other).__name__}")
        self._index.extend(other._index)
        for name, parts in other._columns.items():
            self._columns.setdefault(name, []).extend(parts)


class _Ranks(NamedTuple):
    """What a Top holds of one name, each (rank, unit); a void entry has the value -inf and the places -1."""

    value: np.ndarray[Any, Any]
    image: np.ndarray[Any, Any]
    position: np.ndarray[Any, Any]


@final
class Top(Tally):
    """The `k` largest values of every unit, by name, with the image and the position (counted row by row) of each.

    Of equal values the one of the earlier image comes first, then that of the earlier position, so that shards merge to the
    same bits in any order. What is not a number is never among them.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self._held: dict[str, _Ranks] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def values(self, name: str) -> np.ndarray[Any, Any]:
        """The largest values of that name, descending, float32 (rank, unit); NaN where there are fewer than `k`."""
        held = self._held[name]
        return np.where(held.image < 0, np.float32(np.nan), held.value)

    def images(self, name: str) -> np.ndarray[Any, Any]:
        """Which images they come from, int64 (rank, unit); -1 where there are fewer than `k`."""
        return self._held[name].image

    def positions(self, name: str) -> np.ndarray[Any, Any]:
        """Which positions of the layer's grid they come from, int64 (rank, unit); -1 where there are fewer than `k`."""
        return self._held[name].position

    def add(self, name: str, index: Any, values: Any, positions: Any) -> None:
        """Add candidates: `index` (candidate,) numbers their images, `values` and `positions` are (candidate, unit)."""
        value = np.asarray(values, dtype=np.float32)
        image = np.broadcast_to(np.asarray(index, dtype=np.int64)[:, None], value.shape)
        position = np.asarray(positions, dtype=np.int64)
        void = np.isnan(value)
        fresh = _Ranks(np.where(void, -np.inf, value), np.where(void, -1, image), np.where(void, -1, position))
        self._take(name, fresh)

    def _take(self, name: str, fresh: _Ranks) -> None:
        held = self._held.get(name)
        if held is not None:
            fresh = _Ranks(*(np.concatenate(pair) for pair in zip(held, fresh, strict=True)))
        missing = self.k - len(fresh.value)
        if missing > 0:
            rim = ((0, missing), (0, 0))
            fresh = _Ranks(
                np.pad(fresh.value, rim, constant_values=-np.inf),
                *(np.pad(values, rim, constant_values=-1) for values in fresh[1:]),
            )
        # by value, real entries before void ones, then the earlier image, then the earlier position
        order = np.lexsort((fresh.position, fresh.image, fresh.image < 0, -fresh.value), axis=0)[: self.k]
        self._held[name] = _Ranks(*(np.take_along_axis(values, order, axis=0) for values in fresh))

    def state(self) -> State:
        kinds = ("value", "image", "position")
        return {f"{kind}.{name}": values for name, held in self._held.items() for kind, values in zip(kinds, held, strict=True)}

    def restore(self, state: State) -> None:
        names = [name.removeprefix("value.") for name in state if name.startswith("value.")]
        self._held = {
            name: _Ranks(*(state[f"{kind}.{name}"].copy() for kind in ("value", "image", "position"))) for name in names
        }

    def merge(self, other: Tally) -> None:
        if not isinstance(other, Top) or other.k != self.k:
            raise TypeError(f"a Top of {self.k} cannot merge a {type(other).__name__} of another size or kind")
        for name, held in other._held.items():
            self._take(name, held)


def _checked_kind(part: Tally, kind: type[K]) -> K:
    if not isinstance(part, kind):
        raise TypeError(f"the part is a {type(part).__name__}, not a {kind.__name__}")
    return part


@final
class Bundle(Tally):
    """Several named tallies that travel as one: what one scan fills for many analyses."""

    def __init__(self, parts: Mapping[str, Tally]) -> None:
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> Tally:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def rows(self, name: str) -> Rows:
        """The part of that name, which holds rows."""
        return _checked_kind(self._parts[name], Rows)

    def total(self, name: str) -> Total:
        """The part of that name, which holds sums."""
        return _checked_kind(self._parts[name], Total)

    def top(self, name: str) -> Top:
        """The part of that name, which holds the strongest values."""
        return _checked_kind(self._parts[name], Top)

    def state(self) -> State:
        return {f"{name}/{key}": value for name, part in self._parts.items() for key, value in part.state().items()}

    def restore(self, state: State) -> None:
        for name, part in self._parts.items():
            part.restore({key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")})

    def merge(self, other: Tally) -> None:
        if not isinstance(other, Bundle):
            raise TypeError(f"a Bundle cannot merge a {type(other).__name__}")
        for name, part in self._parts.items():
            part.merge(other._parts[name])
