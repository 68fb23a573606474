"""Reranking: the order is the cross-encoder's own."""

from __future__ import annotations

import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder
from tiny_models import save_bert

from jepakit.errors import ConfigError, ModelError
from jepakit.retrieval.serving.rerank import CrossEncoderReranker
from jepakit.retrieval.serving.searcher import Found

QUERY = "how do i read a file"
FOUND = [
    Found("D0", 0.9, "", "sort the list", {"part": 0}),
    Found("D1", 0.8, "socket", "open the socket", {"part": 1}),
    Found("D2", 0.7, "", "open the file : read a line", {"part": 0}),
    Found("D3", 0.6, "read", "", {"part": 1}),
    Found("D4", 0.5, "", "a list", {"part": 0}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("cross") / "encoder", classes=1)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> CrossEncoderReranker:
    return CrossEncoderReranker(folder)


def test_the_order_is_that_of_the_models_own_scores(folder: Path, reranker: CrossEncoderReranker) -> None:
    passages = ["sort the list", "socket open the socket", "open the file : read a line", "read", "a list"]
    scores = CrossEncoder(str(folder), device="cpu").predict([(QUERY, passage) for passage in passages]).tolist()
    order = sorted(range(len(FOUND)), key=lambda place: -scores[place])
    assert order != [0, 1, 2, 3, 4]
    answer = reranker.rerank(QUERY, FOUND, 5)
    assert [one.id for one in answer] == [f"D{place}" for place in order]
    assert [one.score for one in answer] == pytest.approx([scores[place] for place in order], abs=1e-6)
    assert [one.metadata for one in answer] == [FOUND[place].metadata for place in order]
    assert reranker.rerank(QUERY, FOUND, 2) == answer[:2]
    assert reranker.rerank(QUERY, FOUND, 99) == answer


def test_neither_the_order_before_nor_the_batch_counts(folder: Path, reranker: CrossEncoderReranker) -> None:
    answer = reranker.rerank(QUERY, FOUND, 5)
    assert reranker.rerank(QUERY, FOUND[::-1], 5) == answer
    by_two = CrossEncoderReranker(str(folder), batch_size=2).rerank(QUERY, FOUND, 5)
    assert [one.id for one in by_two] == [one.id for one in answer]


def test_of_equal_scores_the_one_found_first_comes_first(reranker: CrossEncoderReranker) -> None:
    same = [Found(f"D{place}", 0.0, "", "the same", {}) for place in (4, 2, 9, 1)]
    assert [one.id for one in reranker.rerank(QUERY, same, 4)] == ["D4", "D2", "D9", "D1"]


def test_pickled_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "encoder"
    shutil.copytree(folder, pickled)
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no file named model\.safetensors"):
        CrossEncoderReranker(pickled)


def test_nothing_found_stays_nothing(reranker: CrossEncoderReranker) -> None:
    assert reranker.rerank(QUERY, [], 3) == []


def test_texts_may_hold_anything(reranker: CrossEncoderReranker) -> None:
    odd = [
        Found("blank", 0, "", " ", {}),
        Found("lone", 0, "", "file \ud800", {}),
        Found("long", 0, "", "a " * 999, {}),
    ]
    answer = reranker.rerank("\udfff", odd, 3)
    assert {one.id for one in answer} == {"blank", "lone", "long"}
    assert all(math.isfinite(one.score) for one in answer)
    assert {one.text for one in answer} == {one.text for one in odd}


def test_what_lies_behind_the_longest_input_is_not_read(folder: Path) -> None:
    ends = ("line line", "sort socket")
    pair = [Found(f"D{place}", 0, "", f"open the file {end}", {}) for place, end in enumerate(ends)]

    def difference(reranker: CrossEncoderReranker) -> float:
        first, second = reranker.rerank("read", pair, 2)
        return first.score - second.score

    # One token of the query, three of the document, three that hold them together.
    assert difference(CrossEncoderReranker(folder, max_length=7)) < 1e-6
    assert difference(CrossEncoderReranker(folder, max_length=8)) > 1e-6


def test_threads_get_the_same_answers(reranker: CrossEncoderReranker) -> None:
    expected = reranker.rerank(QUERY, FOUND, 5)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: reranker.rerank(QUERY, FOUND, 5), range(16))) == [expected] * 16


def test_loading_leaves_the_callers_random_numbers_alone(folder: Path) -> None:
    state = torch.random.get_rng_state()
    CrossEncoderReranker(folder)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_missing_model_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere: cannot be loaded \(.*give a folder with a cross-encoder, or an id"):
        CrossEncoderReranker(tmp_path / "nowhere")


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "damaged", classes=1)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged: cannot be loaded"):
        CrossEncoderReranker(folder)


def test_an_encoder_of_single_texts_is_not_taken_for_one_of_pairs(tmp_path: Path) -> None:
    # sentence-transformers would load it with a head of random numbers.
    with pytest.raises(ModelError, match="plain: no cross-encoder but BertModel; give one as cross-encoder/"):
        CrossEncoderReranker(save_bert(tmp_path / "plain"))


def test_a_classifier_of_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="three: gives 3 scores for a pair"):
        CrossEncoderReranker(save_bert(tmp_path / "three", classes=3))


def test_scores_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    from transformers import BertForSequenceClassification

    folder = save_bert(tmp_path / "broken", classes=1)
    model = BertForSequenceClassification.from_pretrained(folder)
    model.classifier.bias.data.fill_(torch.nan)
    model.save_pretrained(folder)
    with pytest.raises(ModelError, match="broken: gave no finite score for each of 5 pairs"):
        CrossEncoderReranker(folder).rerank(QUERY, FOUND, 3)


def test_bad_options(folder: Path, reranker: CrossEncoderReranker) -> None:
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        reranker.rerank(QUERY, FOUND, 0)
    with pytest.raises(ConfigError, match="batch_size = 0: expected at least 1"):
        CrossEncoderReranker(folder, batch_size=0)
    with pytest.raises(ConfigError, match="max_length = 0: expected at least 1"):
        CrossEncoderReranker(folder, max_length=0)
    with pytest.raises(ConfigError, match="max_length = 41: expected at most 40"):
        CrossEncoderReranker(folder, max_length=41)
