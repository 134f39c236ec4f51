"""A layer norm between patch projection and positions makes a vision transformer indifferent to the scale of its input.

Source: Kim et al. 2023, arXiv:2111.08413 (PreLayerNorm); the projection without bias: ours.
"""

from typing import final

from microtome.edits.prelayernorm import Prelayernorm
from microtome.images import Images
from microtome.key_numbers import format_value
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.material import inputs_of, small_network
from microtome.replicate.rules import Below

SCALES = (0.25, 0.5, 2.0, 4.0, 16.0)


@final
class PrelayernormScale(Claim):
    """Scores of s · x against scores of x."""

    study = "003"
    kind = "no training"
    hypothesis = "Scores stay the same for scales from 0.25 to 16."
    measure = "Largest change of a score over the largest score, over five scales of the normalised input; exact."
    rule = Below(1e-3)
    null = "Scores change, as they do without the norm or with a bias in the projection."
    confounders = (
        "The invariance is exact for the normalised input, about its mean colour; contrast about another grey is not removed."
    )
    prior = "Known: 1e-7 by our notes on random weights; 1e-2 with a bias."
    mini = "mini_deit with the norm put in (weights as shipped), 8 scenes"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = small_network("mini_deit"), Images.scenes(8, seed=3)
        (x,) = inputs_of(specimen, images)
        changes: dict[str, float] = {}
        for name, net in (
            ("with the norm", Prelayernorm(reading="tokens", bias=False)(specimen)),
            ("with a bias", Prelayernorm(reading="tokens", bias=True)(specimen)),
            ("without", specimen),
        ):
            plain = net.run(x)
            changes[name] = max(float((net.run(scale * x) - plain).abs().max() / plain.abs().max()) for scale in SCALES)
        rows = tuple((name, format_value(value)) for name, value in changes.items() if name != "with the norm")
        return Effect.exact(changes["with the norm"], rows)
