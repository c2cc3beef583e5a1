"""Reads a table of the lake with the PyPI package `deltalake`, which shares no
process with the server: rows, and how many of them come from one record.

    python check.py LAKE/events
"""

import collections
import sys

from deltalake import DeltaTable

table = DeltaTable(sys.argv[1])
reader = table.to_pyarrow_table(columns=["log_partition", "log_offset"])
origins = list(zip(reader["log_partition"].to_pylist(), reader["log_offset"].to_pylist()))
counts = collections.Counter(origins)
duplicates = sum(count - 1 for count in counts.values())
gaps = 0
for partition in {partition for partition, _ in origins}:
    offsets = sorted(offset for of, offset in counts if of == partition)
    gaps += offsets[-1] + 1 - len(offsets)
print(f"version {table.version()}: {len(origins)} rows, {duplicates} duplicates, {gaps} gaps")
sys.exit(1 if duplicates else 0)
