import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { parseExactJson } from "../support/exact-json.ts";
import { HttpError } from "./http-error.ts";

/**
 * Reads the body of a request: as sent, or as a body parser of the application has left it in `body`.
 * @throws HttpError PAYLOAD_TOO_LARGE as soon as more than `limitBytes` are announced or arrive, UNSUPPORTED_MEDIA_TYPE
 * for a compressed body, which could unpack to any size
 */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  if (!isRead(request)) return readStream(request, limitBytes);
  const { body } = request;
  if (body == null) throw alreadyRead();
  const buffer = Buffer.from(isBytes(body) ? body : JSON.stringify(body));
  if (buffer.length > limitBytes) throw tooLarge(limitBytes);
  return buffer;
}

/**
 * Reads the body of a request exactly as sent, for signatures.
 * @throws HttpError like readBody, and BAD_REQUEST if a body parser has replaced the bytes
 */
export async function readSentBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  if (!isRead(request)) return readStream(request, limitBytes);
  if (!isBytes(request.body)) throw alreadyRead();
  return Buffer.from(request.body);
}

/** Whether the application has read the body. A body parser leaves a stream alone that it does not parse. */
function isRead(request: IncomingMessage): request is IncomingMessage & { readonly body?: unknown } {
  return request.readableDidRead || request.readableEnded;
}

const isBytes = (body: unknown): body is string | Uint8Array =>
  typeof body === "string" || body instanceof Uint8Array;

function alreadyRead(): HttpError {
  return new HttpError(
    400,
    "BAD_REQUEST",
    "The application read the body before Plinth. Mount Plinth before the body parser.",
  );
}

function readStream(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const { "content-encoding": encoding = "identity", "content-length": announced } = request.headers;
  if (encoding.toLowerCase() !== "identity")
    throw new HttpError(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body without Content-Encoding.");
  if (Number(announced) > limitBytes) throw tooLarge(limitBytes);

  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > limitBytes) {
        request.removeAllListeners("data").pause();
        reject(tooLarge(limitBytes));
      } else chunks.push(chunk);
    });
    request.once("end", () => resolve(Buffer.concat(chunks)));
    request.once("error", reject);
    request.once("close", () => {
      if (!request.complete) reject(new HttpError(400, "BAD_REQUEST", "The client aborted the request."));
    });
  });
}

/**
 * Parses a body as JSON and keeps every number as written.
 * @throws HttpError BAD_REQUEST for anything else, including bytes that are not UTF-8, which would be read as other characters
 */
export function readJson(body: Buffer): unknown {
  if (!isUtf8(body)) throw new HttpError(400, "BAD_REQUEST", "The body must be UTF-8.");
  try {
    return parseExactJson(body.toString());
  } catch (error) {
    if (error instanceof SyntaxError) throw new HttpError(400, "BAD_REQUEST", "The body must be JSON.");
    if (error instanceof RangeError)
      throw new HttpError(400, "BAD_REQUEST", "The body is nested too deeply.");
    throw error;
  }
}

/** The rest of the body is not read, so the connection cannot be reused. */
function tooLarge(limitBytes: number): HttpError {
  return new HttpError(413, "PAYLOAD_TOO_LARGE", `The body may have at most ${limitBytes} bytes.`, {
    Connection: "close",
  });
}
