"""The entities that a question names."""

from jepakit.kgqa.linking.linker import EntityLinker, LinkingConfig
from jepakit.kgqa.linking.matches import METHODS, Match, linking_recall, mask_topic

__all__ = ["METHODS", "EntityLinker", "LinkingConfig", "Match", "linking_recall", "mask_topic"]
