// A hub and the storage that it redirects to, on this computer: they answer as the real ones do, or as badly as a test wants.
//
// A browser with `flags` finds them under the real names, and nothing else of the network: the page needs no other address for tests, which a
// link could set.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const STORAGE = "us.aws.cdn.hf.co";
/** What the real ones send, so that pages of any origin may read. */
const CORS = { "access-control-allow-origin": "*", "access-control-expose-headers": "ETag, Content-Range, X-Linked-Size" };
/** Larger files lie in the storage, smaller ones in git. */
const LARGE = 100_000;

const hash = (algorithm, ...parts) => parts.reduce((hasher, part) => hasher.update(part), createHash(algorithm)).digest("hex");
const pause = (millis) => new Promise((done) => setTimeout(done, millis));

/** A key and a certificate that nobody trusts. */
function certificate() {
  const folder = mkdtempSync(join(tmpdir(), "polyglance-hub-"));
  const [key, cert] = ["key", "cert"].map((name) => join(folder, name));
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=hub", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...kind, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const pair = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(folder, { recursive: true });
  return pair;
}

export class FakeHub {
  /** Of the hub and the storage: `{method, path, range}`. */
  requests = [];
  /** What goes wrong in the storage: `{breakAfter: bytes}` once, `{lie}` once, `{corrupt: first byte}`, `{pieceMillis}`, `{hold: first byte}` until it is gone, `{ignoreRanges}`. */
  faults = {};
  #models = new Map();
  #blobs = new Map();
  #servers = [];

  async start() {
    const pair = certificate();
    const listen = async (answer) => {
      const server = https.createServer(pair, (request, response) => {
        answer(request, response).catch((error) => response.destroy(error));
      });
      this.#servers.push(server);
      await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
      return server.address().port;
    };
    const [hub, storage] = [await listen((...exchange) => this.#hub(...exchange)), await listen((...exchange) => this.#storage(...exchange))];
    const names = [`MAP huggingface.co:443 127.0.0.1:${hub}`, `MAP ${STORAGE}:443 127.0.0.1:${storage}`, "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"];
    this.flags = ["--ignore-certificate-errors", `--host-resolver-rules=${names.join(",")}`];
    return this;
  }

  stop() {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
  }

  /** Publishes files, `[{name, buffer}]`, as `owner/name`. */
  publish(id, files) {
    this.#models.set(id, files);
    for (const { buffer } of files) this.#blobs.set(hash("sha256", buffer), buffer);
  }

  /** Requests since the last call. */
  taken() {
    return this.requests.splice(0);
  }

  #note({ method, url, headers: { range, origin, cookie, referer, authorization } }) {
    this.requests.push({ method, path: url, range, private: cookie ?? referer ?? authorization });
    return new URL(url, "https://hub").pathname;
  }

  async #hub(request, response) {
    const path = this.#note(request);
    const [, id, revision] = /^\/api\/models\/(.+)\/revision\/(.+)$/.exec(path) ?? [];
    const [, owner, commit, name] = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path) ?? [];
    const file = commit === COMMIT && this.#models.get(owner)?.find((file) => file.name === name);
    if (request.method !== "GET") return response.writeHead(403).end();
    if (["main", "v1"].includes(revision) && this.#models.has(id)) return response.writeHead(200, CORS).end(JSON.stringify(this.#listing(id)));
    if (!file) return response.writeHead(404, CORS).end();
    if (file.buffer.length < LARGE) return response.writeHead(200, CORS).end(file.buffer);
    response.writeHead(302, { ...CORS, location: `https://${STORAGE}/${hash("sha256", file.buffer)}?signature=secret` }).end();
  }

  #listing(id) {
    const siblings = this.#models.get(id).map(({ name: rfilename, buffer }) => {
      const size = buffer.length;
      const blobId = hash("sha1", `blob ${size}\0`, buffer);
      return { rfilename, size, blobId, ...(size < LARGE ? {} : { lfs: { sha256: hash("sha256", buffer), size, pointerSize: 134 } }) };
    });
    return { id, sha: COMMIT, siblings: [...siblings, { rfilename: "README.md", size: 9, blobId: "0" }] };
  }

  async #storage(request, response) {
    const path = this.#note(request);
    const blob = this.#blobs.get(path.slice(1));
    if (request.method !== "GET" || !blob) return response.writeHead(403).end();
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(this.faults.ignoreRanges ? "" : (request.headers.range ?? "")) ?? [];
    const [start, end] = first === undefined ? [0, blob.length] : [Number(first), last === "" ? blob.length : Number(last) + 1];
    const { breakAfter = Infinity, lie, corrupt, pieceMillis } = this.faults;
    if (first !== undefined) delete this.faults.lie;
    delete this.faults.breakAfter;
    while (this.faults.hold === start) await pause(50);
    const range = `bytes ${start - (lie ? 1 : 0)}-${end - 1}/${blob.length}`;
    response.writeHead(first === undefined ? 200 : 206, { ...CORS, "content-length": end - start, ...(first === undefined ? {} : { "content-range": range }) });
    const bytes = Buffer.from(blob.subarray(start, end));
    if (corrupt === start) bytes[bytes.length >> 1] ^= 1;
    for (let at = 0; at < bytes.length; at += 256 << 10) {
      if (at >= breakAfter) {
        // A browser throws away what a page has not read when the connection breaks: it gets the time to read.
        await pause(2000);
        return response.destroy();
      }
      await new Promise((sent) => response.write(bytes.subarray(at, at + (256 << 10)), sent));
      if (pieceMillis) await pause(pieceMillis);
    }
    response.end();
  }
}
