"""The answerer: a graph encoder, soft tokens, and a language model (G-Retriever, He et al. 2024).

PyTorch Geometric has this model as ``GRetriever``. It is not used here: its encoder returns one tensor, so no fusion
sees nodes; its prompt is fixed, is never cut, and has the soft tokens after the first token, in the middle of the chat
template; it computes logits for every token of the prompt; and it scores no candidates. On the same tokens the loss of
this class is the same (tests/kgqa/answerer/test_model.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core.distributed import own_part
from jepakit.errors import MissingExtraError, require_choice
from jepakit.kgqa.answerer.fusion import GraphEmbeddings
from jepakit.kgqa.answerer.language_model import LanguageModel, embedding_matrix
from jepakit.kgqa.answerer.prefix import Prefix
from jepakit.kgqa.answerer.tokens import IGNORED, Tokens

Tuning = Literal["frozen", "lora", "full"]
TUNINGS = ("frozen", "lora", "full")
_LLM = "llm."


@dataclass(frozen=True)
class AnswererBatch:
    """B questions.

    Args:
        tokens: prompts, with answers for training.
        question: token ids of the bare questions, ``[B, T]`` int64.
        question_mask: ``[B, T]`` bool, false for padding.
        graphs: the subgraphs as the encoder takes them; None for an answerer without an encoder.
        sizes: nodes of each subgraph, ``[B]`` int64.
        prefix: the text before the soft tokens, where it is read already; ``tokens`` then has only what follows.
    """

    tokens: Tokens
    question: Tensor
    question_mask: Tensor
    graphs: Any
    sizes: Tensor
    prefix: Prefix | None = None

    def context(self) -> tuple[Tensor, Tensor]:
        """The mask of prefix and tokens, ``[B, P + L]`` bool, and the positions of the tokens, ``[B, L]``."""
        mask, positions = self.tokens.mask, self.tokens.positions
        if self.prefix is None:
            return mask, positions
        return torch.cat([self.prefix.mask, mask], 1), positions + self.prefix.mask.sum(1, keepdim=True)


class Answerer(nn.Module):
    """A batch of questions -> the loss of their answers.

    ``state_dict`` leaves out the weights of the language model that are not trained: checkpoints and saved answerers
    are small, and the model is loaded by its name.

    Args:
        language_model: the language model; changed in place by ``lora`` and ``full``.
        encoder: ``graphs -> {"graph": [B, D], "node": [N, D]}``; None for an answerer that only reads text.
        fusion: see `jepakit.kgqa.answerer.fusion`; None: no soft tokens.
        tuning: of the language model: ``frozen``, ``lora`` (low-rank additions, Hu et al. 2021) or ``full``.
        freeze_encoder: the encoder is not trained, and stays in eval mode.
        rank: of ``lora``.
        targets: the linear maps that ``lora`` adds to, by the ends of their names.

    Raises:
        MissingExtraError: peft is not installed, for ``lora``.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        encoder: nn.Module | None,
        fusion: nn.Module | None,
        *,
        tuning: Tuning = "frozen",
        freeze_encoder: bool = False,
        rank: int = 8,
        targets: tuple[str, ...] = ("q_proj", "v_proj"),
    ) -> None:
        super().__init__()
        require_choice("tuning", tuning, TUNINGS)
        self.language_model, self.tuning, self.freeze_encoder = language_model, tuning, freeze_encoder
        self.llm, self.encoder, self.fusion = language_model.model, encoder, fusion
        if tuning == "lora":
            _add_low_rank(self.llm, rank, targets)
        elif tuning == "full":
            self.llm.requires_grad_(True)
        if encoder is not None and freeze_encoder:
            encoder.requires_grad_(False)
        self.register_state_dict_post_hook(_without_frozen)
        self.register_load_state_dict_post_hook(_expect_no_frozen)
        self.train()

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return embedding_matrix(self.llm).device

    def train(self, mode: bool = True) -> Answerer:
        """Training mode for what is trained: what is frozen has no dropout, and keeps its running statistics."""
        super().train(mode)
        if self.tuning == "frozen":
            self.llm.eval()
        if self.freeze_encoder and self.encoder is not None:
            self.encoder.eval()
        return self

    def forward(self, batch: AnswererBatch) -> Tensor:
        """The cross-entropy of the answers' tokens: the mean over all tokens of the batch, as `own_part` of it."""
        labels = batch.tokens.labels
        assert labels is not None
        return own_part(answer_loss(self.llm, self.inputs(batch), batch), int((labels != IGNORED).sum()))

    def inputs(self, batch: AnswererBatch) -> Tensor:
        """The embedded sequences with their soft tokens, ``[B, L, E]``."""
        embed = self.llm.get_input_embeddings()
        embedded = embed(batch.tokens.ids)
        soft = self.soft_tokens(batch)
        if soft is None:
            return embedded
        # Rows of the mask and of the soft tokens have the same order.
        return embedded.masked_scatter(batch.tokens.soft[..., None], soft.to(embedded.dtype))

    def soft_tokens(self, batch: AnswererBatch) -> Tensor | None:
        """``[B, K, E]``; None for an answerer without them."""
        if self.fusion is None:
            return None
        question = self.llm.get_input_embeddings()(batch.question).float()
        graphs = None
        if self.encoder is not None:
            output = self.encoder(batch.graphs)
            graphs = GraphEmbeddings(output["graph"], output["node"], batch.sizes)
        return self.fusion(graphs, question, batch.question_mask)


