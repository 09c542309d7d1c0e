/**
 * Invokes a Lambda handler for each HTTP request, as a function URL does. For Node:
 * `node dist/test/helpers/lambda_server.js <bundle> <port>`.
 */
import { createRequire } from "node:module";
import process from "node:process";
import type * as example from "../../examples/node_lambda.ts";
import { listen } from "../../src/runtime/listen.ts";

const [bundle = "", port = ""] = process.argv.slice(2);
const { handler } = createRequire(import.meta.url)(bundle) as typeof example;

await listen(
  async ({ url, method, headers }) => {
    const { pathname, search } = new URL(url);
    const {
      statusCode,
      headers: answered,
      body,
    } = await handler({
      rawPath: pathname,
      rawQueryString: search.slice(1),
      headers: Object.fromEntries(headers),
      requestContext: { http: { method, sourceIp: headers.get("x-forwarded-for") ?? "" } },
    });
    return new Response(body, { status: statusCode, headers: answered });
  },
  { port: Number(port) },
);
