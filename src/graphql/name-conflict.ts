import type { Application } from "../application/application.ts";
import { PlinthError } from "../support/errors.ts";

type Tag = "@name" | "@fieldName" | "@foreignFieldName";

/** How PostGraphile reports two objects that would have the same name in the API, and the smart tag that renames one. */
const CONFLICTS: readonly { readonly message: RegExp; readonly what: string; readonly tag: Tag }[] = [
  { message: /^Attempted to add a second (?:resource|codec) named '(\w+)'/, what: "object", tag: "@name" },
  { message: /two entities have tried to define the same type '(\w+)'/, what: "type", tag: "@name" },
  {
    message: /^Attempted to add a backwards relation named '(\w+)'/,
    what: "relation",
    tag: "@foreignFieldName",
  },
  { message: /^Attempted to add a relation named '(\w+)'/, what: "relation", tag: "@fieldName" },
  {
    message: /two entities have tried to define the same key '(\w+)'/,
    what: "field",
    tag: "@foreignFieldName",
  },
];

/**
 * Builds the API. A table, function or relation of the application may have the name of another object in the API.
 * @throws PlinthError NAME_CONFLICT with the smart tag that renames it
 */
export async function explainConflicts<T>(
  { schemas = [] }: Pick<Application, "schemas">,
  build: () => Promise<T>,
): Promise<T> {
  try {
    return await build();
  } catch (cause) {
    throw (schemas.length > 0 ? conflictOf(cause, schemas) : undefined) ?? cause;
  }
}

function conflictOf(cause: unknown, schemas: readonly string[]): PlinthError | undefined {
  const text = (cause as Partial<Error>).message ?? "";
  for (const { message, what, tag } of CONFLICTS) {
    const name = message.exec(text)?.[1];
    if (name === undefined) continue;
    const [, schema = schemas[0]!, table] =
      [...text.matchAll(/"(\w+)"\."(\w+)"/g)].find(([, each]) => schemas.includes(each!)) ?? [];
    const object = table === undefined ? `an object in the schema ${schema}` : `${schema}.${table}`;
    return new PlinthError(
      "NAME_CONFLICT",
      `The API has another ${what} named ${name}, so ${object} needs another name there.`,
      { hint: `Set a smart tag in a migration: ${example(tag, `${schema}.${table ?? name}`)}`, cause },
    );
  }
  return undefined;
}

function example(tag: Tag, object: string): string {
  return tag === "@name"
    ? `comment on table ${object} is E'@name ${object.replace(".", "_")}\\n…'; (or on view, type, column, function).`
    : `comment on constraint … on ${object.split(".")[0]}.… is '${tag} my_name'; for a foreign key (or @name on a column or function).`;
}
