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

# Over the wire, small documents.  `language` is what Gneiss is asked in; bars by number of clients.
WIRE = [
    {"name": "get by _id, mongo protocol", "verb": "get", "table": "docs", "language": "mongo",
     "peers": ("postgres", "echo"),
     "bars": {1: {"postgres": 1.3}, 8: {"postgres": 1.3}, 50: {"postgres": 1.3}}},
    {"name": "get by _id, text protocol", "verb": "get", "table": "docs", "language": "text",
     "peers": ("redis", "echo"),
     "bars": {1: {"redis": 1.0}, 8: {"redis": 0.7}, 50: {"redis": 0.7}}},
    {"name": "get by _id, text protocol, pipelined 16", "verb": "get", "table": "docs",
     "language": "text", "pipeline": 16, "peers": ("redis", "echo"),
     "bars": {1: {"redis": 0.5}, 8: {"redis": 0.5}, 50: {"redis": 0.5}}},
    {"name": "get by _id, mongo protocol, pipelined 16", "verb": "get", "table": "docs",
     "language": "mongo", "pipeline": 16, "peers": ("postgres", "echo"), "bars": {}},
    {"name": "durable insert, mongo protocol", "verb": "insert", "table": "grow",
     "language": "mongo", "peers": ("postgres", "redis"), "beats": 8,
     "bars": {1: {"postgres": 1.0}, 8: {"postgres": 1.5}, 50: {"postgres": 2.0, "redis": 0.5}}},
    {"name": "four gets to one durable update, mongo protocol", "verb": "mixed", "table": "docs",
     "language": "mongo", "peers": ("postgres", "redis"), "beats": 8, "bars": {}},
    {"name": "index equality, mongo protocol", "verb": "equal", "table": "indexed",
     "language": "mongo", "peers": ("postgres",), "unit": "documents",
     "bars": {clients: {"postgres": 1.5} for clients in (1, 8, 50)}},
    {"name": "index range, mongo protocol", "verb": "range", "table": "indexed",
     "language": "mongo", "peers": ("postgres",), "unit": "documents",
     "bars": {clients: {"postgres": 1.5} for clients in (1, 8, 50)}},
    {"name": "connect, get, close, mongo protocol", "verb": "cycle", "table": "docs",
     "language": "mongo", "peers": ("postgres", "redis"), "clients": (1,),
     "bars": {1: {"postgres": 5.0}}},
]
CLIENTS = (1, 8, 50)

# Sessions that say nothing beside eight that are busy: the rate with them to the rate without.
IDLE = {"name": "get by _id, mongo protocol, beside 500 idle sessions", "busy": 8, "idle": 500,
        "bar": 0.95}

# The protocol's inner loops, on one core; `limits` are operations a second.  One bar of a row is
# enough.
PROTOCOL = [
    {"name": "a simple line parsed", "verb": "parse", "limits": {"90 ns": 1e9 / 90},
     "bars": {"90 ns": 1.0}},
    {"name": "an INSERT of 1 KiB framed", "verb": "frame", "against": {"memchr": "memchr"},
     "limits": {"8 GiB/s": float(8 << 20)}, "bars": {"memchr": 0.333, "8 GiB/s": 1.0}},
    {"name": "a bulk of a reply of 100 written", "verb": "bulk", "limits": {"90 ns": 1e9 / 90},
     "bars": {"90 ns": 1.0}},
]

# Gneiss against itself: gets among 10,000,000 against 100,000; the last tenth of many inserts
# against the first.
AMONG_TEN_MILLION = 0.5
LAST_TENTH = 0.8
