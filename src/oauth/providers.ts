import { createProvider, type Provider } from "./provider.ts";
import type { ProviderSettings } from "./provider-settings.ts";

/** The configured providers by name. */
export interface Providers {
  readonly all: readonly Provider[];
  get(name: string): Provider | undefined;
}

export function createProviders(
  settings: readonly ProviderSettings[],
  options: { readonly requestTimeoutSeconds?: number | undefined } = {},
): Providers {
  const byName = new Map(settings.map((one) => [one.name, createProvider(one, options)]));
  return { all: [...byName.values()], get: (name) => byName.get(name) };
}
