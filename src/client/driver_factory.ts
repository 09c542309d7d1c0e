import type { Driver } from "../../drivers/driver.ts";
import type { Config, DriverName } from "../config/options.ts";
import type { ClientOptions } from "./types.ts";

/** Opens drivers of one kind. */
export interface DriverFactory {
  /** `true` if the store has numbered databases; `"optional"` if some of its kind have. */
  readonly numbered: boolean | "optional";
  /** Gives later clients the same driver, which then outlives each of them. @default false */
  readonly kept?: boolean;
  /** Opens the driver, and loads its code if that is loaded lazily. */
  open(config: Config, options: ClientOptions): Driver | Promise<Driver>;
}

/** The drivers that a build can open by name. */
export type DriverFactories = Readonly<Partial<Record<DriverName, DriverFactory>>>;
