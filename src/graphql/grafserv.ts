import "../support/graphile-env.ts";
import { GrafservBase, type RequestDigest, type Result } from "postgraphile/grafserv";

/** grafserv without an adaptor: our steps read requests and write responses. */
export class PlinthGrafserv extends GrafservBase {
  handle(request: RequestDigest): PromiseLike<Result | null> | Result | null {
    return this.processRequest(request);
  }
}
