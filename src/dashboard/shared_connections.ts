/** Connections that the requests of a dashboard share. */
import {
  type Connection,
  type Driver,
  type RawCommand,
  type RawReply,
  type SendOptions,
  StoreError,
} from "../../drivers/driver.ts";
import { isStoreError } from "../base/store_error.ts";
import type { ManagedClient } from "../manager/mod.ts";
import { DASHBOARD } from "../manager/slow_log.ts";

/** Opens a connection. */
type Open = () => Promise<Connection>;

/** A client whose tools share one connection for each location, instead of opening one each. */
export class SharedConnections implements ManagedClient {
  readonly #client: ManagedClient;
  readonly #open = new Map<string, Promise<Connection>>();
  #closed = false;

  /**
   * Creates shared connections.
   *
   * @param client The client.
   */
  constructor(client: ManagedClient) {
    this.#client = client;
  }

  /** Returns the location of a service or database. Opening a connection there gives the shared one. */
  async locate(of: Parameters<ManagedClient["locate"]>[0]): ReturnType<ManagedClient["locate"]> {
    const location = await this.#client.locate(of);
    const { driver } = location;
    const { connect } = driver;
    if (!connect) return location;
    const shared: Driver = {
      name: driver.name,
      capabilities: driver.capabilities,
      send: (...args) => driver.send(...args),
      close: async () => {},
      ...(driver.partOf && { partOf: (key: string) => driver.partOf?.(key) ?? "" }),
      ...(driver.parts && { parts: () => driver.parts?.() ?? [] }),
      connect: async (database, options) => {
        const id = `${location.service ?? ""} ${database} ${options?.part ?? ""}`;
        const open = async (): Promise<Connection> => {
          const connection = await connect.call(driver, database, options);
          // The name keeps the dashboard's commands out of the list of slow queries. Users may lack the right to set
          // it.
          try {
            await connection.send([["CLIENT", "SETNAME", DASHBOARD]], options);
            return connection;
          } catch (error) {
            await connection.close();
            throw error;
          }
        };
        await this.#connection(id, open);
        return {
          send: (commands, limits) => this.#send(id, open, commands, limits),
          listen: () => Promise.reject(new StoreError("protocol", "Cannot listen on a shared connection")),
          close: async () => {},
        };
      },
    };
    return { ...location, driver: shared };
  }

  /** Closes the connections. No more are opened afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map(async (opening) => (await opening.catch(() => undefined))?.close()));
  }

  #connection(id: string, open: Open): Promise<Connection> {
    if (this.#closed)
      return Promise.reject(new StoreError("closed", "Cannot open a connection: the dashboard was closed"));
    const known = this.#open.get(id);
    if (known) return known;
    const opening = open();
    this.#open.set(id, opening);
    opening.catch(() => this.#forget(id, opening));
    return opening;
  }

  async #send(
    id: string,
    open: Open,
    commands: readonly RawCommand[],
    limits: SendOptions | undefined,
    again = true,
  ): Promise<RawReply[]> {
    const opening = this.#connection(id, open);
    try {
      return await (await opening).send(commands, limits);
    } catch (error) {
      this.#forget(id, opening);
      // The connection was lost while it was idle.
      if (again && isStoreError(error) && error.repeat === "all") {
        return this.#send(id, open, commands, limits, false);
      }
      throw error;
    }
  }

  /** Drops a connection, so that the next command opens another. */
  #forget(id: string, opening: Promise<Connection>): void {
    if (this.#open.get(id) === opening) this.#open.delete(id);
    opening.then((connection) => connection.close()).catch(() => {});
  }
}
