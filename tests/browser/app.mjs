// The app on its page, driven as people do: with a mouse and a keyboard on its canvas.
//
// What the canvas shows is found in its mirror for screen readers (web/app/src/mirror.rs): elements with a role, a label and a place.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SAMPLES, URL_OF_PAGE, engines, newContext } from "./support.mjs";

/** For a machine with two slow cores and other things to do. */
const PATIENCE = 60_000;

/** What a browser says of its own graphics, and how wasm-bindgen-rayon starts its workers: not the page's doing. */
const NOT_OURS = /GL Driver Message|software WebGL|willReadFrequently|using deprecated parameters for the initialization function/;

const SCREENSHOTS = process.env.POLYGLANCE_SCREENSHOTS ?? fileURLToPath(new URL("../../target/screenshots/", import.meta.url));

export const samplePath = (name) => fileURLToPath(new URL(`${name}.jpg`, SAMPLES));

/** Opens the app in a profile of its own, or as another tab of `context`, and waits for its first result. */
export async function openApp({ url = URL_OF_PAGE, fragment = "", context, prepare = () => {}, ...options } = {}) {
  const own = context ?? (await newContext({ viewport: { width: 1280, height: 800 }, locale: "en-US", colorScheme: "light", ...options }));
  own.setDefaultTimeout(PATIENCE);
  const page = await own.newPage();
  const app = new App(page);
  await page.addInitScript(watchTasks);
  await prepare(page);
  await page.goto(url + fragment);
  await app.scores();
  return app;
}

/**
 * Keeps the longest task of the page's thread as `longestTask`, in milliseconds, and the longest that the page's own code took of one as `longestScript`: the
 * rest is the browser's, which without a GPU draws and copies the canvas there.
 */
function watchTasks() {
  globalThis.longestTask = globalThis.longestScript = 0;
  const tasks = (list) => list.getEntries().forEach(({ duration }) => (globalThis.longestTask = Math.max(globalThis.longestTask, duration)));
  new PerformanceObserver(tasks).observe({ type: "longtask", buffered: true });
  const scripts = (list) => list.getEntries().flatMap(({ scripts }) => scripts).forEach(({ duration }) => (globalThis.longestScript = Math.max(globalThis.longestScript, duration)));
  new PerformanceObserver(scripts).observe({ type: "long-animation-frame", buffered: true });
}

export class App {
  /** What the page complained of. */
  complaints = [];

