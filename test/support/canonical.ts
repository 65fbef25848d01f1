/** A moment as PostgreSQL prints it, with up to six digits of a second. */
const MOMENT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d*?)0*)?([+-]\d\d:\d\d)$/;
const NUMBER = /^-?\d+(\.\d+)?$/;

/** The same text for a value of GraphQL and of SQL that mean the same: "1.50" and 1.5, objects whatever the order of their keys. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value === "object" && value !== null)
    return `{${Object.entries(value)
      .map(([key, inner]) => `${key}:${canonical(inner)}`)
      .sort()
      .join()}}`;
  const text = String(value);
  const [, moment, fraction, zone] = MOMENT.exec(text) ?? [];
  if (moment) return `${moment}${fraction ? `.${fraction}` : ""}${zone}`;
  return NUMBER.test(text) && text.length < 16 ? String(Number(text)) : text;
}
