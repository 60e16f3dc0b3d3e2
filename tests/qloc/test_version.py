"""The version is one: in the package, its metadata and the citation."""

from importlib.metadata import version
from pathlib import Path

import yaml

import qloc

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert qloc.__version__ == qloc.version.__version__ == version("qloc") == citation["version"]
