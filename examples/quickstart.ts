/**
 * A small Food Fast shop: its catalogue, searches, sessions, carts and rate limits, over the store that the environment
 * names. Run it by `npm start`, `bun examples/quickstart.ts`, `deno run -A examples/quickstart.ts`, or
 * `npm run build && node dist/examples/quickstart.js`.
 */
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { CacheConfigError, createCacheClient, isCacheError } from "../mod.ts";
import { type Food, readCatalogue } from "./catalogue.ts";

const VISITS = 4000;
/** Visitors served at a time. */
const SHOPPERS = 16;
/** The time after which the shop closes, in milliseconds, even if a distant store is slow. */
const OPENING_HOURS = 4000;
/** The number of visits from one change of a price to the next. */
const PRICE_CHANGE = 1000;
const PREFIX = "quickstart";

/** The actions of visitors, in percent. */
const SHARES = { product: 46, search: 22, category: 10, session: 12, cart: 5, "rate limit": 5 };
const KINDS = [...(Object.keys(SHARES) as (keyof typeof SHARES)[]), "price change"] as const;
type Kind = (typeof KINDS)[number];

/** One thing that a visitor does. */
interface Visit {
  readonly kind: Kind;
  readonly user: number;
  readonly food: Food;
  readonly search: { readonly q: string; readonly lang: string; readonly page: number };
}

/** Numbers from 0 up to 1, the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws ranks below `count` by Zipf's law: rank k comes up 1/(k+1) times as often as rank 0. */
function zipf(count: number, random: () => number): () => number {
  let sum = 0;
  const sums = Array.from({ length: count }, (_, rank) => {
    sum += 1 / (rank + 1);
    return sum;
  });
  return () => {
    const drawn = random() * sum;
    return sums.findIndex((upTo) => drawn < upTo);
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

function plan(foods: readonly Food[]): Visit[] {
  const random = seeded(2017);
  const popular = shuffled(foods, random);
  // People look for what sells, in the language they speak: the first word of a name.
  const words = popular.slice(0, 40).flatMap(({ names }) => Object.entries(names).slice(0, 4));
  const searches = shuffled(words, random).map(([lang, name]) => ({
    q: /^[\p{L}\p{M}]+/u.exec(name)?.[0] ?? name,
    lang,
  }));
  const food = zipf(popular.length, random);
  const search = zipf(searches.length, random);
  const page = zipf(2, random);
  const user = zipf(200, random);
  const kinds = Object.entries(SHARES).flatMap(([kind, share]) => Array<Kind>(share).fill(kind as Kind));
  return Array.from({ length: VISITS }, (_, i) => ({
    kind: i % PRICE_CHANGE === PRICE_CHANGE - 1 ? "price change" : (kinds[Math.floor(random() * kinds.length)] as Kind),
    user: user(),
    food: popular[food()] as Food,
    search: { ...(searches[search()] as { q: string; lang: string }), page: page() + 1 },
  }));
}

/** The shop's database: each query really waits, 2-4 ms for a row and 5-9 ms for a search. */
function openDatabase(foods: readonly Food[]) {
  const random = seeded(528);
  const rows = new Map(foods.map((food) => [food.id, food]));
  const wait = (least: number, spread: number): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, least + random() * spread));
  return {
    async product(id: string): Promise<Food | undefined> {
      await wait(2, 2);
      return rows.get(id);
    },
    async category(id: string): Promise<{ id: string; name: string; foods: string[] }> {
      await wait(2, 2);
      const members = [...rows.values()].filter(({ categoryId }) => categoryId === id);
      return { id, name: id, foods: members.map((food) => food.id) };
    },
    async search({ q, lang, page }: Visit["search"]): Promise<{ id: string; name: string }[]> {
      await wait(5, 4);
      const found = [...rows.values()].filter(({ names }) => names[lang]?.includes(q));
      return found.slice(page * 10 - 10, page * 10).map(({ id, name }) => ({ id, name }));
    },
    async session(userId: number): Promise<{ userId: number }> {
      await wait(2, 2);
      return { userId };
    },
    async setPrice(id: string, price: number): Promise<void> {
      await wait(2, 2);
      rows.set(id, { ...(rows.get(id) as Food), price });
    },
  };
}

/** Serves the visits, several at a time. Returns the times that they took by kind, in milliseconds. */
async function serve(
  visits: readonly Visit[],
  answers: Partial<Record<Kind, (visit: Visit) => Promise<unknown>>>,
  until = Number.POSITIVE_INFINITY,
) {
  const took = new Map<Kind, number[]>(KINDS.map((kind) => [kind, []]));
  const start = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: SHOPPERS }, async () => {
      while (next < visits.length && performance.now() - start < until) {
        const visit = visits[next++] as Visit;
        const answer = answers[visit.kind];
        if (!answer) continue;
        // Visits arrive in turns of the event loop, as requests do.
        await setImmediate();
        const begun = performance.now();
        await answer(visit);
        took.get(visit.kind)?.push(performance.now() - begun);
      }
    }),
  );
  return { took, served: next, seconds: (performance.now() - start) / 1000 };
}

function percentile(times: readonly number[], share: number): string {
  if (times.length === 0) return "-";
  const sorted = [...times].sort((a, b) => a - b);
  return (sorted[Math.ceil(sorted.length * share) - 1] as number).toFixed(2);
}

const colours = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code: number) => (text: string) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
const [bold, dim, green] = [paint(1), paint(2), paint(32)];
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const cells = (texts: readonly string[], ...widths: number[]): string =>
  texts.map((text, i) => (i === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[i] ?? 0))).join("");

