"""``data``: from raw archives to a prepared, balanced dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from fer_core.cli.console import (
    DetachOption,
    JsonOption,
    absolute_source,
    note,
    print_json,
    progress_bar,
    start_detached,
)
from fer_core.cli.decide import decide
from fer_core.data.config import (
    MAX_TARGET,
    AugmentConfig,
    BalanceConfig,
    Policy,
    PrepareConfig,
    Recipe,
    Validation,
    default_recipe,
)
from fer_core.emotions import EMOTIONS, parse_emotion
from fer_core.errors import ConfigError, DatasetError, SourceError
from fer_core.jobs.worker import work
from fer_core.workspace import Workspace, expand

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset
    from fer_core.data.info import Audit, Counts, FindingCount, Quarantined
    from fer_core.data.labels import LabelMap

app = typer.Typer(help="Prepare, balance, audit, decide about and export datasets.", no_args_is_help=True)
app.command()(decide)

SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...", help="Folder, .zip or FER2013 CSV, optionally name=PATH. None is needed with --add-to."
    ),
]
OutOption = Annotated[
    str,
    typer.Option("--out", metavar="DATASET", help="A name in the workspace, or a path. It must not exist yet."),
]
MapOption = Annotated[
    Path | None,
    typer.Option(
        "--map",
        metavar="FILE",
        help="YAML of what labels mean that are none of the seven: lines like `contempt: drop` or `1: surprise`, for "
        "all sources or under a source's name.",
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label", metavar="LABEL=CLASS", help="One such line: contempt=drop, 1=surprise. As often as needed."
    ),
]
LISTED = 10
"""Entries that cannot be used, listed one by one."""
DATASET_HELP = "A name in the workspace, or a path."


@app.command("prepare")
def prepare_command(
    context: typer.Context,
    out: OutOption,
    sources: SourcesArgument = None,
    add_to: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Also take the sources of this dataset, and those of its settings that are not given here.",
        ),
    ] = None,
    policy: Annotated[Policy, typer.Option(help=PrepareConfig.model_fields["policy"].description)] = Policy.LEAK_FREE,
    val_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.9, help=PrepareConfig.model_fields["val_fraction"].description)
    ] = 0.25,
    validation: Annotated[
        Validation, typer.Option(help=PrepareConfig.model_fields["validation"].description)
    ] = Validation.DRAWN,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV of what was decided about single pictures, as `data decide` and the Data page write it.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help=PrepareConfig.model_fields["seed"].description)] = 42,
    balance_too: Annotated[
        bool, typer.Option("--balance", help="Balance train too, by the recipe that fits the policy.")
    ] = False,
    size: Annotated[int, typer.Option(min=16, max=512, help=PrepareConfig.model_fields["size"].description)] = 48,
    color: Annotated[bool, typer.Option("--color", help=PrepareConfig.model_fields["color"].description)] = False,
    map_file: MapOption = None,
    label: LabelOption = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn sources into one dataset: read, merge, audit, split."""
    from fer_core.data.dataset import Dataset, check_free
    from fer_core.data.decisions import PENDING, Pending, read_decisions
    from fer_core.data.prepare import prepare
    from fer_core.data.sources import check_specs

    started = time.monotonic()
    space = Workspace.default()
    folder = space.new_dataset(out)
    found = [absolute_source(source) for source in sources or []]
    if not found and not add_to:
        raise SourceError("Nothing to prepare: name at least one source, a folder, a .zip or a FER2013 CSV.")
    config = PrepareConfig(
        policy=policy,
        val_fraction=val_fraction,
        validation=validation,
        decisions=read_decisions(expand(str(decisions))) if decisions else [],
        seed=seed,
        size=size,
        color=color,
        labels=_labels(map_file, label or []),
        balance=BalanceConfig(recipe=default_recipe(policy), seed=seed) if balance_too else None,
    )
    if decisions and detach and decisions.name == PENDING:
        decisions = Pending(expand(str(decisions)).absolute().parent).frozen()
    argv = ["data", "prepare", *found, "--out", str(folder)]
    if add_to:
        base = Dataset.open(space.dataset(add_to))
        argv += ["--add-to", str(base.folder)]
        found = [*_sources_of(base, found), *found]
        config = _settings_of(base, config, context)
    # All that is wrong with the call comes before a name that is taken, and before a job is made.
    check_specs(found, config.labels)
    check_free(folder)
    for name in ("policy", "val_fraction", "validation", "seed", "size"):
        if not add_to or _is_given(context, name):
            argv += [f"--{name.replace('_', '-')}", str(context.params[name])]
    argv += ["--balance"] * balance_too + ["--color"] * color
    for option, file in (("--map", map_file), ("--decisions", decisions)):
        argv += [option, str(expand(str(file)).absolute())] if file else []
    argv += [part for word in label or [] for part in ("--label", word)]
    name = space.new_name(space.jobs, f"prepare-{folder.name}")
    if detach:
        start_detached(space, "prepare", name, argv, as_json)
        return
    with progress_bar() as bar, work(space.jobs, "prepare", name, argv, listener=bar) as worker:
        dataset = prepare(found, folder, config, worker)
        worker.say(_made(dataset), dataset=str(dataset.folder), counts=dataset.counts())
    _report(dataset, started, as_json)


