"""What is measured and what is asked of it: data, and nothing else.

A row is one piece of work; `verb` and `table` are the worker's (bench/worker.c).  `clock` says what
counts: "cpu" is the processor time of the whole process, which other programs on the machine do
not touch, for work that never waits; "wall" is for work that waits for the disk or for somebody.
`beats` is how often the peers take turns within a round; more for what waits for a disk that others
use too.  `bars` are ratios Gneiss : peer for small documents.
"""

KINDS = ("small", "medium", "large")
STORES = ("lmdb", "sqlite", "wiredtiger", "rocksdb")

INPROCESS = [
    {"name": "get by _id, warm", "verb": "get", "table": "docs", "clock": "cpu", "raw": True,
     "bars": {"wiredtiger": 1.0, "lmdb": 0.7, "sqlite": 4.0}},
    {"name": "get by _id, after reopen", "verb": "first", "table": "docs", "clock": "cpu",
     "reopen": True, "bars": {}},
    {"name": "scan", "verb": "scan", "table": "docs", "clock": "cpu", "raw": True, "unit": "documents",
     "bars": {"wiredtiger": 1.0}},
    {"name": "index equality", "verb": "equal", "table": "indexed", "clock": "cpu",
     "unit": "documents", "bars": {"sqlite": 3.0}},
    {"name": "index range", "verb": "range", "table": "indexed", "clock": "cpu",
     "unit": "documents", "bars": {"sqlite": 3.0}},
    {"name": "update one field", "verb": "update", "table": "docs", "clock": "wall",
     "durable": False, "bars": {}},
    {"name": "durable insert", "verb": "insert", "table": "grow", "clock": "wall", "durable": True,
     "beats": 16, "raw": True, "bars": {"raw": 0.85, "sqlite": 1.0}},
    {"name": "batch insert, 1,000 a commit", "verb": "batch", "table": "grow", "clock": "wall",
     "durable": True, "beats": 4, "raw": True, "bars": {"sqlite": 1.0, "wiredtiger": 0.7}},
    {"name": "delete", "verb": "delete", "table": "grow", "clock": "wall", "durable": False,
     "bars": {}},
]

# A row against another row of Gneiss in the same run: documents a second against the scan's.
# 400,000 where the scan gives 5,000,000.
AGAINST_SCAN = {"index equality": 0.08, "index range": 0.08}
