"""Reads GraphML (http://graphml.graphdrawing.org) into the lists and dicts of node-link JSON."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from jepakit.errors import DataError
from jepakit.files import reading

_LOG = logging.getLogger(__name__)


def read_graphml(file: Path) -> list[dict[str, Any]]:
    """The graphs in a GraphML file, each as ``{"directed", "graph", "nodes", "edges"}``.

    Drawing data of yEd (keys with ``yfiles.type``) and the ids of edges are ignored. Data of other keys that are not
    declared or have no ``attr.name``, and ports, are named in a warning.

    Raises:
        DataError: the XML is broken or a graph is not supported.
    """
    with reading(file):
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError as error:
            line, column = error.position
            raise DataError(f"broken XML at column {column + 1}: {error}", line=line) from None
    graphs = _children(root, "graph")
    if not graphs:
        raise DataError("no graph in the file", file=file, value=root.tag, expected="<graphml> with a <graph> in it")
    keys = {key.attrib.get("id", ""): key for key in _children(root, "key") if "attr.name" in key.attrib}
    _say_unread(file, root, keys)
    return [_graph(file, f"graphs[{index}]", graph, keys) for index, graph in enumerate(graphs)]


def _say_unread(file: Path, root: Element, keys: dict[str, Element]) -> None:
    drawing = {key.attrib.get("id", "") for key in _children(root, "key") if "yfiles.type" in key.attrib}
    used = Counter(element.attrib.get("key", "") for element in root.iter() if _tag(element) == "data")
    unread = {f"data of key {name!r}": count for name, count in used.items() if name not in drawing | set(keys)}
    if ports := sum(_tag(element) == "port" for element in root.iter()):
        unread["ports"] = ports
    if unread:
        listed = ", ".join(f"{what} ({count})" for what, count in unread.items())
        _LOG.warning("%s: left out: %s; a <key> with id and attr.name declares an attribute", file, listed)


def _graph(file: Path, place: str, graph: Element, keys: dict[str, Element]) -> dict[str, Any]:
    for tag, problem in (("hyperedge", "hyperedges are not supported"), ("graph", "nested graphs are not supported")):
        if sum(_tag(element) == tag for element in graph.iter()) > (tag == "graph"):
            raise DataError(problem, file=file, field=place, expected="nodes, and edges between two nodes")
    default = graph.attrib.get("edgedefault", "undirected") == "directed"
    edges = _children(graph, "edge")
    directed = {edge.attrib.get("directed", str(default).lower()) == "true" for edge in edges} or {default}
    if len(directed) > 1:
        raise DataError("both directed and undirected edges in one graph", file=file, field=place, expected="one kind")
    return {
        "directed": directed.pop(),
        "graph": _values(file, place, graph, keys),
        "nodes": [
            _values(file, f"{place}.nodes[{index}]", node, keys, "id")
            for index, node in enumerate(_children(graph, "node"))
        ],
        "edges": [
            _values(file, f"{place}.edges[{index}]", edge, keys, "source", "target") for index, edge in enumerate(edges)
        ],
    }


def _values(file: Path, place: str, element: Element, keys: dict[str, Element], *ids: str) -> dict[str, Any]:
    """The attributes and ``ids`` of a graph, node or edge: its own data elements, or else the defaults of the keys."""
    texts = {
        name: default.text or ""
        for name, key in keys.items()
        if key.attrib.get("for", "all") in (_tag(element), "all")
        for default in _children(key, "default")
    }
    texts |= {data.attrib.get("key", ""): data.text or "" for data in _children(element, "data")}
    values = {
        keys[name].attrib["attr.name"]: _value(file, place, keys[name], text)
        for name, text in texts.items()
        if name in keys
    }
    return values | {name: element.attrib[name] for name in ids if name in element.attrib}


def _value(file: Path, place: str, key: Element, text: str) -> object:
    kind = key.attrib.get("attr.type", "string")
    text = text.strip()
    truth = {"true": True, "1": True, "false": False, "0": False}
    parsers: dict[str, Callable[[str], object]] = {"int": int, "integer": int, "long": int, "short": int, "byte": int}
    parsers |= {"float": float, "double": float, "string": str, "boolean": lambda text: truth[text.lower()]}
    if kind not in parsers:
        field = f"key {key.attrib.get('id')}, attr.type"
        raise DataError("unknown type", file=file, field=field, value=kind, expected=", ".join(parsers))
    try:
        return parsers[kind](text)
    except (ValueError, KeyError):
        field = f"{place}, attribute {key.attrib['attr.name']}"
        raise DataError("not of its key's type", file=file, field=field, value=text, expected=kind) from None


def _children(element: Element, tag: str) -> list[Element]:
    return [child for child in element if _tag(child) == tag]


def _tag(element: Element) -> str:
    """The tag without its namespace, which programs write in several forms."""
    return element.tag.rpartition("}")[2]
