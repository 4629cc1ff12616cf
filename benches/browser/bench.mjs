// One picture of 256 patches through Polyglance's page and through onnxruntime-web, in one Chromium, cross-origin isolated, on the same weights.
//
//     cargo xtask web --release
//     python benches/peers/encoder.py export MODEL_DIR model.onnx     (its own packages, see there)
//     cd benches/browser && npm ci && node bench.mjs MODEL_DIR model.onnx cpu|gpu [ROUNDS]
//
// Ours counts from an encoded picture in a blob to the embedding in the page; the peer's from a tensor of patches to the output. The two take turns, because
// machines change their speed from minute to minute. CHROME is the browser; WebGPU runs on SwiftShader unless ADAPTER names another of Chromium's.

import { createReadStream, statSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [modelFolder, onnx, device, rounds = "5"] = process.argv.slice(2);
const PATCHES = 256;
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const here = (relative) => fileURLToPath(new URL(relative, import.meta.url));

/** Where each first part of a path is found. */
const FOLDERS = { dist: here("../../dist"), ort: here("node_modules/onnxruntime-web/dist"), model: modelFolder, onnx: path.dirname(onnx) };

const server = http.createServer((request, response) => {
  const [, folder, ...rest] = decodeURIComponent(new URL(request.url, "http://localhost").pathname).split("/");
  if (folder === "") return response.writeHead(200, { ...HEADERS, "Content-Type": "text/html" }).end("<!doctype html>");
  const file = path.join(FOLDERS[folder] ?? "/nowhere", path.normalize(`/${rest.join("/")}`));
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined) return response.writeHead(404, HEADERS).end();
  response.writeHead(200, { ...HEADERS, "Content-Length": size, "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));

const args = ["--no-sandbox", "--enable-unsafe-webgpu", `--use-webgpu-adapter=${process.env.ADAPTER ?? "swiftshader"}`];
const browser = await chromium.launch({ executablePath: process.env.CHROME, args });
const page = await browser.newPage();
page.setDefaultTimeout(0);
page.on("pageerror", (error) => console.error(error.message));
await page.goto(`http://127.0.0.1:${server.address().port}/`);

const info = await page.evaluate(
  async ({ device, onnx, patches, threads }) => {
    const { load } = await import("/dist/polyglance.js");
    const names = ["config.json", "preprocessor_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    const fetched = await Promise.all(names.map((name) => fetch(`/model/${name}`)));
    const files = fetched.map(async (answer, i) => answer.ok && new File([await answer.blob()], names[i]));
    const model = await load({ files: (await Promise.all(files)).filter(Boolean), device });
    const canvas = new OffscreenCanvas(256, 256);
    const context = canvas.getContext("2d");
    for (let i = 0; i < 256; i += 1) {
      context.fillStyle = `hsl(${i * 7} 80% 50%)`;
      context.fillRect(i, (i * 31) % 256, 90, 60);
    }
    const picture = await canvas.convertToBlob({ type: "image/png" });

    const ort = await import(device === "gpu" ? "/ort/ort.webgpu.min.mjs" : "/ort/ort.min.mjs");
    ort.env.wasm.wasmPaths = "/ort/";
    ort.env.wasm.numThreads = threads;
    const externalData = [{ path: `${onnx}.data`, data: `/onnx/${onnx}.data` }];
    const session = await ort.InferenceSession.create(`/onnx/${onnx}`, { executionProviders: [device === "gpu" ? "webgpu" : "wasm"], externalData });
    const values = Float32Array.from({ length: patches * 768 }, (_, i) => ((i * 7919) % 1000) / 500 - 1);
    const feed = { [session.inputNames[0]]: new ort.Tensor("float32", values, [1, patches, 768]) };

    const timed = async (run) => {
      const start = performance.now();
      await run();
      return performance.now() - start;
    };
    globalThis.peers = {
      polyglance: () => timed(() => model.embedImages([picture], { maxNumPatches: patches })),
      onnxruntime: () => timed(async () => (await session.run(feed))[session.outputNames[0]].getData()),
    };
    return { device: model.info.device, isolated: crossOriginIsolated, threads: ort.env.wasm.numThreads };
  },
  { device, onnx: path.basename(onnx), patches: PATCHES, threads: Number(process.env.THREADS ?? os.availableParallelism()) },
);
const [cpu] = os.cpus();
console.log(`${cpu.model}, ${os.availableParallelism()} threads; Chromium ${browser.version()}; polyglance: ${info.device}; onnxruntime-web: ${info.threads} threads`);
if (!info.isolated) throw new Error("the page is not cross-origin isolated");

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const times = { polyglance: [], onnxruntime: [] };
// The first round warms both up.
for (let round = 0; round <= Number(rounds); round += 1) {
  for (const peer of Object.keys(times)) {
    const milliseconds = await page.evaluate((peer) => peers[peer](), peer);
    if (round > 0) times[peer].push(milliseconds);
  }
}
for (const [peer, values] of Object.entries(times)) {
  console.log(`${peer.padEnd(12)} ${median(values).toFixed(0)} ms (${values.map((value) => value.toFixed(0)).join(", ")})`);
}
console.log(`polyglance is ${median(times.onnxruntime.map((time, i) => time / times.polyglance[i])).toFixed(2)}× as fast`);
await browser.close();
server.close();
server.closeAllConnections();
