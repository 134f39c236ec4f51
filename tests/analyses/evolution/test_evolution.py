"""Evolution: checkpoints that our own loop made, identical files, one layer that moves and one that does not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import microtome as mt
from cka_oracle import debiased_cka
from microtome import testing
from microtome.analyses.evolution.evolution import Evolution
from microtome.errors import CheckpointError, Unmeasurable
from microtome.instruments import image_pairs
from microtome.instruments.projection import project_units
from microtome.runner import analyze
from microtome.scan import Pace
from microtome.specimen import watch
from microtome.training.zoo.data import scene_series
from microtome.training.zoo.loop import train_zoo_network
from microtome.training.zoo.recipes import ZooRecipe

PACE = Pace(batch=8, device="cpu")
AT = ("stages",)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints 0, 1, 2 and 4 of a real, tiny training of mini_vgg."""
    folder = tmp_path_factory.mktemp("run")
    plan = ZooRecipe(network="mini_vgg", epochs=4, count=32, batch=16, lr=2e-2, precision="32-true", halved=1.0)
    train_zoo_network(plan, folder, data=scene_series(32, seed=77), checkpoints=True)
    return folder


@pytest.fixture(scope="module")
def vgg() -> mt.Specimen:
    return mt.open("microtome:mini_vgg", weights=None)


@pytest.fixture(scope="module")
def scenes() -> mt.Images:
    return mt.Images.scenes(20, seed=3, size=64)


def test_common_suite_and_exact_ends(run: Path, vgg: mt.Specimen, scenes: mt.Images, tmp_path: Path) -> None:
    found = testing.check(Evolution(checkpoints=str(run), at=AT), vgg, scenes, tmp_path)
    assert found["drift"].checkpoint.values.tolist() == ["epoch-000", "epoch-001", "epoch-002", "epoch-004"]
    assert (found["drift"].values[:, -1] == 0).all()  # to itself: exactly
    assert (found["drift"].values[:, :-1] > 0).all()
    np.testing.assert_array_equal(found["step"].values[:, -1], found["drift"].values[:, -2])
    assert found["place/features.2"].sizes["checkpoint"] == 4
    assert (found["rectifiers"].values > 0).all()


def test_distances_and_accuracy_are_what_each_file_gives_when_opened_alone(
    run: Path, vgg: mt.Specimen, scenes: mt.Images
) -> None:
    """The slow twin: open both files, take the features of all images at once, and ask debiased CKA."""
    found = Evolution(checkpoints=str(run), at=AT)(vgg, scenes, PACE)
    x = vgg.recipe.normalise(torch.from_numpy(scenes.pixels(vgg.recipe)))
    files = [run / f"epoch-{epoch:03d}.safetensors" for epoch in (1, 4)]
    values, logits = [], []
    for file in files:
        opened = mt.open("microtome:mini_vgg", weights=file)
        with watch(opened, AT) as seen:
            logits.append(opened.run(x))
        values.append(seen)
    for name in found["drift"].layer.values:
        expected = 1 - float(debiased_cka(values[0][name], values[1][name]))
        assert float(found["drift"].sel(layer=name, checkpoint="epoch-001")) == pytest.approx(expected, abs=2e-4)
        peak = values[1][name].amax((2, 3))
        places = found[f"place/{name}"].sel(checkpoint="epoch-004", axis="image").values
        assert (places == np.where(peak.amax(0) > 0, peak.argmax(0), -1)).all()
    assert scenes.labels is not None
    right = [float((one.argmax(1).numpy() == scenes.labels).mean()) for one in logits]
    assert found["accuracy"].values[[1, 3]].tolist() == pytest.approx(right)


def test_projections_are_those_of_the_network_of_their_moment(run: Path, vgg: mt.Specimen, scenes: mt.Images) -> None:
    found = Evolution(checkpoints=str(run), at=("features.6",), units=2, size=64)(vgg, scenes, PACE)
    opened = mt.open("microtome:mini_vgg", weights=run / "epoch-002.safetensors")
    unit = int(found["projection/features.6"].unit.values[0])
    image, row, col = found["place/features.6"].sel(checkpoint="epoch-002", unit=unit).values.astype(int).tolist()
    assert image >= 0
    x = vgg.recipe.normalise(torch.from_numpy(scenes.pixels(vgg.recipe, [image])))
    cell = torch.tensor([row * vgg.layer("features.6").grid[1] + col])  # type: ignore[index]
    whole = project_units(opened, "features.6", x, torch.tensor([unit]), cell, "deconvnet").pixels[0]
    shown = found["projection/features.6"].sel(checkpoint="epoch-002", unit=unit).values
    assert shown.shape[0] < 64
    # all of the signal lies in the unit's window, and only there
    assert np.abs(shown).sum() == pytest.approx(float(whole.abs().sum()), rel=1e-4)
    assert (
        found["pair/features.6"].unit.values
        == [f"{u} {w}" for u in found["projection/features.6"].unit.values for w in ("patch", "projection")]
    ).all()


