// The JavaScript API in a headless Chromium: `cargo xtask test browser`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { MANIFEST, SAMPLES, URL_OF_PAGE, caseOf, crashWorker, endWorker, engines, expected, imagePath, load, modelFiles, open, openBlank, relativeError, untilEngines } from "./support.mjs";

/** Of the manifest: a small photo-like image, and texts in three scripts. */
const IMAGE = 3;
const TEXTS = [1, 6, 9].map((index) => MANIFEST.texts[index]);
/** Patches of a NaFlex image when nothing else is asked for, as in transformers. */
const DEFAULT_BUDGET = 256;

// The bars are those of the native tests: the CPU backend computes in f32 throughout, a GPU may keep weights in f16 only when asked to.
for (const [device, named, bar] of [["cpu", /^CPU/, 1e-5], ["gpu", /^GPU/, 1e-5]]) {
  for (const model of ["naflex", "fixed14", "outlier"]) {
    test(`${model} embeds an image and texts on ${device} as transformers does`, async (t) => {
      const { page, complaints } = await openBlank();
      const info = await load(page, model, { device });
      assert.match(info.device, named, JSON.stringify(info));
      await page.setInputFiles("#image", imagePath(IMAGE));
      const [image, ...texts] = await page.evaluate(async (texts) => {
        const embeds = [...(await model.embedImages(document.getElementById("image").files)), ...(await model.embedTexts(texts))];
        return embeds.map((embed) => [...embed]);
      }, TEXTS);
      const known = expected(model);
      const rows = [known("image_embeds", caseOf(model, IMAGE, DEFAULT_BUDGET)), ...TEXTS.map((text) => known("text_embeds", MANIFEST.texts.indexOf(text)))];
      const errors = [image, ...texts].map((embed, i) => relativeError(embed, rows[i]));
      t.diagnostic(`${info.device}: relative errors ${errors.map((error) => error.toExponential(1)).join(", ")}`);
      assert.ok(errors.every((error) => error <= bar), `${errors} must not exceed ${bar}`);
      assert.deepEqual(complaints, []);
      await page.close();
    });
  }
}

