"""``data decide``: what is decided about single pictures of a dataset, for the next one made from it."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_core.cli.console import JsonOption, note, print_json
from fer_core.data.decisions import (
    Action,
    Pending,
    applied_in,
    decisions_csv,
    idle_pictures,
    now,
    pictures_found,
    pictures_named,
)
from fer_core.errors import ConfigError
from fer_core.workspace import Workspace


def decide(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A name in the workspace, or a path.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE...", help="source:path, a path, or the beginning of a pixel_sha."),
    ] = None,
    action: Annotated[
        Action | None,
        typer.Option(
            help="keep: whatever its flags say; drop: from every split; drop-train, drop-evaluation; relabel; "
            "merge: one of a photograph's images stays."
        ),
    ] = None,
    label: Annotated[str, typer.Option(help="The new label, with relabel, in any spelling that sources use.")] = "",
    reason: Annotated[str, typer.Option(help="Why, in your words.")] = "",
    finding: Annotated[
        str | None, typer.Option(metavar="REASON", help="All images of the findings of this reason, as `blurry`.")
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the last decision back, with those of the same command.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Decide about single images, or list (as CSV) what was decided since the dataset was made.

    Nothing changes in the dataset: `data prepare --add-to DATASET --decisions DATASET/pending-decisions.csv` makes
    the next one.
    """
    from fer_core.data.dataset import Dataset

    space = Workspace.default()
    opened = Dataset.open(space.dataset(dataset))
    pending = Pending(opened.folder)
    if undo and (images or finding or action):
        raise ConfigError("--undo takes nothing else: it takes back the last decision.")
    if undo:
        told = pending.undo()  # with those made by the same command
        note(f"{len(told):,} taken back." if told else "There is nothing to take back.")
    elif images or finding:
        if action is None:
            raise ConfigError(f"Say what to do with them: --action {', '.join(Action)}.")
        pictures = pictures_named(opened, images or []) + (pictures_found(opened, finding) if finding else [])
        date = now()
        told = [picture.decision(action, label, reason or (finding or ""), date) for picture in pictures]
        pending.add(told)
        note(f"{len(told):,} decided. They are in {pending.file}")
        if idle := idle_pictures(opened, pictures, action):
            note(f"{action} changes nothing about {len(idle):,} of them: they are in no split that it is about.")
    elif action:
        raise ConfigError("Say which images: by name, or all of a finding's with --finding.")
    else:
        told = pending.read()
        if told and not as_json:
            typer.echo(decisions_csv(told), nl=False)
            if holder := applied_in(told, space.list_datasets()):
                note(f"{holder} was made with them.")
    if as_json:
        print_json([decision.model_dump(mode="json") for decision in told])
