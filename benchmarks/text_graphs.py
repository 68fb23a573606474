"""Graphs whose nodes have texts, with MiniLM's vectors of them as features, for node classification.

The texts are encoded by all-MiniLM-L6-v2. Words that say the label are left out of them before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import data_dir
from jepakit.datasets.python_library import read_python_library
from jepakit.errors import DataError
from jepakit.files import read_text
from jepakit.graph import GraphDataset, Graphs, load_dataset
from jepakit.graph.datasets.edges import add_missing_reverses, drop_repeats
from jepakit.text import TextConfig, load_cached_encoder

DISEASES = "PrimeKG subset, MiniLM"
LIBRARY = "python-library, MiniLM"
#: What the two ends of a triple are, in either order.
_ENDS = {
    "ASSOCIATED_WITH": {"gene", "disease"},
    "CONTRAINDICATION": {"drug", "disease"},
    "INDICATION": {"drug", "disease"},
    "OFF_LABEL_USE": {"drug", "disease"},
    "CARRIER": {"gene", "drug"},
    "ENZYME": {"gene", "drug"},
    "TARGET": {"gene", "drug"},
    "TRANSPORTER": {"gene", "drug"},
}
#: Field of medicine -> the words of a disease's name that say it.
FIELDS = {
    "bones": r"osteo\w*|bone|skelet\w*|\w*chondro\w*|spondyl\w*|metaphyseal|epiphyseal|cranio\w*|\w*dactyly|arthr\w+",
    "eyes": r"retin\w*|cataract\w*|macula\w*|optic|corneal?|glaucoma\w*|\w*ophthalm\w*|cone|blindness|coloboma\w*|eye",
    "gut and liver": r"gastr\w*|intestin\w*|\w*colitis|esophag\w*|bowel|duoden\w*|hepat\w*|liver|biliar\w*|cholesta\w*|"
    r"pancrea\w*|constipation|diarrh\w*",
    "heart": r"cardio\w*|cardiac|heart|atrial|ventricular|arrhythmi\w*|aort\w*|coronary",
    "infections": r"infect\w*|\w*viral|virus|tubercul\w*|malaria|pneumonia|sepsis|fever|\w+iasis",
    "metabolism": r"metabol\w*|deficiency|lipo\w*|glycogen|mucopolysaccharid\w*|\w+emia|obesity|diabetes|gly\w+",
    "muscles": r"muscular|myopath\w*|myotoni\w*|myasthen\w*|muscle",
    "nerves and brain": r"epilep\w*|neuropath\w*|ataxia\w*|dystonia\w*|\w*encephal\w*|spastic\w*|dementia\w*|"
    r"parkinson\w*|alzheimer\w*|seizure\w*|migraine\w*|\w*leukodystrophy|\w*cerebell\w*|neurodegenerat\w*|sclerosis|"
    r"paraplegia|intellectual",
    "skin": r"skin|cutaneous|\w*derm\w*|kerato\w*|ichthyos\w*|epidermolysis|psoria\w*|eczema|alopecia|hair|urticaria|"
    r"albinism",
    "tumours": r"\w*carcinoma\w*|cancer\w*|neoplas\w*|tumou?r\w*|leukemi\w*|lymphoma\w*|\w*sarcoma\w*|\w+blastoma\w*|"
    r"melanoma\w*|glioma\w*|\w*adenoma\w*",
}
_TRAIN, _VAL, _TEST = 20, 300, 500


def disease_fields() -> GraphDataset:
    """Which field of medicine a disease is of, in the subset of PrimeKG: genes, drugs, diseases and their relations.

    The data have no labels of nodes. A disease whose name has words of exactly one of `FIELDS` is of that field, and
    these words are left out of all texts; other nodes have no label (-1).

    - Nodes: all names, 14,609. ``x``: MiniLM's vector of the name.
    - Edges: all relations, in both directions, without repeats.
    - ``splits``: at random, always the same: 20 nodes of each class to train, 300 others for validation, 500 to test.

    Raises:
        ConfigError: there is no data folder.
        DataError: a line is no triple of the relations known.
    """
    file = data_dir() / "kgqa" / "primekg_subset" / "triples_59k.tsv"
    triples: list[tuple[str, str, str]] = []
    for line, text in enumerate(read_text(file).splitlines(), start=1):
        head, relation, tail = text.split("\t") if text.count("\t") == 2 else ("", text, "")
        if relation not in _ENDS:
            raise DataError("no triple", file=file, line=line, value=text, expected=f"one of {', '.join(_ENDS)}")
        triples.append((head, relation, tail))
    names = sorted({name for head, _, tail in triples for name in (head, tail)})
    diseases = _diseases(triples)
    y = np.array([_field(name) if name in diseases else -1 for name in names])
    said = re.compile("|".join(_words(field).pattern for field in FIELDS), re.IGNORECASE)
    place = {name: row for row, name in enumerate(names)}
    pairs = np.array([(place[head], place[tail]) for head, _, tail in triples if head != tail]).T
    edges = add_missing_reverses(drop_repeats((pairs, None), len(names)), len(names))[0]
    x = encoded([said.sub(" ", name) for name in names])
    graphs = Graphs.pack(x.numpy(), edges, np.array([len(names)]), node_y=y, field_name=DISEASES)
    return GraphDataset(DISEASES, graphs, "node classification", tuple(FIELDS), _splits(y), str(file.parent.name))


def library_texts() -> GraphDataset:
    """``python-library`` with MiniLM's vector of docstring and name in place of words; packages' names left out."""
    dataset, library = load_dataset("python-library"), read_python_library()
    assert dataset.node_ids is not None
    said = re.compile(rf"\b(?:{'|'.join(map(re.escape, dataset.label_names))})\b", re.IGNORECASE)
    text_of = dict(zip(library.ids, library.texts, strict=True))
    texts = [said.sub(" ", f"{_as_words(name.rpartition('.')[2])}. {text_of[name]}") for name in dataset.node_ids]
    return replace(dataset, name=LIBRARY, graphs=replace(dataset.graphs, x=encoded(texts), vocabulary=None))


def encoded(texts: Sequence[str]) -> Tensor:
    """MiniLM's vectors of texts, ``[N, 384]``; 0 where nothing is left of a text."""
    encoder = load_cached_encoder(TextConfig(max_tokens=64))
    short = [" ".join(text.split()) for text in texts]
    x = encoder.encode([text or "." for text in short], "document").float().cpu()
    return x * torch.tensor([bool(re.search(r"\w", text)) for text in short])[:, None]


