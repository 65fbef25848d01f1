/** What an operation may have of its context without its answers depending on who asks. */
type Impersonal = Pick<Grafast.Context, "withPgClient" | "live">;

/**
 * The context of an operation, which tells when its plans look at who asks: at anything but the way to the database, where the answers
 * for different people are compared.
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
      // Handed through to the way to the database, which knows them.
      pgSettings: watch(pgSettings as object, {}, onLook),
      // Asked when the operation is planned.
      plinth: watch(plinth, { onPlan: plinth.onPlan }, onLook),
    },
    onLook,
  );
}

/** @param free what may be looked at, as it is given */
function watch<T extends object>(target: T, free: object, onLook: () => void): T {
  return new Proxy(target, {
    get(_target, name) {
      if (Object.hasOwn(free, name)) return Reflect.get(free, name);
      if (Object.hasOwn(target, name)) onLook();
      return Reflect.get(target, name);
    },
  });
}
