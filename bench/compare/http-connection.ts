import { connect, type Socket } from "node:net";

/** An answer with a body of known length. */
export interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/** Reads one answer after the other from the chunks of a connection; returns undefined until an answer is complete. */
export function createAnswerReader(): (chunk: Buffer) => Answer | undefined {
  let chunks: Buffer[] = [];
  let received = 0;
  let head: { status: number; bodyStart: number; end: number } | undefined;
  return (chunk) => {
    chunks.push(chunk);
    received += chunk.length;
    head ??= readHead(chunks.length === 1 ? chunk : Buffer.concat(chunks));
    if (!head || received < head.end) return undefined;
    if (received > head.end) throw new Error("The answer is longer than its Content-Length.");
    const body = Buffer.concat(chunks).subarray(head.bodyStart);
    const { status } = head;
    chunks = [];
    received = 0;
    head = undefined;
    return { status, body };
  };
}

function readHead(bytes: Buffer): { status: number; bodyStart: number; end: number } | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const text = bytes.toString("latin1", 0, headEnd);
  const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
  if (!length) throw new Error(`The answer has no Content-Length:\n${text}`);
  return {
    status: Number(text.slice("HTTP/1.1 ".length, "HTTP/1.1 200".length)),
    bodyStart: headEnd + 4,
    end: headEnd + 4 + Number(length),
  };
}

export interface HttpConnection {
  /** Sends a request of POST /graphql in one write; the answer to the one before must have arrived. */
  ask(headers: string, body: string): Promise<Answer>;
  close(): void;
}

/** Opens a connection that does as little as possible, because the client shares the processors with what it measures. */
export async function openHttpConnection(url: string): Promise<HttpConnection> {
  const { hostname, port, host } = new URL(url);
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opened = connect(Number(port), hostname, () => resolve(opened)).once("error", reject);
  });
  socket.setNoDelay(true);
  const read = createAnswerReader();
  let waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  socket.on("data", (chunk: Buffer) => {
    try {
      const answer = read(chunk);
      if (!answer) return;
      waiting?.resolve(answer);
      waiting = undefined;
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
  socket.on("error", (error) => waiting?.reject(error));
  socket.on("close", () => waiting?.reject(new Error("The server closed the connection.")));
  return {
    ask: (headers, body) =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        socket.write(
          `POST /graphql HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`,
        );
      }),
    close: () => socket.destroy(),
  };
}
