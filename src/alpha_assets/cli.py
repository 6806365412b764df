"""The command line: every verb of the project, without a daemon.

Exit codes: 0 ok, 1 a check that failed or a month that the guard stopped, 2 bad input.
"""

import atexit
import gc
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

import click

import alpha_assets as aa
from alpha_assets.config.folders import (
    PIPELINES,
    VARIABLE,
    pipelines_folder,
    project_folder,
    shipped_folder,
    write_project,
)
from alpha_assets.config.keywords import AUDIT_SESSIONS, CLOCK_SESSIONS, Where
from alpha_assets.config.sizes import SIZE
from alpha_assets.errors import AlphaAssetsError, BadInput, CheckFailed, DegenerateModel
from alpha_assets.printable import printable
from alpha_assets.progress import Progress

if TYPE_CHECKING:
    from alpha_assets.sources.jquants.plans import Plan

# A verb imports what it needs when it is called: `--help` and `sql` load neither torch nor charts.
CELL = 2_000  # characters of one cell of a table
EXIT_FAILED = 1
WORKSPACE = "workspace.yaml"
NARROWEST = 12  # letters to which a column is shortened at most
EXIT_BAD_INPUT = 2
RUN_STARTS = re.compile(r"run \d+ of \d+ starts: (?P<assets>\d+) assets")

Verb = TypeVar("Verb", bound=Callable[..., object])
Value = TypeVar("Value")


class Option(Protocol):
    """Gives a verb an option, and returns the verb."""

    def __call__(self, verb: Verb, /) -> Verb:
        """Return the verb with the option."""


