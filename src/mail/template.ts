/** What a template is filled with: private.mail_variables, what the caller added, and the token where there is one. */
export type Variables = Readonly<Record<string, unknown>>;

/** A part of a message. Text is text everywhere: it is escaped for HTML by whoever renders it. */
export type Part =
  | string
  /** A button in HTML, an address on a line of its own in text. */
  | { readonly link: string; readonly label: string }
  /** A token or code to be copied. */
  | { readonly code: string };

export interface Content {
  /** One line. */
  readonly subject: string;
  readonly parts: readonly Part[];
}

export interface TemplateContext {
  /** The service's name (PLINTH_APP_NAME). */
  readonly appName: string;
  /** Where the application is (PLINTH_APP_URL), without a slash at the end. */
  readonly appUrl: string;
  /** What travels sealed: the token of a link or a code; empty where there is none. */
  readonly token: string;
}

/** Fills a text. Replace one to say it otherwise or, by `variables.locale`, in another language. */
export type Template = (variables: Variables, context: TemplateContext) => Content;

/** A variable as text; empty when it is missing. */
export function textOf(variables: Variables, name: string): string {
  const value = variables[name];
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** "Hello Ada," with the name people chose, else the username. */
export function greeting(variables: Variables): string {
  const name = textOf(variables, "display_name") || textOf(variables, "username");
  return name ? `Hello ${name},` : "Hello,";
}

/** When and from where: "on 2026-11-21 at 14:39 UTC, from 192.0.2.7 with Firefox on Linux". */
export function circumstances(variables: Variables): string {
  const [, date, time] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)/.exec(textOf(variables, "occurred_at")) ?? [];
  const address = textOf(variables, "ip_address");
  const agent = textOf(variables, "user_agent");
  return [
    date ? `on ${date} at ${time} UTC` : "just now",
    address ? `, from ${address}` : "",
    agent ? ` with ${describeAgent(agent)}` : "",
  ].join("");
}

const BROWSERS = /\b(Edg|OPR|Firefox|Chrome|Safari|curl)\b/;
const BROWSER_NAMES: Readonly<Record<string, string>> = { Edg: "Edge", OPR: "Opera" };
const SYSTEMS = /\b(Windows|Android|iPhone|iPad|Mac OS X|Linux)\b/;
const SYSTEM_NAMES: Readonly<Record<string, string>> = { "Mac OS X": "macOS" };

/** Known words only: the header is whatever the other side wrote, and would be a stranger's text in our mail. */
function describeAgent(agent: string): string {
  // Chrome names itself Safari as well, and Edge and Opera name themselves Chrome.
  const found = ["Edg", "OPR", "Firefox", "Chrome"].find((name) => agent.includes(`${name}/`));
  const browser = found ?? BROWSERS.exec(agent)?.[1];
  const system = SYSTEMS.exec(agent)?.[1];
  const program = browser ? (BROWSER_NAMES[browser] ?? browser) : "an unknown program";
  return system ? `${program} on ${SYSTEM_NAMES[system] ?? system}` : program;
}

/** The last words of every notification. */
export function notYou({ appUrl }: TemplateContext): Part[] {
  return [
    "If this was not you, somebody else may know your password: set a new one now and end all sessions.",
    { label: "Set a new password", link: `${appUrl}/forgot-password` },
  ];
}
