/** The requests and responses of every example, on any platform. */
import assert from "node:assert/strict";

/** Sends a request to an example: the path, and the client's address where the platform takes it from the request. */
export type Ask = (path: string, options?: { method?: string; address?: string }) => Promise<Response>;

/**
 * Fails unless the example serves its products from the cache, answers mistakes as such, and limits each client.
 *
 * @param ask Sends a request.
 * @param addressed Whether the platform takes the client's address from the request, so that a second client can ask.
 */
export async function checkExample(ask: Ask, addressed: boolean): Promise<void> {
  const pho = { id: 1, name: "Phở bò", price: 9.5 };
  const seen: unknown[] = [];
  // A platform with `waitUntil` answers before it has written: the hits may come a little later.
  while (seen.at(-1) !== "hit" && seen.length < 20) {
    if (seen.length > 1) await new Promise((resolve) => setTimeout(resolve, 20 * seen.length));
    const response = await ask("/products/1");
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
    assert.deepEqual(await response.json(), pho);
    seen.push(response.headers.get("x-cache"));
  }
  assert.equal(seen[0], "miss");
  assert.equal(seen.at(-1), "hit");
  const wrong = [
    { path: "/", status: 404 },
    { path: "/products", status: 404 },
    { path: "/products/1/reviews", status: 404 },
    { path: "/products/999", status: 404 },
    { path: "/products/pho", status: 400 },
    { path: "/products/%", status: 400 },
    { path: "/products/1", method: "POST", status: 405 },
  ];
  for (const { path, method = "GET", status } of wrong) {
    const response = await ask(path, { method });
    assert.equal(response.status, status, path);
    assert.equal(typeof ((await response.json()) as { error: unknown }).error, "string");
    if (status === 405) assert.equal(response.headers.get("allow"), "GET");
  }

  const left = 60 - seen.length - wrong.length;
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask("/products/2")));
  const refused = answers.filter(({ status }) => status === 429);
  assert.equal(answers.filter(({ status }) => status === 200).length, left);
  assert.equal(refused.length, answers.length - left);
  for (const response of refused) {
    assert.ok(Number(response.headers.get("retry-after")) >= 1);
    assert.equal(response.headers.get("x-ratelimit-remaining"), "0");
  }
  for (const response of answers) await response.body?.cancel();
  if (addressed) {
    const other = await ask("/products/1", { address: "203.0.113.8" });
    assert.equal(other.status, 200);
    assert.equal(other.headers.get("x-ratelimit-remaining"), "59");
    await other.body?.cancel();
  }
}
