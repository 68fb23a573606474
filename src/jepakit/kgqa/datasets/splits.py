"""From a name or a file to questions about a graph, by split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.datasets.named import FILES, STARK_NAMES, named_file, unknown_name
from jepakit.kgqa.datasets.questions import load_metaqa_questions, load_pathquestion, load_questions

#: Of fewer questions no tenth can be taken.
_FEWEST = 10
_METAQA = {f"{hops}-hop/{part}": f"{hops}-hop/{part}.txt" for hops in (1, 2, 3) for part in ("dev", "test")}
_PATHQUESTION = {"pathquestion-2h": "PQ-2H.txt", "pathquestion-3h": "PQ-3H.txt"}


def load_splits(
    source: str | Path, graph: KnowledgeGraph, *, data_dir: str | Path | None = None
) -> Mapping[str, Questions]:
    """Loads questions about a graph, by the names of their splits.

    ========================================  ==================================================================
    source                                    splits
    ========================================  ==================================================================
    ``python``                                ``train``, ``dev``, ``test``, ``wordings``, see
                                              `jepakit.kgqa.datasets.python.questions.python_questions`
    ``metaqa``                                ``1-hop/dev``, ``1-hop/test``, ... ``3-hop/test``; those that are there
    ``pathquestion-2h``, ``pathquestion-3h``  ``all``: the data have no official split
    ``prime``, ``mag``, ``amazon``            ``train``, ``val``, ``test``, ``human``, the official ones of STaRK, in
                                              ``data_dir/kgqa/stark/qa/NAME`` or fetched into the cache
    a file ``.jsonl``                         ``all``, see `jepakit.kgqa.datasets.questions.load_questions`
    a folder of such files                    one for each, by the name of the file: ``train.jsonl`` is ``train``
    ========================================  ==================================================================

    Args:
        source: name or place.
        graph: that the questions are about, as `jepakit.kgqa.datasets.load_graph` gives it for the same name.
        data_dir: where to look for names; by default the folder that the environment variable JEPAKIT_DATA names.

    Raises:
        ConfigError: ``source`` is neither a name nor a place.
        DataError: the questions cannot be read.
    """
    if source == "python":
        from jepakit.kgqa.datasets.python.questions import python_questions

        return python_questions(graph)
    if source == "metaqa":
        folder = named_file("metaqa", FILES["metaqa"], data_dir).parent
        files = {name: folder / file for name, file in _METAQA.items() if (folder / file).exists()}
        return {name: load_metaqa_questions(file, graph) for name, file in files.items()}
    if isinstance(source, str) and source in STARK_NAMES:
        from jepakit.kgqa.datasets.stark.load import find_stark_questions, load_stark_questions

        return load_stark_questions(find_stark_questions(source, data_dir), graph)
    if isinstance(source, str) and source in _PATHQUESTION:
        file = named_file(source, FILES[source], data_dir).with_name(_PATHQUESTION[source])
        return {"all": load_pathquestion(file, graph)}
    return _from_files(source, graph)


def divided(questions: Questions, *, seed: int = 0) -> dict[str, Questions]:
    """A random split, 80 : 10 : 10, for questions that have none of their own: ``train``, ``dev`` and ``test``.

    Raises:
        DataError: there are fewer than ten.
    """
    if len(questions) < _FEWEST:
        expected = f"{_FEWEST} or more; or a folder with files train.jsonl and test.jsonl"
        raise DataError("too few questions to divide", field="questions", value=len(questions), expected=expected)
    order = np.random.default_rng(seed).permutation(len(questions))
    tenth = len(questions) // 10
    ends = len(questions) - 2 * tenth, len(questions) - tenth
    return {name: questions[rows] for name, rows in zip(("train", "dev", "test"), np.split(order, ends), strict=True)}


def _from_files(source: str | Path, graph: KnowledgeGraph) -> Mapping[str, Questions]:
    path = Path(source)
    if path.is_dir():
        files = {file.name.removesuffix(".gz").removesuffix(".jsonl"): file for file in sorted(path.glob("*.jsonl*"))}
        if not files:
            raise DataError("no questions in the folder", file=path, expected="files .jsonl, one for each split")
        return {name: load_questions(file, graph) for name, file in files.items()}
    if path.exists():
        return {"all": load_questions(path, graph)}
    if isinstance(source, Path) or path.name != source:
        raise DataError("no such file or folder", file=path, expected="questions, or the name of a set of them")
    raise unknown_name("questions", source, "a path that exists")
