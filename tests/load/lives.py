#!/usr/bin/python3
"""Starting and ending: second servers, TERM with sessions open, HUP, QUIT, kill -9 of all and of the
postmaster alone, bad settings, a copied directory; narrow limits, and a log that nobody reads."""
import base64
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import bson

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from server import FULL, MIB, SLOW, Checks, Server, StartFailed, gneiss, wait_for  # noqa: E402
from wire import Closed, Json, Mongo, Refused, Text, connect, message, section0  # noqa: E402

ROUNDS = 20 if FULL else 3


def add(server, key):
    with Json(server.port["json"]) as conn:
        conn.ask("insert_one", database="lives", collection="c", document={"_id": key})


def count(server):
    with Json(server.port["json"]) as conn:
        return conn.ask("count", database="lives", collection="c", filter={})["count"]


def refused_start(server, **how):
    """A start that must fail; yields what it says."""
    try:
        server.start(**how)
    except StartFailed as error:
        return str(error)
    raise AssertionError("it started")


def second_server(server):
    """a second server on the same directory is refused, and says which process has it"""
    other = Server(directory=server.directory + "-2")
    os.mkdir(other.directory)
    try:
        other.data = server.data
        began = time.monotonic()
        said = refused_start(other, seconds=30)
        assert "exited with 1" in said, said
        assert "Error: data directory is in use by process %d" % server.process.pid in said, said
        took = time.monotonic() - began
        assert took < 15 * SLOW, "refused after %.1f s" % took
    finally:
        other.__exit__(None, None, None)
    assert count(server) >= 0
    tool = gneiss("check", server.data)
    assert tool.returncode != 0 or "use" in tool.stdout + tool.stderr or "server" in tool.stdout, \
        "gneiss check opened a directory that a server holds: %s" % tool.stdout


def lock_removed(server):
    """a second server is refused also when somebody has removed the lock file"""
    for attempt in ("without a lock file", "with an empty one"):
        if attempt == "without a lock file":
            os.unlink(os.path.join(server.data, "lock"))
        with Server() as other:
            other.data = server.data
            said = refused_start(other, seconds=30)
            assert "data directory is in use by process %d" % server.process.pid in said, (attempt, said)
    told = gneiss("stop", "--data", server.data)
    assert told.returncode == 1 and "was removed" in told.stderr, told
    add(server, "still here")
    before = count(server)
    assert server.stop() == 0
    server.start()
    assert count(server) == before


def told_at_term(server):
    """TERM with sessions open: each is told, the server exits with 0, a running command is finished"""
    sessions = {protocol: connect(server, protocol) for protocol in ("text", "json", "mongo")}
    for session in sessions.values():
        session.ping()
    idle = Mongo(server.port["mongo"])
    began = time.monotonic()
    code = server.stop()
    took = time.monotonic() - began
    assert code == 0, code
    assert took < 10 * SLOW, "%.1f s" % took
    said = {protocol: session.rest() for protocol, session in sessions.items()}
    idle.close()
    assert b"shutting down" in said["text"], said["text"]
    server.start()
    return "%.2f s; text hears %r" % (took, said["text"].decode().strip())


def term_under_load(server):
    """TERM under load: what was acknowledged is there after the next start"""
    acked, stop = [], []

    def work(number):
        try:
            with Json(server.port["json"]) as conn:
                for i in range(100000):
                    key = "%d-%d-%d" % (len(stop), number, i)
                    conn.ask("insert_one", database="term", collection="c", document={"_id": key})
                    acked.append(key)
        except (Closed, OSError, Refused):
            pass
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    server.start()
    with Json(server.port["json"]) as conn:
        there = {doc["_id"] for doc in conn.ask("find", database="term", collection="c", filter={})["documents"]}
    missing = set(acked) - there
    assert acked and not missing, "%d of %d are missing" % (len(missing), len(acked))
    assert len(there) - len(acked) <= 8, "%d were not acknowledged" % (len(there) - len(acked))
    assert "had been closed in order" in server.log()
    return "%d acknowledged" % len(acked)


def hup(server, says="configuration reloaded"):
    """HUP, and wait until the postmaster has said so."""
    before = server.log().count(says)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.log().count(says) > before, 5 * SLOW, says)


LARGE = message(section0({"find": "large", "batchSize": 350, "singleBatch": True, "$db": "lives"}))


