import { textOf, type Variables } from "../template.ts";

/** "on 2026-12-13 at 14:39 UTC"; "soon" when the time is missing. */
export function dateOf(variables: Variables, name: string): string {
  const time = new Date(textOf(variables, name));
  if (Number.isNaN(time.getTime())) return "soon";
  const [date, clock] = time.toISOString().split("T");
  return `on ${date} at ${clock!.slice(0, 5)} UTC`;
}