def answer_loss(llm: nn.Module, embedded: Tensor, batch: AnswererBatch) -> Tensor:
    """The cross-entropy of the labels; logits are computed for the last tokens alone, where the answers stand.

    Args:
        llm: a causal language model of transformers.
        embedded: the embedded tokens of the batch, ``[B, L, E]``.
        batch: with labels.
    """
    tokens, prefix = batch.tokens, batch.prefix
    mask, positions = batch.context()
    # The token before the answer predicts the answer's first.
    kept = tokens.answer + 1
    output = llm(
        inputs_embeds=embedded,
        attention_mask=mask.long(),
        position_ids=positions,
        past_key_values=None if prefix is None else prefix.cache(),
        logits_to_keep=kept,
        use_cache=prefix is not None,
    )
    logits = output.logits[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), tokens.labels[:, -tokens.answer :].flatten(), ignore_index=IGNORED)


def embedding_scale(language_model: LanguageModel) -> float:
    """The root mean square of the entries of embedded tokens."""
    return float(embedding_matrix(language_model.model).detach()[:4096].float().square().mean().sqrt())


def _add_low_rank(llm: nn.Module, rank: int, targets: tuple[str, ...]) -> None:
    try:
        from peft import LoraConfig, LoraModel
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "lora") from error
    options = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules=list(targets))
    LoraModel(llm, options, "default")
    for name, parameter in llm.named_parameters():
        if ".lora_" in name:
            # Small steps would be lost in bfloat16.
            parameter.data = parameter.data.float()


def _is_stored(answerer: Answerer, name: str) -> bool:
    if not name.startswith(_LLM):
        return True
    return answerer.tuning == "full" or (answerer.tuning == "lora" and ".lora_" in name)


def _without_frozen(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    assert isinstance(module, Answerer)
    for name in [key for key in state if key.startswith(prefix) and not _is_stored(module, key[len(prefix) :])]:
        del state[name]


def _expect_no_frozen(module: nn.Module, keys: Any) -> None:
    assert isinstance(module, Answerer)
    # A name is that in the module whose state is loaded, of which the answerer may be a part.
    keys.missing_keys[:] = [
        key for key in keys.missing_keys if _LLM not in key or _is_stored(module, key[key.index(_LLM) :])
    ]
