"""All pairs of images: the law of tallies, Gram matrices against NumPy, and when the features of all images fit."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.instruments import image_pairs
from microtome.instruments.image_pairs import BatchFeatures, ImagePairs, all_pairs_fit, flat_features
from microtome.numerics.statistics.cka import u_centered


def filled(features: np.ndarray, *batches: list[int]) -> ImagePairs:
    tally = ImagePairs()
    for batch in batches:
        tally.add(batch, len(features), {"a": BatchFeatures(features[batch]), "b": BatchFeatures(features[batch] ** 2)})
    return tally


def test_grams_are_over_all_pairs_whatever_the_batches_and_shards() -> None:
    features = np.random.default_rng(0).normal(size=(10, 7))
    whole = filled(features, [0, 1, 2, 3], [4, 5, 6, 7], [8, 9])
    expected = u_centered(torch.from_numpy(features @ features.T)).numpy()
    np.testing.assert_allclose(whole.grams(["a"])[0].numpy(), expected, atol=1e-12)
    assert whole.count == 10 and list(whole.state()) == ["gram.a", "gram.b"]  # features are gone
    one, two = filled(features, [0, 1, 2, 3], [8, 9]), filled(features, [4, 5, 6, 7])
    assert one.count == 6 and "feature.a" in one.state()
    one.merge(two)
    assert torch.equal(one.grams(["a", "b"]), whole.grams(["a", "b"]))
    with pytest.raises(TypeError, match="cannot merge"):
        one.merge(mt.tally.Rows())


def test_saved_and_restored_half_way_ends_with_the_same_bytes() -> None:
    features = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    for cut in ([], [[0, 1, 2, 3]], [[0, 1, 2, 3], [4, 5, 6, 7, 8]]):
        kept = ImagePairs()
        kept.restore(filled(features, *cut).state())
        for batch in ([0, 1, 2, 3], [4, 5, 6, 7, 8]):
            if batch not in cut:
                kept.add(batch, 9, {"a": BatchFeatures(features[batch]), "b": BatchFeatures(features[batch] ** 2)})
        whole = filled(features, [0, 1, 2, 3], [4, 5, 6, 7, 8])
        assert kept.grams(["b"]).numpy().tobytes() == whole.grams(["b"]).numpy().tobytes()


def test_too_few_images_have_no_gram_and_raise_nothing_while_scanning() -> None:
    assert filled(np.ones((3, 2)), [0, 1, 2]).count == 3


def test_features_are_a_copy_with_one_row_for_each_image() -> None:
    plain = torch.randn(2, 3, 4, 5)
    value = plain.to(memory_format=torch.channels_last)
    flat = flat_features(value).values
    np.testing.assert_array_equal(flat, plain.permute(0, 2, 3, 1).flatten(1).numpy())
    np.testing.assert_array_equal(flat, flat_features(plain).values)  # whatever lies in memory how
    value.zero_()
    assert flat.any() and flat_features(torch.ones(3)).values.shape == (3, 1)
    assert flat_features(torch.ones(2, 3, dtype=torch.float16)).values.dtype == np.float32


def test_whether_they_fit_rests_on_shapes_and_count(net: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    names = net.find(("blocks",))  # 8 × 16 × 16 each: 24 kB for the three of one image
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", 3 * 8 * 16 * 16 * 4 * 10)
    assert all_pairs_fit(net, names, 10) and not all_pairs_fit(net, names, 11)
    monkeypatch.setattr(image_pairs, "GRAM_BYTES", 3 * 8 * 9 * 9)
    assert all_pairs_fit(net, names, 9) and not all_pairs_fit(net, names, 10)
