"""``models``: what can be trained and what can be served."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_core.cli.console import (
    DetachOption,
    JsonOption,
    dataset_or_none,
    note,
    print_json,
    progress_bar,
    start_detached,
)
from fer_core.errors import ConfigError, DatasetError, ModelError
from fer_core.inference.served import CARD_FILE, IMPORTED, MODEL_FILE, ServedModel, find_model, list_models
from fer_core.jobs.worker import Worker, work
from fer_core.training.config import RunConfig, absolute_preset, list_presets, load_config, load_preset
from fer_core.workspace import Workspace, check_name

if TYPE_CHECKING:
    from fer_core.data.dataset import Dataset
    from fer_core.inference.conventions import Samples, Stated
    from fer_core.jobs.progress import Progress
    from fer_core.training.speeds import Shape

app = typer.Typer(help="Look at models, import and delete them.", no_args_is_help=True)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """All models that can be served: those of finished runs, imported and bundled ones."""
    found = [
        {
            "name": model.name,
            "bundled": model.bundled,
            "preset": model.card.preset if model.card else None,
            "size_mib": round(model.path.stat().st_size / 2**20, 2),
            "card": model.card and model.card.model_dump(mode="json"),
        }
        for model in list_models(Workspace.default())
    ]
    if as_json:
        print_json(found)
        return
    for entry in found:
        typer.echo(f"{entry['name']:32} {entry['preset'] or '':12} {entry['size_mib']:8.2f} MiB")
    if not found:
        note("No models yet. Train one: python -m fer_core train DATASET --preset compact")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A preset, a model or an .onnx file.")],
    as_json: JsonOption = False,
) -> None:
    """One network: what it reads, its size and its parameters as each phase trains them."""
    document = _of_preset(name) if name in list_presets() else _of_model(name)
    if as_json:
        print_json(document)
        return
    size, parameters = document["input"], document["parameters"]
    side = document.get("side")
    enlarged = f", resized inside to {side}x{side}" if side else ""
    typer.echo(f"{document['name']}: reads {size['height']}x{size['width']}x{size['channels']}{enlarged}")
    typer.echo(f"{document['size_mib']:.2f} MiB, {parameters['total']:,} parameters")
    if document.get("preset") == IMPORTED:
        for text in document["notes"]:
            typer.echo(text)
        return
    for number, phase in enumerate(document.get("phases", [parameters]), start=1):
        named = f" ({phase['name']})" if "name" in phase else ""
        typer.echo(f"phase {number}{named} trains {phase['trainable']:,} of them and keeps {phase['non_trainable']:,}")


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An .h5, .keras or .onnx file with network and weights.")
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            help="The classes in the order of the model's outputs (angry,disgust,...), `fer2013`, `alphabetical`, "
            "or `detect` with --dataset. An ONNX file that follows our contract needs none."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model. Default: the file's name.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Pixel values it expects: 0-1, 0-255, -1-1, imagenet-caffe, imagenet-torch, fer2013."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET|SOURCE",
            help="Labelled pictures whose validation split tells what was not stated. Test is never looked at.",
        ),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(metavar="DATASET", help="What it was trained on, if you know: then leaks are told for it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turns a Keras or ONNX file made elsewhere into a model for evaluate and predict, or takes in a file of ours."""
    from fer_core.data.dataset import Dataset
    from fer_core.evaluation.orders import parse_order
    from fer_core.inference.adopt import suggest_name
    from fer_core.inference.conventions import SCALES, Stated
    from fer_core.models.importing import check_new_name, import_model

    space = Workspace.default()
    is_onnx = file.suffix.lower() == ".onnx"
    if labels is None and (not is_onnx or scale or dataset):
        raise ConfigError(
            f"{file}: say in which order its outputs stand: --labels fer2013, alphabetical, seven names, or detect "
            "with --dataset. Notebooks that read class folders have alphabetical."
        )
    order = parse_order(labels or "fer2013")
    if scale is not None and scale not in SCALES:
        raise ConfigError(f"--scale {scale}: unknown. Choose one of {', '.join(SCALES)}.")
    if order is None and dataset is None:
        raise ConfigError("--labels detect needs labelled pictures: name a dataset with --dataset.")
    training = Dataset.open(space.dataset(trained_on)) if trained_on else None
    name = name or suggest_name(file.name)
    check_new_name(name, space)  # before anything slow
    with progress_bar() as bar:
        samples = _samples(dataset, space, bar) if dataset else None
        if is_onnx:
            bar(f"Trying out {file.name} in a process of its own", 0, 0)
            stated = Stated(order=order, scale=scale) if labels else None
            model = _adopt(file, space, name, stated, samples, training)
        else:
            bar(f"Converting {file.name} in a process of its own", 0, 0)
            model = import_model(file, space, name, order=order, scale=scale, samples=samples, trained_on=training)
    assert model.card is not None  # just written
    if as_json:
        print_json({**_of_model(name), "path": str(model.path)})
        return
    size = model.card.input
    typer.echo(f"{name}: reads {size.height}x{size.width}x{size.channels}, {model.card.size_mib:.2f} MiB")
    for text in model.card.notes:
        typer.echo(text)
    note(f"Try it: python -m fer_core evaluate {name} DATASET")


