"""Tiny inputs for every training command: each trains in seconds, and writes all that a run has.

A command whose options are a `FitConfig` trains; one that is added needs its inputs in `INPUTS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from toy_runs import write_tu
from word_model import noisy, write_word_model

from commands import every_command
from jepakit.cli.main import main
from jepakit.training import FitConfig
from tiny_llama import write_tiny_llama


def graphs(folder: Path) -> str:
    data = write_tu(folder / "TOY", "TOY", node_labels=3)
    probe = "--evaluate.classifier logistic --evaluate.folds 2 --evaluate.seeds [0] --evaluate.floors [random]"
    return f"--dataset {data} --epochs 6 --batch-size 8 --encoder.hidden 8 --encoder.layers 1 {probe}"


def programs(folder: Path) -> str:
    size = '{"rows":8,"columns":6,"density":0.4}'
    words = ["lp", "generate", "set-cover", "--size", size, "--count", "8", "--out", str(folder / "problems")]
    assert main(words) == 0
    return f"{folder / 'problems'} --epochs 6 --batch-size 2 --encoder.dim 8 --encoder.depth 1 --encoder.dropout 0.1"


def documents(folder: Path) -> str:
    data = noisy(40)
    rows = [{"id": name, "text": text} for name, text in zip(data.documents.ids, data.documents.texts, strict=True)]
    pairs = data.splits["all"]
    asked = zip(pairs.query.tolist(), pairs.document.tolist(), strict=True)
    answers = [{"query": data.queries.texts[query], "document": data.documents.ids[row]} for query, row in asked]
    for name, lines in (("corpus", rows), ("pairs", answers)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    base = f"--text.base {write_word_model(folder)} --text.device cpu --text.cache false"
    files = f"--corpus {folder / 'corpus.jsonl'} --pairs {folder / 'pairs.jsonl'}"
    return f"{files} {base} --epochs 6 --batch-size 16 --selection.folds 2"


def triples(folder: Path) -> str:
    """Films, of which each has a director and a year."""
    rows = [(f"film {i}", "directed_by", f"person {i % 5}") for i in range(12)]
    rows += [(f"film {i}", "year", str(1990 + i % 4)) for i in range(12)]
    (folder / "graph.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    base = f"--text.base {write_word_model(folder)} --text.device cpu --text.cache false"
    return f"--graph {folder / 'graph.tsv'} {base}"


def questions(folder: Path) -> str:
    options = triples(folder)
    asked = [
        {"question": f"the year of film {i}", "topics": [f"film {i}"], "answers": [str(1990 + i % 4)]}
        for i in range(12)
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in asked))
    matcher = "--matcher.hidden 8 --matcher.dropout 0.1 --hops 2"
    return f"{options} --questions {folder / 'questions.jsonl'} --epochs 6 --batch-size 4 {matcher}"


def subgraphs(folder: Path) -> str:
    sizes = "--encoder.hidden 8 --encoder.layers 1 --subgraphs 8 --batch-size 4"
    return f"{triples(folder)} --epochs 6 {sizes}"


def subgraphs_and_questions(folder: Path) -> str:
    options = questions(folder)
    retriever = folder / "retriever"
    assert main(["kgqa", "fit-retriever", *options.split(), "--epochs", "1", "--run", str(retriever)]) == 0
    model = write_tiny_llama(folder / "llama", ["the year of film 1990", "directed by person", "Question facts answer"])
    parts = f"--llm-model {model} --encoder.hidden 8 --encoder.layers 1 --fusion.hidden 8 --candidates 4"
    plain = options.replace(" --matcher.hidden 8 --matcher.dropout 0.1 --hops 2", "")
    return f"{plain} --retriever {retriever} {parts} --tuning lora --lora-rank 2"


def agent_runs(_folder: Path) -> str:
    sizes = "--encoder.hidden 8 --encoder.heads 2 --encoder.text_dim 8 --latent_dim 16 --detector.steps 5"
    return f"--generated 40 --batch_size 8 {sizes}"


INPUTS: dict[str, Callable[[Path], str]] = {
    "graph pretrain": graphs,
    "guard train": agent_runs,
    "kgqa finetune": subgraphs_and_questions,
    "kgqa fit-retriever": questions,
    "kgqa pretrain": subgraphs,
    "lp train": programs,
    "retrieval train": documents,
}


def training_commands() -> list[str]:
    return [name for name, command in every_command().items() if issubclass(command.options, FitConfig)]
