/** The values for a template: private.mail_variables, the values that the caller added, and the token if there is one. */
export type Variables = Readonly<Record<string, unknown>>;

/** A part of a message. Text is plain text; the renderer escapes it for HTML. */
export type Part =
  | string
  /** A button in HTML, an address on a line of its own in text. */
  | { readonly link: string; readonly label: string }
  /** A token or code to copy. */
  | { readonly code: string };

export interface Content {
  /** One line. */
  readonly subject: string;
  readonly parts: readonly Part[];
}

export interface TemplateContext {
  /** The service's name (PLINTH_APP_NAME). */
  readonly appName: string;
  /** URL of the application (PLINTH_APP_URL), without a trailing slash. */
  readonly appUrl: string;
  /** The token of a link, or a code, which is sealed in the database. Empty if there is none. */
  readonly token: string;
}

/** Fills a text. Replace a template to change its words or, by `variables.locale`, its language. */
export type Template = (variables: Variables, context: TemplateContext) => Content;

/** A variable as text; empty when it is missing. */
export function textOf(variables: Variables, name: string): string {
  const value = variables[name];
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** "Hello Ada," with the display name or, without one, the username. */
export function greeting(variables: Variables): string {
  const name = textOf(variables, "display_name") || textOf(variables, "username");
  return name ? `Hello ${name},` : "Hello,";
}

/** Time and origin: "on 2026-11-21 at 14:39 UTC, from 192.0.2.7 with Firefox on Linux". */
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

/** Returns known words only: the client controls the header, and its text must not appear in our mail. */
function describeAgent(agent: string): string {
  // Chrome's header also contains Safari; Edge's and Opera's contain Chrome.
  const found = ["Edg", "OPR", "Firefox", "Chrome"].find((name) => agent.includes(`${name}/`));
  const browser = found ?? BROWSERS.exec(agent)?.[1];
  const system = SYSTEMS.exec(agent)?.[1];
  const program = browser ? (BROWSER_NAMES[browser] ?? browser) : "an unknown program";
  return system ? `${program} on ${SYSTEM_NAMES[system] ?? system}` : program;
}

/** The closing paragraphs of a notification. */
export function notYou({ appUrl }: TemplateContext): Part[] {
  return [
    "If this was not you, someone else may know your password. Set a new one now and end all sessions.",
    { label: "Set a new password", link: `${appUrl}/forgot-password` },
  ];
}
