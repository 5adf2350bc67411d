#!/usr/bin/python3
"""Search the models of this folder with Spin.

    tests/spin/run.py [MODEL…]          all that each model's head lists
    tests/spin/run.py --long [MODEL…]   the searches marked "long:", too

The head of each model says, a line each:
     * holds: -DN=2 …      the whole state space has no error
     * long: -DN=3 …       the same, by hand: it takes minutes
     * breaks: -DNO_X …    one guard left out: an error must be found
A search that was cut short, by depth, memory or time, has failed.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MEGABYTES = 1500  # for each search; two run at a time
SECONDS = 600
SECONDS_LONG = 7200


def listed(model):
    """[(kind, [flag, …])] of a model's head."""
    with open(model, encoding="utf-8") as file:
        head = file.read().split("*/")[0]
    return [(kind, flags.split()) for kind, flags in
            re.findall(r"^ \* (holds|long|breaks):(.*)$", head, re.M)]


def search(model, kind, flags):
    """Yields (as it should be, states, what was said)."""
    seconds, megabytes = SECONDS, MEGABYTES
    if kind == "long":
        seconds, megabytes = SECONDS_LONG, 8 * MEGABYTES
    with tempfile.TemporaryDirectory(prefix="spin-") as folder:
        def run(*command):
            return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=seconds, check=False)
        try:
            for command in (["spin", *flags, "-a", model],
                            ["gcc", "-w", "-O1" if kind == "breaks" else "-O2", "-DSAFETY",
                             "-DCOLLAPSE", "-DMEMLIM=%d" % megabytes, "-o", "pan", "pan.c"]):
                done = run(*command)
                if done.returncode != 0:
                    return False, 0, done.stdout
            said = run("./pan", "-m1000000").stdout
        except subprocess.TimeoutExpired:
            return False, 0, "not finished after %d s" % seconds
    found = re.search(r"errors: (\d+)", said)
    states = re.search(r"^ *([\d.e+]+) states, stored", said, re.M)
    whole = "Search not completed" not in said and "too small" not in said
    if found is None or "out of memory" in said:
        return False, 0, said
    good = found.group(1) != "0" if kind == "breaks" else found.group(1) == "0" and whole
    return good, int(float(states.group(1))) if states else 0, said


def report(model, rows):
    """Print the lines of one model; yields (failures, mutants, mutants found)."""
    name = os.path.basename(model)[:-len(".pml")]
    failed = mutants = found = 0
    for kind, flags, (good, states, said) in rows:
        text = " ".join(flags) or "as it is"
        if kind != "breaks":
            print("%s spin %s: holds, %s (%d states)" % ("ok" if good else "not ok", name, text,
                                                         states), flush=True)
        else:
            mutants += 1
            found += good
            reason = re.search(r"^pan:\d+: (.*?)(?: \(at depth.*)?$", said, re.M)
            print("  %s %s: %s" % (name, text, reason.group(1) if good and reason else
                                   "found" if good else "NOT FOUND"), flush=True)
        if not good:
            failed += 1
            print("\n".join("    " + line for line in said.splitlines()[-25:]))
    if mutants:
        print("%s spin %s: %d of %d mutants found" % ("ok" if mutants == found else "not ok", name,
                                                     found, mutants), flush=True)
    return failed


def main():
    arguments = sys.argv[1:]
    long = "--long" in arguments
    names = [one for one in arguments if not one.startswith("--")]
    models = [os.path.join(HERE, os.path.basename(one).replace(".pml", "") + ".pml")
              for one in names] or sorted(glob.glob(os.path.join(HERE, "*.pml")))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        work = [(model, [(kind, flags, pool.submit(search, model, kind, flags))
                         for kind, flags in listed(model) if long or kind != "long"])
                for model in models]
        for model, rows in work:
            failed += report(model, [(kind, flags, job.result()) for kind, flags, job in rows])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
