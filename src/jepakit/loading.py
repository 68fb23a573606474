"""`load`: from a folder or a name to the object that one works with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from jepakit.errors import ModelError, did_you_mean, requires_extra

Kind = Literal["run", "encoder", "shipped", "hub"]
"""Where an encoder is: in a run, in a folder of its own, in the package, or on the model hub."""


def load(source: str | Path) -> Any:
    """Opens what jepakit has trained.

    ========================================  ==============================================================
    ``source``                                gives
    ========================================  ==============================================================
    run of ``graph pretrain``                 `jepakit.graph.GraphRun`: encoders, evaluation, report
    run of ``retrieval train``                `jepakit.retrieval.Searcher`
    run of ``kgqa train``, ``fit-retriever``  `jepakit.kgqa.Asker`; of ``finetune`` too
    run of ``kgqa pretrain``                  `jepakit.kgqa.KnowledgeRun`
    run of ``lp train``                       `jepakit.lp.Stream`, which solves with the family
    run of ``guard train``                    `jepakit.guard.GuardModel`, which scores calls
    encoder folder                            its encoder, see `jepakit.training.load_encoder`
    name of an encoder of the package         that one: ``molecules``
    ``user/name`` or ``user/name@revision``   the encoder of that name on the model hub
    ========================================  ==============================================================

    Each of these classes has a class method ``open`` with further options, such as ``Searcher.open(run, index=...)``.

    Raises:
        ModelError: there is nothing of this name, the run did not finish, or a file is missing or damaged.
        MissingExtraError: the extra of the system is not installed.
    """
    with requires_extra("training"):
        from jepakit.training import RunFolder, load_encoder
        from jepakit.training.storage.encoder_folder import architecture_of
    kind, folder = kind_of(source), Path(source).expanduser()
    if kind is None:
        raise _unknown(str(source), folder)
    if kind == "shipped":
        from jepakit.graph.shipped import shipped_encoder

        return shipped_encoder(str(source))
    if kind != "run":
        return load_encoder(folder if kind == "encoder" else source)
    run = RunFolder(folder)
    # A run of all steps of a system has its encoders in the folders of the steps.
    folders = map(RunFolder, sorted(folder.iterdir()))
    steps = [step for step in folders if step.config.is_file() and step.encoder.is_dir()]
    if run.encoder.is_dir() or not steps:
        run.require_trained()
        steps = [run]
    architecture = architecture_of(steps[0].encoder)
    package, _, rest = architecture.partition(".")
    system = rest.partition(".")[0]
    if package != "jepakit" or system not in OPENERS:
        way_out = "use jepakit.load_encoder on its folder encoder/, with encoder_class=YourEncoder"
        raise ModelError(f"{folder}: its encoder is of the class {architecture}, of no system of jepakit; {way_out}")
    return OPENERS[system](folder)


def kind_of(source: str | Path) -> Kind | None:
    """What a path or a name stands for; None: for nothing, or for a folder that is neither run nor encoder.

    The first that it is of: the folder of a run, the folder of an encoder, the name of an encoder of the package, which
    a folder of data may have too, and ``user/name`` on the model hub, where no folder has that path.
    """
    name, folder = str(source), Path(source).expanduser()
    if (folder / "config.yaml").is_file():
        return "run"
    if (folder / "config.json").is_file():
        return "encoder"
    if "/" in name:
        return None if folder.is_dir() else "hub"
    from jepakit.graph.shipped import shipped_encoders

    return "shipped" if name in shipped_encoders() else None


def _unknown(name: str, folder: Path) -> ModelError:
    if folder.is_dir():
        runs = ", ".join(file.parent.name for file in sorted(folder.glob("*/config.yaml")))
        there = f"; runs in it: {runs}" if runs else ""
        return ModelError(f"{folder}: neither a run (config.yaml) nor an encoder (config.json) is here{there}")
    from jepakit.graph.shipped import shipped_encoders

    near = did_you_mean(name, [*shipped_encoders(), *(path.name for path in Path().iterdir() if path.is_dir())])
    expected = f"a folder, user/name on a model hub, or one of {', '.join(shipped_encoders())}"
    return ModelError(f"{name}: there is no such folder or encoder; expected {expected}{near}")


def _graph(run: Path) -> Any:
    from jepakit.graph import GraphRun

    return GraphRun.open(run)


def _guard(run: Path) -> Any:
    from jepakit.guard import GuardModel

    return GuardModel.open(run)


def _kgqa(run: Path) -> Any:
    from jepakit.kgqa import Asker, KnowledgeRun
    from jepakit.kgqa.answerer.finetune import FOLDER
    from jepakit.kgqa.retriever import SETTINGS

    pretrained = (run / "encoder").is_dir() and not (run / FOLDER).is_dir() and not (run / SETTINGS).is_file()
    return (KnowledgeRun if pretrained else Asker).open(run)


def _lp(run: Path) -> Any:
    from jepakit.lp import Stream

    return Stream.open(run)


def _retrieval(run: Path) -> Any:
    from jepakit.retrieval import Searcher

    return Searcher.open(run)


#: The system of a run's encoder -> what opens the run.
OPENERS: dict[str, Callable[[Path], Any]] = {
    "graph": _graph,
    "guard": _guard,
    "kgqa": _kgqa,
    "lp": _lp,
    "retrieval": _retrieval,
}
