// SigLIP 2 in a browser: embeddings, scores and patch features from a worker. polyglance.d.ts says what there is.

import { connect } from "./link.js";

/** Of src/engine/protocol.rs. */
const PROTOCOL = 7;
/** The name under which a worker knows the files of its model. */
const FILES = "files";

export class PolyglanceError extends Error {
  constructor(kind, message, options) {
    super(message, options);
    this.name = "PolyglanceError";
    this.kind = kind;
  }
}

const cancelled = (signal) => new PolyglanceError("cancelled", "the call was cancelled", { cause: signal.reason });

/** The worker is gone, and what it was doing may be tried once more. */
class Death extends Error {}

/** One worker, from its start to its end. */
class Engine {
  isAlive = true;
  #link;
  #jobs = new Map();
  #nextId = 1;
  #hasGreeted = false;

  constructor() {
    this.#link = connect(0, (message) => this.#hear(message), (reason) => this.#end(new Death(reason)));
  }

  #hear({ id, kind, body, bulk }) {
    this.#hasGreeted = true;
    if (kind === "greeting") {
      if (body.protocol === PROTOCOL) return;
      const message = `polyglance.js and worker.js are of different versions (the worker is ${body.version}); reload the page`;
      this.#link.close();
      this.#end(new PolyglanceError("crashed", message));
    } else if (kind === "progress") {
      this.#jobs.get(id)?.onProgress?.(body);
    } else {
      const job = this.#jobs.get(id);
      this.#jobs.delete(id);
      if (kind === "failed") job?.reject(new PolyglanceError(body.kind, body.message));
      else job?.resolve({ ...body, bulk });
    }
  }

  #end(error) {
    this.isAlive = false;
    const couldNotStart = error instanceof Death && !this.#hasGreeted;
    const reason = couldNotStart ? new PolyglanceError("crashed", `the worker could not be started: ${error.message}`) : error;
    for (const { reject } of this.#jobs.values()) reject(reason);
    this.#jobs.clear();
  }

  close() {
    this.#link.close();
    this.#end(new PolyglanceError("closed", "the model was closed"));
  }

  /** Hands over handles; nothing is read. */
  files(files) {
    this.#link.post({ kind: "files", body: { name: FILES }, files });
  }

  /** A promise of the answer's body and bulk. `bulk` of the request is gone after the call. */
  job(kind, body, { bulk, signal, onProgress } = {}) {
    if (signal?.aborted) return Promise.reject(cancelled(signal));
    const id = this.#nextId++;
    const cancel = () => this.#link.post({ id: this.#nextId++, generation: 0, kind: "cancel", body: { job: id } });
    signal?.addEventListener("abort", cancel);
    const answer = new Promise((resolve, reject) => this.#jobs.set(id, { resolve, reject, onProgress }));
    this.#link.post({ id, generation: 0, kind, body, bulk }, bulk === undefined ? [] : [bulk]);
    return answer.finally(() => signal?.removeEventListener("abort", cancel));
  }

  /** Does `work` with a picture's number, and forgets the picture. */
  async withImage(image, options, work) {
    const number = this.#nextId++;
    await this.job("add_image", { image: number, form: "file", preview_side: 0 }, { ...options, bulk: await bytesOf(image) });
    try {
      return await work(number);
    } finally {
      if (this.isAlive) this.job("drop_image", { image: number }).catch(() => {});
    }
  }
}

/** The bytes of a picture in a buffer that may be given away. */
async function bytesOf(image) {
  if (image instanceof Uint8Array) return image.slice().buffer;
  if (image instanceof ArrayBuffer) return image.slice(0);
  if (!(image instanceof Blob)) throw new PolyglanceError("input", "a picture is a Blob, an ArrayBuffer or a Uint8Array of an image file");
  try {
    return await image.arrayBuffer();
  } catch (cause) {
    throw new PolyglanceError("input", `the picture could not be read: ${cause.message}`, { cause });
  }
}

class Model {
  info;
  #files;
  #request;
  #engine = null;
  #isClosed = false;
  /** Settles when the calls so far have. */
  #last = Promise.resolve();

  static async load({ model = "demo", revision, files, light = false, device = "auto", precision = "auto", ...options } = {}) {
    const list = files && [...files];
    if (light && (list || model === "demo")) throw new PolyglanceError("input", "only a model of the hub can be light");
    if (list?.some((file) => !(file instanceof File))) throw new PolyglanceError("input", "a model's files must be File objects");
    const loaded = new Model(list, { source: list ? { named: FILES } : sourceOf(model, revision, light), device, precision });
    try {
      await loaded.#call(options, () => {});
      return loaded;
    } catch (error) {
      loaded.close();
      throw error;
    }
  }

  constructor(files, request) {
    this.#files = files;
    this.#request = request;
  }

