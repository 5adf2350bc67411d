"""The rows of stores in this process: Gneiss as a library, beside other libraries."""
import rows
from workers import Worker, calibrate, rate, take_turns

# How long a slice of work should take, and the least and most of it.
LEAST = {"insert": 8, "batch": 1000, "scan": 1, "equal": 20, "range": 4}
MOST = {"insert": 20000, "batch": 200000, "delete": 20000, "update": 200000}


class Group:
    """All peers with documents of one kind."""

    def __init__(self, options, kind, documents):
        self.options = options
        self.kind = kind
        self.documents = documents
        self.workers = {}
        self.seed = 1

    def __enter__(self):
        options = self.options
        for peer in options.peers:
            self.workers[peer] = Worker(peer, options.programs, options.below, self.kind,
                                        self.documents)
            worker = self.workers[peer]
            worker.do("durable", count=0)
            for table in ("docs", "indexed") if peer != "raw" else ("docs",):
                worker.do("batch", table, self.documents)
            worker.do("settle")
            options.progress("%s documents: %s is filled" % (self.kind, peer))
        return self

    def __exit__(self, *_):
        for worker in self.workers.values():
            worker.close()

    # ---- one row ----
    def count_for(self, row, peer, beats):
        verb = row["verb"]
        if self.options.smoke:
            return 1000 if verb == "batch" else 16 // beats
        if verb == "first":
            return min(self.documents, 40000) // beats
        count = calibrate(lambda count: self.slice(row, peer, count),
                          self.options.slice_seconds / beats, LEAST.get(verb, 200),
                          MOST.get(verb, 10 ** 9))
        return count // 1000 * 1000 if verb == "batch" else count

    def slice(self, row, peer, count):
        worker = self.workers[peer]
        if row["verb"] == "delete" and worker.inserted["grow"] - worker.deleted < count:
            worker.do("batch", "grow", 10 * count)
        if row.get("reopen"):
            worker.do("reopen")
            worker.do("durable", count=0)
        self.seed += 7919
        return worker.do(row["verb"], row["table"], count, self.seed)

    def measure(self, row):
        peers = [peer for peer in self.workers if peer != "raw" or row.get("raw")]
        beats = self.options.beats(row, 2)
        for peer in peers:
            self.workers[peer].do("durable", count=1 if row.get("durable") else 0)
        counts = {peer: self.count_for(row, peer, beats) for peer in peers}
        self.options.progress("%s, %s" % (row["name"], self.kind))
        rounds = take_turns(peers, lambda peer: self.slice(row, peer, counts[peer]),
                            self.options.rounds, beats)
        unit = row.get("unit", "operations")
        return {"group": "in-process", "name": row["name"], "kind": self.kind,
                "documents": self.documents, "clock": row["clock"], "unit": unit,
                "rates": {peer: [rate(one, row["clock"], unit) for one in slices]
                          for peer, slices in rounds.items()},
                "bars": row["bars"] if self.kind == "small" else {}}


def against_scan(results):
    """The index must keep up with the scan: documents a second of one against the other's."""
    made = []
    scans = {result["kind"]: result for result in results if result["name"] == "scan"}
    for result in results:
        bar = rows.AGAINST_SCAN.get(result["name"])
        scan = scans.get(result["kind"])
        if bar is None or scan is None or result["kind"] != "small":
            continue
        made.append({"group": "in-process", "name": result["name"] + ", against its own scan",
                     "kind": result["kind"], "documents": result["documents"],
                     "clock": "cpu", "unit": "documents",
                     "rates": {"gneiss": result["rates"]["gneiss"],
                               "own scan": scan["rates"]["gneiss"]},
                     "bars": {"own scan": bar}})
    return made


def run(options):
    results = []
    for kind in options.kinds:
        with Group(options, kind, options.documents(kind)) as group:
            for row in rows.INPROCESS:
                if not options.wanted(row["name"]):
                    continue
                results.append(group.measure(row))
    return results + against_scan(results)
