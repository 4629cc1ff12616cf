// Models of the hub in a headless Chromium, from a hub on this computer: `cargo xtask test browser`.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { openApp, samplePath } from "./app.mjs";
import { FakeHub } from "./fakehub.mjs";
import { FLAGS, URL_OF_PAGE, engines, modelFiles } from "./support.mjs";

const MIB = 1 << 20;
/** Of src/weights/hub/manifest.rs. */
const CHUNK = 8 * MIB;
/** Longer than a machine with other things to do needs. */
const PATIENCE = 60_000;

let hub, profile, context;
before(async () => {
  hub = await new FakeHub().start();
  profile = mkdtempSync(join(tmpdir(), "polyglance-profile-"));
  const args = [...FLAGS, ...hub.flags];
  context = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROME, args, locale: "en-US", viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(PATIENCE);
});
after(async () => {
  await context?.close();
  hub?.stop();
  rmSync(profile, { recursive: true, force: true });
});

/** Where a safetensors file has its header's end, and its tensors. */
function parse(buffer) {
  const start = 8 + Number(buffer.readBigUInt64LE());
  return { start, header: JSON.parse(buffer.subarray(8, start)), tensors: buffer.subarray(start) };
}

/** A fixture model with a tensor of this many bytes that no model has, so that there are several chunks. */
function largeModel(surplus) {
  return modelFiles("naflex").map((file) => {
    if (file.name !== "model.safetensors") return file;
    const { header, tensors } = parse(file.buffer);
    header.surplus = { dtype: "F32", shape: [surplus / 4], data_offsets: [tensors.length, tensors.length + surplus] };
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return { ...file, buffer: Buffer.concat([length, text, tensors, Buffer.alloc(surplus, "surplus")]) };
  });
}
const weightsOf = (model) => model.find(({ name }) => name === "model.safetensors").buffer;
const MODEL = largeModel(20 * MIB);
const WEIGHTS = weightsOf(MODEL).length;

/** So large that its token table is downloaded apart from the rest; and that table's first byte, the byte after its last, and the bytes of a row. */
const SPLIT = largeModel(40 * MIB);
const TABLE = (() => {
  const { start, header } = parse(weightsOf(SPLIT));
  const { shape, data_offsets: [first, end] } = header["text_model.embeddings.token_embedding.weight"];
  return { first: start + first, end: start + end, row: (end - first) / shape[0] };
})();
const SPLIT_BYTES = weightsOf(SPLIT).length;

/** A page of nothing, under the headers with which everything is served. */
async function openBlank() {
  const page = await context.newPage();
  const { "content-length": _, ...headers } = Object.fromEntries((await fetch(URL_OF_PAGE)).headers);
  await page.route("**/blank.html", (route) => route.fulfill({ headers, body: "<!doctype html>" }));
  page.complaints = [];
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  await page.goto(new URL("blank.html", URL_OF_PAGE).href);
  return page;
}

/** Loads a model of the hub and embeds a text with it. `abortAt`: bytes after which the page wants no more. */
function load(page, model, options = {}) {
  return page.evaluate(async ({ model, abortAt, ...options }) => {
    const { load } = await import("./polyglance.js");
    const controller = new AbortController();
    const stages = new Set();
    const onProgress = ({ stage, done }) => {
      stages.add(stage);
      globalThis.done = done;
      if (stage === "download" && done >= abortAt) controller.abort("enough");
    };
    try {
      globalThis.model = await load({ model, device: "cpu", signal: controller.signal, onProgress, ...options });
      const [embed] = await globalThis.model.embedTexts(["a cat"]);
      return { stages: [...stages], embed: [...embed] };
    } catch ({ kind, message }) {
      return { stages: [...stages], kind, message };
    }
  }, { model, ...options });
}

const close = (page) => page.evaluate(() => globalThis.model?.close());
const stored = (page) => page.evaluate(async () => (await import("./polyglance.js")).stored());
const find = async (page, name) => (await stored(page)).models.find((model) => model.name === name);
const remove = (page, model) =>
  page.evaluate(async (model) => (await import("./polyglance.js")).deleteStored(model).then(() => "gone", ({ kind, message }) => ({ kind, message })), model);

