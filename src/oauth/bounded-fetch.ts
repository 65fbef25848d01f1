import type { CustomFetch } from "openid-client";
import { traceHeaders } from "../observability/tracing.ts";

/** A token response, a key set and a discovery document have a few kilobytes each. */
const MAX_BYTES = 1_000_000;

/** fetch with a size limit for responses; openid-client follows no redirects and sets the timeout. */
export const boundedFetch: CustomFetch = async (url, options) => {
  const headers = { ...options.headers, ...traceHeaders() };
  const response = await fetch(url, { ...options, headers } as RequestInit);
  if (!response.body) return response;
  let read = 0;
  const counter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      read += chunk.byteLength;
      if (read > MAX_BYTES) controller.error(new DOMException("The response is too long.", "AbortError"));
      else controller.enqueue(chunk);
    },
  });
  const { status, statusText } = response;
  return new Response(response.body.pipeThrough(counter), {
    status,
    statusText,
    headers: response.headers,
  });
};
