import { oneLine } from "./output.ts";

/** The result of access.explain_access. */
export interface Explanation {
  readonly verdict: "allowed" | "denied" | "no_row" | "depends_on_row" | "unknown";
  readonly reason: string;
  readonly database_role: string;
  readonly operation: string;
  readonly object: string;
  readonly grants: readonly Grant[];
  readonly policies: readonly Policy[];
  readonly changes: readonly string[];
  readonly notes: readonly string[];
}

interface Grant {
  readonly privilege: string;
  readonly object: string;
  readonly columns: readonly string[];
  readonly missing_columns: readonly string[];
  readonly is_held: boolean;
  readonly granted_to: string | null;
}

interface Policy {
  readonly relation: string;
  readonly purpose: string;
  readonly policy: string;
  readonly command: string;
  readonly is_permissive: boolean;
  readonly description: string | null;
  readonly outcome: boolean | null;
  readonly error: string | null;
  readonly parts: readonly Part[];
}

interface Part {
  readonly depth: number;
  readonly operator: string | null;
  readonly condition: string;
  readonly outcome: boolean | null;
  readonly is_open: boolean;
  readonly error: string | null;
}

const VERDICTS: Record<Explanation["verdict"], string> = {
  allowed: "ALLOWED",
  denied: "DENIED",
  no_row: "NO SUCH ROW",
  depends_on_row: "DEPENDS ON THE ROW",
  unknown: "UNKNOWN",
};

/** The explanation for a terminal. */
export function explanationLines(explanation: Explanation, actor: string): string[] {
  const { verdict, operation, object, database_role, reason, grants, policies, changes, notes } = explanation;
  return [
    `${VERDICTS[verdict]}: ${operation} on ${object} as ${actor} (${database_role})`,
    reason,
    ...section("Grants", grants.map(grantLine)),
    ...section("Policies (any permissive one must pass, and every restrictive one)", policyLines(policies)),
    ...section("To allow it", changes.map(item)),
    ...section("Notes", notes.map(item)),
  ].map((line) => line.replace(/\S.*/, oneLine));
}

const item = (text: string) => `- ${text}`;

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ["", title, ...lines.map((line) => `  ${line}`)];
}

function grantLine({ privilege, object, columns, missing_columns, is_held, granted_to }: Grant): string {
  const of = columns.length > 0 ? ` (${columns.join(", ")})` : "";
  const columnsMissing = missing_columns.join(", ");
  if (!is_held) {
    const isPartial = missing_columns.length < columns.length;
    return `MISSING ${privilege}${of} on ${object}${isPartial ? `: lacks ${columnsMissing}` : ""}`;
  }
  const through = granted_to ? `, granted to ${granted_to}` : "";
  return `held    ${privilege}${of} on ${object}${through}${columnsMissing ? `, except ${columnsMissing}` : ""}`;
}

/** Policies in the order in which PostgreSQL asks them, under a title for each row that they check. */
function policyLines(policies: readonly Policy[]): string[] {
  const titles = policies.map(({ relation, purpose }) => `${relation}: ${purpose}`);
  return policies.flatMap((policy, i) => [
    ...(titles[i] === titles[i - 1] ? [] : [titles[i]!]),
    ...linesOf(policy).map((line) => `  ${line}`),
  ]);
}

function linesOf({ policy, command, is_permissive, description, parts }: Policy): string[] {
  const kind = is_permissive ? "" : ", restrictive";
  return [
    `${policy} (for ${command}${kind})${description ? `: ${description}` : ""}`,
    ...parts.map((part) => `${"  ".repeat(part.depth + 1)}${outcomeOf(part)} ${textOf(part)}`),
  ];
}

const CONNECTED: Readonly<Record<string, string>> = { and: "all of:", or: "any of:", not: "not:" };

/** The parts of a connected condition follow it, so its own text would repeat them. */
const textOf = ({ operator, condition }: Part) => (operator ? CONNECTED[operator] : condition);

function outcomeOf({ outcome, is_open, error }: Part): string {
  if (error) return `ERROR ${error}`;
  if (outcome === null) return is_open ? "open " : "null ";
  return outcome ? "true " : "false";
}
