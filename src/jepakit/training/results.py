"""What pre-training and an evaluation return, in every system, and what a run keeps of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from jepakit.core import Diagnosis
from jepakit.errors import DataError
from jepakit.files import read_json, write_json
from jepakit.files.tensors import write_tensors
from jepakit.notebook import html_lines, html_table
from jepakit.training.checked import STRICT, checked
from jepakit.training.fit_config import FitResult
from jepakit.training.report.diagram import Diagram
from jepakit.training.result_rows import ResultRow, rows_as_html, with_defaults
from jepakit.training.run import RunFolder, is_first_process
from jepakit.training.storage.encoder_folder import Role
from jepakit.training.storage.hub_mixin import HubMixin

EncoderT_co = TypeVar("EncoderT_co", bound=nn.Module, covariant=True)

Cell = str | float | None


@dataclass(frozen=True, kw_only=True)
class Pretrained(Generic[EncoderT_co]):
    """A trained encoder and how it was trained; a system adds its own fields.

    Args:
        encoder: the encoder to use, in eval mode.
        random_encoder: the same one before training: the floor.
        fit: epochs, steps, last metrics.
        diagnosis: of the encoder's embeddings.
    """

    encoder: EncoderT_co
    random_encoder: EncoderT_co
    fit: FitResult
    diagnosis: Diagnosis

    def _repr_html_(self) -> str:
        facts = {"epochs": self.fit.epochs, "steps": self.fit.steps, **self.fit.metrics}
        return encoder_as_html(self.encoder, self.diagnosis, facts)


@dataclass(frozen=True)
class ReportSection:
    """A table under a heading of its own in the report.

    Args:
        title: the heading.
        columns: the names of the columns.
        rows: the cells, one for each column; the first of a row says what the row is about.
        text: what the reader has to know, above the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text: str = ""

    __pydantic_config__ = STRICT

    @property
    def numeric(self) -> list[int]:
        """Which columns hold a number."""
        columns = enumerate(zip(*self.rows, strict=True))
        return [index for index, cells in columns if any(isinstance(cell, float) for cell in cells)]


@dataclass(frozen=True)
class ReportCurve:
    """How a score changes with a number.

    Args:
        title: the heading.
        x_label: what the number is.
        y_label: what the score is.
        x: the numbers, ascending.
        lines: names, and the scores of each at all numbers.
        lower_is_better: of the score; None: neither is.
        names: of the numbers, where each stands for something, such as a file; else none.
    """

    title: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    lines: tuple[tuple[str, tuple[float, ...]], ...]
    lower_is_better: bool | None = None
    names: tuple[str, ...] = ()

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class ReportScatter:
    """Predicted against true values.

    Args:
        title: the heading.
        label: what is predicted.
        true: values.
        predicted: of each.
        names: of each, or none at all.
        drawings: of each, or none at all; see `PointFacts`.
    """

    title: str
    label: str
    true: tuple[float, ...]
    predicted: tuple[float, ...]
    names: tuple[str, ...] = ()
    drawings: tuple[str, ...] = ()

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class PointFacts:
    """What a report says of each of N embeddings, when the reader points at it.

    Args:
        titles: of each, or none at all; such as the title of a document.
        drawings: of each, or none at all: the path of an SVG (``M`` and ``L`` with whole numbers), then texts in it,
            each ``|TEXT X Y``. Of molecules these are bonds and atoms.
        values: a number of each, ``[N]``, nan where there is none; it colours the point in place of a class.
        value_name: what the number is.
    """

    titles: tuple[str, ...] = ()
    drawings: tuple[str, ...] = ()
    values: Tensor | None = None
    value_name: str = ""


