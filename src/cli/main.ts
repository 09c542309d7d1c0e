#!/usr/bin/env node
/**
 * The command `larder`.
 *
 * @module
 */
import { commandArguments } from "../runtime/process.ts";
import { main } from "./program.ts";

// `false` if another module imports this one.
if ((import.meta as { main?: boolean }).main !== false) await main(commandArguments());
