import { createHash } from "node:crypto";
import type { RequestHandler } from "express";
import type { Config } from "../../config/config.ts";
import { GRAPHIQL_PATH, GRAPHQL_PATH } from "../../graphql/preset.ts";
import { CONSOLE_PATH } from "./console.ts";
import { HEALTH_PATH, READINESS_PATH } from "./health.ts";
import { JWKS_PATH } from "./jwks.ts";
import { SCHEMA_PAGE_PATH } from "./schema-page.ts";

export const FRONT_PAGE_PATH = "/";

const STYLE = `
      :root { color-scheme: light dark; }
      body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
      dt { font-weight: 600; margin-top: 0.75rem; }
      dd { margin: 0; }
    `;

/** Only this page's own style may load; there is no script, form, image or connection. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash("sha256").update(STYLE).digest("base64")}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join(";");

interface Shown extends Pick<Config["http"], "graphiql" | "console"> {
  /** Whether there is a page, not only whether the setting is on. */
  readonly schemaPage: boolean;
}

/** A page for people who open the server's address: the running server and its links. It holds no data and no settings. */
export function frontPageStep(shown: Shown): RequestHandler {
  const body = page(shown);
  return (_request, response) => {
    response
      .set("Content-Security-Policy", CONTENT_SECURITY_POLICY)
      .set("Cache-Control", "no-store")
      .type("html")
      .send(body);
  };
}

// Links are relative, so they also work when a proxy serves Plinth under a path of its own.
function page({ graphiql, schemaPage, console }: Shown): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>Plinth</title>
    <style>${STYLE}</style>
  </head>
  <body>
    <h1>Plinth is running</h1>
    <p>This server is a GraphQL API for programs. People use it through an application.</p>
    <dl>${
      graphiql
        ? `
      <dt>${link(GRAPHIQL_PATH)}</dt>
      <dd>GraphiQL: browse the schema and run queries in the browser.</dd>`
        : ""
    }${
      schemaPage
        ? `
      <dt>${link(SCHEMA_PAGE_PATH)}</dt>
      <dd>The database: tables, columns, policies, grants and functions, with a search.</dd>`
        : ""
    }${
      console
        ? `
      <dt>${link(CONSOLE_PATH)}</dt>
      <dd>Console of operators: the state of the system, and single accounts. Sign in to use it.</dd>`
        : ""
    }
      <dt><code>${GRAPHQL_PATH}</code></dt>
      <dd>GraphQL over HTTP (POST) and over WebSocket for subscriptions.</dd>
      <dt>${link(HEALTH_PATH)}</dt>
      <dd>Health: whether the process is running.</dd>
      <dt>${link(READINESS_PATH)}</dt>
      <dd>Readiness: whether the server can answer requests now.</dd>
      <dt>${link(JWKS_PATH)}</dt>
      <dd>Public keys for verifying access tokens.</dd>
      <dt>Documentation</dt>
      <dd><code>README.md</code> and the <code>docs</code> folder of the package; start with <code>docs/api.md</code>.</dd>
    </dl>
  </body>
</html>
`;
}

function link(path: string): string {
  return `<a href=".${path}">${path}</a>`;
}
