#!/usr/bin/env node
/**
 * The command `larder`.
 *
 * @module
 */
import { commandArguments } from "../runtime/process.ts";
import { main } from "./program.ts";

// Where the runtime says so, not when it is only loaded.
if ((import.meta as { main?: boolean }).main !== false) await main(commandArguments());
