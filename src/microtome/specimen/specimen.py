"""An opened network: module, layer names in execution order, input recipe, labels, and where its weights come from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from microtome.errors import BadOption, SpecimenError, UnknownName, did_you_mean
from microtome.numerics.graph.counts import count_multiply_adds
from microtome.prose import plural
from microtome.specimen import aliases as naming
from microtome.specimen.anatomy import Anatomy
from microtome.specimen.batch_dependence import batch_note
from microtome.specimen.blocks import Block, named_blocks, removable_units
from microtome.specimen.calibration import ImageSet, calibrate, has_statistics, saw_no_image
from microtome.specimen.code_digest import code_digest
from microtome.specimen.copying import copy_network
from microtome.specimen.families import Family, known_family, network_family
from microtome.specimen.finiteness import finite_rows, where_broken
from microtome.specimen.kept_twins import kept_twin, to_working_layout
from microtome.specimen.labels import Labels
from microtome.specimen.layers import (
    Layer,
    device_of,
    given_by_weights,
    head_path,
    module_layers,
    named_layers,
    output_count,
)
from microtome.specimen.network_digest import digest_axes, digest_network
from microtome.specimen.noise_images import noise_images
from microtome.specimen.one_logit import is_sigmoid, two_scores
from microtome.specimen.output_choice import OutputChoice, choose_output, pick_output
from microtome.specimen.recipe import Recipe
from microtome.specimen.recipe_fit import recipe_doubt, scale_note
from microtome.specimen.residuals import Residual, residual_blocks
from microtome.specimen.sameness import distinct_layers
from microtome.specimen.saving import save_network
from microtome.specimen.structure_notes import label_note, structure_notes
from microtome.specimen.tracing import BATCH, example_input, input_layout, trace
from microtome.specimen.twins import TWIN_COUNT, TWIN_IMAGES, Maker, check_twins, draw_network


@dataclass(frozen=True)
class Change:
    """What one edit did to a specimen: its name, options and line; parameters and multiply-adds before and after."""

    edit: str
    options: dict[str, Any]
    line: str
    preserves: str
    parameters: tuple[int, int]
    multiply_adds: tuple[float, float]


@dataclass(frozen=True, eq=False, kw_only=True)
class Specimen:
    """An opened network, never changed by looking.

    `net` is in eval mode; `trained` is False for untrained weights, None where nobody said; `names` are labels and WordNet ids;
    `edits` are the edits that made it from what its library gives.
    """

    net: nn.Module = field(repr=False)
    name: str
    weights: str
    trained: bool | None
    recipe: Recipe
    names: Labels | None = field(default=None, repr=False)
    remarks: tuple[str, ...] = ()
    opened_as: dict[str, Any] | None = field(default=None, repr=False)
    given_family: tuple[Family, str] | None = None  # and why
    maker: Maker | None = field(default=None, repr=False)
    edits: tuple[Change, ...] = field(default=(), repr=False)
    twin_count: int = field(default=TWIN_COUNT, repr=False)  # untrained twins that analyses compare it with
    twin_images: int = field(default=TWIN_IMAGES, repr=False)  # images that each of them sees in a scan, at most
    unchanged: tuple[str, ...] = field(default=(), repr=False)  # of a twin: the learnt tensors that could not be drawn anew
    output: str | None = field(default=None, repr=False)  # which output was asked for, by index, key or name; None: by rule

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of the outputs; None if unknown."""
        return self.names[0] if self.names else None

    @property
    def wordnet(self) -> tuple[str, ...] | None:
        """The WordNet ids of the outputs, None where they are not ImageNet's classes."""
        return self.names[1] if self.names else None

    @cached_property
    def anatomy(self) -> Anatomy:
        """The result of one traced forward pass. Raises SpecimenError if the network does not run."""
        forward_trace = trace(self.net, self.recipe)
        classes = len(self.labels) if self.labels else None
        heads = given_by_weights(forward_trace)
        forward_trace.choice = choose_output(forward_trace.outputs, self.output, heads, classes, BATCH)
        members = removable_units(forward_trace, self.net)
        inner = frozenset(unit.path for unit in members if unit.entry is unit.exit)
        layers = named_layers(forward_trace, self.net, inner, self.recipe)
        blocks = named_blocks(forward_trace, members, layers)
        probability = output_count(forward_trace) == 1 and self._ends_in_sigmoid(forward_trace.choice)
        return Anatomy(
            forward_trace, members, layers, blocks, naming.layer_aliases(forward_trace, members, blocks, layers), probability
        )

    def _ends_in_sigmoid(self, choice: OutputChoice | None) -> bool:
        """Whether the chosen output is what a sigmoid gave."""
        with torch.inference_mode(False), torch.enable_grad():
            given = self.net(example_input(self.net, self.recipe).clone().requires_grad_())
        return is_sigmoid(pick_output(given, choice, self.name))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in execution order: a layer comes when its first output is there, so a container after its content."""
        return self.anatomy.layers

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The removable units in execution order."""
        return self.anatomy.blocks

    @cached_property
    def residuals(self) -> tuple[Residual, ...]:
        """The residual blocks on maps in execution order: where their branches begin and end, and their shortcuts."""
        return residual_blocks(self)

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Alias -> layer names, for the aliases that mean something here."""
        return self.anatomy.aliases

    @cached_property
    def outputs(self) -> int | None:
        """How many numbers the measured output has for one image, None for maps (segmentation)."""
        return output_count(self.anatomy.trace)

    @property
    def classes(self) -> int | None:
        """How many classes it has scores for: two where it has one output, a logit; None for maps."""
        return 2 if self.outputs == 1 else self.outputs

    @cached_property
    def head(self) -> str | None:
        """The path of the layer that gives the class scores, None where there is none."""
        return head_path(self.anatomy.trace)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was noticed about weights, recipe and structure, one sentence each."""
        notes = list(self.remarks)
        try:
            anatomy = self.anatomy
        except SpecimenError as error:
            return (*notes, str(error))
        if anatomy.trace.choice is not None and (note := anatomy.trace.choice.note()):
            notes.append(note)
        if note := self.batch_dependence:
            notes.append(note)
        if note := scale_note(self.net, self.recipe):
            notes.append(note)
        notes += structure_notes(anatomy.trace.silent, anatomy.layers)
        if (note := label_note(self.labels, self.outputs, self.classes)) is not None:
            notes.append(note)
        return tuple(notes)

    @cached_property
    def _sentences(self) -> dict[str, str]:
        """What passes found out about it, in words; one dictionary for all specimens of one network, so that it is found out once."""
        return {}

    @property
    def batch_dependence(self) -> str:
        """A sentence where its answer for an image depends on the other images of the batch, or on chance; else empty."""
        if "batch" not in self._sentences:
            judged = self.anatomy.trace.choice is not None
            self._sentences["batch"] = batch_note(self.net, example_input(self.net, self.recipe), self.answer) if judged else ""
        return self._sentences["batch"]

    def recipe_doubt(self, images: ImageSet) -> str:
        """A sentence where another recipe fits what the first batch norm stored far better on these images; else empty."""
        key = f"recipe for {images.digest()}"
        if key not in self._sentences:
            self._sentences[key] = "" if self.trained is False else recipe_doubt(self.net, self.recipe, images)
        return self._sentences[key]

    @cached_property
    def _family(self) -> tuple[Family, str]:
        if self.given_family is not None:
            return self.given_family
        known = known_family(self.name)
        return known if known is not None else network_family(self.name, self.anatomy.trace, self.anatomy.units, self.net)

    @property
    def family(self) -> Family:
        """ "deeper", "wider" or "attention"."""
        return self._family[0]

    @property
    def family_reason(self) -> str:
        """Why it counts as that family."""
        return self._family[1]

    @property
    def device(self) -> torch.device:
        """The device the parameters are on."""
        return device_of(self.net)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def find(self, pattern: str | Sequence[str]) -> list[str]:
        """Layer names in execution order for globs, comma-separated lists, module paths and aliases (`aliases`).

        Raises UnknownName for a pattern that matches nothing, Unmeasurable for an alias that means nothing here.
        """
        patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        parts = [part.strip() for each in patterns for part in each.split(",") if part.strip()]
        if not parts:
            raise UnknownName(f"No layer is named in {pattern!r}; try one of {', '.join(self.aliases)}.")
        names = {name for part in parts for name in naming.match_layers(part, self.layers, self.aliases)}
        return sorted(names, key=lambda name: self._by_name[name].order)

    def distinct(self, pattern: str | Sequence[str]) -> list[str]:
        """As `find`, but where modules give back the very same tensor (a stage, and the last block in it) only the outermost stays.

        Layers named one by one stay in any case. Raises UnknownName for a pattern that matches nothing.
        """
        patterns = [pattern] if isinstance(pattern, str) else list(pattern)
        named = {part.strip() for each in patterns for part in each.split(",")}
        return distinct_layers(self, self.find(pattern), named)

    def layer(self, name: str) -> Layer:
        """The layer of that name; a module path stands for its only or first output. Raises UnknownName."""
        if name in self._by_name:
            return self._by_name[name]
        of_module = module_layers(self.layers).get(name)
        if of_module:
            return of_module[0]
        raise UnknownName(f"No layer is called '{name}'." + did_you_mean(name, self._by_name))

    def block(self, name: str) -> Block:
        """The block of that name. Raises UnknownName."""
        for block in self.blocks:
            if block.name == name:
                return block
        raise UnknownName(f"No block is called '{name}'." + did_you_mean(name, [block.name for block in self.blocks]))

    def noise(self, count: int) -> Tensor:
        """Seeded noise images, laid out as a scan lays out its images: what is in an image changes neither its time nor its memory."""
        return noise_images(self.net, self.recipe, count).contiguous(memory_format=input_layout(self.net))

    def run(self, x: Tensor) -> Any:
        """What the network gives for `x`, without gradients."""
        with torch.inference_mode():
            return self.net(x)

    @property
    def output_name(self) -> str:
        """The name of the measured output where the network gives several, else empty; part of every finding's key."""
        try:
            choice = self.anatomy.trace.choice
        except SpecimenError:  # then only its weights can be measured
            return self.output or ""
        return choice.name if choice is not None else ""

    def pick(self, value: Any) -> Tensor:
        """The measured output in what the network gave. Raises SpecimenError where it is not there."""
        return value if isinstance(value, Tensor) else pick_output(value, self.anatomy.trace.choice, self.name)

    def answer(self, x: Tensor) -> Tensor:
        """The measured output for `x`, with gradients if `x` or a tap wants them."""
        return self.pick(self.net(x))

    def class_scores(self, output: Tensor) -> Tensor:
        """The measured output as class scores (image, class), two of them for one logit; maps as they are."""
        if output.ndim > 2 and output[0].numel() == output.shape[1]:
            output = output.flatten(1)
        if self.outputs != 1 or output.ndim > 2:
            return output
        return two_scores(output.reshape(-1, 1), self.anatomy.gives_probability)

    def logits(self, x: Tensor) -> Tensor:
        """Class scores (image, class) for inputs (image, rgb, row, col), with gradients if `x` or a tap wants them.

        Raises SpecimenError where the network gives maps or nothing that is a tensor.
        """
        scores = self.class_scores(self.answer(x))
        if scores.ndim != 2:
            raise SpecimenError(f"{self.name} gives {tuple(scores.shape[1:])} for one image, not one score per class.")
        if not bool((sound := finite_rows(scores.detach())).all()):
            raise SpecimenError(
                f"{self.name} gives NaN or infinity for {int((~sound).sum())} of {plural(len(sound), 'image')} at "
                f"once, so no class scores; "
                f"{where_broken(self.net, x.detach()[~sound])}."
            )
        return scores

    @property
    def weight_bytes(self) -> int:
        """Bytes of its parameters."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.net.parameters())

    @cached_property
    def multiply_adds(self) -> float:
        """Multiply-adds of one image in the recipe's geometry."""
        return count_multiply_adds(self.net, self.noise(1))

    def digest(self) -> str:
        """SHA-256 hex digest over structure (paths and classes), parameters and buffers; computed once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return digest_network(self.net)

    @cached_property
    def code(self) -> str:
        """SHA-256 hex digest over the code that runs in the network and all it uses, as it was when first asked for (`open` asks)."""
        return code_digest(self.net, self.maker)

    def identity(self) -> list[Any]:
        """All of the specimen that can change a number or a word of a finding, as plain values for its key."""
        known = [self.name, self.digest(), self.code, self.recipe.json(), self.names, self.trained, self._family]
        return known + ([axes] if (axes := self._axes_digest) else [])  # so that keys without tokens stay what they were

    @cached_property
    def _axes_digest(self) -> str:
        """A digest over what was measured of the layers' axes; empty where all of them are maps as convolutions give them."""
        try:
            layers = self.layers
        except SpecimenError:  # then only its weights can be measured
            return ""
        return digest_axes(layers)

    def with_net(self, net: nn.Module, *, name: str, weights: str | None = None, remarks: Sequence[str] = ()) -> "Specimen":
        """A specimen of a changed network with this one's recipe, labels and family; `net` is put in eval mode."""
        return replace(
            self,
            net=net.eval(),
            name=name,
            weights=self.weights if weights is None else weights,
            remarks=(*self.remarks, *remarks),
            given_family=self.given_family,
            maker=None,
            opened_as=None,
        )

    def with_name(self, name: str) -> "Specimen":
        """The same specimen, its network shared, under another name."""
        other = replace(self, name=name)
        self._hand_on(other)
        return other

    def to(self, device: str | torch.device) -> "Specimen":
        """A copy of the specimen on `device`; this one stays where it is. Raises BadOption for a device that is not there."""
        net = copy_network(self.net)
        try:
            net = net.to(device)
        except (RuntimeError, AssertionError) as error:
            raise BadOption(
                f"The device '{device}' cannot be used here ({str(error).splitlines()[0][:120]}); try 'cpu'."
            ) from error
        return replace(self, net=net)

    def on(self, device: str | torch.device) -> "Specimen":
        """The working copy that analyses run: on `device`, in channels-last memory where convolutions do most of the work.

        The layout changes speed (1.3 to 1.4 times on CPUs), not results (2e-7 relative). The same name, digest and anatomy. A working
        copy on that device is given back as it is.
        """
        if self.__dict__.get("_works_on") == str(device):
            return self
        worker = self.to(device)
        to_working_layout(worker.net)
        self.digest()
        self._hand_on(worker)
        worker.__dict__["_works_on"] = str(device)
        return worker

    def _hand_on(self, other: "Specimen") -> None:
        """Give another specimen of the same network what is known of it, so that nothing is traced or measured twice.

        Its code is that of the moment at which this one was opened: a run may have changed attributes since.
        """
        other.__dict__["code"], other.__dict__["_sentences"] = self.code, self._sentences
        for known in ("anatomy", "_digest", "_image_bytes", "multiply_adds"):
            if known in self.__dict__:
                other.__dict__[known] = self.__dict__[known]

    def json(self) -> dict[str, Any]:
        """The record of the specimen in a finding, as plain JSON values."""
        return {
            "name": self.name,
            "weights": self.weights,
            "trained": self.trained,
            "family": self.family,
            "family_reason": self.family_reason,
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "digest": self.digest(),
            "code": self.code,
            "recipe": self.recipe.json(),
            "opened_as": self.opened_as,
            "output": self.output_name,
            "notes": list(self.notes),
            "edits": [asdict(change) for change in self.edits],
        }

    def save(self, path: str | Path) -> Path:
        """Write the specimen to a safetensors file that `open(path)` reads back; the path of the file comes back.

        Raises BadOption for another suffix, SpecimenError where the network cannot be built again.
        """
        return save_network(self.net, self._header(), path)

    def _header(self) -> dict[str, Any]:
        """What the saved file holds beside the weights: how to build the network, and the facts about it."""
        if self.maker is None:
            raise SpecimenError(
                f"{self.name} was handed over as a module, so nobody could build it again from a file; open it from a function "
                "(pkg.mod:factory or file.py:factory), or save its state_dict yourself."
            )
        return {
            "built": self.maker.json(),
            "name": self.name,
            "weights": self.weights,
            "trained": self.trained,
            "recipe": self.recipe.json(),
            "names": self.names,
            "family": [self.family, self.family_reason],
            "remarks": self.remarks,
            "output": self.output,
            "edits": [asdict(change) for change in self.edits],
        }

    def twin(self, seed: int = 1, images: ImageSet | None = None) -> "Specimen":
        """The untrained twin: the same architecture with fresh weights drawn under `seed`, no residual branch switched off.

        With `images`, the running statistics of its norms are estimated on some of them, without labels; without, they are those of
        a network that never saw one (mean 0, variance 1), which is right for looking at weights only, and beside a network whose
        own norms never saw one.
        """
        fresh = draw_network(self.net, self.maker, seed)
        notes = [f"Untrained twin of {self.name}: the same architecture, fresh weights (seed {seed}).", *fresh.notes]
        if self._wants_bare_twins:
            notes.append("The network's own norms never saw an image, so its twin's are left as they were made.")
        elif images is not None and (note := calibrate(fresh.net, self.recipe, images)):
            notes.append(note)
        made = replace(
            self,
            net=fresh.net,
            name=f"{self.name} (untrained twin)",
            weights=f"untrained (seed {seed})",
            trained=False,
            remarks=tuple(notes),
            unchanged=fresh.unchanged,
            opened_as=None,
            given_family=(self.family, self.family_reason),
        )
        if "anatomy" in self.__dict__:  # the same structure: no second trace
            made.__dict__["anatomy"] = self.anatomy
        return made

    def with_twins(self, count: int, images: int = TWIN_IMAGES) -> "Specimen":
        """The same specimen, compared by analyses with `count` untrained twins instead of 5; with none where it is 0.

        Each twin sees at most that many `images` in a scan.

        Raises:
            BadOption: 1, from which nothing can be concluded, fewer than 0, or more than 100.
        """
        check_twins(count)
        made = replace(self, twin_count=count, twin_images=images)
        self._hand_on(made)
        if (device := self.__dict__.get("_works_on")) is not None:  # the same network, so it is ready there
            made.__dict__["_works_on"] = device
        return made

    @property
    def known_twins(self) -> tuple["Specimen", ...]:
        """The untrained twins that are kept at the moment, oldest first."""
        return tuple(self.__dict__.get("_twins", {}).values())

    @cached_property
    def _wants_bare_twins(self) -> bool:
        """Whether its twins' statistics stay as they were made: its own are, and nobody said that it is trained (folded norms)."""
        return self.trained is not True and saw_no_image(self.net)

    def working_twin(self, images: ImageSet | None, seed: int = 1) -> "Specimen":
        """The twin of that seed and these images as analyses run it: on this device, laid out as by `on`.

        Twins are kept within a limit of memory, since most analyses of one run ask for the same ones; they must be left as they are.
        """
        known: dict[tuple[int, str], Specimen] = self.__dict__.setdefault("_twins", {})
        estimated = images is not None and has_statistics(self.net) and not self._wants_bare_twins
        key = seed, images.digest() if images is not None and estimated else ""

        def build() -> "Specimen":
            twin = self.twin(seed, images)
            to_working_layout(twin.net)
            return twin

        return kept_twin(known, key, self.weight_bytes, build)
