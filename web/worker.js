// The model lives here, off the page's thread: a crash of the WASM module ends this worker, not the page.
//
// in    {id, kind, body}            kind: "load" | "image" | "texts"
// out   {kind: "ready", body}       once, when the module runs: its version
//       {id, kind: "result", body}  or  {id, kind: "error", body: {message}}; without id when the module cannot run

import init, { Model, version } from "./polyglance_web.js";

let model = null;

const loaded = () => {
  if (model === null) throw new Error("no checkpoint is loaded");
  return model;
};

const jobs = {
  /** body: {files: [{name, bytes}], device} → {device} */
  async load({ files, device }) {
    model?.free();
    model = null;
    model = await Model.load(files.map(({ name, bytes }) => [name, new Uint8Array(bytes)]), device);
    return { device: model.device() };
  },

  /** body: {bytes} → {embedding} of unit length */
  async image({ bytes }) {
    return { embedding: await loaded().embedImage(new Uint8Array(bytes)) };
  },

  /** body: {texts} → {embeddings}, one after the other, each of unit length */
  async texts({ texts }) {
    return { embeddings: await loaded().embedTexts(texts) };
  },
};

async function answer({ id, kind, body }) {
  try {
    const job = jobs[kind];
    if (job === undefined) throw new Error(`there is no job of kind "${kind}"`);
    const result = await job(body);
    const transfer = Object.values(result).filter(ArrayBuffer.isView).map((view) => view.buffer);
    self.postMessage({ id, kind: "result", body: result }, transfer);
  } catch (error) {
    self.postMessage({ id, kind: "error", body: { message: String(error?.message ?? error) } });
  }
}

// One job at a time: the model is borrowed for as long as a job awaits the GPU. Messages queue up in this chain.
let last = init().then(
  () => self.postMessage({ kind: "ready", body: { version: version() } }),
  (error) => self.postMessage({ kind: "error", body: { message: `the WebAssembly module did not start: ${error.message}` } }),
);
self.addEventListener("message", ({ data }) => {
  last = last.then(() => answer(data));
});
