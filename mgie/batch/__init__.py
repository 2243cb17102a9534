"""Many edits in one go: rows in, pictures, a results table and a contact sheet out; no torch until it runs.

A batch can be stopped at any moment and started again: the files are those of one run, byte for byte.
"""

from mgie.batch.rows import BatchSettings, Row, read_rows
from mgie.batch.run import RESULTS_FILE, SETTINGS_FILE, SHEET_FILE, Batch, RowResult

__all__ = [
    "RESULTS_FILE",
    "SETTINGS_FILE",
    "SHEET_FILE",
    "Batch",
    "BatchSettings",
    "Row",
    "RowResult",
    "read_rows",
]
