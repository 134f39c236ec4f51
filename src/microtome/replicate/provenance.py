"""Where and at which commit a claim was run, and whether its protocol stood in that commit."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

from microtome.hardware import core_count, processor_name
from microtome.replicate.cards import CLAIM_FOLDER, ClaimCard, read_claim

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy")


def git_text(*words: str, folder: Path = CLAIM_FOLDER) -> str | None:
    """What git answers in the repository of `folder`, or None where it does not."""
    try:
        answer = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout if answer.returncode == 0 else None


def head_commit() -> str:
    """The commit that the package's own repository stands at; empty where it is installed elsewhere."""
    known = git_text("ls-files", str(CLAIM_FOLDER / "__init__.py"))
    return (git_text("rev-parse", "HEAD") or "").strip() if known else ""


def card_at(card: ClaimCard, commit: str) -> ClaimCard | None:
    """The claim as its file stood in a commit; None where the commit or the file is not there, or it could not be read."""
    text = git_text("show", f"{commit}:./{card.name}.py")
    if text is None:
        return None
    try:
        return read_claim(text, card.name, card.module, git_text("show", f"{commit}:./{card.name}.toml") or "")
    except (ValueError, SyntaxError):
        return None


def was_fixed(card: ClaimCard, commit: str, preset: str) -> bool:
    """Whether the claim's protocol stood in that commit as it is now."""
    earlier = card_at(card, commit) if commit else None
    return earlier is not None and earlier.digest(preset) == card.digest(preset)


def describe_hardware() -> str:
    """Processor and cores in one line."""
    return f"{processor_name()}, {core_count()} cores"


def package_versions() -> dict[str, str]:
    """The versions of the packages that a number can depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
