"""Rows of predictions in shards of Parquet: written as they are computed, whole after a kill, and gone on with.

A folder holds finished shards, `START-END.parquet` with the images START to END - 1 of the input, and for each process
one that grows, `_START.rows`, a stream of Arrow that can be read up to the last whole batch. Readers of Parquet leave
out what begins with an underscore, so `pandas.read_parquet(FOLDER)` reads all rows in the order of the input.
"""

from numclip_lightning.shards.folder import Done, Range, ShardFolder, divide
from numclip_lightning.shards.writer import ShardWriter

__all__ = ["Done", "Range", "ShardFolder", "ShardWriter", "divide"]
