/** The definition of an object by property, in texts that do not depend on the server's version or on the names of roles. */
export type Properties = Readonly<Record<string, string>>;

/** An object of the database, such as the policy `select_own` on `identity.users`. */
export interface CatalogueObject {
  readonly kind: string;
  readonly name: string;
  /** The object that it belongs to or applies to. */
  readonly on?: string;
  readonly properties: Properties;
}

/** Objects by title. */
export type Catalogue = ReadonlyMap<string, CatalogueObject>;

const JOINTS: Readonly<Record<string, readonly [string, string]>> = {
  column: ["column", "of"],
  grant: ["grant to", "on"],
  revoke: ["privileges of", "on"],
  "default privileges": ["default privileges", "in"],
  setting: ["setting", "of"],
};

/** `policy select_own on identity.users`, `grant to :PLINTH_USER on identity.users`, `schema identity` */
export function titleOf({ kind, name, on }: Pick<CatalogueObject, "kind" | "name" | "on">): string {
  if (on === undefined) return `${kind} ${name}`;
  const [head, joint] = JOINTS[kind] ?? [kind, "on"];
  return `${head} ${name} ${joint} ${on}`;
}

export function catalogueOf(objects: readonly CatalogueObject[]): Catalogue {
  return new Map(objects.map((object) => [titleOf(object), object]));
}
