import { OTHER_USER, USER } from "./actors.ts";
import { NO_PRIVILEGE } from "./cells.ts";
import { type Contract, type Roles, usualOutcome } from "./contract.ts";

type Operations = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** The roles with a column of their own. */
export const COMPARED = ["anonymous", USER, OTHER_USER];

const WRITES = ["select", "insert", "update", "delete"] as const;
const COLUMNS = ["select columns", "insert columns", "update columns", "truncate"] as const;
const RELATION = /^(table|partition|view|materialized view) ([^.]+)\.(.+)$/;
const FUNCTION = /^function ([^.]+)\.(.+)$/;

/** The number of attempts. */
export const count = (contract: Contract): number =>
  [...contract.values()]
    .flatMap((operations) => [...operations.values()].map(({ size }) => size))
    .reduce((a, b) => a + b, 0);

export function relationSections(contract: Contract, roles: Roles): string[] {
  const relations = [...contract]
    .flatMap(([object, operations]) => {
      const [, kind, schema, name] = RELATION.exec(object) ?? [];
      return kind ? [{ kind, schema: schema!, name: name!, operations }] : [];
    })
    .sort((a, b) => (`${a.schema}.${a.name}` < `${b.schema}.${b.name}` ? -1 : 1));
  const sections = [...Map.groupBy(relations, ({ schema }) => schema)].map(([schema, own]) => {
    const isClosed = ({ operations }: { operations: Operations }) =>
      [...operations.values()].every((outcomes) =>
        [...outcomes.values()].every((each) => each === NO_PRIVILEGE),
      );
    const open = own.filter((each) => !isClosed(each));
    const closed = own.filter(isClosed);
    const rows = open.map(({ kind, name, operations }) => [
      `${code(name)}${kind === "table" ? "" : ` (${kind})`}`,
      ...COMPARED.map((role) => rowsCell(operations, role)),
      othersCell(roles, operations, WRITES, (role, changed) => rowsCell(operations, role, changed)),
    ]);
    const columns = open.flatMap(({ name, operations }) =>
      COLUMNS.flatMap((operation) =>
        [
          ...Map.groupBy(
            [...(operations.get(operation) ?? [])].filter(
              ([role, outcome]) =>
                outcome !== NO_PRIVILEGE &&
                !roles.users.includes(role) &&
                !(outcome === "all" && operation === "select columns"),
            ),
            ([, outcome]) => outcome,
          ),
        ].map(([outcome, alike]) => [
          code(name),
          alike.map(([role]) => role).join(", "),
          operation,
          outcome.replaceAll('"', ""),
        ]),
      ),
    );
    return [
      `### ${schema}`,
      ...(rows.length > 0 ? [table(["Relation", ...COMPARED, "Others"], rows)] : []),
      ...(columns.length > 0 ? [table(["Relation", "Role", "Operation", "Columns"], columns)] : []),
      ...(closed.length > 0
        ? [`No role has a right to: ${closed.map(({ name }) => code(name)).join(", ")}.`]
        : []),
    ].join("\n\n");
  });
  return ["## Tables and views", ...sections];
}

/** Such as `S all · I 42501`; operations without a privilege are left out. */
function rowsCell(operations: Operations, role: string, only: readonly string[] = WRITES): string {
  const parts = WRITES.filter((operation) => only.includes(operation)).flatMap((operation) => {
    const outcome = operations.get(operation)?.get(role);
    if (outcome === undefined || (outcome === NO_PRIVILEGE && only === WRITES)) return [];
    return [`${operation[0]!.toUpperCase()} ${outcome}`];
  });
  return parts.join(" · ") || NO_PRIVILEGE;
}

/** The roles that differ, those with the same difference together. */
export function othersCell(
  roles: Roles,
  operations: Operations,
  names: readonly string[],
  cell: (role: string, changed: readonly string[]) => string,
): string {
  const shown = [...roles.users, ...roles.others.filter((role) => !COMPARED.includes(role))];
  const differing = shown.flatMap((role) => {
    const changed = names.filter((name) => {
      const outcomes = operations.get(name);
      const outcome = outcomes?.get(role);
      return outcome !== undefined && outcome !== usualOutcome(role, outcomes!, roles);
    });
    return changed.length > 0 ? [{ role, text: cell(role, changed) }] : [];
  });
  return [...Map.groupBy(differing, ({ text }) => text)]
    .map(([text, alike]) => `${alike.map(({ role }) => role).join(", ")}: ${text}`)
    .join("<br>");
}

export function functionSections(contract: Contract, roles: Roles): string[] {
  const functions = [...contract].flatMap(([object, operations]) => {
    const [, schema, name] = FUNCTION.exec(object) ?? [];
    return schema ? [{ schema, name: name!, outcomes: operations.get("call")!, operations }] : [];
  });
  const sections = [...Map.groupBy(functions, ({ schema }) => schema)].map(([schema, own]) => {
    const isClosed = ({ outcomes }: { outcomes: ReadonlyMap<string, string> }) =>
      [...outcomes.values()].every((each) => each === NO_PRIVILEGE);
    const rows = own
      .filter((each) => !isClosed(each))
      .map(({ name, outcomes, operations }) => [
        code(name),
        ...COMPARED.map((role) => outcomes.get(role)!),
        othersCell(roles, operations, ["call"], (role) => outcomes.get(role)!),
      ]);
    const closed = [...new Set(own.filter(isClosed).map(({ name }) => name.replace(/\(.*/, "")))];
    return [
      `### Functions of ${schema}`,
      ...(rows.length > 0 ? [table(["Function", ...COMPARED, "Others"], rows)] : []),
      ...(closed.length > 0 ? [`No role may call: ${closed.map(code).join(", ")}.`] : []),
    ].join("\n\n");
  });
  return [
    `## Functions

Called with a value of each type. \`called\` is a success; a code is the SQLSTATE of a failure behind the privilege.`,
    ...sections,
  ];
}

export const code = (text: string) => `\`${text.replaceAll('"', "")}\``;

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
