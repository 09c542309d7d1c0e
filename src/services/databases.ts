/** The services of Food Fast. The index of each is its database. */
export const SERVICE_NAMES: readonly string[] = [
  "gateway",
  "product",
  "auth",
  "user",
  "order",
  "analytics",
  "payment",
  "notification",
];

/** The database that services without one of their own share. */
export const OWN_DATABASE = 8;
