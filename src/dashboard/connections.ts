/** Connections to places, shared by requests. */
import {
  type Connection,
  type Driver,
  type RawCommand,
  type RawReply,
  type SendOptions,
  StoreError,
} from "../../drivers/driver.ts";
import type { ManagedClient } from "../manager/mod.ts";
import { DASHBOARD } from "../manager/slow_log.ts";

/** Opens a connection. */
type Open = () => Promise<Connection>;

/** A client whose tools share one connection a place, where they would open one each. */
export class SharedConnections implements ManagedClient {
  readonly #client: ManagedClient;
  readonly #open = new Map<string, Promise<Connection>>();
  #closed = false;

  /** @param client The client. */
  constructor(client: ManagedClient) {
    this.#client = client;
  }

  /** Where keys live; what opens a connection there gets the shared one. */
  async locate(of: Parameters<ManagedClient["locate"]>[0]): ReturnType<ManagedClient["locate"]> {
    const place = await this.#client.locate(of);
    const { driver } = place;
    const { connect } = driver;
    if (!connect) return place;
    const shared: Driver = {
      name: driver.name,
      capabilities: driver.capabilities,
      send: (...args) => driver.send(...args),
      close: async () => {},
      connect: async (database, options) => {
        const id = `${place.service ?? ""} ${database}`;
        const open = async (): Promise<Connection> => {
          const connection = await connect.call(driver, database, options);
          // A user who may not do that does without.
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
          listen: () => Promise.reject(new StoreError("protocol", "a shared connection does not listen")),
          close: async () => {},
        };
      },
    };
    return { ...place, driver: shared };
  }

  /** Closes the connections, and opens no more. */
  async close(): Promise<void> {
    this.#closed = true;
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map(async (opening) => (await opening.catch(() => undefined))?.close()));
  }

  #connection(id: string, open: Open): Promise<Connection> {
    if (this.#closed) return Promise.reject(new StoreError("closed", "the dashboard was closed"));
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
      // It was lost while it was idle.
      if (again && error instanceof StoreError && error.repeat === "all") {
        return this.#send(id, open, commands, limits, false);
      }
      throw error;
    }
  }

  /** The next one opens another. */
  #forget(id: string, opening: Promise<Connection>): void {
    if (this.#open.get(id) === opening) this.#open.delete(id);
    opening.then((connection) => connection.close()).catch(() => {});
  }
}
