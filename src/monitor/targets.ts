/** Targets that the default rules and the dashboard share. */

/** The hit rate to stay above. */
export const HIT_RATE = 0.7;
/** The used share of the store's memory to stay below. */
export const MEMORY = 0.8;
