// driver.mjs - the official Node.js driver against a server: load places, query, change, count.
//
//     node driver.mjs FOLDER-OF-NODE-MODULES URI PLACES.json
//
// Prints one line of JSON with what it counted and how long it took; exits 1 on any warning.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';

const [modules, uri, file] = process.argv.slice(2);
const { MongoClient, Long, Double, Int32, ObjectId, Decimal128, Binary } =
	createRequire(modules + '/')('mongodb');
const warnings = [];
process.on('warning', (warning) => warnings.push(String(warning)));

const places = JSON.parse(readFileSync(file, 'utf8'));
const rates = {};
async function timed(name, count, work) {
	const began = process.hrtime.bigint();
	const result = await work();
	rates[name] = Math.round(count / (Number(process.hrtime.bigint() - began) / 1e9));
	return result;
}

const client = new MongoClient(uri, { serverSelectionTimeoutMS: 15000 });
await client.connect();
const db = client.db('geo');
const cities = db.collection('driver');

// Load, in batches of a thousand.
await timed('insertMany', places.length, async () => {
	for (let i = 0; i < places.length; i += 1000) {
		const batch = places.slice(i, i + 1000).map((place, k) => ({ _id: i + k, ...place, visits: 0 }));
		const result = await cities.insertMany(batch);
		assert.equal(result.insertedCount, batch.length);
	}
});
await cities.createIndex({ country: 1 });
await cities.createIndex({ name: 1 });
assert.deepEqual((await cities.indexes()).map((index) => index.name).sort(),
	['_id_', 'country_1', 'name_1']);
assert.equal(await cities.estimatedDocumentCount(), places.length);

// Every country by its index, against the truth of the file.
const truth = new Map();
for (const place of places)
	truth.set(place.country, (truth.get(place.country) ?? 0) + 1);
await timed('byCountry', places.length, async () => {
	for (const [country, count] of truth)
		assert.equal((await cities.find({ country }).toArray()).length, count, country);
});

// One by one, by _id and by name.
const few = Math.min(2000, places.length);
await timed('findOne', few, async () => {
	for (let i = 0; i < few; i++) {
		const id = (i * 7919) % places.length;
		const found = await cities.findOne({ _id: id });
		assert.equal(found.name, places[id].name);
	}
});
await timed('insertOne', 300, async () => {
	for (let i = 0; i < 300; i++)
		await db.collection('ones').insertOne({ i, ...places[i % places.length] });
});

// Sort, limit, skip, ranges; a cursor over many batches in the order of the _id.
const names = places.map((place) => place.name);
const bytewise = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const sorted = [...names].sort(bytewise);
assert.deepEqual((await cities.find().sort({ name: 1 }).skip(10).limit(25).toArray())
	.map((place) => place.name), sorted.slice(10, 35));
assert.deepEqual((await cities.find().sort({ name: -1 }).limit(5).toArray())
	.map((place) => place.name), [...sorted].reverse().slice(0, 5));
let seen = 0;
await timed('scan', places.length, async () => {
	for await (const place of cities.find({ _id: { $gte: 0 } }).sort({ _id: 1 }).batchSize(500)) {
		assert.equal(place._id, seen);
		assert.equal(place.name, places[seen].name);
		seen++;
	}
});
assert.equal(seen, places.length);
assert.equal((await cities.find({ name: { $gte: 'B', $lt: 'C' } }).toArray()).length,
	names.filter((name) => bytewise(name, 'B') >= 0 && bytewise(name, 'C') < 0).length);
assert.equal((await cities.find({ country: { $in: ['AD', 'LI', 'MC'] } }).toArray()).length,
	places.filter((place) => ['AD', 'LI', 'MC'].includes(place.country)).length);
assert.equal((await cities.find({ country: { $nin: ['AD'] }, admin1: { $ne: '03' } }).toArray()).length,
	places.filter((place) => place.country !== 'AD' && place.admin1 !== '03').length);
const half = cities.find({}).batchSize(10);
await half.next();
await half.close(); // killCursors

// Change.
let result = await cities.updateMany({ country: 'AD' }, { $inc: { visits: 2 }, $set: { seen: true } });
assert.equal(result.modifiedCount, truth.get('AD'));
result = await cities.updateOne({ _id: 0 }, { $inc: { visits: 1 } });
assert.equal((await cities.findOne({ _id: 0 })).visits, places[0].country === 'AD' ? 3 : 1);
result = await cities.replaceOne({ _id: 1 }, { name: 'Replaced' });
assert.deepEqual(await cities.findOne({ _id: 1 }), { _id: 1, name: 'Replaced' });
await cities.replaceOne({ _id: 1 }, { ...places[1], visits: 0 });
result = await cities.updateOne({ _id: 'nowhere' }, { $set: { name: 'Nowhere' } }, { upsert: true });
assert.equal(result.upsertedId, 'nowhere');
result = await cities.deleteOne({ _id: 'nowhere' });
assert.equal(result.deletedCount, 1);
const going = places.filter((place) => place.country === 'FR').length;
result = await cities.deleteMany({ country: 'FR' });
assert.equal(result.deletedCount, going);
assert.equal(await cities.estimatedDocumentCount(), places.length - going);

// What must fail, with the code that programs look for.
await assert.rejects(cities.insertOne({ _id: 0 }), (error) =>
	error.code === 11000 && error.message.startsWith('E11000 duplicate key error collection: geo.driver'));
await assert.rejects(db.command({ frobnicate: 1 }), (error) => error.code === 59);
await db.collection('unique').createIndex({ key: 1 }, { unique: true });
await db.collection('unique').insertOne({ key: 'a' });
await assert.rejects(db.collection('unique').insertOne({ key: 'a' }),
	(error) => error.code === 11000 && error.keyValue.key === 'a');

// Every kind of value comes back as it went.
const kinds = {
	_id: new ObjectId(), int: new Int32(7), long: Long.fromString('9007199254740993'),
	double: new Double(1.5), text: 'grüß 北京 🗻', nothing: null, yes: true, when: new Date(1234567890123),
	bytes: new Binary(Buffer.from([0, 1, 255])), list: [1, [2, { three: 3 }]],
	decimal: Decimal128.fromString('1.10'), pattern: /^a.b$/i, deep: { a: { b: { c: {} } } },
};
await db.collection('kinds').insertOne(kinds);
assert.deepEqual(
	await db.collection('kinds').findOne({ _id: kinds._id }, { promoteValues: false, promoteLongs: false })
		.then((found) => [Object.keys(found), found.long.toString(), found.decimal.toString(), found.text]),
	[Object.keys(kinds), '9007199254740993', '1.10', kinds.text]);

// Unacknowledged, and a large document.
await db.collection('quiet').insertOne({ _id: 1 }, { writeConcern: { w: 0 } });
const large = 'x'.repeat(15 << 20);
await db.collection('large').insertOne({ _id: 1, large });
assert.equal((await db.collection('large').findOne({ _id: 1 })).large.length, large.length);
assert.deepEqual((await db.listCollections({}, { nameOnly: true }).toArray()).map((one) => one.name).sort(),
	['driver', 'kinds', 'large', 'ones', 'quiet', 'unique']);
assert.equal(await db.collection('large').drop(), true);

// As many at once as the driver has connections.
await timed('findOneParallel', 2000, () => Promise.all(Array.from({ length: 2000 }, () =>
	cities.findOne({ _id: 0 }))));

await client.close();
console.log(JSON.stringify({ count: places.length - going, rates, warnings }));
process.exitCode = warnings.length === 0 ? 0 : 1;
