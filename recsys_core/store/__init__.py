"""The workspace on disk: datasets, runs, exports. Atomic, shared between processes, without pickle."""

from .entries import DatasetEntry, ExportEntry, RunEntry
from .workspace import Workspace

__all__ = ["DatasetEntry", "ExportEntry", "RunEntry", "Workspace"]
