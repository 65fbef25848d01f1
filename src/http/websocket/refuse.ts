import type { Duplex } from "node:stream";

/** Rejects an upgraded connection. */
export function refuse(stream: Duplex, status: string): void {
  // Closes both halves: a client that keeps its half open would keep the server from stopping.
  stream.once("finish", () => stream.destroy());
  stream.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
