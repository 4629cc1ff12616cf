// A worker with an engine in it, as a page sees it: messages both ways, and the news of its death, however it came.
//
// Of the engine's messages this file knows two: "greeting", and "died", which is the worker's own. See src/engine/protocol.rs.

/**
 * Starts a worker. `onMessage` hears what the engine says; `onDeath` hears why it will say nothing more, once, and not after `close`.
 */
export function connect(generation, onMessage, onDeath) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: `polyglance ${generation}` });
  const lock = `polyglance ${Math.random()} ${Math.random()}`;
  // Of a panic in one of its threads, which the worker itself would wait for and never hear of.
  const deaths = new BroadcastChannel(lock);
  let isOpen = true;
  const close = () => {
    isOpen = false;
    worker.terminate();
    deaths.close();
  };
  const die = (reason) => {
    if (!isOpen) return;
    close();
    onDeath(reason);
  };

  // The worker holds the lock for as long as it lives. If the browser ends it, for want of memory say, no event tells, but the lock is free.
  const watch = () => navigator.locks?.request(lock, () => die("the browser has ended its worker")).catch(() => {});

  deaths.addEventListener("message", ({ data }) => die(data));
  worker.addEventListener("message", ({ data }) => {
    if (!isOpen) return;
    if (data.kind === "died") return die(data.body.reason);
    if (data.kind === "greeting") watch();
    onMessage(data);
  });
  worker.addEventListener("error", (event) => die(event.message || "worker.js could not be loaded"));
  worker.addEventListener("messageerror", () => die("a message of its worker could not be read"));
  worker.postMessage({ kind: "start", generation, body: { lock } });
  return { post: (message, transfer) => worker.postMessage(message, transfer), close };
}
