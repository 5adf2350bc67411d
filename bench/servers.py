"""The servers that wire rows compare: started in folders of their own, filled, made durable, ended.

Each is first started without waiting for the disk, to be filled, and then started anew as people run it.
"""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import server as testserver  # noqa: E402
import wire as testwire  # noqa: E402

BUFFERS = "1GB"
SESSIONS = 700
SEGMENT = 16 << 20  # of Gneiss's log
POSTGRES = "/usr/lib/postgresql/15/bin"


def launch(server, make):
    """Start a process on a free port; on another one, if somebody took it meanwhile."""
    for _ in range(3):
        server.number = testserver.free_ports(1)[0]
        server.process = make(server.number)
        until = time.monotonic() + 60
        while server.process.poll() is None and time.monotonic() < until:
            if server.is_ready():
                return
            time.sleep(0.01)
        server.stop()
    raise AssertionError("%s does not start" % server.name)


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as file:
        return [int(one) for one in file.read().split()]


def processor_of(pid):
    """Seconds that a process, its threads, and its living children have had of the processor."""
    nanoseconds = 0
    for one in [pid] + children_of(pid):
        try:
            for thread in os.listdir("/proc/%d/task" % one):
                with open("/proc/%d/task/%s/schedstat" % (one, thread), encoding="ascii") as file:
                    nanoseconds += int(file.read().split()[0])
        except OSError:  # it has ended
            pass
    return nanoseconds / 1e9


class Gneiss:
    name = "gneiss"

    def __init__(self, below, settings=None):
        self.server = testserver.Server(
            settings={"log.level": "warn", "memory.shared_buffers": BUFFERS,
                      "limits.max_conns_per_ip": 0, **(settings or {})},
            directory=os.path.join(below, "gneiss"))
        os.makedirs(self.server.directory, exist_ok=True)

    def start(self, durable):
        self.server.settings["wal.sync"] = durable
        self.server.start()
        with testwire.Text(self.server.port["text"], login=False) as text:
            reply = text.ask("LOGIN _system admin " + testserver.PASSWORD)
        os.environ["BENCH_TOKEN"] = reply.split()[1]

    def port(self, language):
        return self.server.port[language]

    def make_tables(self):
        with testwire.Mongo(self.server.port["mongo"]) as mongo:
            for table in ("docs", "grow", "indexed"):
                mongo.ask({"create": table}, "bench")
            mongo.ask({"createIndexes": "indexed",
                       "indexes": [{"key": {"age": 1}, "name": "age"}]}, "bench")
        with testwire.Text(self.server.port["text"]) as text:
            text.ask("CREATE DATABASE bench")
            text.ask("USE bench")
            for table in ("docs", "grow"):
                text.ask("CREATE COLLECTION " + table)

    def settle(self):
        pass

    @property
    def process(self):
        return self.server.process

    def data(self):
        return self.server.data

    def first(self, table):
        """The document 0: the first answer."""
        with testwire.Mongo(self.server.port["mongo"]) as mongo:
            return mongo.ask({"find": table, "filter": {"_id": 0}}, "bench")["cursor"]["firstBatch"][0]

    def count(self, table):
        with testwire.Mongo(self.server.port["mongo"], timeout=120) as mongo:
            return mongo.ask({"count": table}, "bench")["n"]

    def stop(self):
        self.server.stop()

    def kill(self):
        self.server.kill()

    def close(self):
        self.server.kill()
        shutil.rmtree(self.server.directory, ignore_errors=True)


