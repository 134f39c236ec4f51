"""Which code belongs to a library, and is therefore known by the library's version alone; everything else is the user's.

A function counts by the file that its code was compiled from, not by the module it says it is from: a decorator, or a function put in
the place of a library's, carries the library's name and the user's code.
"""

import functools
import hashlib
import importlib.metadata
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

# Import name -> name of the package that has the version. Other installed packages count by the contents of their files.
LIBRARIES = {
    "torch": "torch",
    "functorch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "transformers": "transformers",
    "huggingface_hub": "huggingface_hub",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "PIL": "Pillow",
    "jaxtyping": "jaxtyping",
    "beartype": "beartype",
    "matplotlib": "matplotlib",
    "xarray": "xarray",
    "microtome": "microtome",
}
NUMERIC = ("torch", "torchvision", "timm", "transformers", "numpy", "scipy", "scikit-learn", "Pillow")
# Parts of microtome whose code runs inside networks: read like the user's own, since a version stands for many states of them.
READ_PARTS = ("microtome.networks", "microtome.edits")


@functools.cache
def library_versions() -> tuple[tuple[str, str], ...]:
    """The installed libraries whose code makes numbers, with their versions, and Python's own."""
    result: list[tuple[str, str]] = [("python", f"{sys.version_info.major}.{sys.version_info.minor}")]
    for name in NUMERIC:
        try:
            result.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(result)


def is_library_name(module: str) -> bool:
    """Whether a module of that name is a library's or Python's own."""
    top = module.partition(".")[0]
    if top == "microtome":
        return not any(module == part or module.startswith(part + ".") for part in READ_PARTS)
    return top in LIBRARIES or top in sys.stdlib_module_names


def is_installed_name(module: str) -> bool:
    """Whether a module of that name, which is loaded, lies in a folder of installed packages."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return bool(file) and _site_of(Path(cast(str, file))) is not None


@functools.cache
def installed_file_digest(file: str) -> str:
    """A digest over the contents of a file of an installed package; empty for other files, and for those of the libraries above."""
    path = Path(file)
    site = _site_of(path)
    if site is None or is_library_name(_dotted(path, site)) or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def is_library_file(file: str) -> bool:
    """Whether code compiled from this file is an installed package's or Python's own, microtome's networks left out."""
    path = Path(file)
    if not path.is_absolute():  # "<string>", "<eval_with_key>.0": code made while the program runs
        return file.startswith("<frozen ")
    home = Path(__file__).parents[1]
    if path.is_relative_to(home):
        return is_library_name(_dotted(path, home.parent))
    return _site_of(path) is not None or any(path.is_relative_to(folder) for folder in _folders_of_libraries())


def is_library_function(function: FunctionType | CodeType) -> bool:
    """Whether the code of a function is a library's."""
    return is_library_file((function if isinstance(function, CodeType) else function.__code__).co_filename)


def is_library_class(kind: type) -> bool:
    """Whether a class is a library's, or an installed package's."""
    module = str(kind.__module__)
    return is_library_name(module) or (not module.startswith("microtome.") and is_installed_name(module))


def replaced_members(owner: type | ModuleType) -> Iterator[tuple[str, Any]]:
    """The functions of a library's class or module that somebody put there: their code is not the library's."""
    for name, value in sorted(vars(owner).items()):
        bare: Any = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if isinstance(bare, FunctionType) and not is_library_function(bare) and Path(bare.__code__.co_filename).is_absolute():
            yield name, bare
        elif isinstance(bare, property) and isinstance(bare.fget, FunctionType) and not is_library_function(bare.fget):
            if Path(bare.fget.__code__.co_filename).is_absolute():
                yield name, bare.fget


def _site_of(path: Path) -> Path | None:
    """The folder of installed packages that a file lies in."""
    return next((site for site in _site_folders() if path.is_relative_to(site)), None)


def _dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


@functools.cache
def _site_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    result = [
        paths["purelib"],
        paths["platlib"],
        *(path for path in sys.path if path.endswith(("site-packages", "dist-packages"))),
    ]
    return tuple(dict.fromkeys(Path(each) for each in result))


@functools.cache
def _folders_of_libraries() -> tuple[Path, ...]:
    """Folders of Python's own modules, and of libraries that lie outside the site folders (source builds)."""
    paths = sysconfig.get_paths()
    result = [Path(paths["stdlib"]), Path(paths["platstdlib"]), Path(sys.base_prefix) / "lib"]
    for name in LIBRARIES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if name != "microtome" and file and Path(cast(str, file)).name == "__init__.py":
            result.append(Path(file).parent)
    return tuple(dict.fromkeys(result))
