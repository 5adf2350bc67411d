"""A Gneiss server for tests: its own data directory, free ports, a process group of its own.

    with Server(settings={"memory.shared_buffers": "16MB"}) as server:
        server.start()
        ... server.port["mongo"] ...
        server.kill()           # SIGKILL to every process of it at the same instant
        server.start()
        assert server.stop() == 0

The programs are those of $BUILD/bin (default: build).  Whatever happens, leaving the `with` block
ends every process of the server and removes its folder.  The test becomes a sub-reaper, so that
children whose postmaster was killed are not left to linger as anybody else's.
"""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
FULL = os.environ.get("FULL", "") not in ("", "0")
PASSWORD = "correct horse 8"
PROTOCOLS = ("text", "json", "mongo")
# Programs under a sanitizer or valgrind are slower by so much; deadlines are stretched.
SANITIZED = "asan" in os.path.basename(BUILD)
SLOW = float(os.environ.get("SLOW", "4" if SANITIZED else "1"))

PR_SET_CHILD_SUBREAPER = 36
MIB = 1 << 20


def become_subreaper():
    # A time limit ends a test by TERM; the server must not outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def program(name):
    return os.path.join(BUILD, "bin", name)


def free_ports(count):
    """Ports that nobody has; all are held until the last is known, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    try:
        for sock in held:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


def wait_for(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError("after %.1f s still not: %s" % (seconds, what))
        time.sleep(0.01)


class StartFailed(AssertionError):
    pass


class Server:
    def __init__(self, settings=None, wrapper=(), arguments=(), directory=None):
        become_subreaper()
        self.directory = directory or tempfile.mkdtemp(prefix="gneiss-test-")
        self.data = os.path.join(self.directory, "data")
        self.port = dict(zip(PROTOCOLS, free_ports(len(PROTOCOLS))))
        # A sanitizer sees what a debug line reads, too.
        self.settings = {"log.level": "debug" if SANITIZED else "info", **(settings or {})}
        self.wrapper = list(wrapper)
        self.arguments = list(arguments)
        self.process = None
        self.group = None
        self.start_seconds = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and kind is not KeyboardInterrupt:
            sys.stderr.write("---- the server's last words\n%s\n" % self.tail())
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- starting and ending ----
    def config_path(self):
        return os.path.join(self.directory, "gneiss.toml")

    def write_config(self):
        """Settings by section, as a person would write them."""
        sections = {}
        for key, value in self.settings.items():
            section, name = key.split(".", 1)
            sections.setdefault(section, []).append((name, value))
        with open(self.config_path(), "w", encoding="utf-8") as out:
            for section, rows in sections.items():
                out.write("[%s]\n" % section)
                for name, value in rows:
                    if isinstance(value, bool):
                        value = "true" if value else "false"
                    elif isinstance(value, str):
                        value = '"%s"' % value
                    out.write("%s = %s\n" % (name, value))

    def command(self):
        address = "127.0.0.1:%d"
        return self.wrapper + [
            program("gneissd"), "--config", self.config_path(), "--data", self.data, "--no-http",
            "--bind", address % self.port["text"], "--json-bind", address % self.port["json"],
            "--mongo-bind", address % self.port["mongo"], "--log-format", "json",
            "--bootstrap-password", PASSWORD] + self.arguments

    def launch(self):
        """Start without waiting."""
        self.write_config()
        with open(self.log_path(), "ab") as out, open(self.error_path(), "wb") as errors:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                cwd=self.directory, start_new_session=True)
        self.group = self.process.pid

    def start(self, seconds=60):
        """Start, and wait for the text listener's banner; yields the seconds that it took."""
        began = time.monotonic()
        self.launch()
        until = began + seconds * SLOW
        while not self.answers():
            if self.process.poll() is not None:
                raise StartFailed("gneissd exited with %s: %s" %
                                  (self.process.returncode, self.errors()))
            if time.monotonic() > until:
                raise StartFailed("no answer after %d s" % seconds)
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - began
        return self.start_seconds

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port["text"]), timeout=5) as sock:
                return sock.recv(64) == b"+GRUMPYDB 4.0.0\r\n"
        except OSError:
            return False

    def stop(self, seconds=60, signal_number=signal.SIGTERM):
        """TERM; yields the exit code.  Nothing of the server may be left then."""
        self.process.send_signal(signal_number)
        code = self.process.wait(timeout=seconds * SLOW)
        wait_for(lambda: not self.tree(), 2 * SLOW, "all children gone after the postmaster")
        self.process = None
        return code

    def kill(self):
        """SIGKILL for all at once: the group has nobody else in it."""
        if self.group is None:
            return
        try:
            os.killpg(self.group, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self.process is not None:
            self.process.wait()
            self.process = None
        wait_for(lambda: not self.tree(), 10, "all processes of the server dead")

    def kill_postmaster(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    # ---- looking at it ----
    def tree(self):
        """Pids of the server's living processes, the postmaster first.  Dead ones that have become
        ours are buried on the way."""
        while True:
            try:
                pid, _ = os.waitpid(-self.group, os.WNOHANG) if self.process is None else (0, 0)
            except ChildProcessError:
                break
            if pid == 0:
                break
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % name, encoding="latin-1") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.group and fields[0] not in "ZX":
                found.append(int(name))
        return sorted(found, key=lambda pid: (pid != self.group, pid))

    def children(self):
        return [pid for pid in self.tree() if pid != self.group]

    def titles(self):
        """pid -> what ps shows."""
        found = {}
        for pid in self.tree():
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as file:
                    found[pid] = file.read().rstrip(b"\0").replace(b"\0", b" ").decode()
            except OSError:
                pass
        return found

    def pss(self):
        """Bytes of memory of all processes, what they share counted once."""
        return sum(self._rollup(pid, "Pss:") for pid in self.tree())

    def private(self):
        """Bytes of memory that processes do not share: what a leak in one of them would raise."""
        return sum(self._rollup(pid, "Private_Dirty:") + self._rollup(pid, "Private_Clean:")
                   for pid in self.tree())

    @staticmethod
    def _rollup(pid, field):
        try:
            with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as file:
                for line in file:
                    if line.startswith(field):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        return 0

    def log_path(self):
        return os.path.join(self.directory, "log")

    def error_path(self):
        return os.path.join(self.directory, "errors")

    def log(self):
        with open(self.log_path(), encoding="utf-8", errors="replace") as file:
            return file.read()

    def errors(self):
        try:
            with open(self.error_path(), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return ""

    def tail(self, lines=30):
        try:
            return "\n".join(self.log().splitlines()[-lines:]) + "\n" + self.errors()[-20000:]
        except OSError:
            return "(none)"

    def crashes(self):
        """Log lines that tell of a child's bad end, a panic, or a sanitizer's finding."""
        signs = ("was ended by signal", "exited with code", "restarting all", "panic",
                 "invariant", "Sanitizer", "runtime error:")
        text = self.errors() + "\n" + self.log()
        return [line for line in text.splitlines() if any(sign in line for sign in signs)]


def gneiss(*arguments, timeout=600, **more):
    """Run the tool; yields a CompletedProcess with text of both outputs."""
    return subprocess.run([program("gneiss"), *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout * SLOW, check=False, **more)


class Checks:
    """Prints "ok NAME" or "not ok NAME" for each check; the exit code tells if all held."""

    def __init__(self):
        self.failed = 0

    def check(self, condition, name, detail=""):
        print("%s %s%s" % ("ok" if condition else "not ok", name,
                           "" if condition or not detail else " (%s)" % (detail,)), flush=True)
        self.failed += not condition
        return bool(condition)

    def run(self, function, *arguments):
        """A check that is a function with a sentence as its docstring; it fails by raising."""
        name = (function.__doc__ or function.__name__).strip().splitlines()[0].rstrip(".")
        try:
            said = function(*arguments)
        except Exception as error:  # one check's failure must not hide the others'
            import traceback
            traceback.print_exc()
            return self.check(False, name, "%s: %s" % (type(error).__name__, str(error)[:300]))
        return self.check(True, name + (" (%s)" % said if said else ""))

    def done(self):
        sys.exit(1 if self.failed else 0)
