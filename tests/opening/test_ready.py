"""Networks made ready for measuring: precision, lazy modules, extra state, shared modules, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import microtome as mt
from microtome.errors import SpecimenError
from microtome.opening.opening import open as open_specimen

RECIPE = {"size": 16, "crop": 1}


class Net(nn.Module):
    def __init__(self, width: int = 4, lazy: tuple[bool, bool, bool] = (False, False, False)) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(width, 3) if lazy[0] else nn.Conv2d(3, width, 3)
        self.norm = nn.LazyBatchNorm2d() if lazy[1] else nn.BatchNorm2d(width)
        self.fc = nn.LazyLinear(3) if lazy[2] else nn.Linear(width * 49, 3)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(torch.relu(self.norm(self.conv(x)))).flatten(1))


class Extra(Net):
    def get_extra_state(self) -> Any:
        return {"version": 3}

    def set_extra_state(self, state: Any) -> None:
        self.version = state["version"]


DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float64, torch.float32])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), DTYPES, DTYPES)
def test_every_precision_is_measured_in_float32_and_said(width: int, backbone: torch.dtype, head: torch.dtype) -> None:
    torch.manual_seed(width)
    given_net = Net(width).eval()
    given_net.conv.to(backbone)
    given_net.norm.to(backbone)
    given_net.fc.to(head)
    before = {name: (value.dtype, value.clone()) for name, value in given_net.state_dict().items()}
    net = open_specimen(given_net, recipe=RECIPE)
    reference = Net(width).eval()  # the same values, cast by hand
    with torch.no_grad():
        for name, value in reference.state_dict().items():
            value.copy_(before[name][1].to(value.dtype))
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(net.run(x), reference(x))
    other = sorted({str(kind).removeprefix("torch.") for kind in (backbone, head)} - {"float32"})
    assert all(any(kind in note and "float32" in note for note in net.notes) for kind in other)
    assert all(value.dtype == before[name][0] for name, value in given_net.state_dict().items())
    assert (net.net is given_net) == (not other)


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.booleans(), st.booleans(), st.booleans()), st.integers(1, 4), st.booleans())
def test_lazy_modules_get_their_shapes_and_the_given_module_stays(
    lazy: tuple[bool, bool, bool], width: int, training: bool
) -> None:
    given_net = Net(width, lazy).train(training)
    net = open_specimen(given_net, recipe=RECIPE)
    plain = Net(width)
    assert {name: value.shape for name, value in net.net.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }
    assert not any(module.training for module in net.net.modules()) and given_net.training == training
    assert sum(isinstance(value, nn.UninitializedParameter) for value in given_net.parameters()) == 2 * sum(lazy)
    assert any("lazy" in note for note in net.notes) == any(lazy)
    assert net.twin(1).digest() != net.digest()


def test_lazy_modules_of_a_factory_take_weights_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "make_lazy", lambda: Net(4, (True, True, True)), raising=False)
    torch.manual_seed(0)
    wanted = Net(4).eval()
    torch.save(wanted.state_dict(), tmp_path / "w.pth")
    net = open_specimen(f"{__name__}:make_lazy", weights=tmp_path / "w.pth", recipe=RECIPE)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(net.run(x), wanted(x))


def test_a_lazy_module_that_no_pass_shapes_is_named() -> None:
    class Unreached(Net):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.LazyLinear(3)

    with pytest.raises(SpecimenError, match="'spare' has no weights, and a first pass does not reach it"):
        open_specimen(Unreached().eval(), recipe=RECIPE)
    wrong = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.Linear(10, 2))
    with pytest.raises(SpecimenError, match="lazy module '0' has no weights .* pass of 16 x 16 images"):
        open_specimen(wrong, recipe=RECIPE)


def test_extra_state_opens_saves_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = Extra().eval()
    net = open_specimen(module, recipe=RECIPE)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    assert open_specimen(Extra().eval(), weights=tmp_path / "w.pth", recipe=RECIPE).digest() == net.digest()
    monkeypatch.setattr(Extra, "get_extra_state", lambda self: {"version": 4})
    assert open_specimen(module, recipe=RECIPE).digest() != net.digest()


@pytest.mark.filterwarnings("ignore")
def test_quantised_and_meta_networks_are_refused_by_module() -> None:
    quantised = torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(SpecimenError, match="'fc' is quantised .* before quantisation"):
        open_specimen(quantised, recipe=RECIPE)
    with pytest.raises(SpecimenError, match="'conv.weight' has no values: it is on the meta device"):
        open_specimen(Net().to("meta").eval(), recipe=RECIPE)


SHARED_NETS: dict[str, nn.Module] = {}


def make_shared(kind: str = "same") -> nn.Module:
    """One and the same module every time, alone or as a part of a new one."""
    module = SHARED_NETS.setdefault("one", Net().eval())
    return module if kind == "same" else nn.Sequential(module, nn.Linear(3, 3)) if kind == "part" else _tied(module)


def _tied(module: nn.Module) -> nn.Module:
    made = Net().eval()
    made.conv = module.conv
    return made


@pytest.mark.parametrize("kind", ["same", "part", "tied"])
def test_specimens_of_one_module_object_never_share_it(kind: str, tmp_path: Path) -> None:
    SHARED_NETS.clear()
    torch.manual_seed(0)
    files = []
    for k in range(2):
        state = {
            name: torch.randn_like(value) if value.is_floating_point() else value
            for name, value in make_shared(kind).state_dict().items()
        }
        files.append(tmp_path / f"w{k}.pth")
        torch.save(state, files[-1])
    original = {name: value.clone() for name, value in SHARED_NETS["one"].state_dict().items()}
    one, two = (open_specimen(f"{__name__}:make_shared", weights=file, recipe=RECIPE, kind=kind) for file in files)
    storages = [{value.data_ptr() for value in each.net.state_dict().values()} for each in (one, two)]
    assert not storages[0] & storages[1]
    assert all(torch.equal(value, torch.load(files[0])[name]) for name, value in one.net.state_dict().items())
    assert all(torch.equal(value, original[name]) for name, value in SHARED_NETS["one"].state_dict().items())
    twin = one.twin(1)
    assert not storages[0] & {value.data_ptr() for value in twin.net.state_dict().values()}


def test_half_networks_give_the_numbers_of_their_float32_copy() -> None:
    torch.manual_seed(0)
    half = Net(6).half().eval()
    full = Net(6).eval()
    full.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in half.state_dict().items()}
    )
    draw = torch.Generator().manual_seed(0)
    images = mt.Images.tensors(
        torch.rand(8, 3, 16, 16, generator=draw), labels=[i % 3 for i in range(8)], classes=["a", "b", "c"]
    )
    for analysis in (mt.analyses.accuracy.Accuracy(), mt.analyses.features.Features()):
        one, two = (analysis(open_specimen(net, recipe=RECIPE), images) for net in (half, full))
        assert set(one.arrays) == set(two.arrays)
        for name in one.arrays:
            if one[name].values.dtype.kind == "f":
                assert np.array_equal(one[name].values, two[name].values, equal_nan=True), name
