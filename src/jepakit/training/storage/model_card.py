"""The model card of an encoder folder: ``README.md``, generated from the run and never written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping

import yaml

from jepakit.errors import ConfigError
from jepakit.training.result_rows import ResultGroup, format_score, group_rows, read_rows

#: Texts of the card, and what stands in their place where the card has none.
_TEXTS = {
    "title": "",
    "dataset": "not recorded",
    "method": "joint-embedding prediction (JEPA)",
    "license": "",
    "limits": (
        "The embeddings are as good as the data the encoder was trained on is like yours. Compare them with the floors "
        "(no network, a random-initialised network) on your own data before you rely on them."
    ),
}


def render_model_card(
    card: Mapping[str, object], *, name: str, architecture: str, role: str, parameters: int, needs_class: bool
) -> str:
    """Renders the card as Markdown with YAML front matter.

    Args:
        card: ``title``, ``dataset``, ``method``, ``limits``, ``license`` (texts), ``tags`` (list of texts), ``rows``
            (see `jepakit.training.result_rows`); any other key is listed under Settings. All may be left out.
        name: the name of the folder.
        architecture: ``module:class`` of the encoder.
        role: ``context`` or ``target``.
        parameters: how many numbers the encoder learned.
        needs_class: whether the loader must be given the class, because it is not one of jepakit's.

    Raises:
        ConfigError: a text is no text, or ``tags`` no list of texts.
        DataError: a row is malformed.
    """
    text = {key: card.get(key) or default for key, default in _TEXTS.items()}
    for key, value in text.items():
        if not isinstance(value, str):
            raise ConfigError(f"card.{key}", value, "a text")
    tags = card.get("tags", [])
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise ConfigError("card.tags", tags, "a list of texts")
    tags = list(dict.fromkeys(["jepakit", "self-supervised-learning", "jepa", *tags]))
    front = {"library_name": "jepakit", "tags": tags} | ({"license": text["license"]} if text["license"] else {})
    module, _, class_path = architecture.partition(":")
    class_name = class_path.rpartition(".")[2]
    source = json.dumps(name, ensure_ascii=False) + (f", encoder_class={class_name}" if needs_class else "")
    settings = {key: value for key, value in card.items() if key not in (*_TEXTS, "tags", "rows")}
    return f"""\
---
{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---

# {_inline(text["title"] or name)}

A self-supervised encoder, pre-trained with jepakit: it was taught to predict
the embedding of one part of its input from another, without labels.

- **Trained on:** {_inline(text["dataset"])}
- **Method:** {_inline(text["method"])}
- **Encoder:** `{architecture}`, the {role} encoder, {parameters:,} parameters

## How to load it

```python
from jepakit.training import load_encoder
{f"from {module} import {class_name}" if needs_class else ""}
encoder = load_encoder({source})  # this folder, or its id on a hub: "user/name"
```
{_results(group_rows(read_rows(card.get("rows", []))))}{_settings(settings)}
## Limits

{_inline(text["limits"])}
"""


def _results(groups: list[ResultGroup]) -> str:
    if not groups:
        return ""
    lines = ["| dataset | metric | method | value | seeds | note |", "|---|---|---|---:|---:|---|"]
    for group in groups:
        for row in group.rows:
            score = format_score(row, group.decimals)
            score = f"**{score}**" if row.value is not None and row.value == group.best else score
            cells = (row.dataset, row.metric, row.method, score, "" if row.seeds is None else row.seeds, row.note)
            lines.append(f"| {' | '.join(map(_inline, cells))} |")
    return "\n".join(["", "## Results", "", *lines, ""])


def _settings(settings: Mapping[str, object]) -> str:
    lines = [f"- {_inline(key)}: {_inline(value)}" for key, value in settings.items()]
    return "\n".join(["", "## Settings", "", *lines, ""]) if lines else ""


def _inline(value: object) -> str:
    """Text that stays in its line, its table cell, and is never read as markup of a page."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
