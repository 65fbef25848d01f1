import { PlinthError } from "../support/errors.ts";
import { isLoopback } from "../support/loopback.ts";

/** An OpenID Connect provider that users can sign in with, as configured by the operator. */
export interface ProviderSettings {
  /** Stored with every linked account: changing it unlinks them all. */
  readonly name: string;
  /** The label of a button. */
  readonly label: string;
  readonly issuer: URL;
  readonly clientId: string;
  /** Undefined for a public client, which only PKCE protects. */
  readonly clientSecret: string | undefined;
  readonly scopes: readonly string[];
  /** Redirect URIs, compared as whole strings (RFC 9700 §4.1.3). */
  readonly redirectUris: readonly string[];
  /** Whether addresses that it reports as verified become an account's verified address. */
  readonly trustsEmail: boolean;
  /** Whether unknown users get an account. */
  readonly mayRegister: boolean;
}

const VARIABLE = "PLINTH_OAUTH_PROVIDERS";
/** The database requires the same form. */
const NAME = /^[a-z][a-z0-9_-]{0,49}$/;
/** RFC 6749 §3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const MAX_URI_LENGTH = 2048;
const SCRIPTS = new Set(["javascript:", "data:", "vbscript:", "file:", "blob:", "about:"]);
const MEMBERS = new Set([
  "name",
  "label",
  "issuer",
  "clientId",
  "clientSecret",
  "scopes",
  "redirectUris",
  "trustsEmail",
  "mayRegister",
]);

/**
 * Reads the JSON list of providers; see docs/accounts.md for its members.
 * @throws PlinthError INVALID_SETTING naming the provider and the member, never repeating a value
 */
export function parseProviders(text: string): readonly ProviderSettings[] {
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch {
    // The parser's message quotes the text around the error, which may be a secret.
    throw invalid("is not valid JSON");
  }
  if (!Array.isArray(entries)) throw invalid("is not a JSON list of providers");
  const providers = entries.map((entry, index) => parseProvider(entry, `provider number ${index + 1}`));
  checkDistinct(
    "name",
    providers.map(({ name }) => name),
  );
  // A response of one provider must not be sent to another (mix-up attack). The redirect URI identifies the provider, even
  // without `iss` (RFC 9700 §4.4.2.2).
  checkDistinct(
    "redirect URI",
    providers.flatMap(({ redirectUris }) => redirectUris),
  );
  return providers;
}

function parseProvider(entry: unknown, place: string): ProviderSettings {
  if (typeof entry !== "object" || entry === null || Array.isArray(entry))
    throw invalid(`${place} is not an object`);
  const members = entry as Record<string, unknown>;
  // A misspelled member must not silently get its default.
  if (Object.keys(members).some((name) => !MEMBERS.has(name)))
    throw invalid(`${place} has an unknown member; known are ${[...MEMBERS].join(", ")}`);
  const { name, label, issuer, clientId, clientSecret, scopes, redirectUris } = members;
  const { trustsEmail = false, mayRegister = true } = members;
  if (typeof name !== "string" || !NAME.test(name))
    throw invalid(`${place}: "name" must be lower-case letters, digits, - and _, starting with a letter`);
  const fault = (problem: string) => invalid(`the provider "${name}": ${problem}`);
  if (label !== undefined && !isText(label, 100)) throw fault(`"label" must be a string`);
  if (!isText(clientId, 1000)) throw fault(`"clientId" must be a string`);
  if (clientSecret !== undefined && !isText(clientSecret, 1000))
    throw fault(`"clientSecret" must be a string`);
  if (typeof trustsEmail !== "boolean") throw fault(`"trustsEmail" must be true or false`);
  if (typeof mayRegister !== "boolean") throw fault(`"mayRegister" must be true or false`);
  const asked = scopes === undefined ? ["openid", "email", "profile"] : scopes;
  if (!isList(asked) || !asked.every((scope) => SCOPE.test(scope)) || !asked.includes("openid"))
    throw fault(`"scopes" must be a list with "openid" in it`);
  if (!isList(redirectUris) || redirectUris.length === 0 || !redirectUris.every(isRedirectUri))
    throw fault(
      `"redirectUris" must be a list of https URLs, http://localhost URLs or URLs with an app's own scheme, without query and fragment`,
    );
  return {
    name,
    label: label ?? name,
    issuer: parseIssuer(issuer, fault),
    clientId,
    clientSecret,
    scopes: asked,
    redirectUris,
    trustsEmail,
    mayRegister,
  };
}

/** OpenID Connect Discovery §3: https without query and fragment; plain http only on this machine. */
function parseIssuer(issuer: unknown, fault: (problem: string) => PlinthError): URL {
  const url = isText(issuer, MAX_URI_LENGTH) ? URL.parse(issuer) : null;
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  if (!url || !isSafe || url.search || url.hash || url.username || url.password)
    throw fault(`"issuer" must be an https URL (http only on this machine)`);
  return url;
}

/** https, http on this machine, or a native app's own scheme, which contains a dot (RFC 8252 §7). */
function isRedirectUri(text: string): boolean {
  const url = text.length <= MAX_URI_LENGTH ? URL.parse(text) : null;
  // In the form that URL parsers produce, so that comparing strings compares URLs.
  if (!url || url.href !== text || /[?#]/.test(text) || url.username || url.password) return false;
  if (url.protocol === "https:") return true;
  if (url.protocol === "http:") return isLoopback(url.hostname);
  return url.protocol.includes(".") && !SCRIPTS.has(url.protocol);
}

/** Whether the operator configured plain http for this issuer, which {@link parseProviders} allows on loopback. */
export function isPlainHttp({ issuer }: ProviderSettings): boolean {
  return issuer.protocol === "http:";
}

function isText(value: unknown, maxLength: number): value is string {
  return typeof value === "string" && value !== "" && value.length <= maxLength;
}

function isList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function checkDistinct(what: string, values: readonly string[]): void {
  if (new Set(values).size < values.length) throw invalid(`uses a ${what} twice`);
}

function invalid(problem: string): PlinthError {
  return new PlinthError("INVALID_SETTING", `${VARIABLE}: ${problem}.`, {
    hint: "See docs/accounts.md, Signing in with other providers.",
  });
}
