// The engine lives here, off the page's thread: when its WebAssembly traps, this worker ends and the page does not.
//
// in    {kind: "start", generation, body: {lock}}    first and once
//       {kind: "files", body: {name, paths}, files}  handles for a model or a folder of pictures that will be opened by this name
//       {id, generation, kind, body, bulk}           a request of src/engine/protocol.rs
// out   its replies, a greeting first
//       {id: 0, generation, kind: "died", body: {reason}}, after which there is no more

const cancelled = new Set();
const files = new Map();
let generation = 0;
let engine = null;
/** One job at a time: requests queue up in this chain. */
let last = null;
/** Jobs that nobody has begun. */
let waiting = 0;
/** The job at work. */
let current = null;

const host = {
  say: (message, transfer) => self.postMessage(message, transfer),
  isCancelled: () => cancelled.has(current),
  hasMore: () => waiting > 0,
  files: (name) => files.get(name),
  lock,
};

/** Takes the lock that the page waits for, and keeps it as long as this worker lives. */
function hold(lock) {
  if (navigator.locks === undefined) return undefined;
  return new Promise((held) => {
    navigator.locks.request(lock, () => {
      held();
      return new Promise(() => {});
    });
  });
}

/** Takes a lock if it is free, and gives the function that returns it; else null. */
function lock(name, mode) {
  return new Promise((resolve, reject) => {
    const taken = (lock) => (lock === null ? resolve(null) : new Promise((release) => resolve(release)));
    navigator.locks.request(name, { mode, ifAvailable: true }, taken).catch(reject);
  });
}

/** Whether a function that returns `f32x4.relaxed_madd` of zeros is valid here. */
function hasRelaxedSimd() {
  const zeros = [0x41, 0x00, 0xfd, 0x0f];
  const body = [0x00, ...zeros, ...zeros, ...zeros, 0xfd, 0x85, 0x02, 0x0b];
  const sections = [0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b, 0x03, 0x02, 0x01, 0x00, 0x0a, body.length + 2, 0x01, body.length, ...body];
  return WebAssembly.validate(Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, ...sections));
}

async function start(lock) {
  await hold(lock);
  // Where workers may share memory, all cores compute. That form multiplies and adds at once, too.
  const module = self.crossOriginIsolated && hasRelaxedSimd() ? "./polyglance_web_threads.js" : "./polyglance_web.js";
  const { default: init, Engine, initThreadPool, tellDeaths } = await import(module);
  await init();
  tellDeaths(lock);
  await initThreadPool?.(navigator.hardwareConcurrency);
  engine = new Engine(generation, host);
}

// Whatever was not caught is a panic or a trap: the engine's memory may be half of something now.
function die(event, error) {
  // The page is told here, in better words than by the event.
  event.preventDefault();
  const reason = self.lastPanic ?? error?.message ?? String(error);
  self.postMessage({ id: 0, generation, kind: "died", body: { reason } });
  self.close();
}
self.addEventListener("error", (event) => die(event, event.error ?? event));
self.addEventListener("unhandledrejection", (event) => die(event, event.reason));

self.addEventListener("message", ({ data }) => {
  if (data.kind === "start") {
    generation = data.generation;
    last = start(data.body.lock);
  } else if (data.kind === "cancel") {
    cancelled.add(data.body.job);
  } else if (data.kind === "files") {
    files.set(data.body.name, [...data.files].map((file, index) => [data.body.paths?.[index] ?? file.name, file]));
  } else {
    waiting += 1;
    last = last.then(() => {
      waiting -= 1;
      current = data.id;
      return engine.run(data);
    });
  }
});
