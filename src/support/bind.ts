/** An operation takes its dependencies first, then what its callers pass. */
type Operation<TDependencies> = (dependencies: TDependencies, ...args: never[]) => unknown;

/** The operations as their callers see them: without the dependencies. */
export type Bound<TOperations> = {
  readonly [TName in keyof TOperations]: TOperations[TName] extends (
    dependencies: never,
    ...args: infer TArgs
  ) => infer TResult
    ? (...args: TArgs) => TResult
    : never;
};

/** Gives all operations the same dependencies, so that a new operation is named only in its file and in its list. */
export function bind<TDependencies, TOperations extends Readonly<Record<string, Operation<TDependencies>>>>(
  operations: TOperations,
  dependencies: TDependencies,
): Bound<TOperations> {
  const bound = Object.entries(operations).map(([name, operation]) => [
    name,
    (...args: never[]) => operation(dependencies, ...args),
  ]);
  return Object.fromEntries(bound);
}
