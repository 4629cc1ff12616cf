// An app's end of the worker, in Rust, in a headless Chromium: `cargo xtask test browser`. The page that is tested has a probe for it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MANIFEST, caseOf, crashWorker, endWorker, expected, imagePath, modelFiles, openBlank } from "./support.mjs";

const IMAGE = 3;
/** Methods of the probe, with their arguments. */
const CLASSIFY = ["classify", 64, MANIFEST.texts];
const OPEN = ["open", "chosen"];
const MANY = ["embedTexts", Array.from({ length: 400 }, (_, i) => `a photo of ${i} cats`)];

/** A page whose `ask(method, ...args)` promises the answer to a job. */
async function openProbe() {
  const { page } = await openBlank();
  await page.setInputFiles("#files", modelFiles("naflex"));
  await page.setInputFiles("#image", imagePath(IMAGE));
  await page.evaluate(async () => {
    const { default: init, Probe } = await import("./polyglance_page.js");
    await init();
    const waiting = new Map();
    const receive = () => {
      for (const { id, kind, body } of probe.receive()) {
        if (kind === "progress") globalThis.onProgress?.(body);
        else {
          waiting.get(id)?.({ kind, body });
          waiting.delete(id);
        }
      }
    };
    const probe = new Probe(() => queueMicrotask(receive));
    globalThis.ask = (method, ...args) => new Promise((resolve) => waiting.set(probe[method](...args), resolve));
    probe.files("chosen", [...document.getElementById("files").files]);
  });
  return page;
}

const ask = (page, job) => page.evaluate((job) => ask(...job), job);

const addImage = (page) =>
  page.evaluate(async () => {
    const bulk = new Uint8Array(await document.getElementById("image").files[0].arrayBuffer());
    return ask("addImage", bulk);
  });

/** Kills this many workers, one after another, in the middle of embedding. */
async function embedUnderFire(page, kill, kills) {
  await page.exposeFunction("kill", () => kill(page));
  return page.evaluate(([job, kills]) => {
    let isFresh = true;
    globalThis.onProgress = ({ stage, done }) => {
      // A new worker begins anew.
      if (stage !== "texts" || done === 0) isFresh = true;
      else if (done > 0 && isFresh && kills > 0) {
        isFresh = false;
        kills -= 1;
        globalThis.kill();
      }
    };
    return ask(...job);
  }, [MANY, kills]);
}

const logits = expected("naflex")("logits_per_image", caseOf("naflex", IMAGE, 64));
const isRight = ({ body }) => body.logits.every((logit, i) => Math.abs(logit - logits[i]) < 1e-3);

test("a job survives its worker, with model and pictures", async () => {
  const page = await openProbe();
  assert.equal((await ask(page, OPEN)).kind, "opened");
  assert.equal((await addImage(page)).kind, "image");
  const answer = await embedUnderFire(page, endWorker, 1);
  assert.deepEqual(answer, { kind: "embeddings", body: { rows: 400, dim: 128 } });
  assert.ok(isRight(await ask(page, CLASSIFY)));
  // And when it dies with nothing to do.
  await endWorker(page);
  assert.ok(isRight(await ask(page, CLASSIFY)));
  await page.close();
});

test("a job that kills two workers is given up, with the reason", async () => {
  const page = await openProbe();
  await ask(page, OPEN);
  await addImage(page);
  const { kind, body } = await embedUnderFire(page, (page) => crashWorker(page, "on purpose"), 2);
  assert.deepEqual([kind, body.kind], ["failed", "crashed"]);
  assert.match(body.message, /on purpose/);
  assert.ok(isRight(await ask(page, CLASSIFY)));
  await page.close();
});

test("files nobody handed over are an error", async () => {
  const page = await openProbe();
  const { kind, body } = await ask(page, ["open", "other"]);
  assert.equal(kind, "failed");
  assert.match(body.message, /not handed over any files as "other"/);
  await page.close();
});
