// The stage of the app's page: `cargo xtask test browser`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { best, openApp } from "./app.mjs";

/** A frame twice as wide as high with an octopus in its middle. */
const OCTOPUS = "#stage=2.00,5;🐙,0.50,0.50,0.50,0.00&words=octopus%0Arocket%0Apizza";

/** A place of the frame, given as shares of its sides. */
async function onFrame(app, x, y) {
  const { left, top, width, height } = await app.find("img", /^Stage: /);
  return [left + x * width, top + y * height];
}

const close = (a, b, tolerance) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("an emoji that is dragged moves, and its scores with it", async () => {
  const app = await openApp({ fragment: OCTOPUS });
  const before = await app.scores();
  assert.equal(best(before), "octopus");
  await app.drag(await onFrame(app, 0.5, 0.5), await onFrame(app, 0.97, 0.9));
  const [item] = (await app.scene()).items;
  close(item.x, 0.97, 0.01);
  close(item.y, 0.9, 0.01);
  await app.scores((scores) => scores[0].logit !== before[0].logit);
  await app.close();
});

test("an emoji of the palette lands where it is dropped, and a click adds one", async () => {
  const app = await openApp({ fragment: OCTOPUS });
  const { center } = await app.find("button", "rocket");
  await app.drag(center, await onFrame(app, 0.2, 0.3));
  await app.find("img", /^Stage: octopus, rocket/);
  await app.click("button", "pizza");
  await app.find("img", /^Stage: octopus, rocket, pizza/);
  const [, rocket, pizza] = (await app.scene()).items;
  close(rocket.x, 0.2, 0.01);
  close(rocket.y, 0.3, 0.01);
  assert.ok(pizza.x !== 0.5 || pizza.y !== 0.5, "a click adds where there is room");
  // Let go outside of the frame, it is not added.
  await app.drag(center, (await app.find("note", "Phrases")).center);
  await app.click("button", "key");
  await app.find("img", /^Stage: octopus, rocket, pizza, key/);
  await app.close();
});

test("the wheel resizes what the pointer is at, a double click removes it", async () => {
  const app = await openApp({ fragment: OCTOPUS });
  const turn = async (by) => {
    await app.page.mouse.move(...(await onFrame(app, 0.5, 0.5)));
    await app.page.mouse.wheel(0, by);
    // The wheel is smoothed over several frames, and counts while the pointer stays.
    for (let i = 0; i < 20; i += 1) await app.frame();
    return (await app.scene()).items[0].size;
  };
  assert.ok((await turn(-100)) > 0.6);
  assert.ok((await turn(250)) < 0.5);
  await app.page.mouse.dblclick(...(await onFrame(app, 0.5, 0.5)), { delay: 50 });
  await app.find("img", /^Stage: ($|;)/);
  await app.close();
});

test("the keyboard chooses, moves, resizes, turns and removes", async () => {
  const app = await openApp({ fragment: OCTOPUS.replace("&", ";🚀,0.20,0.30,0.30,0.00&") });
  const { keyboard } = app.page;
  // On nothing: that gives the frame the focus. The first N then means the first emoji.
  await app.page.mouse.click(...(await onFrame(app, 0.95, 0.95)));
  await keyboard.press("n");
  await keyboard.press("n");
  for (const key of ["ArrowRight", "ArrowRight", "ArrowDown"]) await keyboard.press(key);
  for (const key of ["+", "+", "+", "-", "]", "]", "]", "["]) await keyboard.press(key);
  const moved = await app.scene();
  const { x, y, size, angle } = moved.items[1];
  for (const [is, expected] of [[x, 0.24], [y, 0.32], [size, 0.3 * 1.1 ** 2], [angle, 0.2]]) close(is, expected, 0.011);
  assert.deepEqual(moved.items[0], { emoji: "🐙", x: 0.5, y: 0.5, size: 0.5, angle: 0 });
  await app.page.mouse.click(...(await onFrame(app, 0.95, 0.95)));
  for (const key of ["n", "ArrowLeft", "ArrowUp", "Delete"]) await keyboard.press(key);
  await app.find("img", /^Stage: rocket/);
  await app.close();
});

test("the frame takes any shape from 1:4 to 4:1, and the patches follow", async () => {
  const app = await openApp({ fragment: OCTOPUS });
  const pull = async (by) => {
    const { center: [x, y] } = await app.find("slider", /^Frame: /);
    await app.drag([x, y], [x + by, y]);
  };
  const patches = async (test) => {
    const label = await app.until((widgets) => widgets.find(({ role, label }) => role === "img" && test(...grid(label)))?.label, "a grid");
    const [rows, cols] = grid(label);
    assert.ok(rows * cols <= 100, label);
    return [rows, cols];
  };
  const grid = (label) => (label.match(/(\d+) × (\d+) = /) ?? []).slice(1).map(Number);
  await patches((rows, cols) => rows === 7 && cols === 14);
  for (let i = 0; (await app.scene()).aspect < 4; i += 1) {
    assert.ok(i < 20);
    await pull(300);
  }
  await patches((rows, cols) => rows === 5 && cols === 20);
  for (let i = 0; (await app.scene()).aspect > 0.25; i += 1) {
    assert.ok(i < 20);
    await pull(-400);
  }
  await patches((rows, cols) => rows === 20 && cols === 5);
  await pull(-400);
  assert.equal((await app.scene()).aspect, 0.25);
  await app.close();
});

