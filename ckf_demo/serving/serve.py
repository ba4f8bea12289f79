"""From nothing to a served page: prepares what is missing, loads the model, launches the app.

``python app.py`` (a hosted Space, ``make demo``) and ``ckf serve`` both end here. The page itself
is built in `ckf_demo.ui.app`.
Other checkpoints are pages beside the first, which load when they are first asked for.
"""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.logs import start_logging
from ckf_demo.runtime.memory import keep_flat, settle
from ckf_demo.runtime.proxies import bypass_proxies

if TYPE_CHECKING:
    import gradio as gr

    from ckf_demo.serving.background import BackgroundTraining
    from ckf_demo.ui.pages import Place
    from ckf_demo.ui.service import Service

UNASKED = ["rating"]
"""The tasks that a page of positive-only data lacks: there are no ratings."""
CHECKPOINT = Path(__file__).resolve().parents[2] / "checkpoints" / "ml-100k"


def default_host() -> str:
    """``0.0.0.0`` on a hosted Space, where a proxy stands in front, otherwise this machine only."""
    return "0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1"


def default_quantization() -> str:
    """What ``CKF_QUANTIZATION`` says; without it ``"auto"``."""
    return os.environ.get("CKF_QUANTIZATION") or "auto"


def build_demo(
    checkpoint: Path = CHECKPOINT,
    quantization: str | None = None,
    places: "Sequence[Place]" = (),
    own: "Place | None" = None,
    beside: "Service | None" = None,
    training: "BackgroundTraining | None" = None,
) -> "gr.Blocks":
    """Prepare data and backbone if need be, load the checkpoint, and build the app around it.

    ``quantization`` is one of `load_backbone`, or "auto" for the fastest way to hold the same
    weights, which is measured at the first start; None for `default_quantization`. ``places``,
    ``own`` and ``beside`` are those of `ckf_demo.ui.app.build`. ``training`` begins when the page
    is built. UserError when something cannot be
    fetched or prepared, or the checkpoint does not fit or lacks a task that its page asks for.
    """
    start_logging()
    keep_flat()
    say("Loading libraries")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    # Gradio keeps a table of the last 10,000 events, sessions named, and sums it up after each
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
    from ckf_demo.serving.hosting import import_spaces, with_gpu_on_demand

    import_spaces()
    from ckf_demo.backbone.loading import prepare_backbone
    from ckf_demo.backbone.precision import AUTO, choose
    from ckf_demo.model.manifest import read_manifest
    from ckf_demo.recommender import Recommender
    from ckf_demo.tasks.registry import TASKS

    manifest = read_manifest(checkpoint)
    if (missing := lacking(manifest)) not in ([], UNASKED):
        raise _lacks(checkpoint, missing, TASKS)
    say("Preparing the data")
    _prepare_data(manifest["dataset"])
    say("Preparing the backbone")
    prepare_backbone(manifest["backbone"])
    quantization = quantization or default_quantization()
    if quantization == AUTO:
        say("Choosing how to hold the weights (measured at the first start)")
        precision = choose(manifest["backbone"])
        quantization = precision.chosen
        say(f"  {precision}")
    say(f"Loading {checkpoint.name}")
    recommender = Recommender.load(checkpoint, quantization=quantization)
    if missing and not recommender.prepared.positive_only:
        raise _lacks(checkpoint, missing, TASKS)
    with_gpu_on_demand(recommender).warm_up()
    say("Building the page")
    from ckf_demo.ui.app import build

    demo = build(recommender, places=places, own=own, beside=beside, training=training)
    if training:
        training.begin(recommender)
    settle()
    return demo


def _prepare_data(dataset: str) -> None:
    """Prepare a data set if need be; raw files that only its owner has must have been before."""
    from ckf_demo.data.prepare import prepare
    from ckf_demo.data.sources import SOURCES
    from ckf_demo.runtime.paths import prepared_path

    chosen = SOURCES.get(dataset)
    if chosen is None:
        if not prepared_path(dataset).exists():
            raise UserError(
                f"'{dataset}' is not prepared here; run ckf demo --data FOLDER --name {dataset} "
                "with the folder that holds it."
            )
    elif chosen.wheel is not None:
        prepare(dataset, None)
    elif not prepared_path(dataset).exists():
        raise UserError(
            f"{chosen.label} is not prepared here and cannot be downloaded; run ckf prepare "
            f"--dataset {dataset} --data FOLDER with the folder that holds it."
        )


def _lacks(checkpoint: Path, missing: Sequence[str], asked: Sequence[str]) -> UserError:
    return UserError(
        f"{checkpoint} was not trained for {', '.join(missing)}, and the page asks for all of "
        f"{', '.join(asked)}; serve another checkpoint, and ask this one from Python or with "
        "ckf evaluate."
    )