def test_the_same_file_again_has_not_moved(run: Path, vgg: mt.Specimen, scenes: mt.Images, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        shutil.copy(run / "epoch-002.safetensors", tmp_path / f"c{number}.safetensors")
    found = Evolution(checkpoints=str(tmp_path), at=AT)(vgg, scenes, PACE)
    assert (found["drift"].values == 0).all()
    assert (found["step"].values == 0).all()
    assert np.nanmax(found["jump"].values) == 0
    assert (found["twin_drift"].values > 0).all()
    assert found.headline == "No layer changes over 3 checkpoints."


def test_only_what_lies_behind_a_changed_layer_moves(run: Path, vgg: mt.Specimen, scenes: mt.Images, tmp_path: Path) -> None:
    last = load_file(run / "epoch-004.safetensors")
    changed = {name: one.clone() for name, one in last.items()}
    early = [name for name in changed if name.startswith("features.8.")]
    for name in early:
        changed[name] = load_file(run / "epoch-000.safetensors")[name]
    save_file(changed, tmp_path / "c1.safetensors")
    save_file(last, tmp_path / "c2.safetensors")
    found = Evolution(checkpoints=str(tmp_path), at=("blocks",))(vgg, scenes, PACE)
    assert early
    assert found["drift"].sel(checkpoint="c1").values[:2].tolist() == [0, 0]
    assert (found["drift"].sel(checkpoint="c1").values[2:] > 0).all()


def test_without_checkpoints_it_is_skipped_and_with_wrong_ones_refused(
    run: Path, vgg: mt.Specimen, scenes: mt.Images, tmp_path: Path
) -> None:
    outcome = analyze([vgg], scenes, tmp_path, only=["evolution"], pace=PACE)
    assert "checkpoints=" in outcome.skipped[0]["reason"]
    with pytest.raises(Unmeasurable, match="names 0 checkpoints"):
        Evolution(checkpoints=str(tmp_path / "nothing"))(vgg, scenes, PACE)
    with pytest.raises(CheckpointError, match="do not fit"):
        Evolution(checkpoints=str(run))(mt.open("microtome:mini_resnet", weights=None), scenes, PACE)


def test_a_finding_goes_stale_when_a_file_changes(run: Path, vgg: mt.Specimen, scenes: mt.Images, tmp_path: Path) -> None:
    for number, epoch in ((1, 0), (2, 4)):
        shutil.copy(run / f"epoch-{epoch:03d}.safetensors", tmp_path / f"c{number}.safetensors")
    analysis = Evolution(checkpoints=str(tmp_path))
    before = analysis.key(vgg, scenes, "cpu")
    assert analysis.key(vgg, scenes, "cpu") == before
    shutil.copy(run / "epoch-001.safetensors", tmp_path / "c1.safetensors")
    assert analysis.key(vgg, scenes, "cpu") != before
    assert Evolution().key(vgg, scenes, "cpu") != before


def test_a_checkpoint_that_broke_is_said_and_does_not_spoil_the_rest(
    run: Path, vgg: mt.Specimen, scenes: mt.Images, tmp_path: Path
) -> None:
    shutil.copy(run / "epoch-000.safetensors", tmp_path / "c1.safetensors")
    shutil.copy(run / "epoch-004.safetensors", tmp_path / "c3.safetensors")
    broken = {
        name: torch.full_like(one, float("nan")) if one.ndim else one
        for name, one in load_file(tmp_path / "c1.safetensors").items()
    }
    save_file(broken, tmp_path / "c2.safetensors")
    found = Evolution(checkpoints=str(tmp_path), at=AT)(vgg, scenes, PACE)
    assert np.isnan(found["drift"].sel(checkpoint="c2").values).all()
    assert np.isfinite(found["travel"].values[found["twin_drift"].values >= 0.25]).all()
    assert any("At c2 no layer has finite features" in one for one in found.caveats)
    save_file(broken, tmp_path / "c4.safetensors")
    with pytest.raises(Unmeasurable, match="last checkpoint.*not finite"):
        Evolution(checkpoints=str(tmp_path), at=AT)(vgg, scenes, PACE)


@pytest.mark.parametrize("memory", [512 << 20, 0])
def test_distances_do_not_depend_on_order(
    run: Path, vgg: mt.Specimen, scenes: mt.Images, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", memory)
    asked = Evolution(checkpoints=str(run), at=AT, units=1, size=16)
    found, other = (asked(vgg, images, PACE) for images in (scenes, scenes.take(np.arange(20)[::-1])))
    for name in ("drift", "step", "twin_drift", "twin_drift_low", "travel", "accuracy"):
        np.testing.assert_allclose(other[name].values, found[name].values, rtol=1e-6, atol=1e-9)
    assert any("only images of one batch" in line for line in found.caveats) == (memory == 0)
