import type { IncomingMessage, ServerResponse } from "node:http";
import type { Handler } from "./handler.ts";

/** The part of a Fastify instance that is used here. */
interface FastifyScope {
  readonly prefix: string;
  removeAllContentTypeParsers(): void;
  addContentTypeParser(
    type: string,
    parser: (request: unknown, payload: unknown, done: (error: null, body?: unknown) => void) => void,
  ): unknown;
  all(path: string, handler: (request: FastifyRequest, reply: FastifyReply) => void): unknown;
}

interface FastifyRequest {
  readonly raw: IncomingMessage;
}

interface FastifyReply {
  readonly raw: ServerResponse;
  hijack(): unknown;
}

/** A plugin for `fastify.register`, optionally with Fastify's own `prefix`. */
export type FastifyPlugin = (scope: FastifyScope) => Promise<void>;

export function createFastifyPlugin(handler: Handler): FastifyPlugin {
  return async (scope) => {
    const { prefix } = scope;
    const answer = ({ raw }: FastifyRequest, reply: FastifyReply): void => {
      reply.hijack();
      const url = raw.url?.slice(prefix.length) ?? "";
      handler(Object.assign(raw, { baseUrl: prefix, url: url.startsWith("/") ? url : `/${url}` }), reply.raw);
    };
    // Plinth reads the body, as sent and within its own limit. Both only affect this plugin's routes.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
    scope.all("/", answer);
    scope.all("/*", answer);
  };
}
