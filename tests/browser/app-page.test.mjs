// The app's page as a whole: `cargo xtask test browser`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { best, openApp, samplePath } from "./app.mjs";
import { serve } from "./server.mjs";

test("the page starts under its policy and shows a first result", async (t) => {
  const start = performance.now();
  const app = await openApp();
  t.diagnostic(`first result after ${Math.round(performance.now() - start)} ms, with a debug build`);
  assert.equal(best(await app.scores()), "cat face");
  assert.deepEqual(app.complaints, []);
  const policy = await app.page.evaluate(() => document.querySelector("meta[http-equiv=Content-Security-Policy]").content);
  assert.match(policy, /^default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; /);
  // What the policy is for: whatever should slip in gets no answer from elsewhere.
  const isBlocked = await app.page.evaluate(() => fetch("https://example.org/").then(() => false, () => true));
  assert.ok(isBlocked);
  const complaints = app.complaints.splice(0);
  assert.ok(complaints.length > 0 && complaints.every((text) => text.includes("Content Security Policy")), `${complaints}`);
  await app.close();
});

test("the page never freezes while the engine works", async (t) => {
  const app = await openApp();
  // What its own start takes is another matter.
  await app.page.evaluate(() => (globalThis.longestTask = globalThis.longestScript = 0));
  for (let i = 0; i < 3; i += 1) await app.click("button", "Surprise me");
  await app.click("button", "In 12 languages");
  await app.click("button", "Features");
  await app.choose([samplePath("castle"), samplePath("pizza")]);
  for (const view of ["Segmentation", "Groups", "Attention"]) await app.click("radio", view);
  await app.find("img", / patches$/);
  const [longest, own] = await app.page.evaluate(() => [longestTask, longestScript]);
  t.diagnostic(`the longest task of the page's thread took ${longest} ms, the longest script in a frame of more than 50 ms ${own} ms; the browser draws on the CPU`);
  // Nobody has to wait for a worker: that would be seconds.
  assert.ok(longest < 1000, `${longest} ms`);
  await app.close();
});

test("people whose first language is Japanese read Japanese, and can change that", async () => {
  const app = await openApp({ locale: "ja-JP" });
  const [{ label }] = await app.scores();
  assert.equal(label, "ネコの顔");
  await app.find("img", /^ステージ: ネコの顔, ピザ/);
  for (const workspace of ["分類", "特徴"]) {
    await app.click("button", workspace);
    await app.find("button", "画像を追加…");
  }
  await app.click("button", "English");
  await app.find("button", "Add pictures…");
  await app.click("button", "日本語");
  await app.find("button", "画像を追加…");
  await app.close();
});

test("the theme is the system's until people choose another", async () => {
  /** Brightness of a place where the panel's own colour shows, from 0 to 255. */
  const brightness = async (app) => {
    const png = await app.page.screenshot({ clip: { x: 1000, y: 20, width: 1, height: 1 } });
    return app.page.evaluate(async (png) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0))]));
      const context = new OffscreenCanvas(1, 1).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
      return (r + g + b) / 3;
    }, png.toString("base64"));
  };
  const becomes = async (app, test) => {
    while (!test(await brightness(app))) await app.frame();
  };
  const [isDark, isLight] = [(value) => value < 60, (value) => value > 200];
  const app = await openApp({ colorScheme: "dark" });
  await becomes(app, isDark);
  await app.page.emulateMedia({ colorScheme: "light" });
  await becomes(app, isLight);
  await app.click("button", "Dark");
  await becomes(app, isDark);
  await app.click("button", "Light");
  await becomes(app, isLight);
  await app.close();
});

// But for the first Arabic or Devanagari letter, which brings a font: that one is shown is all that the server learns, before the service worker has it.
test("two different queries ask the server for the same", async () => {
  /** What the server hears of somebody who asks about a picture. */
  const run = async (fragment, label, sample) => {
    const server = await serve();
    const app = await openApp({ url: server.url, fragment, viewport: { width: 1280, height: 1000 } });
    await app.page.evaluate(() => navigator.serviceWorker.ready);
    await app.type("Phrases", label);
    await app.scores((scores) => scores[0].label === label);
    await app.click("button", "Classify");
    await app.choose(samplePath(sample));
    await app.type("Labels", label);
    await app.scores((scores) => scores.length === 1 && scores[0].label === label);
    await app.download("Export CSV");
    await app.click("button", "Features");
    await app.click("radio", "Phrase");
    await app.find("img", / patches$/);
    await app.close();
    server.close();
    return server.requests.sort();
  };
  const first = await run("", "a secret", "castle");
  const second = await run("#stage=1.00,3;🐙,0.50,0.50,0.70,0.00&words=%E7%8C%AB", "另一个秘密", "key");
  assert.ok(first.length > 20, `${first}`);
  assert.deepEqual(second, first);
});

for (const [name, options] of Object.entries({
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  japanese: { colorScheme: "light", locale: "ja-JP" },
  narrow: { colorScheme: "light", viewport: { width: 420, height: 800 } },
})) {
  test(`pictures of the page for people to look at: ${name}`, async () => {
    const app = await openApp(options);
    const [classify, features, add, similar, word] = name === "japanese" ? ["分類", "特徴", "画像を追加…", "類似度", "タコ"] : ["Classify", "Features", "Add pictures…", "Similarity", "pizza"];
    await app.screenshot(`stage-${name}`);
    if (name !== "narrow") {
      await app.click("textbox", name === "japanese" ? "光らせる" : "Light up");
      await app.page.keyboard.type(word);
      await app.until((widgets) => widgets.some(({ role, value }) => role === "textbox" && value === word), "the word");
      await app.screenshot(`stage-word-${name}`);
    }
    await app.click("button", classify);
    await app.screenshot(`classify-empty-${name}`);
    await app.choose([samplePath("castle"), samplePath("pizza")], add);
    await app.find("radio", "pizza.jpg");
    await app.scores();
    await app.screenshot(`classify-${name}`);
    await app.click("button", features);
    await app.find("img", /^pizza\.jpg · /);
    await app.screenshot(`features-${name}`);
    await app.click("radio", similar);
    await app.find("note", / … /);
    await app.screenshot(`features-similar-${name}`);
    await app.close();
  });
}