class FolderName(click.ParamType[Path]):
    """The name of a folder; an empty one, as a variable that is not set leaves, names none."""

    name = "folder"

    def convert(
        self, value: Path | str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Return the name as a path."""
        if not str(value).strip():
            self.fail(f"{value!r} names no folder; '.' is this one", param, ctx)
        return Path(value)


class Verbs(click.Group):
    """A group whose verbs turn this package's errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; an error that the user can mend is a message, not a traceback."""
        try:
            return super().invoke(ctx)
        except AlphaAssetsError as error:
            click.echo(f"error: {error}", err=True)
            failed = isinstance(error, CheckFailed | DegenerateModel)
            ctx.exit(EXIT_FAILED if failed else EXIT_BAD_INPUT)
        except MemoryError as error:
            click.echo(
                f"error: out of memory: {error or 'more than this machine has was asked for'}; "
                "decide fewer months at a time (--first-month, --last-month), or give a market or "
                "a universe of fewer symbols",
                err=True,
            )
            ctx.exit(EXIT_BAD_INPUT)


def options(*names: str) -> Option:
    """Return what gives a verb the shared options of these names."""

    def decorate(verb: Verb, /) -> Verb:
        for name in reversed(names):
            verb = SHARED[name](verb)
        return verb

    return decorate


def months(verb: Verb, /) -> Verb:
    """Give a verb the first and the last month to decide."""
    first = click.option("--first-month", metavar="YYYY-MM", help="First month to decide.")
    last = click.option("--last-month", metavar="YYYY-MM", help="Last month to decide.")
    return first(last(verb))


def market_option(default: str, about: str) -> Option:
    """Return the option of a verb that is about a market and no recipe."""
    return click.option("--market", default=default, show_default=True, help=about)


SHARED: Mapping[str, Option] = {
    "recipe": click.option(
        "--recipe",
        default="rolling_transformer",
        show_default=True,
        help="A file of pipelines/recipes, without its ending, or a stored variant of one.",
    ),
    "market": click.option(
        "--market",
        help="A file of pipelines/markets; default: the first market that the recipe lists.",
    ),
    "data": click.option(
        "--data",
        type=FolderName(),
        help="Read raw rows from this folder, with the market's other settings.",
    ),
    "storage": click.option(
        "--storage",
        envvar="ALPHA_STORAGE",
        default="storage",
        show_default=True,
        help="Where outputs lie: a folder or a URL.",
    ),
    "months": months,
    "set": click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Override a value of the recipe: a variant of it; or with market.… of the market.",
    ),
    "size": click.option(
        "--size", help="One of the recipe's [sizes], such as small: a variant of it."
    ),
    "device": click.option(
        "--device",
        default="auto",
        show_default=True,
        help="cpu, cuda, or auto: CUDA where there is one.",
    ),
    "workers": click.option(
        "--workers",
        envvar="ALPHA_WORKERS",
        default="auto",
        show_default=True,
        metavar="N|auto|ray",
        help="Processes that train side by side; auto: one for each core or GPU; ray: a cluster.",
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="Print JSON only."),
}


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(aa.__version__, prog_name="alpha-assets")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def main(verbose: bool) -> None:
    """From raw market feeds to a cost-aware backtest that cannot see the future."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


@main.command()
@click.argument("folder", type=FolderName())
def init(folder: Path) -> None:
    """Write a project folder of your own: markets, recipes, and the files for Dagster."""
    written = write_project(folder.expanduser().absolute())
    click.echo(f"{len(written)} files in {folder}; from there, and from any folder below it:")
    click.echo(f"  cd {shlex.quote(str(folder))}\n  alpha-assets recipes\n  alpha-assets run")
    click.echo(
        f"from elsewhere: export {VARIABLE}={shlex.quote(str(folder.absolute() / PIPELINES))}"
    )


@main.command()
@click.argument("name", required=False)
@options("json")
def markets(name: str | None, as_json: bool) -> None:
    """List the markets, or print one with every default filled in."""
    with importing():
        from alpha_assets.config import listing

    if name is None:
        show(listing.markets(), as_json, render=table)
    else:
        show_toml(listing.market_toml(name), as_json)


@main.command()
@click.argument("name", required=False)
@options("json", "size")
@click.option("--market", help="On which the recipe is printed; default: its home.")
def recipes(name: str | None, market: str | None, size: str | None, as_json: bool) -> None:
    """List the recipes, or print one with every default filled in."""
    with importing():
        from alpha_assets.config import listing

    if name is None:
        show(listing.recipes(), as_json, render=table)
    else:
        overrides = [] if size is None else [f"{SIZE}={size}"]
        show_toml(listing.recipe_toml(name, market=market, overrides=overrides), as_json)


@main.command()
@market_option("sim", "Whose features: one that it cannot have says why.")
@options("json")
def features(market: str, as_json: bool) -> None:
    """List the catalogue of features: what each means, needs and comes from."""
    with importing():
        from alpha_assets.config import listing

    found = listing.catalog(market)
    shown = ("feature", "family", "scope", "unit", "meaning")
    show(found, as_json, render=lambda rows: table([{n: r[n] for n in shown} for r in rows]))


@main.command()
@options(
    "recipe", "market", "data", "storage", "months", "set", "size", "device", "workers", "json"
)
def run(
    recipe: str,
    first_month: str | None,
    last_month: str | None,
    workers: str,
    as_json: bool,
    **where: Unpack[Where],
) -> None:
    """Run every stage that is missing or stale; months are trained side by side."""
    project = opened(recipe, **where)
    show(project.run(first_month, last_month, workers=workers), as_json, render=results)


@main.command()
@options("recipe", "market", "data", "storage", "set", "size", "device", "json")
@click.option("--asof", metavar="YYYY-MM-DD", help="Session to decide; default: the next one.")
@click.option(
    "--train", is_flag=True, help="Make the month's checkpoint, and earlier targets, if missing."
)
def predict(
    recipe: str, asof: str | None, train: bool, as_json: bool, **where: Unpack[Where]
) -> None:
    """Score one session from its month's checkpoint, and say what to hold."""
    show(opened(recipe, **where).predict(asof, train=train), as_json, render=prediction)


@main.command()
@options("recipe", "market", "data", "storage", "set", "size", "json")
@click.option("--verify", is_flag=True, help="Hash every stored byte; takes a while.")
def status(recipe: str, verify: bool, as_json: bool, **where: Unpack[Where]) -> None:
    """List what is there, what is missing, and what is stale and why."""
    show(opened(recipe, **where).status(verify=verify), as_json, render=table)