def take(conn, size):
    """So many bytes of what it is sent, or all if the server closes before."""
    heard = bytearray()
    while len(heard) < size:
        data = conn.sock.recv(min(1 << 20, size - len(heard)))
        if not data:
            break
        heard += data
    return bytes(heard)


def peer(conn):
    return "127.0.0.1:%d" % conn.sock.getsockname()[1]


def sessions(server, peers, sending=False):
    """The pids of the sessions that serve these clients; with `sending`, of those that wait for theirs to read.
    currentOp says that; a title does not, for the command is over when its answer is sent: a title names the find
    only while the answer is being made."""
    with Mongo(server.port["mongo"]) as admin:
        return sorted(op["pid"] for op in admin.ask({"currentOp": 1, "$all": True}, "admin")["inprog"]
                      if op.get("client") in peers and
                      (not sending or op.get("waitsFor", {}).get("what") == "client to read"))


@contextlib.contextmanager
def deaf_clients(server, count=3):
    """Clients that ask for 14 MB and do not read, each with a session that sleeps in sending; and the whole answer.
    Their sockets' buffers are small and of a fixed size: else the kernel may let them grow until all is taken."""
    documents = [{"_id": n, "t": "%05d" % n * 8000} for n in range(350)]
    with Mongo(server.port["mongo"], timeout=60 * SLOW) as conn:
        conn.ask({"drop": "large"}, "lives")
        conn.ask({"insert": "large", "documents": documents}, "lives")
    with Mongo(server.port["mongo"], timeout=60 * SLOW) as conn:
        conn.send(LARGE)
        answer = take(conn, 4)
        answer += take(conn, struct.unpack("<i", answer)[0] - 4)
        assert bson.decode(answer[21:])["cursor"]["firstBatch"] == documents
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(Mongo(server.port["mongo"], timeout=60 * SLOW, buffers=65536)) for _ in range(count)]
        for conn in conns:
            conn.send(LARGE)
        peers = {peer(conn) for conn in conns}
        wait_for(lambda: len(sessions(server, peers, sending=True)) == count, 10 * SLOW, "answers that nobody reads")
        yield conns, answer


def term_and_deaf(server):
    """TERM while clients do not read their answers: after server.shutdown_timeout_secs it ends in order all the same"""
    server.settings["server.shutdown_timeout_secs"] = 1
    server.write_config()
    hup(server)
    with deaf_clients(server) as (deaf, answer):
        server.process.send_signal(signal.SIGUSR2)  # a stray one ends nothing
        server.process.send_signal(signal.SIGUSR1)
        before = len(server.crashes())
        code = server.stop()
        said = server.crashes()[before:]
        heard = [take(conn, 2 * len(answer)) for conn in deaf]
    del server.settings["server.shutdown_timeout_secs"]
    server.start()
    assert code == 0 and not said, (code, said)
    assert any("had been closed in order" in line for line in server.log().splitlines()[-8:]), server.tail(8)
    for one in heard:  # what was on its way, and nothing behind it
        assert 0 < len(one) < len(answer) and answer.startswith(one), "%d of %d bytes" % (len(one), len(answer))


def reload_and_deaf(server):
    """HUP changes nothing for a session that sends: it goes on, and its client hears the whole answer"""
    with deaf_clients(server) as (deaf, answer):
        peers = {peer(conn) for conn in deaf}
        victims = sessions(server, peers)
        hup(server)
        for pid in victims:
            os.kill(pid, signal.SIGHUP)
        wait_for(lambda: sessions(server, peers, sending=True) == victims, 5 * SLOW, "they are sending still")
        for conn in deaf:
            assert take(conn, len(answer)) == answer
            conn.ping()


def deaf_and_gone(server):
    """a client that does not read and is gone ends its session at once; one that has only ended its half hears all"""
    with deaf_clients(server, 4) as (deaf, answer):
        closed, reset, ended, half = deaf
        reset.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ended.sock.shutdown(socket.SHUT_WR)
        half.sock.shutdown(socket.SHUT_WR)
        peers = {peer(conn) for conn in deaf}
        wait_for(lambda: len(sessions(server, peers, sending=True)) == 4, 5 * SLOW, "they are sending still")
        leaving = {peer(conn) for conn in (closed, reset, ended)}
        for conn in (closed, reset, ended):
            conn.close()
        wait_for(lambda: not sessions(server, leaving), 5 * SLOW, "the sessions of those that are gone have ended")
        assert take(half, 2 * len(answer)) == answer  # and then the session ends


