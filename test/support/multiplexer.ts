import { createServer, connect as dial, type Socket } from "node:net";
import { messageReader } from "./transaction-pooler.ts";

export interface Multiplexer {
  /** The same URL, through the pooler. */
  urlThrough(url: string): string;
  close(): Promise<void>;
}

/** The parameters that PgBouncer accepts without further settings. */
const ACCEPTED = ["user", "database", "application_name", "client_encoding"];
/** The process that it announces to clients instead of the server's. */
const ANNOUNCED_PID = 1;

/** A server connection, and the client that has it at the moment. */
interface Server {
  readonly socket: Socket;
  receive: (type: string, message: Buffer) => void;
}

/**
 * A pooler in transaction mode, as PgBouncer is one, for machines without it. Each client signs in on a server connection of its
 * own, which then belongs to all clients of that user and database: each transaction gets the one that was released last. It
 * rejects further startup parameters.
 */
export async function startMultiplexer(serverUrl: string): Promise<Multiplexer> {
  const { hostname, port } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  const pools = new Map<string, Server[]>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  };
  const proxy = createServer((client) => {
    keep(client);
    let free: Server[] = [];
    let server: Server | undefined = openServer();
    let isSignedIn = false;
    /** Answers that the server owes: the startup's, and one for each simple query and each Sync. */
    let owed = 1;

    function openServer(): Server {
      const opened: Server = { socket: dial(Number(port || 5432), hostname), receive };
      keep(opened.socket);
      opened.socket.on(
        "data",
        messageReader((type, message) => opened.receive(type, message), false),
      );
      opened.socket.on("close", () => {
        if (server === opened) client.destroy();
      });
      return opened;
    }

    function receive(type: string, message: Buffer): void {
      if (type === "K") message.writeInt32BE(ANNOUNCED_PID, 5);
      client.write(message);
      if (type !== "Z") return;
      isSignedIn = true;
      owed -= 1;
      const isIdle = String.fromCharCode(message[5]!) === "I";
      if (owed > 0 || !isIdle || !server) return;
      free.push(server);
      server = undefined;
    }

    function send(type: string, message: Buffer): void {
      if (type === "X") client.end();
      else if (type === "") start(message);
      else forward(type, message);
    }

    function forward(type: string, message: Buffer): void {
      server ??= free.pop();
      if (!server) {
        client.destroy();
        return;
      }
      server.receive = receive;
      if (isSignedIn && (type === "Q" || type === "S")) owed += 1;
      server.socket.write(message);
    }

    function start(message: Buffer): void {
      const words = message.subarray(8).toString().split("\0");
      const rejected = words.find((word, i) => i % 2 === 0 && word !== "" && !ACCEPTED.includes(word));
      if (rejected)
        return void client.end(errorResponse("08P01", `unsupported startup parameter: ${rejected}`));
      const pool = words.slice(0, 4).join();
      free = pools.get(pool) ?? [];
      pools.set(pool, free);
      server!.socket.write(message);
    }

    client.on("data", messageReader(send, true));
    // In the middle of a transaction, the server connection is closed with the client, as PgBouncer does it.
    client.on("close", () => server?.socket.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const address = proxy.address() as { port: number };
  return {
    urlThrough: (url) =>
      Object.assign(new URL(url), { hostname: "127.0.0.1", port: String(address.port) }).href,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}

function errorResponse(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.alloc(5);
  head.write("E");
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
