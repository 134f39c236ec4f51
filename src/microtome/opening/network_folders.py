"""Local folders in Hugging Face's form: `config.json` says which network, the weights lie beside it in one file or several.

timm's folders (`architecture`) are built by timm and filled by our own reader of weights; transformers' (`architectures`, `model_type`) are
built and filled by transformers, without code from the folder. Recipe and labels come from the folder.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from microtome._torchvision import timm, torchvision
from microtome.errors import BadOption, CheckpointError, MissingExtra, SpecimenError, did_you_mean, hint
from microtome.opening import shards
from microtome.opening.factories import Factory
from microtome.specimen.labels import Labels
from microtome.specimen.recipe import Recipe

CONFIG = "config.json"
RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def is_network_folder(what: object) -> bool:
    """Whether what is to be opened is a folder with a `config.json`."""
    if not isinstance(what, str | Path) or not str(what):
        return False
    try:
        return (Path(what).expanduser() / CONFIG).is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte, is no folder
        return False


def read_config(folder: Path) -> dict[str, Any]:
    """The content of the folder's `config.json`.

    Raises:
        SpecimenError: it is damaged, or says nothing of a network.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecimenError(
            f"'{folder / CONFIG}' cannot be read ({type(error).__name__}: {str(error)[:120]}); download it again."
        ) from error
    if not isinstance(config, dict) or not (
        {"architecture", "architectures", "model_type"} & set(cast(dict[str, Any], config))
    ):
        raise SpecimenError(
            f'\'{folder / CONFIG}\' names no network: timm writes "architecture" there, transformers "architectures" and "model_type".'
        )
    return cast(dict[str, Any], config)


def is_timm_config(config: Mapping[str, Any]) -> bool:
    """Whether the folder is timm's, not transformers'."""
    return "architecture" in config


def folder_factory(what: str | Path, options: dict[str, Any]) -> Factory:
    """The factory of the network in a folder.

    Raises:
        SpecimenError: the folder says nothing of a network, or wants code of its own to run.
        MissingExtra: it takes transformers, which is not installed.
        BadOption: options, for a network of transformers.
    """
    folder = Path(what).expanduser().absolute()
    config = read_config(folder)
    if is_timm_config(config):
        library: Any = timm()
        name = str(config["architecture"])
        if not library.is_model(name):
            raise SpecimenError(
                f"'{folder / CONFIG}' names the timm architecture '{name}', which this timm ({library.__version__}) does not have."
                + did_you_mean(name, library.list_models())
            )
        return Factory(
            "timm", str(folder), lambda **opts: library.create_model(f"local-dir:{folder}", **opts), options, folder=folder
        )
    if options:
        raise BadOption(f"A folder of transformers takes no options; leave out {', '.join(options)}, or change its {CONFIG}.")
    if config.get("auto_map"):
        raise SpecimenError(
            f"The network in '{folder}' is code of its own ({CONFIG}: auto_map), which a folder cannot have run; load it yourself and hand "
            "the module over: mt.open(module)."
        )
    _transformers(folder, config)
    return Factory("transformers", str(folder), lambda: _build_transformers(folder, config), {}, folder=folder)


def _transformers(folder: Path, config: Mapping[str, Any]) -> ModuleType:
    torchvision()  # which transformers imports, and which only works once the door has been opened
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        name = config.get("architectures") or [config.get("model_type")]
        raise MissingExtra(
            f"'{folder}' holds {name[0]}, a network of the package transformers, which is not installed: "
            "pip install 'microtome[transformers]'"
        ) from error


def _model_class(folder: Path, config: Mapping[str, Any]) -> Any:
    library: Any = _transformers(folder, config)
    names = [str(name) for name in config.get("architectures") or []]
    if not names:
        return library.AutoModel
    kind = getattr(library, names[0], None)
    if kind is None:
        raise SpecimenError(
            f"'{folder / CONFIG}' names {names[0]}, which this transformers ({library.__version__}) does not have; install another version."
        )
    return kind