@main.command()
@click.argument("stages", nargs=-1, metavar="[STAGE]...")
@options("recipe", "market", "data", "storage", "set", "size", "device", "json")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of the random months of a sample.",
)
def restamp(
    recipe: str, stages: tuple[str, ...], seed: int, as_json: bool, **where: Unpack[Where]
) -> None:
    """Take over what only the code made stale, if a sample of it comes out the same."""
    outcome = opened(recipe, **where).restamp(stages, seed=seed)
    show(outcome, as_json, render=restamped)
    if outcome["refused"] is not None:
        sys.exit(EXIT_FAILED)


@main.command()
@options("recipe", "market", "data", "storage", "set", "size", "json")
def report(recipe: str, as_json: bool, **where: Unpack[Where]) -> None:
    """Make the tear sheet again from the stored backtest."""
    show(opened(recipe, **where).report(), as_json, render=results)


@main.command()
@options("recipe", "market", "data", "storage", "set", "size", "device", "workers", "json")
def study(recipe: str, workers: str, as_json: bool, **where: Unpack[Where]) -> None:
    """Train and judge the folds of the recipe's [study], for evaluation alone."""
    show(opened(recipe, **where).study(workers=workers), as_json, render=studied)


@main.command("results")
@options("recipe", "market", "data", "storage", "set", "size", "json")
def stored_results(recipe: str, as_json: bool, **where: Unpack[Where]) -> None:
    """Print the figures of the stored backtest, refused where it is stale."""
    show(opened(recipe, **where).results(), as_json, render=results)


@main.command()
@click.argument("recipe")
@click.argument("others", nargs=-1, required=True, metavar="RECIPE...")
@options("market", "data", "storage", "set", "json")
def compare(recipe: str, others: tuple[str, ...], as_json: bool, **where: Unpack[Where]) -> None:
    """Compare stored results of recipes and variants with the first, on common sessions."""
    where["progress"] = progress
    found = aa.compare(recipe, *others, **where)
    show(found, as_json, render=compared)


@main.command()
@options("recipe", "market", "storage", "set", "size", "device", "json")
@click.option(
    "--off",
    multiple=True,
    metavar="COMPONENT",
    help="Run the recipe again on the rig without this component; may be repeated.",
)
def components(recipe: str, off: tuple[str, ...], as_json: bool, **where: Unpack[Where]) -> None:
    """Correlate stored scores with each planted component of a rig, also with it switched off."""
    show(
        opened(recipe, **where).components(*off),
        as_json,
        render=lambda shown: f"{shown['title']}\n\n{table(shown['rows'])}",
    )


@main.command()
@options("recipe", "market", "data", "storage", "months", "set", "size", "device", "json")
def importance(
    recipe: str,
    first_month: str | None,
    last_month: str | None,
    as_json: bool,
    **where: Unpack[Where],
) -> None:
    """Measure what each family of features is worth to the stored models, on validation alone."""
    show(
        opened(recipe, **where).importance(first_month, last_month),
        as_json,
        render=lambda shown: f"{shown['title']}\n\n{table(shown['rows'])}",
    )


@main.command()
@options("recipe", "market", "data", "storage", "months", "set", "size", "device", "json")
@click.option(
    "--cuts",
    default=2,
    show_default=True,
    type=click.IntRange(0),
    help="Random cut sessions beside the first and last of each decided month.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of the cuts and the noise.",
)
@click.option("--vintage", is_flag=True, help="Also restate the past as a vendor would.")
@click.option(
    "--sessions",
    default=AUDIT_SESSIONS,
    show_default=True,
    type=click.IntRange(0),
    help="Sessions, spread over the calendar, at which the cheap stages are cut; 0: none.",
)
@click.option(
    "--clock",
    default=CLOCK_SESSIONS,
    show_default=True,
    type=click.IntRange(0),
    metavar="SESSIONS",
    help="Last sessions on which each feed's publication clock is tried; 0: none.",
)
def audit(
    recipe: str,
    first_month: str | None,
    last_month: str | None,
    cuts: int,
    seed: int,
    vintage: bool,
    sessions: int,
    clock: int,
    as_json: bool,
    **where: Unpack[Where],
) -> None:
    """Prove that nothing decided at a session changes with what came after it."""
    certificate = opened(recipe, **where).audit(
        first_month,
        last_month,
        cuts=cuts,
        seed=seed,
        vintage=vintage,
        sessions=sessions,
        clock=clock,
    )
    show(certificate, as_json, render=lambda shown: str(shown["text"]))
    if not certificate["passed"]:
        sys.exit(EXIT_FAILED)