async function main(): Promise<void> {
  // Sessions are encrypted with a key that is gone after this run.
  const keys = { run: crypto.getRandomValues(new Uint8Array(32)) };
  await using client = createCacheClient({ prefix: PREFIX, encryption: { keys } });
  await client.connect({ timeout: 3000 });
  const product = client.service("product");
  const auth = client.service("auth");
  const order = client.service("order");
  const services = [product, auth, order];
  const patient = { timeout: 10_000, onError: "throw" } as const;
  const clear = () => Promise.all(services.map((service) => service.clear(patient)));
  await clear();

  const { foods, categories } = await readCatalogue();
  const database = openDatabase(foods);
  const languages = new Set(foods.flatMap(({ names }) => Object.keys(names)));
  console.log(
    `${bold("Food Fast")}: ${foods.length} foods in ${categories.length} categories, ${languages.size} languages\n`,
  );

  const start = performance.now();
  const loaded = await product.products.setMany(
    foods.map((food) => [food.id, food]),
    patient,
  );
  const loading = performance.now() - start;

  const visits = plan(foods);
  const { took, served, seconds } = await serve(
    visits,
    {
      product: ({ food }) => product.products.getOrSet(food.id, () => database.product(food.id)),
      category: ({ food: { categoryId: id } }) => product.categories.getOrSet(id, () => database.category(id)),
      search: ({ search }) => product.searches.getOrSet(search, () => database.search(search)),
      session: ({ user }) => auth.sessions.getOrSet(`token-of-${user}`, () => database.session(user)),
      cart: ({ user, food }) =>
        order.updateCart(user, (cart) => ({ items: [...(cart?.items ?? []), { productId: food.id, quantity: 1 }] })),
      "rate limit": ({ user }) => auth.checkRateLimit(`api:${user}`, { limit: 5, window: "1m", algorithm: "sliding" }),
      "price change": async ({ food: { id, categoryId, price } }) => {
        await database.setPrice(id, price + 1);
        await product.invalidateProduct(id, { categoryId });
      },
    },
    OPENING_HOURS,
  );
  const { wire, hits, misses, hitRate, errors } = client.stats();

  const without = await serve(visits.slice(0, served), {
    product: ({ food }) => database.product(food.id),
    category: ({ food }) => database.category(food.categoryId),
    search: ({ search }) => database.search(search),
    session: ({ user }) => database.session(user),
  });

  const line = (name: string, text: string) => console.log(`  ${dim(name.padEnd(11))}${text}`);
  line("store", `${bold(client.driver)}, ${client.databases} databases, prefix "${PREFIX}"`);
  line("loaded", `${loaded} products in ${loading.toFixed(0)} ms`);
  line("served", `${served} visits by ${SHOPPERS} shoppers at a time in ${seconds.toFixed(2)} s`);
  line("hit rate", `${green(percent(hitRate))} of ${hits + misses} reads${errors > 0 ? `, ${errors} errors` : ""}`);

  const widths = [15, 6, 10, 9, 9, 20, 9];
  console.log(
    `\n  ${dim(cells(["", "visits", "hit rate", "p50 ms", "p95 ms", "without cache: p50", "p95 ms"], ...widths))}`,
  );
  const reads = {
    product: product.products,
    search: product.searches,
    category: product.categories,
    session: auth.sessions,
  };
  for (const kind of KINDS) {
    const [times = [], direct = []] = [took.get(kind), without.took.get(kind)];
    const collection = kind in reads ? reads[kind as keyof typeof reads] : undefined;
    const numbers = [times, direct].flatMap((list) => [percentile(list, 0.5), percentile(list, 0.95)]);
    const rate = collection ? percent(collection.stats().hitRate) : "-";
    console.log(`  ${cells([kind, `${times.length}`, rate, ...numbers], ...widths)}`);
  }

  const counts: string[] = [];
  for (const service of services) {
    let count = 0;
    for await (const _ of service.keys("*", patient)) count++;
    counts.push(`${service.database} ${service.name} ${count}`);
  }
  console.log();
  line("keys", counts.join(", "));
  line("wire", `${wire.commands} commands in ${wire.roundTrips} round trips, ${wire.retries} retries\n`);

  const tongues = ["English", "Hindi", "Bengali", "Tamil"];
  console.log(`  ${dim(tongues.map((tongue) => tongue.padEnd(24)).join(""))}`);
  for (const [, food] of await product.products.getMany(["G024", "H007", "L002"])) {
    const { names } = food as Food;
    console.log(`  ${tongues.map((tongue) => (names[tongue] ?? "-").padEnd(24)).join("")}`);
  }

  const cleared = (await clear()).reduce((sum, count) => sum + count, 0);
  console.log(
    `\n  Cleared ${cleared} keys, including invalidated ones. To use another store, change only the environment:`,
  );
  console.log(`  ${dim("REDIS_URL=redis://127.0.0.1:6379 npm start")}`);
  console.log(`  ${dim("UPSTASH_REDIS_REST_URL=https://... UPSTASH_REDIS_REST_TOKEN=... npm start")}`);
}

try {
  await main();
} catch (error) {
  if (!isCacheError(error)) throw error;
  const problems = error instanceof CacheConfigError ? error.problems : [error.message];
  console.error(`The quickstart cannot use its store:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
  console.error("Set CACHE_DRIVER=memory to run it over the embedded store.");
  process.exitCode = 1;
}
