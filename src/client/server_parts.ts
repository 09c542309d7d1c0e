import { TCP_ADDRESSES } from "../config/parse_config.ts";
import type { AddressReaders } from "../config/settings.ts";
import { LoadClock } from "../wire/load_clock.ts";
import { ClientParts } from "./client_parts.ts";
import { Invalidator } from "./invalidator.ts";
import { type PlainCommands, plainCommands } from "./plain_commands.ts";
import type { Setup } from "./types.ts";

/** The parts of a client that only builds for servers have: those for TCP, and for drivers that are loaded late. */
export interface ServerParts {
  /** The readers of addresses. */
  readonly addresses: AddressReaders;
  /** Makes the clock of deadlines. */
  readonly loadClock: () => LoadClock;
  /** The parts that read and write by plain commands. */
  readonly plainCommands: PlainCommands;
  /** Makes what sends to the servers of a cluster apart from each other. */
  readonly parts: NonNullable<Setup<object>["parts"]>;
  /** Makes what invalidates a cluster. */
  readonly invalidator: NonNullable<Setup<object>["invalidator"]>;
}

/** Builds for the edge leave this file out. */
export const serverParts: ServerParts = {
  addresses: TCP_ADDRESSES,
  loadClock: () => new LoadClock(),
  plainCommands,
  parts: (...args) => new ClientParts(...args),
  invalidator: (...args) => new Invalidator(...args),
};
