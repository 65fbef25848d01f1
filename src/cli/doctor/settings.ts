import { statSync } from "node:fs";
import type { Config } from "../../config/config.ts";
import { isExternal } from "../../database/database.ts";
import { secretsPath } from "../../database/secrets.ts";
import { isLoopback } from "../../support/loopback.ts";
import { type Finding, fail, ok, warn } from "./check.ts";
import { checkKeySettings } from "./key-settings.ts";
import { checkProviders } from "./providers.ts";

const NEEDED_NODE = 24;
const HOUR_SECONDS = 3_600;

/** Checks that need no database. `unknown` lists PLINTH_ variables that are not settings. */
export function checkSettings(config: Config, unknown: readonly string[] = []): Finding[] {
  return [
    checkNode(),
    ...unknown.map((name) =>
      warn(
        "unknown-setting",
        `${name} is set but is not a setting.`,
        "Check its spelling; docs/settings.md lists the settings.",
      ),
    ),
    checkSecretsFile(config),
    ...checkKeySettings(config),
    checkProviders(config),
    ...checkHttp(config),
    ...checkSignIn(config),
    checkMail(config),
  ].filter((finding) => finding !== undefined);
}

function checkNode(): Finding {
  const { node } = process.versions;
  return Number(node.split(".")[0]) >= NEEDED_NODE
    ? ok("node", `Node ${node}`)
    : fail("node", `This is Node ${node}.`, `Use Node ${NEEDED_NODE} or newer.`);
}

/** Runs before anything reads the file, because reading it corrects its mode. */
function checkSecretsFile(config: Config): Finding | undefined {
  if (isExternal(config)) return undefined;
  const path = secretsPath(config.dataDirectory);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return ok("secrets", "No secrets have been created yet.");
  const mode = (stat.mode & 0o777).toString(8);
  return process.platform === "win32" || (stat.mode & 0o077) === 0
    ? ok("secrets", `Only its owner can read ${path}.`)
    : fail(
        "secrets",
        `Other users can read ${path} (mode ${mode}).`,
        `Run chmod 600 ${path}, then replace the secrets in it.`,
      );
}

function checkHttp({ http, auth }: Config): Finding[] {
  const findings: Finding[] = [];
  if (http.corsOrigins.includes("*"))
    findings.push(
      warn("cors", "Any website may call the API.", "List the allowed origins in PLINTH_CORS_ORIGINS."),
    );
  if (!isLocal(http.host) && (http.graphiql || http.introspection || http.schemaPage))
    findings.push(
      warn(
        "exposure",
        `The API listens on ${http.host} and shows its schema to any client (GraphiQL, introspection or /schema).`,
        "Set PLINTH_GRAPHIQL, PLINTH_INTROSPECTION and PLINTH_SCHEMA_PAGE to off in production, unless this is intended.",
      ),
    );
  if (auth.accessTokenSeconds > HOUR_SECONDS)
    findings.push(
      warn(
        "access-token-life",
        `Access tokens are valid for ${auth.accessTokenSeconds} s.`,
        "The usual value is 600 (ten minutes); clients get new tokens with their refresh token.",
      ),
    );
  return findings.length > 0 ? findings : [ok("settings", "No setting is weak.")];
}

function checkSignIn(config: Config): Finding[] {
  const { app, auth } = config;
  const findings: Finding[] = [];
  if (auth.passwordHistory === 0)
    findings.push(
      warn(
        "password-history",
        "Users may reuse their current password as the new one.",
        "Set PLINTH_PASSWORD_HISTORY to 1 or more.",
      ),
    );
  if (isExternal(config) && app.rpId === "localhost")
    findings.push(
      warn(
        "passkeys",
        "Passkeys are bound to localhost: they will not work on the application's domain.",
        "Set PLINTH_RP_ID and PLINTH_APP_ORIGINS to the application's domain and origins.",
      ),
    );
  return findings;
}

function checkMail(config: Config): Finding {
  const { mail } = config;
  const name = "mail";
  if (!mail.smtpUrl)
    return isExternal(config)
      ? warn(name, "PLINTH_SMTP_URL is not set: no mail is sent.", "Set it where plinth work runs.")
      : ok(name, "Mail is written to the data folder.");
  const { hostname } = new URL(mail.appUrl);
  if (mail.appUrl.startsWith("http:") && !isLocal(hostname))
    return warn(
      name,
      "PLINTH_APP_URL is not https: others on the network can read links from mail.",
      "Serve the application over https.",
    );
  if (isLocal(hostname))
    return warn(name, `Links in mail point to ${hostname}.`, "Set PLINTH_APP_URL to the application's URL.");
  return ok(name, "Mail is sent by SMTP.");
}

/** Whether a setting's host is this machine. An empty host and the folder of a socket also are. */
export function isLocal(host: string): boolean {
  return isLoopback(host) || host === "" || host.startsWith("/");
}
