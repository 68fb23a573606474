from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.prompt import Prompt
from jepakit.kgqa.answerer.tokens import IGNORED, pack_tokens


def test_a_block_holds_each_sequence_with_its_answer_on_the_right(tiny: LanguageModel) -> None:
    prompts = [Prompt("Ada", " was born in"), Prompt("", "Where?"), Prompt("Paris and London", "")]
    answers = ["London", "Ada Lovelace School", ""]
    tokens = pack_tokens(tiny, prompts, answers, soft_tokens=3)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        before, after, written = map(tiny.token_ids, (prompt.before, prompt.after, answer))
        size = len(before) + 3 + len(after) + len(written) + 1
        assert tokens.mask[row].sum() == size
        assert tokens.mask[row, -size:].all()
        ids = tokens.ids[row, -size:].tolist()
        assert ids[: len(before)] == before
        assert ids[len(before) + 3 :] == [*after, *written, tiny.end]
        assert tokens.soft[row, -size:].nonzero().flatten().tolist() == [len(before) + at for at in range(3)]
        assert tokens.soft[row].sum() == 3
        labels = tokens.labels[row].tolist()
        assert labels == [IGNORED] * (len(labels) - len(written) - 1) + [*written, tiny.end]
        assert tokens.positions[row, -size:].tolist() == list(range(size))
    assert tokens.answer == max(len(tiny.token_ids(answer)) for answer in answers) + 1


def test_a_long_answer_is_cut_and_still_ends(tiny: LanguageModel) -> None:
    tokens = pack_tokens(tiny, [Prompt("Ada", "")], ["London " * 20], soft_tokens=0, max_answer=5)
    assert tokens.answer == 5
    assert tokens.labels[0, -5:].tolist() == [*tiny.token_ids("London " * 20)[:4], tiny.end]


def test_prompts_alone_have_no_labels(tiny: LanguageModel) -> None:
    tokens = pack_tokens(tiny, [Prompt("Ada", "")], soft_tokens=1)
    assert tokens.answer == 0
    assert (tokens.labels == IGNORED).all()
    assert tokens.ids[0, :-1].tolist() == tiny.token_ids("Ada")
