import io
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from microtome.errors import UnknownName
from microtome.figures import RENDERERS
from microtome.finding import Finding, array
from microtome.panels import PANEL_KINDS, Bars, Curve, Heat, Table
from sample_findings import finding, one

FOUND = finding()
PLACES = {panel.title: place for place, panel in enumerate(FOUND.panels)}


def saved(drawn, kind):
    held = io.BytesIO()
    drawn.savefig(held, format=kind)
    return held.getvalue()


def test_every_kind_has_a_drawing_and_the_fixture_has_every_kind():
    assert set(RENDERERS) == set(PANEL_KINDS) == {panel.kind for panel in FOUND.panels}


@pytest.mark.parametrize("title", list(PLACES))
def test_every_panel_draws_without_a_warning_and_says_its_title_and_note(title, recwarn):
    drawn = FOUND.figure(title)
    assert isinstance(drawn, Figure)
    assert saved(drawn, "png").startswith(b"\x89PNG")
    assert not [str(warning.message) for warning in recwarn]
    panel = FOUND.panels[PLACES[title]]
    assert drawn.get_suptitle() == title
    assert drawn.get_supxlabel().replace("\n", " ") == panel.note


def test_drawing_leaves_the_users_settings_alone():
    settings = [name for name in mpl.rcParams if name != "backend"]  # reading that one chooses a backend
    before = {name: mpl.rcParams[name] for name in settings}
    saved(FOUND.figure(0), "svg")
    assert {name: mpl.rcParams[name] for name in settings} == before


def test_drawing_needs_neither_pyplot_nor_torch():
    program = (
        "import io, sys; sys.path.insert(0, sys.argv[1]); from sample_findings import finding;"
        "[finding().figure(place).savefig(io.BytesIO(), format=kind) for place, kind in ((1, 'svg'), (6, 'png'), (10, 'pdf'))];"
        "print(sorted({'matplotlib.pyplot', 'torch', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parents[1])], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("kind", ["svg", "pdf"])
@pytest.mark.parametrize("title", ["Probe accuracy by depth", "Where it looks"])
def test_vector_files_have_the_same_bytes_every_time(title, kind):
    first = saved(FOUND.figure(title), kind)
    assert first == saved(FOUND.figure(title), kind)
    assert b"<dc:date>" not in first
    assert b"CreationDate" not in first


def test_a_vector_file_can_be_followed_by_a_bitmap_and_shows_itself():
    drawn = FOUND.figure(0)
    saved(drawn, "svg")
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_panels_are_chosen_by_place_or_title():
    assert FOUND.figure().get_suptitle() == FOUND.panels[0].title
    assert FOUND.figure(-1).get_suptitle() == FOUND.panels[-1].title
    with pytest.raises(UnknownName, match="Did you mean 'Kernels'"):
        FOUND.figure("kernel")
    with pytest.raises(UnknownName, match="a number from 0 to 11"):
        FOUND.figure(12)
    with pytest.raises(UnknownName, match="no panels to draw"):
        Finding(analysis="bare", arrays={}).figure()


def test_dollars_in_names_are_not_mathematics():
    drawn = one(Curve(title="a $b$ c_d", y=("y",), x="layer"), y=array([1.0, 2.0], ("layer",), "$", {"layer": ["$x", "y$"]}))
    assert saved(drawn, "png")
    assert drawn.get_suptitle() == r"a \$b\$ c_d"


def test_all_missing_values_still_draw():
    nothing = np.full(3, np.nan)
    for panel in (
        Curve(title="t", y=("y",), x="layer"),
        Bars(title="t", y=("y",), x="layer"),
        Table(title="t", columns=("y",), rows="layer"),
    ):
        assert saved(one(panel, y=array(nothing, ("layer",), "1")), "png")
    assert saved(one(Heat(title="t", z="z"), z=array(nothing[None], ("layer", "unit"), "1")), "png")
