// Classification on the app's page: `cargo xtask test browser`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { best, openApp, samplePath } from "./app.mjs";

/** Those that the app begins with. */
const LABELS = 8;

async function openClassify(options) {
  // High enough for all that stands beside the picture.
  const app = await openApp({ viewport: { width: 1280, height: 1000 }, ...options });
  await app.click("button", "Classify");
  return app;
}

/** Waits until the label comes first. */
const comesFirst = (app, label) => app.scores((scores) => scores.length > 0 && best(scores) === label);

test("pictures come in by the file dialog, and each can be looked at", async () => {
  const app = await openClassify();
  await app.choose(["pizza", "rocket", "castle"].map(samplePath));
  for (const name of ["rocket", "castle", "pizza"]) {
    await app.click("radio", `${name}.jpg`);
    await comesFirst(app, name);
  }
  // Alt and the page keys go through them, too.
  await app.page.keyboard.press("Alt+PageDown");
  await comesFirst(app, "rocket");
  // Removed with the keyboard.
  await app.click("radio", "castle.jpg");
  await app.page.keyboard.press("Delete");
  await app.findNone("radio", "castle.jpg");
  await app.close();
});

test("pictures come in by drag and drop", async () => {
  const app = await openApp();
  const session = await app.page.context().newCDPSession(app.page);
  const data = { items: [], files: [samplePath("bicycle"), samplePath("key")], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: 400, y: 300, data });
  // From the stage, which has no place for them, to where they belong.
  await app.click("radio", "bicycle.jpg");
  await comesFirst(app, "bicycle");
  await app.click("radio", "key.jpg");
  await comesFirst(app, "key");
  await app.close();
});

test("a folder that is dropped brings its pictures, or its model", async () => {
  const app = await openClassify();
  const drop = async (folder) => {
    const session = await app.page.context().newCDPSession(app.page);
    const data = { items: [], files: [fileURLToPath(new URL(folder, import.meta.url))], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: 400, y: 300, data });
  };
  await drop("../../assets/demo/samples");
  for (const name of ["bicycle", "umbrella"]) {
    await app.click("radio", `${name}.jpg`);
    await comesFirst(app, name);
  }
  await drop("../oracle/fixtures/models/naflex");
  await app.find("button", "Model: files 1");
  await app.findNone("note", /knows emoji/);
  await app.scores();
  await app.close();
});

test("the camera is looked through, one frame after the other", async () => {
  const app = await openClassify({ permissions: ["camera"] });
  await app.click("button", "Camera");
  await app.find("radio", "camera");
  const first = await app.scores();
  const changed = (scores) => scores.some(({ label, logit }) => first.find((before) => before.label === label)?.logit !== logit);
  await app.scores(changed);
  await app.find("note", /^\d+\.\d frames\/s$/);
  await app.click("button", "Camera");
  await app.findNone("note", / frames\/s$/);
  // What it saw last stays, as any picture does.
  const last = await app.scores();
  for (let i = 0; i < 20; i += 1) await app.frame();
  assert.deepEqual(await app.scores(), last);
  await app.close();
});

test("a picture comes in from the clipboard", async () => {
  const app = await openClassify({ permissions: ["clipboard-read", "clipboard-write"] });
  // A browser takes PNG only, as other programs put it there.
  await app.page.evaluate(async (jpeg) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(jpeg), (letter) => letter.charCodeAt(0))]));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    await navigator.clipboard.write([new ClipboardItem({ "image/png": await canvas.convertToBlob({ type: "image/png" }) })]);
  }, readFileSync(samplePath("pizza"), "base64"));
  await app.page.mouse.click(400, 550);
  await app.page.keyboard.press("Control+V");
  await app.find("radio", "image.png");
  await comesFirst(app, "pizza");
  await app.close();
});

test("samples come in from their menu", async () => {
  const app = await openClassify();
  // In the middle while there is nothing else.
  await app.click("button", "rocket");
  await comesFirst(app, "rocket");
  await app.click("button", "Samples");
  await app.click("button", "castle");
  await app.find("radio", "castle");
  await comesFirst(app, "castle");
  await app.close();
});

test("labels of any script compete, and templates say when they do not fit", async () => {
  const app = await openClassify();
  await app.choose(samplePath("pizza"));
  await app.type("Labels", "पिज़्ज़ा\n로켓\nقلعة\nвелосипед\n");
  await app.compose(["ね", "ねこ"], "猫");
  const labels = ["पिज़्ज़ा", "로켓", "قلعة", "велосипед", "猫"];
  const scores = await app.scores((scores) => scores.length === 5 && scores.every(({ label }) => labels.includes(label)));
  assert.equal(best(scores), "पिज़्ज़ा");
  assert.ok(Math.abs(scores.reduce((sum, { share }) => sum + share, 0) - 100) < 0.5);

  const foreign = "The template is in another script than some labels.";
  await app.findNone("note", foreign);
  await app.click("combobox", "Template");
  await app.click("button", "English: This is a photo of {}.");
  await app.find("note", foreign);
  await app.scores((changed) => changed.length === 5 && changed.every(({ label, logit }) => scores.find((before) => before.label === label)?.logit !== logit));
  await app.click("button", "What the model reads");
  await app.find("note", "This is a photo of पिज़्ज़ा.");
  await app.close();
});

