"""Encoder folders on disk: what is written comes back, a crash leaves nothing half written, damage is named."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import jepakit
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.training.storage.encoder_folder import load_encoder, save_encoder


class Encoder(nn.Module):
    """Two layers, batch statistics and, if asked for, a decoder tied to the first layer."""

    def __init__(self, width: int, sizes: list[int] | None = None, *, tied: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        self.first = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 3)
        self.dropout = nn.Dropout(0.5)
        if tied:
            self.decoder = nn.Linear(width, width, bias=False)
            self.decoder.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.dropout(self.norm(self.first(x)).relu()))


def trained(width: int = 4, **options: object) -> Encoder:
    encoder = Encoder(width, **options)  # pyright: ignore[reportArgumentType]
    generator = torch.Generator().manual_seed(width)
    encoder(torch.randn(16, width, generator=generator))  # moves the batch statistics
    return encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_encoder(trained(), tmp_path / "encoder", config={"width": 4})


def test_a_saved_encoder_computes_the_same(tmp_path: Path) -> None:
    encoder = trained()
    save_encoder(encoder, tmp_path / "encoder", config={"width": 4}, role="target")
    loaded = load_encoder(tmp_path / "encoder", encoder_class=Encoder)
    x = torch.randn(8, 4)
    assert torch.equal(loaded(x), encoder.eval()(x))
    assert not loaded.training
    assert json.loads((tmp_path / "encoder" / "config.json").read_text())["role"] == "target"


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    encoder = trained()
    with torch.no_grad():
        encoder.last.weight[0, 0] = torch.nan
    save_encoder(encoder, tmp_path / "encoder", config={"width": 4})
    with pytest.raises(ModelError, match=r"last\.weight holds NaN: the training that wrote it diverged"):
        load_encoder(tmp_path / "encoder", encoder_class=Encoder)


def test_whoever_may_read_one_file_may_read_all(folder: Path) -> None:
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_loading_leaves_the_random_state_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    load_encoder(folder, encoder_class=Encoder)
    assert torch.equal(torch.get_rng_state(), before)


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    tied = save_encoder(trained(64, tied=True), tmp_path / "tied", config={"width": 64, "tied": True})
    loose = save_encoder(trained(64), tmp_path / "loose", config={"width": 64})
    one_matrix = 64 * 64 * 4
    assert (tied / "model.safetensors").stat().st_size < (loose / "model.safetensors").stat().st_size + one_matrix / 4
    loaded = load_encoder(tied, encoder_class=Encoder)
    assert loaded.decoder.weight is loaded.first.weight
    assert loaded.first.weight.abs().sum() > 0


def test_views_of_one_tensor_are_saved_as_their_own_values(tmp_path: Path) -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole = torch.arange(8.0).reshape(2, 4)
            self.register_buffer("upper", whole[0])
            self.register_buffer("transposed", whole.T)

    save_encoder(Halves(), tmp_path / "halves", config={})
    loaded = load_encoder(tmp_path / "halves", encoder_class=Halves)
    assert loaded.upper.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert loaded.transposed.tolist() == torch.arange(8.0).reshape(2, 4).T.tolist()


def test_a_class_of_jepakits_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugged.py").write_text(
        "from torch import nn\n\nclass Net(nn.Linear):\n    pass\n\nnot_a_net = print\n"
    )
    monkeypatch.setattr(jepakit, "__path__", [*jepakit.__path__, str(tmp_path)])
    net = importlib.import_module("jepakit.plugged").Net(3, 2)
    monkeypatch.delitem(sys.modules, "jepakit.plugged")
    folder = save_encoder(net, tmp_path / "net", config={"in_features": 3, "out_features": 2})
    loaded = load_encoder(folder)
    assert type(loaded).__qualname__ == "Net"
    assert torch.equal(loaded.weight, net.weight)

    for architecture in (
        "jepakit.plugged:not_a_net",
        "jepakit.plugged:nn.Linear",
        "jepakit.plugged:Gone",
        "jepakit.no:N",
    ):
        edit_config(folder, architecture=architecture)
        with pytest.raises(ModelError, match=architecture):
            load_encoder(folder)
    monkeypatch.delitem(sys.modules, "jepakit.plugged")


def test_a_class_outside_jepakit_is_never_imported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("hostile", "jepakit_hostile", "os"):
        edit_config(folder, architecture=f"{module}:Encoder")
        with pytest.raises(ModelError, match="encoder_class="):
            load_encoder(folder)


def test_the_new_encoder_replaces_the_old_one_whole(folder: Path) -> None:
    save_encoder(trained(6), folder, config={"width": 6})
    assert load_encoder(folder, encoder_class=Encoder).first.in_features == 6
    assert [path.name for path in folder.parent.iterdir()] == ["encoder"]


def test_a_failed_save_leaves_the_old_encoder(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"lazy\.weight has no values yet"):
        save_encoder(nn.ModuleDict({"lazy": nn.LazyLinear(3)}), folder, config={})
    assert load_encoder(folder, encoder_class=Encoder).first.in_features == 4
    assert [path.name for path in folder.parent.iterdir()] == ["encoder"]


KILL_AT_EACH_STEP = """
import os, sys, warnings
from pathlib import Path
from torch import nn
from jepakit.training.storage.encoder_folder import save_encoder

