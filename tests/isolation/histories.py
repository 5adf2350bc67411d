#!/usr/bin/python3
"""Random histories: what many clients did to few documents, proven linearizable for each document.

    tests/isolation/histories.py [--operations 20000] [--clients 6] [--seed N] [--kills]
                                 [--break stale|lost|early]

Clients read, write, increment and compare-and-set; each operation is noted with the times at which
it began and ended, and as done, refused (no part of the history) or unknown (its connection was
lost).  --kills: backends are killed by signal 9 meanwhile.  Without options, as the step of the
tests runs it: the histories made by hand, a run, a run with kills, and three runs through clients
that lie, which must be refused.

The judge is the search of Wing and Gong (1993) with the states remembered, one event after the
other ("just in time"), as in Lowe, "Testing for linearizability" (2017): a configuration is a value
of the document and which of the operations under way have had their effect.  At an end, those stay
in which the one that ended had it; none left: no order of the operations explains what was seen.
One that is unknown stays under way for ever: it may have its effect later, or never.
"""
import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from server import Checks, Server  # noqa: E402
from wire import Closed, Mongo, Refused  # noqa: E402

DOCUMENTS = 4
PHASE = 400          # operations of a client until all go on to new documents
NEVER = 1 << 62


# ---- the judge ----
def step(value, kind, argument, result):
    """What the document holds after an operation, or None if that result was impossible.
    A result of None was not seen."""
    if kind == "read":
        return value if result in (None, value) else None
    if kind == "write":
        return argument
    if kind == "add":
        return value + argument if result in (None, value + argument) else None
    old, new = argument                              # "swap"
    if value == old:
        return new if result in (None, True) else None
    return value if result in (None, False) else None


def judge(operations, initial=0):
    """operations: (kind, argument, result, began, ended); ended NEVER: unknown.  Yields None if they
    are linearizable, or the number of the operation at whose end no order was left."""
    events = []
    for number, (_, _, _, began, ended) in enumerate(operations):
        events.append((began, 0, number))
        if ended != NEVER:
            events.append((ended, 1, number))
    events.sort()
    under_way = set()
    configurations = {(initial, frozenset())}
    for _, ends, number in events:
        if not ends:
            under_way.add(number)
            continue
        after, seen, stack = set(), set(configurations), list(configurations)
        while stack:
            value, done = stack.pop()
            if number in done:
                after.add((value, done - {number}))
                continue
            for other in under_way:
                if other in done:
                    continue
                kind, argument, result = operations[other][:3]
                new = step(value, kind, argument, result)
                if new is None:
                    continue
                # One that is unknown and changed nothing need not be told apart.
                if new == value and operations[other][4] == NEVER:
                    continue
                found = (new, done | {other})
                if found not in seen:
                    seen.add(found)
                    stack.append(found)
        under_way.discard(number)
        configurations = after
        if not configurations:
            return number
    return None


GOOD = {
    "one after the other": [("write", 1, None, 0, 1), ("read", None, 1, 2, 3)],
    "a read beside a write sees the old": [("write", 1, None, 0, 9), ("read", None, 0, 2, 3)],
    "a read beside a write sees the new": [("write", 1, None, 0, 9), ("read", None, 1, 2, 3)],
    "an unknown write seen late": [("write", 1, None, 0, NEVER), ("read", None, 0, 2, 3),
                                   ("read", None, 1, 4, 5)],
    "an unknown write never seen": [("write", 1, None, 0, NEVER), ("read", None, 0, 2, 3)],
    "two increments": [("add", 1, 2, 0, 9), ("add", 1, 1, 1, 8), ("read", None, 2, 10, 11)],
    "a swap that found another value": [("write", 5, None, 0, 1), ("swap", (0, 7), False, 2, 3)],
}
BAD = {
    "a stale read": [("write", 1, None, 0, 1), ("read", None, 0, 2, 3)],
    "a read of what nobody wrote": [("write", 1, None, 0, 1), ("read", None, 2, 2, 3)],
    "a read of the future": [("read", None, 1, 0, 1), ("write", 1, None, 2, 3)],
    "a lost increment": [("add", 1, 1, 0, 9), ("add", 1, 1, 1, 8)],
    "a lost increment seen by a read": [("add", 1, None, 0, 1), ("add", 1, None, 2, 3),
                                        ("read", None, 1, 4, 5)],
    "an increment done twice": [("add", 1, None, 0, 1), ("read", None, 2, 2, 3)],
    "two reads in the wrong order": [("write", 1, None, 0, 9), ("read", None, 1, 2, 3),
                                     ("read", None, 0, 4, 5)],
    "two swaps of one value": [("swap", (0, 1), True, 0, 9), ("swap", (0, 2), True, 1, 8)],
    "a swap that should have been": [("swap", (0, 1), False, 0, 1)],
    "a swap of what was gone": [("write", 5, None, 0, 1), ("swap", (0, 1), True, 2, 3)],
    "an unknown write seen and gone": [("write", 1, None, 0, NEVER), ("read", None, 1, 2, 3),
                                       ("read", None, 0, 4, 5)],
    "an unknown write that was seen before it began": [("read", None, 1, 0, 1),
                                                       ("write", 1, None, 2, NEVER)],
}