def _adopt(
    file: Path,
    space: Workspace,
    name: str,
    stated: Stated | None,
    samples: Samples | None,
    trained_on: Dataset | None,
) -> ServedModel:
    """Takes in an ONNX file, with the card beside it."""
    from fer_core.inference.adopt import adopt
    from fer_core.models.foreign import check_size

    if not file.exists():
        raise ModelError(f"{file}: no such file. Check the path.")
    check_size(file)
    card = file.with_name(CARD_FILE)
    told = card.read_bytes() if card.is_file() else None
    return adopt(
        file.read_bytes(),
        name,
        space,
        source=file.name,
        card=told,
        stated=stated,
        samples=samples,
        trained_on=trained_on,
    )


def _samples(dataset: str, space: Workspace, progress: Progress) -> Samples:
    """Pictures of the validation split of a dataset, or of a raw source that has one."""
    from fer_core.cli.evaluate import EvaluationSplit, read_material
    from fer_core.data.sources import open_source
    from fer_core.inference.conventions import choose_samples
    from fer_core.models.importing import SOURCE_SHAPE

    opened = dataset_or_none(dataset, space)
    if opened is None and not {"validation", ""} & (splits := open_source(dataset).splits()):
        raise DatasetError(
            f"{dataset}: it has no validation images, only {', '.join(sorted(splits))}; test stays sealed. "
            "Prepare a dataset of it first: python -m fer_core data prepare."
        )
    material = read_material(dataset, EvaluationSplit.VALIDATION, opened, SOURCE_SHAPE, progress)
    return choose_samples(material.split, material.name)


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An imported model.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Deletes an imported model."""
    space = Workspace.default()
    folder = space.models / check_name(name, "model")
    if not (folder / MODEL_FILE).is_file():
        known = ", ".join(sorted(model.name for model in list_models(space) if model.path.is_relative_to(space.models)))
        raise ModelError(
            f"No imported model is named {name!r}. Imported: {known or 'none'}. "
            "The model of a run goes with its run; bundled ones stay."
        )
    size = sum(file.stat().st_size for file in folder.iterdir())
    if not yes:
        typer.confirm(f"Delete the model {name} ({size / 2**20:.1f} MiB)?", abort=True, err=True)
    shutil.rmtree(folder)
    note(f"Deleted {name}; {size / 2**20:.1f} MiB are free again.")


@app.command()
def measure(
    presets: Annotated[
        list[str] | None, typer.Argument(metavar="[PRESET...]", help="Presets or YAML files; all presets unless told.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Whose pictures' size to measure at; 48x48 gray unless told.")
    ] = None,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Times a few steps of each phase on made-up pictures, so that the time of a run can be told beforehand."""
    from fer_core.data.dataset import Dataset
    from fer_core.training.speeds import KIND, NATIVE, Pictures

    space = Workspace.default()
    names = [absolute_preset(name) for name in presets or list_presets()]
    configs = [load_config(name) for name in names]
    folder = space.dataset(dataset) if dataset else None
    shape = Pictures.of(Dataset.open(folder)).shape if folder else NATIVE
    arguments = ["models", "measure", *names, *(["--dataset", str(folder)] if folder else [])]
    job = space.new_name(space.jobs, KIND)
    if detach:
        start_detached(space, KIND, job, arguments, as_json)
        return
    with progress_bar() as bar, work(space.jobs, KIND, job, arguments, listener=bar) as worker:
        problems = _measure(configs, shape, space, worker)
    found = [_measured(config, shape, problem) for config, problem in zip(configs, problems, strict=True)]
    if as_json:
        print_json(found)
        return
    for entry in found:
        for phase in entry["phases"]:
            rate, memory = phase["images_per_second"], phase["memory_mb"]
            told = f"{rate:8,.1f} images/s in training, {memory:,} MB" if rate else "not measured"
            told += ", while other programs kept the machine busy" if phase["busy"] else ""
            typer.echo(f"{entry['preset']:18} {phase['name']:14} {told}")
        if entry["problem"]:
            note(entry["problem"])


