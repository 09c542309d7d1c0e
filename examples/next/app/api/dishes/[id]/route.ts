import { getCacheClient } from "@foodfast/larder";
import { loadDish, menu } from "../../../../lib/menu";

interface Context {
  readonly params: Promise<{ readonly id: string }>;
}

/** A dish. */
export async function GET(_request: Request, { params }: Context): Promise<Response> {
  const { id } = await params;
  const { dishes } = getCacheClient().service(menu);
  return Response.json(await dishes.getOrSet(id, () => loadDish(id, "route")));
}

/** Changes the menu: each dish is loaded again at its next read, in every process. */
export async function DELETE(): Promise<Response> {
  return Response.json(await getCacheClient().service(menu).invalidateTags("menu"));
}
