import { type CatalogueObject, titleOf } from "../catalogue.ts";
import { createSteps } from "./create.ts";
import type { Dependent } from "./dependencies.ts";
import { lossOf } from "./drop.ts";
import { dropSteps } from "./extra.ts";
import { grantSteps } from "./grants.ts";
import type { ObjectStep } from "./order.ts";
import { type MendContext, remark, type Step } from "./step.ts";

/** Kinds that the server itself changes with the type of a column. */
const FOLLOWING_KINDS = ["constraint", "index", "statistics", "column default", "sequence"];

/** The objects that are dropped before anything is created, each with all that depends on it. Those of the migrations are created again. */
export class Rebuild {
  readonly #context: MendContext;
  readonly #dropped = new Map<string, CatalogueObject>();
  readonly #defaults = new Map<string, CatalogueObject>();
  readonly #blocked: ObjectStep[] = [];
  readonly #blockedTitles = new Set<string>();

  constructor(context: MendContext) {
    this.#context = context;
  }

  has(object: CatalogueObject): boolean {
    const title = titleOf(object);
    return this.#dropped.has(title) || this.#blockedTitles.has(title);
  }

  add(object: CatalogueObject): void {
    const dependents = this.#context.dependencies.of(object);
    const foreign = dependents.filter((dependent) => !this.#isOwn(dependent));
    if (foreign.length > 0) {
      this.#blockedTitles.add(titleOf(object));
      const steps = this.#withoutDrop(object, foreign);
      this.#blocked.push(...steps.map((step) => ({ ...step, object })));
      return;
    }
    this.#dropped.set(titleOf(object), object);
    for (const dependent of dependents) this.#addDependent(dependent);
  }

  /** Whether the view of a column is created again, with the comments of its columns. */
  hasViewOf({ kind, on }: CatalogueObject): boolean {
    return (
      kind === "column" &&
      ["view", "materialized view"].some((view) => this.#dropped.has(titleOf({ kind: view, name: on! })))
    );
  }

  /** Adds what keeps the type of a column from being changed; false if something of others does. */
  addUsersOf(column: CatalogueObject): boolean {
    const users = this.#context.dependencies.of(column).filter(({ kind }) => !FOLLOWING_KINDS.includes(kind));
    const foreign = users.filter((dependent) => !this.#isOwn(dependent));
    if (foreign.length > 0) {
      this.#blocked.push({ ...blockedStep(column, foreign), object: column });
      return false;
    }
    for (const dependent of users) this.#addDependent(dependent);
    return true;
  }

  steps(): ObjectStep[] {
    const steps = [...this.#dropped.values()].flatMap((object) =>
      this.#stepsOf(object).map((step) => ({ ...step, object })),
    );
    return [...this.#blocked, ...steps, ...[...this.#defaults.values()].flatMap(defaultSteps)];
  }

  /** Everything that the comparison knows, except what holds rows. */
  #isOwn(dependent: Dependent): boolean {
    if (dependent.kind === "column default") return this.#columnOf(dependent) !== undefined;
    const object = this.#context.found.get(dependent.title);
    return object !== undefined && (lossOf(object) === undefined || "generated" in object.properties);
  }

  #addDependent(dependent: Dependent): void {
    const column = dependent.kind === "column default" ? this.#columnOf(dependent) : undefined;
    if (column) this.#defaults.set(titleOf(column), column);
    else this.#dropped.set(dependent.title, this.#context.found.get(dependent.title)!);
  }

  #columnOf({ name, on }: Dependent): CatalogueObject | undefined {
    return this.#context.expected.get(`column ${name} of ${on}`);
  }

  #stepsOf(object: CatalogueObject): Step[] {
    const wanted = this.#context.expected.get(titleOf(object));
    const drops = dropSteps(object, "drop", this.#context).map(({ manual: _computedAgain, ...step }) => step);
    if (!wanted) return drops;
    return [...drops, ...createSteps(wanted, this.#context), ...this.#grantsOfColumn(wanted)];
  }

  /** The grants on a column vanish with it. */
  #grantsOfColumn({ kind, name, on }: CatalogueObject): Step[] {
    if (kind !== "column") return [];
    return [...this.#context.expected.values()]
      .filter(
        (grant) =>
          grant.kind === "grant" &&
          grant.on === on &&
          Object.values(grant.properties).some((scope) => scope.split(", ").includes(name)),
      )
      .flatMap((grant) => grantSteps(grant, undefined, this.#context));
  }

  /** A view often keeps its columns, and can then be replaced under what depends on it. */
  #withoutDrop(object: CatalogueObject, foreign: readonly Dependent[]): Step[] {
    const wanted = this.#context.expected.get(titleOf(object));
    if (!wanted) return dropSteps(object, "drop", this.#context);
    if (object.kind !== "view") return [blockedStep(object, foreign)];
    return createSteps(wanted, this.#context)
      .filter(({ phase }) => phase === "create")
      .map((step) => ({ ...step, sql: step.sql.replace(/^create view/, "create or replace view") }));
  }
}

function blockedStep(object: CatalogueObject, foreign: readonly Dependent[]): Step {
  const users = foreign.map(({ title }) => title).join(", ");
  const verb = object.kind === "column" ? "changed" : "created again";
  return remark(
    "create",
    `${titleOf(object)} must be ${verb}, but is needed by ${users}. Drop that first, then print the difference again.`,
  );
}

function defaultSteps(column: CatalogueObject): ObjectStep[] {
  const alter = `alter table ${column.on} alter column ${column.name}`;
  const value = column.properties.default;
  return [
    {
      phase: "drop",
      sql: `${alter} drop default;`,
      drops: `column default ${column.name} on ${column.on}`,
      object: column,
    },
    ...(value === undefined
      ? []
      : [{ phase: "alter", sql: `${alter} set default ${value};`, object: column } as const]),
  ];
}