test("scores and patch features are those of transformers", async () => {
  const { page } = await openBlank();
  await load(page, "naflex", { device: "cpu" });
  await page.setInputFiles("#image", [imagePath(IMAGE), imagePath(0)]);
  const { scores, averaged, features } = await page.evaluate(async (texts) => {
    const [first, second] = document.getElementById("image").files;
    const scores = await model.classify(first, texts, { maxNumPatches: 64 });
    // A template of nothing but the label, twice, averages a text with itself.
    const averaged = await model.classify(new Uint8Array(await first.arrayBuffer()), texts, { maxNumPatches: 64, templates: ["{}", "{}"] });
    const { values, ...grid } = await model.patchFeatures(await second.arrayBuffer(), { maxNumPatches: 64 });
    return { scores, averaged, features: { values: [...values], ...grid } };
  }, MANIFEST.texts);
  const known = expected("naflex");
  const logits = known("logits_per_image", caseOf("naflex", IMAGE, 64));
  // As in tests/engine.rs: the scale of 100 and more times an error of 1e-6 in a cosine.
  for (const [i, { label, logit, probability, share }] of scores.entries()) {
    assert.equal(label, MANIFEST.texts[i]);
    assert.ok(Math.abs(logit - logits[i]) < 1e-3, `${label}: ${logit} is not ${logits[i]}`);
    assert.ok(Math.abs(averaged[i].logit - logit) < 1e-3);
    assert.ok(Math.abs(probability - 1 / (1 + Math.exp(-logit))) < 1e-6);
    assert.ok(Math.abs(Math.log(share / scores[0].share) - (logit - scores[0].logit)) < 1e-3);
  }
  assert.ok(Math.abs(scores.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-6);
  assert.deepEqual([features.rows, features.cols], [6, 10]);
  // The bar of tests/parity.rs for hidden states.
  assert.ok(relativeError(features.values, known(`last_hidden_state.${caseOf("naflex", 0, 64)}`)) < 1e-4);
  await page.close();
});

test("what is damaged or missing is an error that says so, and the model goes on", async () => {
  const { page } = await openBlank();
  const files = modelFiles("naflex");
  const without = (name) => files.filter((file) => file.name !== name);
  const cut = files.map((file) => (file.name === "model.safetensors" ? { ...file, buffer: file.buffer.subarray(0, file.buffer.length / 2) } : file));
  const cases = [
    [without("config.json"), /there is no config\.json/],
    [without("model.safetensors"), /there is no model\.safetensors/],
    [without("tokenizer.json"), /there is no tokenizer\.json/],
    [cut, /model\.safetensors.*(damaged|outside)/],
    [[...files, ...modelFiles("fixed14")], /more than once/],
    [["a.npz", "b.npz"].map((name) => ({ ...files[0], name })), /several \.npz files/],
    [[...without("config.json"), { ...files[0], name: "config.json", buffer: Buffer.alloc((1 << 20) + 1, " ") }], /more than the 1048576 allowed/],
  ];
  for (const [wrong, message] of cases) {
    const failure = await load(page, wrong, { device: "cpu" });
    assert.equal(failure.kind, "model", JSON.stringify(failure));
    assert.match(failure.message, message);
  }
  await load(page, "naflex", { device: "cpu" });
  const outcomes = await page.evaluate(async () => {
    const { PolyglanceError } = await import("./polyglance.js");
    const image = new Blob(["\x89PNG\r\n\x1a\nand nothing more"]);
    const calls = [
      () => model.embedImages([image]),
      () => model.embedImages(["no bytes"]),
      () => model.embedTexts(["a".repeat((64 << 10) + 1)]),
      () => model.embedTexts([7]),
      () => model.classify(image, ["a"], { templates: ["no place"] }),
      () => model.embedImages([image], { maxNumPatches: -1 }),
    ];
    const kinds = [];
    for (const call of calls) kinds.push(await call().then(() => "none", (error) => error instanceof PolyglanceError && error.kind));
    return { kinds, embeds: (await model.embedTexts(["and on"])).length };
  });
  assert.deepEqual(outcomes, { kinds: Array(6).fill("input"), embeds: 1 });
  await page.close();
});

test("a file is read by the tensor, never whole", async () => {
  const { page } = await openBlank();
  await page.setInputFiles("#files", modelFiles("naflex"));
  const largest = await page.evaluate(async () => {
    const { load } = await import("./polyglance.js");
    // The fixture with a tensor of 256 MiB that no model has.
    const files = [...document.getElementById("files").files];
    const index = files.findIndex(({ name }) => name === "model.safetensors");
    const bytes = await files[index].arrayBuffer();
    const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, start - 8)));
    const size = bytes.byteLength - start;
    const [piece, count] = [new Uint8Array(16 << 20), 16];
    header.surplus = { dtype: "F32", shape: [(piece.length * count) / 4], data_offsets: [size, size + piece.length * count] };
    const text = new TextEncoder().encode(JSON.stringify(header));
    const length = new BigUint64Array([BigInt(text.length)]);
    files[index] = new File([length, text, bytes.slice(start), ...Array(count).fill(piece)], "model.safetensors");
    globalThis.model = await load({ files, device: "cpu" });
    await model.embedTexts(["a"]);
    return files[index].size;
  });
  const memory = await engines(page).at(-1).evaluate(async () => {
    const { default: init } = await import(new URL("./polyglance_web_threads.js", self.location.href).href);
    return (await init()).memory.buffer.byteLength;
  });
  assert.ok(largest > 256 << 20 && memory < 64 << 20, `${memory} bytes for a file of ${largest}`);
  await page.close();
});

