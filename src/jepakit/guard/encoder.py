"""The encoders: of what governs an agent, and of what it is about to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jepakit.core.packed import offsets, positions, segment_mean, segment_softmax, segment_sum
from jepakit.errors import ConfigError, require_at_least, require_within
from jepakit.guard.networks.attention import CallLayer, WindowedLayer
from jepakit.guard.networks.documents import DEPTHS, KINDS
from jepakit.guard.networks.hashing import TextEmbedding
from jepakit.guard.networks.words import CallWords, TaskWords
from jepakit.guard.views import EDGES, SECTIONS, TIERS, Contexts, Plans, call_texts, context_texts

#: Of what attention adds to the words, before training.
_FIRST_SHARE = 0.01


@dataclass
class EncoderConfig:
    """Sizes of an encoder.

    Args:
        latent_dim: width of its embeddings.
        hidden: width inside.
        layers: of attention.
        heads: of attention; they divide ``hidden``.
        text_dim: width of the vectors of n-grams.
        window: rows of a document that attend to each other, see `WindowedLayer`.
        dropout: in training.
        words: embeddings start as sums of codes of the words that tasks and plans have in common, to which the
            attention adds little at first, see `jepakit.guard.networks.words`. For the retrieval of plans.

    Raises:
        ConfigError: a value is out of range, or ``hidden`` is no multiple of ``heads``.
    """

    latent_dim: int = 1024
    hidden: int = 192
    layers: int = 2
    heads: int = 4
    text_dim: int = 96
    window: int = 32
    dropout: float = 0.1
    words: bool = False

    def __post_init__(self) -> None:
        require_at_least(self, latent_dim=1, hidden=1, layers=1, heads=1, text_dim=1, window=1)
        require_within(self, "[0, 1)", "dropout")
        if self.hidden % self.heads:
            raise ConfigError("heads", self.heads, f"a divisor of hidden, which is {self.hidden}")


class GovernanceEncoder(nn.Module):
    """Policy, role, session and task -> z_g: a transformer over the values of a document.

    A row is the sum of what leads to it (keys and places), its depth, its kind and its value. A global token stands for
    each section that the document has. The embedding is a projection of the mean of these tokens and of all rows.

    Args:
        config: fields of `EncoderConfig`.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = EncoderConfig(**config)
        hidden = self.config.hidden
        self.texts = TextEmbedding(self.config.text_dim)
        self.path = nn.Linear(self.config.text_dim, hidden)
        self.value = nn.Linear(self.config.text_dim, hidden, bias=False)
        self.number = nn.Linear(2, hidden, bias=False)
        self.kind, self.depth = nn.Embedding(len(KINDS), hidden), nn.Embedding(DEPTHS, hidden)
        # The last one stands in every document, also in one without a section.
        self.sections = nn.Embedding(len(SECTIONS) + 1, hidden)
        self.layers = nn.ModuleList(
            WindowedLayer(hidden, self.config.heads, self.config.window, self.config.dropout)
            for _ in range(self.config.layers)
        )
        self.norm = nn.LayerNorm(2 * hidden)
        self.out = nn.Linear(2 * hidden, self.config.latent_dim)
        self.words = TaskWords(self.config.latent_dim) if self.config.words else None
        self.share = nn.Parameter(torch.tensor(_FIRST_SHARE)) if self.config.words else None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor needs to build it again."""
        return asdict(self.config)

    def forward(self, documents: Contexts) -> Tensor:
        """D documents -> ``[D, latent_dim]``; an example does not depend on the others of its batch."""
        packed = (
            self.path(self.texts(documents.paths))
            + self.value(self.texts(documents.values))
            + self.number(documents.number)
            + self.kind(documents.kind)
            + self.depth(documents.depth)
            + self.sections(documents.section)
        )
        lengths = documents.ptr.diff()
        example = torch.repeat_interleave(lengths)
        window = self.config.window
        longest = window * max(1, -(-int(lengths.max()) // window))
        rows = packed.new_zeros(len(lengths), longest, packed.shape[1])
        real = torch.zeros(len(lengths), longest, dtype=torch.bool, device=packed.device)
        place = positions(lengths)
        rows[example, place], real[example, place] = packed, True
        present = torch.zeros(len(lengths), len(SECTIONS) + 1, dtype=torch.bool, device=packed.device)
        present[example, documents.section] = True
        present[:, -1] = True
        tokens = self.sections.weight.expand(len(lengths), -1, -1)
        for layer in self.layers:
            rows, tokens = layer(rows, real, tokens, present)
        weight = present.to(tokens.dtype)[:, :, None]
        mean = (tokens * weight).sum(1) / weight.sum(1)
        mixed = self.out(self.norm(torch.cat([mean, segment_mean(rows[example, place], documents.ptr)], dim=1)))
        if self.words is None or self.share is None:
            return mixed
        return self.words([context_texts(context) for context in documents.contexts]) + self.share * mixed


class ExecutionEncoder(nn.Module):
    """The calls of a plan -> z_e of each: attention over the data flow, by where values come from.

    A value is made of its place, itself, the text and the record that it was read in, and its sources. A call is the
    sum of its tool, its values weighted by attention, its tier and its scope. A call then attends to itself and to
    earlier calls, with a bias for what joins them: its embedding is that of the plan up to it, which later calls do not
    change.

    Args:
        config: fields of `EncoderConfig`; ``window`` is not used.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = EncoderConfig(**config)
        hidden, text_dim = self.config.hidden, self.config.text_dim
        self.texts = TextEmbedding(text_dim)
        self.tool = nn.Linear(text_dim, hidden)
        self.value = nn.Linear(4 * text_dim + 2 + len(TIERS) + len(KINDS), hidden)
        self.mixed = nn.Sequential(nn.GELU(), nn.Linear(hidden, hidden))
        self.query = nn.Linear(hidden, self.config.heads)
        self.tier, self.scope = nn.Embedding(len(TIERS), hidden), nn.Linear(4, hidden, bias=False)
        self.layers = nn.ModuleList(
            CallLayer(hidden, self.config.heads, len(EDGES), self.config.dropout) for _ in range(self.config.layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, self.config.latent_dim)
        self.words = CallWords(self.config.latent_dim) if self.config.words else None
        self.share = nn.Parameter(torch.tensor(_FIRST_SHARE)) if self.config.words else None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor needs to build it again."""
        return asdict(self.config)

    def forward(self, plans: Plans) -> Tensor:
        """C calls -> ``[C, latent_dim]``."""
        return self.extend(plans, ())[0]

    def extend(self, plans: Plans, past: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The embeddings of the last calls of one plan, whose first P calls were embedded before.

        Args:
            plans: the whole plan; values of the first calls are not looked at.
            past: what `extend` returned beside the embeddings of the first calls; empty: there were none.

        Returns:
            Embeddings of the calls after the first, ``[C - P, latent_dim]``, and what the next ones need of all C.
        """
        first = len(past[0]) if past else 0
        calls = self._calls(plans)[first:]
        new = plans.edges[1] >= first
        edges, kind = plans.edges[:, new], plans.edge_kind[new]
        edges = torch.stack([edges[0], edges[1] - first])
        ptr = offsets(torch.bincount(edges[1], minlength=len(calls)))
        seen: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            earlier = past[number] if past else None
            seen.append(calls if earlier is None else torch.cat([earlier, calls]))
            calls = layer(calls, edges, kind, ptr, earlier)
        mixed = self.out(self.norm(calls))
        if self.words is None or self.share is None:
            return mixed, tuple(seen)
        words = self.words([[call_texts(call) for call in calls] for calls in plans.calls])
        return words[first:] + self.share * mixed, tuple(seen)

    def _calls(self, plans: Plans) -> Tensor:
        """What a call is without those before it, ``[C, hidden]``."""
        kinds = nn.functional.one_hot(plans.kind, len(KINDS)).to(plans.number.dtype)
        texts = [self.texts(part) for part in (plans.pointers, plans.values, plans.around, plans.records)]
        values = self.mixed(self.value(torch.cat([*texts, plans.number, plans.sources, kinds], dim=1)))
        weight = segment_softmax(self.query(values), plans.value_ptr)
        pooled = segment_sum(
            (values.unflatten(1, (self.config.heads, -1)) * weight[:, :, None]).flatten(1), plans.value_ptr
        )
        return self.tool(self.texts(plans.tools)) + pooled + self.tier(plans.tier) + self.scope(plans.scope)
