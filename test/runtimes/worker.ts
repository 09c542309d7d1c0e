/** The Worker that runs the contract: `GET` lists the cases, `POST` runs one, each in a request of its own. */
import { names, run, type Wire } from "./suite.ts";

const worker: { fetch(request: Request): Promise<Response> } = {
  async fetch(request) {
    if (request.method === "GET") return Response.json(names);
    const { index, wire } = (await request.json()) as { index: number; wire: Wire };
    return Response.json({ error: await run(index, wire) });
  },
};

export default worker;
