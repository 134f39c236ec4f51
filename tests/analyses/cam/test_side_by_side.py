"""Several kinds side by side: each map is that of the kind alone, for the same image, layer and target."""

import numpy as np
import pytest

import microtome as mt
from microtome import testing
from microtome.analyses.cam import Cam
from microtome.analyses.cam.side_by_side import MAX_VALUES, MIN_GRID, shared_side
from microtome.errors import UnknownName

BESIDE = "layercam,gaussian,inputgradient,scorecam"


def drawn_alone(net, images, **options):
    """What `cam` draws of a kind that is asked for by itself."""
    return Cam(**options)(net, images)["smooth"].values


def test_every_map_is_that_of_the_kind_alone(net, pics):
    """The maps of layers on the same grid are the same numbers as in a finding of that kind."""
    finding = Cam(kinds="layercam,scorecam", at="blocks.1,blocks.2", count=3)(net, pics)
    maps = finding["methods"]
    assert maps.dims == ("image", "target", "layer", "method", "row", "col")
    assert maps.coords["method"].values.tolist() == ["Grad-CAM", "LayerCAM", "Score-CAM"]
    for kind, title in (("gradcam", "Grad-CAM"), ("layercam", "LayerCAM"), ("scorecam", "Score-CAM")):
        alone = drawn_alone(net, pics, kind=kind, at="blocks.1,blocks.2", count=3)
        own = maps.sel({"method": title, "target": "target class"}).transpose("image", "layer", "row", "col").values
        assert own.shape == alone.shape and alone.any()
        assert np.allclose(own, alone, rtol=1e-4, atol=1e-6 * alone.max()), title


def test_classes_come_from_one_run_and_match_those_alone(net, pics):
    finding = Cam(kinds="layercam", kind="hirescam", classes="0,1,2", at="blocks.2", count=3)(net, pics)
    maps = finding["methods"]
    targets = maps.coords["target"].values.tolist()
    assert len(targets) == 3 and finding["methods_image"].sizes["image"] == 3 == maps.sizes["image"]
    assert np.array_equal(finding["methods_image"].values, finding["image"].values[::3])
    assert finding["methods_target"].values.tolist() == [targets] * 3
    for number in range(3):
        for kind, title in (("hirescam", "HiResCAM"), ("layercam", "LayerCAM")):
            alone = drawn_alone(net, pics, kind=kind, classes=str(number), at="blocks.2", count=3)
            own = maps.isel(target=number).sel({"method": title}).values
            assert np.allclose(own, alone, rtol=1e-4, atol=1e-6 * max(alone.max(), 1e-9)), (number, title)


def test_the_second_target_of_a_prediction_is_the_runner_up(net, pics):
    finding = Cam(kinds="layercam", at="blocks.2", count=3)(net, pics)
    assert finding["methods"].coords["target"].values.tolist() == ["target class", "runner-up class"]
    names = finding["methods_target"].values
    assert names[:, 0].tolist() == finding["target"].values.tolist()
    assert names[:, 1].tolist() == finding["runner_up"].values.tolist()
    assert all(name != other for name, other in names)
    second = Cam(kind="layercam", classes=names[0, 1].removeprefix("output "), at="blocks.2", count=3)(net, pics)[
        "smooth"
    ].values[0]
    assert np.allclose(finding["methods"].values[0, 1, :, 1], second, rtol=1e-4, atol=1e-6 * max(second.max(), 1e-9))


def test_pixels_are_the_same_at_every_layer_and_sum_as_their_own(net, pics):
    finding = Cam(kinds="inputgradient", at="blocks.1,blocks.2", count=2)(net, pics)
    pixels = finding["methods"].sel({"method": "Input gradient", "target": "target class"}).values
    assert np.array_equal(pixels[:, 0], pixels[:, 1])
    alone = Cam(kind="inputgradient", count=2)(net, pics)["smooth"].values[:, 0]
    assert np.allclose(pixels[:, 0].mean((1, 2)), alone.mean((1, 2)), rtol=1e-4)  # means over an even grid keep the mean


