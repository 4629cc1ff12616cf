// Starts the app: its code and its files come in together.

import init, { start } from "./polyglance_page.js";

const SAMPLES = ["cat-face", "pizza", "bicycle", "cactus", "guitar", "rocket", "butterfly", "umbrella", "strawberry", "octopus", "castle", "key"];

/** In the order in which `start` expects them. */
const FILES = [
  "fonts/Inter-Regular.otf",
  "fonts/Inter-SemiBold.otf",
  "demo/palette/palette.png",
  "demo/palette/palette.json",
  "captions/en.txt",
  "captions/ja.txt",
  ...SAMPLES.map((name) => `demo/samples/${name}.jpg`),
];

async function read(file) {
  const response = await fetch(new URL(file, import.meta.url));
  if (!response.ok) throw new Error(`${file} is missing from this site (${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

// Letters that are in no font of ours come to egui from a canvas that is read back, which takes long where a GPU has drawn it.
const { getContext } = HTMLCanvasElement.prototype;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  return getContext.call(this, kind, kind === "2d" ? { willReadFrequently: true, ...options } : options);
};

/** Lets the browser do what else it has to do. */
const nextTask = () => new Promise((resolve) => setTimeout(resolve));

/** Has the browser look for such letters, and for one that no font has, while files are loading: the first search takes long. */
async function findLetters() {
  const context = document.createElement("canvas").getContext("2d");
  for (const letter of ["語", "\u0378"]) {
    await nextTask();
    context.font = "14px system-ui, sans-serif";
    context.measureText(letter);
  }
}

/** Gives the canvas its size and its WebGL, both of which take long, before there is anything to show on it. eframe finds them done. */
async function prepare(canvas) {
  [canvas.width, canvas.height] = [canvas.clientWidth, canvas.clientHeight].map((length) => Math.round(length * devicePixelRatio));
  await nextTask();
  const context = canvas.getContext("webgl2");
  await nextTask();
  // Any question will do: the first one waits until the GPU's process is there.
  context?.getExtension("EXT_color_buffer_float");
}

const splash = document.getElementById("splash");
try {
  const canvas = document.getElementById("app");
  const [files] = await Promise.all([Promise.all(FILES.map(read)), init(), findLetters(), prepare(canvas)]);
  await start(canvas, files);
  splash.remove();
} catch (error) {
  splash.textContent = `Polyglance could not start: ${error?.message ?? error}`;
  splash.dataset.state = "error";
}

// Offline after the first visit. Without it (an old browser, a page from a file) everything else works.
navigator.serviceWorker?.register(new URL("./service-worker.js", import.meta.url)).catch(() => {});
