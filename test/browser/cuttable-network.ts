import { connect, createServer, type Server, type Socket } from "node:net";
import { freePorts } from "../support/ports.ts";

/** A way to a server that can be cut: its connections break, and new ones are rejected, until it is restored. */
export async function cuttableNetwork(target: URL) {
  const open = new Set<Socket>();
  const listen = (port: number) =>
    new Promise<Server>((resolve) => {
      const server = createServer((socket) => {
        const onward = connect(Number(target.port), target.hostname);
        for (const end of [socket, onward]) {
          open.add(end);
          end.on("error", () => {});
          end.once("close", () => {
            open.delete(end);
            socket.destroy();
            onward.destroy();
          });
        }
        socket.pipe(onward).pipe(socket);
      }).listen(port, "127.0.0.1", () => resolve(server));
    });
  const [port] = (await freePorts(1)) as [number];
  let server = await listen(port);
  async function cut(): Promise<void> {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of open) socket.destroy();
    await closed;
  }
  return {
    url: `http://127.0.0.1:${port}`,
    cut,
    async restore() {
      server = await listen(port);
    },
  };
}
