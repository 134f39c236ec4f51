"""What one image costs a network, in seconds and bytes, forwards and back: measured by a pilot pass, or by its arithmetic alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from microtome.batch_size import image_bytes, pass_back
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.calibration import calibration_count, has_statistics
from microtome.workload import Workload

TIMED = 0.4  # seconds that a timed pass is meant to take, within 1 to 8 images
DRAWN = 6e7  # random weights drawn per second
REFERENCE_RATE = 4.5e10  # multiply-adds per second on the reference machine, two cores of 2.5 GHz
BACKWARD = 2.2  # a pass forwards and back, in passes forwards


@dataclass(frozen=True)
class Pilot:
    """Seconds for one image forwards and for one forwards and back; bytes of an image's tensors, of the weights; seconds of a twin."""

    forward: float
    backward: float
    twin: float
    image: float
    graph: float
    weights: float

    def seconds(self, work: Workload) -> float:
        """How long that work takes on this machine."""
        passes = work.forward * self.forward + work.backward * self.backward
        return passes + work.twins * self.twin + work.seconds

    def bytes(self, work: Workload, pace: Pace) -> float:
        """Memory that the tensors of that work take at once, beside the weights of the network itself."""
        at_once = self.graph if work.backward else self.image if work.forward else 0.0
        return pace.batch * at_once + (self.weights if work.twins else 0.0)


def take_pilot(specimen: Specimen) -> Pilot:
    """Measure a few images of noise on a specimen that is ready to run; what is in an image does not change its cost."""
    x = specimen.noise(8)
    specimen.run(x[:1])  # the first pass prepares kernels
    single = _timed(lambda: specimen.run(x[:1]))
    many = int(min(8, max(1, TIMED / max(single, 1e-4))))
    forward = _timed(lambda: specimen.run(x[:many])) / many
    some = max(1, many // 2)
    backward = max(_timed(lambda: pass_back(specimen, x[:some])) / some, forward)
    return Pilot(
        forward=forward,
        backward=backward,
        twin=_twin_seconds(specimen, forward),
        image=image_bytes(specimen, gradients=False),
        graph=image_bytes(specimen, gradients=True),
        weights=float(specimen.weight_bytes),
    )


def reference_pilot(specimen: Specimen) -> Pilot:
    """What one image costs by its multiply-adds on the reference machine: the same on every machine, and without bytes."""
    forward = specimen.multiply_adds / REFERENCE_RATE
    return Pilot(forward, BACKWARD * forward, _twin_seconds(specimen, forward), image=0.0, graph=0.0, weights=0.0)


def _twin_seconds(specimen: Specimen, forward: float) -> float:
    """Seconds to make an untrained twin: its weights are drawn, and its statistics estimated on a few images."""
    parameters = sum(p.numel() for p in specimen.net.parameters())
    return parameters / DRAWN + (calibration_count(specimen.recipe) * forward if has_statistics(specimen.net) else 0.0)


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