def _measure(configs: list[RunConfig], shape: Shape, space: Workspace, worker: Worker) -> list[str]:
    """Waits for the device and measures one recipe after the other; returns what was wrong with each."""
    from fer_core.training import measuring
    from fer_core.training.measure import stages

    lock = worker.wait_for_device(space)
    done, total, problems = 0, sum(len(stages(config)) for config in configs), []
    try:
        for config in configs:
            problems.append(measuring.measure(config, shape, worker, done=done, total=total))
            done += len(stages(config))
    finally:
        os.close(lock)
    said = {config.preset: problem for config, problem in zip(configs, problems, strict=True) if problem}
    worker.say(" ".join(said.values()) or f"Measured {', '.join(config.preset for config in configs)}.", **said)
    return problems


def _measured(config: RunConfig, shape: Shape, problem: str = "") -> dict[str, Any]:
    """What is known of a recipe's speed on this machine."""
    from fer_core.training.speeds import network_of, read_speeds, work_of

    network, speeds = network_of(config, shape), read_speeds(Workspace.default())
    phases = []
    for phase in config.phases:
        speed = speeds.phase(work_of(network, phase))
        phases.append(
            {
                "name": phase.name,
                "images_per_second": speed and round(speed.train, 1),
                "scored_per_second": speed and round(speed.score, 1),
                "memory_mb": speed and round(speed.memory / 1e6),
                "busy": speed and speed.busy,
            }
        )
    return {"preset": config.preset, "phases": phases, "problem": problem}


def _of_preset(name: str) -> dict[str, Any]:
    from fer_core.training import backend

    backend.load()
    from fer_core.models.architectures import build, count_parameters, set_trainable
    from fer_core.training.speeds import NATIVE

    config = load_preset(name)
    model = build(config, NATIVE)
    counts = []
    for phase in config.phases:
        set_trainable(model, phase)
        counts.append(count_parameters(model))
    return {
        "name": name,
        "input": dict(zip(("height", "width", "channels"), NATIVE, strict=True)),
        "side": config.side,
        "size_mib": round(counts[0].total * 4 / 2**20, 2),  # float32
        "parameters": counts[0].model_dump(),
        "phases": [
            {"name": phase.name, "trainable": count.trainable, "non_trainable": count.non_trainable, **speed}
            for phase, count, speed in zip(config.phases, counts, _measured(config, NATIVE)["phases"], strict=True)
        ],
    }


def _of_model(name: str) -> dict[str, Any]:
    model = find_model(name, Workspace.default())
    if model.card is None:
        raise ModelError(f"{model.path}: there is no model card beside it, so nothing is known of its parameters.")
    return {
        "name": model.name,
        "input": model.card.input.model_dump(),
        "size_mib": model.card.size_mib,
        "parameters": model.card.parameters.model_dump(),
        "preset": model.card.preset,
        "notes": model.card.notes,
    }
