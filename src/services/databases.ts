/** The services of Food Fast, each in the database whose number is its place in the list. */
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

/** The database that services share which name none. */
export const OWN_DATABASE = 8;
