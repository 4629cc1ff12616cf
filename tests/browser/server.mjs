// Other ways to be deployed than the test server's own: in a folder of a site, without its headers, and seen from the server's end.

import http from "node:http";
import { URL_OF_PAGE } from "./support.mjs";

/** Serves below `folder` what the test server serves, without the headers named. `requests` are the paths asked for, in their order. */
export async function serve({ folder = "/", without = [] } = {}) {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const inner = request.url.startsWith(folder) ? request.url.slice(folder.length) : "outside of the folder";
    const answer = await fetch(new URL(`./${inner}`, URL_OF_PAGE));
    const headers = Object.fromEntries(answer.headers);
    for (const name of ["connection", ...without]) delete headers[name];
    response.writeHead(answer.status, headers).end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}${folder}`, requests, close };
}