def test_the_numbers_of_the_main_kind_do_not_change(net, pics):
    """Further kinds add arrays and caveats; all else is as without them."""
    alone, beside = Cam(at="blocks.2", count=2)(net, pics), Cam(kinds=BESIDE, at="blocks.2", count=2)(net, pics)
    assert beside.headline == alone.headline and beside.key_numbers == alone.key_numbers
    for name, array in alone.arrays.items():
        if name not in ("standing", "about"):
            assert beside[name].identical(array), name
    assert "are those of Grad-CAM alone" in " ".join(beside.caveats)
    assert "methods" not in alone and "alone" not in " ".join(alone.caveats)


def test_a_kind_that_does_not_apply_is_left_out_with_its_reason(net, pics):
    finding = Cam(kinds="cam,layercam", target="embedding", reference="0", at="blocks.1,blocks.2", count=2)(net, pics)
    assert finding["methods"].coords["method"].values.tolist() == ["Grad-CAM", "LayerCAM"]
    assert any(caveat.startswith("CAM is left out: CAM rests on the weights of a class") for caveat in finding.caveats)
    assert finding["methods"].coords["target"].values.tolist() == ["reference", "mean of the images shown"]


def test_a_layer_without_a_map_is_a_gap_that_is_named(net, pics):
    finding = Cam(kinds="cam", at="blocks.0,blocks.2", count=2)(net, pics)
    maps = finding["methods"].sel({"method": "CAM"})
    shown = [str(layer) for layer in maps.coords["layer"].values if not np.isnan(maps.sel(layer=layer).values).any()]
    hidden = [str(layer) for layer in maps.coords["layer"].values if np.isnan(maps.sel(layer=layer).values).all()]
    assert len(shown) + len(hidden) == maps.sizes["layer"] and hidden
    assert f"CAM has no map of {hidden[0]}." in finding.caveats


def test_fused_maps_of_every_kind_come_last(net, pics):
    finding = Cam(kinds="layercam", at="blocks.0,blocks.1,blocks.2", fuse=True, count=2)(net, pics)
    assert finding["methods"].coords["layer"].values[-1] == "fused"
    alone = drawn_alone(net, pics, kind="layercam", at="blocks.0,blocks.1,blocks.2", fuse=True, count=2)
    own = finding["methods"].sel({"method": "LayerCAM", "target": "target class", "layer": "fused"}).values
    assert np.allclose(own.mean((1, 2)), alone[:, -1].mean((1, 2)), rtol=0.05) and own.any()


def test_unknown_kinds_are_named(net):
    with pytest.raises(UnknownName, match="no kind of map 'layercm'.*layercam"):
        Cam(kinds="layercm")


def test_the_grid_is_coarser_where_there_are_many_maps(net, pics):
    made = Cam(kinds="inputgradient", at="blocks.2", count=1)(net, pics)
    assert max(made["methods"].shape[-2:]) <= 112

    class Pixels:
        class kind:
            on_input = True

    assert shared_side([Pixels], 1) == 112  # type: ignore[list-item]
    many = shared_side([Pixels], 600)  # type: ignore[list-item]
    assert MIN_GRID < many < 112 and 600 * many**2 <= MAX_VALUES
    assert shared_side([Pixels], 10**7) == MIN_GRID  # type: ignore[list-item]


def test_it_keeps_the_law(net, pics, tmp_path):
    testing.check(Cam(kinds="layercam,inputgradient", at="blocks.2", count=2), net, pics, tmp_path)


def test_the_declared_work_grows_with_the_kinds(net, pics):
    one, several = (Cam(kinds=kinds, count=6).workload(net, pics) for kinds in ("", "layercam,smoothgrad"))
    classes = Cam(kinds="layercam,smoothgrad", classes="0,1,2", count=6).workload(net, pics)
    assert one.backward < several.backward < classes.backward and one.forward < several.forward
    assert mt.analyses.cam.Cam(kinds="gradcam", count=6).workload(net, pics) == one