warnings.simplefilter("ignore")
root = Path(sys.argv[1])
for step in range(1000):
    folder = root / str(step) / "encoder"
    save_encoder(nn.Linear(2, 2), folder, config={"in_features": 2, "out_features": 2})
    child = os.fork()
    if child == 0:
        left = step
        def die(event, arguments):
            global left
            if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
                left -= 1
                if left < 0:
                    os._exit(9)
        sys.addaudithook(die)
        save_encoder(nn.Linear(3, 3), folder, config={"in_features": 3, "out_features": 3})
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
"""


def test_killed_at_any_step_a_save_leaves_a_whole_encoder(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILL_AT_EACH_STEP, str(tmp_path)], check=True, timeout=600)
    widths, set_aside = set(), 0
    for run in tmp_path.iterdir():
        whole = run / "encoder"
        if not whole.exists():
            (whole,) = run.glob(".encoder.*.previous")
            set_aside += 1
            with pytest.raises(ModelError, match=r"interrupted.*\.previous"):
                load_encoder(run / "encoder")
        widths.add(load_encoder(whole, encoder_class=nn.Linear).in_features)
    assert widths == {2, 3}
    assert set_aside <= 1
    assert len(list(tmp_path.iterdir())) > 8


def test_a_folder_with_something_else_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"notes\.txt"):
        save_encoder(trained(), folder, config={"width": 4})
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="did not write"):
        save_encoder(trained(), foreign, config={"width": 4})
    with pytest.raises(ModelError, match="is a file"):
        save_encoder(trained(), folder / "notes.txt", config={"width": 4})
    assert (folder / "notes.txt").read_text() == "mine"
    assert (foreign / "config.json").read_text() == '{"model_type": "bert"}'


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"width": 4, "depth": 2}, "unexpected keyword argument 'depth'"),
        ({}, "missing a required argument: 'width'"),
        ({"width": float("nan")}, r"config\.width"),
        ({"width": 4, "sizes": torch.zeros(2)}, r"config\.sizes.*JSON"),
        ({"width": 4, "sizes": {1: 2}}, r"config\.sizes.*would become"),
    ],
)
def test_a_config_that_would_not_come_back_is_refused(tmp_path: Path, config: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        save_encoder(trained(), tmp_path / "encoder", config=config)
    assert not (tmp_path / "encoder").exists()


def test_tuples_in_a_config_come_back_as_lists(tmp_path: Path) -> None:
    save_encoder(trained(), tmp_path / "encoder", config={"width": 4, "sizes": (1, (2, 3))})
    assert load_encoder(tmp_path / "encoder", encoder_class=Encoder).sizes == [1, [2, 3]]


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    # Without its digest it is taken as it is.
    kept = {name: value for name, value in json.loads(file.read_text()).items() if name != "sha256"}
    file.write_text(json.dumps(kept | changes))


def test_a_missing_folder_or_file_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"encodr does not exist"):
        load_encoder(tmp_path / "encodr")
    with pytest.raises(ModelError, match=r"encodr does not exist"):
        load_encoder(str(tmp_path / "encodr"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        load_encoder(folder, encoder_class=Encoder)


def test_a_misspelt_relative_path_is_not_taken_for_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"runs/encodr does not exist"):
        load_encoder("runs/encodr", endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "format_version": 1,\n "config": }', r"config\.json:3: "),
        ("[1]", r"config\.json: "),
        ('{"model_type": "bert"}', r"config\.json: format_version is None"),
        ('{"format_version": 2, "jepakit_version": "9.1"}', r"format_version is 2, written by jepakit 9\.1"),
        (
            '{"format_version": 1, "architecture": 3, "config": {}, "role": "target"}',
            r"\.json: architecture: .*3",
        ),
        (
            '{"format_version": 1, "architecture": "a:B", "config": [], "role": "target"}',
            r"\.json: config: .*\[\]",
        ),
        ('{"format_version": 1, "architecture": "a:B", "config": {}, "role": "best"}', r"config\.json: role: .*'best'"),
    ],
)
def test_a_damaged_config_is_named(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_encoder(folder, encoder_class=Encoder)


def test_a_config_that_is_not_text_is_named(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ModelError, match=r"config\.json:1: .*byte 7"):
        load_encoder(folder, encoder_class=Encoder)


@pytest.mark.parametrize("keep", [0, 5, 60, -7])
def test_cut_weights_are_named(folder: Path, keep: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors: "):
        load_encoder(folder, encoder_class=Encoder)


def test_weights_of_another_architecture_are_told_tensor_by_tensor(folder: Path) -> None:
    class Other(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first = nn.Linear(width, 7)
            self.more = nn.Linear(2, 2)

    with pytest.raises(ModelError) as raised:
        load_encoder(folder, encoder_class=Other)
    message = str(raised.value)
    assert "missing: more.weight, more.bias" in message
    assert "unexpected: last.bias, last.weight, norm.bias and 4 more" in message
    assert "first.weight (4, 4) where (7, 4) belongs" in message


def test_a_config_that_does_not_fit_the_class_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json.*does not build a Flatten.*width"):
        load_encoder(folder, encoder_class=nn.Flatten)


def test_an_unknown_device_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match="device = 'abacus'"):
        load_encoder(folder, encoder_class=Encoder, device="abacus")


CARD = {
    "title": "Molecules <b>",
    "dataset": "MUTAG | 188 graphs",
    "method": "Graph-JEPA",
    "tags": ["graph-ml", 'a: "b"'],
    "license": "mit",
    "epochs": 100,
    "rows": [
        {"dataset": "MUTAG", "method": "no network", "metric": "accuracy", "value": 85.2, "std": 1.5, "seeds": 5},
        {
            "dataset": "MUTAG",
            "method": "jepakit",
            "metric": "accuracy",
            "value": 90.1,
            "std": 0.5,
            "seeds": 5,
            "note": "a|b",
        },
    ],
}


def test_the_card_says_what_the_run_knows(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    text = (save_encoder(trained(), tmp_path / "e", config={"width": 4}, card=CARD) / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "jepakit",
        "tags": ["jepakit", "self-supervised-learning", "jepa", "graph-ml", 'a: "b"'],
        "license": "mit",
    }
    assert "# Molecules &lt;b>" in body
    assert "MUTAG \\| 188 graphs" in body
    assert "- epochs: 100" in body
    table = [line for line in body.splitlines() if line.startswith("| MUTAG")]
    assert table == [
        "| MUTAG | accuracy | jepakit | **90.10 ± 0.50** | 5 | a\\|b |",
        "| MUTAG | accuracy | no network | 85.20 ± 1.50 | 5 |  |",
    ]


def test_the_cards_snippet_loads_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (save_encoder(trained(), tmp_path / "mine", config={"width": 4}) / "README.md").read_text()
    snippet = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    names: dict[str, object] = {}
    exec(snippet, names)
    assert isinstance(names["encoder"], nn.Module)


@pytest.mark.parametrize(
    ("card", "error", "message"),
    [
        ({"tags": "graph"}, ConfigError, r"card\.tags"),
        ({"title": 3}, ConfigError, r"card\.title"),
        ({"rows": [{"dataset": "d", "method": "m", "metric": "a", "value": "high"}]}, DataError, r"rows\[0\]\.value"),
        ({"rows": [{"dataset": "d", "method": "m", "metric": "a", "val": 1}]}, DataError, r"rows\[0\]\.val"),
        ({"rows": [{"dataset": "d", "method": "m", "value": 1}]}, DataError, r"rows\[0\]\.metric: is missing"),
        ({"rows": [{"dataset": "d", "method": "m", "metric": "a", "value": True}]}, DataError, r"rows\[0\]\.value"),
    ],
)
def test_a_malformed_card_is_refused_before_anything_is_written(
    tmp_path: Path, card: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        save_encoder(trained(), tmp_path / "encoder", config={"width": 4}, card=card)
    assert list(tmp_path.iterdir()) == []


def test_loading_does_not_import_the_compiler_of_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from jepakit.graph.encoder import GraphEncoder
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.training.storage.encoder_folder import load_encoder, save_encoder

encoders = [GraphEncoder(5, 2, conv=conv) for conv in ("gin", "gcn")]
encoders += [KnowledgeEncoder(5, ["of"], ["film"], conv=conv) for conv in ("rgcn", "gat", "transformer")]
for number, encoder in enumerate(encoders):
    load_encoder(save_encoder(encoder, Path({str(tmp_path)!r}) / str(number), config=encoder.arguments))
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
