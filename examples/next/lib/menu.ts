import { collection, defineService } from "@foodfast/larder";

/** A dish as the database has it, and the process that asked for it. */
export interface Dish {
  readonly id: string;
  readonly name: string;
  readonly loadedBy: string;
  readonly loadedAt: Date;
}

/**
 * The application's service. Next.js evaluates this module more than once, a time for each of its layers and for each
 * change while it develops: a declaration that says the same is the same service.
 */
export const menu = defineService({
  name: "menu",
  collections: { dishes: collection<Dish>({ key: "dish:{id}", ttl: "1h", tags: ["menu"] }) },
});

/** Stands for the database. */
export async function loadDish(id: string, loadedBy: string): Promise<Dish> {
  return { id, name: `Dish ${id}`, loadedBy, loadedAt: new Date() };
}
