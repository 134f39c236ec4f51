"""Which state dict of a weights file is meant, where it holds several: raw and averaged weights, student and teacher.

A file may hold state dicts under keys (`state_dict`, `state_dict_ema`) and, inside one, under prefixes of names (`model.`,
`ema_model.`). All that fit the network are candidates. The one loaded is the one that was asked for, else the first by the order of
`FIRST_KEYS` and then of the file; the specimen's notes name it and the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from microtome.errors import BadOption, UnknownName, hint, nearest_names, option_hint
from microtome.opening.checkpoints import (
    NESTED_KEYS,
    CheckpointFit,
    State,
    fit_checkpoint,
    fit_tensors,
    named_states,
)

FIRST_KEYS = ("", *NESTED_KEYS)
MAX_DEPTH = 4  # dots in a prefix of names
PLAIN_KEYS = ("", "state_dict", "model", "model_state_dict", "net", "weights", "module", "params", "checkpoint")
# Words by which files tell averaged weights, or one of two networks that were trained together, from the plain ones.
SPECIAL_WORDS = ("ema", "teacher", "student", "average", "avg", "swa", "momentum", "target", "online", "shadow")


@dataclass(frozen=True)
class StateChoice:
    """The state dict that was taken: how it fits, its name in the file (empty where nobody needs one), and a note about the others."""

    fit: CheckpointFit
    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    name: str
    fit: CheckpointFit
    usable: bool  # it fits, perhaps with another number of classes


def choose_state(loaded: Any, net: nn.Module, path: str, wanted: str | None = None) -> StateChoice:
    """The state dict of what a file holds that `wanted` names, or the first that fits.

    Raises:
        CheckpointError: there is no state dict in the file.
        UnknownName: there is none of the wanted name, or several.
    """
    states = named_states(loaded, path)
    candidates = [each for name, state in states for each in _candidates(name, state, net)]
    candidates.sort(key=lambda each: _rank(each.name))
    if wanted is not None:
        chosen = _named_candidate(candidates, wanted, path)
    else:
        chosen = next((each for each in candidates if each.usable), candidates[0])
    others = [each.name for each in candidates if each is not chosen and each.usable]
    if not others and not any(word in chosen.name.lower() for word in SPECIAL_WORDS):
        return StateChoice(chosen.fit, "")
    note = f"The state dict {_shown(chosen.name)} of the file was loaded."
    if others:
        listed = ", ".join(map(_shown, others))
        note += f" The file also has {listed}, which {'fits' if len(others) == 1 else 'fit'} too"
        named = next((name for name in others if name), "")
        note += f": {option_hint('state', named)}." if named else "."
    return StateChoice(chosen.fit, chosen.name, (note,))


def _shown(name: str) -> str:
    return f"'{name}'" if name else "without a name"


def _rank(name: str) -> int:
    top = name.partition(".")[0]
    return FIRST_KEYS.index(top) if top in FIRST_KEYS else len(FIRST_KEYS)


def _candidates(name: str, state: State, net: nn.Module) -> list[_Candidate]:
    """What one state dict offers: each part under a prefix that holds all of the network, else its best fit as a whole."""
    own = net.state_dict()
    prefixes = _whole_prefixes(state, own)
    parts = [
        fit_tensors({key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}, own, prefix)
        for prefix in prefixes
    ]
    if len(prefixes) < 2:
        fits = [fit_checkpoint(state, net), *(part for part, prefix in zip(parts, prefixes, strict=True) if prefix)]
        best = min(fits, key=lambda fit: (len(fit.missing) + len(fit.reshaped), len(fit.unexpected)))
        usable = not (best.missing or best.reshaped or best.unexpected) or best.head_classes(net) is not None
        return [_Candidate(name, best, usable)]
    home = "" if name in PLAIN_KEYS else f"{name}."
    return [
        _Candidate(
            (home + prefix).rstrip("."), replace(part, unexpected=()) if not prefix else part, not prefix or not part.unexpected
        )
        for prefix, part in zip(prefixes, parts, strict=True)
    ]


def _whole_prefixes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """The prefixes of names under which every tensor of the network is found in its shape, in the order of the file."""
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    if not needed:
        return []
    first = needed[0]
    prefixes = [key[: -len(first)] for key in state if key == first or key.endswith("." + first)]
    return [
        prefix
        for prefix in dict.fromkeys(prefixes)
        if prefix.count(".") <= MAX_DEPTH
        and all(prefix + name in state and state[prefix + name].shape == own[name].shape for name in needed)
    ]


def _named_candidate(candidates: list[_Candidate], wanted: str, path: str) -> _Candidate:
    """The candidate of that name, or the only one that has the word in its name."""
    alike = [each for each in candidates if each.name == wanted]
    if not alike:
        words = wanted.lower()
        alike = [each for each in candidates if words in each.name.lower().replace(".", "_").split("_")]
        alike = alike or [each for each in candidates if words and words in each.name.lower()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise UnknownName(
            f"'{path}' has several state dicts that '{wanted}' may mean: {', '.join(each.name for each in alike)}."
        )
    names = list(dict.fromkeys(each.name for each in candidates if each.name))
    if not names:
        raise UnknownName(
            f"'{path}' holds one state dict, without a name, so there is no '{wanted}' in it; leave the state out."
        )
    near = nearest_names(wanted, names, 1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UnknownName(f"'{path}' has no state dict '{wanted}'.{hint} There are: {', '.join(names)}.")


def refuse_state(wanted: str | None, weights: object) -> None:
    """Raise BadOption where a state dict is asked for, and the weights come from no file."""
    if wanted is not None:
        raise BadOption(
            f"state='{wanted}' chooses a state dict in a weights file, and the weights are '{weights}'; name the file too: "
            + hint(f"--weights FILE --state {wanted}.", f"weights='FILE', state='{wanted}'.")
        )
