import { TEARDOWN } from "./global-setup.ts";

export default async function globalTeardown(): Promise<void> {
  const tearDown = (globalThis as Record<symbol, unknown>)[TEARDOWN] as (() => Promise<void>) | undefined;
  await tearDown?.();
}
