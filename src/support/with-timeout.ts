/**
 * The outcome of `work`, unless it takes longer than `ms`; then its own outcome is nobody's business any more.
 * @throws what `late` makes when the time is over
 */
export async function withTimeout<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  const expiry = Promise.withResolvers<never>();
  const timer = setTimeout(() => expiry.reject(late()), ms);
  try {
    return await Promise.race([work, expiry.promise]);
  } finally {
    clearTimeout(timer);
  }
}
