/**
 * The memory of refusals: what the store last said of keys that have no room, so that a flood costs no round trips.
 *
 * What is kept is the state of the limits, not a verdict. Others can only add to it, so as long as the state itself has
 * no room for a request, the store would refuse it too. A reset or a give-back opens a limit: those of this client are
 * noticed, those of other processes only when the store is asked again.
 *
 * @module
 */
import type { Limit, LimitState } from "../lua/limit_state.ts";

/** The states of a limit: its own, and that of its copy. */
export interface States {
  readonly own: LimitState;
  readonly copy?: LimitState;
}

/** An answer of the store about the limits of a key. */
export interface StoreAnswer {
  /** The limits that were asked for. */
  readonly limits: readonly Limit[];
  /** A moment before the store answered, by the clock of this process. */
  readonly asked: number;
  /** True if all limits had room, so that the request was counted. */
  readonly pass: boolean;
  /** The store's time, by which the states count. */
  readonly now: number;
  /** The store's time as callers see it. */
  readonly shown: number;
  readonly states: readonly States[];
}

/** The answers of a key. It is replaced when they are forgotten, so that a late reply finds out. */
export type Answers = StoreAnswer[];

/** The most keys of each of the two generations: the younger one becomes the older one when it is full. */
const MOST_KEYS = 10_000;
/** The most answers of one key, each for other limits. */
const MOST_ANSWERS = 16;

/** Keeps answers by physical key. */
export class RefusalMemory {
  #young = new Map<string, Answers>();
  #old = new Map<string, Answers>();

  /** Returns true if it has an answer about a key. */
  knows(key: string): boolean {
    return (this.#get(key)?.length ?? 0) > 0;
  }

  /** Returns the last answer about some limits of a key. */
  find(key: string, limits: readonly Limit[]): StoreAnswer | undefined {
    for (const answer of this.#get(key) ?? []) if (sameLimits(answer.limits, limits)) return answer;
    return undefined;
  }

  /** Returns the answers of a key, to which one may be added as long as they are not forgotten. */
  begin(key: string): Answers {
    const known = this.#young.get(key);
    if (known) return known;
    const answers = this.#old.get(key) ?? [];
    if (this.#young.size >= MOST_KEYS) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, answers);
    return answers;
  }

  /**
   * Keeps an answer, unless the answers of its key were forgotten since {@linkcode begin}. A request that was counted
   * may have changed what others were about.
   */
  keep(key: string, answers: Answers, answer: StoreAnswer): void {
    if (this.#get(key) !== answers) return;
    if (answer.pass) answers.length = 0;
    const at = answers.findIndex(({ limits }) => sameLimits(limits, answer.limits));
    answers[at < 0 ? answers.length % MOST_ANSWERS : at] = answer;
  }

  /** Forgets a key, because its state may have changed. */
  forget(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  /** Forgets everything after an invalidation, that of tags aside. */
  invalidate(_space?: unknown, tags?: readonly string[]): void {
    if (tags) return;
    this.#young.clear();
    this.#old.clear();
  }

  /** Does nothing: an invalidation by another process changes no limit. */
  outdate(): void {}

  /** Forgets everything: a closed client answers nothing. */
  async close(): Promise<void> {
    this.invalidate();
  }

  #get(key: string): Answers | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }
}

/** Returns true if two lists of limits are the same. */
export function sameLimits(some: readonly Limit[], others: readonly Limit[]): boolean {
  if (some.length !== others.length) return false;
  for (let i = 0; i < some.length; i++) {
    const [one, other] = [some[i] as Limit, others[i] as Limit];
    if (one.limit !== other.limit || one.window !== other.window || one.kind !== other.kind) return false;
  }
  return true;
}