def term_and_death(server):
    """a session that crashes while the server stops: it stops all the same, and the next start recovers"""
    with Json(server.port["json"]) as stuck:
        stuck.ping()
        stuck.send(b'{"request_id":"1","command":{"type":"insert_many","database":"lives","collection":"big",'
                   b'"documents":[' + b",".join(b'{"a":%d}' % n for n in range(300000)) + b"]}}\n")
        port = stuck.sock.getsockname()[1]
        wait_for(lambda: any(":%d insert" % port in title for title in server.titles().values()), 5 * SLOW,
                 "the insert is under way")
        victim = [pid for pid, title in server.titles().items() if ":%d insert" % port in title]
        before = count(server)
        server.process.send_signal(signal.SIGTERM)
        if not victim:
            raise AssertionError("void: the insert was too quick")
        os.kill(victim[0], signal.SIGABRT)
        code = server.stop()
    assert code in (0, 1), code
    server.start()
    assert count(server) == before
    return "exit %d" % code


def term_twice_and_int(server):
    """INT ends it as TERM does; a second TERM does no harm"""
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    assert server.stop() == 0
    server.start()


def quit_at_once(server):
    """QUIT ends it at once; the next start recovers"""
    with Mongo(server.port["mongo"]) as conn:
        conn.ping()
        key = "quit %f" % time.time()
        add(server, key)
        began = time.monotonic()
        code = server.stop(signal_number=signal.SIGQUIT)
        took = time.monotonic() - began
    assert code == 0, code
    assert took < 2 * SLOW, "%.1f s" % took
    took = server.start()
    with Json(server.port["json"]) as conn:
        assert conn.ask("count", database="lives", collection="c", filter={"_id": key})["count"] == 1
    return "restart %.2f s" % took


def reload(server):
    """HUP reloads what can change, for sessions that live on too; a bad file changes nothing; the rest is told once"""
    def cursor_timeout(conn):
        return conn.ask({"getParameter": 1, "cursorTimeoutMillis": 1}, "admin")["cursorTimeoutMillis"]

    def insert_much(conn):  # of its memory this takes between 64 and 128 MiB
        try:
            return conn.ask("insert_many", database="lives", collection="much", documents=[{"t": "x" * 4 * MIB}] * 9)
        except Refused as error:
            return str(error)
    with Mongo(server.port["mongo"]) as conn, Json(server.port["json"], timeout=60) as large:
        assert cursor_timeout(conn) == 600000
        large.ping()
        changed = {"log.level": "debug", "mongo.cursor_timeout_secs": 77, "server.max_connections": 99,
                   "memory.session_memory_max": "64MB"}
        kept = {key: server.settings[key] for key in changed if key in server.settings}
        server.settings.update(changed)
        server.write_config()
        hup(server)

        def tells_more():  # a backend that had not heard of it yet may serve the first
            with connect(server, "json") as other:
                other.ping()
            return '"level":"debug"' in server.log()
        wait_for(tells_more, 3 * SLOW, "debug lines")
        wait_for(lambda: cursor_timeout(conn) == 77000, 3 * SLOW, "the old session has reloaded")
        assert server.log().count("server.max_connections has changed") == 1
        wait_for(lambda: "its limit of 67108864 bytes of memory" in insert_much(large), 10 * SLOW, "the new ceiling")
        with open(server.config_path(), "a", encoding="utf-8") as out:
            out.write("[memory\nwork_mem = nonsense\n")
        complaint = "the configuration stays as it is"
        complaints = server.log().count(complaint)
        hup(server, complaint)
        assert cursor_timeout(conn) == 77000
        for key in changed:
            del server.settings[key]
        server.settings.update(kept)
        server.write_config()
        hup(server)
        wait_for(lambda: cursor_timeout(conn) == 600000, 3 * SLOW, "and once more")
        wait_for(lambda: "ids" in str(insert_much(large)), 10 * SLOW, "the old ceiling again")
        assert server.log().count(complaint) == complaints + 1  # the postmaster's; nobody else has tried
        conn.ask({"drop": "much"}, "lives")
    assert server.process.poll() is None


def kill_all(server):
    """kill -9 of everything, and started again straight away"""
    times = []
    for number in range(ROUNDS):
        before = count(server)
        add(server, "all %d %f" % (number, time.time()))
        server.kill()
        times.append(server.start())
        assert count(server) == before + 1
    return "%d times, longest restart %.2f s" % (ROUNDS, max(times))


