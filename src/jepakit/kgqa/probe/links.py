"""Link prediction: the tail of a head and a relation among all entities, from frozen embeddings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jepakit.errors import require_at_least, require_within
from jepakit.kgqa.data import Ids, ranges
from jepakit.kgqa.probe.split import TripleSplit

_QUERIES_AT_ONCE = 256


@dataclass
class LinkConfig:
    """How the head is trained.

    Args:
        dim: width of its space.
        epochs: passes over the triples of the graph; the best one on the validation triples counts.
        batch_size: triples per step.
        negatives: random entities in each step, against which the tails are scored.
        learning_rate: of Adam.
        seed: of initialisation, order and negatives.
    """

    dim: int = 128
    epochs: int = 10
    batch_size: int = 1024
    negatives: int = 1024
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, dim=1, epochs=1, batch_size=1, negatives=1)
        require_within(self, "(0, inf)", "learning_rate")


class LinkHead(nn.Module):
    """DistMult on projected embeddings: <W z_h ∘ r, W z_t> + b_r(z_t) for each step r (Yang et al. 2015, eq. 2).

    The bias b, linear in z_t, says how often an entity is at the end of the step.

    Args:
        in_dim: columns of the embeddings.
        steps: relations in both directions.
        dim: width of the projection.
    """

    def __init__(self, in_dim: int, steps: int, dim: int) -> None:
        super().__init__()
        self.project, self.steps = nn.Linear(in_dim, dim), nn.Embedding(steps, dim)
        self.bias = nn.Linear(in_dim, steps)
        nn.init.normal_(self.steps.weight, std=dim**-0.5)

    def queries(self, head: Tensor, step: Tensor) -> Tensor:
        """``[B, in_dim], [B] -> [B, dim + steps]``."""
        return torch.cat([self.project(head) * self.steps(step), F.one_hot(step, self.bias.out_features)], dim=1)

    def candidates(self, tail: Tensor) -> Tensor:
        """``[C, in_dim] -> [C, dim + steps]``; its product with a query is the score."""
        return torch.cat([self.project(tail), self.bias(tail)], dim=1)


def probe_links(embeddings: Tensor, split: TripleSplit, config: LinkConfig | None = None) -> float:
    """The filtered mean reciprocal rank on the test triples, in percent, over heads and tails.

    A `LinkHead` on frozen embeddings (``[N, D]``) is trained on the triples of ``split.graph``, on the device of the
    embeddings; the epoch is chosen on the validation triples, and the test triples are scored once.
    """
    config = config or LinkConfig()
    generator = torch.Generator().manual_seed(config.seed)
    embeddings = F.normalize(embeddings.float(), dim=1) * embeddings.shape[1] ** 0.5
    relations = len(split.graph.relations)
    train = torch.from_numpy(both_directions(split.graph.triples(), relations))
    known = known_tails(split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = LinkHead(embeddings.shape[1], 2 * relations, config.dim).to(embeddings.device)
    optimizer = torch.optim.Adam(head.parameters(), lr=config.learning_rate)
    best, best_score = head, -1.0
    validation = both_directions(split.val, relations)
    for _ in range(config.epochs):
        for batch in train[torch.randperm(len(train), generator=generator)].split(config.batch_size):
            loss = _loss(head, embeddings, batch.to(embeddings.device), config, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        score = float((1 / ranks(_scorer(head, embeddings), validation, known)).mean())
        if score > best_score:
            best, best_score = copy.deepcopy(head), score
    return 100 * float((1 / ranks(_scorer(best, embeddings), both_directions(split.test, relations), known)).mean())


def popularity_mrr(split: TripleSplit) -> float:
    """The same without a network: entities ranked by how many triples of the graph end in them by the step."""
    graph, relations = split.graph, len(split.graph.relations)
    rows = both_directions(graph.triples(), relations)
    counts = np.bincount(rows[:, 1] * graph.num_entities + rows[:, 2], minlength=2 * relations * graph.num_entities)
    table = torch.from_numpy(counts.reshape(2 * relations, -1).astype(np.float32))
    test = both_directions(split.test, relations)
    return 100 * float((1 / ranks(lambda queries: table[queries[:, 1]], test, known_tails(split))).mean())


def both_directions(triples: Ids, relations: int) -> Ids:
    """Each triple as two queries, ``[T, 3] -> [2T, 3]``: head, step and tail, then tail, inverse step and head."""
    head, relation, tail = triples.T
    return np.concatenate([triples, np.stack([tail, relation + relations, head], 1)])


@dataclass(frozen=True)
class KnownTails:
    """The entities that answer a query, from all parts of a split: those other than the asked one do not count.

    Args:
        steps: relations in both directions.
        keys: head * steps + step of each, ascending.
        tails: the entity of each.
    """

    steps: int
    keys: Ids
    tails: Ids

    def of(self, queries: Ids) -> tuple[Ids, Ids]:
        """The query of each known answer, and the answer: ``[Q, 3] -> [K], [K]``."""
        key = queries[:, 0] * self.steps + queries[:, 1]
        first, last = (np.searchsorted(self.keys, key, side=side) for side in ("left", "right"))
        query = np.repeat(np.arange(len(key)), last - first)
        return query, self.tails[ranges(first, last - first)]


def known_tails(split: TripleSplit) -> KnownTails:
    """From the graph and all held-out triples."""
    relations = len(split.graph.relations)
    rows = both_directions(np.concatenate([split.graph.triples(), split.train, split.val, split.test]), relations)
    key = rows[:, 0] * 2 * relations + rows[:, 1]
    order = np.argsort(key, kind="stable")
    return KnownTails(2 * relations, key[order], rows[order, 2])


def ranks(score: Callable[[Ids], Tensor], queries: Ids, known: KnownTails) -> NDArray[np.float64]:
    """The rank of each query's tail among all entities but its other known answers; ties share their mean rank.

    Args:
        score: queries ``[B, 3]`` -> scores of all entities ``[B, N]``; it does not look at the tails.
        queries: head, step, tail, ``[Q, 3]``.
        known: answers that are left out.
    """
    parts = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        batch = queries[start : start + _QUERIES_AT_ONCE]
        scores = score(batch)
        own = scores.gather(1, torch.from_numpy(batch[:, 2:]).to(scores.device))
        query, answer = (torch.from_numpy(rows).to(scores.device) for rows in known.of(batch))
        scores[query, answer] = -torch.inf
        greater, equal = (scores > own).sum(1), (scores == own).sum(1)
        parts.append((1 + greater + equal / 2).double().cpu().numpy())
    return np.concatenate(parts)


def _loss(head: LinkHead, embeddings: Tensor, batch: Tensor, config: LinkConfig, generator: torch.Generator) -> Tensor:
    # Uniformly random entities, and not the tails of the batch: these are popular, which the head is to learn.
    others = torch.randint(len(embeddings), (config.negatives,), generator=generator).to(embeddings.device)
    first, step, tail = batch.T
    queries = head.queries(embeddings[first], step)
    own = (queries * head.candidates(embeddings[tail])).sum(1, keepdim=True)
    others_scores = (queries @ head.candidates(embeddings[others]).T).masked_fill(others == tail[:, None], -torch.inf)
    return (torch.cat([own, others_scores], dim=1).logsumexp(1, keepdim=True) - own).mean()


def _scorer(head: LinkHead, embeddings: Tensor) -> Callable[[Ids], Tensor]:
    with torch.no_grad():
        candidates = head.candidates(embeddings).T.contiguous()

    @torch.no_grad()
    def score(queries: Ids) -> Tensor:
        rows = torch.from_numpy(queries).to(embeddings.device)
        return head.queries(embeddings[rows[:, 0]], rows[:, 1]) @ candidates

    return score
