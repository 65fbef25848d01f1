import { connect } from "node:net";

/** Sends bytes unchanged and resolves with everything that the server sends until it closes the connection. */
export function sendRaw(url: string, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    let answer = "";
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket
      .on("data", (chunk: Buffer) => {
        answer += chunk.toString("latin1");
      })
      .on("end", () => resolve(answer))
      .on("error", reject);
  });
}