test("the model that comes along puts the right label first, and requests tell nothing of what is asked", async () => {
  const samples = JSON.parse(readFileSync(new URL("samples.json", SAMPLES)));
  /** Classifies samples with all labels of a language each; what came first, and all that was fetched. */
  const run = async (indices, languages) => {
    const { page, requests } = await openBlank();
    const pick = indices.map((index) => fileURLToPath(new URL(samples[index].file, SAMPLES)));
    await page.setInputFiles("#image", pick);
    await page.evaluate(async () => {
      const { load } = await import("./polyglance.js");
      globalThis.model = await load({ device: "cpu" });
    });
    const queries = indices.map((_, i) => samples.map(({ labels }) => labels[languages[i % languages.length]]));
    const best = await page.evaluate(async (queries) => {
      const images = [...document.getElementById("image").files];
      const best = [];
      for (const [i, labels] of queries.entries()) {
        const scores = await model.classify(images[i], labels);
        best.push(labels.indexOf(scores.sort((a, b) => b.logit - a.logit)[0].label));
      }
      return best;
    }, queries);
    await page.close();
    assert.deepEqual(best, indices);
    return requests;
  };
  const first = await run([0, 1, 2, 3, 4, 5], ["en", "zh", "ar"]);
  const second = await run([11, 10, 9, 8, 7, 6], ["de", "hi"]);
  assert.ok(first.some((url) => url.endsWith("/demo/model.safetensors")), `the worker's requests are seen: ${first}`);
  // In whatever order the engine's threads ask for their files.
  assert.deepEqual(second.sort(), first.sort());
  assert.ok(first.every((url) => url.startsWith(URL_OF_PAGE)), `${first}`);
});

/** More than a worker does in one go, so that something can happen in the middle. */
const MANY = Array.from({ length: 400 }, (_, i) => `a photo of ${i} cats`);

test("an AbortSignal stops the work", async () => {
  const { page } = await openBlank();
  await load(page, "naflex", { device: "cpu" });
  const outcome = await page.evaluate(async (texts) => {
    const controller = new AbortController();
    const done = [];
    const onProgress = (progress) => {
      done.push(progress.done);
      if (progress.done > 0) controller.abort("enough");
    };
    const describe = ({ kind, cause }) => ({ kind, cause });
    const stopped = await model.embedTexts(texts, { signal: controller.signal, onProgress }).catch(describe);
    // Aborted before it began, and while it waited for its turn.
    const never = await model.embedTexts(["a"], { signal: controller.signal }).catch(describe);
    const queued = new AbortController();
    const before = model.embedTexts(["b"]);
    const waiting = model.embedTexts(texts, { signal: queued.signal }).catch(describe);
    queued.abort("enough");
    return { stopped, never, waiting: await waiting, before: (await before).length, after: (await model.embedTexts(["c"])).length, most: Math.max(...done) };
  }, MANY);
  const { most, ...rest } = outcome;
  const cancelled = { kind: "cancelled", cause: "enough" };
  assert.deepEqual(rest, { stopped: cancelled, never: cancelled, waiting: cancelled, before: 1, after: 1 });
  assert.ok(most < MANY.length / 2, `it went on to ${most}`);
  assert.equal(engines(page).length, 1);
  await page.close();
});

test("loading can be cancelled, and a closed model says that it is", async () => {
  const { page } = await openBlank();
  const kinds = await page.evaluate(async () => {
    const { load } = await import("./polyglance.js");
    const controller = new AbortController();
    const loading = load({ device: "cpu", signal: controller.signal, onProgress: () => controller.abort() }).catch(({ kind }) => kind);
    const kinds = [await loading];
    const model = await load({ device: "cpu" });
    const waiting = model.embedTexts(["a"]).catch(({ kind }) => kind);
    model.close();
    return [...kinds, await waiting, await model.embedTexts(["a"]).catch(({ kind }) => kind)];
  });
  assert.deepEqual(kinds, ["cancelled", "closed", "closed"]);
  await untilEngines(page, 0);
  await page.close();
});