/** Requests for the weights' bytes, by their ranges. */
const ranges = (requests) => requests.filter(({ path }) => path.includes("signature=")).map(({ range }) => range);

/** Publishes a model under a name of its own. */
function publish(name, model = MODEL) {
  hub.faults = {};
  hub.taken();
  hub.publish(name, model);
  return name;
}

test("a model is downloaded once, opens offline after a reload, and gives its space back", async (t) => {
  const name = publish("owner/once");
  const page = await openBlank();
  const before = await stored(page);
  const first = await load(page, name);
  assert.ok(first.embed && first.stages.includes("download"), JSON.stringify(first));
  const requests = hub.taken();
  assert.deepEqual(ranges(requests), [undefined]);
  // One listing, and a request for each file; none before them to ask for permission, and nothing that tells who asks.
  assert.ok(requests.every(({ method, private: secret }) => method === "GET" && secret === undefined), JSON.stringify(requests));
  assert.deepEqual(requests.filter(({ path }) => path.startsWith("/api/")).map(({ path }) => path), ["/api/models/owner/once/revision/main?blobs=true"]);
  assert.ok(!requests.some(({ path }) => path.includes("README")));
  const memory = await engines(page).at(-1).evaluate(async () => {
    const { default: init } = await import(new URL("./polyglance_web_threads.js", self.location.href).href);
    return (await init()).memory.buffer.byteLength;
  });
  t.diagnostic(`${memory} bytes of WebAssembly memory for a file of ${WEIGHTS}`);

  await page.reload();
  const again = await load(page, name);
  assert.deepEqual(again.embed, first.embed);
  assert.ok(again.stages.includes("check") && !again.stages.includes("download"));
  assert.deepEqual(hub.taken(), []);
  const model = await find(page, name);
  assert.ok(model.complete && model.revision === "main" && model.bytes > WEIGHTS);

  const refused = await remove(page, name);
  assert.equal(refused.kind, "storage");
  assert.match(refused.message, /is open or being downloaded/);
  await close(page);
  assert.equal(await remove(page, name), "gone");
  const end = await stored(page);
  assert.ok(!end.models.some((model) => model.name === name));
  assert.ok(end.usage <= before.usage + MIB, `${end.usage} bytes in use after, ${before.usage} before`);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test("the module's memory never holds the model", async (t) => {
  const name = publish("owner/large", largeModel(192 * MIB));
  const page = await openBlank();
  const loaded = await load(page, name);
  assert.ok(loaded.embed, JSON.stringify(loaded));
  const memory = await engines(page).at(-1).evaluate(async () => {
    const { default: init } = await import(new URL("./polyglance_web_threads.js", self.location.href).href);
    return (await init()).memory.buffer.byteLength;
  });
  t.diagnostic(`${memory} bytes of WebAssembly memory`);
  assert.ok(memory < 64 * MIB, `${memory} bytes`);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("a connection that breaks is resumed where it broke", async () => {
  const name = publish("owner/broken");
  hub.faults = { breakAfter: 10 * MIB };
  const page = await openBlank();
  const loaded = await load(page, name);
  assert.ok(loaded.embed, JSON.stringify(loaded));
  const [first, second, ...more] = ranges(hub.taken());
  const start = Number(/^bytes=(\d+)-\d+$/.exec(second)?.[1]);
  assert.ok(first === undefined && start > MIB && start <= 11 * MIB && more.length === 0, `${[first, second, ...more]}`);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("a download is stopped, and resumed after a reload", async () => {
  const name = publish("owner/stopped");
  hub.faults = { pieceMillis: 30 };
  const page = await openBlank();
  const stopped = await load(page, name, { abortAt: 3 * MIB });
  assert.equal(stopped.kind, "cancelled", JSON.stringify(stopped));
  await page.reload();
  const { complete, bytes } = await find(page, name);
  assert.ok(!complete && bytes > 2 * MIB && bytes < WEIGHTS, `${bytes}`);
  hub.faults = {};
  hub.taken();
  assert.ok((await load(page, name)).embed);
  const requests = hub.taken();
  // The commit was pinned: nobody asks what the branch means now.
  assert.ok(!requests.some(({ path }) => path.startsWith("/api/")), JSON.stringify(requests));
  const [range, ...more] = ranges(requests);
  assert.ok(/^bytes=\d{7,}-\d+$/.test(range) && more.length === 0, `${[range, ...more]}`);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("parts that are not what was asked for are not put together", async () => {
  const name = publish("owner/liar");
  hub.faults = { breakAfter: 2 * MIB, lie: true };
  const page = await openBlank();
  assert.ok((await load(page, name)).embed);
  const [first, second, third, ...more] = ranges(hub.taken());
  assert.ok(first === undefined && second.startsWith("bytes=") && third === undefined && more.length === 0, `${[first, second, third, ...more]}`);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("what is not as published is an error, and nothing of it is kept", async () => {
  const name = publish("owner/corrupt");
  hub.faults = { corrupt: 0 };
  const page = await openBlank();
  const failed = await load(page, name);
  assert.equal(failed.kind, "damaged");
  assert.match(failed.message, /model\.safetensors: what arrived is not what the hub publishes; it was thrown away/);
  const { complete, bytes } = await find(page, name);
  assert.ok(!complete && bytes < MIB, `${bytes}`);
  hub.faults = {};
  assert.ok((await load(page, name)).embed);
  await close(page);
  await remove(page, name);
  await page.close();
});

/** Changes some bytes of a stored file. */
function rot(page, name, file, at) {
  return page.evaluate(async ([name, file, at]) => {
    const models = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
    const folder = await models.getDirectoryHandle(`${name.replace("/", "+")}@main`);
    const writable = await (await folder.getFileHandle(file)).createWritable({ keepExistingData: true });
    await writable.write({ type: "write", position: at, data: "rot" });
    await writable.close();
  }, [name, file, at]);
}

test("what rots is fetched again, alone", async () => {
  const name = publish("owner/rotten");
  const page = await openBlank();
  const { embed } = await load(page, name);
  await close(page);
  await rot(page, name, "model.safetensors", CHUNK + 5);
  hub.taken();
  const mended = await load(page, name);
  assert.deepEqual(mended.embed, embed, JSON.stringify(mended));
  assert.deepEqual(ranges(hub.taken()), [`bytes=${CHUNK}-${2 * CHUNK - 1}`]);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("the token table comes last, and rots and is mended like the rest", async () => {
  const name = publish("owner/split", SPLIT);
  const page = await openBlank();
  const { embed } = await load(page, name);
  const { start } = parse(weightsOf(SPLIT));
  const parts = [[0, TABLE.first], [TABLE.end, SPLIT_BYTES], [TABLE.first, TABLE.end]].map(([first, end]) => `bytes=${first}-${end - 1}`);
  assert.deepEqual(ranges(hub.taken()), ["bytes=0-7", `bytes=8-${start - 1}`, ...parts]);
  assert.ok((await find(page, name)).complete);
  await close(page);
  await rot(page, name, "model.safetensors.table", 3);
  hub.taken();
  const mended = await load(page, name);
  assert.deepEqual(mended.embed, embed, JSON.stringify(mended));
  assert.deepEqual(ranges(hub.taken()), [`bytes=0-${CHUNK - 1}`]);
  await close(page);
  await remove(page, name);

  hub.faults = { corrupt: TABLE.first };
  assert.match((await load(page, name)).message, /model\.safetensors: what arrived is not what the hub publishes; it was thrown away/);
  hub.faults = {};
  assert.deepEqual((await load(page, name)).embed, embed);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("where a network serves no parts of files, a model comes in one piece", async () => {
  const name = publish("owner/whole", SPLIT);
  hub.faults = { ignoreRanges: true };
  const page = await openBlank();
  const loaded = await load(page, name);
  assert.ok(loaded.embed, JSON.stringify(loaded));
  assert.equal(ranges(hub.taken()).at(-1), undefined);
  await close(page);
  await remove(page, name);
  assert.match((await load(page, name, { light: true })).message, /the hub sends another part than was asked for/);
  await page.close();
});

test("a light model fetches the rows that its words need, and becomes a whole one", async () => {
  const name = publish("owner/light", SPLIT);
  const page = await openBlank();
  const light = await load(page, name, { light: true });
  const first = ranges(hub.taken());
  assert.equal(await page.evaluate(() => globalThis.model.info.table), "remote");
  const isRow = (range) => {
    const [, start, last] = /^bytes=(\d+)-(\d+)$/.exec(range).map(Number);
    return start >= TABLE.first && last < TABLE.end && last - start === TABLE.row - 1;
  };
  assert.ok(first.some(isRow) && !first.includes(`bytes=${TABLE.first}-${TABLE.end - 1}`), `${first}`);
  // A known word costs nothing, a new one only what is new in it.
  const embedAgain = (text) => page.evaluate(async (text) => [...(await globalThis.model.embedTexts([text]))[0]], text);
  await embedAgain("A CAT");
  assert.deepEqual(hub.taken(), []);
  await embedAgain("a green dog");
  const more = ranges(hub.taken());
  assert.ok(more.length > 0 && more.every(isRow) && !more.some((range) => first.includes(range)), `${more}`);
  const { complete, light: isLight, bytes } = await find(page, name);
  assert.ok(!complete && isLight && bytes < SPLIT_BYTES, `${bytes}`);
  await close(page);

  await page.reload();
  hub.taken();
  const whole = await load(page, name);
  assert.deepEqual(ranges(hub.taken()), [`bytes=${TABLE.first}-${TABLE.end - 1}`]);
  assert.deepEqual(whole.embed, light.embed);
  assert.ok((await find(page, name)).complete);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("two tabs download once, and read together", async () => {
  const name = publish("owner/shared");
  hub.faults = { pieceMillis: 20 };
  const [one, two] = [await openBlank(), await openBlank()];
  const [first, second] = await Promise.all([load(one, name), load(two, name)]);
  assert.deepEqual(first.embed, second.embed, JSON.stringify([first, second]));
  assert.deepEqual([first, second].map(({ stages }) => stages.includes("wait")).sort(), [false, true]);
  assert.deepEqual(ranges(hub.taken()), [undefined]);
  await close(one);
  assert.equal((await remove(one, name)).kind, "storage");
  await close(two);
  assert.equal(await remove(one, name), "gone");
  await one.close();
  await two.close();
});

test("a full storage says what to do, and the download goes on when there is room", async () => {
  const name = publish("owner/quota");
  const page = await openBlank();
  const cdp = await context.newCDPSession(page);
  const origin = new URL(URL_OF_PAGE).origin;
  const { usage } = await stored(page);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: usage + 12 * MIB });
  const full = await load(page, name);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin });
  assert.equal(full.kind, "storage", JSON.stringify(full));
  assert.match(full.message, /no more room.*free space by deleting a model/);
  hub.taken();
  assert.ok((await load(page, name)).embed);
  const [range, ...more] = ranges(hub.taken());
  assert.ok(/^bytes=\d+-\d+$/.test(range) && more.length === 0, `${[range, ...more]}`);
  await close(page);
  await remove(page, name);
  await page.close();
});

test("where a browser tells how little room there is, nothing is begun", async () => {
  const name = publish("owner/room");
  const page = await openBlank();
  // Chromium names a limit that it does not have, for privacy; others tell theirs.
  // The worker has its module to compile before it asks.
  const tell = () => {
    StorageManager.prototype.estimate = async () => ({ usage: 1_000_000, quota: 5_000_000 });
  };
  page.on("worker", (worker) => worker.evaluate(tell).catch(() => {}));
  const refused = await load(page, name);
  assert.equal(refused.kind, "storage", JSON.stringify(refused));
  assert.match(refused.message, /22 MB are to be downloaded, and the browser gives this site 4 MB more; free space by deleting a model/);
  assert.deepEqual(ranges(hub.taken()), []);
  assert.equal(await find(page, name), undefined);
  await page.close();
});

test("what is no model of the hub is an error that says so", async () => {
  const page = await openBlank();
  const cases = [["owner/nothing", /the hub has no owner\/nothing/], ["nothing", /there is no model "nothing"/]];
  for (const [name, message] of cases) assert.match((await load(page, name)).message, message);
  const name = publish("owner/branches");
  assert.match((await load(page, name, { revision: "v2" })).message, /the hub has no owner\/branches@v2/);
  assert.ok((await load(page, name, { revision: "v1" })).embed);
  assert.deepEqual((await stored(page)).models.map(({ name, revision }) => `${name}@${revision}`), ["owner/branches@v1"]);
  await close(page);
  await page.evaluate(async () => (await import("./polyglance.js")).deleteStored("owner/branches", "v1"));
  await page.close();
});

/** The app in a tab of this profile, with its choice of models open. */
async function openPicker() {
  const app = await openApp({ url: new URL("index.html", URL_OF_PAGE).href, context });
  await app.click("button", /^Model: demo/);
  return app;
}

/** Opens a model of the hub by its name. */
async function openByName(app, name) {
  await app.type("Open from the hub, or a folder", name);
  await app.page.keyboard.press("Enter");
}

test("people open a model of the hub in the app, see what it takes, and delete it", async () => {
  const name = publish("owner/app");
  const app = await openPicker();
  await app.reads(/None yet/);
  await app.reads(/needs a large GPU/);
  await openByName(app, name);
  await app.click("button", "Model: app");
  await app.reads(/^Space in use by this site: \d+ MB \/ /);
  await app.until((widgets) => widgets.some(({ role, label, isDisabled }) => role === "button" && label === "Delete" && isDisabled), "it is in use");
  // The first of the buttons is the demo's.
  await app.click("button", "Open");
  await app.click("button", /^Model: demo/);
  await app.click("button", "Delete");
  await app.reads(/None yet/);
  await app.page.close();
});

test("pictures can be looked at while the token table is on its way, and words follow", async () => {
  const name = publish("owner/app-split", SPLIT);
  hub.faults = { hold: TABLE.first };
  const app = await openPicker();
  await openByName(app, name);
  await app.find("button", "Model: app-split");
  await app.reads(/the table of words is being downloaded/);
  await app.click("button", "Features");
  await app.choose(samplePath("castle"));
  await app.find("img", /^castle\.jpg · \d+ × \d+ patches$/);
  await app.screenshot("table-coming");
  await app.click("button", "Classify");
  await app.reads(/still being downloaded; until it is here/);
  // Somebody may want the network for something else.
  await app.click("button", "Cancel");
  await app.find("button", "Go on");
  delete hub.faults.hold;
  await app.click("button", "Go on");
  await app.scores();
  await app.reads(/Nothing leaves this computer/);
  assert.ok((await find(app.page, name)).complete);
  await app.page.close();
});

test("a download that was interrupted is not taken for a light model", async () => {
  const name = publish("owner/app-interrupted", SPLIT);
  hub.faults = { hold: TABLE.first };
  const first = await openPicker();
  await openByName(first, name);
  await first.reads(/the table of words is being downloaded/);
  await first.click("button", "Cancel");
  await first.find("button", "Go on");
  await first.page.close();
  delete hub.faults.hold;
  hub.taken();
  const app = await openPicker();
  await app.reads(/^incomplete: opening it resumes$/);
  await app.click("button", name);
  await app.find("button", "Model: app-interrupted");
  await app.reads(/Nothing leaves this computer/);
  assert.deepEqual(ranges(hub.taken()), [`bytes=${TABLE.first}-${TABLE.end - 1}`]);
  assert.ok((await find(app.page, name)).complete);
  await app.page.close();
});

test("the light mode says what it tells the hub, and what it saves", async () => {
  const name = publish("owner/app-light", SPLIT);
  const app = await openPicker();
  await app.reads(/^download 1\.5 GB$/);
  await app.click("checkbox", /^Light:/);
  await app.reads(/the hub could infer the words/);
  await app.reads(/^download 715 MB$/);
  await app.screenshot("light-mode");
  await openByName(app, name);
  await app.click("button", "Model: app-light");
  await app.reads(/^light: without the table of words$/);
  await app.reads(/words are looked up at the hub/);
  await app.page.keyboard.press("Escape");
  await app.click("button", "Classify");
  await app.choose(samplePath("castle"));
  await app.scores();
  assert.ok(!ranges(hub.taken()).includes(`bytes=${TABLE.first}-${TABLE.end - 1}`));
  await app.page.close();
});