  embedImages(images, { maxNumPatches, ...options } = {}) {
    const list = [...images];
    return this.#call(options, async (engine) => {
      const embeds = [];
      for (const image of list) {
        const embed = (number) => engine.job("embed_image", { image: number, max_num_patches: maxNumPatches }, options);
        embeds.push(...rows(await engine.withImage(image, options, embed)));
      }
      return embeds;
    });
  }

  embedTexts(texts, options = {}) {
    const list = [...texts];
    return this.#call(options, async (engine) => rows(await engine.job("embed_texts", { texts: list }, options)));
  }

  classify(image, labels, { maxNumPatches, templates = ["{}"], ...options } = {}) {
    const list = [...labels];
    return this.#call(options, async (engine) => {
      const texts = list.map((label) => templates.map((template) => expand(template, label)));
      const classify = (number) => engine.job("classify", { image: number, max_num_patches: maxNumPatches, labels: texts }, options);
      const { logits } = await engine.withImage(image, options, classify);
      const largest = Math.max(...logits);
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
      return list.map((label, i) => {
        const logit = logits[i];
        return { label, logit, probability: 1 / (1 + Math.exp(-logit)), share: Math.exp(logit - largest) / total };
      });
    });
  }

  patchFeatures(image, { maxNumPatches, layer, ...options } = {}) {
    return this.#call(options, async (engine) => {
      const view = (number) =>
        engine.job("view", { image: number, max_num_patches: maxNumPatches, layer, mask_outliers: false, view: "features" }, options);
      const { rows, cols, channels, bulk } = await engine.withImage(image, options, view);
      return { rows, cols, channels, values: new Float32Array(bulk) };
    });
  }

  close() {
    this.#isClosed = true;
    this.#engine?.close();
  }

  /** Calls are done one after another, so that the one at work when a worker dies is the one to repeat, and to blame. */
  #call(options, work) {
    const call = this.#last.then(() => this.#attempt(options, work));
    this.#last = call.catch(() => {});
    return unlessAborted(call, options.signal);
  }

  async #attempt(options, work) {
    for (let deaths = 0; ; ) {
      try {
        return await work(await this.#opened(options));
      } catch (error) {
        if (!(error instanceof Death)) throw error;
        deaths += 1;
        if (deaths === 2) throw new PolyglanceError("crashed", `the worker stopped twice over this: ${error.message}`);
      }
    }
  }

  /** A worker with the model: the present one, or another if it is gone. */
  async #opened(options) {
    if (this.#isClosed) throw new PolyglanceError("closed", "the model was closed");
    if (options.signal?.aborted) throw cancelled(options.signal);
    if (this.#engine?.isAlive) return this.#engine;
    const engine = new Engine();
    this.#engine = engine;
    try {
      if (this.#files) engine.files(this.#files);
      const { bulk, ...info } = await engine.job("open", this.#request, options);
      if (info.table === "coming") {
        await engine.job("fetch_table", undefined, options);
        info.table = "here";
      }
      this.info = camelCase(info);
      return engine;
    } catch (error) {
      if (engine.isAlive) engine.close();
      throw error;
    }
  }
}

/** Where the engine finds a model by name. */
function sourceOf(model, revision, light) {
  if (model === "demo") return "demo";
  if (/^[\w.-]+\/[\w.-]+$/.test(model)) return { [light ? "light" : "named"]: revision === undefined ? model : `${model}@${revision}` };
  throw new PolyglanceError("input", `there is no model ${JSON.stringify(model)}: take "demo", a model of the hub as "owner/name", or give files`);
}

/** Does a job that needs no model, in a worker of its own. */
async function once(kind, body) {
  const engine = new Engine();
  try {
    const { bulk, ...answer } = await engine.job(kind, body);
    return answer;
  } catch (error) {
    throw error instanceof Death ? new PolyglanceError("crashed", `the worker stopped: ${error.message}`) : error;
  } finally {
    if (engine.isAlive) engine.close();
  }
}

/** Starts a worker and loads a model in it. */
export const load = (options) => Model.load(options);

/** Models of the hub that this site has downloaded. */
export const stored = () => once("stored");

/** Deletes one of them. */
export async function deleteStored(model, revision = "main") {
  await once("delete_stored", { name: `${model}@${revision}` });
}

/** What `promise` comes to, or an error as soon as the signal is aborted. */
function unlessAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(cancelled(signal));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** The rows of embeddings. */
function rows({ rows: count, dim, bulk = new ArrayBuffer(0) }) {
  const values = new Float32Array(bulk);
  return Array.from({ length: count }, (_, row) => values.slice(row * dim, (row + 1) * dim));
}

function expand(template, label) {
  const [before, after, ...more] = template.split("{}");
  if (after !== undefined && more.length === 0) return before + label + after;
  throw new PolyglanceError("input", `the template ${JSON.stringify(template)} must have one {} for the label`);
}

const camelCase = (object) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key.replace(/_(.)/g, (_, letter) => letter.toUpperCase()), value]));
