/**
 * Returns whether two values are equal, so strictly that nothing is left out: prototypes, -0, NaN, the order of Maps
 * and Sets, cycles. Whether what is met again is one object or an equal one is not looked at.
 */
export function same(one: unknown, other: unknown, met: Map<object, Set<object>> = new Map()): boolean {
  if (typeof one !== "object" || one === null || typeof other !== "object" || other === null) {
    return Object.is(one, other);
  }
  const compared = met.get(one) ?? new Set();
  if (compared.has(other)) return true;
  met.set(one, compared.add(other));
  const within = (a: unknown, b: unknown): boolean => same(a, b, met);
  if (Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return false;
  const brand = Object.prototype.toString.call(one);
  if (brand !== Object.prototype.toString.call(other)) return false;
  if (one instanceof ArrayBuffer || brand === "[object SharedArrayBuffer]") {
    return within(new Uint8Array(one as ArrayBuffer), new Uint8Array(other as ArrayBuffer));
  }
  if (ArrayBuffer.isView(one)) {
    const [a, b] = [one, other as ArrayBufferView].map(
      (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength),
    ) as [Uint8Array, Uint8Array];
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
  }
  const keys = (value: object): PropertyKey[] =>
    Reflect.ownKeys(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key));
  const [mine, theirs] = [keys(one), keys(other)];
  if (mine.length !== theirs.length || !mine.every((key) => theirs.includes(key))) return false;
  for (const key of mine) if (!within(Reflect.get(one, key), Reflect.get(other, key))) return false;
  if (Array.isArray(one)) return one.length === (other as unknown[]).length;
  if (one instanceof Date) return Object.is(one.getTime(), (other as Date).getTime());
  if (one instanceof RegExp) return String(one) === String(other) && one.lastIndex === (other as RegExp).lastIndex;
  if (one instanceof URL) return one.href === (other as URL).href;
  if (one instanceof Map || one instanceof Set) return within([...one], [...(other as Set<unknown>)]);
  if (one instanceof Error) {
    const { name, message, stack } = other as Error;
    const causes = [one, other as Error].map((error) => (Object.hasOwn(error, "cause") ? [error.cause] : []));
    return one.name === name && one.message === message && one.stack === stack && within(causes[0], causes[1]);
  }
  return true;
}
