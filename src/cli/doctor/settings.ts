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

/** What can be told without a database; `unknown` are variables named like settings that are none. */
export function checkSettings(config: Config, unknown: readonly string[] = []): Finding[] {
  return [
    checkNode(),
    ...unknown.map((name) =>
      warn(
        "unknown-setting",
        `${name} is set and means nothing.`,
        "docs/settings.md lists the settings; check the spelling.",
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

/** Before anything reads the file, because reading it puts its mode right. */
function checkSecretsFile(config: Config): Finding | undefined {
  if (isExternal(config)) return undefined;
  const path = secretsPath(config.dataDirectory);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return ok("secrets", "No secrets were made yet.");
  const mode = (stat.mode & 0o777).toString(8);
  return process.platform === "win32" || (stat.mode & 0o077) === 0
    ? ok("secrets", `Only its owner can read ${path}.`)
    : fail(
        "secrets",
        `Others can read ${path} (mode ${mode}).`,
        `chmod 600 ${path}; then replace what is in it.`,
      );
}

function checkHttp({ http, auth }: Config): Finding[] {
  const findings: Finding[] = [];
  if (http.corsOrigins.includes("*"))
    findings.push(
      warn("cors", "Every web site may call the API.", "Name the origins in PLINTH_CORS_ORIGINS."),
    );
  if (!isLocal(http.host) && (http.graphiql || http.introspection))
    findings.push(
      warn(
        "exposure",
        `The API listens on ${http.host} and shows its schema to everybody (GraphiQL or introspection).`,
        "Set PLINTH_GRAPHIQL=off and PLINTH_INTROSPECTION=off in production, unless you mean to.",
      ),
    );
  if (auth.accessTokenSeconds > HOUR_SECONDS)
    findings.push(
      warn(
        "access-token-life",
        `Access tokens live for ${auth.accessTokenSeconds} s.`,
        "Ten minutes (600) are usual; clients get new ones with their refresh token.",
      ),
    );
  return findings.length > 0 ? findings : [ok("settings", "No weak setting.")];
}

function checkSignIn(config: Config): Finding[] {
  const { app, auth } = config;
  const findings: Finding[] = [];
  if (auth.passwordHistory === 0)
    findings.push(
      warn(
        "password-history",
        "A changed password may be the one it was before.",
        "Set PLINTH_PASSWORD_HISTORY to 1 or more.",
      ),
    );
  if (isExternal(config) && app.rpId === "localhost")
    findings.push(
      warn(
        "passkeys",
        "Passkeys are made for localhost: they will not work where the application is.",
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
      ? warn(name, "PLINTH_SMTP_URL is not set: mail reaches nobody.", "Set it where plinth work runs.")
      : ok(name, "Mail is written into the data folder.");
  const { hostname } = new URL(mail.appUrl);
  if (mail.appUrl.startsWith("http:") && !isLocal(hostname))
    return warn(
      name,
      "PLINTH_APP_URL is not https: links in mail can be read on the way.",
      "Serve the application over https.",
    );
  if (isLocal(hostname))
    return warn(
      name,
      `Links in mail lead to ${hostname}.`,
      "Set PLINTH_APP_URL to where the application is.",
    );
  return ok(name, "Mail is sent by SMTP.");
}

/** Whether a setting's host is this machine; none at all and the folder of a socket are as well. */
export function isLocal(host: string): boolean {
  return isLoopback(host) || host === "" || host.startsWith("/");
}