@app.command("balance")
def balance_command(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help=DATASET_HELP)],
    out: OutOption,
    recipe: Annotated[
        Recipe | None,
        typer.Option(
            help="even: every class up to the median class; published: 1,200 disgust, "
            "7,000 others, at most 9,000; "
            "none: only the targets given here. Default: published for as-published datasets, else even."
        ),
    ] = None,
    target: Annotated[
        int | None, typer.Option(min=1, max=MAX_TARGET, help=BalanceConfig.model_fields["target"].description)
    ] = None,
    cap: Annotated[
        int | None, typer.Option(min=1, max=MAX_TARGET, help=BalanceConfig.model_fields["cap"].description)
    ] = None,
    target_of: Annotated[
        list[str] | None, typer.Option(metavar="EMOTION=N", help="Target of one class; may be repeated.")
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRENGTH=X",
            help=f"A strength of augmentation that is not the usual one, as rotation=20 or flip=0; may be repeated. "
            f"The usual ones: {', '.join(f'{name}={value:g}' for name, value in AugmentConfig())}.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help=BalanceConfig.model_fields["seed"].description)] = 42,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a second dataset whose train split is balanced by augmentation.

    Class weights do without copies: train on DATASET itself with --set phases.0.class_weights=inverse, and the same for
    each further phase of the preset.
    """
    from fer_core.data.balance import balance, planned
    from fer_core.data.dataset import Dataset, check_free

    started = time.monotonic()
    space = Workspace.default()
    folder = space.new_dataset(out)
    parent = Dataset.open(space.dataset(dataset))
    parent.check_trainable()
    parent.check()
    chosen = recipe or default_recipe(parent.info.config.get("policy"))
    config = BalanceConfig(
        recipe=chosen,
        target=target,
        cap=cap,
        target_of=_targets(target_of or []),
        augment=_strengths(augment or []),
        seed=seed,
    )
    # Both say what is wrong before a job is made.
    config.augment.check(parent.info.channels)
    planned(parent, config)
    check_free(folder)
    if parent.info.channels == 1 and "hue" in config.augment.changed():
        note(f"{parent.name} is gray: hue changes nothing there.")
    argv = ["data", "balance", str(parent.folder), "--out", str(folder), *config.options()]
    name = space.new_name(space.jobs, f"balance-{folder.name}")
    if detach:
        start_detached(space, "balance", name, argv, as_json)
        return
    with progress_bar() as bar, work(space.jobs, "balance", name, argv, listener=bar) as worker:
        made = balance(parent, folder, config, worker)
        worker.say(_made(made), dataset=str(made.folder), counts=made.counts())
    _report(made, started, as_json)


@app.command("audit")
def audit_command(
    what: Annotated[
        list[str], typer.Argument(metavar="SOURCE...|DATASET", help="Sources as for prepare, or one dataset.")
    ],
    findings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write every finding, with its images, to this CSV. It must not exist."),
    ] = None,
    map_file: MapOption = None,
    label: LabelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find copies, conflicting labels, blanks and imbalance, without making anything."""
    from fer_core.data.audit import audit_dataset, audit_sources
    from fer_core.data.findings import write_findings

    started = time.monotonic()
    if findings and findings.exists():
        raise SourceError(f"{findings} exists already. Choose another name, or remove it first.")
    with progress_bar() as bar:
        dataset = _dataset(what)
        if dataset is not None:
            dataset.check()
            audited = audit_dataset(dataset, bar)
        else:
            audited = audit_sources(what, (48, 48), 1, bar, _labels(map_file, label or []))
        if findings:
            write_findings(findings, audited.findings, audited.table)
    found = audited.findings.counts()
    _print(audited.counts, audited.audit, found, audited.left_out, time.monotonic() - started, as_json)
    if findings:
        note(f"Wrote {sum(entry.findings for entry in found):,} findings to {findings}")


@app.command("fetch")
def fetch_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="fer2013 or emotion-detection-fer.")],
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Download one of the two Kaggle data sets (needs `pip install -r requirements-kaggle.txt`)."""
    from fer_core.data.fetch import HANDLES, fetch

    space = Workspace.default()
    if name not in HANDLES:
        raise SourceError(f"No data set named {name!r} to fetch. There are {', '.join(HANDLES)}.")
    argv = ["data", "fetch", name]
    job = space.new_name(space.jobs, f"fetch-{name}")
    if detach:
        start_detached(space, "fetch", job, argv, as_json)
        return
    with progress_bar() as bar, work(space.jobs, "fetch", job, argv, listener=bar) as worker:
        folder = fetch(name, space.sources, worker)
        worker.say(f"{name} is in {folder}.", source=str(folder))
    if as_json:
        print_json({"name": name, "source": f"{name}={folder}"})
    else:
        typer.echo(f"{name}={folder}")


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the two archives go.")],
    seed: Annotated[int, typer.Option(min=0, help="Decides the faces.")] = 42,
    as_json: JsonOption = False,
) -> None:
    """Draw a small set of faces in both Kaggle layouts, with the imbalance and copies of the real ones."""
    from fer_core.data.demo import draw_demo

    with progress_bar() as bar:
        made = draw_demo(out, seed=seed, progress=bar)
    if as_json:
        print_json([str(path) for path in made])
    else:
        for path in made:
            typer.echo(path)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _sources_of(base: Dataset, added: list[str]) -> list[str]:
    """The sources that a dataset was made from.

    Raises:
        SourceError: One of them is added a second time.
    """
    from fer_core.data.prepare import sources_of

    kept = sources_of(base)
    paths = {word.partition("=")[2] for word in kept}
    for word in added:
        if word.partition("=")[2] in paths:
            raise SourceError(f"{word.partition('=')[2]}: {base.name} has this source already. Add another.")
    return kept


def _settings_of(base: Dataset, here: PrepareConfig, context: typer.Context) -> PrepareConfig:
    """A dataset's settings, with those given here in their place; labels and decisions, its and ours, hold together."""
    stored = PrepareConfig.of_dataset(base.info.config)
    options = {"balance": "balance_too"}
    given = [name for name in PrepareConfig.model_fields if _is_given(context, options.get(name, name))]
    changes = {name: getattr(here, name) for name in given}
    together = {"labels": stored.labels | here.labels, "decisions": [*stored.decisions, *here.decisions]}
    return stored.model_copy(update={**changes, **together})


