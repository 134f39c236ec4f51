"""Arrays of effective fields: planted Gaussians come back with their widths, and mass and area by plain counting."""

from types import SimpleNamespace

import numpy as np
import pytest

import microtome as mt
from microtome.analyses.erf.field_arrays import field_arrays, finite
from microtome.numerics.receptive.field import Field, Span


def gaussian(center, sigma, height=1.0):
    row, col = np.mgrid[:40, :60].astype(float)
    return height * np.exp(-((row - center[0]) ** 2) / (2 * sigma[0] ** 2) - (col - center[1]) ** 2 / (2 * sigma[1] ** 2))


def made(own, null, theory=None, cells=None, **options):
    specimen = SimpleNamespace(recipe=mt.Recipe(size=(40, 60)), trained=True)
    given = {"rule": "relu", "offset": False} | options
    return field_arrays(specimen, list(own), own, [null, null], theory or {}, cells or {}, **given)


def test_planted_gaussians_come_back_for_the_network_and_its_twin() -> None:
    own, null = {"a": gaussian((19.5, 30), (4, 7), 5.0)}, {"a": gaussian((12, 20), (2, 3), 0.1)}
    found = made(own, null)
    for mark, center, sigma in (("", (19.5, 30), (4, 7)), ("twin_", (12, 20), (2, 3))):
        assert found[f"{mark}sigma"].sel(layer="a").values == pytest.approx(sigma, rel=1e-4)
        assert found[f"{mark}center_mass"].values[0] == pytest.approx(center, abs=0.01)
        assert found[f"{mark}r2"].item() == pytest.approx(1)
        assert [found[f"{mark}sigma_{axis}"].item() for axis in ("row", "col")] == pytest.approx(sigma, rel=1e-4)
    assert float(np.abs(found["field"]).sum()) == pytest.approx(1) and float(found["twin_field"].sum()) == pytest.approx(1)
    assert found["shown"].sel(specimen="trained").values ** 2 == pytest.approx(found["field"].values, abs=1e-6)


def test_mass_and_pixels_by_counting() -> None:
    own = {"a": np.abs(np.random.default_rng(0).normal(size=(40, 60)))}
    found = made(own, own)
    row, col = np.mgrid[:40, :60]
    away = np.hypot(row - 19.5, col - 29.5)  # without a theory the middle of the image
    for radius in (5, 10, 20, 30):
        assert found["mass"].sel(scale=f"{radius} px").item() == pytest.approx(own["a"][away <= radius].sum() / own["a"].sum())
    assert found["mass"].sizes["scale"] == 4  # up to half of the longer side
    ranked = np.sort(own["a"].ravel())[::-1].cumsum() / own["a"].sum()
    assert found["used"].item() == (int((ranked < 0.95).sum()) + 1) / 2400
    assert found["theory"].values.tolist() == [[np.inf, np.inf]] and found["jump"].values.tolist() == [[40, 60]]


def test_the_computed_centre_is_that_of_the_position() -> None:
    rows, cols = (Span(np.arange(5), np.arange(5) + 6, False, 8.0, start, 7.0, 0.0, 40) for start in (3.5, 2.0))
    field = {"a": gaussian((27.5, 18), (3, 3))}
    found = made(field, field, {"a": Field(rows, cols)}, {"a": (3, 2)})
    assert found["center"].values.tolist() == [[27.5, 18.0]]
    assert found["theory"].values.tolist() == [[7, 7]] and found["jump"].values.tolist() == [[8, 8]]
    assert found["mass"].sel(scale="10 px").item() > 0.99


def test_a_field_of_zeros_stays_zero_and_infinity_is_not_a_number() -> None:
    zeros = {"a": np.zeros((40, 60))}
    found = made(zeros, zeros)
    assert found["zero"].item() == 1 and not found["field"].values.any() and np.isnan(found["r2"].item())
    assert np.isnan(finite(float("inf"))) and finite(2.5) == 2.5
