import type { RequestHandler } from "express";
import type { RuruServerConfig } from "ruru/server";
import { GRAPHIQL_PATH, GRAPHQL_PATH } from "../../graphql/preset.ts";
import { PlinthError } from "../../support/errors.ts";
import { importOptional } from "../../support/optional-package.ts";

/** With a trailing slash, because ruru uses it as a prefix. */
const STATIC_PATH = `${GRAPHIQL_PATH}/static/`;

/** A path of unreserved characters only: it becomes part of a page. */
const PLAIN_PATH = /^(\/[\w.~-]+)*$/;

/** Serves GraphiQL's page and its files from the optional package `ruru`. Without it, the page says how to install it. */
export function graphiqlStep(): RequestHandler {
  return async ({ baseUrl, path, headers }, response, next) => {
    try {
      if (path === GRAPHIQL_PATH) {
        response.type("html").send(await page(PLAIN_PATH.test(baseUrl) ? baseUrl : ""));
      } else if (path.startsWith(STATIC_PATH)) {
        const file = await staticFile(path, headers["accept-encoding"]);
        if (file === null) return next();
        response.set(file.headers);
        if (headers["if-none-match"] === file.headers.etag) response.status(304).end();
        else response.end(file.content);
      } else next();
    } catch (error) {
      if (!(error instanceof PlinthError) || error.code !== "PACKAGE_MISSING") throw error;
      response.status(501).type("text").send(`${error.message} ${error.hint}\n`);
    }
  };
}

/** @param base path below which an application has mounted Plinth */
async function page(base: string): Promise<string> {
  const { makeHTMLParts, ruruHTML } = await importOptional("ruru", () => import("ruru/server"));
  const config = {
    staticPath: base + STATIC_PATH,
    endpoint: base + GRAPHQL_PATH,
    clientConfig: { debugTools: [] },
  } as unknown as RuruServerConfig;
  return ruruHTML(config, makeHTMLParts(config));
}

async function staticFile(urlPath: string, acceptEncoding: string | string[] | undefined) {
  const { getStaticFile } = await importOptional("ruru", () => import("ruru/static"));
  return getStaticFile({ staticPath: STATIC_PATH, urlPath, acceptEncoding });
}