def _labels(file: Path | None, words: list[str]) -> LabelMap:
    from fer_core.data.labels import parse_label, read_label_map

    labels = read_label_map(expand(str(file))) if file else {}
    return labels | dict(map(parse_label, words))


def _targets(words: list[str]) -> dict[str, int]:
    targets = {}
    for word in words:
        name, _, number = word.partition("=")
        emotion = parse_emotion(name)
        try:
            wanted = int(number)  # also fails beyond 4,300 digits
        except ValueError:
            wanted = 0
        if emotion is None or not 1 <= wanted <= MAX_TARGET:
            raise ConfigError(
                f"--target-of {word}: expected EMOTION=N with one of {', '.join(EMOTIONS)} "
                f"and N from 1 to {MAX_TARGET:,}."
            )
        targets[emotion] = wanted
    return targets


def _strengths(words: list[str]) -> AugmentConfig:
    strengths: dict[str, str] = {}
    for word in words:
        name, _, value = (part.strip() for part in word.partition("="))
        try:
            AugmentConfig.model_validate({name: value})
            known = name in AugmentConfig.model_fields
        except ValidationError:
            known = False
        if not known:
            ranges = ", ".join(f"{field} (0 to {AugmentConfig.largest(field):g})" for field, _ in AugmentConfig())
            raise ConfigError(f"--augment {word}: expected STRENGTH=X with one of {ranges}.")
        strengths[name] = value
    return AugmentConfig.model_validate(strengths)


