"""The benchmarks' harness and renderer: what is written, what survives, what reaches the documentation."""

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from benchmarks import costs, graph_speed, guard_repair, harness, render
from benchmarks.figures import growth
from benchmarks.guard_plans import ORACLE, Result
from benchmarks.guard_runs import in_turns
from benchmarks.harness import Options, Steps, judged, write_results
from benchmarks.kgqa_floors import expected_hit, floors
from benchmarks.kgqa_scale_growth import NUMBERS, growth_rows, growths
from benchmarks.retrieval_elsewhere import PUBLISHERS, interval_of_mean, published
from toy_collection import WordEncoder

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, Subgraph, entity_table
from jepakit.kgqa.retrievers import Retrieved
from jepakit.retrieval import Documents, Pairs, Queries, RetrievalDataset
from jepakit.training.result_rows import ResultRow, read_rows

ROWS = [
    ResultRow("MUTAG", "random encoder", "accuracy %", 88.5, 0.75, 3),
    ResultRow("MUTAG", "jepakit: JEPA", "accuracy %", 90.25, 0.5, 3, aim=91.0, ours=True),
    ResultRow("NCI1", "jepakit: JEPA", "accuracy %", 86.5, 0.25, 3, aim=86.0, note="a | b", ours=True),
    ResultRow("MUTAG", "kernel (published)", "accuracy %", 89.0, note="other folds"),
    ResultRow("MUTAG", "rival", "time, ms", None, note="not measured", lower_is_better=True),
    ResultRow("MUTAG", "jepakit", "time, ms", 4.0, aim=5.0, ours=True, lower_is_better=True),
]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(rows: Sequence[ResultRow], folder: Path, *flags: str) -> None:
    def measured(options: Options, steps: Steps) -> list[ResultRow]:
        return list(rows)

    harness.main("sample", measured, ["--out", str(folder), *flags])


def test_the_file_has_the_fields_of_the_contract_and_rows_that_can_be_read_back(tmp_path: Path) -> None:
    run(ROWS, tmp_path)
    content = json.loads((tmp_path / "sample.json").read_text("utf-8"))
    assert list(content) == ["benchmark", "commit", "command", "machine", "date", "rows"]
    assert (content["benchmark"], content["command"]) == ("sample", "python -m benchmarks.sample")
    assert time.strptime(content["date"], "%Y-%m-%d")
    assert "cores" in content["machine"]
    assert "torch" in content["machine"]
    names = ["dataset", "method", "metric", "value", "std", "seeds", "aim", "met", "note", "ours", "lower_is_better"]
    assert all(list(row) == names for row in content["rows"])
    assert read_rows(content["rows"]) == tuple(judged(row) for row in ROWS)


def test_quick_results_have_a_name_of_their_own_and_the_benchmark_is_told(tmp_path: Path) -> None:
    seen: list[Options] = []

    def rows(options: Options, steps: Steps) -> list[ResultRow]:
        seen.append(options)
        return ROWS

    checkout = tmp_path / "somewhere" / "rival"
    harness.main("sample", rows, ["--quick", "--rival", str(checkout), "--out", str(tmp_path)])
    assert [file.name for file in tmp_path.glob("*.json")] == ["sample.quick.json"]
    assert seen == [Options(quick=True, rival=checkout)]
    content = json.loads((tmp_path / "sample.quick.json").read_text("utf-8"))
    assert content["command"] == "python -m benchmarks.sample --quick --rival rival"


@pytest.mark.parametrize(
    ("lower_is_better", "value", "aim", "met"),
    [
        (False, 86.0, 86.0, True),
        (False, 85.9, 86.0, False),
        (True, 0.9, 1.0, True),
        (True, 1.1, 1.0, False),
        (True, 5.0, 5.0, True),
        (False, None, 10.0, None),
        (False, 10.0, None, None),
    ],
)
def test_whether_an_aim_is_met_depends_on_which_way_the_metric_runs(
    lower_is_better: bool, value: float | None, aim: float | None, met: bool | None
) -> None:
    row = ResultRow("MUTAG", "jepakit", "score", value, aim=aim, lower_is_better=lower_is_better)
    assert judged(row).met is met


def test_what_a_benchmark_says_of_its_aim_itself_is_kept() -> None:
    assert judged(ResultRow("MUTAG", "jepakit", "accuracy %", 86.0, aim=86.0, met=False)).met is False


