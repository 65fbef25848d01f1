/** Whether a host may be used, by the state of its server. */
export type SessionAttributes = "any" | "read-write" | "read-only" | "primary" | "standby" | "prefer-standby";

export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full" | "no-verify";

type ChannelBinding = "disable" | "prefer" | "require";

export interface Host {
  readonly host: string;
  readonly port: string;
}

/** A connection URL in libpq's form, which may name several hosts. */
export interface DatabaseUrl {
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** In the order in which they are tried. An empty host or port stands for the default. */
  readonly hosts: readonly Host[];
  readonly sessionAttributes: SessionAttributes;
  readonly balancesHosts: boolean;
  /** Undefined if the URL does not say; then node-postgres decides. */
  readonly sslMode: SslMode | undefined;
  readonly sslFiles: { readonly root?: string; readonly certificate?: string; readonly key?: string };
  readonly channelBinding: ChannelBinding;
  readonly connectTimeoutSeconds: number | undefined;
  /** The remaining parameters, which node-postgres reads. */
  readonly parameters: URLSearchParams;
}

const FORM = /^postgres(?:ql)?:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const HOST = /^(\[[\da-f:.%]+\]|[^:[\]\s]*)(?::(\d{0,5}))?$/i;

const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", "no-verify"] as const;
const ATTRIBUTES = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] as const;
const BINDINGS = ["prefer", "disable", "require"] as const;

/** The parameters that Plinth reads itself, as libpq does. */
const OWN_PARAMETERS = [
  "host",
  "port",
  "target_session_attrs",
  "load_balance_hosts",
  "ssl",
  "sslmode",
  "sslrootcert",
  "sslcert",
  "sslkey",
  "uselibpqcompat",
  "channel_binding",
  "connect_timeout",
];

/** A fault of a URL, without its user and password. */
export class InvalidDatabaseUrl extends Error {}

/** @throws InvalidDatabaseUrl */
export function parseDatabaseUrl(url: string): DatabaseUrl {
  const [, authority, path = "", query = ""] = FORM.exec(url.trim()) ?? [];
  if (authority === undefined) throw new InvalidDatabaseUrl("it is no URL of a database");
  const parameters = new URLSearchParams(query);
  const read = (name: string) => parameters.get(name) ?? undefined;
  const at = authority.lastIndexOf("@");
  const [user = "", ...password] = authority.slice(0, Math.max(at, 0)).split(":");
  const root = read("sslrootcert");
  const certificate = read("sslcert");
  const key = read("sslkey");
  const parsed = {
    user: decode(user),
    password: decode(password.join(":")),
    database: decode(path),
    hosts: hostsOf(authority.slice(at + 1), read("host"), read("port")),
    sessionAttributes: oneOf("target_session_attrs", read("target_session_attrs"), ATTRIBUTES) ?? "any",
    balancesHosts:
      oneOf("load_balance_hosts", read("load_balance_hosts"), ["disable", "random"]) === "random",
    sslMode: sslModeOf(read("sslmode"), read("ssl"), root),
    sslFiles: { ...(root && { root }), ...(certificate && { certificate }), ...(key && { key }) },
    channelBinding: oneOf("channel_binding", read("channel_binding"), BINDINGS) ?? "prefer",
    connectTimeoutSeconds: secondsOf(read("connect_timeout")),
    parameters,
  };
  for (const name of OWN_PARAMETERS) parameters.delete(name);
  return parsed;
}

/** Names the hosts, for logs and findings. */
export function hostNames({ hosts }: Pick<DatabaseUrl, "hosts">): string {
  return hosts.map(hostName).join(",");
}

export function hostName({ host, port }: Host): string {
  const name = host.includes(":") ? `[${host}]` : host || "localhost";
  return port ? `${name}:${port}` : name;
}

/** libpq's rule: the parameters `host` and `port` replace those before the path; one port counts for all hosts. */
function hostsOf(text: string, host: string | undefined, port: string | undefined): Host[] {
  const hosts = host === undefined ? text.split(",").map(hostOf) : host.split(",").map(bareHost);
  if (port === undefined) return hosts;
  const ports = port.split(",");
  if (ports.length !== 1 && ports.length !== hosts.length)
    throw new InvalidDatabaseUrl("its numbers of hosts and ports differ");
  return hosts.map((each, i) => ({ ...each, port: checkPort(ports[i] ?? ports[0]!) }));
}

function hostOf(text: string): Host {
  const [, host, port = ""] = HOST.exec(text) ?? [];
  if (host === undefined) throw new InvalidDatabaseUrl("a host or port is invalid");
  return { host: decode(host.replace(/^\[|\]$/g, "")), port: checkPort(port) };
}

const bareHost = (host: string): Host => ({ host, port: "" });

function checkPort(port: string): string {
  if (port === "" || (/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) return port;
  throw new InvalidDatabaseUrl("a port is not between 1 and 65535");
}

/** `ssl` is node-postgres's. A certificate authority is worth nothing unless the certificate is checked. */
function sslModeOf(mode: string | undefined, ssl: string | undefined, root: string | undefined) {
  const named = oneOf("sslmode", mode, SSL_MODES);
  if (named === undefined) {
    if (ssl === "no-verify") return "no-verify";
    if (ssl === "true" || ssl === "1" || (root !== undefined && ssl === undefined)) return "verify-full";
    return ssl === undefined ? undefined : "disable";
  }
  if (root === "system" && named !== "verify-full")
    throw new InvalidDatabaseUrl("sslrootcert=system needs sslmode=verify-full");
  return named;
}

function secondsOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,5}$/.test(text)) throw new InvalidDatabaseUrl("connect_timeout is not a number of seconds");
  return Number(text) > 0 ? Number(text) : undefined;
}

function oneOf<T extends string>(
  name: string,
  value: string | undefined,
  words: readonly T[],
): T | undefined {
  if (value === undefined || words.includes(value as T)) return value as T | undefined;
  throw new InvalidDatabaseUrl(`${name} must be ${words.join(", ")}`);
}

/** A percent sign that encodes nothing stands for itself. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text.replace(/%(?![\da-f]{2})/gi, "%25"));
  } catch {
    return text;
  }
}