def _dataset(what: list[str]) -> Dataset | None:
    """The prepared dataset that a single argument names, if it names one."""
    from fer_core.data.dataset import Dataset

    if len(what) != 1:
        return None
    try:
        folder = Workspace.default().dataset(what[0])
    except DatasetError:
        if not expand(what[0]).exists() and "=" not in what[0]:
            raise SourceError(
                f"{what[0]}: neither a prepared dataset nor a file or folder. Check the name or path."
            ) from None
        return None
    return Dataset.open(folder)


def _made(dataset: Dataset) -> str:
    counts = dataset.counts()
    sizes = ", ".join(f"{sum(counts[split].values()):,} {split}" for split in counts)
    return f"{dataset.name}: {sizes}."


def _report(dataset: Dataset, started: float, as_json: bool) -> None:
    info = dataset.info
    _print(info.counts, info.audit, info.findings, info.quarantined, time.monotonic() - started, as_json)
    if as_json:
        return
    for change in info.removed:
        typer.echo(f"{change.step:10} {change.split:11} {-change.n:+8,}  {change.why}")
    if made_of := info.config.get("decisions"):
        typer.echo(f"Decisions replayed: {len(made_of) - info.unmatched_decisions:,} of {len(made_of):,}.")
    if info.unmatched_decisions:
        note(f"The other {info.unmatched_decisions:,}: about pictures that are not in these sources.")
    if info.before_balancing() == info.final():
        note("Balancing changed nothing: no class was below its target or above the cap.")
    if info.contaminated:
        note("Contaminated: evaluation photographs are in train. Training on it needs --allow-leaks.")
    typer.echo(f"Wrote {dataset.folder}")


def _note_left_out(entries: list[Quarantined]) -> None:
    """What was not understood or cannot be read; whole folders come last in a source's list, and matter most."""
    if not entries:
        return
    note(f"{len(entries):,} {'entry is' if len(entries) == 1 else 'entries are'} left out:")
    ordered = sorted(entries, key=lambda entry: not entry.path.endswith("/"))
    for entry in ordered[:LISTED]:
        note(f"  {entry.path}: {entry.reason}")
    if len(entries) > LISTED:
        note(f"  and {len(entries) - LISTED:,} more; --json lists all.")


def _print(
    counts: dict[str, Counts],
    audit: Audit,
    findings: list[FindingCount],
    left_out: list[Quarantined],
    seconds: float,
    as_json: bool,
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "counts": counts,
            "audit": audit.model_dump(),
            "findings": [entry.model_dump() for entry in findings],
            "left_out": [entry.model_dump() for entry in left_out],
            "seconds": round(seconds, 2),
        }
        print_json(document)
        return
    typer.echo(f"{'after':10} {'train':>9} {'validation':>11} {'test':>9}")
    for step, splits in counts.items():
        sums = [sum(splits[split].values()) for split in ("train", "validation", "test")]
        typer.echo(f"{step:10} {sums[0]:9,} {sums[1]:11,} {sums[2]:9,}")
    typer.echo(
        f"{audit.exact_groups:,} pictures more than once ({audit.redundant:,} redundant images), "
        f"{audit.conflicting_groups:,} of them with several labels; {audit.constant:,} constant images."
    )
    for sides, found in audit.cross_split.items():
        typer.echo(
            f"{sides}: {found.any:,} images have a copy on the other side "
            f"({found.exact:,} an exact one, {found.near:,} a near one, {found.mirrored:,} a mirrored one, "
            "some of them several)."
        )
    for entry in audit.reexports:
        typer.echo(f"{entry.share:.1%} of the photographs of {entry.a} are also in {entry.b}.")
    if findings:
        typer.echo(f"{'finding':28} {'findings':>9} {'images':>9}  to do")
    for kind in findings:
        typer.echo(f"{kind.reason:28} {kind.findings:9,} {kind.images:9,}  {kind.action}")
    _note_left_out(left_out)
