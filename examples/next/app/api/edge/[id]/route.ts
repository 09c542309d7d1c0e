import { getCacheClient } from "@foodfast/larder";
import { after } from "next/server";
import { loadDish, menu } from "../../../../lib/menu";

export const runtime = "edge";

/** A dish, from the edge: over REST, with a client of the request. */
export async function GET(_request: Request, { params }: { params: Promise<{ id: string }> }): Promise<Response> {
  const { id } = await params;
  const { dishes } = getCacheClient().forRequest({ waitUntil: after }).service(menu);
  return Response.json(await dishes.getOrSet(id, () => loadDish(id, "edge")));
}
