#!/usr/bin/python3
"""Power cuts at any block: disks rebuilt from a log of what was written to one (writelog.py).

A server works under 16 clients (those of oracle.py, outside that disk), with three checkpoints a
second; each client keeps how long the log of writes was before each of its requests and after each
answer.  Then, for each of many points of that log, the disk is rebuilt as a power cut there might
have left it:

  prefix    every write up to that point, in order
  dropped   writes since the last flush are there or not, at random
  torn      so are the pieces, of 4 KiB or of 512 bytes, of each of them

and a server starts on it.  What was acknowledged before the point must be there, what was asked
before it may be there, nothing else is; `gneiss check` must find the directory sound.

    tests/crash/blocklog.py [--points 2] [--seconds 3] [--fs ext4|xfs] [--modes torn4096,...]
                            [--seed N] [--control sync|images]

--control sync runs with wal.sync off, without checkpoints, and must lose; --control images with
wal.full_page_images off, and torn writes must be noticed.  A point of dropped or torn writes where
none vanished is void, and the run fails.
Where a machine has no loop devices or FUSE, a comment line says so and nothing is checked.
"""
import argparse
import multiprocessing
import os
import random
import sys
import time

import oracle
import writelog
from disk import KINDS, seeded_kinds
from oracle import Oracle, Unknown, load, prepare, verify
from server import Server, StartFailed, gneiss
from wire import Closed, Text

MODES = {"torn4096": 4096, "dropped": 0, "torn512": 512, "prefix": None}  # bytes of a piece
CONTROLS = {"sync": "wal.sync", "images": "wal.full_page_images"}


# ---- what was promised, and when ----
class Witness(Oracle):
    """An oracle that remembers how long the log of writes was at each promise."""

    def __init__(self, client, log):
        super().__init__(client)
        self.log = log
        self.seen = 0
        self.history = []  # ({key: value after}, together, length before, length after the answer)

    def length(self):
        """It only grows, though the log's super block may be written out of order."""
        self.seen = max(self.seen, writelog.entries_in(self.log))
        return self.seen

    def witness(self, rows, together, attempt):
        began = self.length()
        try:
            attempt()
        except Unknown:
            self.history.append((rows, together, began, None))
            raise
        self.history.append((rows, together, began, self.length()))

    def attempt(self, key, after, write):
        self.witness({key: after}, False, lambda: super(Witness, self).attempt(key, after, write))

    def attempt_batch(self, rows, write, together):
        self.witness(rows, together,
                     lambda: super(Witness, self).attempt_batch(rows, write, together))

    def at(self, point):
        """What this client knew when the log had `point` entries."""
        then = Oracle(self.client)
        for rows, together, began, ended in self.history:
            if ended is not None and ended <= point:
                then.acked += len(rows)
                then.may.update({key: {after} for key, after in rows.items()})
            elif began <= point:
                then.unknown += len(rows)
                for key, after in rows.items():
                    then.may[key] = then.may.get(key, {oracle.ABSENT}) | {after}
                if together:
                    then.batches.append(list(rows))
        return then


def checkpoints(port):
    try:
        with Text(port, database=oracle.DATABASE, timeout=60) as text:
            while True:
                time.sleep(0.3)
                text.ask("FLUSH")
    except (Closed, OSError):
        pass


def record(disk, server, seconds, seed, flushes):
    """Yields the witnesses, and the lengths of the log between which there was load."""
    server.data = os.path.join(disk.mountpoint, "data")
    server.start()
    prepare(server)
    disk.sync()
    first = writelog.entries_in(disk.log)
    witnesses = [Witness(number, disk.log) for number in range(oracle.CLIENTS)]
    admin = multiprocessing.Process(target=checkpoints, args=(server.port["text"],))
    if flushes:
        admin.start()
    witnesses = load(server, witnesses, seed, True, seconds)
    last = writelog.entries_in(disk.log)
    if flushes:
        admin.join()
    disk.finish()
    return witnesses, first, last


# ---- points ----
def choose(log, first, last, count, modes, rng):
    """[(point, mode)] in the log's order; dropped and torn ones where much was not yet flushed."""
    lengths = range(first, last + 1)
    weights = [log.unflushed[length] for length in lengths]
    chosen = []
    for number in range(count):
        mode = modes[number % len(modes)]
        if mode == "prefix" or not any(weights):
            chosen.append((rng.choice(lengths), mode))
        else:
            chosen.append((rng.choices(lengths, weights)[0], mode))
    return sorted(chosen)


class Sums:
    def __init__(self):
        self.points = self.void = self.vanished = self.acked = self.unknown = self.resolved = 0
        self.lost = self.wrong = self.twice = self.dead = self.unsound = self.bad = 0

    def figures(self):
        return ("%d points, %d void, %d pieces vanished; %d acknowledged, %d lost, %d wrong, "
                "%d twice, %d unknown of which %d resolved; %d did not start, %d unsound" % (
                    self.points, self.void, self.vanished, self.acked, self.lost, self.wrong,
                    self.twice, self.unknown, self.resolved, self.dead, self.unsound))


