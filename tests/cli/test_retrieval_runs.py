"""``jepakit retrieval``: from a folder of files and some pairs to a search, and what goes wrong on the way."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from places import postgres
from safetensors.torch import load_file

from jepakit import load_encoder
from jepakit.cli.main import main
from jepakit.retrieval import Adapter, Index, Searcher

TOPICS = {
    "bread": "Mix flour, water, salt and yeast. Let the dough rise for two hours and bake it until the crust is brown.",
    "bicycle": "Take the wheel off, lever the tyre from the rim, patch the inner tube and pump it up again.",
    "tomatoes": "Sow in March, plant out after the last frost, water at the root and tie the stems to a stake.",
    "chess": "Castle early, fight for the centre, and do not bring the queen out before the minor pieces.",
    "knots": "A bowline makes a loop that does not slip; a clove hitch fastens a rope to a pole.",
    "paint": "Sand the wood, apply a primer, and put on two thin coats instead of one thick coat.",
    "coffee": "Grind the beans just before brewing and pour water of ninety-four degrees over them.",
    "tent": "Choose level ground away from trees, lay out the groundsheet and peg the corners first.",
    "violin": "Rosin the bow, tune the A string to 440 hertz, then the others in fifths.",
    "frost": "Cover the tap outdoors, drain the hose, and let the radiator run on low all night.",
    "bees": "Open the hive on a warm day, smoke it lightly and look for eggs to know that the queen lives.",
    "soap": "Pour the lye into the water, never the water into the lye, and stir until it thickens.",
}
QUESTIONS = {
    "bread": ["How do I get a brown crust?", "dough does not rise"],
    "bicycle": ["I have a flat tyre", "repair a puncture"],
    "tomatoes": ["When to sow vegetables in spring?", "support for plant stems"],
    "chess": ["opening advice for beginners", "when may my queen come out"],
    "knots": ["a loop that holds", "tie a boat to a pole"],
    "paint": ["varnish an old chair", "how many coats"],
    "coffee": ["best temperature for brewing", "when to grind"],
    "tent": ["where to camp", "pitching in the right order"],
    "violin": ["which pitch is the A", "sound of the bow is weak"],
    "frost": ["pipes in winter", "keep the heating on?"],
    "bees": ["is my queen alive", "calming the colony"],
    "soap": ["lye safety", "order of mixing"],
}
QUICK = ["--epochs", "2", "--selection.folds", "3", "--progress", "false"]


@dataclass(frozen=True)
class Home:
    """A folder of documents, pairs, and a finished run on them."""

    docs: Path
    pairs: Path
    run: Path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    docs = folder / "docs"
    docs.mkdir()
    for name, text in TOPICS.items():
        (docs / f"{name}.md").write_text(f"# {name.title()}\n\n{text}\n")
    pairs = folder / "pairs.jsonl"
    ids = {document.split(".")[0]: document for document in _ids(docs)}
    lines = [{"query": question, "document": ids[name]} for name, some in QUESTIONS.items() for question in some]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = folder / "run"
    words = ["--corpus", str(docs), "--pairs", str(pairs), "--run", str(run), *QUICK]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["retrieval", "train", *words]) == 0
    return Home(docs, pairs, run)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def _ids(docs: Path) -> tuple[str, ...]:
    from jepakit.retrieval import load_dataset

    return load_dataset(docs).documents.ids


def test_a_run_has_all_its_parts(home: Home) -> None:
    parts = {path.name for path in home.run.iterdir()}
    assert parts >= {"config.yaml", "metrics.csv", "encoder", "index", "search.json", "results.json", "report.html"}
    assert isinstance(load_encoder(home.run / "encoder"), Adapter)
    assert len(Index.open(home.run / "index")) == len(TOPICS)
    results = json.loads((home.run / "results.json").read_text())
    methods = {row["method"] for row in results["rows"]}
    assert {"jepakit: full search", "base model", "base model + sentences", "base model + BM25", "BM25"} <= methods
    assert results["recommendation"].startswith("Use jepakit: full search for now")
    # No held-out question gained by sentences, so none are stored.
    assert Searcher.open(home.run).settings.sentences == 0
    assert Index.open(home.run / "index").sentences is None
    assert any("share" in line for line in results["summary"])
    config = yaml.safe_load((home.run / "config.yaml").read_text())
    assert config["corpus"] == str(home.docs)
    assert config["text"]["base"] == "all-MiniLM-L6-v2"


def test_search_prints_the_document_that_answers(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("fused", "dense", "words"):
        words = [
            "retrieval",
            "search",
            "pump up the tyre of a wheel",
            "--run",
            str(home.run),
            "--k",
            "2",
            "--mode",
            mode,
        ]
        assert main(words) == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert first.startswith(" 1. Bicycle")
        assert "bicycle.md" in first


def test_a_database_gives_what_the_runs_own_index_gives(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with postgres() as server:
        address = f"{server}&table=docs"
        assert main(["retrieval", "index", "--run", str(home.run), "--to", address]) == 0
        own, there = Searcher.open(home.run), Searcher.open(home.run, index=address)
        questions = [question for some in QUESTIONS.values() for question in some]
        expected = own.search(questions, 3, mode="dense", where={"path": ["bread.md", "bees.md", "soap.md"]})
        answers = there.search(questions, 3, mode="dense", where={"path": ["bread.md", "bees.md", "soap.md"]})
        assert bool(there.notes) == bool(own.settings.use_words or own.settings.sentences)
        if not own.settings.sentences:
            for some, others in zip(answers, expected, strict=True):
                assert [found.id for found in some] == [found.id for found in others]
                assert [found.score for found in some] == pytest.approx([found.score for found in others], abs=1e-4)
        there.index.close()
        own.index.close()
        words = ["retrieval", "search", "pump up the tyre", "--run", str(home.run), "--index", address]
        assert main([*words, "--where", "[path=chess.md|bicycle.md]"]) == 0
        assert capsys.readouterr().out.splitlines()[-4].startswith(" 1. Bicycle")
        assert main(["retrieval", "index", "--run", str(home.run), "--to", address, "--delete", "[bicycle.md]"]) == 0
        assert main(words) == 0
        assert "bicycle.md" not in capsys.readouterr().out.replace("documents deleted", "")
        assert main([*words, "--mode", "words"]) == 2
        assert main(["retrieval", "index", "--run", str(home.run), "--to", address]) == 2


def test_metadata_narrow_a_search(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["retrieval", "search", "pump up the tyre", "--run", str(home.run), "--where", "[path=chess.md|tent.md]"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "bicycle.md" not in out
    assert "chess.md" in out
    assert main([*words[:-1], "[path~chess]"]) == 2
    assert "error: filter = 'path~chess'" in capsys.readouterr().err


def test_documents_come_and_go(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(home.run, run)
    more = tmp_path / "more"
    more.mkdir()
    (more / "skis.md").write_text("# Skis\n\nWax the base, scrape it when it is cold, and brush towards the tail.\n")
    search = ["retrieval", "search", "waxing skis", "--run", str(run), "--k", "1"]
    assert main(["retrieval", "index", "--run", str(run), "--corpus", str(more), "--add"]) == 0
    assert main(search) == 0
    out = capsys.readouterr().out
    assert f"{len(TOPICS) + 1} in " in out
    assert " 1. Skis" in out
    (added,) = _ids(more)
    assert main(["retrieval", "index", "--run", str(run), "--delete", f"[{added}]"]) == 0
    assert main(search) == 0
    assert "Skis" not in capsys.readouterr().out
    assert main(["retrieval", "index", "--run", str(run), "--delete", f"[{added}]"]) == 2
    assert "skis.md" in capsys.readouterr().err
    assert main(["retrieval", "index", "--run", str(run)]) == 0
    assert len(Index.open(run / "index")) == len(TOPICS)


def test_its_own_configuration_repeats_a_run(home: Home, tmp_path: Path) -> None:
    again = tmp_path / "again"
    words = ["--config", str(home.run / "config.yaml"), "--run", str(again), "--progress", "false"]
    assert main(["retrieval", "train", *words]) == 0
    ours, theirs = (load_file(run / "encoder" / "model.safetensors") for run in (home.run, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() | theirs.keys())
    assert (again / "results.json").read_text() == (home.run / "results.json").read_text()


def test_evaluate_at_home_and_elsewhere(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "per_query.csv"
    assert main(["retrieval", "evaluate", "--run", str(home.run), "--per-query", str(table)]) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {"query", "text", "seen", "jepakit: full search", "base model"} <= rows[0].keys()
    assert main(["retrieval", "evaluate", "--run", str(home.run), "--pairs", str(home.pairs)]) == 0
    assert "NDCG@10" in capsys.readouterr().out


def test_without_pairs_they_are_made_and_the_output_says_so(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["--corpus", str(home.docs), "--run", str(run), *QUICK]
    assert main(["retrieval", "train", *words]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "pairs made from the documents" in out
    # The index is of the documents, not of the parts that training predicted.
    assert len(Index.open(run / "index")) == len(TOPICS)


def test_one_document_ends_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "bread.md").write_text(
        "# Bread\n\nMix flour, water and salt. Let the dough rise for an hour.\n"
    )
    assert main(["retrieval", "train", "--corpus", str(tmp_path / "one"), "--run", str(tmp_path / "run"), *QUICK]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "error: splits: too few queries to divide into train, dev, test" in error
    assert "can be searched without training" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", ["minimal", "hybrid", "full"])
def test_presets_run(preset: str, home: Home, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--corpus", str(home.docs), "--pairs", str(home.pairs), "--run", str(run), "--preset", preset, *QUICK]
    assert main(["retrieval", "train", *words, "--index", "false"]) == 0
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["adapter"]["output_dim"] == 512
    assert not (run / "index").exists()


def test_errors_are_one_line_and_name_what_to_do(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main(["retrieval", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "query = None: expected what is asked" in refused("search", "--run", str(home.run))
    assert "there is no run folder here" in refused("search", "x", "--run", str(tmp_path / "none"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"query": "a", "document": "breda.md#bread"}\n')
    train = ["train", "--corpus", str(home.docs), "--run", str(tmp_path / "run"), *QUICK]
    assert "bad.jsonl:1: document" in refused(*train, "--pairs", str(bad))
    assert not (tmp_path / "run").exists()
    assert "nowhere" in refused(*train, "--text.base", str(tmp_path / "nowhere"))
    assert "run = " in refused("train", "--corpus", str(home.docs), "--run", str(home.run), *QUICK)


def test_a_base_that_changed_under_the_adapter_is_refused(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(home.run, run)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("max_tokens: null", "max_tokens: 16"))
    assert main(["retrieval", "search", "tyre", "--run", str(run)]) == 2
    error = capsys.readouterr().err
    assert "jepakit retrieval" in error
    assert "Traceback" not in error


def test_an_exported_run_encodes_as_the_run_searches(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentence_transformers import SentenceTransformer

    words = ["retrieval", "export", "--run", str(home.run), "--out", str(tmp_path / "model")]
    assert main(words) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "encode_query for queries" in out
    assert "left out: the fall back to the base model" in out
    assert "left out: BM25 in other collections (weight 0.2)" in out
    model = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    index = Index.open(home.run / "index")
    query = torch.from_numpy(model.encode_query(["pump up the tyre of a wheel"]))
    assert index.documents(index.search_vectors(query, 1).rows[0]).ids == ("bicycle.md",)
    assert main(words) == 2
    assert "error: " in capsys.readouterr().err


def test_an_open_door_needs_a_token(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrieval", "serve", "--run", str(home.run), "--host", "0.0.0.0"]) == 2
    assert "token" in capsys.readouterr().err
