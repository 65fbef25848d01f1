import { NO_ACCOUNT, OTHER_USER, USER } from "./actors.ts";
import { type Cell, NO_PRIVILEGE } from "./cells.ts";

/** The outcome of each role, by object and operation. */
export type Contract = ReadonlyMap<string, ReadonlyMap<string, ReadonlyMap<string, string>>>;

export interface Roles {
  /** Kinds of users, of which only what differs from the other user is written down. */
  readonly users: readonly string[];
  readonly others: readonly string[];
}

/** A line of the file: the outcomes that differ from the usual, for operations in which they are the same. */
interface Line {
  readonly object: string;
  readonly operations: readonly string[];
  readonly outcomes: Readonly<Record<string, string>>;
}

/** A month in the name of a partition; all months are the same object. */
const MONTH = /_\d{4}_\d{2}$/;

export function contractOf(cells: readonly Cell[]): Contract {
  const contract = new Map<string, Map<string, Map<string, string>>>();
  for (const { object: name, operation, role, outcome } of cells) {
    const object = name.startsWith("partition ") ? name.replace(MONTH, "_YYYY_MM") : name;
    const operations = contract.get(object) ?? new Map<string, Map<string, string>>();
    contract.set(object, operations);
    const outcomes = operations.get(operation) ?? new Map<string, string>();
    operations.set(operation, outcomes);
    const known = outcomes.get(role);
    outcomes.set(role, known === undefined || known === outcome ? outcome : `${known} or ${outcome}`);
  }
  return contract;
}

/** The roles in the order of their attempts. */
export function rolesOf(actors: readonly { readonly name: string; readonly role: string }[]): Roles {
  const isUser = ({ role, name }: { name: string; role: string }) =>
    role === "user" && name !== USER && name !== OTHER_USER;
  return {
    users: actors.filter(isUser).map(({ name }) => name),
    others: actors.filter((actor) => !isUser(actor)).map(({ name }) => name),
  };
}

/** Roles that cannot ask for a field: those that the API does not know, and a token that it rejects whatever it asks. */
const NOT_OF_API = ["authenticator", "service", "worker", "analyst", NO_ACCOUNT];

/** Whether the role is tried, though its outcome is usual and so not written down. */
function isTried(object: string, operation: string, role: string): boolean {
  if (/^(query|mutation|subscription|type) /.test(object)) return !NOT_OF_API.includes(role);
  // Tried once for each role of the database, because users and rows make no difference.
  return !operation.endsWith(" columns") && operation !== "truncate";
}

/** The outcome of a role that is not written down: that of the other user for a kind of user, else no privilege. */
export const usualOutcome = (
  role: string,
  outcomes: ReadonlyMap<string, string>,
  { users }: Roles,
): string => (users.includes(role) ? (outcomes.get(OTHER_USER) ?? NO_PRIVILEGE) : NO_PRIVILEGE);

/** The file: one object in each line, sorted, and only what is not usual. */
export function writeContract(contract: Contract, roles: Roles): string {
  const lines = [...contract]
    .sort(([a], [b]) => compare(a, b))
    .flatMap(([object, operations]) => linesOf(object, operations, roles));
  return `${[JSON.stringify({ roles }), ...lines.map((line) => JSON.stringify(line))].join("\n")}\n`;
}

function linesOf(
  object: string,
  operations: ReadonlyMap<string, ReadonlyMap<string, string>>,
  roles: Roles,
): readonly Line[] {
  const unusual = (outcomes: ReadonlyMap<string, string>) =>
    Object.fromEntries(
      [...roles.others, ...roles.users]
        .map((role) => [role, outcomes.get(role)] as const)
        .filter(
          ([role, outcome]) => outcome !== undefined && outcome !== usualOutcome(role, outcomes, roles),
        ),
    ) as Record<string, string>;
  const groups = Map.groupBy(
    [...operations].sort(([a], [b]) => compare(a, b)),
    ([, outcomes]) => JSON.stringify(unusual(outcomes)),
  );
  return [...groups].map(([outcomes, alike]) => ({
    object,
    operations: alike.map(([operation]) => operation),
    outcomes: JSON.parse(outcomes),
  }));
}

export function readContract(text: string): { contract: Contract; roles: Roles } {
  const [header, ...lines] = text.trimEnd().split("\n");
  const { roles } = JSON.parse(header!) as { roles: Roles };
  const contract = new Map<string, Map<string, Map<string, string>>>();
  for (const line of lines) {
    const { object, operations, outcomes } = JSON.parse(line) as Line;
    const known = contract.get(object) ?? new Map<string, Map<string, string>>();
    contract.set(object, known);
    for (const operation of operations) {
      const own = new Map(Object.entries(outcomes));
      for (const role of [...roles.others, ...roles.users])
        if (!own.has(role) && isTried(object, operation, role)) own.set(role, usualOutcome(role, own, roles));
      known.set(operation, own);
    }
  }
  return { contract, roles };
}

/** The changes from one file to another, as lines `role: operation object: before → after`. */
export function differences(before: string, after: string): readonly string[] {
  const [a, b] = [readContract(before).contract, readContract(after).contract];
  const changes: string[] = [];
  for (const object of [...new Set([...a.keys(), ...b.keys()])].sort(compare)) {
    const operations = new Set([...(a.get(object)?.keys() ?? []), ...(b.get(object)?.keys() ?? [])]);
    for (const operation of [...operations].sort(compare)) {
      const [was, is] = [a.get(object)?.get(operation), b.get(object)?.get(operation)];
      const roles = new Set([...(was?.keys() ?? []), ...(is?.keys() ?? [])]);
      const changed = [...roles].filter((role) => was?.get(role) !== is?.get(role));
      const byChange = Map.groupBy(
        changed,
        (role) => `${was?.get(role) ?? "absent"} → ${is?.get(role) ?? "absent"}`,
      );
      for (const [change, alike] of byChange)
        changes.push(`${alike.join(", ")}: ${operation} ${object}: ${change}`);
    }
  }
  return changes;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