@dataclass(frozen=True)
class ReportExample:
    """A case that the report shows in full.

    Args:
        title: what was asked.
        facts: names and texts.
        diagram: the part of the graph that leads to the answer.
        tables: below the diagram.
        start: the name of the diagram's nodes of the kind ``start``.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    diagram: Diagram | None = None
    tables: tuple[ReportSection, ...] = ()
    start: str = "topic"

    __pydantic_config__ = STRICT


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The table and what follows from it: ``results.json``.

    Args:
        title: of the report.
        summary: the protocol and its outcome, in sentences.
        recommendation: what to use; None where the data do not decide it.
        rows: ours and the floors.
        sections: further tables of the report.
        curves: drawn below the table.
        scatters: predicted against true values.
        examples: cases that the report shows in full.
    """

    title: str = ""
    summary: tuple[str, ...] = ()
    recommendation: str | None = None
    rows: tuple[ResultRow, ...] = ()
    sections: tuple[ReportSection, ...] = ()
    curves: tuple[ReportCurve, ...] = ()
    scatters: tuple[ReportScatter, ...] = ()
    examples: tuple[ReportExample, ...] = ()

    def _repr_html_(self) -> str:
        return evaluation_as_html(self)

    def as_json(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        values = asdict(self)
        return {field.name: values[field.name] for field in fields(Evaluation)}


def evaluation_as_html(evaluation: Evaluation) -> str:
    """Title, summary, recommendation and rows, for a notebook."""
    lines = [evaluation.title, *evaluation.summary, evaluation.recommendation or ""]
    return html_lines(lines) + rows_as_html(evaluation.rows)


def encoder_as_html(encoder: nn.Module, diagnosis: Diagnosis | None, facts: Mapping[str, float]) -> str:
    """Size, numbers and findings of an encoder, for a notebook."""
    values = {} if diagnosis is None else diagnosis.values
    size = {"parameters": sum(parameter.numel() for parameter in encoder.parameters())}
    findings = () if diagnosis is None else diagnosis.findings
    table = html_table((), list({**size, **facts, **values}.items()), title=type(encoder).__name__)
    return table + html_lines(f"{finding.what}: {finding.advice}" for finding in findings)


def read_evaluation(file: Path) -> Evaluation:
    """A ``results.json``; what it does not hold keeps its default.

    Raises:
        DataError: the file is damaged; names the field.
    """
    content = read_json(file)
    evaluation = checked(Evaluation, {**content, "rows": with_defaults(content.get("rows", []))}, file=file)
    for place, section in enumerate(evaluation.sections):
        width = len(section.columns)
        for row, cells in enumerate(section.rows):
            if len(cells) != width:
                where: dict[str, Any] = {"file": file, "field": f"sections[{place}].rows[{row}]"}
                raise DataError("not a cell for each column", value=len(cells), expected=str(width), **where)
    for place, curve in enumerate(evaluation.curves):
        for line, (_, scores) in enumerate(curve.lines):
            if not scores or len(scores) != len(curve.x):
                where = {"file": file, "field": f"curves[{place}].lines[{line}]"}
                raise DataError("not a score for each number", value=len(scores), expected=str(len(curve.x)), **where)
        _require_texts(curve.names, len(curve.x), file, f"curves[{place}].names")
    for place, scatter in enumerate(evaluation.scatters):
        count, field = len(scatter.true), f"scatters[{place}]"
        if not count or len(scatter.predicted) != count:
            where = {"file": file, "field": f"{field}.predicted"}
            raise DataError(
                "not a value for each", value=len(scatter.predicted), expected=f"{count or 'some'}", **where
            )
        _require_texts(scatter.names, count, file, f"{field}.names")
        _require_texts(scatter.drawings, count, file, f"{field}.drawings")
    for place, example in enumerate(evaluation.examples):
        nodes = len(example.diagram.nodes) if example.diagram else 0
        for number, edge in enumerate(example.diagram.edges if example.diagram else ()):
            if not (0 <= edge.source < nodes and 0 <= edge.target < nodes):
                where = {"file": file, "field": f"examples[{place}].diagram.edges[{number}]"}
                raise DataError("no such node", value=[edge.source, edge.target], expected=f"below {nodes}", **where)
    return evaluation


def _require_texts(texts: Sequence[str], count: int, file: Path, field: str) -> None:
    """Raises DataError unless there are so many texts, or none."""
    if len(texts) not in (0, count):
        raise DataError("not a text for each", file=file, field=field, value=len(texts), expected=f"{count} or none")


def save_trained(
    run: RunFolder,
    encoder: HubMixin,
    random_encoder: HubMixin,
    *,
    devices: int,
    card: Mapping[str, object],
    diagnosis: Diagnosis,
    embeddings: Tensor,
    labels: Tensor | None = None,
    label_names: Sequence[str] = (),
    facts: PointFacts | None = None,
    role: Role = "context",
) -> None:
    """Writes diagnosis, embeddings, ``random_encoder/`` and ``encoder/``; only the first process of several does.

    Args:
        run: the run.
        encoder: the trained module.
        random_encoder: the same one before training.
        devices: how many trained it.
        card: what the model cards say.
        diagnosis: of ``embeddings``.
        embeddings: of a sample, ``[N, D]``.
        labels: a class of each, ``[N]``, for the map of the embeddings.
        label_names: names of the classes.
        facts: of each of the embeddings.
        role: which encoder of a JEPA ``encoder`` is.

    Raises:
        ModelError: a file cannot be written.
    """
    if not is_first_process(devices):
        return
    write_json(run.diagnosis, {"collapsed": diagnosis.collapsed, **asdict(diagnosis)})
    facts = facts or PointFacts()
    optional = {"label": labels, "value": facts.values}
    tensors = {"embedding": embeddings} | {name: values for name, values in optional.items() if values is not None}
    texts = {"label_names": label_names, "titles": facts.titles, "drawings": facts.drawings}
    about = {name: json.dumps(list(content)) for name, content in texts.items()} | {"value_name": facts.value_name}
    write_tensors(run.embeddings, tensors, about)
    # `encoder/` comes last: where it is, the run is complete.
    random_encoder.save_pretrained(run.random_encoder, card=card)
    encoder.save_pretrained(run.encoder, card=card, role=role)
