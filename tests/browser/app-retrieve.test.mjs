// The Retrieve workspace of the app's page: `cargo xtask test browser`.

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { after, test } from "node:test";
import { chromium } from "playwright-core";
import { openApp } from "./app.mjs";
import { FLAGS, SAMPLES, URL_OF_PAGE, engines } from "./support.mjs";

const temporary = mkdtempSync(path.join(tmpdir(), "polyglance-"));
after(() => rmSync(temporary, { recursive: true }));

const SAMPLE_NAMES = readdirSync(fileURLToPath(SAMPLES)).filter((name) => name.endsWith(".jpg"));

/** A folder of the samples, each so often, with what else folders hold. */
function pictures(name, copies = 1) {
  const folder = path.join(temporary, name);
  for (let copy = 0; copy < copies; copy += 1) {
    mkdirSync(path.join(folder, `${copy}`), { recursive: true });
    for (const sample of SAMPLE_NAMES) cpSync(fileURLToPath(new URL(sample, SAMPLES)), path.join(folder, `${copy}`, sample));
  }
  writeFileSync(path.join(folder, "torn.jpg"), "no JPEG");
  writeFileSync(path.join(folder, "notes.txt"), "no picture");
  return folder;
}

/** Opens the workspace, in which nobody has indexed anything yet. */
async function openRetrieve(options) {
  const app = await openApp(options);
  await app.click("button", "Retrieve");
  return app;
}

/** Chooses a folder, without waiting for what comes of it. */
async function choose(app, folder) {
  const [chooser] = await Promise.all([app.page.waitForEvent("filechooser"), app.click("button", "Choose a folder…")]);
  await chooser.setFiles(folder);
}

/** Chooses a folder, and waits until it is indexed. */
async function index(app, folder) {
  await choose(app, folder);
  return app.reads(/ added or changed, /);
}

/** The pictures that are shown, the best first, with their scores. */
const results = (widgets) =>
  widgets.map(({ role, label }) => role === "button" && label?.match(/^(\S+\.jpg) · (-?[\d.]+)$/)).filter(Boolean).map(([, name, score]) => `${name} ${score}`);

/** Looks for something; the results, once they rest: those of a query that is half typed come first. */
async function search(app, query) {
  await app.type("Find", query);
  let [last, since] = ["", 0];
  return app.until((widgets) => {
    const found = results(widgets);
    if (found.join() !== last) [last, since] = [found.join(), Date.now()];
    return found.length > 0 && Date.now() - since > 1_000 && found;
  }, `results for ${query}`);
}

test("a folder is indexed once, and searched after a reload, and offline", async () => {
  const app = await openRetrieve();
  await app.screenshot("retrieve-welcome");
  await index(app, pictures("holiday"));
  await app.reads(/^12 added or changed, 0 gone$/);
  await app.find("button", /^Files that cannot be read: 1…$/);
  const octopus = await search(app, "octopus");
  assert.match(octopus[0], /^0\/octopus\.jpg /);
  const pizza = await search(app, "ピザ");
  assert.match(pizza[0], /^0\/pizza\.jpg /);
  await app.screenshot("retrieve");
  const again = async (what) => {
    await app.page.reload();
    await app.scores();
    await app.click("button", "Retrieve");
    assert.deepEqual(await search(app, "octopus"), octopus, what);
  };
  await again("after a reload");
  // The page was not given the folder again: what it cannot show it says.
  await app.click("button", /^0\/octopus\.jpg/);
  await app.reads(/choose the folder again/);
  await app.click("button", "Back");
  await app.page.context().setOffline(true);
  await again("offline");
  await app.page.context().setOffline(false);
  // Chosen again, nothing has to be computed again, and pictures can be looked at.
  await index(app, path.join(temporary, "holiday"));
  await app.reads(/^0 added or changed, 0 gone$/);
  await app.click("button", /^0\/octopus\.jpg/);
  await app.find("img", "0/octopus.jpg");
  await app.close();
});

test("what has changed in a folder is noticed, and a forgotten index gives its space back", async () => {
  const app = await openRetrieve();
  const folder = pictures("changing", 2);
  await index(app, folder);
  await app.reads(/^24 added or changed, 0 gone$/);
  rmSync(path.join(folder, "1"), { recursive: true });
  cpSync(path.join(folder, "0", "key.jpg"), path.join(folder, "key again.jpg"));
  await index(app, folder);
  await app.reads(/^1 added or changed, 12 gone$/);
  assert.deepEqual((await search(app, "./0/key.jpg")).slice(0, 1), ["0/key.jpg 1.000"]);
  const size = () => app.page.evaluate(async () => (await navigator.storage.estimate()).usageDetails?.fileSystem ?? 0);
  assert.ok((await size()) > 10_000);
  await app.click("button", "Forget");
  await app.click("button", "Really forget it");
  await app.reads(/^Search your pictures$/);
  assert.ok((await size()) < 10_000);
  await app.close();
});