def kill_postmaster(server):
    """kill -9 of the postmaster alone: the children leave within a second, a new one comes up at once"""
    ends, times = [], []
    for number in range(ROUNDS):
        before = count(server)
        add(server, "pm %d %f" % (number, time.time()))
        with Mongo(server.port["mongo"]) as conn, Text(server.port["text"]) as text:
            conn.ping()
            text.ping()
            old_group = server.group
            server.kill_postmaster()
            began = time.monotonic()
            if number % 2 == 0:
                wait_for(lambda: not server.tree(), 1.0 * SLOW, "all children gone: %s" % server.titles())
                ends.append(time.monotonic() - began)
                times.append(server.start())
            else:
                times.append(server.start())
                new_group, server.group = server.group, old_group
                process, server.process = server.process, None
                left = server.tree()
                server.group, server.process = new_group, process
                assert not left, "children of the old server are left: %s" % left
        assert count(server) == before + 1
    return "%d times, children gone in %.2f s at most, longest restart %.2f s" % (
        ROUNDS, max(ends), max(times))


def kill_workers(server):
    """kill -9 of each auxiliary process and of a backend: the server serves on, nothing is lost"""
    times = []
    for title in ("checkpointer", "wal writer", "buffer writer", "autovacuum", "backend idle"):
        before = count(server)
        add(server, "worker %s %f" % (title, time.time()))

        def victims():
            return [pid for pid, one in server.titles().items() if one == "gneissd: " + title]
        wait_for(victims, 5 * SLOW, "a %s" % title)
        began, at, victim = time.monotonic(), len(server.log()), victims()[0]
        os.kill(victim, signal.SIGKILL)

        def serves():
            try:
                return count(server) == before + 1
            except (Closed, OSError, Refused):
                return False
        # One that dies in the middle of a change takes all along.
        wait_for(lambda: "cleaned up after process %d" % victim in server.log()[at:] or
                 '"msg":"ready"' in server.log()[at:], 10 * SLOW, "a dead %s is seen to" % title)
        wait_for(serves, 10 * SLOW, "served again after the death of a %s" % title)
        times.append(time.monotonic() - began)
    return "longest %.2f s" % max(times)


def told_at_any_moment(server):
    """a session that is told to end just as it begins to wait for its client does end"""
    for attempt in range(200 if FULL else 60):
        with Text(server.port["text"], login=False, timeout=10 * SLOW) as conn:
            port = conn.sock.getsockname()[1]
            conn.send(b"PING\r\n")
            conn.receive()
            victim = [pid for pid, title in server.titles().items() if "backend 127.0.0.1:%d" % port in title]
            conn.send(b"PING\r\n" * (1 + attempt % 5))
            time.sleep(attempt % 10 * 0.00002)
            os.kill(victim[0], signal.SIGTERM)
            try:
                while True:
                    conn.receive()
            except Refused as refused:
                assert "shutting down" in str(refused), refused
            except Closed:
                pass


def copied(server):
    """a copy of a killed server's files, modes 0644 and without empty folders, starts elsewhere"""
    before = count(server)
    server.kill()
    with Server() as other:
        shutil.copytree(server.data, other.data, copy_function=shutil.copyfile)
        for folder, folders, files in os.walk(other.data, topdown=False):
            for name in files:
                os.chmod(os.path.join(folder, name), 0o644)
            if not os.listdir(folder):
                os.rmdir(folder)
        other.start()
        assert count(other) == before
        assert other.stop() == 0
    server.start()


def no_control(server):
    """a directory whose control file is missing is refused, and nothing of it is touched"""
    before = count(server)
    assert server.stop() == 0
    control = os.path.join(server.data, "control")
    os.rename(control, server.directory + "/control")
    for gone in ("", "wal"):  # with the log, without
        if gone:
            os.rename(os.path.join(server.data, gone), server.directory + "/" + gone)
        said = refused_start(server)
        assert "control file is missing" in said and "from a copy" in said, said
        made = gneiss("init", server.data)
        assert made.returncode != 0, made
        if gone:
            os.rename(server.directory + "/" + gone, os.path.join(server.data, gone))
    os.rename(server.directory + "/control", control)
    server.start()
    assert count(server) == before


