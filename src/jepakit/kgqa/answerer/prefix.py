"""What a frozen language model keeps of a prompt's text, so that no text is read twice.

Where the soft tokens stand after the text, the model's keys and values of the text depend on nothing that is trained.
They are computed once for each question, without gradients, and training reads only the soft tokens and the answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from jepakit.kgqa.answerer.language_model import LanguageModel

DEFAULT_BYTES = 2 << 30


@dataclass(frozen=True)
class Prefix:
    """The texts before the soft tokens of B prompts, as keys and values, padded on the left to P tokens.

    Args:
        states: keys and values of each layer, ``[layers, 2, B, heads, P, d]``.
        mask: ``[B, P]`` bool, false for padding.
    """

    states: Tensor
    mask: Tensor

    def cache(self) -> object:
        """A new cache of transformers with these states."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self.states):
            cache.update(keys, values, layer)
        return cache


class PrefixStates:
    """Keys and values of texts; the texts used last are kept.

    Args:
        language_model: frozen.
        limit: bytes that are kept. A token takes 2 × layers × heads × d numbers: 46 kB for SmolLM2-135M in float32.
    """

    def __init__(self, language_model: LanguageModel, *, limit: int = DEFAULT_BYTES) -> None:
        self.language_model, self.limit = language_model, limit
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    def __call__(self, texts: Sequence[str]) -> Prefix:
        """The states of B texts that are not empty."""
        known = {text: self._kept[text] for text in texts if text in self._kept}
        known |= self._read([text for text in dict.fromkeys(texts) if text not in known])
        self._keep({text: known[text] for text in texts})
        rows = [known[text] for text in texts]
        longest = max(row.shape[3] for row in rows)
        states = torch.stack([pad(row, (0, 0, longest - row.shape[3], 0)) for row in rows], 2)
        lengths = torch.tensor([row.shape[3] for row in rows], device=states.device)
        return Prefix(states, torch.arange(longest, device=states.device) >= (longest - lengths)[:, None])

    @torch.no_grad()
    def _read(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The states of each text, ``[layers, 2, heads, P, d]``."""
        if not texts:
            return {}
        model, ids = self.language_model.model, [self.language_model.token_ids(text) for text in texts]
        longest = max(map(len, ids))
        # Padding stands on the right, where no token that counts can see it.
        block = torch.tensor([row + row[-1:] * (longest - len(row)) for row in ids], device=model.device)
        layers = model(input_ids=block, use_cache=True, logits_to_keep=1).past_key_values.layers
        states = torch.stack([torch.stack([layer.keys, layer.values]) for layer in layers])
        return {text: states[:, :, row, :, : len(ids[row])].clone() for row, text in enumerate(texts)}

    def _keep(self, states: Mapping[str, Tensor]) -> None:
        for text, one in states.items():
            if text not in self._kept:
                self._kept[text] = one
                self._bytes += one.nbytes
            self._kept.move_to_end(text)
        while self._bytes > self.limit and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
