"""Networks whose answer depends on the other images of the batch say so."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import microtome as mt
from microtome.opening.opening import open as open_specimen
from microtome.specimen.batch_dependence import batch_note


class MeanOff(nn.Module):
    """Takes the mean over the batch off, without being a norm."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["running", "batch", "instance", "group", "mean", "none"]), min_size=1, max_size=3))
def test_the_note_is_there_if_and_only_if_the_company_counts(kinds: list[str]) -> None:
    torch.manual_seed(len(kinds))
    makers = {
        "running": lambda: nn.BatchNorm2d(4), "batch": lambda: nn.BatchNorm2d(4, track_running_stats=False),
        "instance": lambda: nn.InstanceNorm2d(4), "group": lambda: nn.GroupNorm(2, 4), "mean": MeanOff, "none": nn.Identity,
    }  # fmt: skip
    parts = [part for kind in kinds for part in (nn.Conv2d(4, 4, 3), makers[kind](), nn.ReLU())]
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    net = open_specimen(module, recipe={"size": 24})
    said = [note for note in net.notes if "other images of the batch" in note]
    assert len(said) == any(kind in ("batch", "mean") for kind in kinds)
    if "batch" in kinds:
        assert "normalises by the batch" in said[0]


def test_random_outputs_are_said() -> None:
    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.dropout(x, 0.5, True)

    module = nn.Sequential(nn.Conv2d(3, 4, 3), Noise(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    assert any("random in evaluation" in note for note in open_specimen(module, recipe={"size": 16}).notes)


def test_outputs_that_are_nan_in_every_pass_are_not_called_random() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval()
    net[0].weight.data.fill_(float("nan"))
    assert batch_note(net, torch.randn(2, 3, 8, 8), net) == ""


def test_findings_of_images_say_it_and_those_of_weights_do_not() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    net = open_specimen(nn.Sequential(module, nn.Linear(8, 3)).eval(), recipe={"size": 16})
    images = mt.Images.tensors(torch.rand(6, 3, 16, 16), labels=[0, 1, 2] * 2, classes=["a", "b", "c"])
    assert "'0.1' normalises by the batch" in mt.analyses.accuracy.Accuracy()(net, images).caveats[0]
    assert not any("of the batch" in caveat for caveat in mt.analyses.weights.Weights()(net, twins=2).caveats)


def test_a_network_that_takes_no_single_image_is_compared_in_two_companies() -> None:
    head = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))
    net = open_specimen(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval(), recipe={"size": 16}
    )
    assert any("'3.1' normalises by the batch" in note for note in net.notes)
