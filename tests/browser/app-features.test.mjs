// Views of patches on the app's page: `cargo xtask test browser`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openApp, samplePath } from "./app.mjs";

const VIEWS = { "Principal components": "pca", Similarity: "similar", Phrase: "heatmap", Segmentation: "segment", Groups: "kmeans", Attention: "attention" };

/** The Features workspace with a picture of 229 × 124 pixels in it. */
async function openFeatures() {
  const app = await openApp({ viewport: { width: 1280, height: 1000 } });
  await app.click("button", "Features");
  await app.choose(samplePath("castle"));
  await app.find("img", /^castle\.jpg · \d+ × \d+ patches$/);
  return app;
}

/** What the picture's part of the page looks like. */
async function pixels(app) {
  const { left, top, width, height } = await app.find("img", /^castle\.jpg · /);
  return app.page.screenshot({ clip: { x: left, y: top, width, height } });
}

/** Waits until the picture looks different from before. */
async function changed(app, before) {
  while ((await pixels(app)).equals(before)) await app.frame();
}

/** Width and height of a PNG. */
function sizeOfPng(bytes) {
  assert.equal(bytes.subarray(0, 8).toString("latin1"), "\x89PNG\r\n\x1a\n");
  assert.equal(bytes.subarray(12, 16).toString(), "IHDR");
  return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
}

test("every view is shown and saved as a picture", async () => {
  const app = await openFeatures();
  const files = new Set();
  for (const [view, name] of Object.entries(VIEWS)) {
    const before = await pixels(app);
    await app.click("radio", view);
    if (view !== "Principal components") await changed(app, before);
    const png = await app.download("Save PNG");
    assert.equal(png.name, `castle-${name}.png`);
    assert.deepEqual(sizeOfPng(png.bytes), [229, 124]);
    files.add(png.bytes.toString("base64"));
    // Its notice at the foot makes the picture smaller.
    await app.click("button", "Close");
    await app.findNone("button", "Close");
  }
  assert.equal(files.size, 6, "no two views are alike");
  await app.close();
});

test("features are saved as NumPy reads them", async () => {
  const app = await openFeatures();
  const { name, bytes } = await app.download("Save features (.npy)");
  assert.equal(name, "castle.npy");
  assert.equal(bytes.subarray(0, 8).toString("latin1"), "\x93NUMPY\x01\x00");
  const length = bytes.readUInt16LE(8);
  const header = bytes.subarray(10, 10 + length).toString();
  const [rows, cols, channels] = header.match(/'descr': '<f4', 'fortran_order': False, 'shape': \((\d+), (\d+), (\d+)\)/).slice(1).map(Number);
  const { label } = (await app.widgets()).find(({ role }) => role === "img");
  assert.equal(label, `castle.jpg · ${rows} × ${cols} patches`);
  assert.equal(bytes.length, 10 + length + 4 * rows * cols * channels);
  const values = Array.from({ length: rows * cols * channels }, (_, i) => bytes.readFloatLE(10 + length + 4 * i));
  assert.ok(values.every(Number.isFinite) && values.some((value) => value !== 0));
  await app.close();
});

test("similarity follows the pointer, and a click keeps its patch", async () => {
  const app = await openFeatures();
  await app.click("radio", "Similarity");
  const { left, top, width, height } = await app.find("img", /^castle\.jpg · /);
  const at = (x, y) => [left + x * width, top + y * height];
  const ranges = new Set();
  // The range of a patch's similarities tells which one it is.
  const range = async () => {
    const { label } = await app.until((widgets) => widgets.find(({ role, label }) => role === "note" && / … /.test(label) && !ranges.has(label)), "another range");
    ranges.add(label);
    return label;
  };
  await range();
  await app.page.mouse.move(...at(0.05, 0.05));
  const corner = await range();
  await app.page.mouse.move(...at(0.5, 0.95));
  await range();
  ranges.delete(corner);
  await app.page.mouse.move(...at(0.05, 0.05));
  assert.equal(await range(), corner);
  await app.page.mouse.click(...at(0.3, 0.6));
  const kept = await range();
  ranges.delete(corner);
  await app.page.mouse.move(...at(0.05, 0.05));
  await range();
  ranges.delete(kept);
  await app.page.mouse.move(left + width / 2, top + height + 200);
  assert.equal(await range(), kept);
  await app.close();
});