def examine(server, known, sums):
    """Start on a rebuilt disk and compare; yields what is wrong with it."""
    try:
        server.start()
    except StartFailed as error:
        sums.dead += 1
        return ["the server does not start: %s" % error, server.tail()]
    verdict = verify(server, known)
    sums.lost += verdict.lost
    sums.wrong += verdict.wrong
    sums.twice += verdict.twice
    sums.resolved += verdict.resolved
    told = list(verdict.told)
    if verdict.bad() and not told:
        told.append("lost %d, wrong %d, twice %d" % (verdict.lost, verdict.wrong, verdict.twice))
    code = server.stop()
    if code != 0:
        told.append("the stop exits with %d" % code)
    done = gneiss("check", server.data)
    if done.returncode != 0:
        sums.unsound += 1
        told.append("gneiss check: %s %s" % (done.stdout, done.stderr))
    return told


def examine_point(log, server, witnesses, point, mode, seed, sums):
    rng = random.Random(seed)
    image = os.path.join(os.path.dirname(log.base), "point")
    if mode == "prefix":
        vanished = log.rebuild(image, point)
    else:
        vanished = (log.rebuild(image, point, rng, rng.choice((0.1, 0.5, 0.9)), MODES[mode]) or
                    log.rebuild(image, point, rng, 0, MODES[mode]))
        sums.void += vanished == 0
    known = [witness.at(point) for witness in witnesses]
    sums.points += 1
    sums.vanished += vanished
    sums.acked += sum(one.acked for one in known)
    sums.unknown += sum(one.unknown for one in known)
    with writelog.Copy(image) as copy:
        server.data = os.path.join(copy.mountpoint, "data")
        try:
            told = examine(server, known, sums)
        except Exception as error:  # a server that cannot be asked is a finding, not the end
            told = ["%s: %s" % (type(error).__name__, error)]
        server.kill()
    sums.bad += bool(told)
    return told


def run(kind, options, seed, sums):
    """Yields the number of answers that cannot be, and whether the log was whole."""
    rng = random.Random(seed)
    settings = {"memory.shared_buffers": "4MB", "wal.max_wal_size": "64MB"}
    if options.control:
        settings[CONTROLS[options.control]] = False
    with writelog.LoggedDisk(kind, size="1G") as disk, Server(settings) as server:
        witnesses, first, last = record(disk, server, options.seconds, seed,
                                         options.control != "sync")
        impossible = [text for witness in witnesses for text in witness.wrong]
        for text in impossible[:10]:
            print("  " + text)
        log = writelog.WriteLog(disk)
        acked = sum(witness.acked for witness in witnesses)
        print("%s: %d acknowledged, %d entries of which %d under load, %d flushes" % (
            kind, acked, len(log.entries), last - first,
            sum(entry.flags & writelog.FLUSH for entry in log.entries[first:last])), flush=True)
        points = choose(log, first, last, options.points, options.modes, rng)
        if options.control == "sync":  # a point before the first answer has nothing to lose
            points[-1] = (last, "prefix")
        began = time.monotonic()
        for number, (point, mode) in enumerate(points):
            if options.limit and time.monotonic() - began > options.limit:
                break
            told = examine_point(log, server, witnesses, point, mode, seed + number, sums[mode])
            for text in told[:0 if options.control else 8]:
                print("  point %d, %s, seed %d: %s" % (point, mode, seed + number, text),
                      flush=True)
        whole = log.is_whole(os.path.join(disk.folder, "whole"))
        log.close()
    return acked > 0 and not impossible, whole


def judge(kind, options, seed, sums, load_is_good, whole, seconds):
    """Prints the lines; yields how many are bad."""
    used = {mode: one for mode, one in sums.items() if one.points}
    for mode, one in used.items():
        print("%s, %s: %s" % (kind, mode, one.figures()))
    total = Sums()
    for one in used.values():
        for name, number in vars(one).items():
            setattr(total, name, getattr(total, name) + number)
    figures = "seed %d, %s, %.0f s" % (seed, total.figures(), seconds)
    lines = [(whole, "the disk rebuilt from its whole log of writes is the disk, on %s" % kind)]
    if options.control == "sync":
        lines.append((total.lost > 0, "power cuts at any block on %s with wal.sync off must lose "
                                      "(%s)" % (kind, figures)))
    elif options.control == "images":
        lines.append((total.bad > 0, "torn pages on %s with wal.full_page_images off must be "
                                     "noticed (%s)" % (kind, figures)))
    else:
        good = load_is_good and total.points and not total.void and not total.bad
        lines.append((good, "power cuts at any block on %s lose nothing (%s)" % (kind, figures)))
    for good, text in lines:
        print("%s %s" % ("ok" if good else "not ok", text), flush=True)
    return sum(not good for good, _ in lines)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=int(os.environ.get("ROUNDS", "2")))
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--limit", type=float, help="begin no point after so many seconds")
    parser.add_argument("--fs", choices=KINDS)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--control", choices=CONTROLS)
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    if not set(options.modes) <= set(MODES):
        parser.error("the modes are " + ", ".join(MODES))
    return options


def main():
    options = arguments()
    failed = 0
    for kind, seed in seeded_kinds(options, "power cuts at any block", writelog.why_no_log):
        began = time.monotonic()
        sums = {mode: Sums() for mode in MODES}
        load_is_good, whole = run(kind, options, seed, sums)
        failed += judge(kind, options, seed, sums, load_is_good, whole, time.monotonic() - began)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
