import * as v from "valibot";

/** An id inside a stored value: text or a number. A union of two schemas would be larger and slower. */
export const idSchema: v.CustomSchema<string | number, string> = /* @__PURE__ */ v.custom<string | number, string>(
  (value) => typeof value === "string" || typeof value === "number",
  "Invalid id: Expected text or a number",
);
