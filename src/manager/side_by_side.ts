/** Runs walks at the same time, and yields what any of them yields. */
export async function* sideBySide<T>(walks: readonly AsyncGenerator<T, void, void>[]): AsyncGenerator<T, void, void> {
  const step = async (walk: AsyncGenerator<T, void, void>) => ({ walk, result: await walk.next() });
  const steps = new Map(walks.map((walk) => [walk, step(walk)]));
  for (const next of steps.values()) next.catch(() => {});
  while (steps.size > 0) {
    const { walk, result } = await Promise.race(steps.values());
    if (result.done) {
      steps.delete(walk);
      continue;
    }
    const next = step(walk);
    next.catch(() => {});
    steps.set(walk, next);
    yield result.value;
  }
}
