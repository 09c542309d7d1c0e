/** The databases of the services of Food Fast. */
export const SERVICE_DATABASES: Readonly<Record<string, number>> = {
  gateway: 0,
  product: 1,
  auth: 2,
  user: 3,
  order: 4,
  analytics: 5,
  payment: 6,
  notification: 7,
};

/** The database that the services share which name none. */
export const OWN_DATABASE = 8;