def test_numbers_of_an_interrupted_benchmark_are_not_measured_again(tmp_path: Path) -> None:
    measured: list[int] = []
    interrupted = True

    def rows(options: Options, steps: Steps) -> list[ResultRow]:
        def measure(seed: int) -> float:
            if seed == 2 and interrupted:
                raise KeyboardInterrupt
            measured.append(seed)
            return float(seed)

        return [
            ResultRow("MUTAG", str(seed), "loss", steps.value(("MUTAG", seed), lambda s=seed: measure(s)))
            for seed in range(4)
        ]

    with pytest.raises(KeyboardInterrupt):
        harness.main("sample", rows, ["--out", str(tmp_path)])
    assert not (tmp_path / "sample.json").exists()
    assert measured == [0, 1]
    interrupted = False
    harness.main("sample", rows, ["--out", str(tmp_path)])
    assert measured == [0, 1, 2, 3]
    harness.main("sample", rows, ["--out", str(tmp_path)])
    assert measured == [0, 1, 2, 3]
    harness.main("sample", rows, ["--out", str(tmp_path), "--fresh"])
    assert measured == [0, 1, 2, 3, 0, 1, 2, 3]
    values = [row["value"] for row in json.loads((tmp_path / "sample.json").read_text("utf-8"))["rows"]]
    assert values == [0, 1, 2, 3]


def test_a_number_that_is_not_finite_leaves_the_old_file_alone(tmp_path: Path) -> None:
    run(ROWS, tmp_path)
    before = (tmp_path / "sample.json").read_bytes()
    with pytest.raises(SystemExit, match=r"rows\[0\]\.value: .*nan"):
        run([ResultRow("MUTAG", "jepakit", "loss", float("nan"))], tmp_path)
    assert (tmp_path / "sample.json").read_bytes() == before
    assert [file.name for file in tmp_path.glob("sample*")] == ["sample.json"]


