"""What people bring: a small file or folder of each format, and the function that reads it."""

from __future__ import annotations

import gzip
import json
import pickle
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from commands import every_command


@dataclass(frozen=True)
class Reader:
    """A way of reading files.

    Args:
        write: writes whole files into an empty folder.
        load: reads them.
        attacked: patterns of the names of the files that are damaged; all by default.
    """

    write: Callable[[Path], None]
    load: Callable[[Path], object]
    attacked: tuple[str, ...] = ("*",)


def texts(**files: str) -> Callable[[Path], None]:
    """Writes files; their names with ``__`` in place of a point."""

    def write(folder: Path) -> None:
        for name, text in files.items():
            file = folder / name.replace("__", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")

    return write


def packed(write: Callable[[Path], None]) -> Callable[[Path], None]:
    """As ``write``, each file packed with gzip."""

    def write_packed(folder: Path) -> None:
        write(folder)
        for file in [path for path in folder.rglob("*") if path.is_file()]:
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()

    return write_packed


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# --- graph

GRAPHML = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="c" for="node" attr.name="color" attr.type="string"><default>red</default></key>
  <key id="s" for="node" attr.name="size" attr.type="double"/>
  <key id="w" for="edge" attr.name="weight" attr.type="long"/>
  <key id="y" for="graph" attr.name="y" attr.type="int"/>
  <graph id="A" edgedefault="undirected">
    <data key="y">1</data>
    <node id="a"><data key="c">blue</data><data key="s">1.5</data></node>
    <node id="b"><data key="s">2</data></node>
    <node id="c"><data key="s">-1e3</data></node>
    <edge source="a" target="b"><data key="w">4</data></edge>
    <edge source="b" target="c"><data key="w">5</data></edge>
  </graph>
  <graph id="B" edgedefault="undirected">
    <data key="y">0</data>
    <node id="d"><data key="s">0.5</data></node>
    <node id="e"><data key="s">3</data></node>
    <edge source="d" target="e"><data key="w">6</data></edge>
  </graph>
</graphml>
"""

NODE_LINK = json.dumps(
    [
        {
            "directed": False,
            "multigraph": False,
            "graph": {"y": label},
            "nodes": [{"id": i, "kind": "ab"[i % 2], "size": i + 0.5, "at": [i, label]} for i in range(4)],
            "links": [{"source": i, "target": (i + 1) % 4, "weight": i, "type": "xy"[i % 2]} for i in range(4)],
        }
        for label in (0, 1, 0)
    ],
    indent=1,
)

TU = {
    "TOY_A__txt": "1, 2\n2, 1\n2, 3\n3, 2\n4, 5\n5, 4\n",
    "TOY_graph_indicator__txt": "1\n1\n1\n2\n2\n",
    "TOY_graph_labels__txt": "1\n-1\n",
    "TOY_node_labels__txt": "0\n1\n0\n2\n1\n",
    "TOY_edge_labels__txt": "0\n0\n1\n1\n0\n0\n",
    "TOY_node_attributes__txt": "1.5, 2\n0, -1e3\n3, 4\n5, 6\n7, 8\n",
}

SMILES = "name,smiles,logS\n" + "".join(
    f'"mol, {i}",{smiles},{i / 4}\n' for i, smiles in enumerate(["CCO", "c1ccccc1", "CC(=O)O", "[NH4+].[Cl-]", "C#N"])
)


def write_planetoid(folder: Path) -> None:
    from scipy.sparse import csr_matrix

    classes = np.eye(2, dtype=np.int32)
    words = csr_matrix(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0], [1, 0, 3]], dtype=np.float32))
    neighbours = defaultdict(list, {0: [1, 1, 0], 1: [0, 2], 2: [], 3: [6], 4: [6], 5: [], 6: [3, 4]})
    parts: dict[str, Any] = {"x": words[:2], "y": classes[[0, 1]], "ty": classes[[1, 0]], "allx": words}
    parts |= {"tx": csr_matrix(np.array([[0, 0, 5], [4, 0, 4]], dtype=np.float32)), "ally": classes[[0, 1, 1, 0]]}
    parts["graph"] = neighbours
    for part, value in parts.items():
        (folder / f"ind.toy.{part}").write_bytes(pickle.dumps(value, protocol=3))
    (folder / "ind.toy.test.index").write_text("6\n4\n")


def write_graph_tables(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    nodes = {"graph": ["a", "a", "a", "b", "b"], "node": [0, 1, 2, 3, 4], "kind": list("xyxyx"), "size": [1.0] * 5}
    edges = {"graph": ["a", "a", "b"], "source": [0, 1, 3], "target": [1, 2, 4], "weight": [0.5, 1.5, 2.5]}
    graphs = {"graph": ["a", "b"], "y": [0, 1]}
    for name, columns in (("nodes", nodes), ("edges", edges), ("graphs", graphs)):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def graph_files(name: str, folder: Path) -> object:
    from jepakit.graph.datasets.files import load_graph_files

    return load_graph_files(folder / name)


def tu(folder: Path) -> object:
    from jepakit.graph.datasets.tu import load_tu

    return load_tu(folder)


def planetoid(folder: Path) -> object:
    from jepakit.graph.datasets.planetoid import load_planetoid

    return load_planetoid(folder)


def molecules(name: str, folder: Path) -> object:
    from jepakit.graph.datasets import load_dataset

    return load_dataset(folder / name, label_columns=["logS"])


# --- kgqa

TURTLE = """@prefix : <http://example.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
:kismet a :Film ; rdfs:label "Kismet"@de, "Kismet (film)"@en ; :directed_by :william ; :year 1944 .
:william rdfs:label "William \\"Bill\\" Dieterle" ; :knows :william, [ :in :pl ] .
:directed_by rdfs:label "directed by" .
"""
N_TRIPLES = """<http://a/1> <http://a/p> <http://a/2> .
<http://a/1> <http://www.w3.org/2000/01/rdf-schema#label> "one \\u00e9"@en .
_:x <http://a/p> "1944"^^<http://www.w3.org/2001/XMLSchema#gYear> .
<http://a/2> <http://a/q> <http://a/1> .
"""
RDF_XML = """<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:e="http://example.org/">
  <rdf:Description rdf:about="http://example.org/a"><e:knows rdf:resource="http://example.org/b"/></rdf:Description>
  <e:Film rdf:about="http://example.org/b"><e:year>1944</e:year></e:Film>
</rdf:RDF>
"""
TRIPLES = "head\trelation\ttail\nkismet\tdirected_by\twilliam\nkismet\tyear\t1944\nwilliam\tknows\tada\n"
PATH_QUESTIONS = "who is it ?\twilliam(william/)\tkismet#directed_by#william#<end>#william\n" * 2
EXPLA = "arg1\targ2\tlabel\tgraph\nA is b\tC is d\tsupport\t(a; is a; b)(b; causes; c)\nE\tF\tcounter\t(e; not; f)\n"


def knowledge(name: str, folder: Path) -> object:
    from jepakit.kgqa.datasets import load_graph

    return load_graph(folder / name)


def knowledge_with_texts(folder: Path) -> object:
    from jepakit.kgqa.datasets import load_graph

    return load_graph(folder / "a.csv", texts=folder / "texts.tsv")


def questions(reader: str, folder: Path) -> object:
    from jepakit.kgqa.datasets import load_graph
    from jepakit.kgqa.datasets import questions as module

    graph = load_graph(folder / "graph.tsv")
    return getattr(module, reader)(folder / "a.txt", graph)


def expla_graphs(folder: Path) -> object:
    from jepakit.kgqa.datasets.expla_graphs import load_expla_graphs

    return load_expla_graphs(folder / "a.tsv")


def write_stark(folder: Path) -> None:
    import torch

    info = {i: {"id": i, "type": "drug", "name": f"n{i}", "details": {"a": ["b", None], "x": 0.5}} for i in range(3)}
    pickled = {"node_info": info, "edge_type_dict": {0: "a", 1: "b"}, "node_type_dict": {0: "drug", 1: "gene"}}
    for name, value in pickled.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value))
    tensors = {"edge_index": [[0, 1, 1], [1, 0, 2]], "edge_types": [0, 0, 1], "node_types": [0, 1, 0]}
    for name, rows in tensors.items():
        torch.save(torch.tensor(rows), folder / f"{name}.pt")


def stark(folder: Path) -> object:
    from jepakit.kgqa.datasets.stark.load import load_stark

    return load_stark(folder)


# --- retrieval

CORPUS = lines([{"_id": f"d{i}", "title": f"Title {i}", "text": f"Word{i} and é.", "metadata": {}} for i in range(4)])
QUERIES = lines([{"_id": f"q{i}", "text": f"What is word{i}?"} for i in range(4)])
QRELS = "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(4))
PAIRS = lines([{"query": f"What is word{i}?", "document": f"d{i}"} for i in range(4)])
MARKDOWN = (
    "# Title\n\nWords of *it*.\n\n## Part\n\n- a\n- b\n\n```python\ncode()\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
)
HTML = "<!DOCTYPE html><html><head><title>T</title></head><body><h1>A</h1><p>Words &amp; more</p><ul><li>b</ul>"


def corpus(name: str, folder: Path) -> object:
    from jepakit.retrieval.datasets import load_dataset

    return load_dataset(folder / name)


def pairs(name: str, folder: Path) -> object:
    from jepakit.retrieval.datasets import load_dataset

    return load_dataset(folder / "corpus.jsonl", pairs=folder / name)


# --- lp

MPS = """NAME          TEST
OBJSENSE
    MAX
ROWS
 N  COST
 L  LIM1
 G  MYROW
 E  EQ
COLUMNS
    X  COST  1.0  LIM1  1.0
    X  MYROW  1.0
    MARKER  'MARKER'  'INTORG'
    Y  COST  2.0  LIM1  1.0
    Y  EQ  -1.0
    MARKER  'MARKER'  'INTEND'
    Z  COST  -1.0  EQ  1.0
    Z  MYROW  1
RHS
    RHS  LIM1  4.0  MYROW  1.0
    RHS  EQ  7.0
RANGES
    RNG  LIM1  2.5
BOUNDS
 UP BND  X  4.0
 LO BND  Y  -1.0
 UP BND  Y  1.0
 FR BND  Z
ENDATA
"""
LP = """\\ comment
maximize
 obj: 3 x + 2 y - 4 z
Subject To
 c1: x + y <= 4
 c2: x + 3 y <= 6
 c3: x - z = 2
Bounds
 0 <= x <= 4
 y free
 z >= -3
General
 y
End
"""
MATPOWER = """function mpc = c3
mpc.version = '2';
mpc.baseMVA = 100;
mpc.bus = [
1 3 0 0 0 0 1 1 0 230 1 1.1 .9;
2 1 100 20 0 0 1 1 0 230 1 1.1 .9;
3 1 50 10 0 0 1 1 0 230 1 1.1 .9;
];
mpc.gen = [
1 100 0 50 -50 1 100 1 200 0;
3 50 0 50 -50 1 100 1 100 0;
];
mpc.branch = [
1 2 .01 .1 0 150 150 150 0 0 1 -360 360;
2 3 .01 .1 0 150 150 150 0 0 1 -360 360;
];
mpc.gencost = [
2 0 0 2 10 0;
2 0 0 2 20 0;
];
"""


def problem(name: str, relax: bool, folder: Path) -> object:
    from jepakit.lp import read_problem

    return read_problem(folder / name, relax=relax)


def matpower(folder: Path) -> object:
    from jepakit.lp.families.power_flow import PowerFlow

    return PowerFlow.read(folder / "c.m").problem(0)


def write_start(folder: Path) -> None:
    from jepakit.lp import Solver, read_problem, write_basis

    (folder / "a.mps").write_text(MPS)
    problem = read_problem(folder / "a.mps", relax=True)
    basis = Solver().solve(problem).basis
    assert basis is not None
    write_basis(basis, problem, folder / "a.bas")


def start(folder: Path) -> object:
    from jepakit.lp import read_basis, read_problem

    return read_basis(read_problem(folder / "a.mps", relax=True), folder / "a.bas")


def write_scenarios(name: str, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "a.mps").write_text(MPS)
    columns = {"id": ["one", "two"], "MYROW": [1.0, 2.0], "upper:X": [3.0, 4.0]}
    if name.endswith(".npz"):
        np.savez(folder / name, **{key: np.array(values) for key, values in columns.items()})
    else:
        pq.write_table(pa.table(columns), folder / name)


def scenarios(name: str, folder: Path) -> object:
    from jepakit.lp import read_problem
    from jepakit.lp.batch.files import read_scenarios

    chunks = list(read_scenarios(folder / name, read_problem(folder / "a.mps", relax=True)))
    return [(chunk.ids, chunk.scenarios.problem_of(0)) for chunk in chunks]


# --- guard

CALL = {"type": "function", "function": {"name": "send", "arguments": '{"to": "a@b.c", "n": 1}'}}
OPENAI: list[Any] = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "the task"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "a", **CALL}, {"id": "b", **CALL}]},
    {"role": "tool", "tool_call_id": "a", "content": "From: eve@evil.example"},
    {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "sent"}]},
]
LANGCHAIN: list[Any] = [
    {"type": "human", "content": "the task"},
    {"type": "ai", "content": "", "tool_calls": [{"name": "read", "args": {"n": 1}, "id": "a", "type": "tool_call"}]},
    {"type": "tool", "content": "mail", "tool_call_id": "a", "status": "success"},
]
MCP: list[Any] = [
    {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}},
    {"jsonrpc": "2.0", "id": 0, "result": {"serverInfo": {"name": "files", "version": "1"}}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
    {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "a", "inputSchema": {"type": "object"}}]}},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "a", "arguments": {"n": [1, {"b": 2}]}}},
    {"jsonrpc": "2.0", "id": 2, "result": {"content": [{"type": "text", "text": "x"}], "isError": False}},
]


def _span(number: int, operation: str, **attributes: Any) -> dict[str, Any]:
    named = {f"gen_ai.{key.replace('__', '.')}": value for key, value in attributes.items()}
    return {
        "traceId": "ab",
        "spanId": f"{number:016x}",
        "parentSpanId": "",
        "startTimeUnixNano": str(1_700_000_000_000_000_000 + number),
        "attributes": {"gen_ai.operation.name": operation, **named},
    }


SPANS = [
    _span(1, "chat", input__messages=json.dumps([{"role": "user", "parts": [{"type": "text", "content": "task"}]}])),
    _span(2, "execute_tool", tool__name="read", tool__call__id="a", tool__call__arguments='{"n": 1}'),
]
GOLD = {
    "governance_context": {"policy": "be kind", "user_role": "clerk", "session_context": {"tenant": 3}},
    "execution_plan": {
        "nodes": [
            {"tool_name": "read", "node_id": 0, "arguments": {"n": 1}, "provenance_tier": 1, "scope_volume": 5},
            {"tool_name": "send", "node_id": "b", "arguments": {}, "provenance_tier": "user", "scope_sensitivity": 3},
        ],
        "edges": [[0, "b"], {"source": "b", "target": 0, "argument": "/x"}],
    },
    "label": "malicious",
}
AGENTDOJO = {
    "suite": "slack",
    "user_task_id": "u",
    "attack": "direct",
    "security": True,
    "label": "attack_succeeded",
    "calls": [{"tool": "send", "args": {"n": 1}, "output": [{"a": 1}], "mal": 1}, {"tool": "read", "args": {}}],
}
OWN = {
    "id": "one",
    "context": {"task": "t", "policy": {"a": 1}, "role": "r", "session": {"s": None}, "tools": [{"name": "send"}]},
    "calls": [
        {"id": "a", "tool": "read", "arguments": {}, "output": "mail", "label": "benign"},
        {"id": "b", "tool": "send", "arguments": {"x": 2}, "tier": "output", "volume": 2.5},
    ],
    "edges": [{"source": "a", "target": "b"}],
}
POLICY = """version: 1
name: mail
defaults: {unknown_tool: ask}
tools:
  - name: pay
    effect: external
    rules:
      - {id: cap, argument: /amount, at_most: 50.5}
      - {id: who, argument: /to, one_of: [ann@example.org, bob@example.org]}
  - name: read
    effect: read
"""
CEDAR = """permit(principal == Role::"clerk", action, resource == Server::"bank") when { context.arguments.n <= 100 };
forbid(principal, action == Action::"wipe", resource);
"""
IAM = {"Sid": "1", "Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "arn:aws:s3:::a/*"}
TASKS = [{"evaluation_criteria": {"actions": [{"name": "pay", "arguments": {"to": "ann", "n": 1, "x": [1.5]}}]}}]
TOOLS = {"tools": [{"name": "a", "description": "d", "inputSchema": {"properties": {"n": {"type": "integer"}}}}]}


def traces(name: str, folder: Path) -> object:
    from jepakit.guard.sources import load_traces

    return list(load_traces(folder / name))


def lenient_traces(name: str, folder: Path) -> object:
    from jepakit.guard.sources import load_traces

    return list(load_traces(folder / name, strict=False))


def policy(name: str, folder: Path) -> object:
    from jepakit.guard.policy import load_policy

    return load_policy(folder / name)


def cedar(folder: Path) -> object:
    from jepakit.guard.policy.cedar import CedarGate

    return CedarGate.from_file(folder / "a.cedar")


def iam(folder: Path) -> object:
    from jepakit.guard.policy.importers import iam_policies

    return list(iam_policies(folder / "a.jsonl"))


def service(folder: Path) -> object:
    from jepakit.guard.policy.importers import service_policy

    return service_policy(folder)


def tools(folder: Path) -> object:
    from jepakit.guard.sources.tools import load_tools

    return load_tools(folder / "a.json")


# --- options of the command line

CONFIGURED = ("graph pretrain", "kgqa fit-retriever", "retrieval train", "lp train", "guard train")


def write_config(name: str, folder: Path) -> None:
    from jepakit.cli.command import config_yaml

    (folder / "config.yaml").write_text(config_yaml(every_command()[name].options()), "utf-8")


def config(name: str, folder: Path) -> object:
    from jepakit.cli.command import parse

    return parse(every_command()[name], f"jepakit {name}", ["--config", str(folder / "config.yaml")])


BROUGHT: dict[str, Reader] = {
    "tu": Reader(texts(**TU), tu),
    "planetoid": Reader(write_planetoid, planetoid),
    "graphml": Reader(texts(a__graphml=GRAPHML), partial(graph_files, "a.graphml")),
    "node-link": Reader(texts(a__json=NODE_LINK), partial(graph_files, "a.json")),
    "graph-parquet": Reader(write_graph_tables, partial(graph_files, "")),
    "smiles": Reader(texts(a__csv=SMILES), partial(molecules, "a.csv")),
    "smiles-gz": Reader(packed(texts(a__csv=SMILES)), partial(molecules, "a.csv.gz")),
    "turtle": Reader(texts(a__ttl=TURTLE), partial(knowledge, "a.ttl")),
    "turtle-gz": Reader(packed(texts(a__ttl=TURTLE)), partial(knowledge, "a.ttl.gz")),
    "n-triples": Reader(texts(a__nt=N_TRIPLES), partial(knowledge, "a.nt")),
    "rdf-xml": Reader(texts(a__rdf=RDF_XML), partial(knowledge, "a.rdf")),
    "triples-tsv": Reader(texts(a__tsv=TRIPLES), partial(knowledge, "a.tsv")),
    "triples-gz": Reader(packed(texts(a__tsv=TRIPLES)), partial(knowledge, "a.tsv.gz")),
    "triples-csv": Reader(
        texts(a__csv=TRIPLES.replace("\t", ","), texts__tsv="id\ttext\nkismet\tA film.\nada\tAda\n"),
        knowledge_with_texts,
    ),
    "kg-graphml": Reader(
        texts(a__graphml=GRAPHML[: GRAPHML.index('<graph id="B"')] + "</graphml>"), partial(knowledge, "a.graphml")
    ),
    "stark": Reader(write_stark, stark),
    "expla-graphs": Reader(texts(a__tsv=EXPLA), expla_graphs),
    "questions-jsonl": Reader(
        texts(graph__tsv=TRIPLES, a__txt=lines([{"question": "who?", "topics": ["kismet"], "answers": ["ada"]}] * 3)),
        partial(questions, "load_questions"),
        ("a.txt",),
    ),
    "questions-metaqa": Reader(
        texts(graph__tsv=TRIPLES, a__txt="who made [kismet]\twilliam|ada\n" * 3),
        partial(questions, "load_metaqa_questions"),
        ("a.txt",),
    ),
    "questions-path": Reader(
        texts(graph__tsv=TRIPLES, a__txt=PATH_QUESTIONS), partial(questions, "load_pathquestion"), ("a.txt",)
    ),
    "beir": Reader(
        texts(
            **{"corpus__jsonl": CORPUS, "queries__jsonl": QUERIES, "qrels/test__tsv": QRELS, "qrels/train__tsv": QRELS}
        ),
        partial(corpus, ""),
    ),
    "corpus-jsonl": Reader(texts(corpus__jsonl=CORPUS), partial(corpus, "corpus.jsonl")),
    "corpus-csv": Reader(
        texts(corpus__csv='id,title,text\nd0,"A, b","Words\nof it"\nd1,B,é\n'), partial(corpus, "corpus.csv")
    ),
    "folder": Reader(
        texts(a__md=MARKDOWN, b__html=HTML, c__txt="Words.\n\nMore.\n", d__rst="A\n=\n\nWords\n"), partial(corpus, "")
    ),
    "pairs-jsonl": Reader(texts(corpus__jsonl=CORPUS, pairs__jsonl=PAIRS), partial(pairs, "pairs.jsonl"), ("pairs*",)),
    "pairs-tsv": Reader(
        texts(corpus__jsonl=CORPUS, pairs__tsv="query\tdocument\nWhat?\td1\nWho?\td2\n"),
        partial(pairs, "pairs.tsv"),
        ("pairs*",),
    ),
    "mps": Reader(
        texts(a__mps="".join(line for line in MPS.splitlines(True) if "MARKER" not in line)),
        partial(problem, "a.mps", False),
    ),
    "mps-relaxed": Reader(texts(a__mps=MPS), partial(problem, "a.mps", True)),
    "mps-gz": Reader(packed(texts(a__mps=MPS)), partial(problem, "a.mps.gz", True)),
    "lp": Reader(texts(a__lp=LP), partial(problem, "a.lp", True)),
    "basis": Reader(write_start, start, ("*.bas",)),
    "scenarios-parquet": Reader(partial(write_scenarios, "s.parquet"), partial(scenarios, "s.parquet"), ("s.*",)),
    "scenarios-npz": Reader(partial(write_scenarios, "s.npz"), partial(scenarios, "s.npz"), ("s.*",)),
    "matpower": Reader(texts(c__m=MATPOWER), matpower),
    "traces-openai": Reader(texts(a__json=json.dumps(OPENAI, indent=1)), partial(traces, "a.json")),
    "traces-openai-lenient": Reader(texts(a__json=json.dumps(OPENAI)), partial(lenient_traces, "a.json")),
    "traces-langchain": Reader(texts(a__json=json.dumps(LANGCHAIN)), partial(traces, "a.json")),
    "traces-mcp": Reader(texts(a__jsonl=lines(MCP)), partial(traces, "a.jsonl")),
    "traces-otel": Reader(texts(a__json=json.dumps(SPANS)), partial(traces, "a.json")),
    "traces-gold": Reader(texts(a__jsonl=lines([GOLD, GOLD])), partial(traces, "a.jsonl")),
    "traces-agentdojo": Reader(texts(a__jsonl=lines([AGENTDOJO, AGENTDOJO])), partial(traces, "a.jsonl")),
    "traces-gz": Reader(packed(texts(a__jsonl=lines([OWN, OWN]))), partial(traces, "a.jsonl.gz")),
    "traces-own": Reader(texts(a__jsonl=lines([OWN, OWN])), partial(traces, "a.jsonl")),
    "policy-yaml": Reader(texts(a__yaml=POLICY), partial(policy, "a.yaml")),
    "policy-json": Reader(
        texts(a__json='{"version": 1, "tools": [{"name": "pay", "effect": "external", "rules": []}]}'),
        partial(policy, "a.json"),
    ),
    "policy-cedar": Reader(texts(a__cedar=CEDAR), cedar),
    "policy-iam": Reader(
        texts(a__jsonl=lines([{"name": "a", "document": {"Version": "2012-10-17", "Statement": [IAM]}}] * 2)), iam
    ),
    "policy-service": Reader(texts(policy__md=MARKDOWN, tasks__json=json.dumps(TASKS)), service),
    "tools": Reader(texts(a__json=json.dumps(TOOLS)), tools),
    **{
        f"config-{name.replace(' ', '-')}": Reader(partial(write_config, name), partial(config, name))
        for name in CONFIGURED
    },
}
"""Format -> how it is read."""