def lacking(manifest: dict) -> list[str]:
    """The tasks that a page asks for and a checkpoint with this manifest was not trained for."""
    from ckf_demo.tasks.registry import TASKS

    return [task for task in TASKS if task not in manifest["tasks"]]


def others_beside(checkpoint: Path, *known: Path) -> list[Path]:
    """Checkpoints that are served beside one: those in the same folder and the user's own.

    Each is named as its data set, which is prepared or can be fetched, and trained for all that a
    page asks. Those with the data set of one that is ``known`` are left out.
    """
    from ckf_demo.data.sources import SOURCES
    from ckf_demo.model.manifest import MANIFEST, read_manifest
    from ckf_demo.runtime.paths import prepared_path
    from ckf_demo.serving.own_data import own_checkpoints

    served = []
    taken = {folder.name for folder in (checkpoint, *known)}
    beside = [path.parent for path in sorted(checkpoint.parent.glob(f"*/{MANIFEST}"))]
    for folder in (*beside, *own_checkpoints()):
        if folder.name in taken:
            continue
        try:
            manifest = read_manifest(folder)
        except UserError as error:
            # this one was not asked for, so the others are served
            say(f"{folder.name} is not served: {error}")
            continue
        source = SOURCES.get(folder.name)
        there = prepared_path(folder.name).exists() or (source is not None and source.wheel)
        named = manifest["dataset"] == folder.name and there
        if named and lacking(manifest) in ([], UNASKED):
            served.append(folder)
            taken.add(folder.name)
    return served


def placed(checkpoints: Sequence[Path]) -> "list[Place]":
    """Where each checkpoint is served: the first at the root, the others below their names.

    UserError when two have one name or one has that of something of the page's own, or a folder
    holds no checkpoint.
    """
    from ckf_demo.data.sources import SOURCES
    from ckf_demo.model.manifest import read_manifest
    from ckf_demo.ui.pages import Place
    from ckf_demo.ui.routes import is_open

    places = []
    for folder in checkpoints:
        path = folder.resolve().name if places else ""
        dataset = read_manifest(folder)["dataset"]
        label = SOURCES[dataset].label if dataset in SOURCES else dataset
        if path and (is_open(f"/{path}") or path in {place.path for place in places}):
            raise UserError(
                f"{folder} cannot be served at /{path}, where something else answers; give the "
                "folder another name."
            )
        places.append(Place(path, label))
    return places


def serve(
    host: str,
    port: int,
    checkpoints: Sequence[Path] = (),
    quantization: str | None = None,
    training: "BackgroundTraining | None" = None,
) -> None:
    """Serve the app until interrupted; its address is the last line printed.

    The first of the ``checkpoints`` is the page at the address itself, and the others stand below
    it under the names of their folders. Without any it is `CHECKPOINT`, with those beside it whose
    data are prepared. ``training`` of the first goes on in the background. UserError as
    `build_demo` for the first, as `placed`, or when the address cannot be listened on.
    """
    check_address(host, port)
    bypass_proxies(host)
    first, *others = checkpoints or [CHECKPOINT, *others_beside(CHECKPOINT)]
    places = placed([first, *others])
    demo = build_demo(first, quantization, places, places[0], training=training)
    from ckf_demo.ui.app import launch

    def later(folder: Path, own: "Place") -> "tuple[Place, Callable[[], gr.Blocks]]":
        return own, lambda: build_demo(folder, quantization, places, own, demo.service)

    pages = [later(folder, own) for folder, own in zip(others, places[1:], strict=True)]
    launch(demo, pages, server_name=host, server_port=port)
    for place in places[1:]:
        say(f"Beside it, loaded when asked for: {demo.local_url}{place.path}/ ({place.label})")
    say(f"Ready: {demo.local_url}")
    try:
        wait_for_end()
        say("Stopping")
    finally:
        if training:
            training.end()
        demo.close(verbose=False)


def wait_for_end() -> None:
    """Wait for Ctrl-C or SIGTERM; a second one ends the process at once.

    What still runs then ends within its own limits, so that the process leaves nothing behind and
    its exit code is 0.
    """
    asked = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: object) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        asked.set()

    for number in before:
        signal.signal(number, end)
    asked.wait()


def check_address(host: str, port: int) -> None:
    """Refuse an address that is in use, before minutes are spent on loading."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); "
            "choose another address with --host and --port"
        ) from error


def say(line: str) -> None:
    """Print one line of progress at once, also into a pipe or a log."""
    print(line, flush=True)
