import "./graphile-env.ts";
import { GrafservBase, type RequestDigest, type Result } from "postgraphile/grafserv";

/** grafserv without an adaptor of its own: reading requests and writing answers is done in our steps. */
export class PlinthGrafserv extends GrafservBase {
  handle(request: RequestDigest): PromiseLike<Result | null> | Result | null {
    return this.processRequest(request);
  }
}
