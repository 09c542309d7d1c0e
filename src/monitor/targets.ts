/** What is aimed at, unless rules say otherwise. */

/** The share of reads that should find a value. */
export const HIT_RATE = 0.7;
/** The share of its memory that a store should not go beyond. */
export const MEMORY = 0.8;
