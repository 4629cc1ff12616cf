// What the browser tests share: a Chromium, pages to load Polyglance in, and what transformers computed.
//
// POLYGLANCE_URL is where dist/ is served, CHROME the browser to drive.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import http from "node:http";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const FIXTURES = new URL("../oracle/fixtures/", import.meta.url);
export const MANIFEST = JSON.parse(readFileSync(new URL("models/manifest.json", FIXTURES)));
export const SAMPLES = new URL("../../assets/demo/samples/", import.meta.url);
export const URL_OF_PAGE = process.env.POLYGLANCE_URL;

/** WebGPU on the CPU and a camera of the browser's own, so that the tests need neither; no service that talks to the network. */
export const FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--use-fake-device-for-media-stream",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
];

/** What the browser wants from anywhere but this computer goes to this proxy, which gives nothing and remembers. */
const escaped = [];
/** Chromium's own: its clock, its updates, what it knows of forms. A page with our policy cannot ask there. */
const OF_CHROMIUM = /^(http:\/\/)?[-.\w]+\.(google|googleapis|gvt1)\.com[:/]/;
const note = (url) => OF_CHROMIUM.test(url) || escaped.push(url);
const proxy = http.createServer((request, response) => {
  note(request.url);
  response.writeHead(502).end();
});
proxy.on("connect", (request, socket) => {
  note(request.url);
  socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
});

let browser;
before(async () => {
  await new Promise((listening) => proxy.listen(0, "127.0.0.1", listening));
  const args = [...FLAGS, `--proxy-server=http://127.0.0.1:${proxy.address().port}`];
  browser = await chromium.launch({ executablePath: process.env.CHROME, args });
});
after(async () => {
  await browser?.close();
  proxy.close();
  assert.deepEqual(escaped, [], "nothing is asked of any other computer");
});

/** A profile of its own: storage, permissions, language, theme. */
export const newContext = (options) => browser.newContext(options);

/** Opens a page; `complaints` collects console errors and what the CSP blocked, `requests` what was fetched. */
export async function open(address = "", prepare = () => {}) {
  const page = await browser.newPage();
  const [complaints, requests] = [[], []];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  // The engine starts its threads from blobs, which no server sees.
  page.on("request", (request) => request.url().startsWith("blob:") || requests.push(request.url()));
  await prepare(page);
  await page.goto(new URL(address, URL_OF_PAGE).href);
  return { page, complaints, requests };
}

/** A page of nothing but file inputs, under the headers with which everything is served. */
export function openBlank(prepare = () => {}) {
  return open("blank.html", async (page) => {
    const { "content-length": _, ...headers } = Object.fromEntries((await fetch(URL_OF_PAGE)).headers);
    const body = '<!doctype html><input id="files" type="file" multiple><input id="image" type="file" multiple>';
    await page.route("**/blank.html", (route) => route.fulfill({ headers, body }));
    await prepare(page);
  });
}

export const imagePath = (index) => fileURLToPath(new URL(MANIFEST.images[index], new URL("models/", FIXTURES)));

/** The files of a fixture model, as `setInputFiles` takes them. */
export function modelFiles(model) {
  const folder = new URL(`models/${model}/`, FIXTURES);
  const names = readdirSync(folder).filter((name) => /^(config|tokenizer|preprocessor_config)\.json$|^model.*\.(safetensors|json)$/.test(name));
  return names.map((name) => ({ name, mimeType: "application/octet-stream", buffer: readFileSync(new URL(name, folder)) }));
}

/** Loads a fixture model, or the files given, as `model` of the page; says what it runs on, or how it failed. */
export async function load(page, files, options) {
  await page.setInputFiles("#files", typeof files === "string" ? modelFiles(files) : files);
  return page.evaluate(async (options) => {
    const { load } = await import("./polyglance.js");
    try {
      globalThis.model = await load({ ...options, files: document.getElementById("files").files });
      return globalThis.model.info;
    } catch ({ kind, message }) {
      return { kind, message };
    }
  }, options);
}

/** Where the expected row of an image of a fixture model is. */
export function caseOf(model, image, budget) {
  const { cases } = MANIFEST.models.find(({ name }) => name === model);
  return cases.findIndex((other) => other.image === image && (other.budget === null || other.budget === budget));
}

/** What transformers computed: the result gives the values of a tensor, or of one of its rows. */
export function expected(model) {
  const file = readFileSync(new URL(`models/${model}/expected.safetensors`, FIXTURES));
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start));
  return (name, row) => {
    const { dtype, shape, data_offsets: [begin, end] } = header[name];
    assert.equal(dtype, "F32");
    const values = Array.from({ length: (end - begin) / 4 }, (_, i) => file.readFloatLE(start + begin + 4 * i));
    const width = values.length / shape[0];
    return row === undefined ? values : values.slice(row * width, (row + 1) * width);
  };
}

/** ‖a − b‖ / ‖b‖ */
export function relativeError(a, b) {
  assert.equal(a.length, b.length);
  return Math.hypot(...a.map((value, i) => value - b[i])) / Math.hypot(...b);
}

/** Workers with an engine in them, without those that compute for it. */
export const engines = (page) => page.workers().filter((worker) => worker.url().endsWith("/worker.js"));

/** Waits until there are that many: a worker that has threads takes seconds to go. */
export async function untilEngines(page, count) {
  const end = Date.now() + 60_000;
  while (engines(page).length !== count) {
    assert.ok(Date.now() < end, `${engines(page).length} engines, not ${count}`);
    await page.waitForTimeout(100);
  }
}

/** The end of a worker as the browser brings it about: without a word. */
export async function endWorker(page) {
  await engines(page).at(-1).evaluate(() => self.close()).catch(() => {});
}

/** A panic in the engine of a debug build: in its own thread, or with `crashThread` in one that it waits for. */
export async function crashWorker(page, message, crash = "crash") {
  const call = async ([crash, message]) => {
    const engine = await import(new URL("./polyglance_web_threads.js", self.location.href).href);
    setTimeout(() => engine[crash](message));
  };
  await engines(page).at(-1).evaluate(call, [crash, message]);
}
