import { addTo } from "./sql-text.ts";

/** The letter of acldefault() and the catalogue for a kind of object, and its word in GRANT. */
export const ACL_KINDS = {
  table: { letter: "r", word: "" },
  sequence: { letter: "s", word: "sequence " },
  function: { letter: "f", word: "function " },
  procedure: { letter: "f", word: "procedure " },
  schema: { letter: "n", word: "schema " },
  type: { letter: "T", word: "type " },
} as const;
export type AclKind = keyof typeof ACL_KINDS;

/** Role names by oid, as the dump writes them; see readCatalog(). */
export type RoleNames = ReadonlyMap<string, string>;

/** Entries as selected by {@link aclColumns}: `<grantee's oid> <privilege>` and ` *` with grant option. */
export interface AclRow {
  acl: string[];
  builtin_acl: string[];
}

/** Returns SQL for an object's privileges and for its default privileges. */
export function aclColumns(aclColumn: string, ownerColumn: string, kind: AclKind): string {
  const builtin = `acldefault('${ACL_KINDS[kind].letter}', ${ownerColumn})`;
  return `${aclEntries(`coalesce(${aclColumn}, ${builtin})`)} as acl, ${aclEntries(builtin)} as builtin_acl`;
}

export function aclEntries(acl: string): string {
  return `array(
    select a.grantee::text || ' ' || lower(a.privilege_type collate "C") || case when a.is_grantable then ' *' else '' end
    from aclexplode(${acl}) a
  )`;
}

const ORDER = [
  "select",
  "insert",
  "update",
  "delete",
  "truncate",
  "references",
  "trigger",
  "maintain",
  "usage",
  "create",
  "execute",
];

/** Returns the GRANT and REVOKE statements that change the default privileges into the object's. */
export function privilegeStatements(
  target: string,
  row: AclRow,
  roles: RoleNames,
  columns: readonly { name: string; acl: readonly string[] }[] = [],
): string[] {
  const revoked = byGrantee(row.builtin_acl.filter((entry) => !row.acl.includes(entry)));
  const granted = byGrantee(row.acl.filter((entry) => !row.builtin_acl.includes(entry)));
  for (const { name, acl } of columns)
    for (const [grantee, privileges] of byGrantee(acl))
      for (const privilege of privileges) addTo(granted, grantee, `${privilege} (${name})`);
  return [
    ...statements(revoked, roles, (what, who) => `revoke ${what} on ${target} from ${who};`),
    ...statements(granted, roles, (what, who) => {
      const grantable = what.endsWith(" *");
      return `grant ${grantable ? what.slice(0, -2) : what} on ${target} to ${who}${grantable ? " with grant option" : ""};`;
    }),
  ];
}

function byGrantee(entries: readonly string[]): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const entry of entries) {
    const space = entry.indexOf(" ");
    addTo(result, entry.slice(0, space), entry.slice(space + 1));
  }
  return result;
}

/** Returns one statement for all roles with the same privileges. */
function statements(
  privileges: ReadonlyMap<string, string[]>,
  roles: RoleNames,
  format: (what: string, who: string) => string,
): string[] {
  const rolesByPrivileges = new Map<string, string[]>();
  for (const [grantee, list] of privileges)
    for (const what of describe(list)) addTo(rolesByPrivileges, what, roles.get(grantee) ?? grantee);
  return [...rolesByPrivileges]
    .map(([what, who]) => {
      const whom = who.sort().join(", ");
      const line = format(what, whom);
      if (line.length <= 110 || !what.includes(", ")) return line;
      // One privilege a line; commas between columns stay.
      return format(`\n  ${what.replaceAll(/, (?![^(]*\))/g, ",\n  ")}\n `, whom).replace(" \n", "\n");
    })
    .sort();
}

/** `["select", "update (b)", "update (a)"]` → `select, update (a, b)`; privileges with grant option apart, marked ` *`. */
function describe(list: readonly string[]): string[] {
  const isGrantable = (privilege: string) => / \*(?: \(|$)/.test(privilege);
  return [list.filter((privilege) => !isGrantable(privilege)), list.filter(isGrantable)]
    .map((privileges, index) => {
      const columns = new Map<string, string[]>();
      const whole: string[] = [];
      for (const privilege of privileges) {
        const [, word, column] = /^(\w+)(?: \*)?(?: \((.*)\))?$/.exec(privilege)!;
        if (column === undefined) whole.push(word!);
        else addTo(columns, word!, column);
      }
      const parts = [...whole, ...[...columns].map(([word, names]) => `${word} (${names.join(", ")})`)];
      const rank = (part: string) => ORDER.indexOf(part.split(" ")[0]!);
      return (
        parts.sort((a, b) => rank(a) - rank(b)).join(", ") + (parts.length > 0 && index === 1 ? " *" : "")
      );
    })
    .filter((text) => text !== "");
}
