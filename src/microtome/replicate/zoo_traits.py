"""The hypotheses of the study of six backbones, measured by the analysis `traits` on the small networks and fresh scenes."""

from collections.abc import Sequence

from microtome.images import Images
from microtome.replicate.claim import Effect, RunContext
from microtome.replicate.material import small_network
from microtome.runner import analyze

NETWORKS = ("mini_vgg", "mini_resnet", "mini_densenet", "mini_inception", "mini_hrnet", "mini_seresnet", "mini_deit")


def leading_effect(context: RunContext, hypothesis: str, analyses: Sequence[str], count: int, seed: int) -> Effect:
    """The effect of the claim that `traits` lets decide on a hypothesis; its interval holds 95% over all claims of the hypothesis."""
    nets = [small_network(name) for name in NETWORKS]
    run = analyze(nets, Images.scenes(count, seed=seed), context.out / "findings", only=[*analyses, "traits"], said=None)
    traits = next(finding for finding in run.findings.values() if finding.analysis == "traits")
    names = [str(name) for name in traits["hypothesis"]["criterion"].values]
    place = next(place for place, name in enumerate(names) if name.startswith(f"{hypothesis}:"))
    value, low, high = (float(traits[f"hypothesis_{name}"][place]) for name in ("effect", "low", "high"))
    decided = str(traits["hypothesis"][place].values)
    sample = int(traits["hypothesis_n"][place])
    return Effect(
        value, low, high, f"95% over {sample} samples, all claims of {hypothesis} together", (("decided by", decided),)
    )
