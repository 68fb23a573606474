"""The model card of an encoder folder: ``README.md``, generated from what the run knows and never written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from string import Template

from jepakit.errors import ConfigError
from jepakit.training.result_rows import ResultGroup, format_score, group_rows, read_rows

_TEMPLATE = Template(
    """---
library_name: jepakit
tags:
$tags$license---

# $title

A self-supervised encoder, pre-trained with jepakit: it was taught to predict
the embedding of one part of its input from another, without labels.

- **Trained on:** $dataset
- **Method:** $method
- **Encoder:** `$architecture`, the $role encoder, $parameters parameters

## How to load it

```python
from jepakit.training import load_encoder
$import_class
encoder = load_encoder($source)  # this folder, or its id on a hub: "user/name"
```
$results$settings
## Limits

$limits
"""
)

_LIMITS = (
    "The embeddings are as good as the data the encoder was trained on is like yours. Compare them with the floors "
    "(no network, a random-initialised network) on your own data before you rely on them."
)


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
    known = ("title", "dataset", "method", "limits", "license", "tags", "rows")
    tags = card.get("tags", [])
    if not isinstance(tags, Sequence) or isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise ConfigError("card.tags", tags, "a list of texts")
    license_name = _text(card, "license", "")
    module, _, class_path = architecture.partition(":")
    class_name = class_path.rpartition(".")[2]
    settings = {key: value for key, value in card.items() if key not in known}
    return _TEMPLATE.substitute(
        tags="".join(
            f"- {_yaml(tag)}\n" for tag in dict.fromkeys(["jepakit", "self-supervised-learning", "jepa", *tags])
        ),
        license=f"license: {_yaml(license_name)}\n" if license_name else "",
        title=_inline(_text(card, "title", name)),
        dataset=_inline(_text(card, "dataset", "not recorded")),
        method=_inline(_text(card, "method", "joint-embedding prediction (JEPA)")),
        architecture=architecture,
        role=role,
        parameters=f"{parameters:,}",
        import_class=f"from {module} import {class_name}\n" if needs_class else "",
        source=json.dumps(name, ensure_ascii=False) + (f", encoder_class={class_name}" if needs_class else ""),
        results=_results(group_rows(read_rows(card.get("rows", []), file=None))),
        settings=_settings(settings),
        limits=_inline(_text(card, "limits", _LIMITS)),
    )


def _results(groups: Sequence[ResultGroup]) -> str:
    if not groups:
        return ""
    lines = [
        "",
        "## Results",
        "",
        "| dataset | metric | method | value | seeds | note |",
        "|---|---|---|---:|---:|---|",
    ]
    for group in groups:
        for row in group.rows:
            score = format_score(row, group.decimals)
            score = f"**{score}**" if row.value is not None and row.value == group.best else score
            seeds = "" if row.seeds is None else str(row.seeds)
            cells = (row.dataset, row.metric, row.method, score, seeds, row.note)
            lines.append("| " + " | ".join(_inline(cell) for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _settings(settings: Mapping[str, object]) -> str:
    if not settings:
        return ""
    return "\n".join(
        ["", "## Settings", "", *(f"- {_inline(key)}: {_inline(value)}" for key, value in settings.items()), ""]
    )


def _text(card: Mapping[str, object], key: str, default: str) -> str:
    value = card.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ConfigError(f"card.{key}", value, "a text")
    return value


def _yaml(text: str) -> str:
    """A JSON string is a YAML string, whatever stands in it."""
    return json.dumps(text, ensure_ascii=False)


def _inline(value: object) -> str:
    """Text that stays in its line, its table cell, and is never read as markup of a page."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
