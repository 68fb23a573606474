"""Sentence encoders on OpenVINO: the transformer is converted in memory, the rest of the model stays in torch."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.errors import MissingExtraError, ModelError, in_one_line
from jepakit.telemetry import without_openvino_telemetry
from jepakit.text.encoder import SentenceEncoder
from jepakit.text.quiet import quiet

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
#: Smallest accepted cosine between the vectors of OpenVINO and of torch.
_MIN_COSINE = {"float32": 0.9999, "bfloat16": 0.99}


def with_openvino(encoder: SentenceEncoder, precision: str, probes: Sequence[str]) -> SentenceEncoder:
    """Moves the transformer of an encoder to OpenVINO, with the number of threads of torch.

    Args:
        encoder: in float32 on the CPU; its model is changed, so it cannot be used afterwards.
        precision: of OpenVINO, ``float32`` or ``bfloat16``.
        probes: texts whose vectors are compared with those of torch.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        ModelError: OpenVINO cannot run the model, or its vectors differ.
    """
    from sentence_transformers.base.modules import Transformer

    transformer = encoder.model[0]
    if not isinstance(transformer, Transformer):
        raise ModelError(f"{encoder.name}: not a transformer, which OpenVINO needs; expected backend = torch")
    # A batch, a single text and a long text, because the traced graph must work for every shape.
    several = [probes[0], " ".join(probes)]
    batches = [several, several[:1], [" ".join([*probes] * 20)]]
    expected = torch.cat([encoder.encode(texts, "document") for texts in batches])
    try:
        transformer.add_module("model", _converted(transformer, several, precision))
        changed = SentenceEncoder(
            encoder.model,
            name=encoder.name,
            batch_size=encoder.batch_size,
            fingerprint=f"{encoder.fingerprint}-openvino-{precision}",
        )
        converted = torch.cat([changed.encode(texts, "document") for texts in batches])
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{encoder.name}: OpenVINO cannot run it ({in_one_line(error)}); use torch") from error
    cosine = float(F.cosine_similarity(expected, converted).min())
    if cosine < _MIN_COSINE[precision]:
        raise ModelError(f"{encoder.name}: OpenVINO's vectors differ from torch's (cosine {cosine:.4f}); use torch")
    return changed


def _converted(transformer: Any, texts: list[str], precision: str) -> nn.Module:
    features = transformer.preprocess(texts)
    names = [name for name in _INPUTS if name in features]
    # The tracer warns of every branch; the comparison of vectors finds those that were traced wrongly.
    with without_openvino_telemetry(), warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        try:
            openvino = importlib.import_module("openvino")
        except ModuleNotFoundError as error:
            raise MissingExtraError("openvino", "openvino") from error
        traced = _TokenEmbeddings(transformer.model, names).eval()
        graph = openvino.convert_model(traced, example_input=tuple(features[name] for name in names))
        options = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        return _Compiled(openvino.compile_model(graph, "CPU", options), names, transformer.model.config)


class _TokenEmbeddings(nn.Module):
    """A transformer with tensor arguments: ``(ids, mask, ...) [N, T] -> [N, T, D]``."""

    def __init__(self, transformer: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.transformer, self.names = transformer, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.transformer(**dict(zip(self.names, inputs, strict=True))).last_hidden_state


class _Compiled(nn.Module):
    """Replaces the transformer of sentence-transformers by a compiled one."""

    def __init__(self, compiled: Any, names: Sequence[str], config: Any) -> None:
        super().__init__()
        self.compiled, self.names, self.config = compiled, names, config

    def forward(self, **features: Any) -> dict[str, Tensor]:
        embeddings = self.compiled([features[name].numpy() for name in self.names])[0]
        # OpenVINO overwrites this buffer in the next call.
        return {"last_hidden_state": torch.from_numpy(embeddings.copy())}
