// The built page in a headless Chromium: `cargo xtask test wasm browser`.
//
// POLYGLANCE_URL is where the page is served, CHROME the browser to drive.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const FIXTURES = new URL("../oracle/fixtures/", import.meta.url);
const MANIFEST = JSON.parse(readFileSync(new URL("models/manifest.json", FIXTURES)));
/** Of the manifest: a small photo-like image, and texts in three scripts. */
const IMAGE = 3;
const TEXTS = [1, 6, 9];
/** Patches of a NaFlex image when nothing else is asked for, as in transformers. */
const DEFAULT_BUDGET = 256;

/** WebGPU on the CPU, so that the tests need no GPU; no service that talks to the network. */
const FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
];

let browser;
before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROME, args: FLAGS });
});
after(() => browser?.close());

/** Manifest paths are relative to the manifest. */
const fixturePath = (relative) => fileURLToPath(new URL(relative, new URL("models/", FIXTURES)));

/** Reads an F32 safetensors file; the result gives row `index` of a tensor. */
function readSafetensors(url) {
  const file = readFileSync(url);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start));
  return (name, index) => {
    const { dtype, shape, data_offsets: [begin] } = header[name];
    assert.equal(dtype, "F32");
    return Array.from({ length: shape[1] }, (_, column) => file.readFloatLE(start + begin + 4 * (index * shape[1] + column)));
  };
}

/** Opens the page and waits for its worker; `complaints` collects console errors and what the CSP blocked. */
async function open() {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(process.env.POLYGLANCE_URL);
  await page.waitForFunction(() => document.getElementById("status").textContent !== "Starting…");
  return { page, complaints };
}

test("the page starts its worker under its content security policy", async () => {
  const { page, complaints } = await open();
  assert.match(await page.textContent("#status"), /^Polyglance \d+\.\d+\.\d+ is ready\.$/);
  assert.deepEqual(complaints, []);
  await page.close();
});

/** Fills the form as a person would, submits it and waits for the outcome. */
async function submit(page, { model, image, texts = [], device }) {
  const folder = new URL(`models/${model}/`, FIXTURES);
  const files = readdirSync(folder).filter((name) => /^(config|tokenizer)\.json$|^model.*\.(safetensors|json)$/.test(name));
  await page.setInputFiles("#checkpoint", files.map((name) => fileURLToPath(new URL(name, folder))));
  await page.setInputFiles("#image", image);
  await page.fill("#texts", texts.join("\n"));
  await page.selectOption("#device", device);
  await page.click("#run");
  await page.waitForFunction(() => ["done", "error"].includes(document.getElementById("status").dataset.state), null, { timeout: 240_000 });
  return { state: await page.getAttribute("#status", "data-state"), status: await page.textContent("#status"), result: await page.textContent("#result") };
}

/** ‖a − b‖ / ‖b‖ */
function relativeError(a, b) {
  assert.equal(a.length, b.length);
  return Math.hypot(...a.map((value, i) => value - b[i])) / Math.hypot(...b);
}

// The bars are those of the native tests: the CPU backend computes in f32 throughout, a GPU may keep weights in f16 only when asked to.
for (const [device, named, bar] of [["cpu", /^Done on CPU/, 1e-5], ["gpu", /^Done on GPU/, 1e-5]]) {
  for (const model of ["naflex", "fixed14", "outlier"]) {
    test(`${model} embeds an image and texts on ${device} as natively`, async (t) => {
      const { page, complaints } = await open();
      const { cases } = MANIFEST.models.find(({ name }) => name === model);
      const row = cases.findIndex(({ image, budget }) => image === IMAGE && (budget === null || budget === DEFAULT_BUDGET));
      const outcome = await submit(page, { model, image: fixturePath(MANIFEST.images[IMAGE]), texts: TEXTS.map((i) => MANIFEST.texts[i]), device });
      assert.equal(outcome.state, "done", outcome.status);
      assert.match(outcome.status, named);
      const expected = readSafetensors(new URL(`models/${model}/expected.safetensors`, FIXTURES));
      const { image, texts } = JSON.parse(outcome.result);
      const errors = [relativeError(image, expected("image_embeds", row)), ...TEXTS.map((text, i) => relativeError(texts[i], expected("text_embeds", text)))];
      t.diagnostic(`${outcome.status} Relative errors: ${errors.map((error) => error.toExponential(1)).join(", ")}`);
      assert.ok(errors.every((error) => error <= bar), `${errors} must not exceed ${bar}`);
      assert.deepEqual(complaints, []);
      await page.close();
    });
  }
}

test("a file that is no image is an error, and the page goes on", async () => {
  const { page } = await open();
  const broken = { name: "broken.png", mimeType: "image/png", buffer: Buffer.from("\x89PNG\r\n\x1a\nand nothing more", "latin1") };
  const first = await submit(page, { model: "fixed14", image: broken, device: "cpu" });
  assert.equal(first.state, "error");
  assert.match(first.status, /image|PNG/i);
  const second = await submit(page, { model: "fixed14", image: fixturePath(MANIFEST.images[IMAGE]), device: "cpu" });
  assert.equal(second.state, "done", second.status);
  await page.close();
});