def _build_transformers(folder: Path, config: Mapping[str, Any]) -> nn.Module:
    """The architecture with new weights."""
    library: Any = _transformers(folder, config)
    kind = _model_class(folder, config)
    settings = library.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    return kind.from_config(settings) if kind is library.AutoModel else kind(settings)


def load_transformers(folder: Path) -> nn.Module:
    """The network with its weights, loaded by transformers from this folder alone.

    Raises:
        CheckpointError: there are no weights, they are damaged, or some are missing or of another shape.
    """
    config = read_config(folder)
    folder_weights(folder)
    try:
        net, report = _model_class(folder, config).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # transformers and the readers below it raise many types
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"The weights in '{folder}' could not be loaded ({type(error).__name__}: {line}).") from error
    lacking = [str(name) for key in ("missing_keys", "mismatched_keys") for name in report.get(key, ())]
    if lacking:
        raise CheckpointError(
            f"The weights in '{folder}' lack {len(lacking)} tensors of {type(net).__name__} ({', '.join(sorted(lacking)[:5])}); "
            f"give the folder of this architecture, or leave them untrained: {hint('--weights none', 'weights=None')}."
        )
    return net.eval()


def folder_weights(folder: Path) -> Path:
    """The weights, or the index of their shards, in a folder. Raises CheckpointError where it has none."""
    file = shards.weights_in_folder(folder)
    if file is None:
        raise CheckpointError(
            f"'{folder}' has a {CONFIG} and no weights (model.safetensors, pytorch_model.bin, or their index of shards); download them "
            f"into it, or use {hint('--weights none', 'weights=None')} for an untrained network."
        )
    return file


def folder_recipe(folder: Path) -> tuple[Recipe, list[str]] | None:
    """The input recipe that transformers' folder declares, and notes; None where it declares none.

    Size and crop are those of `preprocessor_config.json`: a centre crop of its shorter side, or the whole image where it only resizes.
    """
    config = read_config(folder)
    channels = int(config.get("num_channels") or 3)
    declared = folder / "preprocessor_config.json"
    side = config.get("image_size")
    if not declared.is_file():
        if side is None:
            return None
        recipe = Recipe.of({"channels": channels, "size": side})
        used = "ImageNet's mean and std are" if channels in (1, 3) else "mean 0 and std 1 are"
        return recipe, [f"The folder has no preprocessor_config.json; {used} used at {recipe.size[0]} px."]
    try:
        given = cast(dict[str, Any], json.loads(declared.read_text(encoding="utf-8")))
        resized = _sides(given.get("size", side or 224))
        cropped = _sides(given.get("crop_size")) if given.get("do_center_crop") and given.get("crop_size") else resized
        normalised = given.get("do_normalize", True)
        statistics = {name: given.get(f"image_{name}") for name in ("mean", "std")} if normalised else {"mean": 0.0, "std": 1.0}
        return Recipe.of(
            {
                "channels": channels,
                "size": cropped,
                "crop": min(1.0, cropped[0] / resized[0]),
                "interpolation": RESAMPLING.get(int(given.get("resample", 2)), "bilinear"),
                **{name: value for name, value in statistics.items() if value is not None},
            }
        ), []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SpecimenError(
            f"'{declared}' cannot be read ({type(error).__name__}: {str(error)[:120]}); give {hint('--recipe', 'recipe=')} yourself."
        ) from error


def _sides(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping):
        table = cast(Mapping[str, Any], size)
        if "height" in table:
            return int(table["height"]), int(table["width"])
        return int(table["shortest_edge"]), int(table["shortest_edge"])
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[-1]))


def folder_labels(folder: Path) -> Labels | None:
    """The names of the outputs that transformers' folder declares; None where they are LABEL_0, LABEL_1, …, which say nothing."""
    table = read_config(folder).get("id2label") or {}
    names = tuple(str(table[key]) for key in sorted(table, key=int))
    return (names, None) if names and not all(name == f"LABEL_{at}" for at, name in enumerate(names)) else None
