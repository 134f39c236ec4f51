"""Files with several state dicts: the one taken is said, every other can be asked for, and a wrong name is told the nearest."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microtome.errors import BadOption, CheckpointError, UnknownName
from microtome.opening.opening import open as open_specimen
from microtome.opening.state_choice import choose_state


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def layouts(one, two):
    """What training scripts save: name, content, the name of the first and of the second."""
    return {
        "timm": ({"state_dict": one, "state_dict_ema": two}, "state_dict", "ema"),
        "convnext": ({"model": one, "model_ema": two, "optimizer": {"state": one}}, "model", "ema"),
        "other order": ({"model_ema": two, "model": one}, "model", "ema"),
        "dino": ({"student": under("module.backbone.", one), "teacher": under("backbone.", two)}, "student", "teacher"),
        "lightning": ({"state_dict": under("model.", one) | under("ema_model.", two)}, "model", "ema"),
        "flat": (under("student.", one) | under("teacher.", two), "student", "teacher"),
        "wrapped": (
            {"state_dict": under("module.encoder_q.", one) | under("module.encoder_k.", two)},
            "encoder_q",
            "encoder_k",
        ),
        "heads": ({"student": one | {"head.extra": torch.zeros(2)}, "teacher": two}, "teacher", "teacher"),
        "deep": ({"ema": {"state_dict": two}, "checkpoint": {"model": one}}, "model", "ema"),
    }


def is_loaded(net, state):
    own = net.net.state_dict()
    return all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.parametrize("layout", layouts({}, {}))
def test_the_one_taken_is_said_and_both_can_be_asked_for(tmp_path, tiny, layout):
    one, two = tiny(seed=1).state_dict(), tiny(seed=2).state_dict()
    content, first, second = layouts(one, two)[layout]
    torch.save(content, tmp_path / "w.pth")
    net = open_specimen(tiny(), weights=tmp_path / "w.pth", recipe=32)
    plain = is_loaded(net, two if layout in ("heads", "deep") else one)
    assert plain
    if layout != "heads":
        assert any("The state dict" in note and second in note for note in net.notes)
        assert is_loaded(open_specimen(tiny(), weights=tmp_path / "w.pth", state=first, recipe=32), one)
    asked = open_specimen(tiny(), weights=tmp_path / "w.pth", state=second, recipe=32)
    assert is_loaded(asked, two)
    assert second in asked.weights


NAMES = st.sampled_from(["state_dict", "model", "model_ema", "ema", "student", "teacher", "net", "swa", "best", "generator"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=2, max_size=5, unique=True), st.sampled_from(["", "module.", "backbone."]))
def test_among_any_names_each_gives_its_own_and_all_are_listed(tiny, names, prefix):
    nets = {name: tiny(seed=seed) for seed, name in enumerate(names, 1)}
    content = {name: under(prefix, net.state_dict()) for name, net in nets.items()}
    for name, net in nets.items():
        choice = choose_state(content, tiny(), "w.pth", name)
        assert all(torch.equal(choice.fit.state[key], value) for key, value in net.state_dict().items())
    default = choose_state(content, tiny(), "w.pth")
    assert all(f"'{name}'" in default.notes[0] for name in names)


def test_wrong_names_are_told_the_nearest(tmp_path, tiny):
    state = tiny().state_dict()
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "w.pth")
    with pytest.raises(UnknownName, match=r"no state dict 'emma'.*There are: state_dict, state_dict_ema"):
        open_specimen(tiny(), weights=tmp_path / "w.pth", state="emma", recipe=32)
    with pytest.raises(UnknownName, match="Did you mean 'state_dict_ema'"):
        open_specimen(tiny(), weights=tmp_path / "w.pth", state="state_dictema", recipe=32)
    torch.save(state, tmp_path / "plain.pth")
    with pytest.raises(UnknownName, match="without a name"):
        open_specimen(tiny(), weights=tmp_path / "plain.pth", state="ema", recipe=32)
    with pytest.raises(BadOption, match="weights file"):
        open_specimen(tiny(), state="ema", recipe=32)


def test_one_plain_state_dict_is_loaded_without_words(tmp_path, tiny):
    for number, content in enumerate(itertools.chain([tiny().state_dict()], ({"model": tiny().state_dict(), "epoch": 3},))):
        torch.save(content, tmp_path / f"{number}.pth")
        net = open_specimen(tiny(), weights=tmp_path / f"{number}.pth", recipe=32)
        assert net.weights == f"file {number}.pth"
        assert not any("state dict" in note for note in net.notes)


def test_a_lone_average_is_said(tmp_path, tiny):
    torch.save({"ema": tiny().state_dict()}, tmp_path / "w.pth")
    assert open_specimen(tiny(), weights=tmp_path / "w.pth", recipe=32).weights == "file w.pth (ema)"


def test_what_does_not_fit_is_refused_under_any_name(tmp_path, tiny):
    torch.save({"model": {"x": torch.zeros(1)}, "ema": {"y": torch.zeros(1)}}, tmp_path / "w.pth")
    for state in (None, "ema"):
        with pytest.raises(CheckpointError, match="do not fit"):
            open_specimen(tiny(), weights=tmp_path / "w.pth", state=state, recipe=32)
