#!/usr/bin/python3
"""Each kind of auxiliary process is ended by kill -9, again and again, while a crowd works.

A line for each kind: how often another took its place and nobody noticed, how often all were
restarted from the log.  The table in postmaster/README.md says which it is to be; a death in a
critical section may always restart all.

    tests/crash/auxiliaries.py [--kills 100] [--seed N] [KIND …]
"""
import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from backends import Sums, finish  # noqa: E402
from crowd import SETTINGS, Crowd, await_gone, children, percentile, strike, title  # noqa: E402
from server import SLOW, Server, wait_for  # noqa: E402

# Most full restarts of a hundred deaths.
ALONE, RESTART = 10, 100
KINDS = {"checkpointer": ALONE, "wal writer": ALONE, "buffer writer": ALONE, "autovacuum": ALONE,
         "undertaker": ALONE}


def kill_one(server, kind):
    """The present process of this kind, once there is one."""
    found = []

    def there():
        for pid in children(server.process.pid):
            if title(pid) == "gneissd: " + kind:
                victim = strike(pid, wanted=kind)
                if victim is not None:
                    found.append(victim)
                    return True
        return False
    wait_for(there, 20 * SLOW, "a process titled " + kind)
    await_gone(found[0])
    return found[0]


def one_kind(server, crowd, rng, kind, kills):
    """Yields the sums of its deaths."""
    sums = Sums()
    crowd.begin()
    victims = []
    while len(victims) < kills:
        time.sleep(rng.uniform(0.05, 0.2))
        victims.append(kill_one(server, kind))
    time.sleep(0.5)
    report = crowd.end()
    crowd.judge(report, victims)
    sums.add(report, crowd.read_back())
    sums.outages.sort()
    print("%s: %d ended, %d replaced alone, %d full restarts (median %.0f ms), %d sessions dropped by "
          "them, %d otherwise, %d lost, %d wrong, %d twice, %d refused connections" % (
              kind, sums.victims, sums.victims - len(sums.restarts), len(sums.restarts),
              percentile(sums.outages, 0.5) * 1e3, sums.by_restart, sums.dropped, sums.lost, sums.wrong,
              sums.twice, sums.refused), flush=True)
    most = max(1, KINDS[kind] * kills // 100)
    if len(sums.restarts) > most:
        print("  more than %d full restarts, as of: %s" % (most, sums.restarts[0].why))
    return sums, sums.bad or len(sums.restarts) > most or sums.dropped or sums.refused


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILLS", "4")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("kind", nargs="*", default=list(KINDS))
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    rng = random.Random(seed)
    began, bad, ended, restarts, lost = time.time(), 0, 0, 0, 0
    # Small figures, so that each kind has something to do at any time.
    with Server({**SETTINGS, "memory.shared_buffers": "2MB", "wal.max_wal_size": "32MB",
                 "wal.checkpoint_timeout_secs": 5}) as server:
        server.start()
        crowd = Crowd(server, seed)
        for kind in options.kind:
            sums, wrong = one_kind(server, crowd, rng, kind, options.kills)
            bad += bool(wrong)
            ended += sums.victims
            restarts += len(sums.restarts)
            lost += sums.lost + sums.wrong + sums.twice
        last = Sums()
        finish(server, last)
        bad += bool(last.bad)
    acked = sum(one.acked for one in crowd.oracles)
    print("auxiliaries: seed %d, %d of %d kinds ended, %d full restarts, %d acknowledged, %d lost, %.0f s" % (
        seed, ended, len(options.kind), restarts, acked, lost, time.time() - began))
    if acked == 0:
        print("void: nobody wrote")
        bad += 1
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