def refused_starts(server):
    """a bad value, file, flag or address stops the start: code, file, line and key on stderr"""
    def start(*arguments, environment=None, config=None):
        with Server() as other:
            os.makedirs(other.directory, exist_ok=True)
            other.write_config()
            if config is not None:
                with open(other.config_path(), "w", encoding="utf-8") as out:
                    out.write(config)
            done = subprocess.run(other.command() + list(arguments), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30 * SLOW,
                                  cwd=other.directory, check=False, env={**os.environ, **(environment or {})})
            assert len(done.stderr) < 4096 or done.returncode == 2, len(done.stderr)
            return done.returncode, done.stderr
    code, said = start(config='[memory]\n\nshared_buffers = "lots"\n')
    assert code == 1 and "gneiss.toml:3" in said and "shared_buffers" in said and said.startswith("Error: config: "), said
    code, said = start(config="[memory\n")
    assert code == 1 and "gneiss.toml:1" in said, said
    code, said = start(config="[server]\nmax_connections = 0\n")
    assert code == 1 and "max_connections" in said, said
    code, said = start(environment={"GNEISS_MEMORY_SHARED_BUFFERS": "-5"})
    assert code == 1 and "shared_buffers" in said.lower(), said
    code, said = start("--bogus")
    assert code == 2 and "--bogus" in said, said
    code, said = start("--config", "/nonexistent.toml")
    assert code == 1 and "/nonexistent.toml" in said, said
    for flag in ("--json-bind", "--mongo-bind"):
        code, said = start(flag, "0.0.0.0:0")
        assert code == 1 and said.startswith("Error: "), "%s: %d %s" % (flag, code, said)
    for setting in ("tls.enabled=true", "json.tls=true", "storage.encryption_at_rest=true"):
        code, said = start("--set", setting)  # never pretend to protect
        assert code == 1 and setting.split("=")[0] in said and "not offered" in said, said
    code, said = start("--bind", "127.0.0.1:%d" % server.port["text"])
    assert code == 1 and str(server.port["text"]) in said, said


def log_unread(_server):
    """who does not read the server's log stops nobody: sessions, deaths, restarts of all, the end"""
    with Server({"log.level": "debug", "memory.shared_buffers": "8MB"}) as other:
        other.write_config()
        inlet, outlet = os.pipe()
        with open(other.log_path(), "wb"):  # stays empty
            other.process = subprocess.Popen(
                other.command(), stdin=subprocess.DEVNULL, stdout=outlet, stderr=outlet, cwd=other.directory,
                start_new_session=True)
        other.group = other.process.pid
        os.close(outlet)
        wait_for(other.answers, 60 * SLOW, "ready")
        for number in range(600):  # 64 KiB are full after some 200
            with Mongo(other.port["mongo"], timeout=20 * SLOW) as conn:
                conn.ping()
        for number in (signal.SIGKILL, signal.SIGABRT):
            for title in ("wal writer", "backend idle", "undertaker"):
                add(other, "%d %s" % (number, title))
                victims = [pid for pid, one in other.titles().items() if one == "gneissd: " + title]
                if not victims:
                    continue
                os.kill(victims[0], number)
                wait_for(lambda: victims[0] not in other.tree(), 20 * SLOW, "a %s is gone" % title)
                if title != "backend idle":  # the postmaster has said it in vain, and has begun another
                    wait_for(lambda: any(one == "gneissd: " + title and pid not in victims
                                         for pid, one in other.titles().items()), 20 * SLOW, "another %s" % title)
                wait_for(other.answers, 20 * SLOW, "served after the death of a %s" % title)
        os.set_blocking(inlet, False)
        said = b""
        while True:
            try:
                said += os.read(inlet, 1 << 20)
            except BlockingIOError:
                break
        assert len(said) > 30000, "void: the pipe was not full: %d bytes" % len(said)
        assert other.stop() == 0
        said += os.read(inlet, 1 << 20)
        os.close(inlet)
        assert b"records are missing here" in said and said.endswith(b"\n"), said[-400:]


