import type { GraphQLSchema } from "postgraphile/graphql";
import { EXAMPLES } from "../../graphql/examples.ts";
import { IDS } from "../access-probes/ids.ts";
import type { GeneratedField } from "../generated-fields.ts";
import { type Argument, argumentsOf, type Input, withValue } from "./arguments.ts";
import type { Caller } from "./caller.ts";
import { type Attempt, type Choice, findSuccess } from "./find-success.ts";
import { type Place, placeOf, placeOfKey } from "./places.ts";
import type { Reader } from "./reader.ts";
import type { Rows } from "./rows.ts";
import type { Values } from "./values.ts";

/** A mutation and what was found out about it. */
export interface Mutation {
  readonly name: string;
  /** The parts of its input that name rows. */
  readonly places: readonly Place[];
  /** Calls with different answers. */
  readonly attempts: readonly Attempt[];
  /** The call that would change something; otherwise the last one. */
  readonly base: Attempt;
}

/** Facts that the walk needs and that the schema and the database do not say. */
interface Hints {
  /** Tables that an argument refers to. */
  readonly refersTo: Readonly<Record<string, readonly string[]>>;
  /** Values by mutation and argument. */
  readonly options: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>>;
}

export interface Surroundings {
  readonly reader: Reader;
  readonly schema: GraphQLSchema;
  readonly generated: ReadonlyMap<string, GeneratedField>;
  readonly rows: Rows;
  readonly values: Values;
  readonly caller: Caller;
  readonly hints: Hints;
}

/** Users who try a mutation until it succeeds for one of them. */
const CALLERS = ["ada", "bob", "admin", "chief"];
/** Rows that are tried in one place. */
const MAX_ROWS = 12;

/** Finds a call of the mutation that would change something, and the places in its input that name rows. */
export async function studyMutation(name: string, around: Surroundings): Promise<Mutation> {
  const source = around.generated.get(name);
  const args = argumentsOf(around.schema.getMutationType()!.getFields()[name]!);
  const { places, start, callers } = source
    ? await ofGenerated(source, args, around)
    : { places: args.flatMap((argument) => placesOf(argument, around)), start: {}, callers: CALLERS };
  const attempts: Attempt[] = [];
  for (const actor of callers) {
    const choices = source
      ? places.filter((place) => place.isKey).map((place) => choiceOf(place, actor))
      : choicesOf(name, args, places, actor, around);
    attempts.push(...(await findSuccess(around.caller, name, actor, start, choices)));
    if (attempts.at(-1)?.outcome.kind === "allowed") break;
  }
  const base = attempts.at(-1);
  if (!base) throw new Error(`There is no row with which ${name} could be called.`);
  return { name, places, attempts, base };
}

/** The inputs of a generated mutation are those of its example. */
async function ofGenerated(source: GeneratedField, args: readonly Argument[], around: Surroundings) {
  const { reader } = around;
  const { by, deletedBy = by, create, patch } = EXAMPLES[source.type.name]!;
  const inner = args.filter(({ path }) => path.length > 1).flatMap((argument) => placesOf(argument, around));
  const callers = [source.kind === "delete" ? deletedBy : by];
  if (source.kind === "create") {
    const object = source.type.name[0]!.toLowerCase() + source.type.name.slice(1);
    return { places: inner, start: { [object]: await withIdsOf(create!, reader) }, callers };
  }
  const relevant = new Set([...CALLERS, ...callers, "visitor", "guest"]);
  const key = await placeOfKey(source, args, reader, relevant);
  const start: Input = source.kind === "update" ? { patch: await withIdsOf(patch!, reader) } : {};
  return { places: [key, ...inner], start, callers };
}

function placesOf(argument: Argument, { rows, hints }: Surroundings): Place[] {
  if (argument.type !== "UUID") return [];
  const tables = hints.refersTo[argument.name] ?? rows.tablesOf(argument.name);
  if (tables.length === 0 && !hints.refersTo[argument.name])
    throw new Error(`Say in REFERS_TO which tables ${argument.path.join(".")} refers to.`);
  return tables.length > 0 ? [placeOf(argument, rows, tables)] : [];
}

function choiceOf({ name, candidates, put }: Place, actor: string): Choice {
  const known = candidates.filter(({ knownTo }) => knownTo(actor));
  const hidden = candidates.filter(({ knownTo }) => !knownTo(actor));
  const options = [...known, ...hidden.slice(0, 2)].slice(0, MAX_ROWS).map(({ key }) => key);
  return { name, options, put };
}

/** The required arguments, and those with values in `options`. */
function choicesOf(
  name: string,
  args: readonly Argument[],
  places: readonly Place[],
  actor: string,
  { values, hints }: Surroundings,
): Choice[] {
  const rowChoices = places.filter(({ isRequired }) => isRequired).map((place) => choiceOf(place, actor));
  const given = hints.options[name] ?? {};
  const others = args.filter(
    (argument) =>
      given[argument.name] ||
      (argument.isRequired && !rowChoices.some((choice) => choice.name === argument.name)),
  );
  return [
    ...rowChoices,
    ...others.map((argument) => ({
      name: argument.name,
      options: given[argument.name] ?? values(argument),
      put: (input: Input, value: unknown) => withValue(input, argument.path, value),
    })),
  ];
}

/** Replaces `:ada` with an id and `select …` with its result, as in the examples. */
async function withIdsOf(object: Input, reader: Reader): Promise<Input> {
  const entries = Object.entries(object).map(async ([name, value]) => {
    if (typeof value !== "string") return [name, value];
    if (value.startsWith("select ")) return [name, (await reader.all<{ id: string }>(value))[0]!.id];
    return [name, value.startsWith(":") ? IDS[value.slice(1)]! : value];
  });
  return Object.fromEntries(await Promise.all(entries));
}
