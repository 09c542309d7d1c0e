import { getCacheClient } from "@foodfast/larder";
import { loadDish, menu } from "../../../lib/menu";

/** Next.js keeps the page itself for a second. */
export const revalidate = 1;

export function generateStaticParams() {
  return []; // each page is made when it is first asked for
}

export default async function Page({ params }: { readonly params: Promise<{ readonly id: string }> }) {
  const { id } = await params;
  const dish = await getCacheClient()
    .service(menu)
    .dishes.getOrSet(id, () => loadDish(id, "page"));
  return <pre>{JSON.stringify(dish)}</pre>;
}