def few_files(_server):
    """few open files: too few are refused, with what is needed; with little more all works, also when they run out"""
    with Server(wrapper=["prlimit", "--nofile=20"]) as other:
        said = refused_start(other)
        assert "20 open files" in said and "ulimit -n" in said, said
    with Server({"memory.shared_buffers": "16MB", "memory.work_mem": "64KB"}, wrapper=["prlimit", "--nofile=64"]) as other:
        other.start()
        conn = Mongo(other.port["mongo"], timeout=60 * SLOW)
        conn.ask({"insert": "sorted", "documents": [{"_id": n, "t": "x" * 200} for n in range(2000)]})

        def work(first, last):
            for number in range(first, last):
                assert conn.ask({"insert": "c%d" % number, "documents": [{"_id": 1}]})["n"] == 1
            for number in range(first, last):
                assert conn.ask({"count": "c%d" % number})["n"] == 1
            assert len(conn.ask({"find": "sorted", "sort": {"t": 1}, "batchSize": 10})["cursor"]["firstBatch"]) == 10
        work(0, 60)
        # Fewer than are open now: every file that is opened takes another's place.
        for pid in other.children():
            subprocess.run(["prlimit", "--pid", str(pid), "--nofile=20"], check=True)
        work(60, 90)
        for number in range(90):
            assert conn.ask({"insert": "c%d" % number, "documents": [{"_id": 2}]})["n"] == 1
        with Mongo(other.port["mongo"]) as second:
            second.ping()
        assert not other.crashes(), other.crashes()
        conn.close()
        assert other.stop() == 0
        assert gneiss("check", other.data).returncode == 0


def small_files(_server):
    """a limit of the size of files (ulimit -f) is an error that says so, as a full disk is, and ends no process"""
    with Server(wrapper=["prlimit", "--fsize=%d" % MIB]) as other:
        said = refused_start(other)
        assert "exited with 1" in said and "File too large" in said, said
    with Server({"memory.shared_buffers": "8MB"}, wrapper=["prlimit", "--fsize=%d" % (32 * MIB)]) as other:
        other.start()
        acked, refused = 0, ""
        with Mongo(other.port["mongo"], timeout=60 * SLOW) as conn:
            while not refused and acked < 64:
                try:
                    text = base64.b64encode(os.urandom(750000)).decode()
                    conn.ask({"insert": "large", "documents": [{"_id": acked, "t": text}]})
                    acked += 1
                except Refused as error:
                    refused = str(error)
            assert "OutOfDiskSpace" in refused and "File too large" in refused, (acked, refused)
            assert conn.ask({"count": "large"})["n"] == acked
            assert conn.ask({"insert": "small", "documents": [{"_id": 1}]})["n"] == 1
        assert not other.crashes(), other.crashes()
        assert other.stop() == 0


def no_password(_server):
    """the first start without a bootstrap password is refused in the words that launchers know"""
    with Server() as other:
        other.write_config()
        command = [word for word in other.command()]
        at = command.index("--bootstrap-password")
        del command[at:at + 2]
        environment = {key: value for key, value in os.environ.items() if "BOOTSTRAP" not in key}
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=30 * SLOW, cwd=other.directory, check=False, env=environment)
        assert done.returncode == 1, done
        assert done.stderr.startswith(
            'Error: BootstrapRefused("no users on disk; pass --bootstrap-password <pw> (or set '
            'GRUMPYDB_BOOTSTRAP_PASSWORD) on first start to create the initial _system/admin account")\n'), done.stderr
        assert "GNEISS_BOOTSTRAP_PASSWORD" in done.stderr.split("\n", 1)[1], done.stderr


def fresh_size(_server):
    """a fresh data directory is smaller than 64 MiB"""
    with Server() as other:
        other.start()
        other.stop()
        size = sum(os.path.getsize(os.path.join(folder, name))
                   for folder, _, names in os.walk(other.data) for name in names)
        assert size < 64 << 20, size
        return "%.1f MiB" % (size / (1 << 20))


TESTS = (
    second_server, lock_removed, told_at_term, term_under_load, term_and_deaf, reload_and_deaf, deaf_and_gone,
    term_and_death, term_twice_and_int, quit_at_once, reload, kill_all, kill_postmaster, kill_workers,
    told_at_any_moment, copied, no_control, refused_starts, log_unread, few_files, small_files, no_password,
    fresh_size)


def main():
    checks = Checks()
    with Server({"memory.shared_buffers": "8MB"}) as server:
        server.start()
        add(server, "first")
        for test in TESTS:
            if not checks.run(test, server) and (server.process is None or server.process.poll() is not None):
                server.kill()
                server.start()
        checks.check(server.stop() == 0, "TERM: exit 0")
        done = gneiss("check", server.data)
        checks.check(done.returncode == 0, "gneiss check finds nothing", done.stdout + done.stderr)
    checks.done()


if __name__ == "__main__":
    main()