@main.command()
@click.argument("symbol")
@click.argument("session", metavar="YYYY-MM-DD")
@options("recipe", "market", "data", "storage", "set", "size", "device", "json")
@click.option("--brief", is_flag=True, help="Leave the tables of other symbols out of the JSON.")
def why(
    symbol: str, session: str, recipe: str, brief: bool, as_json: bool, **where: Unpack[Where]
) -> None:
    """Show all that one prediction was made from: raw rows, panel, features, score, target."""
    from alpha_assets.audit.render import as_text

    show(opened(recipe, **where).why(symbol, session, brief=brief), as_json, render=as_text)


@main.command("import-check")
@click.argument("folder", type=FolderName())
@market_option("us", "Whose calendar, column names and own feeds the folder is read with.")
@options("json")
def import_check(folder: Path, market: str, as_json: bool) -> None:
    """Read a folder of feeds and report every problem at once."""
    found = aa.import_check(folder, market=market, progress=progress)
    show(found, as_json, render=lambda shown: str(shown["text"]))
    if found["errors"]:
        sys.exit(EXIT_BAD_INPUT)


@main.command("serve-sim-jquants")
@market_option("sim", "The simulated market to serve.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="0: any free."
)
@click.option(
    "--now", metavar="INSTANT", help="Simulated instant; default: after the last session."
)
@click.option("--key", "keys", multiple=True, metavar="KEY:PLAN", help="An accepted key.")
@click.option(
    "--page-size", default=1_000, show_default=True, type=click.IntRange(1), help="Rows of a page."
)
@click.option(
    "--fault", "faults", multiple=True, metavar="KIND:TIMES:AFTER@PATH", help="What goes wrong."
)
def serve_sim_jquants(
    market: str,
    host: str,
    port: int,
    now: str | None,
    keys: tuple[str, ...],
    page_size: int,
    faults: tuple[str, ...],
) -> None:
    """Serve a simulated market in the shape of the J-Quants API, until Ctrl-C."""
    from alpha_assets.config.market import load_market
    from alpha_assets.project import sim_jquants_server
    from alpha_assets.sources.sim_jquants import serve

    server = sim_jquants_server(
        market, host=host, port=port, now=now, keys=keys, page_size=page_size, faults=faults
    )
    spec = load_market(market).spec.sim
    key, account = next(iter(server.exchange.accounts.items()))
    last = min(spec.last, server.exchange.now().date())
    serve(server, lambda url: click.echo(serving(url, key, account.plan, spec.first, last)))
    click.echo("stopped", err=True)


def serving(url: str, key: str, plan: "Plan", first: date, last: date) -> str:
    """Return what to set so that the Japanese market reads a local server."""
    from alpha_assets.sources.jquants.plans import TERMS

    pace = TERMS[plan].ask_per_minute
    return (
        f"serving {url}\n"
        f"export JQUANTS_API_KEY={key}\n"
        "export ALPHA_STORAGE=storage-sim-jquants  # apart from what real rows gave\n"
        f"# at most {pace} requests a minute on the plan {plan}: a later first day waits less\n"
        f"alpha-assets run --market jp --set market.source.base_url={url} "
        f"--set market.source.plan={plan} --set market.source.first={first} "
        f"--set market.source.last={last}"
    )


@main.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--market", help="Only this one; default: all.")
@click.option("--replace", is_flag=True, help="Also what TO holds with other content.")
@click.option("--verify", is_flag=True, help="Hash also what TO holds already; takes a while.")
@options("json")
def copy_storage(
    source: str, target: str, market: str | None, replace: bool, verify: bool, as_json: bool
) -> None:
    """Copy a storage, FROM a folder or a URL TO another; a copy that was stopped goes on."""
    copied = aa.copy(
        source, target, market=market, replace=replace, verify=verify, progress=progress
    )
    show(copied, as_json, render=lambda shown: table([shown]))


@main.command()
@click.argument("query")
@market_option("sim", "Whose tables.")
@options("storage", "json")
def sql(query: str, market: str, storage: str, as_json: bool) -> None:
    """Ask the stored tables a question in SQL: panel, features, raw_daily_bars and more."""
    from alpha_assets.store.sql import ask
    from alpha_assets.store.store import Store

    show(ask(Store(storage).checked(), market, query), as_json, render=table)