test("input methods write into phrases and into the word to light up", async () => {
  const app = await openApp({ fragment: OCTOPUS });
  await app.click("textbox", "Phrases");
  await app.page.keyboard.press("Control+End");
  await app.page.keyboard.press("Enter");
  await app.compose(["t", "た", "たk", "たこ", "タコ"], "タコ");
  await app.scores((scores) => scores.at(-1).label === "タコ");
  await app.page.keyboard.press("Enter");
  await app.compose(["ㅁ", "무", "문", "문ㅇ", "문어"], "문어");
  const scores = await app.scores((scores) => scores.at(-1).label === "문어");
  assert.deepEqual(scores.map(({ label }) => label), ["octopus", "rocket", "pizza", "タコ", "문어"]);
  // Typed on, the next letters follow: nothing of the composition is left behind.
  await app.page.keyboard.type("!");
  await app.scores((scores) => scores.at(-1).label === "문어!");

  const word = "Light up";
  const before = await pixels(app);
  await app.click("textbox", word);
  await app.compose(["た", "たこ"], "タコ");
  await app.until((widgets) => widgets.some(({ role, value }) => role === "textbox" && value === "タコ"), "the word");
  await lightsUp(app, before);
  await app.close();
});

/** Pixels of the frame, without those of pointers. */
async function pixels(app) {
  const { left, top, width, height } = await app.find("img", /^Stage: /);
  return app.page.screenshot({ clip: { x: left, y: top, width, height } });
}

/** Waits until the frame looks different. */
async function lightsUp(app, before) {
  while ((await pixels(app)).equals(before)) await app.frame();
}

test("a bar that is pointed at lights up its phrase", async () => {
  const app = await openApp({ fragment: OCTOPUS });
  const before = await pixels(app);
  await app.point("progressbar", /^octopus: /);
  await lightsUp(app, before);
  await app.close();
});

test("the table ranks the phrases in 12 languages, and a click on one takes its names", async () => {
  const app = await openApp({ fragment: OCTOPUS, viewport: { width: 1280, height: 1000 } });
  await app.click("button", "In 12 languages");
  const names = ["octopus", "タコ", "章鱼", "문어", "Oktopus", "pulpo", "pieuvre", "polvo"];
  const notes = await app.until((widgets) => {
    const notes = widgets.filter(({ role }) => role === "note").map(({ label }) => label);
    return names.every((name) => notes.includes(name)) && notes;
  }, "octopus in many languages");
  assert.ok(notes.includes("осьминог"), `${notes}`);
  await app.click("button", "日本語", 1);
  await app.scores((scores) => scores.map(({ label }) => label).join() === "タコ,ロケット,ピザ");
  await app.close();
});

test("a copied link opens the same scene in another page", async () => {
  const app = await openApp({ fragment: OCTOPUS, permissions: ["clipboard-read", "clipboard-write"] });
  await app.click("button", "rocket");
  await app.click("button", "Background");
  await app.type("Phrases", "たこ & 猫 #1 100 %\nrocket");
  await app.scores((scores) => scores[0].label === "たこ & 猫 #1 100 %");
  const scene = await app.scene();
  assert.deepEqual([scene.background, scene.words], [0, ["たこ & 猫 #1 100 %", "rocket"]]);
  await app.find("note", "The link is on the clipboard.");
  const link = await app.page.evaluate(() => navigator.clipboard.readText());
  const other = await openApp({ url: link, context: app.page.context() });
  await other.find("img", /^Stage: octopus, rocket/);
  assert.deepEqual(await other.scene(), scene);
  assert.deepEqual(await other.scores(), await app.scores());
  await app.close();
});

test("surprises differ, and an empty stage says what to do", async () => {
  const app = await openApp();
  const seen = new Set();
  for (let i = 0; i < 4; i += 1) {
    await app.click("button", "Surprise me");
    const { items, words } = await app.scene();
    assert.equal(items.length, 3);
    await app.scores((scores) => scores.map(({ label }) => label).join() === words.join());
    seen.add(words.join());
  }
  assert.equal(seen.size, 4);
  await app.click("button", "Clear");
  await app.find("img", /^Stage: ($|;)/);
  assert.deepEqual((await app.scene()).items, []);
  const clear = (await app.widgets()).find(({ label }) => label === "Clear");
  assert.ok(clear.isDisabled);
  await app.close();
});
