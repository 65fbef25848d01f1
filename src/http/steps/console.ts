import { readFileSync } from "node:fs";
import { join } from "node:path";
import express, { type RequestHandler } from "express";
import { PACKAGE_ROOT } from "../../support/paths.ts";

export const CONSOLE_PATH = "/console";

/** Written by `npm run console` from src/console/page. */
const ASSETS = join(PACKAGE_ROOT, "src", "console", "assets");

/** Only the console's own files run, and they call only this server: a text with markup in it can neither run nor leave. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join(";");

/** Serves the console of operators: a page without data, which signs in and asks through the API like any client. */
export function consoleStep(): RequestHandler {
  const page = readFileSync(join(ASSETS, "index.html"), "utf8");
  const router = express.Router({ strict: true, caseSensitive: true });
  router.use((_request, response, next) => {
    // A new version of the server has a new page: it is checked at each visit, and its files by their ETag.
    response.set("Content-Security-Policy", CONTENT_SECURITY_POLICY).set("Cache-Control", "no-cache");
    next();
  });
  router.get(CONSOLE_PATH, (_request, response) => {
    response.type("html").send(page);
  });
  // The page's links are relative, so that they also work below a proxy's path; they need the path without a slash at its end.
  router.get(`${CONSOLE_PATH}/`, (_request, response) => response.redirect(308, "../console"));
  router.use(CONSOLE_PATH, express.static(ASSETS, { index: false, redirect: false, cacheControl: false }));
  return router;
}
