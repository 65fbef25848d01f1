import type { Logger } from "pino";
import type { WebSocket } from "ws";
import type { LiveSubscription } from "../../live/live-subscription.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import { TRY_AGAIN } from "./open-sockets.ts";

/** An open socket and what it is doing. */
export interface Connection {
  readonly socket: WebSocket;
  request: RequestContext;
  readonly live: Set<LiveSubscription>;
  /** Number of operations not yet known to be subscriptions or not. */
  preparing: number;
}

/** Asks the client to reconnect later if a part of the server does not answer now. @returns whether that is the reason */
export function closeIfUnavailable(error: unknown, { socket, request }: Connection, logger: Logger): boolean {
  if (!(error instanceof PlinthError && error.code === "UNAVAILABLE")) return false;
  logger.warn({ correlationId: request.correlationId, err: error }, "unavailable");
  socket.close(TRY_AGAIN.code, TRY_AGAIN.reason);
  return true;
}
