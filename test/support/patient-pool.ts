import { loadConfig } from "../../src/config/config.ts";

/**
 * Settings of a pool whose time limits only end what would hang: a busy machine may stand still for longer than the limits of a
 * server. A test of a limit sets its own.
 */
export const PATIENT_POOL = loadConfig({
  PLINTH_STATEMENT_TIMEOUT_MS: "600000",
  PLINTH_POOL_CONNECTION_TIMEOUT_MS: "600000",
}).pool;
