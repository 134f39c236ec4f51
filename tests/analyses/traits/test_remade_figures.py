"""Figures 3 to 10: which arrays and panels there are, which maps they show, and what is said of missing ones."""

import numpy as np

import planted_study as planted
from microtome.analyses.traits.material import StudiedNetwork
from microtome.analyses.traits.remade_figures import figure_panels, remake_figures
from microtome.finding import Finding, array
from microtome.panels import Hist


def weights(name: str) -> Finding:
    layers = {"layer": ["l1", "l2", "l3"]}
    arrays = {
        key: array(np.ones((3, 4)), ("layer", "bin"), "1", layers) for key in ("density", "value", "twin_density", "twin_value")
    }
    drawn = Hist(title="w", density="density", value="value", null="twin_density", null_value="twin_value", only=("l2", "l3"))
    return Finding(analysis="weights", arrays=arrays, panels=(drawn,), origin=planted.origin(name, "weights"))


def network(name: str, **findings: Finding) -> StudiedNetwork:
    return StudiedNetwork(name, planted.FAMILY_OF[name], findings or {"cam": planted.cam(name), "weights": weights(name)})


def test_all_networks_share_figures_3_and_4_and_have_5_to_10_of_their_own() -> None:
    networks = [network("w1"), network("d1"), network("a1")]
    arrays, missing = remake_figures(networks)
    assert missing == []
    maps = networks[1].findings["cam"]["heat"].values
    assert np.array_equal(arrays["heat/1"].sel(specimen="d1").values, maps[:, -1])
    assert np.array_equal(arrays["depth_heat/1"].sel(image="d1").values, maps[0, [0, 1, 3]])
    last = arrays["last_heat/d1"]
    assert list(last.coords["layer"].values) == ["l2", "l3", "l4"] and list(last.coords["image"].values) == ["i2", "i3"]
    assert list(arrays["density/d1"].coords["layer"].values) == ["l2", "l3"]
    finding = Finding(analysis="traits", arrays=arrays)
    titles = [panel.title for panel in figure_panels(finding, {each.name: each.family for each in networks})]
    assert titles == [
        "Figure 3: all networks, deepest layer",
        "Figure 4: from shallow to deep layers",
        *(f"Figures {numbers}, {family}: {name}, {what} of the last three layers"
          for numbers, family, name in (("5 and 6", "deeper", "d1"), ("7 and 8", "attention", "a1"), ("9 and 10", "wider", "w1"))
          for what in ("weights", "maps")),
    ]  # fmt: skip


def test_networks_of_other_crops_stand_in_groups_of_their_own() -> None:
    networks = [network("d1"), network("w1", cam=planted.cam("w1", size=24)), network("d2", cam=planted.cam("d2", value=3))]
    arrays, missing = remake_figures(networks)
    assert [arrays[f"heat/{number}"].sizes["specimen"] for number in (1, 2, 3)] == [1, 1, 1]
    assert missing == ["The weights of figures 5 to 10 are missing for w1, d2: no compared layers in a finding of weights."]
    titles = [panel.title for panel in figure_panels(Finding(analysis="traits", arrays=arrays), {"d1": "deeper"})]
    assert titles[1] == "Figure 3: all networks, deepest layer, images cropped alike, group 2"


def test_a_network_without_maps_is_named() -> None:
    arrays, missing = remake_figures([network("d1", weights=weights("d1"))])
    assert "heat/1" not in arrays and missing[0].startswith("Figures 3 and 4, and the maps of 5 to 10, are missing for d1")
    few = network("d2", cam=planted.cam("d2", layers=("l1", "l2")))
    assert "depth_heat/1" not in remake_figures([few])[0]