test("letters that join come when somebody writes them, once", async () => {
  const requests = [];
  const note = (request) => request.url().includes("/fonts/") && requests.push(new URL(request.url()).pathname.split("/").at(-1));
  const app = await openClassify({ prepare: (page) => page.on("request", note) });
  await app.choose(samplePath("pizza"));
  await app.type("Labels", "чёрная кошка\n另一个秘密\n검은 고양이\nחתול שחור");
  await app.scores((scores) => scores.length === 4);
  const first = ["Inter-Regular.otf", "Inter-SemiBold.otf"];
  assert.deepEqual(requests.sort(), first);
  const arrives = (font) => app.page.waitForResponse((response) => response.url().includes(font)).then((response) => response.finished());
  const fonts = Promise.all(["NotoSansArabic", "NotoSansDevanagari"].map(arrives));
  // A word within another script, numbers, brackets, Persian and Urdu, marks and a ligature.
  const labels = ["قطة black 12 سوداء", "a قطة (سوداء) b", "سعر ۱۴۰۳ کتاب", "یہ ایک بلی ہے", "الْقِطَّةُ السَّوْدَاءُ", "قلعة"];
  await app.type("Labels", `${labels.join("\n")}\nחתול (שחור) 12\nकाली बिल्ली\n黒い猫`);
  const scores = await app.scores((scores) => scores.length === 9);
  for (const label of labels) assert.ok(scores.some((score) => score.label === label), label);
  await fonts;
  for (let i = 0; i < 3; i += 1) await app.frame();
  await app.screenshot("classify-arabic");
  assert.deepEqual(requests.sort(), [...first, "NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf"]);
  await app.close();
});

test("more patches are another question", async () => {
  const app = await openClassify();
  await app.choose(samplePath("castle"));
  const before = await comesFirst(app, "castle");
  const { center: [x, y] } = await app.find("slider", "Patches");
  await app.drag([x, y], [x + 40, y]);
  await app.scores((scores) => scores[0].logit !== before[0].logit);
  const { grid } = JSON.parse((await app.download("Export JSON")).bytes).pictures[0];
  assert.ok(grid[0] * grid[1] > 100, `${grid}`);
  await app.click("button", "Reset");
  await app.scores((scores) => scores[0].logit === before[0].logit);
  await app.close();
});

test("the table knows every picture, and exports tell all of it", async () => {
  const app = await openClassify();
  const names = ["key", "rocket", "pizza"];
  await app.choose(names.map(samplePath));
  await app.find("radio", "pizza.jpg");
  await app.click("button", "All pictures");
  await app.until((widgets) => {
    const notes = widgets.filter(({ role }) => role === "note").map(({ label }) => label);
    return names.every((name) => notes.includes(name));
  }, "the best label of every picture");
  const json = await app.download("Export JSON");
  assert.equal(json.name, "polyglance.json");
  const { model, template, calibration, pictures } = JSON.parse(json.bytes);
  assert.deepEqual([model, template, calibration], ["demo (emoji only)", "{}", null]);
  assert.deepEqual(pictures.map(({ picture }) => picture), names.map((name) => `${name}.jpg`));
  for (const [i, { labels }] of pictures.entries()) {
    assert.equal(labels.length, LABELS);
    assert.equal(best(labels), names[i]);
    for (const { logit, probability } of labels) assert.ok(Math.abs(probability - 1 / (1 + Math.exp(-logit))) < 1e-6);
    assert.ok(Math.abs(labels.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-5);
  }
  const csv = await app.download("Export CSV");
  assert.equal(csv.name, "polyglance.csv");
  const lines = csv.bytes.toString().trimEnd().split("\r\n");
  assert.equal(lines[0], "picture,label,logit,probability,share,model,template,calibration");
  assert.equal(lines.length, 1 + 3 * LABELS);
  const { label, ...numbers } = pictures[1].labels[2];
  const [, ...written] = lines[1 + LABELS + 2].match(/^"rocket\.jpg","bicycle",([^,]+),([^,]+),([^,]+),"demo \(emoji only\)","\{\}",model$/);
  assert.equal(label, "bicycle");
  // The same 32-bit numbers, which JSON writes with more digits.
  assert.deepEqual(written.map((number) => Math.fround(Number(number))), ["logit", "probability", "share"].map((name) => Math.fround(numbers[name])));
  await app.close();
});

test("a damaged file is named, and the app goes on", async () => {
  const app = await openClassify();
  const damaged = { name: "broken.png", mimeType: "image/png", buffer: Buffer.from("\x89PNG\r\n\x1a\nand nothing more", "latin1") };
  await app.choose([damaged, { name: "text.jpg", mimeType: "image/jpeg", buffer: Buffer.from("no picture at all") }]);
  await app.find("note", /^broken\.png: /);
  await app.find("note", /^text\.jpg: /);
  await app.choose(samplePath("pizza"));
  await comesFirst(app, "pizza");
  await app.click("button", "Close");
  await app.findNone("note", /^broken\.png: /);
  await app.close();
});
