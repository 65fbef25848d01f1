/** The parts of its context that an operation may use without its answers depending on the caller. */
type Impersonal = Pick<Grafast.Context, "withPgClient" | "live">;

/**
 * Wraps an operation's context and calls `onLook` when its plans read anything that depends on the caller. Access to the
 * database is exempt, because the rows for different callers are compared there.
 */
export function watchContext(
  context: Grafast.Context,
  impersonal: Impersonal,
  onLook: () => void,
): Grafast.Context {
  const { pgSettings, plinth } = context;
  return watch(
    context,
    {
      ...impersonal,
      // Passed through to the database access, which knows them.
      pgSettings: watch(pgSettings as object, {}, onLook),
      // Read when the operation is planned.
      plinth: watch(plinth, { onPlan: plinth.onPlan }, onLook),
    },
    onLook,
  );
}

/** @param free properties that may be read, with their values */
function watch<T extends object>(target: T, free: object, onLook: () => void): T {
  return new Proxy(target, {
    get(_target, name) {
      if (Object.hasOwn(free, name)) return Reflect.get(free, name);
      if (Object.hasOwn(target, name)) onLook();
      return Reflect.get(target, name);
    },
  });
}
