// The app's engine under strain: killed, without WebGPU, for long; and its numbers beside those of other ways to run it. `cargo xtask test browser`.
//
// POLYGLANCE_CLI is the native program, POLYGLANCE_FULL asks for the long soak.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { best, openApp, samplePath } from "./app.mjs";
import { engines, openBlank } from "./support.mjs";

test("an engine that is killed at work costs no answer, 20 times in a row", async (t) => {
  const app = await openApp();
  const seen = new Set([engines(app.page)[0]]);
  for (let round = 0; round < 20; round += 1) {
    const worker = engines(app.page).at(-1);
    // It ends at the first breath that it takes this long after the question has come: at once, or in the middle of the work.
    await worker.evaluate((delay) => self.addEventListener("message", () => setTimeout(() => self.close(), delay), { once: true }), 8 * round);
    await app.click("button", "Surprise me");
    const { words } = await app.scene();
    const scores = await app.scores((scores) => scores.map(({ label }) => label).join() === words.join());
    assert.ok(Math.abs(scores.reduce((sum, { share }) => sum + share, 0) - 100) < 0.5);
    // It may have answered before it died: the next one is there in any case.
    await app.until(() => engines(app.page).length === 1 && engines(app.page)[0] !== worker, "another worker");
    seen.add(engines(app.page)[0]);
  }
  t.diagnostic(`${seen.size} workers answered`);
  assert.equal(seen.size, 21);
  await app.close();
});

/** What the foot of the page says of the device. */
const deviceLine = (app) => app.until((widgets) => widgets.filter(({ role, label }) => role === "note" && /^(CPU|GPU)|WebGPU|GPU/.test(label)).map(({ label }) => label).join(" | "), "a device");

for (const [name, script] of Object.entries({
  "without WebGPU": "Object.defineProperty(WorkerNavigator.prototype, 'gpu', { value: undefined });",
  "without any adapter": "GPU.prototype.requestAdapter = async () => null;",
})) {
  test(`${name} the page works and says what it runs on`, async (t) => {
    // Of the page, only its worker uses WebGPU.
    const inject = async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `${script}\n${await response.text()}` });
    };
    const prepare = (page) => page.route("**/worker.js", inject);
    const app = await openApp({ prepare, viewport: { width: 1280, height: 1000 } });
    assert.equal(await engines(app.page)[0].evaluate(async () => (await navigator.gpu?.requestAdapter()) ?? null), null);
    const line = await deviceLine(app);
    t.diagnostic(line);
    assert.match(line, /^CPU /);
    await app.click("button", "Classify");
    await app.choose(samplePath("pizza"));
    await app.scores((scores) => scores.length > 0 && best(scores) === "pizza");
    await app.close();
  });
}

test("with WebGPU on a CPU only, the page takes its own CPU code and says so", async (t) => {
  const app = await openApp();
  const line = await deviceLine(app);
  t.diagnostic(line);
  assert.match(line, /^CPU /);
  await app.close();
});

const LABELS = ["castle", "ピザ", "велосипед", "a cat", "قلعة"];

/** Logits by the JavaScript API. */
async function inBrowser(device) {
  const { page } = await openBlank();
  await page.setInputFiles("#image", samplePath("castle"));
  const answer = await page.evaluate(async ([device, labels]) => {
    const { load } = await import("./polyglance.js");
    const model = await load({ device });
    const scores = await model.classify(document.getElementById("image").files[0], labels);
    return { device: model.info.device, logits: scores.map(({ logit }) => logit) };
  }, [device, LABELS]);
  await page.close();
  return answer;
}

/** Logits by the native program; an error that says why if it has no such device. */
function native(device) {
  const options = ["--model", "demo", "--device", device, "--json", "--labels", LABELS.join()];
  const output = execFileSync(process.env.POLYGLANCE_CLI, ["classify", samplePath("castle"), ...options], { encoding: "utf8", stdio: "pipe" });
  return { device: `native ${device}`, logits: JSON.parse(output)[0].labels.map(({ logit }) => logit) };
}

test("browser and native program, CPU and GPU, give the same logits", async (t) => {
  const answers = [await inBrowser("cpu"), await inBrowser("gpu")];
  for (const device of ["cpu", "gpu"]) {
    if (!process.env.POLYGLANCE_CLI) {
      t.diagnostic(`SKIPPED native ${device}: POLYGLANCE_CLI does not name the native program`);
      continue;
    }
    try {
      answers.push(native(device));
    } catch ({ stderr, message }) {
      // Only a GPU may be missing.
      assert.ok(device === "gpu" && /no (GPU|adapter|Vulkan)/i.test(stderr ?? ""), stderr ?? message);
      t.diagnostic(`SKIPPED native gpu: ${stderr.trim()}`);
    }
  }
  assert.match(answers[0].device, /^CPU/);
  assert.match(answers[1].device, /^GPU/);
  for (const { device, logits } of answers) t.diagnostic(`${device}: ${logits.map((logit) => logit.toFixed(5)).join(" ")}`);
  // As in tests/engine.rs: the scale times an error of 1e-6 in a cosine, with a margin.
  for (const { device, logits } of answers) {
    const worst = Math.max(...logits.map((logit, i) => Math.abs(logit - answers[0].logits[i])));
    assert.ok(worst < 1e-3, `${device} differs from ${answers[0].device} by ${worst}`);
  }
});

test("memory stays flat over many pictures", async (t) => {
  const count = process.env.POLYGLANCE_FULL ? 5000 : 200;
  const batch = 20;
  const app = await openApp({ viewport: { width: 800, height: 500 } });
  await app.click("button", "Classify");
  const names = ["pizza", "rocket", "castle", "key", "bicycle"];
  const figures = async () => ({ heap: await app.heap(), engine: await app.memory("engine"), page: await app.memory("page") });
  const show = ({ heap, engine, page }) => `JavaScript ${mib(heap)}, engine ${mib(engine)}, page ${mib(page)}`;
  let middle;
  for (let done = 0; done < count; done += batch) {
    const files = Array.from({ length: batch }, (_, i) => names[(done / batch + i) % names.length]);
    await app.choose(files.map(samplePath));
    await app.until((widgets) => thumbnails(widgets) === batch, "all of a batch");
    await app.scores((scores) => scores.length > 0 && best(scores) === files.at(-1));
    // The first one goes, and the next one takes its place.
    const { left, center } = await app.find("radio", /\.jpg$/);
    while (thumbnails(await app.widgets()) > 0) {
      await app.page.mouse.click(left + 10, center[1]);
      await app.frame();
      await app.page.keyboard.press("Delete");
      await app.frame();
    }
    if (done + batch === 100) middle = await figures();
  }
  const end = await figures();
  t.diagnostic(`after 100 pictures: ${show(middle)}`);
  t.diagnostic(`after ${count} pictures: ${show(end)}`);
  // WebAssembly memory grows by steps of its allocator, and never shrinks: a leak of a picture each would be 100 × 0.3 MiB and more.
  assert.ok(end.engine <= middle.engine + (4 << 20) && end.page <= middle.page + (4 << 20));
  assert.ok(end.heap <= middle.heap + (2 << 20));
  await app.close();
});

const thumbnails = (widgets) => widgets.filter(({ role }) => role === "radio").length;

const mib = (bytes) => `${(bytes / (1 << 20)).toFixed(1)} MiB`;