def _as_words(name: str) -> str:
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)) or name


def _diseases(triples: Sequence[tuple[str, str, str]]) -> set[str]:
    """The names that must be diseases, by the relations that they are in; direction says nothing in this file."""
    could: dict[str, set[str]] = {}
    for head, relation, tail in triples:
        for name in (head, tail):
            could[name] = could.get(name, {"gene", "disease", "drug"}) & _ENDS[relation]
    # What one end is, the other is not.
    for _ in range(4):
        for head, _, tail in triples:
            for name, other in ((head, tail), (tail, head)):
                if len(could[other]) == 1 and len(could[name]) > 1:
                    could[name] = could[name] - could[other]
    return {name for name, kinds in could.items() if kinds == {"disease"}}


def _words(field: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{FIELDS[field]})\b", re.IGNORECASE)


def _field(name: str) -> int:
    found = [number for number, field in enumerate(FIELDS) if _words(field).search(name)]
    return found[0] if len(found) == 1 else -1


def _splits(y: np.ndarray) -> dict[str, Tensor]:
    order = np.random.default_rng(0).permutation(np.flatnonzero(y >= 0))
    train = np.concatenate([order[y[order] == label][:_TRAIN] for label in range(y.max() + 1)])
    rest = order[~np.isin(order, train)]
    parts = {"train": train, "val": rest[:_VAL], "test": rest[_VAL : _VAL + _TEST]}
    return {name: torch.from_numpy(rows) for name, rows in parts.items()}
