/**
 * A Node handler for AWS Lambda, behind a function URL or an HTTP API (payload format 2.0).
 *
 *     npm install @foodfast/larder
 *     npx esbuild examples/node_lambda.ts --bundle --platform=node --outfile=index.js
 *     zip function.zip index.js
 *     aws lambda update-function-code --function-name food-fast --zip-file fileb://function.zip
 *
 * Its handler is `index.handler`; its variables name the store, such as REDIS_URL.
 */
import { createCacheClient } from "@foodfast/larder";
import { api } from "./api.ts";

// One client for all invocations of an instance: the connection stays open between them.
const client = createCacheClient({ logger: console });

/** The parts of Lambda's event that are used. */
interface Event {
  readonly rawPath: string;
  readonly rawQueryString: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly requestContext: { readonly http: { readonly method: string; readonly sourceIp: string } };
}

/** The response of a Lambda function. */
interface Result {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Answers an event. */
export async function handler({ rawPath, rawQueryString, headers, requestContext: { http } }: Event): Promise<Result> {
  const url = new URL(`https://${headers.host ?? "localhost"}${rawPath}?${rawQueryString}`);
  const response = await api(client, new Request(url, { method: http.method, headers }), http.sourceIp);
  return {
    statusCode: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  };
}
