import type { CatalogueObject } from "../catalogue.ts";
import type { MendContext, Step } from "./step.ts";

const WITH_GRANT_OPTION = " with grant option";

/** Revokes the privileges that differ, and grants those that should be there. Undefined: the role has none. */
export function grantSteps(
  wanted: CatalogueObject | undefined,
  found: CatalogueObject | undefined,
  context: MendContext,
): Step[] {
  const { name: role, on } = (wanted ?? found)!;
  const [before, after] = [found?.properties ?? {}, wanted?.properties ?? {}];
  if ("some privilege" in before)
    return [{ phase: "administrator", sql: `revoke all on ${systemTarget(on!)} from ${role};` }];
  const differing = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (privilege) => before[privilege] !== after[privilege],
  );
  const target = grantTarget(on!, differing, context);
  const steps: Step[] = [];
  const revoked = [...new Set(differing.filter((privilege) => privilege in before).map(wordOf))];
  if (revoked.length > 0) {
    // A role with the grant option may have passed the privilege on.
    const cascade = differing.some((privilege) => privilege in before && isGrantable(privilege));
    steps.push({
      phase: phaseOf("revoke", on!),
      sql: `revoke ${revoked.join(", ")} on ${target} from ${role}${cascade ? " cascade" : ""};`,
    });
  }
  // Revoking a privilege takes both forms of it, with the grant option and without.
  const granted = Object.keys(after).filter(
    (privilege) => differing.includes(privilege) || revoked.includes(wordOf(privilege)),
  );
  for (const grantable of [false, true]) {
    const privileges = granted
      .filter((privilege) => isGrantable(privilege) === grantable)
      .map((privilege) => scoped(wordOf(privilege), after[privilege]!));
    if (privileges.length > 0)
      steps.push({
        phase: phaseOf("grant", on!),
        sql: `grant ${privileges.join(", ")} on ${target} to ${role}${grantable ? WITH_GRANT_OPTION : ""};`,
      });
  }
  return steps;
}

const isGrantable = (privilege: string) => privilege.endsWith(WITH_GRANT_OPTION);
const wordOf = (privilege: string) => privilege.replace(WITH_GRANT_OPTION, "");

/** Only a superuser may grant settings. */
const phaseOf = (phase: "revoke" | "grant", on: string) =>
  on.startsWith("parameter ") ? "administrator" : phase;

/** A star is the whole object; other names are columns. */
function scoped(privilege: string, scope: string): string {
  const columns = scope.split(", ").filter((name) => name !== "*");
  const whole = scope.split(", ").includes("*") ? [privilege] : [];
  return [...whole, ...(columns.length > 0 ? [`${privilege} (${columns.join(", ")})`] : [])].join(", ");
}

/** Grants that the owner lacks on its own object. */
export function ownGrantStep({ name, on, properties }: CatalogueObject, context: MendContext): Step {
  const privileges = properties.privileges!;
  return {
    phase: "grant",
    sql: `grant ${privileges} on ${grantTarget(on!, privileges.split(", "), context)} to ${name};`,
  };
}

function grantTarget(
  on: string,
  privileges: readonly string[],
  { database, expected, found }: MendContext,
): string {
  if (on === "the database") return `database ${database}`;
  // A routine is any of a function, a procedure and an aggregate.
  if (on.startsWith("function ")) return on.replace("function ", "routine ");
  const isKnownSequence = expected.has(`sequence ${on}`) || found.has(`sequence ${on}`);
  const isSequence = isKnownSequence || (!on.includes(" ") && privileges.map(wordOf).includes("usage"));
  return isSequence ? `sequence ${on}` : on;
}

/** The server names an object of the system by its identity alone; a column by its table too. */
function systemTarget(identity: string): string {
  if (identity.includes("(")) return `routine ${identity}`;
  const parts = identity.split(".");
  if (parts.length > 1) return parts.slice(0, 2).join(".");
  return /^(pg_|information_schema)/.test(identity) ? `schema ${identity}` : `language ${identity}`;
}

/** Privileges of every role on a new object unless default privileges say otherwise. */
const BUILTIN: Readonly<Record<string, string>> = { functions: "execute", types: "usage" };

/** Makes the default privileges those of the migrations; an entry that is not there means the server's own. */
export function defaultPrivilegeSteps(
  { name, on }: CatalogueObject,
  wanted: CatalogueObject | undefined,
  found: CatalogueObject | undefined,
): Step[] {
  const [, role, kind] = /^for (.+) on (.+)$/.exec(name)!;
  const schema = on === "all schemas" ? "" : ` in ${on}`;
  const [before, after] = [found, wanted].map((each) => effective(each, kind!, schema));
  const head = `alter default privileges for role ${role}${schema}`;
  const phase = role === ":PLINTH_OWNER" ? "revoke" : "administrator";
  return [...new Set([...Object.keys(before!), ...Object.keys(after!)])].flatMap((grantee) => {
    const [had, has] = [before![grantee], after![grantee]];
    if (had === has) return [];
    const revoke = had === undefined ? [] : [`${head} revoke all on ${kind} from ${grantee};`];
    const grants = (has?.split(", ") ?? []).map((privilege) =>
      isGrantable(privilege)
        ? `${head} grant ${wordOf(privilege)} on ${kind} to ${grantee}${WITH_GRANT_OPTION};`
        : `${head} grant ${privilege} on ${kind} to ${grantee};`,
    );
    return [...revoke, ...grants].map((sql) => ({ phase, sql }) as const);
  });
}

function effective(
  object: CatalogueObject | undefined,
  kind: string,
  schema: string,
): Readonly<Record<string, string>> {
  const builtin = schema === "" ? BUILTIN[kind] : undefined;
  return object?.properties ?? (builtin === undefined ? {} : { public: builtin });
}
