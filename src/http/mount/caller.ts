import { IncomingMessage } from "node:http";
import { contextOf, type RequestContext } from "../../request/context.ts";

/** A request in any of the forms in which frameworks pass it on. */
export type AnyRequest =
  | IncomingMessage
  | Request
  | { readonly headers: Headers | Readonly<Record<string, string | string[] | undefined>> };

/** Creates the context of a request that Plinth does not answer itself. */
export function createContextOf(
  addressOf: (request: IncomingMessage) => string | undefined,
): (request: AnyRequest) => RequestContext {
  return (request) =>
    contextOf({
      headers: headersOf(request),
      ip: request instanceof IncomingMessage ? addressOf(request) : undefined,
    });
}

export function headersOf({ headers }: AnyRequest): IncomingMessage["headers"] {
  const entries = headers instanceof Headers ? headers : Object.entries(headers);
  return Object.fromEntries([...entries].map(([name, value]) => [name.toLowerCase(), value]));
}
