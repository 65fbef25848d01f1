import type { RequestListener, ServerResponse } from "node:http";
import { errorBody, HttpError } from "../http-error.ts";
import { API_SECURITY_HEADERS } from "../steps/security-headers.ts";
import type { InProgress } from "./in-progress.ts";
import { locate, type MountedRequest, pathOf } from "./location.ts";

/** Answers the requests of an application: Node's own listener, and a middleware of Express and Connect. */
export type Handler = (
  request: MountedRequest,
  response: ServerResponse,
  /** Called for paths that are not Plinth's; without it they are answered with 404. */
  next?: (error?: unknown) => void,
) => void;

export function createHandler(parts: {
  readonly listener: RequestListener;
  readonly ownsPath: (path: string) => boolean;
  readonly prefix: string;
  readonly inProgress: InProgress;
}): Handler {
  const { listener, ownsPath, prefix, inProgress } = parts;

  return (request, response, next) => {
    const location = locate(request, prefix);
    const path = location && pathOf(location.url);
    // At the root of an application, its front page is its own.
    const isTheirs = !path || !ownsPath(path) || (path === "/" && location.base === "");
    if (next && isTheirs) return next();
    if (!location) return send(response, new HttpError(404, "NOT_FOUND", "Not found."));
    if (inProgress.isClosed)
      return send(
        response,
        new HttpError(503, "UNAVAILABLE", "The server is stopping.", { "Retry-After": "1" }),
      );
    request.url = location.url;
    request.baseUrl = location.base;
    inProgress.track(new Promise<void>((resolve) => response.once("close", resolve)));
    listener(request, response);
  };
}

function send(response: ServerResponse, error: HttpError): void {
  const headers = { ...API_SECURITY_HEADERS, ...error.headers, "Cache-Control": "no-store" };
  response
    .writeHead(error.status, { ...headers, "Content-Type": "application/json; charset=utf-8" })
    .end(JSON.stringify(errorBody(error)));
}
