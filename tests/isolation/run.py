#!/usr/bin/python3
"""Isolation tests: what sessions do to each other, step by step.

    BUILD=build-faults tests/isolation/run.py [SPEC…]     compare with expected/*.out
    … --accept                                            write expected/*.out instead

README.md beside this file has the form of a spec.  Whether a step waits is seen at its backend, not
by a clock: the process whose title names the session's port and a verb, so that it is at work, is
asleep at each of several looks.  Whether it has stopped at a fault point, too: its state is T.
"""
import difflib
import glob
import json
import os
import re
import select
import signal
import sys
import time

from bson import Int64, json_util
from bson.binary import UuidRepresentation

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from server import SLOW, Checks, Server, wait_for  # noqa: E402
from wire import Closed, Json, Mongo, Refused, Text, message, section0  # noqa: E402

DATABASE = "iso"
LOOKS = 5            # so many looks in a row must find it asleep
LOOK_SECONDS = 0.03
STEP_SECONDS = 60
NOISE = ("ok", "operationTime", "$clusterTime", "opTime", "electionId", "writeConcern")


def extended(text):
    """MongoDB's extended JSON, UUIDs as they are."""
    return json_util.loads(text, json_options=json_util.JSONOptions(
        uuid_representation=UuidRepresentation.UNSPECIFIED))


# ---- specs ----
class Spec:
    def __init__(self, path):
        self.name = os.path.basename(path)[:-len(".spec")]
        self.setup, self.sessions, self.steps, self.permutations = [], {}, {}, []
        where = None
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                words = line.split()
                if not words or words[0].startswith("#"):
                    continue
                try:
                    where = self.take(words, line.strip(), where)
                except (ValueError, IndexError, KeyError) as error:
                    raise SystemExit("%s:%d: %s" % (path, number, error)) from error

    def take(self, words, line, where):
        if words[0] == "setup":
            return "setup"
        if words[0] == "session":
            self.sessions[words[1]] = words[2] if len(words) > 2 else "mongo"
            return words[1]
        if words[0] == "step":
            name, _, body = line[len("step"):].strip().partition(" ")
            self.steps[where + "." + name] = body.strip()
            return where
        if words[0] == "permutation":
            for token in words[1:]:
                name = token.split("@")[0]
                if name not in self.steps and name.split(".")[1] not in ("go", "kill", "cut"):
                    raise ValueError("there is no step " + name)
            self.permutations.append(words[1:])
            return None
        if where == "setup":
            self.setup.append(extended(line))
            return where
        raise ValueError("not understood: " + line)


# ---- what is shown of a reply ----
def shown(value):
    return json.dumps(value, default=str, ensure_ascii=False)


def text_shown(reply):
    return reply.decode() if isinstance(reply, bytes) else shown(reply)


def mongo_shown(reply):
    if reply.get("ok") != 1:
        return "error %s %s" % (reply.get("code"), reply.get("codeName"))
    cursor = reply.get("cursor")
    if cursor is not None:
        batch = cursor.get("firstBatch", cursor.get("nextBatch"))
        return "%s%s" % (shown(batch), " and more" if cursor["id"] else "")
    reply = {key: value for key, value in reply.items() if key not in NOISE}
    if "writeErrors" in reply:
        reply["writeErrors"] = [[one["index"], one["code"]] for one in reply["writeErrors"]]
    return shown(reply)


# ---- sessions ----
class Session:
    def __init__(self, server, name, language):
        self.server, self.name, self.language = server, name, language
        self.cursor = 0
        self.busy = None   # the step under way
        self.stopped = 0   # the process that stopped at a fault point
        self.wire = {"mongo": Mongo, "text": Text, "json": Json}[language](server.port[language])
        if language == "text":
            self.wire.ask("USE " + DATABASE)
        self.wire.ping()
        self.port = self.wire.sock.getsockname()[1]

    def begin(self, step, body):
        self.busy = step
        if self.language == "mongo":
            command = extended(body.replace('"$cursor"', str(self.cursor)))
            if "getMore" in command:
                command["getMore"] = Int64(command["getMore"])
            command["$db"] = DATABASE
            self.wire.count += 1
            self.wire.send(message(section0(command), request=self.wire.count))
        elif self.language == "json":
            verb, _, members = body.partition(" ")
            self.wire.count += 1
            command = {"type": verb, "database": DATABASE, **json.loads(members or "{}")}
            self.wire.send(json.dumps({"request_id": str(self.wire.count),
                                       "command": command}).encode() + b"\n")
        else:
            self.wire.send(body.encode() + b"\r\n")

    def answered(self):
        return bool(select.select([self.wire.sock], [], [], 0)[0])

    def receive(self):
        """The reply as a text; the connection's end is one, too."""
        self.busy = None
        try:
            if self.language == "text":
                return text_shown(self.wire.receive())
            reply = self.wire.receive()
            if self.language == "json":
                return shown(reply["data"]) if reply["ok"] else "error " + shown(reply["error"])
            self.cursor = reply[1].get("cursor", {}).get("id", self.cursor)
            return mongo_shown(reply[1])
        except Closed:
            return "<connection lost>"
        except Refused as error:
            return "error " + str(error)

    def process(self):
        """The backend that works for this session now, or 0."""
        end = re.compile(r":%d \S" % self.port)
        for pid, title in self.server.titles().items():
            if end.search(title):
                return pid
        return 0

    def close(self):
        if self.stopped:
            os.kill(self.stopped, signal.SIGCONT)
            self.stopped = 0
        self.wire.close()


