// The app's page where and when it is hard to be: offline, in a sub-folder, without headers, twice. `cargo xtask test browser`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { best, openApp, samplePath } from "./app.mjs";
import { serve } from "./server.mjs";

/** Uses what needs the worker, the samples and the fonts. */
async function works(app) {
  await app.click("button", "Surprise me");
  const { words } = await app.scene();
  await app.scores((scores) => scores.map(({ label }) => label).join() === words.join());
  await app.click("button", "Classify");
  await app.choose(samplePath("rocket"));
  await app.scores((scores) => scores.length > 0 && best(scores) === "rocket");
}

test("after the first visit the page needs no network", async () => {
  const server = await serve();
  const app = await openApp({ url: server.url });
  await app.page.evaluate(() => navigator.serviceWorker.ready);
  await app.page.context().setOffline(true);
  // Not even the server is there any more.
  server.close();
  await app.page.reload();
  await app.scores();
  await works(app);
  const again = await openApp({ url: `${server.url}#stage=1.00,5;🐙,0.50,0.50,0.70,0.00&words=octopus%0Apizza`, context: app.page.context() });
  assert.equal(best(await again.scores()), "octopus");
  assert.deepEqual(again.complaints, []);
  await app.close();
});

test("two tabs do not disturb each other", async () => {
  const one = await openApp();
  const two = await openApp({ context: one.page.context(), fragment: "#stage=1.00,5;🐙,0.50,0.50,0.70,0.00&words=octopus%0Apizza" });
  for (let i = 0; i < 3; i += 1) {
    for (const app of [one, two]) {
      // A tab in the background is not drawn.
      await app.page.bringToFront();
      await app.click("button", "Surprise me");
      const { words } = await app.scene();
      await app.scores((scores) => scores.map(({ label }) => label).join() === words.join());
    }
  }
  assert.deepEqual(two.complaints, []);
  await one.close();
});

for (const [name, options] of Object.entries({
  "in a sub-folder of a site": { folder: "/some/path/" },
  "without the headers of cross-origin isolation": { without: ["cross-origin-opener-policy", "cross-origin-embedder-policy"] },
  "with no policy but its own": { without: ["content-security-policy"] },
})) {
  test(`the page works ${name}`, async () => {
    const server = await serve(options);
    const app = await openApp({ url: server.url });
    const isIsolated = !(options.without ?? []).includes("cross-origin-opener-policy");
    assert.equal(await app.page.evaluate(() => crossOriginIsolated), isIsolated);
    await app.page.evaluate(() => navigator.serviceWorker.ready);
    await works(app);
    await app.page.reload();
    await app.scores();
    await app.close();
    server.close();
    assert.ok(server.requests.every((request) => request.startsWith(`GET ${options.folder ?? "/"}`)), `${server.requests}`);
  });
}
