import * as v from "valibot";

/** An id inside a stored value: text or a number. */
export const idSchema: v.UnionSchema<[v.StringSchema<undefined>, v.NumberSchema<undefined>], undefined> =
  /* @__PURE__ */ v.union([/* @__PURE__ */ v.string(), /* @__PURE__ */ v.number()]);