  constructor(page) {
    this.page = page;
    const complain = (text) => NOT_OURS.test(text) || this.complaints.push(text);
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && complain(message.text()));
    page.on("pageerror", (error) => complain(error.message));
  }

  /** Ends the page with its profile; there must have been nothing to complain of. */
  async close() {
    await this.page.context().close();
    assert.deepEqual(this.complaints, []);
  }

  /** Everything shown: role, label, value, whether it is chosen, where it is. */
  widgets() {
    return this.page.evaluate(readWidgets);
  }

  /**
   * Waits for a widget of this role and label, a string or a pattern, at rest: nothing moves it any more. The `index`-th if there are several.
   */
  async find(role, label, index = 0) {
    const wanted = { role, label: label instanceof RegExp ? null : label, pattern: label.source, index };
    const found = await this.page.waitForFunction(findAtRest, wanted, { polling: "raf" }).catch((error) => this.#missing(error, role, label));
    return found.jsonValue();
  }

  async #missing(error, role, label) {
    const shown = this.page.isClosed() ? [] : await this.widgets();
    const text = shown.map(({ role, label, value }) => `${role} ${JSON.stringify(label)} ${JSON.stringify(value)}`).join("\n");
    throw new Error(`there is no ${role} ${label}; there are\n${text}`, { cause: error });
  }

  /** Waits until nothing has this role and label. */
  async findNone(role, label) {
    await this.until(
      (widgets) => !widgets.some((widget) => widget.role === role && (label instanceof RegExp ? label.test(widget.label) : widget.label === label)),
      `${role} ${label} is gone`,
    );
  }

  /** Waits until what is shown has some property, and gives what `read` gives. */
  async until(read, what) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const widgets = await this.widgets();
      const found = read(widgets);
      if (found) return found;
      assert.ok(Date.now() < end, `never came: ${what}; there is\n${widgets.map(({ role, label, value }) => `${role} ${label} ${value}`).join("\n")}`);
      await this.frame();
    }
  }

  /** Waits until some text matches. */
  reads(pattern) {
    return this.until((widgets) => widgets.some(({ label, value }) => [label, value].some((text) => pattern.test(text ?? ""))), pattern);
  }

  /** Waits for the next frame. */
  frame() {
    return this.page.evaluate(() => new Promise(requestAnimationFrame));
  }

  /** Moves the mouse to the middle of a widget, and after it if the page answers with another layout. */
  async point(role, label, index) {
    let { center } = await this.find(role, label, index);
    for (;;) {
      await this.page.mouse.move(...center);
      await this.frame();
      const now = await this.find(role, label, index);
      if (now.center.join() === center.join()) return center;
      center = now.center;
    }
  }

  async click(role, label, index) {
    const center = await this.point(role, label, index);
    await this.page.mouse.click(...center);
  }

  /** Drags from one place to another, as a hand does: in several steps. */
  async drag(from, to) {
    const { mouse } = this.page;
    await mouse.move(...from);
    await mouse.down();
    for (const share of [0.1, 0.4, 0.7, 1]) {
      await mouse.move(from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]));
      await this.frame();
    }
    await mouse.up();
  }

  /** Puts a text in place of what is in a field, with keys. Line ends are typed, too. */
  async type(label, text) {
    await this.click("textbox", label);
    await this.page.keyboard.press("Control+A");
    await this.page.keyboard.press("Delete");
    await this.page.keyboard.type(text);
  }

  /** Types a word at the cursor as an input method does: through these stages, then the word itself. */
  async compose(stages, word) {
    const session = await this.page.context().newCDPSession(this.page);
    for (const text of stages) {
      await session.send("Input.imeSetComposition", { text, selectionStart: text.length, selectionEnd: text.length });
      await this.frame();
    }
    await session.send("Input.insertText", { text: word });
    await session.detach();
  }

  /** Label and numbers of the bars that `test` accepts, once it does. */
  scores(test = (scores) => scores.length > 0) {
    return this.until((widgets) => {
      const bars = readBars(widgets);
      return test(bars) && bars;
    }, "bars");
  }

  /** The scene as its link tells it. */
  async scene() {
    await this.page.evaluate(() => history.replaceState(null, "", "#"));
    await this.click("button", "Copy link");
    await this.page.waitForFunction(() => location.hash.length > 1);
    const values = new URLSearchParams(await this.page.evaluate(() => location.hash.slice(1)));
    const [frame, ...items] = values.get("stage").split(";");
    const [aspect, background] = frame.split(",").map(Number);
    const item = ([emoji, ...numbers]) => Object.fromEntries(["x", "y", "size", "angle"].map((name, i) => [name, Number(numbers[i])]).concat([["emoji", emoji]]));
    return { aspect, background, items: items.map((text) => item(text.split(","))), words: values.get("words").split("\n") };
  }

  /** Chooses files where the app asks for them. */
  async choose(files, button = "Add pictures…") {
    const [chooser] = await Promise.all([this.page.waitForEvent("filechooser"), this.click("button", button)]);
    assert.ok(chooser.isMultiple());
    await chooser.setFiles(files);
  }

  /** What a click on a button downloads. */
  async download(button) {
    const [download] = await Promise.all([this.page.waitForEvent("download"), this.click("button", button)]);
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    return { name: download.suggestedFilename(), bytes: Buffer.concat(chunks) };
  }

  /** Keeps a picture of the page for people to look at. */
  async screenshot(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    // Without the pointer over anything.
    await this.page.mouse.move(1, 799);
    await this.frame();
    await this.page.screenshot({ path: `${SCREENSHOTS}/${name}.png` });
  }

  /** Bytes of the WebAssembly memory of the engine's worker, or of the page. */
  memory(where) {
    const module = where === "engine" ? "./polyglance_web_threads.js" : "./polyglance_page.js";
    const target = where === "engine" ? engines(this.page).at(-1) : this.page;
    return target.evaluate(async (module) => {
      const { default: init } = await import(new URL(module, self.location.href).href);
      return (await init()).memory.buffer.byteLength;
    }, module);
  }

  /** Bytes of the page's JavaScript objects that are in use. */
  async heap() {
    const session = await this.page.context().newCDPSession(this.page);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    await session.detach();
    return usedSize;
  }
}

/** Runs in the page. */
function readWidgets() {
  return [...document.querySelectorAll("#mirror > div")].map((element) => ({
    role: element.getAttribute("role"),
    label: element.getAttribute("aria-label"),
    value: element.getAttribute("aria-valuenow") ?? element.textContent,
    isChosen: (element.getAttribute("aria-checked") ?? element.getAttribute("aria-pressed")) === "true",
    isDisabled: element.getAttribute("aria-disabled") === "true",
  }));
}

/** Runs in the page, once a frame: a widget that is where it was a frame ago. */
function findAtRest({ role, label, pattern, index }) {
  const isMeant = (own) => (label === null ? new RegExp(pattern).test(own) : own === label);
  const element = [...document.querySelectorAll(`#mirror > [role="${role}"]`)].filter((element) => isMeant(element.getAttribute("aria-label")))[index];
  if (!element || element.getAttribute("aria-disabled") === "true") return false;
  const { left, top, width, height } = element.style;
  const place = [left, top, width, height].join();
  const isAtRest = element.place === place;
  element.place = place;
  const [x, y, w, h] = [left, top, width, height].map(parseFloat);
  return isAtRest && w > 0 && h > 0 && { left: x, top: y, width: w, height: h, center: [x + w / 2, y + h / 2] };
}

/** Bars as their labels tell them: "cat face: share 98.3 %, probability 0.03 %, logit -8.10". */
export function readBars(widgets) {
  const number = (text) => (text.startsWith("<") ? 0 : Number(text.replace("%", "")));
  const bars = widgets.filter(({ role }) => role === "progressbar").map(({ label }) => label.match(/^(.*): \S+ ([^,]+), \S+ ([^,]+), \S+ ([-+.\d]+)$/s));
  return bars.filter(Boolean).map(([, label, share, probability, logit]) => ({ label, share: number(share), probability: number(probability), logit: Number(logit) }));
}

/** The label with the largest logit. */
export const best = (scores) => scores.reduce((best, score) => (score.logit > best.logit ? score : best)).label;
