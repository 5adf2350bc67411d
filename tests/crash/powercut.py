#!/usr/bin/python3
"""The power is cut under a write load from 16 clients: the file system is shut down below the
server, so that whatever was not flushed is gone, the server is killed, and the disk is mounted
again, as after a boot.

The clients and what they know are those of oracle.py, outside that disk.  After each cut the server
starts again, all documents are compared with what the clients know, and at the end `gneiss check`
must find the directory sound.

    tests/crash/powercut.py [--cuts 2] [--fs ext4|xfs] [--seed N] [--control]

--control runs with wal.sync = off.  It must lose acknowledged writes, else the test sees nothing.
Without loop devices, or not as root, it says so in a comment line and checks nothing.
"""
import argparse
import os
import random
import sys
import time

import disk
import oracle
from oracle import Oracle, load, prepare, totals, verify
from server import Server, StartFailed, gneiss


class Sums:
    def __init__(self):
        self.cuts = self.lost = self.wrong = self.twice = self.resolved = self.bad = 0
        self.void = 0
        self.restarts = []


def cut_once(device, server, oracles, rng, seed, sums, control):
    """One cut; yields what the clients knew, or None if the server could not start again."""
    seconds = rng.uniform(0.5, 2.5)
    linger = rng.choice((0, 0, 0.1, 0.3))  # how long the server goes on without a disk

    def cut():
        device.cut()
        time.sleep(linger)
        server.kill()

    before = totals(oracles)
    oracles = load(server, oracles, seed, True, seconds, cut)
    device.remount()
    sums.cuts += 1
    try:
        sums.restarts.append(server.start())
    except StartFailed as error:
        sums.bad += 1
        print("the server does not start after cut %d (seed %d): %s" % (sums.cuts, seed, error))
        print(server.tail(), flush=True)
        return None
    verdict = verify(server, oracles)
    after = totals(oracles)
    acked = after["acked"] - before["acked"]
    sums.lost += verdict.lost
    sums.wrong += verdict.wrong
    sums.twice += verdict.twice
    sums.resolved += verdict.resolved
    sums.void += acked == 0
    if verdict.bad() and not control:
        sums.bad += 1
        for text in verdict.told[:10]:
            print("  cut %d (seed %d): %s" % (sums.cuts, seed, text))
    print("cut %d: after %.2f s, %d acknowledged, %d unknown (%d resolved); lost %d, wrong %d, "
          "twice %d; restart %.2f s" % (
              sums.cuts, seconds, acked, after["unknown"] - before["unknown"], verdict.resolved,
              verdict.lost, verdict.wrong, verdict.twice, sums.restarts[-1]), flush=True)
    return oracles


def check_end(server, sums):
    if server.stop() != 0:
        sums.bad += 1
        print("the last stop did not exit with 0")
    done = gneiss("check", server.data)
    if done.returncode != 0:
        sums.bad += 1
        print("gneiss check at the end: %s %s" % (done.stdout, done.stderr))


def run(kind, cuts, seed, control):
    """Yields the sums and what the clients counted."""
    rng = random.Random(seed)
    sums = Sums()
    oracles = [Oracle(number) for number in range(oracle.CLIENTS)]
    settings = {"memory.shared_buffers": "4MB", "wal.sync": not control,
                "wal.max_wal_size": "64MB"}
    with disk.Disk(kind, size="2G") as device, Server(settings) as server:
        server.data = os.path.join(device.mountpoint, "data")
        server.start()
        prepare(server)
        device.sync()
        for number in range(1, cuts + 1):
            known = cut_once(device, server, oracles, rng, seed + number, sums, control)
            if known is None:
                break
            oracles = known
        else:
            if not control:
                check_end(server, sums)
        server.kill()
    return sums, totals(oracles)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=int(os.environ.get("ROUNDS", "2")))
    parser.add_argument("--fs", choices=disk.KINDS)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    failed = 0
    for kind, seed in disk.seeded_kinds(options, "power cuts"):
        began = time.monotonic()
        sums, counted = run(kind, options.cuts, seed, options.control)
        figures = ("seed %d, %d cuts, %d acknowledged, %d lost, %d wrong, %d twice, %d unknown of "
                   "which %d resolved, restart at most %.2f s, %.0f s in all" % (
                       seed, sums.cuts, counted["acked"], sums.lost, sums.wrong, sums.twice,
                       counted["unknown"], sums.resolved, max(sums.restarts, default=0),
                       time.monotonic() - began))
        if options.control:
            good = sums.lost + sums.wrong > 0 or sums.bad > 0
            print("%s power cuts on %s with wal.sync off must lose (%s)" % (
                "ok" if good else "not ok", kind, figures))
        else:
            good = not sums.bad and not sums.void and sums.cuts == options.cuts
            print("%s power cuts on %s lose nothing (%s)" % (
                "ok" if good else "not ok", kind, figures))
        failed += not good
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
