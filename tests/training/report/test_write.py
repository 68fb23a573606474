"""Reports: what a run folder holds is on the page, in one safe file; what is missing or damaged is said."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jepakit.core.diagnostics import effective_rank
from jepakit.errors import DataError, JepakitError, ModelError
from jepakit.training.report.page import policy_hash
from jepakit.training.report.write import write_report

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A parsed report: its text, its attributes, and whether its tags are balanced."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.html = file.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(self.html)
        self.close()
        assert self.open == [], "tags that were never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def write_metrics(run: Path, rows: list[dict[str, object]]) -> None:
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_embeddings(
    run: Path, embedding: torch.Tensor, label: torch.Tensor | None = None, names: str = "[]", **about: str
) -> None:
    tensors = {"embedding": embedding} if label is None else {"embedding": embedding, "label": label}
    save_file(tensors, run / "embeddings.safetensors", metadata={"label_names": names, **about})


def row(method: str, value: float | None, metric: str = "accuracy", **more: object) -> dict[str, object]:
    return {"dataset": "MUTAG", "method": method, "metric": metric, "value": value, **more}


FLOORS = [
    row("random GIN", 0.871, std=0.0124, seeds=5, note="same architecture"),
    row("jepakit", 0.9, std=0.004, seeds=5, aim=0.89, met=True),
    row("no network", 0.852, std=0.01, seeds=5),
    row("too slow", None, note="ran out of time"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    (folder / "config.yaml").write_text("dataset: MUTAG\nepochs: 12\n")
    curve = [
        {"epoch": e, "step": e + 1, "seconds": 1.5, "train/total": 2.0 - e / 10, "train/mse": 1.0} for e in range(12)
    ]
    curve[0]["diagnostics/effective_rank"] = 3.25
    curve[11]["diagnostics/effective_rank"] = 6.5
    write_metrics(folder, curve)
    (folder / "results.json").write_text(
        json.dumps({"title": "First run", "summary": ["188 graphs"], "recommendation": "Use it.", "rows": FLOORS})
    )
    embedding = torch.randn(40, 8, generator=generator)
    write_embeddings(folder, embedding, torch.arange(40) % 3 - 1, '["inert", "mutagenic"]')
    diagnose(folder, collapsed=False)
    return folder


def diagnose(run: Path, *, collapsed: bool, severity: str = "warning") -> None:
    finding = {"what": "rank fell to 1.2", "advice": "raise the weight of SIGReg", "severity": severity}
    content = {"collapsed": collapsed, "findings": [finding], "values": {"effective_rank": 1.25, "dead_dims": 3}}
    (run / "diagnosis.json").write_text(json.dumps(content))


def test_the_page_shows_what_the_run_holds(run: Path) -> None:
    report = write_report(run)
    page = Page(report)
    assert report == run / "report.html"
    for told in ("First run", "188 graphs", "Recommendation. Use it.", "MUTAG", "18.0 s", "40 × 8", "dataset: MUTAG"):
        assert told in page.text, told
    assert "Total loss 2 → 0.9" in page.text
    assert "Effective rank 3.25 → 6.5" in page.text
    assert "inert 13" in page.text
    assert "mutagenic 13" in page.text
    assert "no label 14" in page.text
    assert "No collapse found." in page.text
    assert "Rank fell to 1.2. Raise the weight of SIGReg." in page.text
    assert [path.name for path in run.iterdir() if "partial" in path.name] == []


def test_the_file_needs_nothing_outside_itself(run: Path) -> None:
    page = Page(write_report(run))
    assert not page.all("link")
    assert not page.all("img")
    links = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href")
    ]
    assert all(str(link).startswith("#") for link in links)
    assert "@import" not in page.html
    outside = set(re.findall(r"https?://[^\s\"'<>]+", page.html))
    assert outside == {"http://www.w3.org/2000/svg"}
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    used = set(re.findall(r"url\(#([^)]+)\)", page.html)) | {str(link)[1:] for link in links}
    assert used <= set(identifiers)


def test_the_page_allows_its_own_style_and_script_and_nothing_else(run: Path) -> None:
    page = Page(write_report(run))
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    (style,), (script,) = (re.findall(f"<{tag}>(.*?)</{tag}>", page.html, re.DOTALL) for tag in ("style", "script"))
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src '{policy_hash(style)}'; script-src '{policy_hash(script)}'"
    )
    # What the policy would not let work is not there.
    assert not [
        attributes for _, attributes in page.tags if any(n == "style" or n.startswith("on") for n in attributes)
    ]


def test_figures_and_tables_speak_to_those_who_cannot_see_them(run: Path) -> None:
    page = Page(write_report(run))
    charts = [attributes for attributes in page.all("svg") if "chart" in str(attributes.get("class")).split()]
    assert len(charts) == 5
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in charts)
    assert {"Total loss at 12 epochs: 2 → 0.9", "Effective rank at 2 epochs: 3.25 → 6.5"} <= {
        attributes["aria-label"] for attributes in charts
    }
    assert {attributes.get("scope") for attributes in page.all("th")} == {"col", "row", "rowgroup"}


def test_the_table_puts_ours_above_the_floors_with_its_gain(run: Path) -> None:
    rows = Page(write_report(run)).rows
    assert rows[1] == ["MUTAG, accuracy (higher is better) · ours +0.029 against the strongest other, random GIN"]
    assert rows[2] == ["jepakitours", "0.900 ± 0.004", "", "", "5", "0.890 met", ""]
    assert rows[3] == ["random GIN", "0.871 ± 0.012", "", "+0.029", "5", "", "same architecture"]
    assert rows[4] == ["no network", "0.852 ± 0.010", "", "+0.048", "5", "", ""]
    assert rows[5] == ["too slow", "—", "", "", "", "", "ran out of time"]


def test_scores_are_drawn_on_the_axis_of_their_group(run: Path) -> None:
    """The third column of the table: from the least to the greatest, spread included."""
    marks = re.findall(r'<svg class="score".*?</svg>', Page(write_report(run)).html)
    places = [float(place) for mark in marks for place in re.findall(r'cx="([\d.]+)%"', mark)]
    # 0.842 to 0.904 with room of 6 % of it below and above.
    assert places == pytest.approx(
        [100 * (value - 0.842 + 0.0037) / (0.062 * 1.12) for value in (0.9, 0.871, 0.852)], abs=0.3
    )


def section(**changed: object) -> dict[str, object]:
    plain = {"title": "Queries", "columns": ["Query", "Before", "Found"], "rows": [["q", 0.43, "a"], ["r", None, ""]]}
    return {**plain, **changed}


def curve(**changed: object) -> dict[str, object]:
    return {
        "title": "By labels",
        "x_label": "labels",
        "y_label": "score",
        "x": [0, 10],
        "lines": [["a", [0, 1]]],
        **changed,
    }


def scatter(**changed: object) -> dict[str, object]:
    return {"title": "Probe", "label": "logP", "true": [1.0, 2.0], "predicted": [1.5, 1.0], **changed}


def example(
    title: str, nodes: list[str], edges: list[list[object]], facts: list[list[str]] | None = None
) -> dict[str, object]:
    drawn: dict[str, object] = {
        "description": title,
        "nodes": [{"name": name, "layer": layer, "kind": "answer", "title": name} for layer, name in enumerate(nodes)],
        "edges": [dict(zip(("source", "target", "name"), edge, strict=True)) for edge in edges],
    }
    return {"title": title, "facts": facts or [], "diagram": drawn}


def test_curves_and_examples_are_drawn(run: Path) -> None:
    # A dollar begins no formula.
    shown = curve(x_label="$\\frac$", lines=[["$\\x$", [0, 1]]])
    examples = [example("Who made it?", ["film", "person"], [[0, 1, "director"]]), {"title": "Why?", "facts": []}]
    (run / "results.json").write_text(json.dumps({"rows": FLOORS, "curves": [shown], "examples": examples}))
    page = Page(write_report(run))
    drawn = [attributes for attributes in page.all("svg") if attributes.get("class") == "diagram"]
    assert [attributes.get("aria-label") for attributes in drawn] == ["Who made it?"]
    assert any("By labels" in str(attributes.get("aria-label")) for attributes in page.all("svg"))
    assert all(text in page.text for text in ("Who made it?", "Why?", "film — director → person"))


def test_sections_of_a_system_stand_between_results_and_training(run: Path) -> None:
    sections = [section(text="Those that gained."), section(title="Nothing gained", rows=[]), section(title="Others")]
    (run / "results.json").write_text(json.dumps({"rows": FLOORS, "sections": sections}))
    page = Page(write_report(run))
    titles = re.findall("<h2>([^<]+)</h2>", page.html)
    assert titles[:4] == ["Results", "Queries", "Others", "Training"]
    assert page.rows[6:12] == [["Query", "Before", "Found"], ["q", "0.43", "a"], ["r", "", ""]] * 2
    assert page.text.count("Those that gained.") == 1
    found = re.findall('<th scope="row">[qr]</th><td class="number"[^>]*>([^<]*)</td><td>([^<]*)</td>', page.html)
    assert found == [("0.43", "a"), ("", "")] * 2


def test_columns_that_say_nothing_are_left_out(run: Path) -> None:
    (run / "results.json").write_text(json.dumps({"rows": [row("jepakit", 1.0), row("floor", 2.0, note="n")]}))
    assert Page(write_report(run)).rows[0] == ["Method", "Mean ± std", "", "Gain of ours over it", "Note"]


def test_only_the_best_value_is_bold(run: Path) -> None:
    html = Page(write_report(run)).html
    assert re.findall(r'class="number"[^>]*><b>([^<]+)</b>', html) == ["0.900 ± 0.004"]


def test_a_collapse_is_the_first_thing_on_the_page(run: Path) -> None:
    diagnose(run, collapsed=True, severity="error")
    page = Page(write_report(run))
    body = [tag for tag, _ in page.tags].index("body")
    assert page.tags[body + 1] == ("div", {"class": "banner", "role": "alert"})
    assert "This encoder has collapsed. Do not use it.Rank fell to 1.2. What to change: Raise the weight" in page.text
    assert "No collapse found" not in page.text
    diagnose(run, collapsed=False)
    assert "alert" not in {attributes.get("role") for _, attributes in Page(write_report(run)).tags}


@pytest.mark.parametrize(
    "evil",
    [
        "<img src=x onerror=alert(1)>&\"'${facts}",
        "</script></svg><script>alert(1)</script>",
        "{{ facts }}{% raw %}{# &lt; #}",
        '\'" onload=alert(1) x="]]>-->',
    ],
)
def test_everything_from_a_file_is_escaped(evil: str, run: Path) -> None:
    (run / "config.yaml").write_text(f"dataset: {evil}\n")
    rows = [{"dataset": evil, "method": "jepakit" + evil, "metric": evil, "value": 1.0, "note": evil}, row(evil, 0.5)]
    (run / "results.json").write_text(
        json.dumps(
            {
                "title": evil,
                "summary": [evil],
                "recommendation": evil,
                "rows": rows,
                "sections": [section(title=evil, text=evil, columns=[evil, "b", evil], rows=[[evil, evil, 1]])],
                "curves": [curve(title=evil, x_label=evil, y_label=evil, names=[evil, evil], lines=[[evil, [0, 1]]])],
                "scatters": [scatter(title=evil, label=evil, names=[evil, evil], drawings=[evil, evil])],
                "examples": [example(title=evil, facts=[[evil, evil]], nodes=[evil, evil], edges=[[0, 1, evil]])],
            }
        )
    )
    finding = {"what": evil, "advice": evil, "severity": "error"}
    (run / "diagnosis.json").write_text(json.dumps({"collapsed": True, "findings": [finding], "values": {evil: 1.0}}))
    write_metrics(run, [{"epoch": 0, f"train/{evil}": 1.0, f"diagnostics/{evil}": 2.0}])
    facts = {"titles": json.dumps([evil] * 4), "drawings": json.dumps([evil] * 4)}
    write_embeddings(run, torch.eye(4), torch.zeros(4, dtype=torch.long), json.dumps([evil]), **facts)
    page = Page(write_report(run))
    assert not page.all("img")
    assert page.all("script") == [{}]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count(evil) >= 38
    labels = [str(attributes.get("aria-label")) for attributes in page.all("svg")]
    assert sum(evil in label for label in labels) == 6
    assert [attributes["data-drawing"] for attributes in page.all("path") if "data-drawing" in attributes] == [evil] * 6


PARTS = {
    "config.yaml": "config.yaml, 2 lines",
    "metrics.csv": "Total loss",
    "results.json": "Recommendation",
    "embeddings.safetensors": "Spectrum",
    "diagnosis.json": "No collapse found",
}


def test_a_part_that_is_missing_is_left_out_and_said_so(run: Path) -> None:
    assert [part for part in PARTS.values() if part not in Page(write_report(run)).text] == []
    for file, part in PARTS.items():
        content = (run / file).read_bytes()
        (run / file).unlink()
        page = Page(write_report(run))
        assert f"{file} is not in the run folder" in page.text
        assert [other for other in PARTS.values() if other not in page.text] == [part]
        (run / file).write_bytes(content)


def test_a_folder_with_nothing_of_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a run folder"):
        write_report(tmp_path)
    with pytest.raises(ModelError, match="nowhere: there is no run folder"):
        write_report(tmp_path / "nowhere")


SECTIONS = [
    ({"title": None}, "title", None),
    ({"titel": "x"}, "titel", None),
    ({"columns": "abc"}, "columns", "abc"),
    ({"columns": ["a", 1]}, "columns[1]", 1),
    ({"rows": None}, "rows", None),
    ({"rows": [["a", 1]]}, "rows[0]", 2),
    ({"rows": [["a", 1, []]]}, "rows[0][2]", []),
    ({"rows": [["a", True, ""]]}, "rows[0][1]", True),
    ({"rows": [["a", 10**400, ""]]}, "rows[0][1]", 10**400),
]


@pytest.mark.parametrize(
    ("file", "content", "line", "field", "value"),
    [
        ("metrics.csv", "epoch,train/total\n0,1.5\n1,x7\n", 3, "train/total", "x7"),
        ("metrics.csv", "epoch,train/total\n0,1.5\n1\n", 3, None, ["1", None]),
        ("metrics.csv", "epoch,train/total\n0,1.5\n1,2,3\n", 3, None, ["1", "2", ["3"]]),
        ("metrics.csv", "step,train/total\n0,1.5\n", 2, "epoch", ""),
        ("metrics.csv", "epoch,train/total\n0,1\n,1\n", 3, "epoch", ""),
        ("results.json", '{"title": "a",\n"rows": [}', 2, None, None),
        ("results.json", '{"rows": [{"dataset": "a"}]}', None, "rows[0].method", None),
        ("results.json", '{"rows": 3}', None, "rows", 3),
        ("results.json", '{"summary": "a"}', None, "summary", "a"),
        ("results.json", '{"title": NaN}', None, None, "NaN"),
        ("results.json", "[]", None, None, []),
        ("results.json", '{"sections": {}}', None, "sections", {}),
        ("results.json", '{"sections": [3]}', None, "sections[0]", 3),
        *(
            (
                "results.json",
                json.dumps({"sections": [section(), section(**changed)]}),
                None,
                f"sections[1].{at}",
                value,
            )
            for changed, at, value in SECTIONS
        ),
        ("results.json", json.dumps({"curves": [curve(lines=[["a", [1]]])]}), None, "curves[0].lines[0]", 1),
        ("results.json", json.dumps({"curves": [curve(names=["a"])]}), None, "curves[0].names", 1),
        ("results.json", json.dumps({"scatters": [scatter(predicted=[])]}), None, "scatters[0].predicted", 0),
        ("results.json", json.dumps({"scatters": [scatter(true=[], predicted=[])]}), None, "scatters[0].predicted", 0),
        ("results.json", json.dumps({"scatters": [scatter(drawings=["a"])]}), None, "scatters[0].drawings", 1),
        (
            "results.json",
            json.dumps({"examples": [example("a", ["b"], [[0, 1, "c"]])]}),
            None,
            "examples[0].diagram.edges[0]",
            [0, 1],
        ),
        ("diagnosis.json", "{}", None, "values", None),
        ("diagnosis.json", '{"values": {}, "findings": [{"what": "x"}]}', None, "findings[0].advice", None),
        ("diagnosis.json", '{"values": {"a": "b"}}', None, "values.a", "b"),
    ],
)
def test_a_damaged_file_is_named_and_the_old_report_stays(
    run: Path, file: str, content: str, line: int | None, field: str | None, value: object
) -> None:
    (run / "report.html").write_text("the old report")
    (run / file).write_text(content)
    with pytest.raises(DataError) as raised:
        write_report(run)
    fault = raised.value
    assert (fault.file, fault.line, fault.field, fault.value) == (run / file, line, field, value)
    assert (run / "report.html").read_text() == "the old report"


def test_text_that_is_no_text_is_named(run: Path) -> None:
    (run / "config.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(DataError, match=r"config\.yaml:2: "):
        write_report(run)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "embeddings.safetensors").write_bytes(b"\x09\0\0\0\0\0\0\0{"), ""),
        (lambda run: write_embeddings(run, torch.zeros(4)), r"embedding: is no \[N, D\] float tensor"),
        (lambda run: write_embeddings(run, torch.zeros(4, 2), torch.zeros(3).long()), r"label: .*\[4\] int64"),
        (lambda run: write_embeddings(run, torch.zeros(4, 2), torch.zeros(4)), r"label: .*float32.*\[4\] int64"),
        (lambda run: write_embeddings(run, torch.zeros(4, 2), None, "[1]"), r"label_names\[0\]: .*1"),
        (lambda run: write_embeddings(run, torch.zeros(4, 2), None, "[1"), ""),
        (lambda run: write_embeddings(run, torch.zeros(4, 2), titles='["a"]'), r"titles: .*1.*4 texts"),
        (lambda run: write_embeddings(run, torch.zeros(4, 2), drawings="{}"), r"drawings: "),
    ],
)
def test_damaged_embeddings_are_named(run: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(run)
    with pytest.raises(JepakitError, match=rf"embeddings\.safetensors:.*{message}"):
        write_report(run)


def test_the_same_run_gives_the_same_page_from_any_thread(run: Path) -> None:
    alone = write_report(run).read_bytes()
    copies = [run.with_name(f"copy{number}") for number in range(4)]
    for copy in copies:
        copy.mkdir()
        for file in run.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
    with ThreadPoolExecutor(4) as pool:
        together = [report.read_bytes() for report in pool.map(write_report, copies)]
    date = re.compile(rb"20\d\d-\d\d-\d\d \d\d:\d\d")
    assert {date.sub(b"", page) for page in together} == {date.sub(b"", alone)}


def loss_curve(run: Path) -> str:
    """The drawn path of the first curve on the page, that of the total loss."""
    html = write_report(run).read_text(encoding="utf-8")
    return re.findall(r'<path class="line c0" d="([^"]+)"', html)[0]


def test_a_diverged_loss_is_a_gap_and_is_said(run: Path) -> None:
    values = [1.0, 2.0, "nan", "inf", 5.0, 6.0]
    write_metrics(run, [{"epoch": e, "train/total": v} for e, v in enumerate(values)])
    page = Page(write_report(run))
    assert "2 values are not finite" in page.text
    assert loss_curve(run).count("M") == 2
    write_metrics(run, [{"epoch": 0, "train/total": "nan"}])
    assert "Total loss at 1 epochs: no finite value" in Page(write_report(run)).html


def test_equal_terms_of_the_loss_share_a_curve(run: Path) -> None:
    rows = [{"epoch": e, "train/a": 1 / (e + 1), "train/b": 2.0, "train/total": 1 / (e + 1)} for e in range(3)]
    write_metrics(run, rows)
    page = Page(write_report(run))
    assert "Total loss 1 → 0.3333 — lower is better; a: the same" in page.text
    assert "b 2 → 2" in page.text
    assert page.html.count('class="line c0"') == 3, "two losses and the spectrum"


def test_points_say_what_they_are_and_take_the_colour_of_their_value(run: Path) -> None:
    titles = [f"CC{number}" for number in range(60)]
    tensors = {"embedding": torch.randn(60, 4), "value": torch.arange(60.0) / 59}
    tensors["value"][7] = torch.nan
    tensors["embedding"][3, 1] = torch.inf
    facts = {"titles": json.dumps(titles), "value_name": "logP"}
    save_file(tensors, run / "embeddings.safetensors", metadata=facts)
    html = Page(write_report(run)).html
    points = re.findall(r'<path class="(\w+)" transform="[^"]+" d="[^"]+"><title>([^<]+)</title>', html)
    assert len(points) == 59, "a row that is not finite is left out, with its title"
    assert points[0] == ("v0", "CC0\nlogP: 0")
    assert points[-1] == ("v8", "CC59\nlogP: 1")
    assert points[6] == ("none", "CC7")
    assert "logP 0" in html


def test_predictions_are_drawn_beside_the_true_values(run: Path) -> None:
    (run / "results.json").write_text(json.dumps({"scatters": [scatter(names=["CCO", "CCN"])]}))
    page = Page(write_report(run))
    assert "Probe 2 values; mean absolute error 0.75 — on the line both are equal" in page.text
    assert "CCO\ntrue: 1\npredicted: 1.5" in page.text


def test_a_loss_that_falls_far_is_drawn_on_a_logarithmic_axis(run: Path) -> None:
    def straightness(values: list[float]) -> float:
        write_metrics(run, [{"epoch": e, "train/total": v} for e, v in enumerate(values)])
        points = torch.tensor(
            [[float(c) for c in p.split()] for p in re.findall(r"[ML]([\d.]+ [\d.]+)", loss_curve(run))]
        )
        steps = points[:, 1].diff()
        return float(steps.max() / steps.min())

    halving = [2.0**-e for e in range(10)]
    assert straightness(halving) == pytest.approx(1.0, abs=0.01)
    assert straightness(halving[:4]) == pytest.approx(4.0, abs=0.05)


def test_the_spectrum_names_the_effective_rank_of_the_embeddings(run: Path) -> None:
    embedding = torch.randn(40, 8, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [9.0, 4, 1, 1, 1, 0.1, 0.1, 0]
    )
    write_embeddings(run, embedding)
    page = Page(write_report(run))
    assert f"effective rank {effective_rank(embedding):.1f} of 8" in page.text
    assert "without labels" in page.html


def test_embeddings_that_cannot_be_drawn_are_said(run: Path) -> None:
    write_embeddings(run, torch.ones(60, 4))
    assert "All embeddings are equal" in Page(write_report(run)).text
    write_embeddings(run, torch.full((5, 4), torch.nan))
    page = Page(write_report(run))
    assert "5 rows are not finite and left out" in page.text
    assert "Too few rows" in page.text


def test_rare_classes_share_one_entry(run: Path) -> None:
    label = torch.cat([torch.arange(12), torch.arange(9), torch.full((3,), -1)])
    write_embeddings(run, torch.randn(24, 4, generator=torch.Generator().manual_seed(0)), label)
    page = Page(write_report(run))
    assert "class 8 2" in page.text
    assert "class 9" not in page.text
    assert "3 other classes, no label 6" in page.text


def test_a_large_run_stays_a_small_file(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)  # as where it is not installed
    generator = torch.Generator().manual_seed(0)
    write_embeddings(run, torch.randn(8000, 64, generator=generator), torch.arange(8000) % 20)
    names = [f"train/term {number}" for number in range(12)]
    write_metrics(run, [{"epoch": e, **dict.fromkeys(names, 1 / (e + 1))} for e in range(2000)])
    report = write_report(run)
    text = Page(report).text
    assert "2,000 sampled of 8,000 embeddings" in text
    assert "Map (PCA, " in text
    assert report.stat().st_size < 2_000_000
