import type { WebSocket } from "ws";

/** A socket that does not answer a ping before the next one is dead. */
const PING_INTERVAL_MS = 20_000;

/** Terminates a socket whose other side is gone. */
export function keepAlive(socket: WebSocket): void {
  let isAlive = true;
  socket.on("pong", () => {
    isAlive = true;
  });
  const timer = setInterval(() => {
    if (!isAlive) return socket.terminate();
    isAlive = false;
    socket.ping();
  }, PING_INTERVAL_MS).unref();
  socket.once("close", () => clearInterval(timer));
}
