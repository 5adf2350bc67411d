#!/usr/bin/python3
"""kill -9 of the whole server under a write load from 16 clients, again and again.

The clients and what they know are those of oracle.py.  After each kill: the directory is copied and
`gneiss check` must find the copy sound; the server is started again, in a third of the rounds
killed once more while it recovers; all documents are compared with what the clients know.

--control runs with writes that are acknowledged before the log is written (durable: false, j:
false, and a log writer that comes by every 10 s).  It must lose some, else the test sees nothing;
it succeeds if acknowledged writes were lost.
"""
import argparse
import os
import random
import sys
import time

import oracle
from oracle import Oracle, check_copy, load, prepare, round_line, totals, verify
from server import Server, gneiss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "3")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "0")))
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 30)
    rng = random.Random(seed)
    settings = {"memory.shared_buffers": "4MB"}
    if options.control:
        settings["wal.writer_delay_ms"] = 10000
        # Text writes always wait for the log, and everybody else's go to disk with them.
        oracle.use_kinds("json" if kind == "text" else kind for kind in oracle.KINDS)
    oracles = [Oracle(number) for number in range(oracle.CLIENTS)]
    began, restarts, bad, kills = time.monotonic(), [], 0, 0
    lost = twice = wrong = 0
    with Server(settings) as server:
        server.start()
        prepare(server)
        for number in range(1, options.rounds + 1):
            seconds = rng.uniform(0.5, 2.5)
            before = totals(oracles)
            oracles = load(server, oracles, seed + number, not options.control, seconds)
            kills += 1
            again = not options.control and rng.random() < 0.34
            unsound = check_copy(server)
            if again:
                server.launch()
                time.sleep(rng.uniform(0.0, 0.4))
                server.kill()
                kills += 1
            restarts.append(server.start())
            verdict = verify(server, oracles)
            if unsound:
                verdict.tell(unsound)
            round_line(number, seconds, oracles, before, verdict, restarts[-1], again)
            lost, wrong, twice = (lost + verdict.lost, wrong + verdict.wrong, twice + verdict.twice)
            bad += bool(verdict.bad())
        crashed = server.crashes()
        if server.stop() != 0:
            bad += 1
            print("the last stop did not exit with 0")
        done = gneiss("check", server.data)
        if done.returncode != 0:
            bad += 1
            print("gneiss check at the end: %s %s" % (done.stdout, done.stderr))
        for line in crashed:
            bad += 1
            print("log: " + line[:300])
    sums = totals(oracles)
    restarts.sort()
    print("kill9: seed %d, %d rounds, %d kills, %d acknowledged, %d lost, %d wrong, %d twice, %d "
          "refused, %d unknown, restart median %.2f s, most %.2f s, %.0f s in all" % (
              seed, options.rounds, kills, sums["acked"], lost, wrong, twice, sums["refused"],
              sums["unknown"], restarts[len(restarts) // 2], restarts[-1],
              time.monotonic() - began))
    if options.control:
        print("control: %s" % (
            "red, as it must be: of %d acknowledged %d lost, %d old" % (sums["acked"], lost, wrong)
            if lost + wrong else "NOTHING LOST: void"))
        sys.exit(0 if lost + wrong else 1)
    if sums["unknown"] == 0:
        print("void: no write was under way at any kill")
        bad += 1
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
