"""Vectors of entities, kept in a file: a machine without the sentence encoder reads them from there.

python -m benchmarks.kgqa_features    # writes the files of the benchmarks' graphs
"""

from __future__ import annotations

import json

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jepakit.datasets.folders import cache_folder
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.features import EntityFeatures, load_features
from jepakit.text import TextConfig


def kept_features(graph: KnowledgeGraph) -> EntityFeatures:
    """The features of a graph by the default sentence encoder, rounded to half precision in all benchmarks alike."""
    file = cache_folder() / "benchmarks" / f"features-{graph.fingerprint}.safetensors"
    if not file.exists():
        features = load_features(graph, TextConfig())
        about = {"types": json.dumps(features.types), "fingerprint": features.fingerprint}
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"text": features.text.half().contiguous(), "type": features.type.to(torch.int32)}
        save_file(tensors, file, metadata=about)
    with safe_open(file, "pt") as stored:
        about = stored.metadata()
        text, kind = stored.get_tensor("text").float(), stored.get_tensor("type").long()
    return EntityFeatures(text, kind, tuple(json.loads(about["types"])), about["fingerprint"])


def main() -> None:
    """Writes the files that `kgqa_pretrain` and `kgqa_answerer` read."""
    from benchmarks import kgqa_answerer, kgqa_pretrain

    kept_features(kgqa_pretrain.load_graph())
    for load in kgqa_answerer.TASKS.values():
        kept_features(load(kgqa_answerer.QUICK).graph)


if __name__ == "__main__":
    main()
