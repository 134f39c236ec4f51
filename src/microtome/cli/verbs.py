"""The verbs: analyze, one per analysis, and those that read or show findings."""

import importlib
from collections.abc import Sequence
from typing import Any

import click

from microtome import catalog
from microtome._version import __version__
from microtome.cli import arguments
from microtome.cli.collating import collation_command
from microtome.cli.editing import edit_command
from microtome.cli.experimenting import experiment_command
from microtome.cli.key_table import table
from microtome.cli.measuring import measure, rerun, split_list
from microtome.cli.own_options import own_option
from microtome.cli.replicating import replicate_command
from microtome.cli.taking_home import slim_command
from microtome.cli.training import train_command
from microtome.errors import UnknownName, did_you_mean

QUESTION_TITLES = {"choose": "Choose", "understand": "Understand", "slim": "Slim", "repair": "Repair"}


class Verbs(click.Group):
    """A group that names the nearest verb for a misspelt one, and the analyses after the other verbs."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise UnknownName(
                f"There is no verb '{args[0]}'.{did_you_mean(args[0], self.commands)} See them all: microtome --help"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        measured = {name for name, entry in catalog.analysis_entries().items() if entry.kind != "Collation"}
        for title, names in (
            ("Verbs", [name for name in self.commands if name not in measured]),
            ("Analyses: microtome NAME SPECIMEN [IMAGES]", [name for name in self.commands if name in measured]),
        ):
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(90)) for name in names])


def build_group() -> click.Group:
    """The whole command line."""
    root = Verbs(
        "microtome",
        help="microtome measures vision networks layer by layer: which backbone to choose, what it sees, where to cut it.\n\n"
        "Start with: microtome analyze timm:resnet18 torchvision:vgg11 photos/ --out results",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    click.version_option(__version__, prog_name="microtome")(root)
    for command in (
        analyze_command,
        demo,
        report,
        view,
        list_,
        layers,
        edit_command(),
        slim_command,
        *(collation_command(name, entry) for name, entry in catalog.analysis_entries().items() if entry.kind == "Collation"),
        table,
        rerun,
        train_command,
        experiment_command,
        replicate_command,
        doctor,
    ):
        root.add_command(command)
    for name, entry in catalog.analysis_entries().items():
        if entry.kind != "Collation":
            root.add_command(_extend(_analysis_command(name, entry), entry.command))
    return root


@click.command("analyze")
@click.argument("specimens", nargs=-1, required=True, metavar="SPECIMEN… [IMAGES]")
@click.option("--images", help="Images, if they are not the last argument: a folder, a glob, a file, or scenes:200.")
@click.option("--only", default="", help="Analyses to run, comma-separated; all by default.")
@click.option("--skip", default="", help="Analyses to leave out, comma-separated.")
@click.option("--set", "pairs", multiple=True, metavar="ANALYSIS.OPTION=VALUE", help="Option of one analysis; repeatable.")
@click.option("--config", help="TOML file with one table of options per analysis.")
@click.option(
    "--budget", default="", help="Time for the whole run, for example 2m; what does not fit is made smaller or left out."
)
@click.option("--report/--no-report", "wanted", default=True, help="Write DIR/report.html at the end.")
@arguments.measuring_options
def analyze_command(specimens: Sequence[str], images: str | None, only: str, skip: str, pairs: Sequence[str],
            config: str | None, wanted: bool, **given: Any) -> int:  # fmt: skip
    """Run every applicable analysis on every specimen, compare them, and write the report."""
    names, where = arguments.split_words(specimens, images)
    settings = arguments.parse_settings(pairs, config)
    return measure(names, where, split_list(only), split_list(skip), settings, wanted, given | {"planned": True})


@click.command()
@click.option("--out", default="demo", show_default=True, help="Folder for the findings and the report.")
@click.option("--count", type=click.IntRange(min=32), default=240, show_default=True, help="Number of scenes.")
def demo(out: str, count: int) -> int:
    """Run all analyses on the seven networks of the mini zoo and generated scenes."""
    from microtome import networks

    given: dict[str, Any] = {"out": out, "device": "cpu", "batch": 32, "seed": 0, "title": "The mini zoo on generated scenes"}
    left: dict[str, Any] = {"limit": None, "threads": None, "recipe": (), "state": (), "outputs": ""}
    left |= dict.fromkeys(("labels", "masks", "boxes"), "auto") | dict.fromkeys(("as_json", "quiet"), False) | {"weights": ()}
    all_given = left | given | {"planned": True}
    names = [f"microtome:{name}" for name in networks.NAMES if name.startswith("mini_")]
    return measure(names, f"scenes:{count},seed=2026", [], [], {}, True, all_given)


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--out", help="HTML file to write; DIR/report.html by default.")
@click.option("--title", help="Title of the page.")
def report(folder: str, out: str | None, title: str | None) -> None:
    """Write one self-contained HTML file from a folder of findings."""
    from microtome.report.html import write_report as write

    click.echo(f"Report: {write(folder, out, title)}")


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; a free one by default.")
@click.option("--browser/--no-browser", default=False, help="Open the page in the default browser.")
def view(folder: str, port: int, browser: bool) -> None:
    """Show a folder of findings in the browser, on this machine only."""
    from microtome.app.server import serve

    serve(folder, port=port, open_browser=browser)


@click.command(name="list")
def list_() -> None:
    """List the analyses, by question, with what each needs; then the edits."""
    entries = catalog.analysis_entries().values()
    for question, title in QUESTION_TITLES.items():
        click.echo(click.style(title, bold=True))
        chosen = [entry for entry in entries if entry.question == question]
        for entry in chosen:
            click.echo(f"  {entry.name:<14} needs {entry.needs:<9} {entry.summary}")
        if not chosen:
            click.echo("  (no analysis for this question yet; see the panels of other analyses)")
    click.echo(click.style("Edits: microtome edit SPECIMEN EDIT… --out FILE", bold=True))
    for entry in catalog.edit_entries().values():
        click.echo(f"  {entry.name:<20} {entry.summary}")
    for plugin in catalog.unusable_plugins():
        click.echo(plugin.text)


@click.command()
@click.argument("specimen")
@click.argument("pattern", default="*")
@click.option("--all", "every", is_flag=True, help="List every module, not only those that analyses measure.")
@arguments.opening_options
def layers(specimen: str, pattern: str, every: bool, **given: Any) -> None:
    """List the layers of a specimen in execution order, with shapes.

    PATTERN is a layer name, a glob, or an alias such as blocks. Without --weights the network is built with random weights: layer
    names need no others.
    """
    wanted = given | {"weights": given["weights"] or (() if specimen.endswith(".safetensors") else ("none",))}
    (opened,) = [opener() for opener in arguments.specimen_openers([specimen], wanted)]
    from microtome.cli.tables import layer_table

    click.echo(layer_table(opened, pattern, every))


@click.command()
def doctor() -> None:
    """Show versions, devices and plug-ins, and what does not work here."""
    from microtome.cli.doctor import diagnosis_lines

    for line in diagnosis_lines():
        click.echo(line)


def _extend(command: click.Command, place: str) -> click.Command:
    """The command as the function at `place` ("module:function") changes it; unchanged where there is none."""
    if not place:
        return command
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)(command)


def _analysis_command(name: str, entry: catalog.Entry) -> click.Command:
    """The command of one analysis, made from its catalog entry."""

    def run(specimen: str, images: str | None, wanted: bool, **given: Any) -> int:
        arguments.refuse_images(specimen, [images] if images else [])
        own = {option.name: given.pop(f"own_{option.name}") for option in entry.options}
        settings = {key: value for key, value in own.items() if value is not None}
        return measure([specimen], images, [name], [], {name: settings}, wanted, given)

    command = click.command(
        name=name, short_help=entry.summary, help=f"{entry.summary}\n\n{entry.body}\n\nSource: {entry.source}"
    )(arguments.measuring_options(run))
    command.params.insert(0, click.Argument(["images"], required=False, metavar="[IMAGES]"))
    command.params.insert(0, click.Argument(["specimen"]))
    command.params.append(
        click.Option(["--report/--no-report", "wanted"], default=False, help="Write DIR/report.html at the end.")
    )
    taken = {opt for param in command.params for opt in param.opts}
    for option in entry.options:
        flag = f"--{option.name.replace('_', '-')}"
        flag = f"--{name}-{option.name}" if flag in taken else flag
        command.params.append(own_option(option, flag))
    return command
