/** The shell blocks of docs/command.md do what the page says. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inShell, startLarder } from "./helpers/larder.ts";

describe("the page of the command", () => {
  it("shows shell lines that work in this order", async () => {
    const page = readFileSync("docs/command.md", "utf8");
    const [serve = "", lines = "", ...more] = [...page.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block);
    assert.ok(lines && more.length === 0);
    const [, ...args] = serve.replace(/ #.*\n$/, "").split(" ");
    const served = startLarder([...args, "--port", "0"]);
    const [, url = ""] = await served.said(/^UPSTASH_REDIS_REST_URL=(.*)\nUPSTASH_REDIS_REST_TOKEN=local\n/);
    const folder = mkdtempSync(join(tmpdir(), "larder-page-"));
    const { code, stdout, stderr } = await inShell(lines.replace("http://127.0.0.1:8079", url), { cwd: folder });
    rmSync(folder, { recursive: true });
    served.signal("SIGINT");
    assert.equal((await served.ended).code, 0);
    assert.equal(code, 0, stderr);
    const said = [
      "1 value written to product\\.products",
      "string +(2h|1h 59m) +\\d+ B  product:1",
      '\\{\n {2}"id": 1,\n {2}"name": "Phở bò"\n\\}',
      "1 key of product \\(.*\\) in product\\.jsonl",
      "1 key of product deleted",
      "1 key of product written",
      "http:.*prefixed databases\n[\\s\\S]*\nproduct +1\n[\\s\\S]*",
    ];
    assert.match(stdout, new RegExp(`^${said.join("\n")}$`));
  });
});
