"""Makes the static encoder that comes with the package, `jepakit.search.static.shipped.general_encoder`.

    python -m benchmarks.static_general --wordnet /usr/share/wordnet --books BOOKS --abstracts ori_pqal.json

Most of the time is the base model's: 400 texts a second on one core with OpenVINO in bfloat16. Vectors are kept in the
cache of embeddings, so an interrupted run goes on. The sources are named in the card that it writes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.harness import SOURCE
from benchmarks.static_general_texts import mixed_texts
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.texts import TrainingTexts
from jepakit.retrieval.static.training import fit_static, tokenizer_rules
from jepakit.text import TextConfig, TextEncoder
from jepakit.text.cache import load_cached_encoder
from jepakit.training import save_encoder

OUT = SOURCE / "src" / "jepakit" / "search" / "static" / "encoders" / "general"
CONFIG = StaticConfig(start="base", megabytes=8.0, width=192, fewest=10)
"""Rows of 192 numbers: the package has room for 8 MB, and words count for more here than pairs."""
_SOURCES = """\
WordNet 3.0 (words, definitions, examples; Princeton University, WordNet licence), the OpenStax textbooks Anatomy and \
Physiology, Microbiology, Chemistry, College Physics, University Physics, Astronomy, Psychology, Introduction to \
Sociology and U.S. History (OpenStax, Rice University, CC BY 4.0, editions before March 2026), the abstracts of \
PubMedQA's 1,000 labelled rows (MIT), names of diseases, genes and drugs of a PrimeKG subset (MIT), docstrings and \
descriptions of Python's standard library and of installed packages (PSF and other open-source licences)"""
_LIMITS = """\
English alone. By itself it finds about three quarters of what the base model finds, so it is a start for training. No \
text of SciFact, StackFAQ, MedQuAD and Cranfield was read, on which benchmarks/retrieval_static.py measures it."""


def make(texts: list[str], targets: Tensor, encoder: TextEncoder, folder: Path) -> str:
    """Trains the encoder on texts and the base's vectors of them, writes its folder, returns a sentence about it."""
    training = TrainingTexts(tuple(texts), F.normalize(targets, dim=1))
    rules = tokenizer_rules(encoder)
    trained = fit_static(training, encoder, CONFIG, rules=rules, documents=encoder.fingerprint)
    card = {
        "title": "A static encoder of English",
        "dataset": f"{len(texts)} texts: {_SOURCES}",
        "method": f"static encoder of queries, which predicts {encoder.name}. {trained.sentence}",
        "command": f"python -m benchmarks.static_general --most {len(texts)}",
        "width": CONFIG.width,
        "seed": CONFIG.seed,
        "limits": _LIMITS,
    }
    save_encoder(trained.network, folder, config=trained.network.arguments, card=card)
    return trained.sentence


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.static_general", description=__doc__)
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun and its neighbours")
    parser.add_argument("--books", type=Path, required=True, help="folder with the books' CNXML files")
    parser.add_argument("--abstracts", type=Path, required=True, help="PubMedQA's ori_pqal.json")
    parser.add_argument("--most", type=int, default=200_000, help="texts that are used")
    given = parser.parse_args()
    torch.set_num_threads(1)
    texts = mixed_texts(given.wordnet, given.books, given.abstracts)[: given.most]
    targets = load_cached_encoder(TextConfig(backend="openvino", precision="bfloat16")).encode(texts, "query")
    parser.exit(0, f"{make(texts, targets, load_cached_encoder(TextConfig()), OUT)}\n")


if __name__ == "__main__":
    main()
