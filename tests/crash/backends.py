#!/usr/bin/python3
"""Backends are ended at random, every 50 to 200 ms, while a crowd works (crowd.py).

Nothing acknowledged may be lost or be there twice, no session but the victim's may break except by
a restart of all, restarts must be rare (at most 1 %: deaths in a critical section), no connection
may be refused, and when all is quiet nothing may be held.

    tests/crash/backends.py [--kills 1000] [--together 1] [--seed N] [--signal KILL] [--policy verify] [--control]

--together ends so many in the same moment: the undertaker, cleaning up after one, may want what another one holds.

--control makes each death a restart of all (SEGV under crash_isolation = strict) and lets writes be
acknowledged before they are in the log.  It must be red twice: others dropped, and writes lost.
"""
import argparse
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from crowd import (KINDS, SETTINGS, Crowd, kill_backends, percentile,  # noqa: E402
                   wait_until_nothing_held)
from server import Server, gneiss  # noqa: E402

ROUND = 100
RARE = 0.01
MOST_TOLD = 10  # complaints of a round that are shown


def one_round(crowd, rng, kills, number, together):
    crowd.begin()
    time.sleep(0.3)
    victims = []
    while len(victims) < kills:
        time.sleep(rng.uniform(0.05, 0.2) * together)
        victims += kill_backends(crowd.server, rng, min(together, kills - len(victims)), number)
    time.sleep(0.3)
    report = crowd.end()
    crowd.judge(report, victims)
    return report, crowd.read_back()


class Sums:
    def __init__(self):
        self.victims = self.isolated = self.dropped = self.by_restart = self.refused = 0
        self.lost = self.wrong = self.twice = self.resolved = self.bad = 0
        self.survived = self.ended = self.passes = 0
        self.restarts, self.normal, self.during, self.cleanup, self.outages = [], [], [], [], []
        self.knock = 0.0

    def add(self, report, verdict):
        self.victims += report.victims
        self.isolated += report.isolated
        self.dropped += report.dropped
        self.by_restart += report.dropped_by_restart
        self.refused += report.refused
        self.restarts += report.restarts
        self.outages += report.outages()
        self.normal += report.normal
        self.during += report.during
        self.cleanup += report.cleanup
        self.knock = max(self.knock, report.knock)
        self.survived += sum(notes.survived for notes in report.notes)
        self.ended += sum(notes.ended for notes in report.notes)
        self.passes += sum(notes.cycles for notes in report.notes if notes.who == "cursor")
        self.lost += verdict.lost
        self.wrong += verdict.wrong
        self.twice += verdict.twice
        self.resolved += verdict.resolved
        for text in (report.wrong + verdict.told)[:MOST_TOLD]:
            print("  " + text, flush=True)
        self.bad += bool(report.wrong or verdict.bad())


def show(name, seed, sums, crowd, seconds):
    acked, refused, unknown = (sum(getattr(one, field) for one in crowd.oracles)
                               for field in ("acked", "refused", "unknown"))
    for values in (sums.normal, sums.during, sums.cleanup, sums.outages):
        values.sort()
    print("%s: seed %d, %d ended, %d acknowledged, %d lost, %d wrong, %d twice, %d refused, %d unknown "
          "(%d read back whole or gone); others dropped %d, by %d full restarts %d; connections refused %d; "
          "cleaned up in median %.1f ms, p99 %.1f ms; others' writes beside a death p99 %.1f ms (%d), half-way "
          "between two %.1f ms (%d); restart median %.0f ms, most %.0f ms, longest wait for a banner %.0f ms; cursor: "
          "%d passes, %d went on over a new connection, %d ended; %.0f s" % (
              name, seed, sums.victims, acked, sums.lost, sums.wrong, sums.twice, refused, unknown,
              sums.resolved, sums.dropped, len(sums.restarts), sums.by_restart, sums.refused,
              percentile(sums.cleanup, 0.5) * 1e3, percentile(sums.cleanup, 0.99) * 1e3,
              percentile(sums.during, 0.99) * 1e3, len(sums.during),
              percentile(sums.normal, 0.99) * 1e3, len(sums.normal),
              percentile(sums.outages, 0.5) * 1e3, (sums.outages or [0])[-1] * 1e3, sums.knock * 1e3,
              sums.passes, sums.survived, sums.ended, seconds), flush=True)


def finish(server, sums):
    """The end of a run: nothing held, a stop in order, a sound directory."""
    complaint = wait_until_nothing_held(server)
    if complaint:
        sums.bad += 1
        print("  " + complaint)
    if server.stop() != 0:
        sums.bad += 1
        print("  the stop did not exit with 0")
    done = gneiss("check", server.data)
    if done.returncode != 0:
        sums.bad += 1
        print("  gneiss check: %s %s" % (done.stdout, done.stderr))


def run(name, seed, kills, number=signal.SIGKILL, policy="verify", durable=True, settings=None, together=1):
    """Yields the sums; nothing is judged but what the clients saw."""
    rng = random.Random(seed)
    began = time.time()
    sums = Sums()
    settings = {**SETTINGS, "memory.shared_buffers": "4MB", "server.crash_isolation": policy,
                "wal.writer_delay_ms": 200 if durable else 10000, **(settings or {})}
    kinds = KINDS if durable else tuple("json" if kind == "text" else kind for kind in KINDS)
    with Server(settings) as server:
        server.start()
        crowd = Crowd(server, seed, durable, kinds)
        while sums.victims < kills:
            sums.add(*one_round(crowd, rng, min(ROUND, kills - sums.victims), number, together))
            if kills > ROUND:
                print("  %d ended, %d full restarts, %d lost, %d dropped" % (
                    sums.victims, len(sums.restarts), sums.lost, sums.dropped), flush=True)
        finish(server, sums)
    show(name, seed, sums, crowd, time.time() - began)
    for restart in sums.restarts:
        print("  restart: %s" % restart.why)
    return sums


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILLS", "100")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--signal", default="KILL")
    parser.add_argument("--policy", default="verify")
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    if options.control:
        sums = run("control", seed, options.kills, signal.SIGSEGV, "strict", durable=False)
        red = sums.by_restart > 0 and sums.lost + sums.wrong > 0 and \
            len(sums.restarts) > RARE * sums.victims
        print("red, as it must be: %d dropped, %d lost, %d old" % (sums.by_restart, sums.lost, sums.wrong)
              if red else "NOTHING LOST OR DROPPED: void")
        sys.exit(0 if red else 1)
    sums = run("backends", seed, options.kills, getattr(signal, "SIG" + options.signal), options.policy,
               together=options.together)
    # One restart may happen by chance in a short run.
    if len(sums.restarts) > max(2, RARE * sums.victims):
        sums.bad += 1
        print("too many full restarts")
    if sums.victims < options.kills or sums.isolated == 0 or sums.refused or sums.dropped:
        sums.bad += 1
    sys.exit(1 if sums.bad else 0)


if __name__ == "__main__":
    main()
