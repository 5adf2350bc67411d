"""The rows over the wire: servers side by side, one client loop for all (bench/wire.c)."""
import os
import time

import rows
import servers
from workers import Asked, calibrate, rate, take_turns

# Requests of a slice at least, for each client.
LEAST = {"insert": 8, "mixed": 10, "equal": 8, "range": 2, "cycle": 2}
LANGUAGES = {"postgres": "postgres", "redis": "redis", "echo": "echo"}
FILLED_BY = {"mongo": ("docs", "indexed"), "postgres": ("docs", "indexed"), "redis": ("docs",),
             "text": ("docs",), "echo": ()}


class Field:
    """All servers, filled, and a client for each language."""

    def __init__(self, options):
        self.options = options
        self.documents = options.documents("small")
        self.servers = {}
        self.clients = {}
        self.seed = 1

    def client(self, server, language):
        return Asked(os.path.join(self.options.programs, "wire-" + language),
                     server.port(language), self.documents)

    def _make(self, name):
        if name == "gneiss":
            return servers.Gneiss(self.options.below)
        if name == "echo":
            return servers.Echo(self.options.programs)
        return {"postgres": servers.Postgres, "redis": servers.Redis}[name](self.options.below)

    def _start(self, name):
        server = self.servers[name] = self._make(name)
        languages = ("mongo", "text") if name == "gneiss" else (LANGUAGES[name],)
        server.start(durable=False)
        server.make_tables()
        for language in languages:
            client = self.client(server, language)
            client.do("connect", "-", 4, 16)
            for table in FILLED_BY[language]:
                client.do("insert", table, self.documents)
            client.close()
        server.stop()
        server.start(durable=True)
        server.settle()
        for language in languages:
            self.clients[language] = self.client(server, language)
        self.options.progress("%s is filled" % name)

    def __enter__(self):
        try:
            for name in ("gneiss", "postgres", "redis", "echo"):
                if servers.installed(name) and self.options.has_peer(name):
                    self._start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for client in self.clients.values():
            client.close()
        for server in self.servers.values():
            server.close()

    def ask(self, language, verb, table, count):
        self.seed += 7919
        return self.clients[language].do(verb, table, count, self.seed)

    def measure(self, row, clients):
        options, beats = self.options, self.options.beats(row, 4)
        languages = {"gneiss": row["language"],
                     **{peer: LANGUAGES[peer] for peer in row["peers"] if peer in self.servers}}
        peers, counts = list(languages), {}
        options.progress("%s, %d at a time" % (row["name"], clients))
        for peer, language in languages.items():
            self.clients[language].do("connect", "-", clients, row.get("pipeline", 1))
            counts[peer] = 8 if options.smoke else calibrate(
                lambda count, language=language: self.ask(
                    language, row["verb"], row["table"], count),
                options.slice_seconds / 2,
                max(LEAST.get(row["verb"], 20), 4 * row.get("pipeline", 0)) * clients, 10 ** 9)

        def slice_(peer):
            server = self.servers[peer].process.pid
            before = servers.processor_of(server)
            took = self.ask(languages[peer], row["verb"], row["table"], counts[peer])
            took["server"] = servers.processor_of(server) - before
            return took

        rounds = {peer: [] for peer in peers}
        for _ in range(options.rounds):
            for peer, language in languages.items():  # how they settle on the processors is chance, and lasts
                self.clients[language].do("connect", "-", clients, row.get("pipeline", 1))
                slice_(peer)  # which warms up and does not count
            for peer, slices in take_turns(peers, slice_, 1, beats).items():
                rounds[peer] += slices
        for language in languages.values():
            self.clients[language].do("connect", "-", 0, 1)
        unit = row.get("unit", "operations")
        kind = "1 client" if clients == 1 else "%d clients" % clients
        return [{"group": "wire", "name": row["name"], "documents": self.documents, "clock": clock,
                 "kind": kind + more, "unit": unit, "bars": bars,
                 "rates": {peer: [rate(one, clock, unit) for one in slices]
                           for peer, slices in rounds.items()}}
                for clock, more, bars in (
                    ("wall", "", row["bars"].get(clients, {})),
                    ("server", ", a second of the server's processor", {}))]

    def beside_idle(self):
        """Eight sessions that are busy, with and without many that are not."""
        row, options = rows.IDLE, self.options
        busy, quiet = self.clients["mongo"], self.client(self.servers["gneiss"], "mongo")
        options.progress(row["name"])
        busy.do("connect", "-", row["busy"], 1)
        count = 16 if options.smoke else calibrate(
            lambda count: self.ask("mongo", "get", "docs", count), options.slice_seconds, 2000,
            10 ** 9)

        def slice_(which):
            quiet.do("idle", "-", 0 if which == "none idle" else 8 if options.smoke else row["idle"])
            time.sleep(0 if options.smoke else 0.5)  # the server makes new spare processes, or ends some
            return self.ask("mongo", "get", "docs", count)

        try:
            rounds = take_turns(["gneiss", "none idle"], slice_, options.rounds, options.beats(row, 2))
        finally:
            quiet.close()
            busy.do("connect", "-", 0, 1)
        return {"group": "wire", "name": row["name"], "documents": self.documents, "clock": "wall",
                "kind": "8 clients", "unit": "operations", "bars": {"none idle": row["bar"]},
                "rates": {peer: [rate(one, "wall", "operations") for one in slices]
                          for peer, slices in rounds.items()}}


def run(options):
    results, beside = [], []
    with Field(options) as field:
        for row in rows.WIRE:
            for clients in row.get("clients", options.clients):
                if options.wanted(row["name"]):
                    wall, processor = field.measure(row, clients)
                    results.append(wall)
                    if row["verb"] != "cycle":  # whose processes have ended
                        beside.append(processor)
        if options.wanted(rows.IDLE["name"]):
            results.append(field.beside_idle())
    return results + beside