const WITHOUT_LOCKS = () => Object.defineProperty(Navigator.prototype, "locks", { value: undefined });
for (const [name, kill, reason, prepare] of [
  ["ended by the browser", endWorker, /the browser has ended its worker/],
  ["that panics", (page) => crashWorker(page, "on purpose"), /panicked at .*on purpose/s],
  ["one of whose threads panics", (page) => crashWorker(page, "on purpose", "crashThread"), /on purpose/],
  ["that panics where there are no locks", (page) => crashWorker(page, "on purpose"), /on purpose/, (page) => page.addInitScript(WITHOUT_LOCKS)],
]) {
  test(`a worker ${name} costs nothing, and a second one the call`, async () => {
    const { page } = await openBlank(prepare);
    await page.exposeFunction("kill", () => kill(page));
    await load(page, "naflex", { device: "cpu" });
    /** Embeds texts while that many workers, one after another, are killed in the middle of it. */
    const embed = (texts, kills) =>
      page.evaluate(async ([texts, kills]) => {
        let isFresh = true;
        const onProgress = ({ stage, done }) => {
          if (stage !== "texts") isFresh = true;
          else if (done > 0 && isFresh && kills > 0) {
            isFresh = false;
            kills -= 1;
            globalThis.kill();
          }
        };
        try {
          const embeds = await model.embedTexts(texts, { onProgress });
          return { kills, sums: embeds.map((embed) => embed.reduce((sum, value) => sum + value, 0)) };
        } catch ({ kind, message }) {
          return { kills, kind, message };
        }
      }, [texts, kills]);
    const once = await embed(MANY, 1);
    assert.equal(once.sums?.length, MANY.length, JSON.stringify(once));
    const twice = await embed(MANY.map((text) => `${text}!`), 2);
    assert.deepEqual([twice.kills, twice.kind], [0, "crashed"], JSON.stringify(twice));
    assert.match(twice.message, reason);
    assert.deepEqual(await embed(MANY, 0), once);
    await untilEngines(page, 1);
    await page.close();
  });
}

test("an engine that cannot start is an error, not a wait", async () => {
  const { page } = await openBlank((page) => page.route("**/polyglance_web_threads_bg.wasm", (route) => route.abort()));
  const failure = await page.evaluate(async () => {
    const { load } = await import("./polyglance.js");
    return load().catch(({ kind, message }) => ({ kind, message }));
  });
  assert.equal(failure.kind, "crashed");
  assert.match(failure.message, /could not be started/);
  await page.close();
});

test("the example classifies what is chosen, under its content security policy", async () => {
  const { page, complaints, requests } = await open("example.html");
  await page.waitForFunction(() => document.getElementById("result").textContent.startsWith("Ready on"));
  await page.setInputFiles("#image", fileURLToPath(new URL("pizza.jpg", SAMPLES)));
  await page.waitForFunction(() => document.getElementById("result").textContent.includes("%"));
  assert.match(await page.textContent("#result"), /^ *\d+\.\d %  pizza\n/);
  await page.fill("#labels", "bicicleta, pizza");
  await page.press("#labels", "Tab");
  await page.waitForFunction(() => document.getElementById("result").textContent.includes("bicicleta"));
  assert.match(await page.textContent("#result"), /^ *\d+\.\d %  pizza\n.*bicicleta$/);
  assert.deepEqual(complaints, []);
  assert.ok(requests.every((url) => url.startsWith(URL_OF_PAGE)), `${requests}`);
  await page.close();
});

test("the package holds the files that it lists, and lists those that they need", async () => {
  const { files, types, exports } = await (await fetch(new URL("package.json", URL_OF_PAGE))).json();
  const listed = [...files.filter((file) => !file.endsWith("/")), types, exports["."].default];
  for (const file of listed) {
    const response = await fetch(new URL(file, URL_OF_PAGE));
    assert.equal(response.status, 200, file);
    if (!file.endsWith(".js")) continue;
    // What a module asks for is in the package, too.
    for (const [, name] of (await response.text()).matchAll(/(?:from |import\(|import )["']\.\/([^"']+)["']/g)) {
      assert.ok(files.some((listed) => listed === name || (listed.endsWith("/") && name.startsWith(listed))), `${file} asks for ${name}`);
    }
  }
});
