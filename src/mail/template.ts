/** The values for a template: private.mail_variables, the values that the caller added, and the token if there is one. */
export type Variables = Readonly<Record<string, unknown>>;

/** A part of a message. Text is plain text; the renderer escapes it for HTML. */
export type Part =
  | string
  /** A button in HTML, an address on a line of its own in text. */
  | { readonly link: string; readonly label: string }
  /** A token or code to copy. */
  | { readonly code: string };

/** A mail's subject and text. */
export interface Content {
  /** One line. */
  readonly subject: string;
  readonly parts: readonly Part[];
}

/** Facts about the service, and the secret of the mail. */
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
  const device = variables.device as Device | undefined;
  return [
    date ? `on ${date} at ${time} UTC` : "just now",
    address ? `, from ${address}` : "",
    device ? ` with ${describe(device)}` : "",
  ].join("");
}

/** A result of private.known_device. */
interface Device {
  readonly browser?: string;
  readonly platform?: string;
}

function describe({ browser = "an unknown program", platform }: Device): string {
  return platform ? `${browser} on ${platform}` : browser;
}

/** The closing paragraphs of a notification. */
export function notYou({ appUrl }: TemplateContext): Part[] {
  return [
    "If this was not you, someone else may know your password. Set a new one now and end all sessions.",
    { label: "Set a new password", link: `${appUrl}/forgot-password` },
  ];
}