# ---- clients ----
class Client:
    """One connection; `lie` names how this one serves wrong answers, for the controls."""

    def __init__(self, port, rng, lie):
        self.port, self.rng, self.lie = port, rng, lie
        self.wire = None
        self.cache = {}

    def ask(self, command):
        if self.wire is None:
            self.wire = Mongo(self.port)
        return self.wire.ask(command, "histories")

    def lost(self):
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    def find(self, key):
        return self.ask({"find": "c", "filter": {"_id": key}})["cursor"]["firstBatch"][0]["n"]

    def update(self, query, change):
        reply = self.ask({"update": "c", "updates": [{"q": query, "u": change}]})
        if "writeErrors" in reply:
            raise Refused(str(reply["writeErrors"]), reply)
        return reply["n"]

    def do(self, key, kind, argument):
        lies = self.lie is not None and self.rng.random() < 0.05
        if kind == "read":
            if lies and self.lie == "stale" and key in self.cache:
                return self.cache[key]
            value = self.find(key)
            self.cache.setdefault(key, value)
            return value
        if kind == "write":
            if not (lies and self.lie == "early"):       # acknowledged, and not done
                self.update({"_id": key}, {"$set": {"n": argument}})
            return None
        if kind == "add":
            if lies and self.lie == "lost":              # not in one step
                value = self.find(key)
                time.sleep(0.005)
                self.update({"_id": key}, {"$set": {"n": value + argument}})
                return value + argument
            reply = self.ask({"findAndModify": "c", "query": {"_id": key},
                              "update": {"$inc": {"n": argument}}, "new": True})
            return reply["value"]["n"]
        old, new = argument
        return self.update({"_id": key, "n": old}, {"$set": {"n": new}}) == 1


def choose(rng, last):
    """A kind of operation and its argument; what it writes is hardly ever written twice."""
    kind = rng.choice(("read", "read", "write", "add", "add", "swap"))
    fresh = rng.randrange(1 << 30)
    return kind, {"read": None, "write": fresh, "add": 1 + fresh % 7, "swap": (last, fresh)}[kind]


def client_main(port, seed, operations, lie, barrier, pipe):
    rng = random.Random(seed)
    client = Client(port, rng, lie)
    history, refused = [], 0
    for number in range(operations):
        phase = number // PHASE
        if number % PHASE == 0:
            barrier.wait()
            last = dict.fromkeys(range(DOCUMENTS), 0)
        document = rng.randrange(DOCUMENTS)
        key = phase * DOCUMENTS + document
        kind, argument = choose(rng, last[document])
        result, ended = None, NEVER
        began = time.monotonic_ns()
        try:
            result = client.do(key, kind, argument)
            ended = time.monotonic_ns()
        except (Closed, ConnectionError):
            client.lost()
        except Refused:
            refused += 1
            client.lost()
            continue
        if result is not None and kind in ("read", "add"):
            last[document] = result
        history.append((key, kind, argument, result, began, ended))
    client.lost()
    pipe.send((history, refused))