test("a worker that dies while a folder is indexed costs nothing that was done", async () => {
  const app = await openRetrieve();
  await choose(app, pictures("killed", 12));
  await app.reads(/ · [2-9]\d \/ 145 /);
  await engines(app.page).at(-1).evaluate(() => self.close());
  const added = await app.until(
    (widgets) => widgets.map(({ label, value }) => [label, value].join().match(/(\d+) added or changed, 0 gone/)).find(Boolean)?.[1],
    "the report",
  );
  assert.ok(Number(added) <= 124, `${added} pictures were done after the 20 that the first worker had done`);
  await app.reads(/ of 144 pictures/);
  const found = await search(app, "octopus");
  assert.equal(new Set(found).size, found.length, "none is there twice");
  assert.equal(found.filter((line) => line.includes("octopus.jpg")).length, 12);
  await app.page.context().close();
});

test("two tabs search one index; one writes it, and the other says so", async () => {
  const app = await openRetrieve();
  const folder = pictures("shared", 3);
  await index(app, folder);
  const found = await search(app, "octopus");
  const other = await openRetrieve({ context: app.page.context() });
  assert.deepEqual(await search(other, "octopus"), found);
  // As a tab does that writes the index for long.
  await app.page.evaluate(async () => {
    const name = await new Promise((resolve) => {
      const request = indexedDB.open("polyglance indexes");
      request.onsuccess = () => (request.result.transaction("records").objectStore("records").getAllKeys().onsuccess = ({ target }) => resolve(target.result[0][0]));
    });
    await new Promise((held) => navigator.locks.request(`polyglance index ${name}`, () => (held(), new Promise((release) => (globalThis.release = release)))));
  });
  await choose(other, folder);
  await other.reads(/another tab is writing it/);
  await app.page.evaluate(() => release());
  rmSync(path.join(folder, "2"), { recursive: true });
  await index(other, folder);
  await other.reads(/^0 added or changed, 12 gone$/);
  // What one tab has written, the other finds, the index made anew included.
  await app.page.bringToFront();
  const fewer = await search(app, "cactus");
  assert.deepEqual(fewer.length, 24);
  await app.click("button", "Forget");
  await app.click("button", "Really forget it");
  await app.reads(/^Search your pictures$/);
  await index(app, pictures("again/shared", 1));
  const anew = await search(app, "octopus");
  await other.page.bringToFront();
  assert.deepEqual(await search(other, "octopus"), anew);
  await app.close();
});

test("an index that is stopped can be written by another tab, and a folder of the same name is not taken for it", async () => {
  const app = await openRetrieve();
  await choose(app, pictures("stopped", 100));
  await app.reads(/ · [1-9]\d* \/ 1201 /);
  await app.click("button", "Cancel");
  const other = await openRetrieve({ context: app.page.context() });
  await index(other, path.join(temporary, "stopped"));
  await other.reads(/ of 1200 pictures/);
  mkdirSync(path.join(temporary, "elsewhere/stopped"), { recursive: true });
  cpSync(fileURLToPath(new URL("key.jpg", SAMPLES)), path.join(temporary, "elsewhere/stopped/my key.jpg"));
  await choose(other, path.join(temporary, "elsewhere/stopped"));
  await other.reads(/is it another one of that name/);
  await other.reads(/ of 1200 pictures/);
  await app.close();
});

test("storage that is full is said, and indexing goes on when there is room", async (t) => {
  // A profile on the disk: one in memory has no quota.
  const options = { executablePath: process.env.CHROME, args: FLAGS, viewport: { width: 1280, height: 800 }, locale: "en-US" };
  const context = await chromium.launchPersistentContext(path.join(temporary, "profile"), options);
  t.after(() => context.close());
  const app = await openRetrieve({ context });
  const session = await app.page.context().newCDPSession(app.page);
  const quota = (quotaSize) => session.send("Storage.overrideQuotaForOrigin", { origin: new URL(URL_OF_PAGE).origin, quotaSize });
  const { usage } = await app.page.evaluate(() => navigator.storage.estimate());
  await quota(usage + 1_000_000);
  const folder = pictures("full", 100);
  await choose(app, folder);
  await app.reads(/no more room for this site's files/);
  await app.screenshot("retrieve-full");
  await quota();
  await index(app, folder);
  await app.reads(/ of 1200 pictures/);
  const found = await search(app, "octopus");
  assert.equal(new Set(found).size, found.length, "none is there twice");
  assert.ok(found.slice(0, 50).every((line) => line.includes("octopus.jpg")));
});
