"""A disk that keeps of names what POSIX promises, and no more: those whose folder was synced.

File systems with a journal keep more, so that cutting their power does not show a folder that nobody
synced.  Here the server runs under strace; after it was killed, each name that it made since and whose
folder it did not sync is taken away again: a new file or folder goes, a renamed one has its old name.
A file that was removed or replaced stays so: that is one of the things that POSIX allows.

    with Names() as device:            # as disk.Disk
        server.wrapper = device.wrapper
        device.sync()                  # the names that are there are on disk
        device.cut()
        server.kill()
        device.remount()
"""
import os
import re
import shutil
import tempfile
import time

CALLS = "openat,mkdir,rename,unlink,fsync"
LINE = re.compile(r'([0-9.]+) (\w+)\((.*)\) = (\d+)')
PATH = re.compile(r'"(/[^"]*)"')
FOLDER = re.compile(r'\d+<([^>]*)>')


class Names:
    kind = "names"

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="gneiss-names-")
        self.mountpoint = os.path.join(self.folder, "disk")
        self.traces = os.path.join(self.folder, "traces")
        os.mkdir(self.mountpoint)
        os.mkdir(self.traces)
        self.wrapper = ["strace", "-D", "-ff", "--seccomp-bpf", "-qq", "-y", "-ttt", "-e", "trace=" + CALLS,
                        "-o", os.path.join(self.traces, "of")]
        self.sync()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        shutil.rmtree(self.folder, ignore_errors=True)

    def sync(self):
        self.since = time.time()
        self.known = {os.path.join(folder, name) for folder, folders, files in os.walk(self.mountpoint)
                      for name in folders + files}

    def cut(self):
        """Nothing: it is the folders that tell, when all is quiet."""

    def remount(self):
        """Take away what is not promised; yields it."""
        lost = list(reversed(self.unsynced()))
        for path, before in lost:
            if before:
                os.rename(path, before)
            elif os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        self.sync()
        return lost

    def unsynced(self):
        """(name, what it was called before or None) of each name whose folder was not synced after it was made."""
        names = {}
        for _, call, words, _ in sorted(self.calls()):
            paths = PATH.findall(words)
            if call == "fsync":
                folder = FOLDER.match(words).group(1)
                names = {path: before for path, before in names.items() if os.path.dirname(path) != folder}
            elif call == "unlink":
                names.pop(paths[0], None)
                self.known.discard(paths[0])
            elif call == "rename":
                old, new = paths
                names[new] = names.pop(old, old)
                self.known = self.known - {old} | {new}
            elif paths[0] not in self.known:
                names[paths[0]] = None
                self.known.add(paths[0])
        return names.items()

    def calls(self):
        """Those that worked, on names of this disk, since the last sync()."""
        for name in os.listdir(self.traces):
            with open(os.path.join(self.traces, name), encoding="utf-8", errors="replace") as file:
                for line in file:
                    found = LINE.match(line)
                    if found and float(found[1]) > self.since and self.mountpoint in found[3] and (
                            found[2] != "openat" or "O_CREAT" in found[3]):
                        yield float(found[1]), found[2], found[3], found[4]