def killer(server, rng, until):
    """Kill a backend at work now and then; yields how many."""
    kills = 0
    while not until():
        time.sleep(rng.uniform(0.02, 0.3 if kills else 0.03))  # one at least, however quick all are
        at_work = [pid for pid, title in server.titles().items()
                   if "backend 127.0.0.1:" in title and title.count(" ") > 2]
        if at_work:
            try:
                os.kill(rng.choice(at_work), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
    return kills


def run(server, operations, clients, seed, kills=False, lie=None):
    """Yields (operations done, unknown, refused, killed, documents that are not linearizable)."""
    rng = random.Random(seed)
    each = operations // clients
    admin = Mongo(server.port["mongo"])
    admin.ask({"dropDatabase": 1}, "histories")
    keys = (each // PHASE + 1) * DOCUMENTS
    for first in range(0, keys, 1000):
        admin.ask({"insert": "c", "documents": [
            {"_id": key, "n": 0} for key in range(first, min(first + 1000, keys))]}, "histories")
    admin.close()
    barrier = multiprocessing.Barrier(clients)
    pipes, workers = [], []
    for number in range(clients):
        here, there = multiprocessing.Pipe()
        worker = multiprocessing.Process(target=client_main, args=(
            server.port["mongo"], seed * 1000 + number, each, lie, barrier, there))
        worker.start()
        there.close()
        pipes.append(here)
        workers.append(worker)
    killed = killer(server, rng, lambda: any(pipe.poll(0) for pipe in pipes)) if kills else 0
    by_key, done, unknown, refused = {}, 0, 0, 0
    for pipe in pipes:
        history, more = pipe.recv()
        refused += more
        for key, *operation in history:
            by_key.setdefault(key, []).append(tuple(operation))
            done += 1
            unknown += operation[-1] == NEVER
    for worker in workers:
        worker.join()
    wrong = []
    for key, history in sorted(by_key.items()):
        at = judge(history)
        if at is not None:
            wrong.append((key, history[at]))
            if lie is None:
                tell(seed, key, history, at)
    return done, unknown, refused, killed, wrong


def tell(seed, key, history, at):
    print("  seed %d, document %d: no order explains %s" % (seed, key, history[at]))
    ended = history[at][4]
    for operation in sorted(history, key=lambda one: one[3]):
        if operation[3] < ended and (operation[4] == NEVER or operation[4] > ended - 50000000):
            print("    " + json.dumps(operation))


def by_hand(checks):
    wrong = ["refused: " + name for name, one in GOOD.items() if judge(one) is not None]
    wrong += ["taken: " + name for name, one in BAD.items() if judge(one) is None]
    checks.check(not wrong, "histories: %d good ones by hand are taken, %d bad ones refused" % (
        len(GOOD), len(BAD)), wrong)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--operations", type=int, default=0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--kills", action="store_true")
    parser.add_argument("--break", dest="lie", choices=("stale", "lost", "early"))
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 20)
    checks = Checks()
    by_hand(checks)
    with Server({"memory.shared_buffers": "16MB"}) as server:
        server.start()
        runs = [(options.operations, options.kills, options.lie)] if options.operations else [
            (9600, False, None), (9600, True, None),
            (4800, False, "stale"), (4800, False, "lost"), (4800, False, "early")]
        for operations, kills, lie in runs:
            began = time.monotonic()
            done, unknown, refused, killed, wrong = run(server, operations, options.clients, seed,
                                                        kills, lie)
            text = "seed %d, %d operations of %d clients, %d unknown, %d refused, %d backends " \
                "killed, %d documents not linearizable, %.0f s" % (
                    seed, done, options.clients, unknown, refused, killed, len(wrong),
                    time.monotonic() - began)
            if lie is not None:
                checks.check(wrong, "histories, the control '%s': refused, as it must be (%s)" % (
                    lie, text))
            else:
                checks.check(not wrong and (not kills or unknown > 0), "histories%s: %s" % (
                    " while backends are killed" if kills else "", text))
            seed += 1
    checks.done()


if __name__ == "__main__":
    main()
