"""Model formats: how the files of each are checked, and how they become a `Scorer`. One file per format."""

from collections.abc import Mapping
from typing import Final

from perennial_bundle.formats.ensemble import EnsembleFormat
from perennial_bundle.formats.onnx_file import OnnxFormat
from perennial_bundle.formats.protocol import Format, Scorer
from perennial_bundle.formats.skops_file import SkopsFormat

FORMATS: Final[Mapping[str, Format]] = {
    "skops": SkopsFormat(),
    "onnx": OnnxFormat(),
    "ensemble": EnsembleFormat(),
}

__all__ = ["FORMATS", "Format", "Scorer"]