def read(path):
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError:
        return ""


def state_of(pid):
    return (read("/proc/%d/stat" % pid).rpartition(")")[2].split() or [""])[0]


class Run:
    def __init__(self, server, spec):
        self.server, self.spec = server, spec
        self.lines = []
        self.admin = Mongo(server.port["mongo"])

    def say(self, text):
        self.lines.append(text)

    def permutation(self, tokens):
        self.say("permutation: " + " ".join(tokens))
        self.admin.ask({"dropDatabase": 1}, DATABASE)
        for command in self.spec.setup:
            self.admin.ask(command, DATABASE)
        self.sessions = {name: Session(self.server, name, language)
                         for name, language in self.spec.sessions.items()}
        try:
            for token in tokens:
                self.token(token)
            for session in self.sessions.values():
                if session.busy:
                    self.say("step %s: <still waiting at the end>" % session.busy)
        finally:
            for session in self.sessions.values():
                session.close()
        self.say("")

    def token(self, token):
        name, _, point = token.partition("@")
        session = self.sessions[name.split(".")[0]]
        verb = name.split(".")[1]
        if name not in self.spec.steps:
            self.interfere(session, verb)
        else:
            if session.busy:
                self.say("step %s: <not begun: %s is under way>" % (name, session.busy))
                return
            if point:
                at, _, nth = point.partition(":")
                self.admin.ask({"faultPoint": "%s=stop:%s" % (at, nth or "1")}, "admin")
            body = self.spec.steps[name]
            session.begin(name, body)
            self.settle(session, "step %s: %s" % (name, body), bool(point))
            if point:
                self.admin.ask({"faultPoint": at + "=off"}, "admin")
        for other in self.sessions.values():
            if other.busy and other is not session and not other.stopped:
                self.settle(other, "step %s: <completed>" % other.busy, False, quiet=True)

    def interfere(self, session, verb):
        said = "%s.%s" % (session.name, verb)
        if verb == "cut":
            session.wire.close()
            session.busy = None
            self.say("%s: the connection is cut" % said)
            return
        if not session.stopped:
            self.say("%s: <it has not stopped>" % said)
            return
        os.kill(session.stopped, signal.SIGCONT if verb == "go" else signal.SIGKILL)
        session.stopped = 0
        if session.busy:
            self.settle(session, "%s: %s" % (said, session.busy), False)
        else:
            wait_for(lambda: not session.process(), STEP_SECONDS * SLOW,
                     said + ": the backend is idle")
            self.say(said)

    def settle(self, session, head, may_stop, quiet=False):
        """Wait until the step is done, has stopped, or surely waits, and say so."""
        asleep, until = 0, time.monotonic() + STEP_SECONDS * SLOW
        while asleep < LOOKS:
            if session.answered():
                self.say(head)
                self.say("  " + session.receive())
                return
            pid = session.process()
            if may_stop and pid and state_of(pid) == "T":
                session.stopped = pid
                self.say(head + " <stopped>")
                return
            asleep = asleep + 1 if pid and state_of(pid) == "S" else 0
            if time.monotonic() > until:
                raise AssertionError("%s: no answer, and it does not wait" % head)
            time.sleep(LOOK_SECONDS if asleep else 0.002)
        if not quiet:
            self.say(head + " <waiting …>")


def run_spec(server, path, accept):
    spec = Spec(path)
    run = Run(server, spec)
    for tokens in spec.permutations:
        run.permutation(tokens)
    run.admin.close()
    out = os.path.join(HERE, "expected", spec.name + ".out")
    text = "\n".join(run.lines)
    if accept:
        with open(out, "w", encoding="utf-8") as file:
            file.write(text)
        return "accepted"
    difference = list(difflib.unified_diff(read_text(out).splitlines(), text.splitlines(),
                                           "expected", "got", lineterm=""))
    if difference:
        print("\n".join(difference))
        raise AssertionError("the output differs from expected/%s.out" % spec.name)
    return "%d permutations" % len(spec.permutations)


def read_text(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    accept = "--accept" in sys.argv
    names = [one for one in sys.argv[1:] if not one.startswith("--")]
    paths = [os.path.join(HERE, os.path.basename(one).replace(".spec", "") + ".spec")
             for one in names] or sorted(glob.glob(os.path.join(HERE, "*.spec")))
    checks = Checks()
    # One tenant for all languages, so that they mean the same collection.
    with Server({"memory.shared_buffers": "16MB", "server.default_tenant": "_system"}) as server:
        server.start()
        for path in paths:
            def one():
                return run_spec(server, path, accept)
            one.__doc__ = "isolation: " + os.path.basename(path)[:-len(".spec")]
            checks.run(one)
        died = [line for line in server.crashes() if "ended by signal 9" not in line
                and '"signal":9' not in line and "SIGKILL" not in line]
        checks.check(not died, "isolation: nothing died that was not killed", died[:3])
    checks.done()


if __name__ == "__main__":
    main()
