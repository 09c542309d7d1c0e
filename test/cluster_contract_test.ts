import { clusterStore, runContract } from "./helpers/contract_stores.ts";

runContract("a cluster of three masters", clusterStore);
