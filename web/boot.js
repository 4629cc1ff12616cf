// The page: reads the form, hands its files to the worker, shows what comes back.

const element = (id) => document.getElementById(id);

/** A promise for each message to the worker. */
class Client {
  #worker = new Worker("worker.js", { type: "module" });
  #pending = new Map();
  #nextId = 1;
  /** Resolves to the greeting of the worker. */
  ready = new Promise((resolve, reject) => this.#pending.set(undefined, { resolve, reject }));

  constructor() {
    this.#worker.addEventListener("message", ({ data: { id, kind, body } }) => {
      const { resolve, reject } = this.#pending.get(id);
      this.#pending.delete(id);
      if (kind === "error") reject(new Error(body.message));
      else resolve(body);
    });
    // A trap in the module (or a worker that cannot start) answers no message: nothing that waits may wait for ever.
    this.#worker.addEventListener("error", (event) => {
      for (const { reject } of this.#pending.values()) reject(new Error(event.message || "the worker could not start"));
      this.#pending.clear();
    });
  }

  call(kind, body, transfer = []) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, kind, body }, transfer);
    });
  }
}

function show(text, state = "idle") {
  element("status").textContent = text;
  element("status").dataset.state = state;
}

async function embed(client) {
  const files = await Promise.all([...element("checkpoint").files].map(async (file) => ({ name: file.name, bytes: await file.arrayBuffer() })));
  const { device } = await client.call("load", { files, device: element("device").value }, files.map(({ bytes }) => bytes));
  const result = { device };
  const [image] = element("image").files;
  if (image !== undefined) {
    const bytes = await image.arrayBuffer();
    result.image = [...(await client.call("image", { bytes }, [bytes])).embedding];
  }
  const texts = element("texts").value.split("\n").filter((line) => line !== "");
  if (texts.length > 0) {
    const { embeddings } = await client.call("texts", { texts });
    const dim = embeddings.length / texts.length;
    result.texts = texts.map((_, row) => [...embeddings.subarray(row * dim, (row + 1) * dim)]);
  }
  return result;
}

const client = new Client();
element("job").addEventListener("submit", async (event) => {
  event.preventDefault();
  element("run").disabled = true;
  element("result").textContent = "";
  show("Working…", "busy");
  try {
    const result = await embed(client);
    element("result").textContent = JSON.stringify(result);
    show(`Done on ${result.device}.`, "done");
  } catch (error) {
    show(error.message, "error");
  }
  element("run").disabled = false;
});

try {
  const { version } = await client.ready;
  show(`Polyglance ${version} is ready.`);
  element("run").disabled = false;
} catch (error) {
  show(`Polyglance could not start: ${error.message}`, "error");
}
