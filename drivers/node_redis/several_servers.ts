/** The parts that drivers of several servers share: the servers in their options, and the addresses that they dial. */

import { invalidType } from "../../src/base/check.ts";
import { type NodeAddress, nodeName, readNodes } from "../../src/base/hosts.ts";
import { StoreError } from "../driver.ts";

/** Turns an address that a server gives into the one that is dialled. */
export type Translate = (address: NodeAddress) => NodeAddress;

/**
 * Reads a list of servers.
 *
 * @param given The list.
 * @param defaultPort The port of servers that name none.
 * @param what The option, for errors.
 * @throws {TypeError} With the name of the option.
 */
export function readServers(given: unknown, defaultPort: number, what: string): NodeAddress[] {
  try {
    if (Array.isArray(given)) return readNodes(given, defaultPort);
  } catch (error) {
    throw new TypeError(`Cannot set ${what}: ${(error as Error).message}`);
  }
  throw invalidType(`set ${what}`, given, 'a list of "host:port"');
}

/**
 * Makes the function that turns addresses into those that are dialled.
 *
 * @param mapAddress The function of the application, if it has one.
 * @returns The function. It throws a {@linkcode StoreError} for an address that the application's cannot map.
 */
export function translator(mapAddress: Translate | undefined): Translate {
  if (!mapAddress) return (address) => address;
  return (address) => {
    try {
      return readNodes([mapAddress({ ...address })], address.port)[0] as NodeAddress;
    } catch (error) {
      const text = `Cannot map the address ${nodeName(address)}: ${(error as Error)?.message ?? error}`;
      throw new StoreError("protocol", text, { cause: error });
    }
  };
}