def test_a_missing_data_folder_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)

    def rows(options: Options, steps: Steps) -> list[ResultRow]:
        harness.data_dir()
        return []

    with pytest.raises(SystemExit, match="JEPAKIT_DATA"):
        harness.main("sample", rows, ["--out", str(tmp_path)])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of result files."""
    folder = tmp_path / "results"
    write_results("graph_tu", ROWS, folder, Options(quick=False, rival=None))
    worse = [ResultRow("MUTAG", "jepakit: JEPA", "accuracy %", 1.0)]
    write_results("graph_tu", worse, folder, Options(quick=True, rival=None))
    return folder


PAGE = """# A page
before
<!-- results:graph_tu -->
stale
<!-- /results:graph_tu -->
between
<!-- results:all -->
<!-- /results:all -->
after
"""


def test_the_blocks_of_a_page_are_filled_and_nothing_else_is_touched(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")
    render.main([str(page), "--results", str(results)])
    once = page.read_text("utf-8")
    render.main([str(page), "--results", str(results)])
    assert page.read_text("utf-8") == once
    outside = [line for line in PAGE.splitlines() if line != "stale"]
    assert list(_in_order(outside, once.splitlines())) == outside
    assert "stale" not in once
    # The headline is the first table; everything is in the other block.
    assert once.count("| accuracy % | MUTAG | NCI1 |") == 2
    assert once.count("| time, ms | MUTAG |") == 1
    assert "1.00" not in once
    # So is what is said of a single number.
    assert once.count("1. a \\| b") == 1
    assert once.count("other folds") == 2


def _in_order(wanted: Sequence[str], lines: Sequence[str]) -> Iterator[str]:
    rest = iter(lines)
    yield from (line for line in wanted if line in rest)


def test_growth_is_drawn_from_its_rows_beside_the_page(tmp_path: Path) -> None:
    by_triples, by_entities = growths(quick=True)
    numbers = [{"question": 5.0, "subgraphs": 0.5, "memory": 1.0}, {"question": 7.0, "subgraphs": 0.75, "memory": 2.0}]
    rows = [ROWS[0], *growth_rows(by_triples, numbers), *growth_rows(by_entities, numbers)]
    axes = growth(rows).axes
    assert [(one.get_xlabel(), one.get_title()) for one in axes] == [
        (f"{size}, millions", metric) for size in ("triples", "entities") for metric in NUMBERS.values()
    ]
    drawn = [one.get_lines()[0].get_xydata().tolist() for one in axes]
    assert drawn[0] == [[0.1, 5], [0.2, 7]]
    assert drawn[5] == [[0.01, 1], [0.02, 2]]

    write_results("kgqa_scale", rows, tmp_path, Options(quick=False, rival=None))
    page, figure = tmp_path / "page.md", tmp_path / "kgqa_scale.svg"
    page.write_text("<!-- results:kgqa_scale -->\n<!-- /results:kgqa_scale -->\n", "utf-8")
    render.main([str(page), "--results", str(tmp_path)])
    assert not figure.exists()
    page.write_text("<!-- results:all -->\n<!-- /results:all -->\n", "utf-8")
    render.main([str(page), "--results", str(tmp_path)])
    assert "](kgqa_scale.svg)" in page.read_text("utf-8")
    once = figure.read_bytes()
    assert ElementTree.fromstring(once).tag.endswith("svg")
    render.main([str(page), "--results", str(tmp_path)])
    assert figure.read_bytes() == once


def test_a_table_has_ours_first_spread_aims_notes_and_the_best_in_bold(results: Path) -> None:
    filled = render.fill(PAGE, render.read_results(results), file=Path("page.md"))
    block = filled.split("<!-- results:all -->\n")[1].splitlines()
    assert block[0] == "## graph_tu"
    assert "`python -m benchmarks.graph_tu` at commit " in block[2]
    assert "over 3 seeds" in block[2]
    assert block[4:16] == [
        "| accuracy % | MUTAG | NCI1 |",
        "| --- | ---: | ---: |",
        "| jepakit: JEPA | **90.25 ± 0.50** (aim 91 missed by 0.75) | **86.50 ± 0.25** (aim 86 met) <sup>1</sup> |",
        "| random encoder | 88.50 ± 0.75 |  |",
        "| kernel (published) <sup>2</sup> | 89.00 |  |",
        "",
        "1. a \\| b",
        "2. other folds",
        "",
        "| time, ms | MUTAG |",
        "| --- | ---: |",
        "| jepakit | **4.000** (aim 5 met) |",
    ]
    assert block[16] == "| rival <sup>1</sup> | — |"


def test_a_benchmark_without_results_says_how_to_get_them(tmp_path: Path) -> None:
    filled = render.fill(PAGE, render.read_results(tmp_path), file=Path("page.md"))
    assert "Not measured yet: `python -m benchmarks.graph_tu`" in filled
    assert "<!-- results:all -->\nNot measured yet.\n<!-- /results:all -->" in filled


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("a\n<!-- results:graph_tu -->\n", r"page\.md:2: a block is not closed"),
        ("<!-- results:graph_to -->\n<!-- /results:graph_to -->", r"page\.md:1: there is no such benchmark .*graph_to"),
    ],
)
def test_a_faulty_page_is_refused_with_its_line(page: str, message: str, results: Path) -> None:
    with pytest.raises(DataError, match=message):
        render.fill(page, render.read_results(results), file=Path("page.md"))


def test_a_faulty_result_is_refused_before_any_page_is_written(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, "utf-8")
    (results / "broken.json").write_text('{"benchmark": "broken",\n', "utf-8")
    with pytest.raises(SystemExit, match=r"broken\.json:2: not JSON"):
        render.main([str(page), "--results", str(results)])
    (results / "broken.json").write_text(json.dumps({"benchmark": "broken", "rows": []}), "utf-8")
    with pytest.raises(SystemExit, match=r"broken\.json: commit: is missing"):
        render.main([str(page), "--results", str(results)])
    assert page.read_text("utf-8") == PAGE


def test_without_a_rival_its_rows_are_there_and_empty() -> None:
    speeds = {timed: [] if timed.rival else [100.0, 300.0] for timed in graph_speed.TIMED}
    rows = graph_speed._speed_rows("MUTAG", 1, speeds)
    read_rows([asdict(row) for row in rows])
    assert {row.value for row in rows if row.method.startswith(graph_speed.RIVAL)} == {None}
    ratios = [row for row in rows if "times as fast" in row.metric]
    assert [row.value for row in ratios] == [None] * len(ratios)
    assert all("--rival" in row.note for row in rows if row.value is None)
    assert [row.aim for row in ratios if row.method == "jepakit"] == [10.0, 10.0]


def test_how_much_faster_is_the_mean_over_turns_of_the_ratio_of_like_with_like() -> None:
    ours, ready, theirs, theirs_ready = [10.0, 40.0], [12.0, 12.0], [1.0, 2.0], [3.0, 4.0]
    speeds = {
        timed: (theirs_ready if "beforehand" in timed.method else theirs)
        if timed.rival
        else (ready if "beforehand" in timed.method else ours)
        for timed in graph_speed.TIMED
    }
    rows = {(row.method, row.metric): row for row in graph_speed._speed_rows("MUTAG", 2, speeds)}
    assert rows["jepakit", "pre-training, times as fast, 2 threads"].value == (10 + 20) / 2
    assert rows["jepakit, batches made beforehand", "pre-training, times as fast, 2 threads"].value == (4 + 3) / 2
    assert rows["jepakit", "pre-training, graphs/s, 2 threads"].value == 25.0


def test_a_folder_that_is_not_the_rival_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"rival = .*expected a checkout of geriskenderi/graph-jepa"):
        harness.main("graph_speed", graph_speed.rows, ["--rival", str(tmp_path), "--out", str(tmp_path)])


def test_a_rival_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ValueError: too old.*expected a checkout .* that runs"):
        graph_speed.RivalProcess([sys.executable, "-c", "raise ValueError('too old')"], tmp_path)


def test_a_rival_is_timed_job_by_job(tmp_path: Path) -> None:
    """A process that says it needed 2 s for an epoch of 10 graphs and 4 s for anything else."""
    code = "import sys; say = lambda t: print(t, flush=True); say('{\"graphs\": 10}')\n"
    code += "for line in sys.stdin: say('{\"seconds\": 2.0}' if line == 'epoch\\n' else '{\"seconds\": 4.0}')"
    rival = graph_speed.RivalProcess([sys.executable, "-c", code], tmp_path)
    assert [rival.graphs_per_second(job) for job in ("epoch", "embed", "epoch")] == [5.0, 2.5, 5.0]
    rival.close()
    assert rival.process.returncode == 0


def test_memory_is_what_torch_holds_at_most() -> None:
    """Masking at random holds a few vectors of a number a node, so twice the nodes take twice the memory."""
    small, large = graph_speed._peak("random", 2_000), graph_speed._peak("random", 4_000)
    assert small > 8 * 2_000
    assert large == pytest.approx(2 * small, rel=0.05)


def test_of_entities_that_are_equally_good_none_is_the_first() -> None:
    """Two of four films share a word with the first question; the second question is the name of one."""
    names = ("matrix", "matrix sequel", "matrix prequel", "bound")
    relations, triples = [Relation("like")], np.array([(0, 0, 1), (0, 0, 2), (0, 0, 3)])
    graph = KnowledgeGraph.from_rows("films", entity_table(names), relations, triples)
    asked = Questions(("which is like matrix", "bound"), ((0,), (0,)), ((1,), (3,)))
    hits = floors(graph, asked, WordEncoder(), 2, 0)
    assert hits["BM25"] == (1 / 2 + 1) / 2
    assert hits["KNN + PCST"] == hits["KNN"]
    assert floors(graph, asked[[1]], WordEncoder(), 2, 0) == dict.fromkeys(hits, 1)
    assert floors(graph, asked[[0, 1] * 50], WordEncoder(), 1, 0)["BM25"] in (1 / 2, 1)


@pytest.mark.parametrize(
    ("entities", "scores", "hit"), [([4, 2, 7], [2, 2, 1], 1 / 2), ([7, 4], [3, 2], 0), ([2], [-1], 1), ([], [], 0)]
)
def test_hits_are_those_of_the_best_entities(entities: list[int], scores: list[float], hit: float) -> None:
    found = np.array(entities, np.int64)
    subgraph = Subgraph(found, np.empty((0, 3), np.int64))
    assert expected_hit(Retrieved(found, np.array(scores, np.float32), subgraph), (2, 5)) == hit


def test_suites_and_attacks_take_turns() -> None:
    groups = {("a", "x"): [1, 2, 3], ("a", "y"): [4], ("b", ""): [5, 6]}
    turns = in_turns(groups, random.Random(0))
    assert sorted(turns) == [1, 2, 3, 4, 5, 6]
    assert set(turns[:3]) & {1, 2, 3}
    assert {4} < set(turns[:3])
    assert set(turns[:3]) & {5, 6}
    assert in_turns(groups, random.Random(0)) == turns


def test_repaired_runs_are_counted_by_kind_and_beside_the_oracle() -> None:
    kept = Result(attacked=True, suite="banking", left=False, useful=True, asked=True, kept=0.5)
    left = Result(attacked=True, suite="slack", left=True, useful=False, asked=False, kept=1.0)
    benign = Result(attacked=False, suite="slack", left=False, useful=False, asked=False, kept=None)
    found = {ORACLE: [kept, kept, benign], "repair": [kept, left, benign]}
    rows = {(row.dataset, row.method, row.metric): row for row in guard_repair.table(found)}
    values = {
        metric: row.value for (data, method, metric), row in rows.items() if (data, method) == ("AgentDojo", "repair")
    }
    assert values == {
        guard_repair.LEFT: 50.0,
        guard_repair.UTILITY: 50.0,
        guard_repair.SHARE: 50.0,
        guard_repair.LOST: 100.0,
        guard_repair.ASKED: pytest.approx(100 / 3),
        guard_repair.KEPT: 75.0,
    }
    # No benign run of this suite: nothing is said about them.
    assert ("AgentDojo banking", "repair", guard_repair.LOST) not in rows
    assert rows["AgentDojo", "repair", guard_repair.LEFT].aim == 10.0


def test_a_publishers_documents_keep_their_pairs() -> None:
    names = tuple(f"A{row}" for row in range(15808))
    documents = Documents(names, names, ("",) * len(names), ({},) * len(names))
    first = {publisher: start for publisher, (start, _) in PUBLISHERS.items()}
    pairs = Pairs.of([0, 1, 2, 3], [first["GARD"], first["CDC"], first["GHR"] - 1, first["CDC"] + 7])
    dataset = RetrievalDataset("medquad", documents, Queries(tuple("qrst"), tuple("qrst")), {"train": pairs})
    some = published(dataset, ("GARD", "CDC"))
    train = some.splits["train"]
    assert len(some.documents) == 5244 + 259
    found = {
        (query, some.documents.ids[row])
        for query, row in zip(train.query.tolist(), train.document.tolist(), strict=True)
    }
    assert found == {(0, "A701"), (1, "A15549"), (2, "A5944"), (3, "A15556")}
    # Every document is some publisher's, and no document is of two.
    assert sorted(PUBLISHERS.values()) == [*PUBLISHERS.values()]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(PUBLISHERS.values()))


def test_the_interval_of_a_mean_over_collections() -> None:
    draw = np.random.default_rng(0)
    # The standard error of each mean is .01; that of the mean of four of them half of it.
    low, high = interval_of_mean([0.02 + 0.1 * draw.standard_normal(100) for _ in range(4)])
    assert high - low == pytest.approx(2 * 1.96 * 0.005, rel=0.15)
    assert low < 0.02 < high


def test_costs_are_continued_as_they_grew() -> None:
    # Four times the size took sixteen times as long: the power is 2.
    # Memory has a part that is the same for all sizes: 6 MiB and a fourth of one for each of the size.
    rows = costs.rows_of("work", [1, 4, 16], [(0.5, 1.0), (1.0, 7.0), (16.0, 10.0)])
    assert {row.dataset: row.value for row in rows} == {
        "s, 1/16": 0.5,
        "s, 1/4": 1.0,
        "s": 16.0,
        "s, 10 times, extrapolated": pytest.approx(1600),
        "s, 100 times, extrapolated": pytest.approx(160_000),
        "MiB": 10.0,
        "MiB, 10 times, extrapolated": 46.0,
        "MiB, 100 times, extrapolated": 406.0,
    }
    assert {row.method for row in rows} == {"work: 16"}


def test_a_table_of_different_tasks_has_no_best(tmp_path: Path) -> None:
    cheap = costs.rows_of("cheap", [1, 4], [(1.0, 2.0), (4.0, 8.0)])
    dear = costs.rows_of("dear", [1, 4], [(2.0, 2.0), (9.0, 8.0)])
    write_results("costs", [*cheap, *dear], tmp_path, Options(quick=False, rival=None))
    text = render.fill("<!-- results:costs -->\n<!-- /results:costs -->", render.read_results(tmp_path), file=tmp_path)
    assert "| cheap: 4" in text
    assert "bold" not in text
    assert "**" not in text
