#!/usr/bin/env node
/**
 * The command `larder`.
 *
 * @module
 */
import { commandArguments } from "../system.ts";
import { main } from "./program.ts";

await main(commandArguments());
