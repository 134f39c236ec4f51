"""Answers of a training, image by image: unknown labels and pixels' classes are left out."""

from pathlib import Path

import numpy as np

from microtome.training.experiment.answers import read_answers, read_mean_iou


def test_right_answers_of_known_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "answers.npz", predicted=[1, 2, 3, 0], label=[1, 0, -1, 0])
    answers = read_answers(tmp_path)
    assert answers is not None and answers.right.tolist() == [True, False, True] and answers.label.tolist() == [1, 0, 0]
    (tmp_path / "other").mkdir()
    np.savez(tmp_path / "other" / "answers.npz", predicted=[1, 0, 0], label=[1, 0, 0])
    np.savez(tmp_path / "answers2.npz", predicted=[1], label=[1])
    other = read_answers(tmp_path / "other")
    assert other is not None and answers.same_images(other)


def test_there_are_none(tmp_path: Path) -> None:
    assert read_answers(tmp_path) is None
    for arrays in (
        {"predicted": [1]},
        {"predicted": [1], "label": [-1]},
        {"predicted": [1], "label": [1], "confusion": [[[1]]]},
    ):
        np.savez(tmp_path / "answers.npz", **arrays)
        assert read_answers(tmp_path) is None
    (tmp_path / "answers.npz").write_bytes(b"torn")
    assert read_answers(tmp_path) is None


def test_the_overlap_of_pixels(tmp_path: Path) -> None:
    """By hand: counts (label, predicted) 6 2 / 1 3 summed over 30 equal images: IoU 6 / 9 and 3 / 6, mean 7 / 12."""
    assert read_mean_iou(tmp_path) is None
    np.savez(tmp_path / "answers.npz", predicted=[0] * 30, label=[0] * 30, confusion=np.tile([[6, 2], [1, 3]], (30, 1, 1)))
    overlap = read_mean_iou(tmp_path)
    assert overlap is not None and abs(overlap.value - 7 / 12) < 1e-12
