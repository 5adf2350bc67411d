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


class Worker:
    """A store of one kind of documents in a folder of its own."""

    def __init__(self, peer, programs, below, kind, documents, cache=1 << 30):
        self.peer = peer
        self.directory = tempfile.mkdtemp(prefix="%s-" % peer, dir=below)
        self.inserted = {"docs": 0, "indexed": 0, "grow": 0}
        self.deleted = 0
        self.process = subprocess.Popen(
            [os.path.join(programs, "worker-" + peer), self.directory, kind, str(documents),
             str(cache)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._answer()
        self.pause()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise WorkerFailed("worker-%s ended with %s" % (self.peer, self.process.wait()))
        return line.split()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def do(self, verb, table="docs", count=1, seed=1):
        """Yields what it took: a dictionary."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write("%s %s %d %d\n" % (verb, table, count, seed))
        operations, wall, cpu, documents, size = self._answer()
        self.pause()
        if verb in ("batch", "insert"):
            self.inserted[table] += count
        if verb == "delete":
            self.deleted += count
        return {"operations": int(operations), "wall": float(wall), "cpu": float(cpu),
                "documents": int(documents), "bytes": int(size)}

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write("quit\n")
            self.process.communicate(timeout=120)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def rate(slice_, clock, unit):
    """Operations (or documents) a second."""
    return slice_[unit] / max(slice_[clock], 1e-9)


def total(slices):
    """Several slices as one."""
    return {key: sum(one[key] for one in slices) for key in slices[0]}
