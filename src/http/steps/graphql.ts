import type { RequestHandler } from "express";
import { HttpError } from "../http-error.ts";

/** Rejects all methods except POST, which does not pass the steps. */
export function graphqlStep(): RequestHandler {
  return () => {
    throw new HttpError(405, "METHOD_NOT_ALLOWED", "Send operations with POST.", { Allow: "POST" });
  };
}
