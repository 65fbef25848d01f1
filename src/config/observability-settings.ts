import { isLoopback } from "../support/loopback.ts";
import { type Environment, integer, invalid, textOrFile } from "./environment.ts";

/** How operators watch a process. */
export interface ObservabilitySettings {
  /** Address of /metrics; undefined turns it off. */
  readonly metrics:
    | {
        readonly host: string;
        readonly port: number;
        /** Bearer token of scrapes; without it, only this machine may scrape. */
        readonly token: string | undefined;
      }
    | undefined;
  /** Duration from which an operation is logged as slow; 0 turns these lines off. */
  readonly slowOperationMs: number;
}

const ADDRESS = /^(?:(?<host>\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):)?(?<port>\d{1,5})$/;
const SHORTEST_TOKEN = 16;

export function observability(env: Environment): ObservabilitySettings {
  return {
    metrics: metrics(env),
    slowOperationMs: integer(env, "PLINTH_SLOW_OPERATION_MS", 1_000, 0, 3_600_000),
  };
}

/** A metrics port that other machines reach needs a token, because the numbers show how an installation is used. */
function metrics(env: Environment): ObservabilitySettings["metrics"] {
  const token = textOrFile(env, "PLINTH_METRICS_TOKEN", "").trim() || undefined;
  if (token !== undefined && (token.length < SHORTEST_TOKEN || !/^[\w.~+/=-]+$/.test(token)))
    throw invalid(
      "PLINTH_METRICS_TOKEN",
      "[hidden]",
      `at least ${SHORTEST_TOKEN} letters, digits and - . _ ~ + / =`,
    );
  const name = "PLINTH_METRICS";
  const value = env[name];
  if (!value || /^(0|false|no|off)$/i.test(value)) return undefined;
  const { host = "127.0.0.1", port = "" } = ADDRESS.exec(value)?.groups ?? {};
  if (port === "" || Number(port) > 65_535)
    throw invalid(name, value, "off, a port such as 9464, or an address such as 0.0.0.0:9464");
  const address = host.replace(/^\[|\]$/g, "");
  if (!isLoopback(address) && token === undefined)
    throw invalid(
      name,
      value,
      "an address of this machine, such as 127.0.0.1:9464, unless PLINTH_METRICS_TOKEN is set",
    );
  return { host: address, port: Number(port), token };
}
