"""Workers: one store a process, alternating.

While one works, the others are stopped (SIGSTOP), with all their threads: each pays for its own
work in the background, and none disturbs another.
"""
import os
import shutil
import signal
import subprocess
import tempfile


class WorkerFailed(Exception):
    pass


class Asked:
    """A program that is told a line and answers with what it took."""

    def __init__(self, *command):
        self.name = os.path.basename(command[0])
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise WorkerFailed("%s ended with %s" % (self.name, self.process.wait()))
        return line.split()

    def do(self, verb, table="docs", count=1, seed=1):
        """Yields what it took: a dictionary."""
        try:
            self.process.stdin.write("%s %s %d %d\n" % (verb, table, count, seed))
        except BrokenPipeError:
            pass  # _answer says so
        operations, wall, cpu, documents, size = self._answer()
        return {"operations": int(operations), "wall": float(wall), "cpu": float(cpu),
                "documents": int(documents), "bytes": int(size)}

    def close(self):
        try:
            self.process.stdin.write("quit\n")
            self.process.communicate(timeout=120)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()


class Worker(Asked):
    """A store of one kind of documents in a folder of its own; stopped while it is not asked."""

    def __init__(self, peer, programs, below, kind, documents, cache=1 << 30):
        self.peer = peer
        self.directory = tempfile.mkdtemp(prefix="%s-" % peer, dir=below)
        self.inserted = {"docs": 0, "indexed": 0, "grow": 0}
        self.deleted = 0
        super().__init__(os.path.join(programs, "worker-" + peer), self.directory, kind, documents,
                         cache)
        self.process.send_signal(signal.SIGSTOP)

    def do(self, verb, table="docs", count=1, seed=1):
        self.process.send_signal(signal.SIGCONT)
        took = super().do(verb, table, count, seed)
        self.process.send_signal(signal.SIGSTOP)
        if verb in ("batch", "insert"):
            self.inserted[table] += count
        if verb == "delete":
            self.deleted += count
        return took

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)


def rate(slice_, clock, unit):
    """Operations (or documents) a second."""
    return slice_[unit] / max(slice_[clock], 1e-9)


def total(slices):
    """Several slices as one."""
    return {key: sum(one[key] for one in slices) for key in slices[0]}


def calibrate(slice_, seconds, least, most):
    """So many operations take about `seconds`; found by first slices, which warm up and do not
    count."""
    count = least
    while True:
        took = slice_(count)["wall"]
        if took > seconds / 8 or count >= most:
            break
        count *= 4
    return max(least, min(int(count * seconds / max(took, 1e-6)), most))


def take_turns(peers, slice_, rounds, beats):
    """Let peers work in turns, A B C, C B A; yields what each took in each round."""
    found = {peer: [] for peer in peers}
    for _ in range(rounds):
        beaten = {peer: [] for peer in peers}
        for beat in range(beats):
            for peer in peers if beat % 2 == 0 else list(reversed(peers)):
                beaten[peer].append(slice_(peer))
        for peer, slices in beaten.items():
            found[peer].append(total(slices))
    return found
