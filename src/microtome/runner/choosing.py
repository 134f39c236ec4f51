"""Which analyses a run makes, and with which sizes: by name, by effort, and as the quick effort would."""

from collections.abc import Mapping, Sequence
from typing import Any

from microtome import catalog, options
from microtome.analysis import Analysis, build_analysis
from microtome.errors import MicrotomeError, hint, option_hint
from microtome.workload import EFFORTS, Effort

Settings = Mapping[str, Mapping[str, Any]]


def choose_analyses(
    only: Sequence[str], skip: Sequence[str], settings: Settings, effort: Effort = "standard"
) -> tuple[list[Analysis], list[tuple[str, Exception]], dict[str, str]]:
    """The analyses to make, the most telling first; the plug-ins that cannot be loaded; and what the effort leaves out, with reasons.

    Options that the settings do not name take their values for this effort. What `only` names is made at any effort.

    Raises:
        UnknownName: an analysis or option that does not exist.
        BadOption: an option's value is out of range.
    """
    names = [catalog.analysis_entry(name).name for name in only] if only else list(catalog.analysis_entries())
    left_out = {catalog.analysis_entry(name).name for name in skip}
    for name in settings:
        catalog.analysis_entry(name)
    analyses: list[Analysis] = []
    failed: list[tuple[str, Exception]] = []
    later: dict[str, str] = {}
    for name in (name for name in names if name not in left_out):
        try:
            kind = catalog.analysis_entry(name).load()
            if not only and EFFORTS.index(kind.effort) > EFFORTS.index(effort):
                later[name] = (
                    f"the {effort} effort leaves it out; measure it with {option_hint('effort', kind.effort)}, or "
                    + hint(f"--only {name}", f"only=['{name}']")
                )
                continue
            analyses.append(build_analysis(kind, options.values_for(kind, effort) | dict(settings.get(name, {}))))
        except MicrotomeError:
            raise
        except Exception as error:
            failed.append((name, error))
    return sorted(analyses, key=lambda analysis: analysis.rank), failed, later


def quick_version(analysis: Analysis, settings: Settings) -> Analysis | None:
    """The analysis with the sizes of the quick effort where the user named none; None where it has them already."""
    name = analysis.name()
    quick = options.values_for(type(analysis), "quick")
    smaller = {key: value for key, value in quick.items() if key not in settings.get(name, {})}
    made = build_analysis(type(analysis), analysis.options() | smaller)
    return None if made == analysis else made
