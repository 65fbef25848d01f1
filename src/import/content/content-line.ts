import { isObject } from "../../support/is-object.ts";
import { unstorable } from "../import.ts";

/** A line of a content file, in the form that private.import_content accepts: a category by path or an item by slug. */
export type ContentLine = Readonly<Record<string, unknown>> & { readonly kind: "category" | "item" };

type Check = (value: unknown) => string | undefined;

const TYPES = ["course", "lesson", "article", "video", "exercise", "quiz", "project"];
const FORMATS = ["markdown", "html", "text", "json", "url"];

const text =
  (max: number, pattern?: RegExp): Check =>
  (value) => {
    if (typeof value !== "string") return "must be text";
    if (value.length > max) return `has more than ${max} characters`;
    if (pattern && !pattern.test(value)) return `does not look like ${pattern.source}`;
    return unstorable(value);
  };
const filled =
  (max: number): Check =>
  (value) =>
    text(max)(value) ?? ((value as string).trim() ? undefined : "must not be empty");
const oneOf =
  (values: readonly string[]): Check =>
  (value) =>
    typeof value === "string" && values.includes(value) ? undefined : `must be one of ${values.join(", ")}`;
const whole =
  (min: number, max: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `must be a whole number from ${min} to ${max}`;
const flag: Check = (value) => (typeof value === "boolean" ? undefined : "must be true or false");
const time: Check = (value) =>
  typeof value === "string" &&
  /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$/.test(value) &&
  !Number.isNaN(Date.parse(value))
    ? undefined
    : "must be a time such as 2026-01-31T08:00:00Z";
const list =
  (max: number, each: Check): Check =>
  (value) => {
    if (!Array.isArray(value)) return "must be a list";
    if (value.length > max) return `has more than ${max} entries`;
    for (const entry of value) {
      const problem = each(entry);
      if (problem) return `has an entry that ${problem}`;
    }
    return undefined;
  };

const SLUG = /^[a-z0-9]([a-z0-9-]{0,118}[a-z0-9])?$/;
const PATH = /^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?(\/[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?){0,9}$/;
const INTEGER = whole(-2_147_483_648, 2_147_483_647);

/** The keys of each kind of line. Keys that are not required may be omitted or null. */
const KEYS: Readonly<
  Record<string, { required: readonly string[]; checks: Readonly<Record<string, Check>> }>
> = {
  category: {
    required: ["path", "name"],
    checks: { path: text(610, PATH), name: filled(200), description: text(2000), position: INTEGER },
  },
  item: {
    required: ["slug", "category", "type", "title"],
    checks: {
      slug: text(120, SLUG),
      category: text(610, PATH),
      course: text(120, SLUG),
      position: INTEGER,
      type: oneOf(TYPES),
      title: filled(300),
      summary: text(5000),
      level: whole(0, 10),
      durationSeconds: whole(1, 2_147_483_647),
      language: text(35, /^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/),
      tags: list(30, text(60, /^[^,\p{Cc}]+$/u)),
      requiredAccessLevel: whole(0, 1_000_000),
      isPreview: flag,
      prerequisites: list(100, text(120, SLUG)),
      published: flag,
      publishFrom: time,
      publishUntil: time,
      bodyFormat: oneOf(FORMATS),
      body: filled(4_000_000),
      changeNote: text(2000),
    },
  },
};

/** Returns the problem of a line, for its author, or undefined. An unknown key is an error, so that no data is lost silently. */
export function contentLineProblem(value: unknown): string | undefined {
  if (!isObject(value)) return "must be a JSON object";
  const line = value;
  const keys = Object.hasOwn(KEYS, String(line.kind)) ? KEYS[String(line.kind)] : undefined;
  if (!keys) return 'kind must be "category" or "item"';
  for (const key of keys.required) if ((line[key] ?? null) === null) return `${key} is missing`;
  for (const [key, entry] of Object.entries(line)) {
    if (key === "kind") continue;
    const check = Object.hasOwn(keys.checks, key) ? keys.checks[key] : undefined;
    if (!check) return `${key} is not a key of ${line.kind === "item" ? "an item" : "a category"}`;
    const problem = entry === null ? undefined : check(entry);
    if (problem) return `${key} ${problem}`;
  }
  return undefined;
}
