import { createServer, connect as dial, type Socket } from "node:net";

/** A proxy between clients and a PostgreSQL server. */
export interface TransactionPooler {
  /** The same URL, through the proxy. */
  urlThrough(url: string): string;
  /** Drops, from now on, notifications that arrive between two transactions, or delivers them. */
  setDropping(isDropping: boolean): void;
  close(): Promise<void>;
}

/**
 * Treats notifications as a pooler in transaction mode does (PgBouncer, pgcat): a client has a server only during its
 * transaction, so it receives notifications that arrive then, its own probe for example, and none in between.
 */
export async function startTransactionPooler(
  serverUrl: string,
  { isDropping = true }: { isDropping?: boolean } = {},
): Promise<TransactionPooler> {
  const { hostname, port } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let drops = isDropping;
  const proxy = createServer((client) => {
    const server = dial(Number(port || 5432), hostname);
    /** Responses that the server owes: the startup's, and one for each simple query and each Sync. */
    let awaited = 1;
    const sent = messageReader((type) => {
      if (type === "Q" || type === "S") awaited += 1;
    }, true);
    const received = messageReader((type, message) => {
      if (type === "Z") awaited -= 1;
      if (type !== "A" || awaited > 0 || !drops) client.write(message);
    }, false);
    client.on("data", (data: Buffer) => {
      sent(data);
      server.write(data);
    });
    server.on("data", received);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const address = proxy.address() as { port: number };
  return {
    urlThrough(url) {
      const through = new URL(url);
      through.hostname = "127.0.0.1";
      through.port = String(address.port);
      return through.href;
    },
    setDropping(isDropping) {
      drops = isDropping;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}

/** Cuts a stream of the wire protocol into its messages. A client's first one has a length and no type. */
export function messageReader(
  onMessage: (type: string, message: Buffer) => void,
  isClient: boolean,
): (data: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let hasType = !isClient;
  return (data) => {
    rest = Buffer.concat([rest, data]);
    for (;;) {
      const typeLength = hasType ? 1 : 0;
      if (rest.length < typeLength + 4) return;
      const length = typeLength + rest.readInt32BE(typeLength);
      if (rest.length < length) return;
      const message = rest.subarray(0, length);
      onMessage(hasType ? String.fromCharCode(message[0]!) : "", message);
      hasType = true;
      rest = rest.subarray(length);
    }
  };
}
