import type { RequestHandler } from "express";
import type { PlinthGrafserv } from "../../graphql/grafserv.ts";
import { bodyOf, digest } from "../grafserv-digest.ts";
import { HttpError } from "../http-error.ts";

/** Rejects all methods except POST, which does not pass the steps. */
export function graphqlStep(): RequestHandler {
  return () => {
    throw new HttpError(405, "METHOD_NOT_ALLOWED", "Send operations with POST.", { Allow: "POST" });
  };
}

/** Serves GraphiQL's page and its files. */
export function graphiqlStep(serv: PlinthGrafserv): RequestHandler {
  return async (request, response, next) => {
    const { context, path } = request;
    const page = digest(request, context, path, () => ({ type: "text", text: "" }));
    const result = await serv.handle({
      ...page,
      requestContext: { ...page.requestContext, plinthBase: request.baseUrl },
    });
    if (result === null) return next();
    const body = bodyOf(result);
    response.status(result.statusCode).set(result.headers).end(body);
  };
}