class Postgres:
    name = "postgres"

    def __init__(self, below, **settings):
        self.settings = settings
        self.directory = os.path.join(below, "postgres")
        os.makedirs(self.directory)
        self.number = None
        self.process = None
        self.user = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._run("initdb", "-D", self.directory + "/data", "-U", "bench", "-A", "trust",
                  "--no-sync", "-E", "UTF8", "--locale=C")

    def _run(self, program, *arguments):
        subprocess.run([os.path.join(POSTGRES, program), *arguments], check=True,
                       cwd=self.directory, stdout=subprocess.DEVNULL, **self.user)

    def _sql(self, database, *statements):
        self._run("psql", "-q", "-h", "127.0.0.1", "-p", str(self.number), "-U", "bench", "-d",
                  database, "-v", "ON_ERROR_STOP=1", *(
                      part for one in statements for part in ("-c", one)))

    def start(self, durable):
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            "shared_buffers": BUFFERS, "max_connections": SESSIONS, "huge_pages": "try",
            "max_wal_size": "1GB", "checkpoint_timeout": "300s", "jit": "off",
            "synchronous_commit": "on" if durable else "off", "logging_collector": "off",
            "log_min_messages": "fatal", **self.settings}
        options = [part for key, value in settings.items() for part in ("-c", "%s=%s" % (key, value))]
        with open(os.path.join(self.directory, "log"), "ab") as log:
            launch(self, lambda port: subprocess.Popen(
                [os.path.join(POSTGRES, "postgres"), "-D", self.directory + "/data", "-p", str(port),
                 *options], cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **self.user))

    def is_ready(self):
        return subprocess.run([os.path.join(POSTGRES, "pg_isready"), "-q", "-h", "127.0.0.1", "-p",
                               str(self.number)], check=False).returncode == 0

    def data(self):
        return self.directory + "/data"

    def ask(self, sql):
        return subprocess.run(
            [os.path.join(POSTGRES, "psql"), "-qAt", "-h", "127.0.0.1", "-p", str(self.number), "-U",
             "bench", "-d", "bench", "-v", "ON_ERROR_STOP=1", "-c", sql], check=True,
            cwd=self.directory, stdout=subprocess.PIPE, text=True, **self.user).stdout.strip()

    def first(self, table):
        return self.ask("SELECT doc FROM %s WHERE id = 0" % table)

    def count(self, table):
        return int(self.ask("SELECT count(*) FROM %s" % table))

    def kill(self):
        """All of it at once: its processes are found by their parents."""
        for pid in [self.process.pid] + children_of(self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def port(self, _):
        return self.number

    def make_tables(self):
        self._sql("postgres", "CREATE DATABASE bench")
        self._sql("bench", *("CREATE TABLE %s(id bigint PRIMARY KEY, doc jsonb)" % table
                             for table in ("docs", "grow", "indexed")),
                  "CREATE INDEX ON indexed(((doc->>'age')::int))")

    def settle(self):
        self._sql("bench", "VACUUM ANALYZE", "CHECKPOINT")

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # "fast"
            self.process.wait(timeout=120)
            self.process = None

    def close(self):
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Redis:
    name = "redis"

    def __init__(self, below):
        self.directory = os.path.join(below, "redis")
        os.makedirs(self.directory)
        self.number = None
        self.process = None

    def start(self, durable):
        launch(self, lambda port: subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir",
             self.directory, "--save", "", "--appendonly", "yes", "--appendfsync",
             "always" if durable else "everysec", "--auto-aof-rewrite-percentage", "0",
             "--maxclients", str(SESSIONS), "--loglevel", "warning"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True))

    def is_ready(self):
        try:
            return b"+PONG" in self._ask(b"PING\r\n")  # not while it is loading
        except OSError:
            return False

    def _ask(self, line):
        with socket.create_connection(("127.0.0.1", self.number), timeout=30) as sock:
            sock.sendall(line)
            return sock.recv(256)

    def port(self, _):
        return self.number

    def make_tables(self):
        pass

    def settle(self):
        pass

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    close = stop


class Echo:
    name = "echo"

    def __init__(self, programs):
        self.programs = programs
        self.number = None
        self.process = None

    def start(self, durable):
        del durable
        self.process = subprocess.Popen([os.path.join(self.programs, "echo")], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        start_new_session=True)
        self.number = int(self.process.stdout.readline())

    def port(self, _):
        return self.number

    def make_tables(self):
        pass

    settle = make_tables

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    close = stop


def installed(name):
    return {"gneiss": True, "echo": True, "postgres": os.path.exists(POSTGRES + "/postgres"),
            "redis": shutil.which("redis-server") is not None}[name]
