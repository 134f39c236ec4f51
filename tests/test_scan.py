"""The loop: batches always alike, sums kept on the way, a killed run goes on and ends with the same bits."""

from pathlib import Path

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.errors import BadOption
from microtome.scan import Batch, BatchValues, Pace, Step, batches, discard_tally, kept_file, resolve_device, scan_batches
from microtome.tally import Rows


class Killed(Exception):
    pass


def collect(net: mt.Specimen, pics: mt.Images, pace: Pace, stop_after: int | None = None) -> tuple[Rows, list[int]]:
    tally, visited = Rows(), []

    def visit(batch: Batch) -> None:
        if stop_after is not None and len(visited) == stop_after:
            raise Killed
        visited.append(batch.number)
        tally.add(batch.index, {"mean": batch.x.double().mean((1, 2, 3)).numpy()})

    scan_batches(net, pics, tally, pace, visit, what="test", key=["k"])
    return tally, visited


def test_batches_are_the_images_in_order(net: mt.Specimen, pics: mt.Images) -> None:
    parts = list(batches(net, pics, Pace(batch=16)))
    assert [len(part.index) for part in parts] == [16, 16, 8]
    assert np.concatenate([part.index for part in parts]).tolist() == list(range(40))
    assert [part.number for part in parts] == [0, 1, 2]
    first = parts[0]
    expected = (first.pixels[3].transpose(2, 0, 1) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(first.x[3].numpy(), expected, atol=1e-6)
    assert first.labels is not None
    assert first.labels.tolist() == pics.labels[:16].tolist()  # type: ignore[index]


def test_the_loop_goes_by_content_so_that_batches_do_not_depend_on_order(net: mt.Specimen, pics: mt.Images) -> None:
    seen: list[list[list[int]]] = []
    for order in (np.arange(40), np.random.default_rng(1).permutation(40)):
        parts: list[Batch] = []
        scan_batches(net, pics.take(order), Rows(), Pace(batch=16), parts.append, what="test", key=["k"])
        assert np.concatenate([part.rank for part in parts]).tolist() == list(range(40))
        for part in parts:  # each image is what its place says
            np.testing.assert_array_equal(part.pixels, pics.take(order).pixels(net.recipe, part.index))
        seen.append([order[part.index].tolist() for part in parts])
    assert (
        seen[0] == seen[1]
        and sorted(place for part in seen[0] for place in part) == list(range(40))
        and seen[0][0] != list(range(16))
    )


def test_resumed_is_the_same_to_the_bit(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    pace = Pace(batch=8, keep=tmp_path, every=0.0)
    with pytest.raises(Killed):
        collect(net, pics, pace, stop_after=3)
    resumed, visited = collect(net, pics, pace)
    assert visited == [3, 4]
    whole, _ = collect(net, pics, Pace(batch=8))
    assert resumed.column("mean").tobytes() == whole.column("mean").tobytes()


def test_finished_work_is_not_done_again_until_forgotten(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    pace = Pace(batch=8, keep=tmp_path)
    collect(net, pics, pace)
    assert collect(net, pics, pace)[1] == []
    discard_tally(pace, ["k"])
    assert len(collect(net, pics, pace)[1]) == 5


def test_other_batches_are_other_work(tmp_path: Path) -> None:
    one, two = (kept_file(Pace(batch=size, keep=tmp_path), ["k"]) for size in (8, 16))
    assert one != two
    assert kept_file(Pace(), ["k"]) is None


def test_a_damaged_kept_file_costs_only_its_work(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    heard: list[str] = []
    pace = Pace(batch=8, keep=tmp_path, every=0.0, listener=lambda step: heard.append(step.what))
    with pytest.raises(Killed):
        collect(net, pics, pace, stop_after=3)
    path = kept_file(pace, ["k"])
    assert path is not None
    path.write_bytes(path.read_bytes()[:50])
    assert len(collect(net, pics, pace)[1]) == 5
    assert any("damaged" in what for what in heard)


def test_shards_part_the_batches(net: mt.Specimen, pics: mt.Images) -> None:
    seen = [collect(net, pics, Pace(batch=8, shard=(part, 2)))[1] for part in (0, 1)]
    assert seen == [[0, 2, 4], [1, 3]]


def test_progress_counts(net: mt.Specimen, pics: mt.Images) -> None:
    steps: list[Step] = []
    collect(net, pics, Pace(batch=16, listener=steps.append))
    assert [step.done for step in steps] == [0, 16, 32, 40]


@pytest.mark.parametrize(("device", "message"), [("gpu", "is not one of"), ("tpu:0", "is not one of")])
def test_unknown_devices(device: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        resolve_device(device)


def test_a_shard_alone_is_no_finding(net: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(BadOption, match=r"features: a finding is of all images, and shard 1/2 sees a part.*Merge the tallies"):
        mt.analyses.features.Features()(net, pics, Pace(shard=(1, 2)))


def test_bad_paces() -> None:
    with pytest.raises(BadOption, match="at least 1"):
        Pace(batch=0)
    with pytest.raises(BadOption, match="shard 3/2"):
        Pace(shard=(3, 2))


def test_once_is_by_what_is_made_and_by_tensor() -> None:
    made: dict[object, object] = {}
    one, other = BatchValues({"<b": "a"}, made), BatchValues({"<b": "a"}, made)  # type: ignore[arg-type]
    first, second = torch.ones(2), torch.zeros(2)
    total = torch.sum
    assert one.once(total, "a", first) == 2
    assert other.once(total, "<b", second) == 2  # said to be the same as "a": not looked at again
    assert other.once(total, "b", second) == 0
    assert other.once(torch.mean, "a", first) == 1
    assert not one and not other  # what an analysis keeps is its own
