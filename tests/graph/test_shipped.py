"""The shipped encoder reads molecules as they are read today, and knows more of them than the same one untrained."""

import numpy as np
import pytest
import torch

from jepakit.errors import ConfigError
from jepakit.graph import Graphs
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.probe.selection import prepared
from jepakit.graph.probe.targets import ridge_path
from jepakit.graph.shipped import _FOLDER, shipped_encoder, shipped_encoders

RINGS = ("c1ccccc1", "C1CCCCC1", "c1ccncc1", "c1ccoc1", "C1CCNCC1", "C1CCOC1", "c1ccsc1", "C1CC1")
CHAINS = (
    *("C", "CCO", "C(=O)O", "Cl", "CC(N)C", "C(F)(F)F"),
    *("OCC", "C#N", "[N+](=O)[O-]", "S(=O)(=O)N", "C(=O)NC", "CCCC"),
)


def test_every_shipped_folder_is_small_has_a_card_and_nothing_else() -> None:
    assert shipped_encoders() == ("molecules",)
    files = sorted(file.name for file in (_FOLDER / "molecules").iterdir())
    assert files == ["README.md", "config.json", "model.safetensors"]
    assert sum((_FOLDER / "molecules" / name).stat().st_size for name in files) < 20e6


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="one of molecules"):
        shipped_encoder("proteins")


def test_properties_of_molecules_are_read_off_its_embeddings() -> None:
    descriptors = pytest.importorskip("rdkit.Chem.Descriptors")
    from rdkit.Chem import MolFromSmiles

    from jepakit.graph.datasets.molecules.features import VOCABULARY

    smiles = [ring + chain for ring in RINGS for chain in CHAINS]
    graphs = Graphs.from_smiles(smiles)
    encoder = shipped_encoder()
    assert graphs.vocabulary == VOCABULARY
    assert not encoder.training
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = GraphEncoder(**encoder.arguments)  # pyright: ignore[reportArgumentType]
        untrained.calibrate(untrained.prepare(graphs))
    order = np.random.default_rng(0).permutation(len(smiles))
    # Polar surface, solubility in fat: neither is the count of anything that an atom shows.
    for name in ("TPSA", "MolLogP"):
        y = np.array([getattr(descriptors, name)(MolFromSmiles(text)) for text in smiles])[order]
        error = {}
        for trained, one in ((True, encoder), (False, untrained.eval())):
            embedded = one.embed(graphs)
            assert embedded.shape == (96, 640)
            z = prepared(embedded.double().numpy()[order], 48, "one scale")
            error[trained] = min(np.abs(path[48:] - y[48:]).mean() for path in ridge_path(z, y[:48]))
        assert error[True] < 0.7 * error[False]