@main.command()
@options("storage")
def demo(storage: str) -> None:
    """Materialise every stage on the simulated market through Dagster: six months decided."""
    command = [sys.executable, "-W", "ignore", "-m", "alpha_assets.defs.demo"]
    environment = {"ALPHA_WORKERS": "auto", **demo_environment(storage)}
    progress("dagster", "Dagster and the market load first")
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None, "it was asked for"
        log = follow(running.stderr, progress)
        assert running.stdout is not None, "it was asked for"
        shown = running.stdout.read()
    if running.returncode == EXIT_BAD_INPUT:
        raise BadInput(log.strip().rpartition("\n")[2])
    if running.returncode:
        click.echo(log, err=True)
        raise CheckFailed("a stage of the demo failed; Dagster's log is above")
    show(json.loads(shown), False, render=results)


@main.command()
@options("storage")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535))
def ui(storage: str, port: int) -> None:
    """Serve Dagster's web UI over your markets and recipes on 127.0.0.1, until Ctrl-C."""
    _ = pipelines_folder()  # refused by name before Dagster starts
    workspace = (project_folder() or shipped_folder()) / WORKSPACE
    if not workspace.is_file():
        workspace = shipped_folder() / WORKSPACE
    started = [sys.executable, "-W", "ignore", "-m", "alpha_assets.defs.launch"]
    command = [*started, "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
    environment = demo_environment(storage)
    progress("ui", f"http://127.0.0.1:{port} answers in a moment; Ctrl-C ends it")
    # Dagster takes the place of this process, so that signals reach it and nothing else.
    os.execve(sys.executable, command, environment)


def follow(lines: Iterable[str], report: Progress) -> str:
    """Report what Dagster runs log: our own lines as they come, and how many assets are done.

    Assets take between a second and minutes, so neither a rate nor a time left is given.

    Args:
        lines: the log of `defs.demo`: a line for each run that starts, and Dagster's.
        report: where lines of progress go.

    Returns:
        The whole log.
    """
    made, assets, log = set[str](), 0, []
    for line in lines:
        log.append(line)
        if started := RUN_STARTS.fullmatch(line.strip()):
            report("dagster", line.strip())
            made, assets = set(), int(started["assets"])
        _, is_ours, words = line.partition(" - INFO - ")
        stage, is_progress, what = words.rpartition(" - ")[2].strip().partition(": ")
        if is_ours and is_progress:
            report(stage, what)
        asset = line.rpartition(" - ")[2]
        if " - ASSET_MATERIALIZATION - " in line and asset not in made:  # once for each month
            made.add(asset)
            report("dagster", f"assets: {len(made)} of {assets}")
    return "".join(log)


def demo_environment(storage: str) -> dict[str, str]:
    """Return the environment of the Dagster processes: a home of their own unless one is set."""
    from alpha_assets.store.location import check_root, is_object_store, shown, storage_root
    from alpha_assets.store.os_errors import disk_errors

    if is_object_store(storage):
        raise BadInput(
            f"storage = {shown(storage)!r}: demo and ui keep Dagster's database beside the "
            f"outputs, and want a folder; `alpha-assets copy FOLDER {shown(storage)}` "
            "takes the outputs there"
        )
    check_root(storage)
    root = storage_root(storage)
    home = root / "_dagster"
    with disk_errors(home, "write"):
        home.mkdir(parents=True, exist_ok=True)
        if "DAGSTER_HOME" not in os.environ and not (home / "dagster.yaml").exists():
            # Without its own file an instance has neither our limits nor telemetry switched off.
            shutil.copyfile(shipped_folder() / "dagster.yaml", home / "dagster.yaml")
    environment = {"DAGSTER_HOME": str(home), "ALPHA_DAGSTER_DIR": str(home), **os.environ}
    # Dagster leaves the working directory, so the project that lies there is named.
    named = {VARIABLE: str(pipelines_folder().absolute()), "ALPHA_STORAGE": str(root)}
    named["DAGSTER_DISABLE_TELEMETRY"] = "yes"  # also where a DAGSTER_HOME has no dagster.yaml
    return {**environment, **named}


def progress(stage: str, what: str) -> None:
    """Write a line of progress where it does not mix with the result."""
    click.echo(f"{stage:>14}  {what}", err=True)


def opened(recipe: str, **where: Unpack[Where]) -> "aa.Project":
    """Return the project that the options of a verb name; its progress is lines on stderr."""
    where["progress"] = progress
    with importing():
        found = aa.open
    return found(recipe, **where)


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage in modules that are loaded here: they make none, and stay for good.

    Looking, at the end of the process above all, is a quarter of what a verb waits for otherwise.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(_cleared_at_the_end)


def _cleared_at_the_end() -> None:
    """Let DuckDB be cleared away where it was loaded: it complains of what is left of it."""
    if "duckdb" in sys.modules:
        gc.unfreeze()


def show(value: Value, as_json: bool, render: Callable[[Value], str]) -> None:
    """Print a result, for a program or for a person."""
    click.echo(json.dumps(value, indent=2, default=str) if as_json else render(value))


def show_toml(text: str, as_json: bool) -> None:
    """Print a declaration as TOML, or as JSON for a program."""
    click.echo(
        json.dumps(tomllib.loads(text), indent=2, default=str) if as_json else text, nl=as_json
    )


def screen_width() -> int | None:
    """Return the columns of the terminal that reads the output; None for a file or a program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as an aligned table; on a narrow terminal its widest columns are shortened."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    shown = [["" if row[n] is None else str(row[n]) for n in names] for row in rows]
    # What comes from a file is shown, never printed as it is: it may hold terminal escapes.
    cells = [[printable(cell, CELL) for cell in line] for line in [names, *shown]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    limit = screen_width()
    while limit and sum(widths) + 2 * len(widths) - 2 > limit and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    cells = [
        [c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(line, widths, strict=True)]
        for line in cells
    ]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def restamped(shown: Mapping[str, Any]) -> str:
    """Return what became of each stage, and below it, whole, why outputs were left or refused."""
    rows = [{n: v for n, v in row.items() if n != "why"} for row in shown["rows"]]
    reasons = [f"{row['stage']}: {row['why']}" for row in shown["rows"] if row["why"]]
    return "\n".join([table(rows), *([""] if reasons else []), *reasons])


def results(shown: Mapping[str, Any]) -> str:
    """Return the short table of a run."""
    wide = max([33, *map(len, shown["figures"])]) + 1
    figures = "\n".join(f"{name:<{wide}}{value:>22}" for name, value in shown["figures"].items())
    text = f"{shown['title']}\n\n{figures}\n\ntear sheet: {shown['report']}"
    return f"{text}\n\n{studied(shown['study'])}" if "study" in shown else text


def studied(shown: Mapping[str, Any]) -> str:
    """Return the folds of a study: rank IC with its interval, and the sessions of each span."""
    rows = []
    for row in shown["rows"]:
        low, high = (_figure(row[f"rank_ic_{end}"], 4) for end in ("low", "high"))
        shares = ("judged", "train", "valid", "test", "purged")
        rows.append(
            {
                "fold": row["fold"],
                "horizon": row["horizon"],
                "rank IC": _figure(row["rank_ic"], 4),
                "95 % interval": "–" if row["rank_ic_low"] is None else f"[{low}, {high}]",
                **{name: row[f"{name}_sessions"] for name in shares},
            }
        )
    return f"{shown['title']}\n\n{table(rows)}"


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def compared(shown: Mapping[str, Any]) -> str:
    """Return the figures of recipes, the differences from the first, and below them, whole, notes.

    Why an interval is missing stands below the tables too, so that no column is shortened by it.
    """
    first = shown["figures"][0]["recipe"]
    tables = f"{table(shown['figures'])}\n\nless {first}:\n\n{table(shown['differences'])}"
    return "\n".join(
        [shown["title"], "", tables, *([""] if shown["notes"] else []), *shown["notes"]]
    )


def prediction(shown: Mapping[str, Any]) -> str:
    """Return the scores and targets of one session, to four decimals."""
    rows = [
        {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in row.items()}
        for row in shown["rows"]
    ]
    notes = "".join(f"{note}\n" for note in shown["notes"])
    return f"{shown['title']}\n{notes}\n{table(rows)}"


if __name__ == "__main__":
    main()
