"""An analysis that only observes, and the one scan that many of them share: over the images and over each untrained twin."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch

from microtome import prose
from microtome.analysis.contract import Analysis, Arrays, Measurement
from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.instruments.untrained_twins import untrained_twins
from microtome.scan import Batch, BatchValues, Pace, scan_batches
from microtome.specimen import Specimen, same_values, watch
from microtome.specimen.finiteness import finite_rows, where_broken
from microtome.tally import Bundle, Tally
from microtome.workload import Workload

T = TypeVar("T", bound=Tally)


class Census(Analysis, Generic[T]):
    """An analysis that only observes: many censuses share one forward pass over the images. `T` is the kind of its tally.

    `with_twin` asks for the same watching on the specimen's untrained twins (at most `twin_images` images each), so that a finding which
    random weights give as well can be told from one that training made.
    """

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        """As `Analysis.workload`; the passes of the shared scan do not count."""
        return Workload(seconds=0.3)

    counts_broken: ClassVar[bool] = False  # True where images whose output is not finite are counted as such

    @abstractmethod
    def layers_to_watch(self, specimen: Specimen) -> list[str]:
        """The layers whose values are wanted ("<name" for a layer's input)."""

    @abstractmethod
    def empty_tally(self) -> T:
        """An empty tally."""

    @abstractmethod
    def reduce(self, specimen: Specimen, name: str, value: torch.Tensor, seen: BatchValues) -> Any:
        """What to keep of one watched value, called inside the hook; `seen` holds what this batch gave so far, by name."""

    @abstractmethod
    def add(self, specimen: Specimen, tally: T, batch: Batch, seen: BatchValues, logits: torch.Tensor) -> None:
        """Add one batch."""

    @abstractmethod
    def to_arrays(self, specimen: Specimen, images: Images, tally: T, twins: Sequence[T]) -> "Arrays | Measurement":
        """The arrays that the finished tallies amount to; `twins` are the untrained twins', empty without `with_twin`."""

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> "Arrays | Measurement":
        assert images is not None  # `refusal` has refused before
        (conclusion,) = survey(specimen, images, [self], pace).values()
        return conclusion()


AnyCensus = Census[Any]


def survey(
    specimen: Specimen, images: Images, censuses: Sequence[AnyCensus], pace: Pace
) -> dict[AnyCensus, "Callable[[], Arrays | Measurement]"]:
    """For every census a function that gives its arrays, after one shared forward pass over the images and one over each twin.

    Concluding is left to the caller, so that one census which finds nothing to measure does not take the others' work with it.
    """
    key, *twin_keys = survey_keys(specimen, images, censuses)
    tallies = collect_tallies(specimen, images, censuses, pace, "scan", key)
    doubted = [census for census in censuses if census.with_twin]
    twins: list[Bundle] = []
    if doubted and not specimen.twin_count:
        twins.append(tallies)  # a stand-in, as in `untrained_twins`, without a scan
    elif doubted:
        some = images.take(twin_indices(specimen, images))
        for number, twin in enumerate(untrained_twins(specimen, images), 1):
            what = f"scan of untrained twin {number} of {specimen.twin_count}"
            twins.append(collect_tallies(twin, some, doubted, pace, what, twin_keys[number - 1]))

    def conclusion(census: AnyCensus) -> "Callable[[], Arrays | Measurement]":
        own = [tallied[census.name()] for tallied in twins] if census.with_twin else []
        return lambda: census.to_arrays(specimen, images, tallies[census.name()], own)

    return {census: conclusion(census) for census in censuses}


def survey_keys(specimen: Specimen, images: Images, censuses: Sequence[AnyCensus]) -> list[list[str]]:
    """The keys under which a survey keeps its unfinished tallies: the network's, then one for each twin (for `discard_tally`).

    A twin follows from its network, its number and the images, so that no twin is made and read for its key.
    """
    doubted = [census for census in censuses if census.with_twin]
    key = _survey_key(specimen, images, censuses)
    if not doubted or not specimen.twin_count:
        return [key]
    own = _survey_key(specimen, images, doubted)
    return [key, *([*own, f"untrained twin {number + 1}"] for number in range(specimen.twin_count))]


def twin_indices(specimen: Specimen, images: Images) -> list[int]:
    """The places of the images that every untrained twin sees: all, or `Specimen.twin_images` of them, of each class in proportion."""
    return images.sample(specimen.twin_images).tolist()


def shown_to_twins(specimen: Specimen, images: Images, index: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which of the images at these places every untrained twin sees too (image,)."""
    return np.isin(index, twin_indices(specimen, images))


def _survey_key(specimen: Specimen, images: Images, censuses: Sequence[AnyCensus]) -> list[str]:
    device = str(specimen.device)
    return [census.key(specimen, images, device) for census in censuses]


def collect_tallies(
    specimen: Specimen,
    images: Images,
    censuses: Sequence[AnyCensus],
    pace: Pace,
    what: str,
    key: Sequence[str] = (),
) -> Bundle:
    """Each census' tally, by name, after one forward pass over the images (or the pace's shard of them).

    `key` names the unfinished tallies where the pace keeps them.
    """
    assert key or pace.keep is None, "unfinished tallies need a name of their own"
    wanted = {census: census.layers_to_watch(specimen) for census in censuses}
    tallies = Bundle({census.name(): census.empty_tally() for census in censuses})
    seen: dict[AnyCensus, BatchValues] = {}

    def arrived(name: str, value: torch.Tensor) -> None:
        if not seen:  # a further pass, in search of the layer where values break
            return
        for census, names in wanted.items():
            if name in names:
                seen[census][name] = census.reduce(specimen, name, value, seen[census])

    def visit(batch: Batch) -> None:
        if not started:  # a scan that was finished before has no batch left, and nothing to watch
            started.append(hooks.enter_context(watch(specimen, union, each=arrived)))
        made: dict[Any, Any] = {}
        for census in censuses:
            seen[census] = BatchValues(same, made, batch.index, batch.total)
        logits = specimen.pick(specimen.run(batch.x))
        complete = dict(seen)
        seen.clear()
        if not bool((sound := finite_rows(logits)).all()):
            _refuse_broken(specimen, [census for census in censuses if not census.counts_broken], batch, sound)
        for census in censuses:
            census.add(specimen, tallies[census.name()], batch, complete[census], logits)

    union = list(dict.fromkeys(name for names in wanted.values() for name in names))
    same = same_values(specimen, union)
    started: list[object] = []
    with ExitStack() as hooks:
        scan_batches(specimen, images, tallies, pace, visit, what=f"{specimen.name}: {what}", key=key)
    return tallies


def _refuse_broken(specimen: Specimen, censuses: Sequence[AnyCensus], batch: Batch, sound: torch.Tensor) -> None:
    """Raises Unmeasurable where the network's output is not finite and an analysis would take it for an answer."""
    if censuses:
        place = where_broken(specimen.net, batch.x[~sound])
        raise Unmeasurable(
            f"{specimen.name} gives NaN or infinity for {int((~sound).sum())} of {prose.plural(len(sound), 'image')} at once; {place}. "
            f"Nothing that follows from it is measured ({', '.join(census.name() for census in censuses)})."
        )
