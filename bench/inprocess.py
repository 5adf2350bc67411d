"""The rows of stores in this process: Gneiss as a library, beside other libraries."""
import rows
from workers import Worker, rate, total

# How long a slice of work should take, and the least and most of it.
LEAST = {"insert": 64, "batch": 8000, "scan": 2, "equal": 20, "range": 4}
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
    def count_for(self, row, worker):
        """So many operations take about as long as a slice should; found by a first slice, which
        warms up and is not counted."""
        verb = row["verb"]
        if self.options.smoke:
            return 1000 if verb == "batch" else 16
        if verb == "first":
            return min(self.documents, 40000)
        count = LEAST.get(verb, 500)
        while True:
            took = self.slice(row, worker, count)["wall"]
            if took > self.options.slice_seconds / 8 or count >= MOST.get(verb, 10 ** 9):
                break
            count *= 4
        count = int(count * self.options.slice_seconds / max(took, 1e-6))
        count = max(LEAST.get(verb, 500), min(count, MOST.get(verb, 10 ** 9)))
        return count // 8000 * 8000 if verb == "batch" else count

    def slice(self, row, worker, count):
        if row["verb"] == "delete" and worker.inserted["grow"] - worker.deleted < count:
            worker.do("batch", "grow", 10 * count)
        if row.get("reopen"):
            worker.do("reopen")
            worker.do("durable", count=0)
        self.seed += 7919
        return worker.do(row["verb"], row["table"], count, self.seed)

    def measure(self, row):
        workers = [worker for peer, worker in self.workers.items()
                   if peer != "raw" or row.get("raw")]
        for worker in workers:
            worker.do("durable", count=1 if row.get("durable") else 0)
        beats = row.get("beats", 2)
        counts = {worker.peer: max(1, self.count_for(row, worker) // beats) for worker in workers}
        self.options.progress("%s, %s" % (row["name"], self.kind))
        rounds = {worker.peer: [] for worker in workers}
        for _ in range(self.options.rounds):
            beaten = {worker.peer: [] for worker in workers}
            for beat in range(beats):
                for worker in workers if beat % 2 == 0 else reversed(workers):
                    beaten[worker.peer].append(self.slice(row, worker, counts[worker.peer]))
            for peer, slices in beaten.items():
                rounds[peer].append(total(slices))
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
